"""Is a loop sound? For tests: an assertion about a record, and a block that ends with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gan_lessons.arguments import refuse
from gan_lessons.lens.diagnose import Diagnosis, diagnose
from gan_lessons.lens.model import Record
from gan_lessons.lens.watch.watching import watch

REASONS = 'a dict of codes with the reason of each, such as {"polluted": "wanted: see the paper"}'


def assert_sound(rec: Record, allow: Mapping[str, str] | None = None) -> None:
    """Raise AssertionError, with the diagnosis as its message, for a loop that is not sound.

    rec: a complete record. Sound: no error and no wrong gradient was found; waste may remain.
    allow: code of a finding -> the reason why it may be there.
    For tests: ``with watch() as rec: train(...)``, then ``assert_sound(rec)``.

    Raises what ``diagnose`` raises for bad input, TypeError for an ``allow`` without reasons.

    >>> from gan_lessons import assert_sound, data, record_step, step_detach, tiny_gan
    >>> assert_sound(record_step(step_detach, tiny_gan(), data.ring(4), data.noise(4, (2,))))
    """
    allowed: Any = {} if allow is None else allow
    if not isinstance(allowed, Mapping) or not all(
        isinstance(text, str) and text.strip() for pair in allowed.items() for text in pair
    ):
        raise refuse("assert_sound", "allow", allow, REASONS)
    diagnosis = diagnose(rec)
    left = Diagnosis([f for f in diagnosis.findings if f.code not in allowed], diagnosis.seen)
    if not left.sound:
        raise AssertionError(str(left))


@contextmanager
def recorded(
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
    *,
    allow: Mapping[str, str] | None = None,
) -> Iterator[Record]:
    """``watch`` for a test: at the end of the block the loop must be sound; see ``assert_sound``.

    Raises AssertionError then. What the block raises goes on, as it is.
    """
    with watch(nets, optimizers) as rec:
        yield rec
    assert_sound(rec, allow)
