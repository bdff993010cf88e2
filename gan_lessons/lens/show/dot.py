"""From a scene to DOT: torchviz draws the graph, then the overlays are laid over its Digraph."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_lessons.lens.model import FREED, HELD, STALE, Cut, Graph, Node
from gan_lessons.lens.show import symbols as words
from gan_lessons.lens.show.scene import (
    ABSENT,
    Scene,
    group_title,
    is_leaf,
    leaf_name,
    owner,
    shape_text,
    short,
    visible,
)

if TYPE_CHECKING:
    from graphviz import Digraph


# torchviz -----------------------------------------------------------------------------------------


class _Tensor:
    """What ``make_dot`` reads of a tensor."""

    def __init__(self, shape: tuple[int, ...] | None, grad_fn: _Function | None = None) -> None:
        self._shape, self.grad_fn = shape or (), grad_fn

    def size(self) -> tuple[int, ...]:
        return self._shape

    def _is_view(self) -> bool:
        return False


class _Function:
    """What ``make_dot`` reads of a ``grad_fn``; its label is the name of the type."""

    next_functions: tuple[tuple[_Function, int], ...] = ()


class _Leaf(_Function):
    """The same of an AccumulateGrad: it has a variable, which is drawn as well."""

    def __init__(self, variable: _Tensor) -> None:
        self.variable = variable


def torchviz_digraph(graph: Graph, *, folded: bool) -> tuple[Digraph, dict[str, str]]:
    """torchviz's picture of the graph, and its names (memory addresses) -> ours.

    Nodes that no output reaches are in it as well. Nothing but ``graph`` is read.
    """
    functions: dict[int, _Function] = {}
    names: dict[str, str] = {}
    for i, node in graph.nodes.items():
        if is_leaf(node) and not folded:
            leaf = functions[i] = _Leaf(_Tensor(node.shape))
            names[str(id(leaf.variable))] = f"n{i}tensor"
        else:
            functions[i] = _type_named(node.op)()
        names[str(id(functions[i]))] = f"n{i}"
    for i, node in graph.nodes.items():
        functions[i].next_functions = tuple((functions[k], 0) for k in node.inputs)
    used = {k for node in graph.nodes.values() for k in node.inputs}
    ends = sorted(set(graph.nodes) - used | set(graph.outputs))
    roots = {i: _Tensor(graph.nodes[i].shape, functions[i]) for i in ends}
    names |= {str(id(roots[i])): f"n{i}output" for i in graph.outputs}
    # Nodes are named by address: `functions` and `roots` live until it is done.
    return _make_dot(tuple(roots.values()), depth=3 * len(graph.nodes)), names


def _type_named(op: str) -> type[_Function]:
    name = re.sub(r"\W", "_", op)
    if name not in _types:
        _types[name] = type(name, (_Function,), {})
    return _types[name]


_types: dict[str, type[_Function]] = {}


def _make_dot(outputs: tuple[_Tensor, ...], depth: int) -> Digraph:
    """``torchviz.make_dot``, which calls itself once per operation of a chain."""
    limit = sys.getrecursionlimit()
    with warnings.catch_warnings():
        # torchviz 0.0.3 compares versions with distutils, on import and in every call.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torchviz import make_dot

        try:
            sys.setrecursionlimit(limit + depth)
            return make_dot(outputs)
        finally:
            sys.setrecursionlimit(limit)


# Looks --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Style:
    """How a net's nodes look. The shape tells nets apart without colour."""

    shape: str
    light: str
    strong: str
    border: str

    @property
    def attributes(self) -> dict[str, str]:
        if self.shape in ("rounded", "box"):
            return {"shape": "box"}
        # Other shapes surround the box of their label, and need no air of their own.
        return {"shape": self.shape, "margin": "0,0"}


# Blue and orange, then purple and green: distinct for every common kind of colour vision.
NET_STYLES = (
    Style("rounded", "#e3f0fc", "#a9d0f5", "#0b5394"),
    Style("octagon", "#feeedb", "#f8c98a", "#8f4700"),
    Style("hexagon", "#f2e6f7", "#d5b3e3", "#6a2c82"),
    Style("parallelogram", "#e2f4e6", "#a3d9b1", "#1b6b33"),
)
NEUTRAL = Style("box", "#f1f1f1", "#d9d9d9", "#4a4a4a")
CUT_COLOUR, STALE_COLOUR, GHOST_COLOUR = "#8a1a6c", "#b00020", "#767676"
FONT = "DejaVu Sans,Verdana,Helvetica,Arial,sans-serif"
PAGE = {
    "ranksep": "0.25", "nodesep": "0.12", "pad": "0.1", "bgcolor": "white",
    "fontname": FONT, "fontsize": "15",
}  # fmt: skip
NODES = {"fontname": FONT, "fontsize": "16", "height": "0.4", "width": "0.3", "margin": "0.09,0.05"}
EDGES = {"fontname": FONT, "fontsize": "15", "color": "#666666", "arrowsize": "0.7"}

