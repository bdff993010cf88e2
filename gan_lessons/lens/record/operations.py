"""Hears every call into torch: tags the graph nodes it makes, and sees where graphs are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import TensorWeakRef

from gan_lessons.lens.model import Cut, Line
from gan_lessons.lens.record import torch_patches as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.source_lines import caller_line


@dataclass(frozen=True)
class Detached:
    """A tensor's past: it was detached from node ``source``."""

    source: int
    how: str
    line: Line


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [t for item in value for t in tensors_in(item)]


class Operations(TorchFunctionMode):
    """Follows tensors from operation to operation, into ``graph``.

    ``exposed(tensor)`` hears of tensors that can now be written to without torch counting it.
    """

    def __init__(self, graph: LiveGraph, exposed: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._graph, self._exposed = graph, exposed
        self._detached: dict[int, tuple[TensorWeakRef, Detached]] = {}
        self.active = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        __tracebackhide__ = True
        kwargs = kwargs or {}
        if torch.compiler.is_compiling() or not self.active:
            return func(*args, **kwargs)  # a net is compiled as it would be without us
        name = getattr(func, "__name__", "")
        if name in _CUT_OR_EXPOSE and (how := _special(func, name)):
            return self._special_call(how, func, args, kwargs)
        out = func(*args, **kwargs)
        if name == "__get__":
            if self._detached and func != internals.READS_GRAD and isinstance(out, Tensor):
                self._attribute(out, args[0])
        elif name != "__set__" and (self._detached or torch.is_grad_enabled()):
            # With torch functions off: what we look at must not come back to this mode or another.
            with internals.without_torch_functions():
                made = args[0] if name == "__setitem__" else out
                # A gradient is computed along the graph, not from the tensors it is asked for.
                self._operation(() if func is torch.autograd.grad else (args, kwargs), made)
        return out

    def _special_call(self, how: str, func: Any, args: Any, kwargs: Any) -> Any:
        """A call that cuts a tensor from its graph, or gives its memory away, or both."""
        tensor = args[0] if args and isinstance(args[0], Tensor) else None
        source = None if tensor is None or how == _MEMORY else internals.grad_fn_of(tensor)
        if tensor is not None and how in (_MEMORY, ".data"):
            self._give_away(tensor)
        out = func(*args, **kwargs)
        with internals.without_torch_functions():
            if tensor is not None and how == _MEMORY:
                self._give_away(tensor)  # after `x.data = y` it shares the memory of y
            elif source is not None and isinstance(out, Tensor):
                self._graph.tag(source)
                self._mark(out, Detached(self._graph.id_of(source), how, caller_line()))
        return out

    def _give_away(self, tensor: Tensor) -> None:
        self._exposed(tensor)
        self._graph.memory_moved()

    def _attribute(self, out: Tensor, tensor: Tensor) -> None:
        """An attribute was read: of a detached tensor, ``.mT`` and the like are detached too."""
        with internals.without_torch_functions():
            past = self.past(tensor)
            if past is not None and not out.requires_grad:
                self._mark(out, past)

    def _operation(self, taken: Any, made: Any) -> None:
        cut: list[tuple[Tensor, Detached]] = []
        if self._detached:
            cut = [(t, past) for t in tensors_in(taken) if (past := self.past(t)) is not None]
        for tensor in (made,) if isinstance(made, Tensor) else tensors_in(made):
            if (node := internals.grad_fn_of(tensor)) is not None:
                new = self._graph.made(tensor, node)
                for source, past in cut:
                    self._cut(source, past, new or [node])
            elif cut:
                self._mark(tensor, cut[0][1])

    def _cut(self, tensor: Tensor, past: Detached, new: list[Any]) -> None:
        """Say where a detached tensor went in: at its own leaf if it was made one, else at the
        first of the ``new`` nodes that lacks an input."""
        if tensor.requires_grad:
            target = torch.autograd.graph.get_gradient_edge(tensor).node
        else:
            lacking = (n for n in new if any(child is None for child, _ in n.next_functions))
            target = next(lacking, new[0])
        cut = Cut(past.source, self._graph.id_of(target), past.how)
        if cut not in self._graph.cuts:
            self._graph.cuts.append(cut)

    def _mark(self, tensor: Tensor, past: Detached) -> None:
        self._detached[id(tensor)] = (TensorWeakRef(tensor), past)

    def came_in(self, tensors: Iterable[Tensor]) -> None:
        """These go into a net; those that no recorded operation made are inputs from outside."""
        with internals.without_torch_functions():
            for tensor in tensors:
                if tensor.grad_fn is None and self.past(tensor) is None:
                    self._graph.came_in(tensor)

    def came_out(self, tensors: Iterable[Tensor]) -> None:
        """A net made these. Catches nodes that no torch function showed (compiled, custom)."""
        with internals.without_torch_functions():
            self._operation((), list(tensors))

    def past(self, tensor: Tensor) -> Detached | None:
        """How this tensor was cut from its graph, if it was."""
        ref, past = self._detached.get(id(tensor), (None, None))
        return past if ref is not None and ref() is tensor else None

    def forget_the_dead(self) -> None:
        """Most detached tensors live for one line, and an operation is faster when there are none."""
        self._detached = {k: entry for k, entry in self._detached.items() if entry[0]() is not None}

    def close(self) -> None:
        self.active = False
        self._detached.clear()


_MEMORY = "memory"  # it gives the memory of a tensor away, or exchanges it
_DETACH = {
    torch.Tensor.detach: "detach()",
    torch.Tensor.detach_: "detach_()",
    torch.detach: "detach()",
}
_GIVE_MEMORY = frozenset(
    {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage", "set_"}
)
_CUT_OR_EXPOSE = _GIVE_MEMORY | {"detach", "detach_", "__get__", "__set__"}


def _special(func: Any, name: str) -> str | None:
    """How ``func`` cuts a tensor from its graph, or that it gives its memory away; else None."""
    if name == "__get__":
        return ".data" if func == internals.READS_DATA else None
    if name == "__set__":
        return _MEMORY if func == internals.WRITES_DATA else None
    if name in _GIVE_MEMORY:
        return _MEMORY
    torchs_own = isinstance(func, (MethodDescriptorType, BuiltinFunctionType))
    return _DETACH.get(func) if torchs_own else None
