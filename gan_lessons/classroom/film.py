"""From the record of a step to what the explorer shows: plain JSON, one film per step.

A film holds the source, one picture of the graph, a matrix of gradients, and for each moment only
what changes: the line, a caption, the state of each node, what each ``.grad`` holds, the bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from gan_lessons.classroom.captions import caption
from gan_lessons.lens.model import STATES, Graph, Moment, StepRecord
from gan_lessons.lens.show import (
    GRADIENT,
    LARGE,
    Cell,
    GradientTable,
    bytes_text,
    describe,
    draw_graph,
    event_text,
    fold_parameters,
    leaf_groups,
    norm_text,
    shape_text,
    svg,
    visible,
)

Json = dict[str, Any]

# One letter for each state of a node ("." is not there) and for each kind of gradient.
STATE_LETTERS = {state: state[0] for state in STATES}
KIND_LETTERS = dict(zip(GRADIENT, "nzfahbv", strict=True))


def make_film(record: StepRecord, title: str, summary: str = "", flops: int | None = None) -> Json:
    """All that can be seen of one recorded step, as JSON.

    flops: of the step, counted in another run; None if they were not.
    """
    picture = draw_graph(record=record, compact=True)
    moments = record.moments or moments_of_events(record)
    parameters = [(net, name) for net, names in record.parameters.items() for name in names]
    large = len(picture.graph.nodes) > LARGE or not picture.graph.nodes
    return {
        "title": title,
        "summary": summary,
        "source": record.source.rstrip().split("\n") if record.source else [],
        "svg": "" if large else _drawn(picture.dot),
        "nodes": _nodes(picture.graph, record, parameters),
        "nets": [visible(net) for net in record.parameters],
        "parameters": [[visible(net), visible(name)] for net, name in parameters],
        "calls": _calls(record, picture.graph, parameters),
        **_matrix(record),
        "moments": _moments(record, moments, picture.graph, parameters),
        "totals": totals(record, flops),
        "error": str(record.error) if record.error else "",
    }


def moments_of_events(record: StepRecord) -> tuple[Moment, ...]:
    """Where the step's lines are not known, each event is a moment."""
    found: list[Moment] = []
    seen: set[int] = set()
    for event in record.events:
        built = tuple(i for i in event.states if i not in seen)
        seen |= set(built)
        raised = event.kind == "error"
        about = ((event.index,), built, event.states, event.held, event.grads, raised)
        found.append(Moment(len(found), 0, 0, *about))
    return tuple(found)


# The picture --------------------------------------------------------------------------------------

_NOISE = (
    (re.compile(r"<!--.*?-->|<title>.*?</title>", re.DOTALL), ""),
    (re.compile(r'<g id="a_[^"]*"><a [^>]*>\s*(.*?)\s*</a>\s*</g>', re.DOTALL), r"\1"),
    # Looks are the stylesheet's: colours differ by theme, states by moment.
    (re.compile(r' (?:fill|stroke|stroke-\w+|font-\w+|xml:space|xmlns:xlink)="[^"]*"'), ""),
    (re.compile(r'(<g id="graph0"[^>]*>)\s*<polygon[^>]*>'), r"\1"),  # the white page
    (re.compile(r">\s+<"), "><"),
    (re.compile("&#45;"), "-"),
    (re.compile(r'^<svg width="\d+pt" height="\d+pt"\s+'), "<svg "),
)
_ATTRIBUTE = re.compile(r'="[^"<]*"')  # a name in a text may hold numbers too: leave those
_DIGITS = re.compile(r"(\d\.\d)\d+")
_BOX = re.compile(
    r'(<g id="(?:n\d+|forward\d+)" class="[^"]*">)'
    r'<(?:path d|polygon points)="([^"]*)"/>((?:<polyline [^>]*/>)*)'
)


@lru_cache(maxsize=64)  # a step with one line changed often builds the same graph
def _drawn(dot: str) -> str:
    """Graphviz's geometry, ids and classes, and nothing else; "" where there is no Graphviz."""
    try:
        drawn = svg(dot)
    except RuntimeError:
        return ""
    for pattern, kept in _NOISE:
        drawn = pattern.sub(kept, drawn)
    drawn = _ATTRIBUTE.sub(lambda found: _DIGITS.sub(r"\1", found[0]), drawn)
    return _BOX.sub(_box, drawn)