# The same on a screen with little room.
SMALL_PAGE = {"ranksep": "0.1", "nodesep": "0.1", "pad": "0.05", "fontsize": "14"}
SMALL_NODES = {"fontsize": "14", "height": "0.28", "width": "0.2", "margin": "0.06,0.02"}
SMALL_EDGES = {"fontsize": "13", "arrowsize": "0.6"}

# Each state has a border of its own: its line, and what else it sets.
LINES = {FREED: "dashed", ABSENT: "dotted"}
BORDERS = {
    HELD: {"penwidth": "2.4"},
    FREED: {"penwidth": "1.6"},
    STALE: {"penwidth": "2.4", "peripheries": "2", "color": STALE_COLOUR},
    ABSENT: {"fillcolor": "white", "color": GHOST_COLOUR, "fontcolor": GHOST_COLOUR},
}


def style_of(net: str | None, nets: tuple[str, ...]) -> Style:
    """The look of a net, by its place among all nets; neutral for what no net owns."""
    if net is None or net not in nets:
        return NEUTRAL
    return NET_STYLES[nets.index(net) % len(NET_STYLES)]


def net_class(net: str | None, scene: Scene) -> str:
    """A class of its own for each net's nodes, for pages that bring their own colours."""
    return "nonet" if net is None or net not in scene.nets else f"net{scene.nets.index(net)}"


# Overlays -----------------------------------------------------------------------------------------

_LINE = re.compile(r"\t(?P<node>\d+)(?: -> (?P<to>\d+))?(?P<rest>.*)", re.DOTALL)


def digraph(scene: Scene, *, folded: bool) -> Digraph:
    """The finished Digraph: torchviz's, with stable names and everything that it hides."""
    dot, names = torchviz_digraph(scene.graph, folded=folded)
    dot.graph_attr.clear()  # torchviz's size rule scales large graphs up to whole pages
    dot.graph_attr.update(PAGE, rankdir=scene.direction)
    dot.node_attr.clear()
    dot.node_attr.update(NODES)
    dot.edge_attr.update(EDGES)
    if scene.compact:
        dot.graph_attr.update(SMALL_PAGE)
        dot.node_attr.update(SMALL_NODES)
        dot.edge_attr.update(SMALL_EDGES)
    lines, dot.body = dot.body, []
    for line in lines:
        _copy(dot, line, names, scene)
    for node in scene.graph.nodes.values():
        attributes = node_attributes(node, scene)
        if is_leaf(node) and not folded:
            _declare(dot, f"n{node.id}tensor", attributes | {"id": f"n{node.id}tensor"})
            attributes |= _accumulator(node, scene)
        _declare(dot, f"n{node.id}", attributes)
    for i, name in sorted(scene.graph.outputs.items()):
        _declare(dot, f"n{i}output", _output_attributes(name, scene.graph.nodes[i], scene))
    for cut in scene.graph.cuts:
        _declare(dot, f"n{cut.source} -> n{cut.target}", _cut_attributes(cut))
    _frame_forwards(dot, scene)
    return dot


def _copy(dot: Digraph, line: str, names: Mapping[str, str], scene: Scene) -> None:
    """One line of torchviz's, under our names; edges get their overlay on the way."""
    found = _LINE.match(line)
    if found is None or found["node"] not in names:
        return  # the end of a graph that nobody holds a tensor of
    name, to = names[found["node"]], names.get(found["to"] or "")
    if found["to"] is None:
        dot.body.append(f"\t{name}{found['rest']}")
    elif to is not None:
        _declare(dot, f"{name} -> {to}", _edge_attributes(name, to, scene))


def _declare(dot: Digraph, what: str, attributes: Mapping[str, str]) -> None:
    """A node or edge with its attributes; they are merged with those it has already.

    Written out here: graphviz's own quoting reads names like <b> as HTML, and is slow.
    """
    quoted = (f"{key}={_quoted(value)}" for key, value in attributes.items())
    dot.body.append(f"\t{what} [{' '.join(quoted)}]\n")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _edge_attributes(name: str, to: str, scene: Scene) -> dict[str, str]:
    ends = [int(re.sub(r"\D", "", end)) for end in (name, to)]
    look = {"id": f"{name}-{to}", "class": "edge"}
    if scene.walked(*ends):
        return look | {"class": "edge walked", "penwidth": "3.5", "color": "#222222"}
    if any(scene.state(scene.graph.nodes[i]) == ABSENT for i in ends):
        return look | {"class": "edge absent", "style": "dotted", "color": "#aaaaaa"}
    return look


