"""Graphs with fewer nodes that tell the same: what only prepares a parameter, and what is alike."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace
from itertools import takewhile

from gan_lessons.lens.model import FOLDABLE, Graph, Node


def fold_parameters(graph: Graph) -> Graph:
    """Leave out what only turns a parameter on its way into a layer (transposes, views of it)."""
    ends = {*graph.outputs, *(cut.target for cut in graph.cuts)}
    leads_to = {i: _source(graph, node, ends) for i, node in graph.nodes.items()}
    nodes = {}
    for i, node in graph.nodes.items():
        if leads_to[i] == i:
            inputs = tuple([leads_to[k] for k in node.inputs])
            nodes[i] = node if inputs == node.inputs else replace(node, inputs=inputs)
    cuts = (replace(c, source=leads_to[c.source], target=leads_to[c.target]) for c in graph.cuts)
    return replace(graph, nodes=nodes, cuts=tuple(cuts), states=_states(graph, nodes))


def _source(graph: Graph, node: Node, ends: Container[int]) -> int:
    """The leaf behind ``node`` if it only turns that leaf, else the node itself."""
    turned = node
    while turned.op in FOLDABLE and len(turned.inputs) == 1 and turned.id not in ends:
        turned = graph.nodes[turned.inputs[0]]
    return turned.id if turned.is_leaf else node.id


def leaf_groups(graph: Graph) -> dict[int, list[Node]]:
    """Parameters of one net that go into the same operations, under the id of the first of them."""
    users: dict[int, set[int]] = {}
    for node in graph.nodes.values():
        for i in node.inputs:
            users.setdefault(i, set()).add(node.id)
    groups: dict[tuple[str | None, frozenset[int]], list[Node]] = {}
    for i, node in graph.nodes.items():
        if node.is_leaf and node.parameter is not None:
            groups.setdefault((node.net, frozenset(users.get(i, ()))), []).append(node)
    return {group[0].id: group for group in groups.values()}


def merge_leaves(graph: Graph) -> Graph:
    """Each group of ``leaf_groups`` as one node. Its ``parameter`` lists their names, without what
    all names of the net begin with."""
    groups = leaf_groups(graph)
    into = {n.id: i for i, group in groups.items() for n in group}
    nodes = graph.nodes.values()
    prefix = {
        net: _prefix(n.parameter for n in nodes if n.net == net and n.parameter is not None)
        for net in {n.net for n in nodes}
    }
    merged = {}
    for i, node in graph.nodes.items():
        if into.get(i, i) == i:
            names = [(n.parameter or "").removeprefix(prefix[n.net]) for n in groups.get(i, ())]
            inputs = tuple(dict.fromkeys(into.get(k, k) for k in node.inputs))
            parameter = ", ".join(names) if names else node.parameter
            merged[i] = replace(node, inputs=inputs, parameter=parameter)
    cuts = (
        replace(c, source=into.get(c.source, c.source), target=into.get(c.target, c.target))
        for c in graph.cuts
    )
    outputs = {into.get(i, i): name for i, name in graph.outputs.items()}
    alike = {(c.source, c.target): c for c in cuts}
    return replace(graph, nodes=merged, outputs=outputs, cuts=tuple(alike.values()),
                   states=_states(graph, merged))  # fmt: skip


def _prefix(names: Iterable[str]) -> str:
    """``net.`` where every name begins with it."""
    paths = [name.split(".")[:-1] for name in names]
    common = [parts[0] for parts in takewhile(lambda p: len({*p}) == 1, zip(*paths, strict=False))]
    return "".join(f"{part}." for part in common)


def _states(graph: Graph, nodes: Container[int]) -> dict[int, str]:
    return {i: state for i, state in graph.states.items() if i in nodes}
