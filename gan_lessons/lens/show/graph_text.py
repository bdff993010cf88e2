"""A graph in words: everything that its picture says, and the picture's legend."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from gan_lessons.lens.model import Node
from gan_lessons.lens.show.dot import CUT_COLOUR, NEUTRAL, Style, receipt, style_of
from gan_lessons.lens.show.format import (
    aligned,
    group_title,
    leaf_name,
    shape_text,
    short,
    visible,
)
from gan_lessons.lens.show.scene import ABSENT, Scene, owner
from gan_lessons.lens.show.symbols import BUFFER, CUT, CUT_MEANS, GRADIENT, RECEIVED

GOT = "received gradient in backward call {call}"
GOT_IN_VAIN = "received gradient in backward call {call}, in vain"


def spelled_out(scene: Scene) -> str:
    """The whole picture as lines of text, no wider than its names."""
    head = [scene.title, *scene.notes]
    if not scene.graph.nodes:
        empty = "An empty graph: nothing here was computed with gradients."
        return "\n".join([scene.title, empty, *scene.notes])
    if scene.call is not None:
        text = (
            "Backward call {call}: {source}. ∇ marks the operations that its gradient passed, and "
            "the parameters that received it."
        )
        head.append(text.format(call=scene.call.index, source=visible(scene.call.source, 80)))
    return "\n\n".join(["\n".join(head), *_blocks(scene)])


def _blocks(scene: Scene) -> Iterator[str]:
    for (net, forward), nodes in scene.groups().items():
        line = "" if forward is None else visible(scene.lines.get(forward, ""), 80)
        title = group_title(net, forward) + (f": {line}" if line else "")
        yield _block(title, [_operation(node, scene) for node in nodes])
    for net in (*scene.nets, None):
        title = "Leaf tensors of no net" if net is None else "Parameters of {net}"
        if leaves := scene.leaves(net):
            rows = [_leaf(node, scene) for node in leaves]
            yield _block(title.format(net=visible(net or "")), rows)
    if not scene.graph.inferred:  # else they are not known, and a note says so
        yield _cuts(scene)
    if outputs := sorted(scene.graph.outputs.items()):
        rows = [[visible(name), f"= {_reference(i, scene)}"] for i, name in outputs]
        yield _block("Outputs", rows)


def _block(title: str, rows: list[list[str]]) -> str:
    return f"{title}\n{textwrap.indent(aligned(rows), '  ')}"


def _operation(node: Node, scene: Scene) -> list[str]:
    symbol, word, _ = BUFFER[scene.state(node)]
    if scene.state(node) == ABSENT:
        word = "already gone" if node.id in scene.gone else "not built yet"
    name = f"{short(node.op)} {shape_text(node.shape)}".strip()
    sources = ", ".join(_reference(i, scene) for i in dict.fromkeys(node.inputs))
    made_from = "from {names}".format(names=sources) if sources else ""
    mark = RECEIVED if scene.walked(node.id) else ""
    return [mark, f"n{node.id}", name, f"{symbol or ' '} {word}", made_from]


def _leaf(node: Node, scene: Scene) -> list[str]:
    name = f"{leaf_name(node)} {shape_text(node.shape)}"
    if scene.call is None or node.parameter is None:  # only parameters are watched
        return ["", name, ""]
    text = GOT if scene.received(node) else "received nothing in backward call {call}"
    if scene.received_in_vain(node):
        text = GOT_IN_VAIN
    return [receipt(node, scene), name, text.format(call=scene.call.index)]


def _reference(i: int, scene: Scene) -> str:
    node = scene.graph.nodes[i]
    if not node.is_leaf:
        return f"n{i}"
    net = owner(node)
    return leaf_name(node) if net is None else f"{visible(net)} {leaf_name(node)}"


def _cuts(scene: Scene) -> str:
    if not scene.graph.cuts:
        return "No cuts."
    text = "{how} between {source} and {target}: values pass, no gradient comes back."
    rows = []
    for cut in scene.graph.cuts:
        source, target = _place(cut.source, scene), _place(cut.target, scene)
        rows.append([CUT, text.format(how=visible(cut.how), source=source, target=target)])
    return _block("Cuts", rows)


def _place(i: int, scene: Scene) -> str:
    node = scene.graph.nodes[i]
    if node.is_leaf:
        return _reference(i, scene)
    whose = f" ({visible(node.net)})" if node.net is not None else ""
    return f"n{i} {short(node.op)}{whose}"


# Legend -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """What the legend says of its sample: a symbol, a line, or a box of a style with a text."""

    means: str
    symbol: str = ""
    line: str = ""
    box: Style | None = None
    fill: str = ""
    text: str = ""


def legend(scene: Scene) -> Iterator[Entry]:
    """Everything that occurs in the picture, and nothing else."""
    nodes = list(scene.graph.nodes.values())
    for net in scene.nets:
        if any(owner(node) == net for node in nodes):
            style = style_of(net, scene.nets)
            shape = "rounded box" if style.shape == "rounded" else style.shape
            means = "{shape}: node of {net}".format(shape=shape, net=visible(net))
            yield Entry(means, box=style, fill=style.light, text=visible(net))
    if any(node.net is None and not node.is_leaf for node in nodes):
        yield Entry("node of no net (a loss, say)", box=NEUTRAL, fill=NEUTRAL.light)
    if any(node.is_leaf for node in nodes):
        yield Entry("darker: a parameter", box=NEUTRAL, fill=NEUTRAL.strong)
    states = {scene.state(node) for node in nodes if not node.is_leaf}
    for state, (symbol, word, means) in BUFFER.items():
        if state in states:
            line = "2px dotted gray" if state == ABSENT else "2px solid gray"
            yield Entry(f"{word}: {means}", symbol, "" if symbol else line)
    if scene.graph.cuts:
        yield Entry(CUT_MEANS, CUT, f"2px dashed {CUT_COLOUR}")
    if scene.call is not None:
        yield Entry(GOT.format(call=scene.call.index), RECEIVED)
        if any(map(scene.received_in_vain, nodes)):
            symbol, word, means = GRADIENT["vain"]
            yield Entry(f"dashed, {word}: {means}", symbol)
        if any(scene.walked(node.id, i) for node in nodes for i in node.inputs):
            text = "thick line: the gradient of backward call {call} went along it, upwards"
            if scene.direction == "LR":
                text = (
                    "thick line: the gradient of backward call {call} went along it, right to left"
                )
            yield Entry(text.format(call=scene.call.index), line="4px solid currentColor")
    yield Entry("arrows: the way of the data; gradients go the other way", "→")
