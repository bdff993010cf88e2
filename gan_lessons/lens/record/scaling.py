"""Hears when gradients are clipped by their norm, or the scale of a GradScaler is taken off."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from gan_lessons.lens.model import Scaling
from gan_lessons.lens.record import torch_internals as internals
from gan_lessons.lens.record.gradients import Names, by_net
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.optimizer_steps import held_parameters
from gan_lessons.lens.record.source_lines import caller_line
from gan_lessons.lens.record.undo import Undo


class Scalings:
    """Writes ``record.scalings``. ``hears()``: is what happens here ours to hear?"""

    def __init__(self, journal: Journal[Any], names: Names, hears: Callable[[], bool]) -> None:
        self._journal, self._names, self._hears = journal, names, hears

    def attach(self, undo: Undo) -> None:
        internals.replace_function(undo, *internals.CLIPS, self._around_clip)
        internals.replace_function(undo, GradScaler, "unscale_", self._around_unscale)

    def _around_clip(
        self, original: Callable[..., Any], parameters: Any, max_norm: Any, *args: Any, **kw: Any
    ) -> Any:
        # A largest norm of infinity measures, and clips nothing.
        if math.isfinite(float(max_norm)) and self._hears():
            given = (
                [parameters] if isinstance(parameters, Tensor) else (parameters := [*parameters])
            )
            self._note("clip", given)
        return original(parameters, max_norm, *args, **kw)

    def _around_unscale(
        self, original: Callable[..., Any], scaler: GradScaler, optimizer: Optimizer
    ) -> Any:
        if scaler.is_enabled() and self._hears():
            self._note("unscale", held_parameters(optimizer))
        return original(scaler, optimizer)

    def _note(self, kind: Literal["clip", "unscale"], parameters: Iterable[Tensor]) -> None:
        chosen: Collection[Tensor] = {*parameters}
        nets = by_net(self._names, chosen)
        if not nets:
            return  # a stranger's
        ours = {p for named in self._names.values() for p in named.values()} & {*chosen}
        states = [content.state for content in self._journal.contents(ours)]
        calls = {call for state in states if state.is_gradient for call in state.sources}
        record = self._journal.record
        told = Scaling(kind, len(record.events), caller_line(), nets, tuple(sorted(calls)))
        record.scalings.append(told)
