"""Hears every call into torch: tags the graph nodes it makes, and sees where graphs are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.gradient_reads import GradientReads
from gan_lessons.lens.record.line_tracing import unheard
from gan_lessons.lens.record.made_of_gradients import MadeOfGradients
from gan_lessons.lens.record.source_lines import caller_line, outer_lines
from gan_lessons.lens.record.targets import Targets
from gan_lessons.lens.record.telling_numbers import TellingNumbers
from gan_lessons.lens.record.thawing import Thawing
from gan_lessons.lens.record.unread import Unread
from gan_lessons.lens.record.values import READS, Values


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [t for item in value for t in tensors_in(item)]


def _takes_graph(args: Any) -> bool:
    """Is there a tensor with a graph among these arguments?"""
    with internals.without_torch_functions():
        given = (t for t in args if isinstance(t, Tensor))
        return any(internals.grad_fn_of(t) is not None for t in given)


class Operations(TorchFunctionMode):
    """Follows tensors from operation to operation, into ``graph``.

    ``exposed(tensor)`` hears of tensors that can now be written to without torch counting it.
    """

    def __init__(self, graph: LiveGraph, exposed: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._graph, self._exposed = graph, exposed
        self.values = Values(graph)
        self.numbers, self.targets = TellingNumbers(graph), Targets(graph)
        self.unread, self.reads = Unread(graph), GradientReads()
        self.thawing, self.made = Thawing(), MadeOfGradients(graph)
        self.ended = False
        self._paused = 0  # how deep the stack of modes was

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        __tracebackhide__ = True
        if self.ended or torch.compiler.is_compiling():  # compiled as it would be without us
            return func(*args, **(kwargs or {}))
        return self._called(func, args, kwargs or {})

    @unheard
    def _called(self, func: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        name = getattr(func, "__name__", "")
        if name in _CUT_OR_EXPOSE and (how := _special(func, name)):
            out = self._special_call(how, name, func, args, kwargs)
            self.reads.taken(func, name, args, out)
            self._made_of_gradients(args, out)
            return out
        if name == "requires_grad_" or (name == "__set__" and func == internals.FREEZES):
            self._graph.freezes(args[0], line := caller_line())
            self.thawing.switched(args[0], line)
        if name[-1:] == "_" or kwargs.get("inplace"):
            self._written(name, args, kwargs)
        out = func(*args, **kwargs)
        self.reads.taken(func, name, args, out)
        if name == "__get__":
            if func == internals.READS_GRAD:
                self._gradient_read(args[0], out)
            elif self.values.followed and isinstance(out, Tensor):
                self._attribute(out, args[0])
        elif name != "__set__" and (
            self.values.followed
            or torch.is_grad_enabled()
            or self._graph.running
            or _takes_graph(args)  # without gradients: what it makes is cut off
        ):
            # With torch functions off: what we look at must not come back to this mode or another.
            with internals.without_torch_functions():
                made = args[0] if name == "__setitem__" else out
                # A gradient is computed along the graph, not from the tensors it is asked for.
                taken = () if func is torch.autograd.grad else (args, kwargs)
                self._operation(name, taken, made)
                if func is torch.autograd.grad:
                    self._slopes(made, *args, **kwargs)
        self._made_of_gradients((args, kwargs), out)
        if self._graph.checkpoint is not None:
            self._graph.ran_in_checkpoint(args)
        if not torch.is_grad_enabled() and not self._graph.running:
            self._graph.ungraded.update(id(p) for p in args if isinstance(p, nn.Parameter))
        return out

    def _gradient_read(self, tensor: Tensor, gradient: Any) -> None:
        self.values.gradient_of(self._graph.gradient_read(tensor), gradient)
        if self.reads.given(place := self._graph.place_of(tensor), gradient):
            self.made.read(place, gradient)

    def _made_of_gradients(self, taken: Any, out: Any) -> None:
        if self.made.followed:
            with internals.without_torch_functions():
                self.made.went(tensors_in(taken), tensors_in(out))

    def pause(self) -> None:
        """Hear nothing until ``resume``: most calls of a step are those of its optimizer."""
        if not self._paused and internals.function_modes()[-1:] == [self]:
            internals.pop_mode()
            self._paused = len(internals.function_modes()) + 1

    def resume(self) -> None:
        """Not where somebody's mode came meanwhile: it would take ours off when it goes."""
        if self._paused == len(internals.function_modes()) + 1:
            self._paused = 0
            internals.push_mode(self)

    def _written(self, name: str, args: Any, kwargs: Any) -> None:
        """An operation is about to write into a tensor: by its name, or because it was asked to."""
        in_place = kwargs.get("inplace") or name == "__setitem__"
        in_place = in_place or (name[-2:] != "__" and name not in _NO_VALUE)
        if in_place and (tensor := _subject(args, kwargs)) is not None:
            with internals.without_torch_functions():
                if (node := internals.grad_fn_of(tensor)) is not None:
                    self._graph.written[self._graph.id_of(node)] = caller_line()

    def _special_call(self, how: str, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """A call that cuts a tensor from its graph, or gives its memory away, or both."""
        tensor = _subject(args, kwargs)
        source = None if tensor is None or how == _MEMORY else internals.grad_fn_of(tensor)
        if tensor is not None and how in (_MEMORY, ".data"):
            self._exposed(tensor)
            self._graph.memory_moved |= how == _MEMORY
        out = func(*args, **kwargs)
        with internals.without_torch_functions():
            if tensor is not None and how == _MEMORY:
                self._exposed(tensor)  # after `x.data = y` it shares the memory of y
                self.values.went_on(name, [tensor], [])
            elif source is not None and isinstance(out, Tensor):
                self.values.cut_off(source, how, [out])
            elif tensor is not None and isinstance(out, Tensor) and self.values.followed:
                self.values.handed_on(tensor, out)  # it had no graph before, either
            elif isinstance(tensor, nn.Parameter) and torch.is_grad_enabled():
                self.values.taken_from(tensor, how)
        return out

    def _slopes(
        self, made: Any, outputs: Any, inputs: Any, grad_outputs: Any = None,
        retain_graph: Any = None, create_graph: bool = False, *_: Any, **__: Any,
    ) -> None:  # fmt: skip
        """``autograd.grad`` made these; its arguments tell whether they have a graph."""
        self.unread.asked(tensors_in(inputs))
        if not create_graph:
            self.values.slopes(tensors_in(outputs), tensors_in(made))
        nodes = (internals.grad_fn_of(t) for t in tensors_in(made) if create_graph)
        self._graph.curved.update(self._graph.id_of(node) for node in nodes if node is not None)

    def _attribute(self, out: Tensor, tensor: Tensor) -> None:
        """An attribute was read: ``.mT`` and the like have the past of the tensor itself."""
        with internals.without_torch_functions():
            if not out.requires_grad:
                self.values.handed_on(tensor, out)

    def _operation(self, name: str, taken: Any, made: Any) -> None:
        given = tensors_in(taken) if self.values.followed else []
        lost = []
        for tensor in (made,) if isinstance(made, Tensor) else tensors_in(made):
            if (node := internals.grad_fn_of(tensor)) is None:
                lost.append(tensor)
                continue
            new = self._graph.tag(node)
            self._graph.outputs.append(TensorWeakRef(tensor))
            if given:
                self.values.went_into(new or [node], given)
            if taken:
                self.values.used(taken[0], node)
            if new and not self._graph.running:
                key = self._graph.id_of(node)
                self._graph.lines[key] = caller_line()
                if taken and any(map(self._is_fixed, (*taken[0], *taken[1].values()))):
                    self._graph.judged.add(key)
                if tensor.numel() == 1 and (outer := outer_lines()):
                    self._graph.outer_lines[key] = outer
            if new:
                self.numbers.look(new, taken[0] if taken else (), tensor)
            if new and taken and not self._graph.running:
                self.targets.look(new, taken[0], self.values)
        if type(made) is float:
            self.values.became(made, name, tensors_in(taken))
        if lost or name in READS:
            self.values.went_on(name, given or tensors_in(taken), lost)

    def _is_fixed(self, given: Any) -> bool:
        return isinstance(given, nn.Parameter) and id(given) not in self._graph.held

    def came_in(self, net: str, tensors: list[Tensor]) -> None:
        """These go into a net; those that no recorded operation made are inputs from outside."""
        with internals.without_torch_functions():
            self.targets.known(net, tensors)
            for tensor in tensors:
                if tensor.grad_fn is None and self.values.recognise(tensor) is None:
                    self._graph.inputs.append(TensorWeakRef(tensor))

    def came_out(self, tensors: Iterable[Tensor]) -> None:
        """A net made these. Catches nodes that no torch function showed (compiled, custom)."""
        self._graph.storages.clear()  # the net may have new ones
        with internals.without_torch_functions():
            made = list(tensors)
            self._operation("", (), made)
            lost = [t for t in made if internals.grad_fn_of(t) is None]
            self.targets.known(self._graph.running[-1].net, lost)
            for tensor in lost:
                self.values.came_out(tensor)


def _subject(args: Any, kwargs: Any) -> Tensor | None:
    """The tensor that a call is about: the first argument, which torch calls ``input``."""
    first = args[0] if args else kwargs.get("input")
    return first if isinstance(first, Tensor) else None


_MEMORY = "memory"  # it gives the memory of a tensor away, or exchanges it
_DETACH = {
    torch.Tensor.detach: "detach()",
    torch.Tensor.detach_: "detach_()",
    torch.detach: "detach()",
}
_GIVE_MEMORY = frozenset(
    {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage", "set_"}
)
_NO_VALUE = frozenset({"requires_grad_", "share_memory_"})  # they write, and not into the values
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
