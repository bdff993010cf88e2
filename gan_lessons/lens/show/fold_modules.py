"""A large graph with one node for each submodule of a net in each forward, so that it fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gan_lessons.lens.model import FREED, HELD, NOTHING, STALE, UNKNOWN, Graph, Node

FEW = 120  # nodes of a folded graph; the deepest submodules that leave no more are shown
_Path = tuple[str, ...]
_Key = tuple[object, ...]
# What is told of many nodes: the first of these that one of them is.
_GRAVEST = (STALE, HELD, UNKNOWN, FREED, NOTHING)


def fold_modules(graph: Graph) -> tuple[Graph, dict[int, tuple[Node, ...]]]:
    """(a smaller graph, its nodes -> those that each stands for).

    A submodule is told by the parameters: an operation belongs to that of the first parameter that
    it takes, or goes with the operation before it. What no net made is one node for each line.
    """
    paths = _paths(graph)
    deepest = max(map(len, paths.values()), default=0)
    for depth in range(deepest, -1, -1):
        groups: dict[_Key, list[Node]] = {}
        for i, node in graph.nodes.items():
            groups.setdefault(_key(graph, node, paths[i][:depth]), []).append(node)
        if len(groups) <= FEW:
            break
    into = {n.id: group[-1].id for group in groups.values() for n in group}
    nodes = dict(sorted(_merged(graph, key, group, into) for key, group in groups.items()))
    cuts = {
        (into[c.source], into[c.target]): replace(c, source=into[c.source], target=into[c.target])
        for c in graph.cuts
    }
    states = {
        into[group[0].id]: state
        for group in groups.values()
        if (state := _state(graph.states, group)) is not None
    }
    outputs = {into[i]: name for i, name in graph.outputs.items()}
    small = replace(graph, nodes=nodes, outputs=outputs, cuts=tuple(cuts.values()), states=states)
    return small, {into[g[0].id]: tuple(g) for g in groups.values() if len(g) > 1}


def _paths(graph: Graph) -> dict[int, _Path]:
    """Node -> the submodule that it belongs to, from the outermost inwards."""
    paths: dict[int, _Path] = {}
    for i, node in graph.nodes.items():
        taken = [graph.nodes[k] for k in node.inputs if k in graph.nodes]
        own = node if node.is_leaf else next((n for n in taken if n.parameter is not None), None)
        if own is not None and own.parameter is not None:
            paths[i] = tuple(own.parameter.split(".")[:-1])
        else:
            before = (n for n in taken if (n.net, n.forward) == (node.net, node.forward))
            paths[i] = next((paths.get(n.id, ()) for n in before), ())
    return paths


def _key(graph: Graph, node: Node, path: _Path) -> _Key:
    if node.is_leaf:
        return (True, node.net, path) if node.parameter is not None else (True, node.id)
    if node.net is not None:
        return False, node.net, node.forward, path
    line = graph.lines.get(node.id)
    return (False, None, line and (line.file, line.number))


def _merged(
    graph: Graph, key: _Key, group: list[Node], into: Mapping[int, int]
) -> tuple[int, Node]:
    last = group[-1]
    if len(group) > 1:
        path = ".".join(key[-1]) if isinstance(key[-1], tuple) and last.net is not None else ""
        if last.is_leaf:
            text = "{path}: {count} parameters" if path else "{count} parameters"
            last = replace(last, parameter=text.format(path=path, count=len(group)), shape=None)
        else:
            text = "{path}: {count} operations" if path else "{count} operations"
            last = replace(last, op=text.format(path=path, count=len(group)))
    inputs = dict.fromkeys(into[k] for n in group for k in n.inputs if k in into)
    inputs.pop(last.id, None)
    return last.id, replace(last, inputs=tuple(inputs))


def _state(states: Mapping[int, str], group: list[Node]) -> str | None:
    found = {states[n.id] for n in group if n.id in states}
    return next((state for state in _GRAVEST if state in found), None)
