"""A graph in words: everything that its picture says, and the picture's legend."""

from __future__ import annotations

import html

from gan_lessons.lens.model import Node
from gan_lessons.lens.show import symbols as words
from gan_lessons.lens.show.dot import CUT_COLOUR, NEUTRAL, Style, style_of
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


def spelled_out(scene: Scene) -> str:
    """The whole picture as lines of text, no wider than its names."""
    if not scene.graph.nodes:
        return "\n".join([scene.title, words.GRAPH_EMPTY, *scene.notes])
    head = [scene.title, *scene.notes]
    if scene.call is not None:
        source = visible(scene.call.source, 80)
        head.append(words.TEXT_CALL.format(call=scene.call.index, source=source))
    blocks = ["\n".join(head)]
    for (net, forward), nodes in scene.groups().items():
        line = "" if forward is None else visible(scene.lines.get(forward, ""), 80)
        title = group_title(net, forward) + (f": {line}" if line else "")
        blocks.append(_block(title, [_operation(node, scene) for node in nodes]))
    owners = [*scene.nets, None]
    for net in owners:
        if leaves := scene.leaves(net):
            title = words.LEAVES_OF_NOBODY
            if net is not None:
                title = words.PARAMETERS_OF.format(net=visible(net))
            blocks.append(_block(title, [_leaf(node, scene) for node in leaves]))
    blocks.append(_cuts(scene))
    outputs = sorted(scene.graph.outputs.items())
    rows = [[visible(name), f"= {_reference(i, scene)}"] for i, name in outputs]
    if rows:
        blocks.append(_block(words.TEXT_OUTPUTS, rows))
    return "\n\n".join(filter(None, blocks))


def _block(title: str, rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, *(f"  {line.rstrip()}" for line in lines)])


def _operation(node: Node, scene: Scene) -> list[str]:
    state = scene.state(node)
    symbol, word, _ = words.BUFFER[state]
    if state == ABSENT:
        word = words.GONE if node.id in scene.gone else words.NOT_BUILT
    sources = ", ".join(_reference(i, scene) for i in dict.fromkeys(node.inputs))
    name = f"{short(node.op)} {shape_text(node.shape)}".strip()
    made_from = words.TEXT_FROM.format(names=sources) if sources else ""
    mark = words.RECEIVED if scene.walked(node.id) else ""
    return [mark, f"n{node.id}", name, f"{symbol or ' '} {word}", made_from]


def _leaf(node: Node, scene: Scene) -> list[str]:
    name = words.PARAMETER.format(name=leaf_name(node), shape=shape_text(node.shape))
    if scene.call is None or node.parameter is None:  # only parameters are watched
        return ["", name, ""]
    received = scene.received(node)
    told = words.RECEIVED_MEANS if received else words.NOT_RECEIVED
    return [words.RECEIVED if received else "", name, told.format(call=scene.call.index)]


def _reference(i: int, scene: Scene) -> str:
    node = scene.graph.nodes[i]
    if not is_leaf(node):
        return f"n{i}"
    net = owner(node)
    return leaf_name(node) if net is None else f"{visible(net)} {leaf_name(node)}"


def _cuts(scene: Scene) -> str:
    if scene.graph.inferred:
        return ""  # not known, and a note says so
    if not scene.graph.cuts:
        return words.TEXT_NO_CUTS
    ends = [(c.how, *(_place(i, scene) for i in (c.source, c.target))) for c in scene.graph.cuts]
    lines = [words.TEXT_CUT.format(how=visible(h), source=s, target=t) for h, s, t in ends]
    return _block(words.TEXT_CUTS, [[words.CUT, line] for line in lines])


def _place(i: int, scene: Scene) -> str:
    node = scene.graph.nodes[i]
    if is_leaf(node):
        return _reference(i, scene)
    whose = f" ({visible(node.net)})" if node.net is not None else ""
    return f"n{i} {short(node.op)}{whose}"


# Legend -------------------------------------------------------------------------------------------


def legend(scene: Scene) -> tuple[tuple[str, str], ...]:
    """(sample as HTML, meaning) of everything that occurs in the picture, and of nothing else."""
    nodes = list(scene.graph.nodes.values())
    owners = {owner(n) for n in nodes}
    shown = [net for net in scene.nets if net in owners]
    found = [(_swatch(style_of(n, scene.nets), n), _net_meaning(scene, n)) for n in shown]
    if any(n.net is None and not is_leaf(n) for n in nodes):
        found.append((_swatch(NEUTRAL, ""), words.LEGEND_LOSS))
    if any(is_leaf(n) for n in nodes):
        found.append((_swatch(NEUTRAL, "", strong=True), words.LEGEND_PARAMETER))
    states = {scene.state(n) for n in nodes if not is_leaf(n)}
    for state, (symbol, word, means) in words.BUFFER.items():
        if state in states:
            line = _line("dotted" if state == ABSENT else "solid", "gray")
            found.append((html.escape(symbol) or line, f"{word}: {means}"))
    if scene.graph.cuts:
        found.append((f"{words.CUT} {_line('dashed', CUT_COLOUR)}", words.CUT_MEANS))
    if scene.call is not None:
        call = {"call": scene.call.index}
        found.append((words.RECEIVED, words.RECEIVED_MEANS.format(**call)))
        walked = words.WALKED_MEANS if scene.direction == "LR" else words.WALKED_MEANS_DOWN
        if any(scene.walked(node.id, i) for node in nodes for i in node.inputs):
            found.append((_line("solid", "currentColor", 4), walked.format(**call)))
    return (*found, ("→", words.ARROWS))


def _net_meaning(scene: Scene, net: str) -> str:
    shape = words.SHAPE_WORD[style_of(net, scene.nets).shape]
    return words.LEGEND_NET.format(net=visible(net), shape=shape)


def _swatch(style: Style, text: str, *, strong: bool = False) -> str:
    fill = style.strong if strong else style.light
    return (
        f'<span style="display:inline-block;min-width:1.4em;line-height:1.4;text-align:center;'
        f"border:2px solid {style.border};background:{fill};color:#111;"
        f'border-radius:{".5em" if style.shape == "rounded" else "0"}">'
        f"{html.escape(visible(text)) or '&nbsp;'}</span>"
    )


def _line(style: str, colour: str, width: int = 2) -> str:
    return (
        f'<span style="display:inline-block;width:1.8em;vertical-align:middle;'
        f'border-top:{width}px {style} {colour}"></span>'
    )
