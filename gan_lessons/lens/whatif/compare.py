"""The gradients that the optimizers found when they stepped, in a run and in the right one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_lessons.gan import Gan

ROUNDING = 1e-5  # relative: what differs by less came out of another order of summation

Grads = list[tuple[Tensor | None, ...]]  # one entry for each step of one optimizer


@dataclass(frozen=True)
class PlayerGap:
    """A player's gradient against that of the unchanged step, all its parameters together.

    ``cosine``, ``ratio`` of the lengths: computed in float64; None where one of them is missing or
    zero. ``kind``: "equal" but for rounding, "wrong", "none", "zero", "not finite", "from nothing"
    (the unchanged step gives none, or zeros), "was not finite" (the unchanged step's is not) or
    "no step" (the optimizer stepped another number of times).
    """

    cosine: float | None
    ratio: float | None
    kind: str = "equal"


@contextmanager
def consumed(gan: Gan) -> Iterator[dict[str, Grads]]:
    """Copies of what each optimizer finds in ``.grad`` whenever it steps in the block."""
    found: dict[str, Grads] = {name: [] for name in gan.optimizers}
    name_of = {optimizer: name for name, optimizer in gan.optimizers.items()}

    def take(optimizer: Optimizer, *_: Any) -> None:
        held = [p.grad for group in optimizer.param_groups for p in group["params"]]
        copies = tuple(None if g is None else g.detach().clone() for g in held)
        found[name_of[optimizer]].append(copies)

    with ExitStack() as stack:
        for optimizer in name_of:
            stack.callback(optimizer.register_step_pre_hook(take).remove)
        yield found


def gap(mine: Grads, right: Grads) -> PlayerGap:
    """How the gradients of one player differ from the right ones."""
    if len(mine) != len(right):
        return PlayerGap(None, None, "no step")
    pairs = [pair for a, b in zip(mine, right, strict=True) for pair in zip(a, b, strict=True)]
    here, there = [a is not None for a, _ in pairs], [b is not None for _, b in pairs]
    if not any(here) or not any(there):
        kind = "equal" if here == there else "from nothing" if any(here) else "none"
        return PlayerGap(None, None, kind)
    some = [pair for pair in pairs if any(side is not None for side in pair)]
    a, b = torch.cat([_flat(a, b) for a, b in some]), torch.cat([_flat(b, a) for a, b in some])
    length, wanted = float(a.norm()), float(b.norm())
    measurable = 0 < length < math.inf and 0 < wanted < math.inf
    cosine = float(a @ b) / (length * wanted) if measurable else None
    ratio = length / wanted if wanted else None
    return PlayerGap(cosine, ratio, "equal" if here == there and _close(a, b) else _kind(a, b))


def _kind(a: Tensor, b: Tensor) -> str:
    """In which way two gradients differ."""
    if not bool(a.isfinite().all()):
        return "not finite"
    if not bool(b.isfinite().all()):
        return "was not finite"
    return "zero" if not bool(a.any()) else "wrong" if bool(b.any()) else "from nothing"


def _flat(grad: Tensor | None, other: Tensor | None) -> Tensor:
    """A gradient as a vector of float64; where it is missing, zeros."""
    if grad is None:
        assert other is not None
        grad = torch.zeros_like(other)
    return (grad.to_dense() if grad.is_sparse else grad).cpu().double().flatten()


def _close(a: Tensor, b: Tensor) -> bool:
    if bool(b.isfinite().all()):
        return float((a - b).norm()) <= ROUNDING * float(b.norm())
    return torch.equal(a.nan_to_num(), b.nan_to_num())


FIRST = {
    "none": "No error, but {net} gets no gradient before its optimizer steps.",
    "not finite": "No error, but {net} steps on a gradient that is not finite.",
    "was not finite": "No error, but {net} steps on another gradient: the right one is not finite.",
    "from nothing": "No error, but {net} steps on a gradient where there should be none.",
    "zero": "No error, but {net} steps on a gradient of zeros.",
    "wrong": (
        "No error, but {net} steps on a wrong gradient. Beside that of the step as written: "
        "cosine {cosine}, {ratio} times the length."
    ),
    "longer": (
        "No error, but {net} steps on a gradient of another length: {ratio} times as long as in "
        "the step as written. Its direction is right in this step (cosine {cosine})."
    ),
    "no step": "No error, but {net}'s optimizer steps another number of times.",
}
TOO = {
    "none": "{net} gets none either.",
    "wrong": "{net}'s differs too: cosine {cosine}, {ratio} times the length.",
    "longer": "{net}'s is wrong too: {ratio} times as long (cosine {cosine}).",
}
ALSO_WRONG = "{net}'s is wrong too."


def told(gaps: Mapping[str, PlayerGap]) -> str:
    """What is wrong with these players' gradients, in that order."""
    found: list[str] = []
    for net, gap in gaps.items():
        near = {_number(gap.cosine), _number(gap.ratio)} == {"1.00"}  # not to say "differs: 1.00"
        longer = gap.kind == "wrong" and _number(gap.cosine) == "1.00" and not near
        kind = "longer" if longer else gap.kind
        text = TOO.get(kind, ALSO_WRONG) if found else FIRST[kind]
        cosine, ratio = (_number(x, 6 if near else 2) for x in (gap.cosine, gap.ratio))
        found.append(text.format(net=net, cosine=cosine, ratio=ratio))
    return " ".join(found)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.3g}"
