"""FLOPs of one step, counted while it runs: which net, forward or backward, in which call.

torch's own counter says how many; this module says whose. A forward is what runs inside the net's
forward. A backward is what runs inside a graph node that the net's forward built.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons.lens.record import NetHook, is_compiler_at_work, node_of, patched, tensors_in

FORWARD, BACKWARD = "forward", "backward"


@dataclass(frozen=True)
class Work:
    """FLOPs of one net in one forward or in one backward call.

    ``net``: None for what no net's forward built, such as a loss. ``phase``: "forward" or
    "backward". ``index``: which forward of the step (of any net), or which backward call, counted
    from 0; None for what ran in neither.
    """

    net: str | None
    phase: str
    index: int | None
    flops: int


@contextmanager
def counting(nets: Mapping[str, nn.Module]) -> Iterator[FlopCount]:
    """Count what the code in the block computes. Mutates nothing; the hooks are gone afterwards.

    Counts are those of ``torch.utils.flop_counter``: matrix products, convolutions and attention,
    two FLOPs for a multiplication with its addition. Biases, activations, norms and optimizers
    count nothing there.
    """
    count = FlopCount(nets)
    with ExitStack() as stack:
        count.attach(stack)
        yield count


class FlopCount:
    """``work`` is complete when the block of ``counting`` is over."""

    def __init__(self, nets: Mapping[str, nn.Module]) -> None:
        self.nets = dict(nets)
        self._counter = FlopCounterMode(display=False)
        self._counter.mod_tracker = _NoModules()  # type: ignore[assignment]
        self._flops: dict[tuple[str | None, str, int | None], int] = {}
        self._places: list[tuple[str | None, str, int | None]] = [(None, FORWARD, None)]
        self._told = 0  # FLOPs that have been put down already
        self._forwards = self._calls = 0
        self._inputs: list[set[Any]] = []  # graph nodes that a running forward was given
        self._owned: set[Any] = set()  # also keeps the nodes, for they are known by identity
        self._hooks: list[Any] = []

    @property
    def work(self) -> tuple[Work, ...]:
        """In the order in which it was first met; what is empty is left out."""
        return tuple(Work(*place, flops) for place, flops in self._flops.items() if flops)

    def attach(self, stack: ExitStack) -> None:
        for name, net in self.nets.items():
            before = NetHook(net, lambda *a, name=name: self._enter_forward(name, *a))
            after = NetHook(net, self._leave_forward)
            stack.callback(before.forget_copies)
            stack.callback(after.forget_copies)
            stack.callback(net.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(net.register_forward_hook(after, always_call=True).remove)
        stack.enter_context(patched(torch.autograd, "_engine_run_backward", self._around_engine))
        stack.callback(self._let_go)
        stack.enter_context(self._counter)
        stack.callback(self._put_down)

    def _let_go(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._owned.clear()

    def _put_down(self) -> None:
        """All FLOPs since the last time belong to the innermost place."""
        total = self._counter.get_total_flops()
        place = self._places[-1]
        self._flops[place] = self._flops.get(place, 0) + total - self._told
        self._told = total

    def _enter(self, place: tuple[str | None, str, int | None]) -> None:
        self._put_down()
        self._places.append(place)

    def _leave(self) -> None:
        self._put_down()
        self._places.pop()

    def _enter_forward(self, name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        given = {node_of(t) for t in tensors_in([args, kwargs]) if t.requires_grad}
        self._inputs.append(given)
        self._enter((name, FORWARD, self._forwards))
        self._forwards += 1

    def _leave_forward(self, _: nn.Module, __: Any, output: Any) -> None:
        net, phase, _index = self._places[-1]
        if phase != FORWARD or net is None:
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
            if node in self._owned or node in given or _is_leaf(node):
                continue
            self._owned.add(node)
            self._hooks.append(node.register_prehook(self._entering(net)))
            self._hooks.append(node.register_hook(self._leaving))
            waiting += [n for n, _ in node.next_functions if n is not None]

    def _entering(self, net: str) -> Callable[[Any], None]:
        return lambda _: self._enter((net, BACKWARD, self._places[-1][2]))

    def _leaving(self, *_: Any) -> None:
        self._leave()

    def _around_engine(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if is_compiler_at_work():
            return original(*args, **kwargs)
        depth = len(self._places)
        self._enter((None, BACKWARD, self._calls))
        self._calls += 1
        try:
            return original(*args, **kwargs)
        finally:
            self._put_down()
            del self._places[depth:]  # a node that raised did not leave


def _is_leaf(node: Any) -> bool:
    return hasattr(node, "variable")  # AccumulateGrad: it computes nothing and is shared


class _NoModules:
    """In the place of torch's module tracker, which we do not need, and which raises in
    ``torch.autograd.grad`` for the gradient at a leaf, as gradient penalties ask for it."""

    parents: Collection[str] = ("Global",)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
