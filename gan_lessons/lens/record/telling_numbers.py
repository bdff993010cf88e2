"""Operations whose numbers give something away, looked at while they run.

A difference of zeros, a number that is added, the one number towards which a distance draws, a
function of somebody's own that hands its input on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph

LARGEST = 1 << 16  # numbers in a tensor that is looked at: verdicts are small, images are not


# Operations of which both sides should have one shape; and those that give a tensor a new one.
COMPARES = frozenset({
    "SubBackward0", "MulBackward0", "MseLossBackward0", "L1LossBackward0", "SmoothL1LossBackward0",
    "HuberLossBackward0", "MeanBackward0", "SumBackward0",
})  # fmt: skip
# A distance to a target; and those from which one may be made: ``(x - target) ** 2``.
DISTANCES = ("MseLossBackward", "L1LossBackward", "SmoothL1LossBackward", "HuberLossBackward")
MEANS = ("MeanBackward0", "SumBackward0")
SHIFTS = {"SubBackward0": 1.0, "RsubBackward1": 1.0, "AddBackward0": -1.0}
RESHAPES = ("UnsqueezeBackward", "ViewBackward", "ReshapeAliasBackward", "UnsafeViewBackward")


class TellingNumbers:
    """Writes ``cancelled``, ``zeros``, ``anew``, ``constants``, ``factors``, ``labels`` and
    ``passes`` of ``graph``."""

    def __init__(self, graph: LiveGraph) -> None:
        self._graph = graph
        self._shifted: dict[int, float] = {}  # node -> what was taken from the one tensor there
        self._leaves: dict[int, tuple[TensorWeakRef, int]] = {}  # id -> a leaf, its node
        self._handles = list[Any]()

    def look(self, new: Iterable[Any], given: Any, made: Tensor) -> None:
        """An operation took ``given``, made ``made``, and built ``new`` nodes."""
        for custom in (n for n in new if _is_somebodys_own(n)):
            self._follow(custom, given)
        if self._graph.running:
            return  # what a net does inside is its own affair
        if made.numel() == 1:
            self._meet(x for x in given if isinstance(x, Tensor))
        node = internals.grad_fn_of(made)
        op = node.name()
        if op in COMPARES and (count := _all_pairs(given)) is not None:
            self._graph.pairs[self._graph.id_of(node)] = count
        if op == "SubBackward0" and made.numel() <= LARGEST and _has_two_sides(node):
            if _is_zero(made):
                self._graph.cancelled.add(self._graph.id_of(node))
        elif op in ("AddBackward0", "SubBackward0") and made.numel() == 1:
            number = next((x for x in given if type(x) is float), None)
            if number is not None:
                self._graph.constants[self._graph.id_of(node)] = number
        elif op in ("MulBackward0", "DivBackward0") and made.numel() == 1:
            number = _one_number(given)
            if number is not None:
                self._graph.factors[self._graph.id_of(node)] = number
        if made.numel() == 1 and (op in MEANS or op.startswith(DISTANCES)) and _is_zero(made):
            self._graph.zeros.add(self._graph.id_of(node))
        if op in SHIFTS or op.startswith(DISTANCES) or op in ("PowBackward0", "AbsBackward0"):
            self._label(node, op, given)

    def _meet(self, given: Iterable[Tensor]) -> None:
        """Write down which of these is a leaf with one number, in the first graph that takes it. A
        zero is what a sum begins with; one that comes again, somebody keeps."""
        for leaf in (x for x in given if x.requires_grad and x.is_leaf and x.numel() == 1):
            if isinstance(leaf, nn.Parameter) or id(leaf) in self._graph.held:
                continue
            key = self._graph.id_of(torch.autograd.graph.get_gradient_edge(leaf).node)
            ref, known = self._leaves.get(id(leaf), (None, key))
            if ref is None or ref() is not leaf:
                self._leaves[id(leaf)] = TensorWeakRef(leaf), key
                self._graph.anew |= {key} if _is_set(leaf) else set()
            elif known != key:
                self._graph.anew.discard(known)

    def _label(self, node: Any, op: str, given: Any) -> None:
        """Write down towards which number this distance draws, if it is one and the same for all
        of its input."""
        before = [n for n, _ in node.next_functions if n is not None]
        if len(before) != 1:
            return
        key = self._graph.id_of(node)
        if op in SHIFTS and (number := _one_number(given)) is not None:
            self._shifted[key] = SHIFTS[op] * number
        elif op.startswith(DISTANCES) and (number := _one_number(given)) is not None:
            self._graph.labels[key] = number
        elif op == "AbsBackward0" or (op == "PowBackward0" and (*given[1:], 2)[0] == 2):
            unknown = before[0].name() in SHIFTS and not _has_two_sides(before[0])  # towards many
            number = self._shifted.get(self._graph.id_of(before[0]), None if unknown else 0.0)
            if number is not None:
                self._graph.labels[key] = number

    def _follow(self, custom: Any, given: Any) -> None:
        """If it hands its input on as it is, see by what its backward multiplies."""
        before = [n for n, _ in custom.next_functions if n is not None]
        out = next((t for t in given if isinstance(t, Tensor) and t.grad_fn is custom), None)
        living = (ref() for ref in reversed(self._graph.outputs))
        into = next((t for t in living if t is not None and [t.grad_fn] == before), None)
        if out is None or not (_is_whole_view(out) if into is None else _is_same(out, into)):
            return
        key = self._graph.id_of(custom)

        def note(got: tuple[Tensor | None, ...], arrived: tuple[Tensor | None, ...]) -> None:
            with internals.without_torch_functions():
                if (factor := _factor(arrived[0], got[0])) is not None:
                    self._graph.passes[key] = factor

        self._handles.append(custom.register_hook(note))

    def clear(self) -> None:
        while self._handles:
            self._handles.pop().remove()


def _is_somebodys_own(node: Any) -> bool:
    """Is it of an ``autograd.Function`` that is not torch's?"""
    kind = internals.function_class(node)
    return kind is not None and not kind.__module__.startswith("torch.")


