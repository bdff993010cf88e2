"""Hears of modules that are to reverse a gradient by a method which torch never calls.

The backward of a ``torch.autograd.Function`` counts, that of an ``nn.Module`` is a mere method."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_lessons.lens.model import REVERSAL
from gan_lessons.lens.record import attaching
from gan_lessons.lens.record.undo import Undo


def watch_reversals(
    undo: Undo, nets: Mapping[str, nn.Module], found: dict[str, str], hears: Callable[[], bool]
) -> None:
    """Write into ``found``, net -> path, the first such module of each net that handed on a value
    with a graph and had nothing of its own in it."""

    def ran(net: str, path: str, module: nn.Module, args: Any, made: Any) -> None:
        if not hears() or not isinstance(made, Tensor) or made.grad_fn is None:
            return
        own = isinstance(made.grad_fn, torch.autograd.function.BackwardCFunction)
        if not own and not [*module.parameters()]:
            found.setdefault(net, path)

    for net, root in nets.items():
        for path, part in root.named_modules():
            kind = type(part)
            if path and REVERSAL.search(kind.__name__) and hasattr(kind, "backward"):
                after = functools.partial(ran, net, path)
                attaching.watch_forwards(undo, part, lambda *_: None, after)
