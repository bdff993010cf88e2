"""Hears when gradients are clipped by their norm, and when a GradScaler scales and unscales."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Scaling
from gan_lessons.lens.record import attaching
from gan_lessons.lens.record.gradients import Names, by_net
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.operations import tensors_in
from gan_lessons.lens.record.optimizer_steps import held_parameters
from gan_lessons.lens.record.source_lines import caller_line
from gan_lessons.lens.record.undo import Undo


class Scalings:
    """Writes ``record.scalings``. ``hears()``: is what happens here ours to hear?"""

    def __init__(self, journal: Journal[Any], names: Names, hears: Callable[[], bool]) -> None:
        self._journal, self._names, self._hears = journal, names, hears

    def attach(self, undo: Undo) -> None:
        attaching.replace_function(undo, *internals.CLIPS, self._around_clip)
        attaching.replace_function(undo, GradScaler, "scale", self._around_scale)
        attaching.replace_function(undo, GradScaler, "unscale_", self._around_unscale)
        attaching.replace_function(undo, GradScaler, "step", self._around_step)

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

    def _around_scale(self, original: Callable[..., Any], scaler: GradScaler, outputs: Any) -> Any:
        scaled = original(scaler, outputs)
        if scaler.is_enabled() and self._hears():
            with internals.without_torch_functions():
                for node in filter(None, map(internals.grad_fn_of, tensors_in(scaled))):
                    key = self._journal.graph.id_of(node)
                    self._append(Scaling("scale", self._now(), caller_line(), node=key))
        return scaled

    def _around_step(
        self, original: Callable[..., Any], scaler: GradScaler, optimizer: Optimizer,
        *args: Any, **kwargs: Any,
    ) -> Any:  # fmt: skip
        if scaler.is_enabled() and self._hears():
            self._note("step", held_parameters(optimizer))  # a fused one unscales by itself
        return original(scaler, optimizer, *args, **kwargs)

    def _around_unscale(
        self, original: Callable[..., Any], scaler: GradScaler, optimizer: Optimizer
    ) -> Any:
        if scaler.is_enabled() and self._hears():
            self._note("unscale", held_parameters(optimizer))
        return original(scaler, optimizer)

    def _note(self, kind: Literal["clip", "unscale", "step"], given: Iterable[Tensor]) -> None:
        nets = by_net(self._names, chosen := {*given})
        if not nets:
            return  # a stranger's
        ours = {p for named in self._names.values() for p in named.values()} & chosen
        states = [content.state for content in self._journal.contents(ours)]
        calls = {call for state in states if state.is_gradient for call in state.sources}
        self._append(Scaling(kind, self._now(), caller_line(), nets, tuple(sorted(calls))))

    def _now(self) -> int:
        return len(self._journal.record.events)

    def _append(self, told: Scaling) -> None:
        self._journal.record.scalings.append(told)
