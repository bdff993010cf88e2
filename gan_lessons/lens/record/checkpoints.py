"""Hears of checkpoints that build no graph, because none of their inputs wants a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record import attaching
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.source_lines import caller_line
from gan_lessons.lens.record.undo import Undo


class Checkpoints:
    """Tells ``graph`` while one runs. ``hears()``: is what happens here ours to hear?"""

    def __init__(self, graph: LiveGraph, hears: Callable[[], bool]) -> None:
        self._graph, self._hears = graph, hears

    def attach(self, undo: Undo) -> None:
        owner, name = internals.CHECKPOINTS

        def inherit_again() -> None:
            """Whoever comes last, of several recordings that end in any order."""
            if vars(owner).get(name) == getattr(super(owner, owner), name):
                delattr(owner, name)

        undo.callback(inherit_again)
        attaching.replace_function(undo, owner, name, self._around)

    def _around(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        wants = any(isinstance(x, Tensor) and x.requires_grad for x in args)
        if wants or not torch.is_grad_enabled() or not self._hears():
            return original(*args, **kwargs)
        before, self._graph.checkpoint = self._graph.checkpoint, caller_line()
        try:
            return original(*args, **kwargs)
        finally:
            self._graph.checkpoint = before
