"""What an optimizer holds, and what kind of step it is taking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gan_lessons.lens.record import attaching
from gan_lessons.lens.record.undo import Undo


def watch_steps(
    undo: Undo,
    before: Callable[[Optimizer, Any, Any], None],
    after: Callable[[Optimizer, Any, Any], None],
) -> None:
    """Call these at each step of every optimizer, as the hooks of torch are called."""
    attaching.BEFORE_STEP.add(undo, before)
    attaching.AFTER_STEP.add(undo, after)


def held_parameters(optimizer: Optimizer) -> set[Tensor]:
    """All that its groups hold now: groups may be added while it lives."""
    return {p for group in optimizer.param_groups for p in group["params"]}


def held_twice(optimizer: Optimizer) -> set[Tensor]:
    """What its groups list more than once: each step moves that as often."""
    listed = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    return {p for p in held_parameters(optimizer) if listed[id(p)] > 1}


def is_plain_step(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """A step of torch's own, without a closure: it builds no graph, and reads no values."""
    own = type(optimizer).__module__.startswith("torch.optim.")
    return own and len(args) == 1 and not kwargs and not optimizer.defaults.get("differentiable")


def is_skipped(optimizer: Optimizer) -> bool:
    """Does the step that ends do nothing? A GradScaler leaves a word for fused optimizers there."""
    return bool(getattr(optimizer, "found_inf", False))
