"""What torchviz draws of a graph that is data: ``make_dot`` on stand-ins for its ``grad_fn``s.

torchviz names what it draws by memory address and reads living tensors. By the time a record is
drawn those are gone, and keeping them alive would keep the buffers whose fate the record tells. So
it walks stand-ins here, decides what is drawn and in which order, and its lines come back in our
names. (A Digraph of living tensors, drawn while they live, would bind the recorder to torchviz.)
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from gan_lessons.extras import installed_for
from gan_lessons.lens.model import Graph

if TYPE_CHECKING:
    from graphviz import Digraph

Part = tuple[int, str]  # a node, and what of it: "" (itself), its "tensor" (a leaf's), its "output"


class _StandIn:
    """What ``make_dot`` reads of a ``grad_fn``, or of a tensor."""

    next_functions: Any = ()
    variable: Any

    def __init__(self, grad_fn: Any = None) -> None:
        self.grad_fn = grad_fn

    def size(self) -> tuple[int, ...]:
        return ()

    def _is_view(self) -> bool:
        return False


def torchviz_digraph(graph: Graph, *, folded: bool) -> tuple[Digraph, list[tuple[Part, ...]]]:
    """torchviz's Digraph, and its lines in its order: a node is one part, an edge two.

    folded: a parameter is one node, without its AccumulateGrad. Nothing but ``graph`` is read.
    """
    functions = {i: _StandIn() for i in graph.nodes}
    parts: dict[_StandIn, Part] = {function: (i, "") for i, function in functions.items()}
    for i, node in graph.nodes.items():
        functions[i].next_functions = [(functions[k], 0) for k in node.inputs]
        if node.is_leaf and not folded:
            functions[i].variable = _StandIn()
            parts[functions[i].variable] = (i, "tensor")
    tensors = {i: _StandIn(functions[i]) for i in _roots(graph)}
    parts |= {tensors[i]: (i, "output") for i in graph.outputs}
    with warnings.catch_warnings():
        # torchviz 0.0.3 compares versions with distutils, on import and in every call.
        warnings.simplefilter("ignore", DeprecationWarning)
        with installed_for("draw_graph"):
            from torchviz import make_dot

        dot = make_dot(tuple(tensors.values()))
    names = {str(id(thing)): part for thing, part in parts.items()}
    lines = []
    for line in dot.body:  # "\t123 -> 456\n" or "\t123 [label=...]\n"
        words = line.split(maxsplit=3)
        ends = (words[0], words[2]) if words[1] == "->" else (words[0],)
        if all(end in names for end in ends):
            lines.append(tuple(names[end] for end in ends))
    return dot, lines


def _roots(graph: Graph) -> list[int]:
    """Nodes that torchviz starts from, inputs first: the outputs, and what leads to none of them.

    It calls itself once for each operation of a chain, up to those that it has seen. Starting in
    the middle of a long chain as well, it never gets deep.
    """
    used = {k for node in graph.nodes.values() for k in node.inputs}
    roots: list[int] = []
    depth: dict[int, int] = {}
    for i, node in graph.nodes.items():
        depth[i] = 1 + max((depth.get(k, 0) for k in node.inputs), default=0)
        if i not in used or i in graph.outputs or depth[i] == 100:
            roots.append(i)
            depth[i] = 0
    return roots
