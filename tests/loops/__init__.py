"""Training loops as people write them, right and wrong, each with its truth by autograd.grad."""

from . import (
    clipping,
    cut_off,
    directions,
    errors,
    lone,
    loss_forms,
    ownership,
    partly,
    polluted,
    right,
    unused_loss,
)
from .kit import LOOPS, Loop, Verdict, judge

FAMILIES = (
    errors, cut_off, partly, polluted, ownership, unused_loss, loss_forms, clipping,
    directions, lone, right,
)  # fmt: skip

__all__ = ["FAMILIES", "LOOPS", "Loop", "Verdict", "judge"]
