"""What every parameter's ``.grad`` holds, and which backward calls went into it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from gan_lessons.lens.model import GradState

EMPTY = GradState()


@dataclass(frozen=True)
class _Content:
    """One content of one ``.grad``. A ``chain`` starts when the gradient is cleared or replaced;
    every write to it is a new ``epoch`` of the same chain."""

    state: GradState
    chain: int
    epoch: int
    ref: TensorWeakRef | None = None
    version: int = 0
    fingerprint: tuple[float, float] | None = None


@dataclass
class _Slot:
    now: _Content
    past: list[_Content] = field(default_factory=list)


class Ledger:
    """Follows ``.grad`` of the given parameters by identity and version, without holding it.

    A gradient that was stashed and put back is recognised (the same tensor, or a copy with the
    same norm and sum) and keeps its sources. Scaling in place (clipping, unscaling) keeps them too.
    """

    def __init__(self, parameters: Collection[nn.Parameter]) -> None:
        self._chains = 0
        self._slots = {p: _Slot(_Content(EMPTY, -1, 0)) for p in parameters}
        self._rows: list[dict[Tensor, _Content]] = []
        self._begun = False
        self.observe()
        self._begun = True

    def observe(self, call: int | None = None, received: Collection[Tensor] = ()) -> None:
        """Compare every ``.grad`` with what is known; ``received`` got theirs from ``call``."""
        found = {
            parameter: self._content(parameter, slot, call if parameter in received else None)
            for parameter, slot in self._slots.items()
        }
        # A copy is recognised by norm and sum. Where others were written by hand at the same time,
        # a small one may only look like an old one.
        if any(c.state.by_hand and c is not self._slots[p].now for p, (c, _) in found.items()):
            for parameter, (content, copied) in found.items():
                if copied:
                    state = GradState(content.state.value, by_hand=True)
                    found[parameter] = self._next(content, state, None), False
        for parameter, (content, _) in found.items():
            slot = self._slots[parameter]
            if content is not slot.now:
                slot.past.append(slot.now)
                slot.now = content

    def _content(self, parameter: Tensor, slot: _Slot, call: int | None) -> tuple[_Content, bool]:
        """What ``.grad`` holds now, and whether it was recognised as the copy of an old content."""
        # A parameter that was computed (by a hypernetwork, say) is no leaf and keeps no gradient.
        now, grad = slot.now, parameter.grad if parameter.is_leaf else None
        if grad is None:
            return (now if now.state.value is None else _Content(EMPTY, -1, 0)), False
        same = now.ref is not None and now.ref() is grad
        value, total = measured(grad)  # also where the version stayed: .grad.data is not counted
        kept = same and now.version == grad._version and alike(now.fingerprint, (value, total))
        if kept and call is None:
            return now, False
        seen = _Content(EMPTY, -1, 0, TensorWeakRef(grad), grad._version, (value, total))
        if call is not None:
            sources = (*now.state.sources, call)
            state = replace(now.state, value=value, sources=sources)
            return self._next(seen, state, None if now.state.value is None else now), False
        if same:  # rewritten in place by something other than backward
            cleared = value == 0.0
            state = GradState(0.0) if cleared else replace(now.state, value=value)
            return self._next(seen, state, None if cleared else now), False
        for old in reversed(slot.past):
            if old.state.value and alike(old.fingerprint, (value, total)):
                again = replace(seen, state=old.state, chain=old.chain, epoch=old.epoch)
                return again, old.ref is None or old.ref() is not grad
        there = value != 0.0
        state = GradState(value, by_hand=there and self._begun, before=there and not self._begun)
        return self._next(seen, state, None), False

    def _next(self, seen: _Content, state: GradState, before: _Content | None) -> _Content:
        if before is not None:
            return replace(seen, state=state, chain=before.chain, epoch=before.epoch + 1)
        self._chains += 1
        return replace(seen, state=state, chain=self._chains, epoch=0)

    def write_down(self) -> int:
        """Remember the state of every parameter, as last observed; the number of the row."""
        self._rows.append({p: slot.now for p, slot in self._slots.items()})
        return len(self._rows) - 1

    def row(self, number: int) -> dict[Tensor, GradState]:
        """What was written down, without the uses that only the end can tell."""
        return {p: content.state for p, content in self._rows[number].items()}

    def contents(self, parameters: Collection[Any]) -> dict[Tensor, _Content]:
        """What these of the followed parameters hold, as last observed."""
        return {p: self._slots[p].now for p in parameters if p in self._slots}

    def with_uses(
        self, steps: Mapping[int, Mapping[Tensor, _Content]]
    ) -> list[dict[Tensor, GradState]]:
        """All rows, each state with the step that used it; ``steps``: event -> what it consumed."""
        rows = [{p: content.state for p, content in row.items()} for row in self._rows]
        for parameter in self._slots:
            used: dict[int, list[tuple[int, int]]] = {}  # chain -> (step event, epoch it saw)
            for event, consumed in sorted(steps.items()):
                content = consumed.get(parameter)
                if content is not None and content.state.value is not None:
                    used.setdefault(content.chain, []).append((event, content.epoch))
            for i, row in enumerate(self._rows):
                content = row[parameter]
                events = [e for e, epoch in used.get(content.chain, ()) if epoch >= content.epoch]
                if events and content.state.is_gradient:
                    rows[i][parameter] = replace(content.state, used_by=events[0])
        return rows


def measured(grad: Tensor) -> tuple[float, float]:
    """(2-norm, sum) of a gradient or a weight; NaN where there are no values to look at."""
    if grad.is_meta or nn.parameter.is_lazy(grad):
        return math.nan, math.nan
    dense = grad.detach().to_dense() if grad.is_sparse else grad.detach()
    wide = dense.float() if dense.dtype in (torch.float16, torch.bfloat16) else dense
    return float(torch.linalg.vector_norm(wide)), float(wide.sum().real)


def alike(a: tuple[float, float] | None, b: tuple[float, float]) -> bool:
    """Equal, where NaN equals NaN."""
    return a is not None and all(
        x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True)
    )
