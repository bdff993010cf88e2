"""From a scene to DOT: torchviz decides what is drawn, and here is decided how it looks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_lessons.lens.model import FREED, HELD, STALE, Cut, Node
from gan_lessons.lens.show.format import (
    group_title,
    leaf_name,
    owned_name,
    shape_text,
    short,
    visible,
)
from gan_lessons.lens.show.scene import ABSENT, Scene, owner
from gan_lessons.lens.show.symbols import BUFFER, CUT, CUT_MEANS, GRADIENT, RECEIVED
from gan_lessons.lens.show.torchviz_digraph import Part, torchviz_digraph

if TYPE_CHECKING:
    from graphviz import Digraph

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


# Parts --------------------------------------------------------------------------------------------


def digraph(scene: Scene, *, folded: bool) -> Digraph:
    """The finished Digraph: torchviz's, with stable names and everything that it hides."""
    dot, lines = torchviz_digraph(scene.graph, folded=folded)
    dot.graph_attr.clear()  # torchviz's size rule scales large graphs up to whole pages
    dot.node_attr.clear()
    dot.graph_attr.update(PAGE | (SMALL_PAGE if scene.compact else {}), rankdir=scene.direction)
    dot.node_attr.update(NODES | (SMALL_NODES if scene.compact else {}))
    dot.edge_attr.update(EDGES | (SMALL_EDGES if scene.compact else {}))
    dot.body = [
        *(_drawn(ends, scene, folded=folded) for ends in lines),
        *(_cut(cut) for cut in scene.graph.cuts),
        *_frames(scene),
    ]
    return dot


def _drawn(ends: tuple[Part, ...], scene: Scene, *, folded: bool) -> str:
    """A line of torchviz's, with our looks."""
    names = [f"n{i}{what}" for i, what in ends]
    if len(ends) == 2:
        look = _edge(scene, *(i for i, _ in ends))
        return _statement(" -> ".join(names), {"id": "-".join(names), **look})
    i, what = ends[0]
    node = scene.graph.nodes[i]
    if what == "output":
        look = _output(scene.graph.outputs[i], node, scene)
    else:
        look = node_attributes(node, scene)
        if node.is_leaf and not folded and not what:
            look |= _accumulator(node, scene)
    return _statement(names[0], {"id": names[0], **look})


def _statement(what: str, attributes: Mapping[str, str]) -> str:
    """Written out here: graphviz's own quoting reads names like <b> as HTML, and is slow."""
    return f"\t{what} [{_quoted(attributes)}]\n"


def _quoted(attributes: Mapping[str, str]) -> str:
    texts = ((key, value.replace('"', '\\"')) for key, value in attributes.items())
    return " ".join(f'{key}="{text}"' for key, text in texts)


def escaped(text: str) -> str:
    """Text for a DOT label: backslashes and entities mean themselves, a line break is one."""
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace("\n", "\\n")


# Overlays -----------------------------------------------------------------------------------------


def _edge(scene: Scene, *ends: int) -> dict[str, str]:
    if scene.walked(*ends):
        # The arrow is the gradient's, which goes the other way than the data.
        return {"class": "edge walked", "penwidth": "3.5", "color": "#222222", "dir": "back"}
    if any(scene.state(scene.graph.nodes[i]) == ABSENT for i in ends):
        return {"class": "edge absent", "style": "dotted", "color": "#aaaaaa"}
    return {"class": "edge"}


def node_attributes(node: Node, scene: Scene) -> dict[str, str]:
    """Shape and fill tell the owner, border and symbol the state, ∇ and a bold border who got.

    What was in vain is dashed, as in the explorer, and wears the table's symbol.
    """
    net, state, received = owner(node), scene.state(node), scene.received(node)
    look = style_of(net, scene.nets)
    vain = "dashed" if scene.received_in_vain(node) else None
    kinds = ["node", "parameter" if node.is_leaf else "operation", state]
    shape = look.attributes
    if scene.compact:  # other shapes are far wider than their text; crossed corners are not
        shape = {"shape": "box", "margin": SMALL_NODES["margin"]}
    corners = "rounded" if look.shape == "rounded" else None
    if shape["shape"] == "box" and look.shape not in ("rounded", "box"):
        corners = "diagonals"
    return {
        "class": " ".join([*kinds, *["received"] * received, net_class(net, scene)]),
        "label": escaped(node_label(node, scene)),
        "tooltip": escaped(visible(f"{node.op} {shape_text(node.shape)}".strip())),
        "fillcolor": look.strong if node.is_leaf else look.light,
        "color": look.border,
        **shape,
        **BORDERS.get(state, {}),
        "style": ",".join(filter(None, ["filled", corners, LINES.get(state), vain])),
        **({"penwidth": "4"} if received else {}),
    }


def node_label(node: Node, scene: Scene) -> str:
    """What stands in the node: symbols first, then its name."""
    state = scene.state(node)
    if scene.compact:  # room for every symbol that it may have to show
        name = owned_name(node) if node.is_leaf else short(node.op)
        return f"{RECEIVED if node.is_leaf else BUFFER[HELD][0]} {name}"
    if node.is_leaf:
        mark = f"{receipt(node, scene)} ".lstrip()
        return f"{mark}{leaf_name(node)}\n{shape_text(node.shape)}".strip()
    symbol, word, _ = BUFFER[state]
    mark = f"{symbol} {word}\n" if state == STALE else f"{symbol} "
    return f"{mark}{_broken(short(node.op))}".strip()


def receipt(node: Node, scene: Scene) -> str:
    """What stands before a parameter: ∇ if it received, ∇ and the table's ○ if it was in vain."""
    vain = GRADIENT["vain"][0] if scene.received_in_vain(node) else ""
    return f"{RECEIVED}{vain}" if scene.received(node) else ""


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


def _output(name: str, node: Node, scene: Scene) -> dict[str, str]:
    ghost = scene.state(node) == ABSENT
    colour = GHOST_COLOUR if ghost else "#222222"
    return {
        "class": "node output" + " absent" * ghost, "shape": "oval",
        "label": escaped(visible(name)), "fillcolor": "white", "color": colour, "fontcolor": colour,
        "style": "filled,dotted" if ghost else "filled,bold", "margin": "0.02",
        "fontsize": SMALL_NODES["fontsize"] if scene.compact else "18",
        "tooltip": escaped(visible(f"{name} {shape_text(node.shape)}".strip())),
    }  # fmt: skip


def _cut(cut: Cut) -> str:
    label = f"{CUT} {visible(cut.how)}"
    look = {
        "id": f"cut-n{cut.source}-n{cut.target}", "class": "edge cut",
        "label": escaped(f" {label} "), "style": "dashed", "penwidth": "2.5", "color": CUT_COLOUR,
        "fontcolor": CUT_COLOUR, "tooltip": escaped(f"{label}: {CUT_MEANS}"),
    }  # fmt: skip
    return _statement(f"n{cut.source} -> n{cut.target}", look)


def _frames(scene: Scene) -> Iterator[str]:
    """A frame around each forward of a net, with its source line."""
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
            "labeljust": "l", "color": colour, "fontcolor": colour,
            "labelloc": "b" if scene.direction == "TB" else "t",  # where fewer edges cross the text
        }  # fmt: skip
        inside = " ".join(f"n{node.id}" for node in nodes)
        yield f"\tsubgraph cluster_forward{forward} {{ {_quoted(frame)} {inside} }}\n"