def node_attributes(node: Node, scene: Scene) -> dict[str, str]:
    """Shape and fill tell the owner, border and symbol the state, ∇ and a bold border who got."""
    look, state, received = (
        style_of(owner(node), scene.nets),
        scene.state(node),
        scene.received(node),
    )
    kinds = ["node", "parameter" if is_leaf(node) else "operation", state]
    attributes = {
        "id": f"n{node.id}",
        "class": " ".join([*kinds, *["received"] * received, net_class(owner(node), scene)]),
        "label": escaped(node_label(node, scene)),
        "tooltip": escaped(visible(f"{node.op} {shape_text(node.shape)}".strip())),
        "fillcolor": look.strong if is_leaf(node) else look.light,
        "color": look.border,
    }
    attributes |= look.attributes
    if scene.compact:  # other shapes are far wider than their text; crossed corners are not
        attributes = attributes | {"shape": "box", "margin": SMALL_NODES["margin"]}
    attributes |= BORDERS.get(state, {})
    corners = "rounded" if look.shape == "rounded" else None
    if attributes["shape"] == "box" and look.shape not in ("rounded", "box"):
        corners = "diagonals"
    attributes["style"] = ",".join(filter(None, ["filled", corners, LINES.get(state)]))
    return attributes | ({"penwidth": "4"} if received else {})


def node_label(node: Node, scene: Scene) -> str:
    """What stands in the node: symbols first, then its name."""
    if is_leaf(node):
        mark = f"{words.RECEIVED} " if scene.received(node) or scene.compact else ""
        if scene.compact:  # room for every symbol that it may have to show
            return f"{mark}{leaf_name(node)}"
        return f"{mark}{leaf_name(node)}\n{shape_text(node.shape)}".strip()
    symbol, word, _ = words.BUFFER[scene.state(node)]
    if scene.compact:
        return f"{words.BUFFER[HELD][0]} {short(node.op)}"
    mark = f"{symbol} {word}\n" if scene.state(node) == STALE else f"{symbol} "
    return f"{mark}{_broken(short(node.op))}".strip()


def _broken(name: str, limit: int = 13) -> str:
    """A long CamelCase name on several lines, so that its column stays narrow."""
    lines = [""]
    for part in re.findall(r"[A-Z]?[^A-Z]+|[A-Z]+", name):
        if lines[-1] and len(lines[-1]) + len(part) > limit:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _accumulator(node: Node, scene: Scene) -> dict[str, str]:
    """Unfolded, the parameter is a node of its own, and AccumulateGrad an operation."""
    fill = style_of(owner(node), scene.nets).light
    return {"label": node.op, "fillcolor": fill, "penwidth": "1", "class": "node operation"}


def _output_attributes(name: str, node: Node, scene: Scene) -> dict[str, str]:
    ghost = scene.state(node) == ABSENT
    colour = GHOST_COLOUR if ghost else "#222222"
    return {
        "id": f"n{node.id}output", "class": "node output" + " absent" * ghost, "shape": "oval",
        "label": escaped(visible(name)), "fillcolor": "white", "color": colour, "fontcolor": colour,
        "style": "filled,dotted" if ghost else "filled,bold", "margin": "0.02",
        "fontsize": SMALL_NODES["fontsize"] if scene.compact else "18",
        "tooltip": escaped(visible(f"{name} {shape_text(node.shape)}".strip())),
    }  # fmt: skip


def _cut_attributes(cut: Cut) -> dict[str, str]:
    label = words.CUT_LABEL.format(how=visible(cut.how))
    return {
        "id": f"cut-n{cut.source}-n{cut.target}", "class": "edge cut",
        "label": escaped(f" {label} "), "style": "dashed", "penwidth": "2.5", "color": CUT_COLOUR,
        "fontcolor": CUT_COLOUR, "tooltip": escaped(f"{label}: {words.CUT_MEANS}"),
    }  # fmt: skip


def _frame_forwards(dot: Digraph, scene: Scene) -> None:
    """A frame around each forward of a net, with its source line."""
    where = "b" if scene.direction == "TB" else "t"  # where fewer edges cross the text
    for (net, forward), nodes in scene.groups().items():
        if net is None or forward is None:
            continue
        colour = style_of(net, scene.nets).border
        texts = [group_title(net, forward), visible(scene.lines.get(forward, ""), 34)]
        if scene.compact:
            texts = [visible(scene.lines.get(forward) or texts[0], 30)]
        frame = {
            "id": f"forward{forward}", "class": f"forward {net_class(net, scene)}",
            "style": "rounded", "margin": "5" if scene.compact else "8",
            "label": "".join(f"{escaped(text)}\\l" for text in texts if text),  # \l: flush left
            "labeljust": "l", "labelloc": where, "color": colour, "fontcolor": colour,
        }  # fmt: skip
        inside = " ".join(f"n{node.id}" for node in nodes)
        quoted = " ".join(f"{key}={_quoted(value)}" for key, value in frame.items())
        dot.body.append(f"\tsubgraph cluster_forward{forward} {{ {quoted} {inside} }}\n")


def escaped(text: str) -> str:
    """Text for a DOT label: backslashes and entities mean themselves, a line break is one."""
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace("\n", "\\n")
