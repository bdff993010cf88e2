"""FLOPs of one step, counted while it runs: which net, forward or backward, in which call.

torch's own counter says how many; this module says whose. A forward is what runs inside the net's
forward. A backward is what runs inside a graph node that the net's forward built.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Line
from gan_lessons.lens.record import (
    ENGINE,
    Undo,
    caller_line,
    is_compiler_at_work,
    node_of,
    replace_function,
    tensors_in,
    undone,
    watch_forwards,
)
from gan_lessons.torch_modes import torch_modes_kept

FORWARD, BACKWARD, GRAD = "forward", "backward", "grad"
_Place = tuple[str | None, str, int | None]  # net, phase, index, as in Work


@dataclass(frozen=True)
class Work:
    """FLOPs of one net in one forward, one backward call or one call of ``torch.autograd.grad``.

    ``net``: None for what no net's forward built, such as a loss. ``phase``: "forward", "backward"
    or "grad". ``index``: which forward of the step (of any net), which backward call or which call
    of ``grad``, each counted from 0 as in the record of a step; None for what ran in none of them.
    ``line``: where it was called.
    """

    net: str | None
    phase: str
    index: int | None
    flops: int
    line: Line | None = field(default=None, compare=False)


@contextmanager
def counting(nets: Mapping[str, nn.Module]) -> Iterator[FlopCount]:
    """Count what the code in the block computes. Mutates nothing; the hooks are gone afterwards.

    Counts are those of ``torch.utils.flop_counter``: matrix products, convolutions and attention,
    two FLOPs for a multiplication with its addition. Biases, activations, norms and optimizers
    count nothing there. Only the thread that entered is watched.
    """
    count = FlopCount(nets)
    with torch_modes_kept(), count.counter, undone() as undo:
        count.attach(undo)
        yield count


class FlopCount:
    """``work`` is complete when the block of ``counting`` is over."""

    def __init__(self, nets: Mapping[str, nn.Module]) -> None:
        self.nets = dict(nets)
        self.counter = FlopCounterMode(display=False)
        self.counter.mod_tracker = _NoModules()  # type: ignore[assignment]
        self._thread = threading.get_ident()
        self._flops: dict[_Place, int] = {}
        self._lines: dict[tuple[str, int | None], Line] = {}  # of every forward and call, in order
        self._places: list[_Place] = [(None, FORWARD, None)]  # where we are, the innermost last
        self._told = 0  # FLOPs that have been put down already
        self._inputs: list[set[Any]] = []  # graph nodes that a running forward was given
        self._owned: set[Any] = set()  # also keeps the nodes, for they are known by identity
        self._hooks: list[Any] = []

    @property
    def work(self) -> tuple[Work, ...]:
        """In the order in which it was first met; what is empty is left out."""
        found = ((place, flops) for place, flops in self._flops.items() if flops)
        return tuple(Work(*place, flops, self._lines.get(place[1:])) for place, flops in found)

    def attach(self, undo: Undo) -> None:
        _keep_compiler_unloaded(self.counter.mode)
        for name, net in self.nets.items():
            before = functools.partial(self._enter_forward, name)
            watch_forwards(undo, net, before, self._leave_forward)
        replace_function(undo, *ENGINE, self._around_engine)
        undo.callback(self._let_go)
        undo.callback(self._put_down)

    def _let_go(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._owned.clear()

    def _put_down(self) -> None:
        """All FLOPs since the last time belong to the innermost place."""
        total = self.counter.get_total_flops()
        place = self._places[-1]
        self._flops[place] = self._flops.get(place, 0) + total - self._told
        self._told = total

    def _enter(self, place: _Place) -> None:
        self._put_down()
        self._places.append(place)

    def _begin(self, net: str | None, phase: str) -> None:
        """The next forward, backward call or call of ``grad``, numbered as a record does."""
        index = sum(phase == known for known, _ in self._lines)
        self._lines[phase, index] = caller_line()
        self._enter((net, phase, index))

    def _leave(self) -> None:
        self._put_down()
        self._places.pop()

    def _enter_forward(self, name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        if threading.get_ident() == self._thread:
            given = {node_of(t) for t in tensors_in([args, kwargs]) if t.requires_grad}
            self._inputs.append(given)
            self._begin(name, FORWARD)

    def _leave_forward(self, module: nn.Module, _: Any, output: Any) -> None:
        net, phase, _index = self._places[-1]
        if threading.get_ident() != self._thread:
            return
        if net is None or phase != FORWARD or self.nets[net] is not module:
            return  # somebody's own hook raised before ours: this forward never began
        self._leave()
        given = self._inputs.pop()
        if output is not None:  # None: the forward raised
            roots = [node_of(t) for t in tensors_in(output) if t.requires_grad]
            self._own(net, roots, given)

    def _own(self, net: str, roots: list[Any], given: set[Any]) -> None:
        """Hooks on every node between the output and what came in tell when it is at work."""
        waiting = [node for node in roots if node is not None]
        while waiting:
            node = waiting.pop()
            if node in self._owned or node in given or hasattr(node, "variable"):
                continue  # the last is a leaf: it computes nothing, and graphs share it
            self._owned.add(node)
            enter = node.register_prehook(lambda _: self._enter((net, *self._places[-1][1:])))
            self._hooks += [enter, node.register_hook(lambda *_: self._leave())]
            waiting += [n for n, _ in node.next_functions if n is not None]

    def _around_engine(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if threading.get_ident() != self._thread or is_compiler_at_work():
            return original(*args, **kwargs)
        depth = len(self._places)
        net = self._places[-1][0]
        running = next((place for place in self._places if place[1] != FORWARD), None)
        if running is not None:  # a backward inside a backward (checkpointing) is part of it
            self._enter((net, *running[1:]))
        else:
            self._begin(net, BACKWARD if kwargs.get("accumulate_grad", True) else GRAD)
        try:
            return original(*args, **kwargs)
        finally:
            self._put_down()
            del self._places[depth:]  # a node that raised did not leave


def _keep_compiler_unloaded(mode: Any) -> None:
    """torch loads its compiler (1 s) at the first operation that a dispatch mode sees, to keep the
    compiler out of the mode. As long as it is not loaded, nobody compiles: so go without.

    And what the counter would let pass, after a long look at it, passes at once.
    """
    guarded = type(mode).__torch_dispatch__
    plain = inspect.unwrap(guarded)
    counted = mode.counter.flop_registry

    def dispatch(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not types and internals.is_one_kernel(func) and internals.packet_of(func) not in counted:
            return func(*args, **(kwargs or {}))
        way = guarded if internals.is_compiler_loaded() else plain
        return way(self, func, types, args, kwargs)

    mode.__torch_dispatch__ = types.MethodType(dispatch, mode)


class _NoModules:
    """In the place of torch's module tracker, which we do not need, and which raises in
    ``torch.autograd.grad`` for the gradient at a leaf, as gradient penalties ask for it."""

    parents: Collection[str] = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
