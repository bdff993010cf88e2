"""What a picture of a graph shows, before any of it is drawn or put in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gan_lessons.lens.model import NOTHING, BackwardCall, Graph, Node

ABSENT = "absent"  # the node has no state: not built yet, or gone


@dataclass(frozen=True)
class Scene:
    """One moment of one graph.

    nets: every net that is named, in the order of their colours. call: the backward call that is
    marked. gone: nodes without a state that were there once. lines: forward -> its source line.
    in_vain: net -> its parameters whose gradient of that call no step used. compact: small, with
    room for every state and without showing any. folded: node -> the nodes that it stands for,
    where it stands for several.
    """

    graph: Graph
    title: str
    nets: tuple[str, ...]
    notes: tuple[str, ...] = ()
    call: BackwardCall | None = None
    in_vain: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gone: frozenset[int] = frozenset()
    lines: Mapping[int, str] = field(default_factory=dict)
    direction: str = "TB"
    compact: bool = False
    folded: Mapping[int, tuple[Node, ...]] = field(default_factory=dict)

    def state(self, node: Node) -> str:
        """One of ``model.STATES``, or ABSENT. A parameter outlives every graph."""
        return self.graph.states.get(node.id, NOTHING if node.is_leaf else ABSENT)

    def stands_for(self, i: int) -> tuple[Node, ...]:
        """The nodes behind one that is shown: itself, unless it was folded."""
        return self.folded.get(i) or (self.graph.nodes[i],)

    def received(self, node: Node) -> bool:
        """Did the marked call write this parameter's ``.grad``, or that of one of these?"""
        if self.call is None:
            return False
        return bool(self._named_in(self.call.received, node))

    def received_in_vain(self, node: Node) -> bool:
        """Did no optimizer step use anything of what the marked call wrote there?"""
        if self.call is None or not self.received(node):
            return False
        return self._named_in(self.in_vain, node) == self._named_in(self.call.received, node)

    def _named_in(self, names: Mapping[str, tuple[str, ...]], node: Node) -> set[int]:
        """Those of the nodes behind this one whose parameter is among the names."""
        found = (n for n in self.stands_for(node.id) if n.net is not None)
        return {n.id for n in found if n.parameter in names.get(n.net or "", ())}

    def walked(self, *ids: int) -> bool:
        """Did the gradient of the marked call pass all these nodes?

        Graphs drawn from tensors have numbers of their own: there it is not known.
        """
        if self.call is None or self.call.error is not None or self.graph.inferred:
            return False
        passed = self.call.nodes
        return all(any(n.id in passed for n in self.stands_for(i)) for i in ids)

    def groups(self) -> dict[tuple[str | None, int | None], list[Node]]:
        """Operations by (net, forward), as they were built; those of no net come last."""
        found: dict[tuple[str | None, int | None], list[Node]] = {}
        for node in self._in_order():
            key = (node.net, None if node.net is None else node.forward)
            if not node.is_leaf:
                found.setdefault(key, []).append(node)
        return dict(sorted(found.items(), key=lambda group: group[0][0] is None))

    def leaves(self, net: str | None) -> list[Node]:
        """The parameters of a net, or the other leaves."""
        return [n for n in self._in_order() if n.is_leaf and owner(n) == net]

    def _in_order(self) -> list[Node]:
        return [node for _, node in sorted(self.graph.nodes.items())]


def owner(node: Node) -> str | None:
    """The net that a node belongs to. A leaf that is no parameter came from outside."""
    return None if node.is_leaf and node.parameter is None else node.net
