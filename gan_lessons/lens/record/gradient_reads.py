"""Gradients of parameters that somebody's own code computes with: for an attack, a norm, a log.

They have served then, whether or not a step uses them.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch.overrides
from torch import Tensor
from torch.utils.weak import TensorWeakRef

from gan_lessons.lens.record.source_lines import is_plumbing

Place = tuple[str, str]  # (net, parameter)
# What only looks whether one is there, or clears it by hand. (In place: what is changed by hand is
# told apart by its values.)
_READS, _CLEARS = ("__get__", "__set__"), ("zero_", "fill_", "detach_", "copy_")


class GradientReads:
    """``found``: the places of those that were computed with since it was last emptied."""

    def __init__(self) -> None:
        self.found: dict[Place, None] = {}
        self._given: dict[int, tuple[TensorWeakRef, Place]] = {}

    def given(self, place: Place | None, gradient: Any) -> bool:
        """``.grad`` of the parameter at ``place`` was read. Was it by somebody's own code?"""
        theirs = place is not None and isinstance(gradient, Tensor) and not _by_torch()
        if theirs and place is not None:
            self._given[id(gradient)] = TensorWeakRef(gradient), place
        return theirs

    def taken(self, func: Any, name: str, args: Any, out: Any) -> None:
        """The operation ``func`` took these arguments."""
        for tensor in (x for x in args if isinstance(x, Tensor)) if self._given else ():
            ref, place = self._given.get(id(tensor), (None, None))
            if ref is None or place is None or ref() is not tensor or _by_torch(func):
                continue
            if name in _READS and isinstance(out, Tensor):
                self.given(place, out)  # .data
            elif name not in _READS and name not in _CLEARS:
                self.found[place] = None

    def forget_the_dead(self) -> None:
        self._given = {key: one for key, one in self._given.items() if one[0]() is not None}


def _by_torch(func: Any = None) -> bool:
    """Did torch itself ask (an optimizer, a clipping, a zero_grad)? What it writes in Python, as
    Tensor.norm, comes by from within."""
    itself = getattr(func, "__code__", None)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        is_plumbing(frame.f_code, ours_alone=True)
        or frame.f_code is itself
        or frame.f_code.co_filename == torch.overrides.__file__
    ):
        frame = frame.f_back
    return frame is None or is_plumbing(frame.f_code)
