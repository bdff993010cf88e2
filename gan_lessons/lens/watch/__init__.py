"""Watch a loop without naming anything, from a shell or with one changed line, and compare two."""

from gan_lessons.lens.watch.comparing import Comparison, NetComparison, same
from gan_lessons.lens.watch.lightning_callback import lightning_callback
from gan_lessons.lens.watch.loss_terms import Terms, terms
from gan_lessons.lens.watch.report import Report
from gan_lessons.lens.watch.run_script import diagnose_script
from gan_lessons.lens.watch.saved_state import state_kept
from gan_lessons.lens.watch.soundness import assert_sound, recorded
from gan_lessons.lens.watch.watching import watch, watched

__all__ = [
    "Comparison",
    "NetComparison",
    "Report",
    "Terms",
    "assert_sound",
    "diagnose_script",
    "lightning_callback",
    "recorded",
    "same",
    "state_kept",
    "terms",
    "watch",
    "watched",
]
