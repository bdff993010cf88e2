"""The graph while it is built: every operation seen, its nodes tagged, cuts and bytes told.

A ``TorchFunctionMode`` sees each call into torch. Nodes are tagged through ``grad_fn.metadata``,
tensors are held weakly: following a graph must not keep it alive.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import TensorWeakRef

from gan_lessons.lens.model import STALE, UNKNOWN, Cut, Graph, HeldBytes, Line, Node, Saved
from gan_lessons.lens.record.autograd_nodes import (
    op_name,
    output_shape,
    owner_of,
    read_saved,
    saved_attributes,
    storage_of,
    walk,
)
from gan_lessons.lens.record.tensors import grad_fn_of

_numbers = itertools.count()


@dataclass(frozen=True)
class _Tag:
    id: int
    hooked: bool  # its tensors went through saved-tensor hooks: never read them


@dataclass(frozen=True)
class Detached:
    """A tensor's past: it was detached from node ``source`` (None: that had no graph)."""

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


class GraphTrace(TorchFunctionMode):
    """Follows the graph from operation to operation; ``graph()`` and ``look()`` tell of it."""

    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        owners: Mapping[Tensor, tuple[str, str]],
        where: Callable[[], tuple[str | None, int | None]],
        line: Callable[[], Line],
    ) -> None:
        """``where()``: the net whose forward is running and the index of that forward."""
        super().__init__()
        self._nets, self._owners, self._where, self._line = nets, owners, where, line
        self._key = f"gan_lessons.{next(_numbers)}"
        self._parameter_ids: dict[Tensor, int] = {}
        self._outputs: list[TensorWeakRef] = []  # tensors with a graph, perhaps still alive
        self._inputs: list[TensorWeakRef] = []  # what came into a net from outside
        self._detached: dict[int, tuple[TensorWeakRef, Detached]] = {}
        self.nodes: dict[int, Node] = {}
        self.cuts: list[Cut] = []
        self.names: dict[int, str] = {}
        self._kept: dict[int, dict[int, int]] = {}  # node -> storages and bytes, when last read
        self.saves: dict[int, set[tuple[str, str]]] = {}  # node -> parameters that it saved
        self._saved: dict[int, tuple[Saved, ...]] = {}
        self.active = True

    # What happens -----------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        __tracebackhide__ = True
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():  # a net is compiled as it would be without us
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if not self.active or name == "__set__":
            return func(*args, **kwargs)
        how = _detaches(func)
        if name == "__get__" and how is None and func != _GRAD:
            return self._view(func(*args, **kwargs), args[0])
        if name == "__get__" and how is None:
            return func(*args, **kwargs)
        source = grad_fn_of(args[0]) if how and args and isinstance(args[0], Tensor) else None
        out = func(*args, **kwargs)
        # With torch functions off: what we look at must not come back to this mode or another.
        with torch._C.DisableTorchFunction():
            if how and source is not None and isinstance(out, Tensor):
                self.tag([source])
                self._mark(out, Detached(self._id(source), how, self._line()))
            elif how is None:
                # A gradient is computed along the graph, not from the tensors it is asked for.
                taken = [] if func is torch.autograd.grad else [args, kwargs]
                made = args[:1] if name == "__setitem__" else out
                self._operation(tensors_in(taken), tensors_in(made))
        return out

    def _view(self, out: Any, tensor: Tensor) -> Any:
        """An attribute was read: of a detached tensor, ``.mT`` and the like are detached too."""
        past = self.past(tensor) if isinstance(out, Tensor) else None
        if past is not None and not out.requires_grad:
            self._mark(out, past)
        return out

    def _operation(self, taken: list[Tensor], made: list[Tensor]) -> None:
        cut = [(tensor, past) for tensor in taken if (past := self.past(tensor)) is not None]
        for tensor in made:
            if (node := grad_fn_of(tensor)) is not None:
                new = self.tag([node])
                self._outputs.append(TensorWeakRef(tensor))
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
        cut = Cut(past.source, self._id(target), past.how)
        if cut not in self.cuts:
            self.cuts.append(cut)

    def tag(self, roots: Iterable[Any]) -> list[Any]:
        """Name the nodes behind ``roots`` that have no name yet; they belong to who runs now."""
        net, forward = self._where()
        hooked = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
        new = list(walk(roots, seen=self._known))
        for node in new:
            owner = owner_of(node, self._owners)
            key = self._new_id(node, hooked)
            inputs = tuple(self._id(n) for n, _ in node.next_functions if n is not None)
            shape = output_shape(node)
            if owner is not None:
                self.nodes[key] = Node(key, op_name(node), *owner, shape, inputs)
            elif hasattr(node, "variable"):  # a leaf of nobody, though used inside a net
                self.nodes[key] = Node(key, op_name(node), None, None, shape, inputs)
            else:
                self.nodes[key] = Node(key, op_name(node), net, None, shape, inputs, forward)
        return new

    def came_in(self, tensors: Iterable[Tensor]) -> None:
        """These go into a net; those that no recorded operation made are inputs from outside."""
        for tensor in tensors:
            if tensor.grad_fn is None and self.past(tensor) is None:
                self._inputs.append(TensorWeakRef(tensor))

    def came_out(self, tensors: Iterable[Tensor]) -> None:
        """A net made these. Catches nodes that no torch function showed (compiled, custom)."""
        with torch._C.DisableTorchFunction():
            for tensor in tensors:
                if (node := grad_fn_of(tensor)) is not None:
                    self.tag([node])
                    self._outputs.append(TensorWeakRef(tensor))

    def close(self) -> None:
        """Take the tags off whatever still lives."""
        self.active = False
        for node in walk(self._live_roots()):
            node.metadata.pop(self._key, None)
        self._outputs.clear()
        self._inputs.clear()
        self._detached.clear()

    # What is known ----------------------------------------------------------------------------

    def graph(self) -> Graph:
        """All that was built so far, as plain data and without states."""
        nodes, names, cuts = dict(self.nodes), dict(self.names), tuple(self.cuts)
        return Graph(nodes, names, cuts, saved=dict(self._saved))

    def past(self, tensor: Tensor) -> Detached | None:
        """How this tensor was cut from its graph, if it was."""
        ref, past = self._detached.get(id(tensor), (None, None))
        return past if ref is not None and ref() is tensor else None

    def frozen_nets(self) -> list[str]:
        """Nets of which no parameter trains."""
        nets = self._nets.items()
        return [n for n, net in nets if not any(p.requires_grad for p in net.parameters())]

    def reach(self, roots: Iterable[Any], inputs: Iterable[Any] = ()) -> tuple[int, ...]:
        """Ids of the nodes that a backward from ``roots`` walks, all or only those on the way
        to the nodes ``inputs``."""
        wanted, targets = set(), set(inputs)
        everything = list(walk(roots))
        for node in everything:  # inputs come first, so one pass is enough
            behind = (n in wanted for n, _ in node.next_functions)
            if not targets or node in targets or any(behind):
                wanted.add(node)
        return tuple(self._id(node) for node in everything if node in wanted)

    def look(self, roots: Iterable[Any] = ()) -> tuple[dict[int, str], HeldBytes]:
        """State of every living node, and the bytes they hold. Passive: runs no hook."""
        states, storages, complete = {}, {}, True
        weights = {storage_of(p)[0]: owner for p, owner in self._owners.items()}
        for node in walk([*self._live_roots(), *roots]):
            if (tag := self._tag_of(node)) is None and not hasattr(node, "variable"):
                self.tag([node])
                tag = self._tag_of(node)
            if tag is not None and tag.hooked and saved_attributes(node):
                states[tag.id], complete = UNKNOWN, False
                continue
            key = self._id(node)
            states[key], saved = read_saved(node)
            complete &= states[key] != UNKNOWN
            kept = dict(storage_of(t) for t in saved.values())
            if saved and key not in self._saved:
                self._saved[key] = tuple(self._told(n, t, weights) for n, t in saved.items())
            if states[key] == STALE:  # cannot be read any more, but is held all the same
                kept = self._kept.get(key, {}) | kept
            self._kept[key] = kept
            storages.update(kept)
            if mine := {weights[k] for k in kept if k in weights}:
                self.saves.setdefault(key, set()).update(mine)
        return states, self._sorted_bytes(storages, complete)

    def _told(self, name: str, tensor: Tensor, weights: Mapping[int, Any]) -> Saved:
        storage, size = storage_of(tensor)
        given = {storage_of(t)[0] for r in self._inputs if (t := r()) is not None}
        what = "input" if storage in given else "activation"
        owner = weights.get(storage)
        return Saved(name, tuple(tensor.shape), size, "parameter" if owner else what, owner)

    def _sorted_bytes(self, storages: dict[int, int], complete: bool) -> HeldBytes:
        weights = [t for net in self._nets.values() for t in (*net.parameters(), *net.buffers())]
        parameters = {storage_of(t)[0] for t in weights}
        inputs = {storage_of(t)[0] for r in self._inputs if (t := r()) is not None} - parameters
        own = sum(n for key, n in storages.items() if key not in parameters | inputs)
        return HeldBytes(
            own,
            sum(n for key, n in storages.items() if key in parameters),
            sum(n for key, n in storages.items() if key in inputs),
            complete,
        )

    # Names of nodes ---------------------------------------------------------------------------

    def _mark(self, tensor: Tensor, past: Detached) -> None:
        self._detached[id(tensor)] = (TensorWeakRef(tensor), past)

    def _live_roots(self) -> list[Any]:
        living = [(ref, grad_fn_of(t)) for ref in self._outputs if (t := ref()) is not None]
        self._outputs = [ref for ref, _ in living]
        return [node for _, node in living if node is not None]

    def _known(self, node: Any) -> bool:
        if owner_of(node, self._owners) is not None:
            return node.variable in self._parameter_ids
        return self._tag_of(node) is not None

    def _tag_of(self, node: Any) -> _Tag | None:
        return node.metadata.get(self._key)

    def _new_id(self, node: Any, hooked: bool) -> int:
        number = len(self.nodes)
        # torch rebuilds a parameter's AccumulateGrad with every graph: it goes by the parameter.
        if owner_of(node, self._owners) is not None:
            self._parameter_ids[node.variable] = number
        else:
            node.metadata[self._key] = _Tag(number, hooked)
        return number

    def _id(self, node: Any) -> int:
        if hasattr(node, "variable") and node.variable in self._parameter_ids:
            return self._parameter_ids[node.variable]
        tag = self._tag_of(node)
        if tag is None:  # built out of our sight, inside a backward for instance
            self.tag([node])
            return self._id(node)
        return tag.id


_DETACH = {
    torch.Tensor.detach: "detach()",
    torch.Tensor.detach_: "detach_()",
    torch.detach: "detach()",
}
_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_GRAD = torch.Tensor.grad.__get__  # type: ignore[union-attr]


def _detaches(func: Any) -> str | None:
    if func == _DATA:
        return ".data"
    try:
        return _DETACH.get(func)
    except TypeError:  # not hashable
        return None
