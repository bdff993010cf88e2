"""Where values go that no gradient follows: detached, made without gradients, out of torch.

Tensors are held weakly and known by identity; what is computed from a marked one is marked too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Cut, Line
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.source_lines import caller_line

_LEAVES = {"numpy", "__array__"}  # ways out of torch: what comes back is a stranger
_NUMBERS = {"item": ".item()", "tolist": ".tolist()", "__float__": "float()", "__int__": "int()"}
_CHOOSE = {"gt", "ge", "lt", "le", "argmax", "argmin", "multinomial", "bernoulli"}
_ANEW = {"tensor", "as_tensor"}  # of the numbers of all that they were given
READS = {*_LEAVES, "item", "tolist", "__float__", "__int__", "__bool__", "__repr__", "__format__"}


@dataclass(frozen=True)
class Detached:
    """A tensor's past: node ``source`` made it, and ``how`` it was cut off in ``line``, while a
    forward of the net ``through`` ran. ``judged``: weights that nobody trains had a part in it.
    ``since``: names of the operations that it went through since, or there, outside the nets."""

    source: int
    how: str
    line: Line
    through: str | None = None
    judged: bool = False
    since: frozenset[str] = frozenset()


SLOPE = "autograd.grad"
Makers = Mapping[str, int]  # net -> its last forward, without a graph, that a value came through


class Values:
    """Writes to ``graph``: its ``cuts`` and ``slopes``, and what of values was ``read``,
    ``left``, ``fed`` and a net's ``numbers``."""

    def __init__(self, graph: LiveGraph) -> None:
        self._graph = graph
        self._detached: dict[int, tuple[TensorWeakRef, Detached]] = {}
        self._made: dict[int, tuple[TensorWeakRef, Makers]] = {}
        self._storages: dict[int, tuple[StorageWeakRef, Detached]] = {}
        self._read: dict[float, tuple[int, str, Line]] = {}  # numbers that nothing has taken yet
        self._taken: dict[float, int] = {}  # and those that something has

    @property
    def followed(self) -> bool:
        """Is there any tensor to follow? An operation is faster when there are none."""
        return bool(self._detached or self._made)

    def forget_the_dead(self) -> None:
        """Most of these tensors live for one line."""
        self._detached = {k: e for k, e in self._detached.items() if e[0]() is not None}
        self._made = {k: made for k, made in self._made.items() if made[0]() is not None}
        self._storages = {k: e for k, e in self._storages.items() if not e[0].expired()}

    def past(self, tensor: Tensor) -> Detached | None:
        """How this tensor was cut from its graph, if it was."""
        ref, past = self._detached.get(id(tensor), (None, None))
        return past if ref is not None and ref() is tensor else None

    def mark(self, tensor: Tensor, past: Detached) -> None:
        self._detached[id(tensor)] = TensorWeakRef(tensor), past

    def recognise(self, tensor: Tensor) -> Detached | None:
        """The past of a tensor, also where only its storage is that of a detached one: a
        ``Variable`` made of ``.data``, which no torch function shows."""
        past, storage = self.past(tensor), _storage(tensor)
        if past is not None or storage is None:
            return past
        ref, past = self._storages.get(internals.identity_of(storage), (None, None))
        if ref is None or ref.expired() or past is None:
            return None
        self.mark(tensor, past)
        return past

    def handed_on(self, tensor: Tensor, out: Tensor) -> None:
        """``out`` has the values of ``tensor``, and no graph."""
        if (past := self.past(tensor)) is not None:
            self.mark(out, past)
        if makers := self._makers([tensor]):
            self._made[id(out)] = TensorWeakRef(out), makers

    def cut_off(
        self, source: Any, how: str, made: Sequence[Tensor], judged: bool = False, name: str = ""
    ) -> None:
        """``made`` have the value of what ``source`` made, and no graph."""
        key = self._number(source)
        self._graph.read.add(key)
        forward = self._graph.running[-1] if self._graph.running else None
        through = forward.net if forward else None
        past = Detached(key, how, caller_line(), through, judged, self._through(name))
        for tensor in made:
            self.mark(tensor, past)
            if (storage := _storage(tensor)) is not None:
                self._storages[internals.identity_of(storage)] = StorageWeakRef(storage), past

    def slopes(self, outputs: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """``made`` are the gradients of ``outputs``, computed without a graph of their own."""
        source = next((n for t in outputs if (n := internals.grad_fn_of(t)) is not None), None)
        if source is not None:
            for tensor in (t for t in made if not t.requires_grad):
                self.mark(tensor, Detached(self._number(source), SLOPE, caller_line()))

    def gradient_of(self, leaf: int | None, gradient: Tensor | None) -> None:
        """``gradient`` is the ``.grad`` of an input."""
        if leaf is not None and gradient is not None and not gradient.requires_grad:
            self.mark(gradient, Detached(leaf, SLOPE, caller_line()))

    def came_out(self, tensor: Tensor) -> None:
        """The forward that runs made this tensor without a graph."""
        if self._graph.running:
            forward = self._graph.running[-1]
            makers = {**self._makers([tensor]), forward.net: forward.index}
            self._made[id(tensor)] = TensorWeakRef(tensor), makers

    def went_into(self, new: Sequence[Any], taken: Sequence[Tensor]) -> None:
        """An operation with a graph (its ``new`` nodes) took these tensors."""
        for tensor in taken:
            if (past := self.past(tensor)) is not None:
                self._cut(tensor, past, new)
            for forward in self._makers([tensor]).values():
                self._graph.fed[forward, self._number(new[-1])] = None

    def went_on(self, name: str, taken: Sequence[Tensor], made: Sequence[Tensor]) -> None:
        """An operation took these tensors, and what it made has no graph (or is no tensor)."""
        if (not made and name not in READS) or name.endswith("_like") or name.startswith("new_"):
            return  # no value goes on
        if name in _NUMBERS and self._graph.running:
            self._numbers(_NUMBERS[name], taken)
        pasts = [p for t in taken if (p := self.past(t)) is not None]
        past = min(pasts, key=lambda p: p.how == SLOPE, default=None)
        source = next((n for t in taken if (n := internals.grad_fn_of(t)) is not None), None)
        makers = self._makers(taken)
        fixed = (t for t in taken if isinstance(t, nn.Parameter) and id(t) not in self._graph.held)
        judged = not self._graph.running and any(True for _ in fixed)
        since = (past.since if past is not None else frozenset()) | self._through(name)
        for tensor in made:
            if past is not None:
                self.mark(tensor, replace(past, judged=past.judged or judged, since=since))
            if makers:
                self._made[id(tensor)] = TensorWeakRef(tensor), makers
        if source is not None and name in _ANEW:
            nodes = (internals.grad_fn_of(t) for t in taken)
            self._graph.read.update(self._number(node) for node in nodes if node is not None)
        if source is not None and name in READS:
            self._graph.read.add(self._number(source))
        elif source is not None and past is None and name != "broadcast_tensors":  # side by side
            free = [t for t in made if _is_free(t)]  # no parameter that an optimizer moves
            how = f"{name}()" if torch.is_grad_enabled() else "torch.no_grad"
            self.cut_off(source, how, free, judged, name)
        if past is not None and past.how == SLOPE:
            return
        if name in _LEAVES and (source is not None or past is not None):
            key = past.source if past is not None else self._number(source)
            self._graph.left.append((key, "NumPy", caller_line()))

    def _through(self, name: str) -> frozenset[str]:
        """What a net does inside is its own affair, but for a choice."""
        name = name.strip("_")
        known = name in _CHOOSE or not self._graph.running
        return frozenset([name]) if name and known else frozenset()

    def became(self, number: float, name: str, taken: Sequence[Tensor]) -> None:
        """Outside the nets these were read as a Python number: it may be printed, or computed with;
        ``used`` tells."""
        if name in _NUMBERS and not self._graph.running:
            for tensor in (t for t in taken if t.requires_grad):
                node = torch.autograd.graph.get_gradient_edge(tensor).node
                self._read[number] = self._number(node), _NUMBERS[name], caller_line()
                self._taken.pop(number, None)

    def used(self, numbers: Iterable[Any], node: Any) -> None:
        """An operation with a graph, which built ``node``, took these arguments."""
        for number in (x for x in numbers if type(x) is float):
            if number in self._read:
                self._graph.numbers.append(found := self._read.pop(number))
                self._taken[number] = found[0]
            # Zero, one and a half may stand there by chance.
            if number in self._taken and not (1024 * number).is_integer():
                self._graph.numbered.append((self._taken[number], self._number(node)))

    def taken_from(self, parameter: nn.Parameter, how: str) -> None:
        """The forward that runs reads this parameter past the graph."""
        if self._graph.running:
            self._numbers(how, [parameter])

    def _numbers(self, how: str, taken: Sequence[Tensor]) -> None:
        for tensor in (t for t in taken if t.requires_grad):
            node = torch.autograd.graph.get_gradient_edge(tensor).node
            self._graph.numbers.append((self._number(node), how, caller_line()))

    def clear(self) -> None:
        """Let go of every tensor."""
        self._detached.clear()
        self._storages.clear()
        self._made.clear()
        self._read.clear()
        self._taken.clear()

    def _cut(self, tensor: Tensor, past: Detached, new: Sequence[Any]) -> None:
        """Say where a detached tensor went in: at its own leaf if it was made one, else at the
        first of the ``new`` nodes that lacks an input, or, where none does (it took the tensor as
        an index), at the first that is no leaf."""
        if tensor.requires_grad and internals.base_of(tensor) is None:
            target = torch.autograd.graph.get_gradient_edge(tensor).node
        else:
            lacking = (n for n in new if any(child is None for child, _ in n.next_functions))
            target = next(lacking, next((n for n in new if n.next_functions), new[0]))
        key = self._number(target)
        since = tuple(sorted(past.since))
        cut = Cut(past.source, key, past.how, past.line, past.through, past.judged, since)
        found = self._graph.slopes if past.how == SLOPE else self._graph.cuts
        found.setdefault((cut.source, cut.target), cut)

    def _number(self, node: Any) -> int:
        return self._graph.id_of(node)

    def _makers(self, tensors: Iterable[Tensor]) -> Makers:
        """The forwards without a graph that these values came through, one of each net."""
        found: dict[str, int] = {}
        for tensor in tensors:
            ref, makers = self._made.get(id(tensor), (None, None))
            if ref is not None and makers is not None and ref() is tensor:
                found |= makers
        return found


def _is_free(tensor: Tensor) -> bool:
    """Torch says of some views that were made without gradients that they require them."""
    return not tensor.requires_grad or (
        internals.base_of(tensor) is not None and internals.grad_fn_of(tensor) is None
    )


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    """None for what has none (sparse, fake and functorch's tensors)."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None
