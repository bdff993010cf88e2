"""Hears when a net is given a state that was taken from it, and never copied: its own memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Line
from gan_lessons.lens.record import attaching
from gan_lessons.lens.record.gradients import Names
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.source_lines import caller_line
from gan_lessons.lens.record.undo import Undo


class PuttingBack:
    """Writes ``record.put_back``. ``hears()``: is what happens here ours to hear?"""

    def __init__(self, journal: Journal[Any], names: Names, hears: Callable[[], bool]) -> None:
        self._journal, self._names, self._hears = journal, names, hears
        self._taken: dict[int, tuple[TensorWeakRef, int, Line]] = {}  # of states: when, and where

    def attach(self, undo: Undo) -> None:
        attaching.replace_function(undo, nn.Module, "state_dict", self._around_taking)
        attaching.replace_function(undo, nn.Module, "load_state_dict", self._around_putting)

    def _around_taking(
        self, original: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any
    ) -> Any:
        state = original(module, *args, **kwargs)
        whole = not args and "destination" not in kwargs  # else it is a part of one
        if whole and isinstance(state, Mapping) and self._hears():
            with internals.without_torch_functions():
                now, line = len(self._journal.record.events), caller_line()
                self._taken = {k: e for k, e in self._taken.items() if e[0]() is not None}
                for tensor in (t for t in state.values() if isinstance(t, Tensor)):
                    self._taken[id(tensor)] = TensorWeakRef(tensor), now, line
        return state

    def _around_putting(
        self, original: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any
    ) -> Any:
        state = args[0] if args else kwargs.get("state_dict")
        if isinstance(state, Mapping) and self._hears():
            with internals.without_torch_functions():
                found = self._own(module, state)
            net = self._net_of(module)
            if found is not None and net is not None:
                now = len(self._journal.record.events)
                self._journal.record.put_back.append((net, *found, now, caller_line()))
        return original(module, *args, **kwargs)

    def _own(self, module: nn.Module, state: Mapping[Any, Any]) -> tuple[int, Line] | None:
        """When and where this state was taken, if it is the memory of the module itself: of every
        parameter."""
        found: tuple[int, Line] | None = None
        for name, parameter in module.named_parameters():
            tensor = state.get(name)
            if not isinstance(tensor, Tensor) or id(tensor) not in self._taken:
                return None
            ref, now, line = self._taken[id(tensor)]
            if ref() is not tensor or not _is_same_memory(tensor, parameter):
                return None
            found = now, line
        return found

    def _net_of(self, module: nn.Module) -> str | None:
        """The net that the module is, or is a part of."""
        own = {*module.parameters()}
        for net, named in self._names.items():
            if own and own <= {*named.values()}:
                return net
        return None


def _is_same_memory(one: Tensor, two: Tensor) -> bool:
    try:
        return one.shape == two.shape and 0 != one.data_ptr() == two.data_ptr()
    except RuntimeError:  # fake, or wrapped
        return False
