"""What a picture of a graph shows, before any of it is drawn or put in words."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile

from gan_lessons.lens.model import FOLDABLE, NOTHING, BackwardCall, Graph, Node
from gan_lessons.lens.show import symbols as words

ABSENT = "absent"  # the node has no state: not built yet, or gone


@dataclass(frozen=True)
class Scene:
    """One moment of one graph.

    nets: every net that is named, in the order of their colours. call: the backward call that is
    marked. gone: nodes without a state that were there once. lines: forward -> its source line.
    """

    graph: Graph
    title: str
    nets: tuple[str, ...]
    notes: tuple[str, ...] = ()
    call: BackwardCall | None = None
    gone: frozenset[int] = frozenset()
    lines: Mapping[int, str] = field(default_factory=dict)
    direction: str = "TB"
    compact: bool = False

    def state(self, node: Node) -> str:
        """One of the states of ``graph.py``, or ABSENT. A parameter outlives every graph."""
        return self.graph.states.get(node.id, NOTHING if is_leaf(node) else ABSENT)

    def received(self, node: Node) -> bool:
        """Did the marked call write this parameter's ``.grad``?"""
        if self.call is None or node.net is None or node.parameter is None:
            return False
        return node.parameter in self.call.received.get(node.net, ())

    def walked(self, *ids: int) -> bool:
        """Did the gradient of the marked call pass all these nodes?

        Graphs drawn from tensors have numbers of their own: there it is not known.
        """
        if self.call is None or self.call.error is not None or self.graph.inferred:
            return False
        return all(i in self.call.nodes for i in ids)

    def groups(self) -> dict[tuple[str | None, int | None], list[Node]]:
        """Operations by (net, forward), as they were built; those of no net come last."""
        found: dict[tuple[str | None, int | None], list[Node]] = {}
        for node in self._in_order():
            key = (node.net, None if node.net is None else node.forward)
            if not is_leaf(node):
                found.setdefault(key, []).append(node)
        return dict(sorted(found.items(), key=lambda group: group[0][0] is None))

    def leaves(self, net: str | None) -> list[Node]:
        """The parameters of a net, or the other leaves."""
        return [n for n in self._in_order() if is_leaf(n) and owner(n) == net]

    def _in_order(self) -> list[Node]:
        return [node for _, node in sorted(self.graph.nodes.items())]


def is_leaf(node: Node) -> bool:
    """A parameter, or another tensor that collects gradient."""
    return node.op == "AccumulateGrad"


def owner(node: Node) -> str | None:
    """The net that a node belongs to. A leaf that is no parameter came from outside."""
    return None if is_leaf(node) and node.parameter is None else node.net


# Names --------------------------------------------------------------------------------------------


def visible(text: str, limit: int = 60) -> str:
    """One line without control characters: names are other people's, and go into DOT and XML."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def marked(text: str) -> str:
    """The text as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(visible(text, 1000)))


def short(op: str) -> str:
    """``Addmm`` for ``AddmmBackward0``."""
    return visible(re.sub(r"Backward\d*$", "", op) or op)


def shape_text(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else f"({', '.join(map(str, shape))})"


def leaf_name(node: Node) -> str:
    return visible(node.parameter) if node.parameter is not None else words.LEAF


def group_title(net: str | None, forward: int | None) -> str:
    """``D, forward 1``"""
    if net is None:
        return words.TEXT_NO_NET
    if forward is None:
        return visible(net)
    return words.FORWARD.format(net=visible(net), index=forward)


# Folding ------------------------------------------------------------------------------------------


def fold_parameters(graph: Graph) -> Graph:
    """Leave out what only turns a parameter on its way into a layer (transposes, views of it)."""
    leads_to = {i: _source(graph, node) for i, node in graph.nodes.items()}
    kept = {i for i, source in leads_to.items() if source == i}
    nodes = {
        i: replace(graph.nodes[i], inputs=tuple(leads_to[k] for k in graph.nodes[i].inputs))
        for i in kept
    }
    cuts = (replace(c, source=leads_to[c.source], target=leads_to[c.target]) for c in graph.cuts)
    states = {i: state for i, state in graph.states.items() if i in kept}
    return replace(graph, nodes=nodes, cuts=tuple(cuts), states=states)


def _source(graph: Graph, node: Node) -> int:
    """The leaf behind ``node`` if it only turns that leaf, else the node itself."""
    turned, ends = node, {*graph.outputs, *(c.target for c in graph.cuts)}
    while turned.op in FOLDABLE and len(turned.inputs) == 1 and turned.id not in ends:
        turned = graph.nodes[turned.inputs[0]]
    return turned.id if is_leaf(turned) else node.id


def leaf_groups(graph: Graph) -> dict[int, list[Node]]:
    """Parameters of one net that go into the same operations, under the id of the first of them."""
    users: dict[int, set[int]] = {}
    for node in graph.nodes.values():
        for i in node.inputs:
            users.setdefault(i, set()).add(node.id)
    first: dict[tuple[str | None, frozenset[int]], int] = {}
    groups: dict[int, list[Node]] = {}
    for i, node in graph.nodes.items():
        if is_leaf(node) and node.parameter is not None:
            place = first.setdefault((node.net, frozenset(users.get(i, ()))), i)
            groups.setdefault(place, []).append(node)
    return groups


def merge_leaves(graph: Graph, separator: str = ", ") -> Graph:
    """Each group of ``leaf_groups`` as one node. Its ``parameter`` lists their names, without what
    all names of the net begin with."""
    groups = leaf_groups(graph)
    into = {n.id: i for i, group in groups.items() for n in group}
    begins = {n.net: _prefix(m for m in graph.nodes.values() if m.net == n.net)
              for group in groups.values() for n in group}  # fmt: skip
    nodes: dict[int, Node] = {}
    for i, node in graph.nodes.items():
        if into.get(i, i) == i:
            inputs = tuple(dict.fromkeys(into.get(k, k) for k in node.inputs))
            nodes[i] = replace(node, inputs=inputs)
    for i, group in groups.items():
        names = ((n.parameter or "")[len(begins[n.net]) :] for n in group)
        nodes[i] = replace(nodes[i], parameter=separator.join(names))
    states = {i: state for i, state in graph.states.items() if i in nodes}
    return replace(graph, nodes=nodes, states=states)


def _prefix(nodes: Iterable[Node]) -> str:
    """``net.`` where every parameter's name begins with it."""
    paths = [n.parameter.split(".")[:-1] for n in nodes if n.parameter is not None]
    common = [parts[0] for parts in takewhile(lambda p: len({*p}) == 1, zip(*paths, strict=False))]
    return "".join(f"{part}." for part in common)
