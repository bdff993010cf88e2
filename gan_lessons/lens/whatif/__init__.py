"""A training step with one thing changed in its source: run for real, and judged."""

from gan_lessons.lens.whatif.compare import PlayerGap, consumed
from gan_lessons.lens.whatif.rewrite import SWITCHES
from gan_lessons.lens.whatif.trial import Judge, Outcome
from gan_lessons.lens.whatif.variant import WhatIf, variants, what_if

__all__ = [
    "SWITCHES", "Judge", "Outcome", "PlayerGap", "WhatIf", "consumed", "variants", "what_if",
]  # fmt: skip
