"""Leaves that get a gradient which nobody wants: not read, and not asked for by autograd.grad."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph


class Unread:
    """Hears what autograd.grad is ``asked`` for: tensors by id, and the nodes that made them."""

    def __init__(self, graph: LiveGraph) -> None:
        self._graph = graph
        self._tensors, self._nodes = set[int](), set[int]()

    def asked(self, inputs: Sequence[Tensor]) -> None:
        self._tensors.update(id(t) for t in inputs)
        made_by = (internals.grad_fn_of(t) for t in inputs)
        self._nodes.update(self._graph.id_of(node) for node in made_by if node is not None)

    def leaves(self, tensor: Tensor) -> tuple[int, ...]:
        """The leaves of ``tensor``, one for each graph, if it still is as it was made, and nobody
        read its ``.grad`` or asked for a gradient there or at a part of it (coordinates, say)."""
        keys = self._graph.leaves_of(tensor)
        wanted = id(tensor) in self._tensors or not self._graph.asked.isdisjoint(keys)
        if wanted or internals.version_of(tensor):
            return ()
        waiting, behind = [*self._nodes], set[int]()
        while waiting:
            if (key := waiting.pop()) not in behind:
                behind.add(key)
                waiting += self._graph.nodes[key].inputs
        return tuple(sorted(keys)) if behind.isdisjoint(keys) else ()