def _box(found: re.Match[str]) -> str:
    """A box of Graphviz's in one short element: round, square, or with its corners cut off."""
    group, points, corners = found.groups()
    places = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", points)]
    xs, ys = places[::2], places[1::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    if corners:
        c = 6
        cut = [
            (left + c, top), (right - c, top), (right, top + c), (right, bottom - c),
            (right - c, bottom), (left + c, bottom), (left, bottom - c), (left, top + c),
        ]  # fmt: skip
        return f'{group}<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in cut)}"/>'
    round_ = ' rx="8"' if "C" in points else ""
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'{group}<rect x="{left:.1f}" y="{top:.1f}" {size}{round_}/>'


def _nodes(graph: Graph, record: StepRecord, parameters: list[tuple[str, str]]) -> list[Json]:
    """What can be told of every node that is drawn, in the order of the letters of a moment."""
    found = []
    # What stands together in the picture, which is drawn folded.
    members = leaf_groups(fold_parameters(record.graph))
    for i, node in graph.nodes.items():
        saved = record.graph.saved.get(i, ())
        told: Json = {
            "id": f"n{i}",
            "op": visible(node.op),
            "net": visible(node.net) if node.net else "",
            "shape": shape_text(node.shape),
            "saved": [[visible(s.name), shape_text(s.shape), s.bytes, s.what] for s in saved],
        }
        if node.is_leaf:
            leaves = [(n.net, n.parameter) for n in members.get(i, ())]
            told["parameters"] = [parameters.index(m) for m in leaves if m in parameters]
        if node.net and node.forward is not None:
            told["forward"] = node.forward
            told["call"] = visible(record.forwards[node.forward].line.expression)
        found.append(told)
    return found


def _calls(record: StepRecord, graph: Graph, parameters: list[tuple[str, str]]) -> list[Json]:
    """For each backward call the drawn nodes that its gradient passed, and who received."""
    found = []
    for call in record.backward_calls:
        walked = [] if call.error else [f"n{i}" for i in call.nodes if i in graph.nodes]
        got = [(net, name) for net, names in call.received.items() for name in names]
        received = [parameters.index(p) for p in got]
        found.append({"source": visible(call.source), "nodes": walked, "received": received})
    return found


# The matrix ---------------------------------------------------------------------------------------


def _matrix(record: StepRecord) -> Json:
    """Rows of cells [kind, norm, sources, changed, used], and a head for each column."""
    table = GradientTable(record)
    rows = []
    for net, net_rows in table.rows().items():
        for row in net_rows:
            cells = [_cell(cell) for cell in row.cells]
            rows.append({"net": visible(net), "name": row.name, "cells": cells})
    columns = [
        {"event": e.index, "text": event_text(e), "source": visible(e.line.text, 80)}
        for e in table.columns
    ]
    return {"columns": columns, "rows": rows}


def _cell(cell: Cell) -> list[Any]:
    norm = "" if cell.kind in ("none", "zero") else norm_text(cell.value)
    sources = "+".join(map(str, cell.sources))
    return [KIND_LETTERS[cell.kind], norm, sources, int(cell.changed), int(cell.used)]


# The moments --------------------------------------------------------------------------------------


def _moments(
    record: StepRecord,
    moments: tuple[Moment, ...],
    graph: Graph,
    parameters: list[tuple[str, str]],
) -> list[Json]:
    kinds = GradientTable(record).kinds
    phases = _phases(record, moments)
    found = []
    for moment, phase in zip(moments, phases, strict=True):
        events = [record.events[i] for i in moment.events]
        call = next((e.call for e in events if e.call is not None), None)
        states = (moment.states.get(i, ".") for i in graph.nodes)
        grads = (moment.grads[net][name] for net, name in parameters)
        told: Json = {
            "line": moment.line,
            "last": moment.last_line,
            "caption": caption(record, moment, moments),
            "held": moment.held.activations,
            "heldText": bytes_text(moment.held),
            "states": "".join(STATE_LETTERS.get(s, ".") for s in states),
            "grads": "".join(KIND_LETTERS[describe(g, record.complete).kind] for g in grads),
            "columns": [e.index for e in events if e.kind in kinds],
            "phase": phase,
        }
        if call is not None:
            told["backward"] = call
        if moment.raised:
            told["raised"] = True
        found.append(told)
    return found


def _phases(record: StepRecord, moments: tuple[Moment, ...]) -> list[str]:
    """What each moment works for: "backward D" until D's gradient is there, "step D" when D moves.

    Two films are linked by these names, whatever the order of their lines.
    """
    found: list[str] = []
    coming = ""
    for moment in reversed(moments):
        for event in (record.events[i] for i in reversed(moment.events)):
            if event.kind == "step":
                coming = f"step {event.target}"
            elif event.kind == "backward" and event.call is not None:
                coming = f"backward {'+'.join(record.used(event.call))}"
        found.append(coming)
    # Where nothing has happened yet, every step is at its start, whoever comes first in it.
    idle = next((m.index for m in moments if m.events), 0)
    return ["start"] * idle + found[::-1][idle:]


def totals(record: StepRecord, flops: int | None) -> Json:
    """What the whole step did: counts per net, the peak in bytes, gradients that nobody used."""
    return {
        "forwards": {visible(net): count for net, count in record.forward_counts.items()},
        "backwards": {visible(net): count for net, count in record.backward_counts.items()},
        "peak": record.peak.activations,
        "peakText": bytes_text(record.peak),
        "vain": record.vain_count,
        "flops": flops,
    }