def _has_two_sides(node: Any) -> bool:
    return sum(n is not None for n, _ in node.next_functions) == 2


def _all_pairs(given: Any) -> int | None:
    """n, where shapes (n, 1) and (n,) meet, one of them made by a net; None where somebody made the
    column for that, by x[:, None] or the like."""
    tensors = [x for x in given if isinstance(x, Tensor)][:2]
    if len(tensors) < 2 or {t.dim() for t in tensors} != {1, 2}:
        return None
    column, row = sorted(tensors, key=Tensor.dim, reverse=True)
    count = row.shape[0]
    if count < 2 or tuple(column.shape) != (count, 1) or (row.requires_grad and row.is_leaf):
        return None  # a vector that is learned has the length of a batch by chance
    node = internals.grad_fn_of(column)
    meant = (
        internals.base_of(column) is not None if node is None else node.name().startswith(RESHAPES)
    )
    return None if meant else int(count)


def _is_whole_view(tensor: Tensor) -> bool:
    """Of a tensor of the same shape: ``x.view_as(x)``, where ``x`` is gone."""
    base = internals.base_of(tensor)
    return base is not None and base.shape == tensor.shape


def _is_same(one: Tensor, two: Tensor) -> bool:
    try:
        return one.shape == two.shape and one.dtype == two.dtype and torch.equal(one, two)
    except RuntimeError:  # on the meta device, or of a layout that torch cannot compare
        return False


def _one_number(given: Any) -> float | None:
    """What stands beside the tensor with a graph: a number, or a tensor full of one number."""
    others = [x for x in given[:2] if not isinstance(x, Tensor) or not x.requires_grad]
    if len(others) != 1 or isinstance(others[0], bool):
        return None
    if isinstance(other := others[0], (int, float)):
        return float(other)
    if not isinstance(other, Tensor) or not 0 < other.numel() <= LARGEST:
        return None
    if internals.is_capturing(other):
        return None  # nothing can be read there
    try:
        least, most = torch.stack(torch.aminmax(other)).tolist()
    except RuntimeError:  # fake, complex, or on the meta device
        return None
    return float(least) if least == most else None


def _is_set(tensor: Tensor) -> bool:
    """Is there a number in it, and not zero?"""
    if internals.is_capturing(tensor):
        return False
    try:
        return bool(tensor.detach().any().item())
    except RuntimeError:
        return False


def _is_zero(tensor: Tensor) -> bool:
    if internals.is_capturing(tensor):
        return False  # nothing can be read there
    try:
        return tensor.numel() > 0 and not tensor.detach().any().item()
    except RuntimeError:  # fake, or on the meta device
        return False


def _factor(arrived: Tensor | None, got: Tensor | None) -> float | None:
    """The number by which a gradient was multiplied; None where that is not what was done."""
    if arrived is None or got is None or arrived.shape != got.shape:
        return None
    try:
        one, two = arrived.detach().flatten(), got.detach().flatten()
        square = (one @ one).item()
        factor = (one @ two).item() / square if square else 0.0
        return factor if square and torch.allclose(two, factor * one, rtol=1e-3) else None
    except RuntimeError:
        return None
