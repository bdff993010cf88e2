"""From the record of a step to what the explorer shows: plain JSON, one film per step.

A film holds the source, the players and the place of each on the stage, the graph, a matrix of
gradients, and for each moment only what changes: the line, a caption, the state of each player and
node, what each ``.grad`` holds, the bytes, the counts so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from gan_lessons.classroom.explorer.captions import NOTHING, marked_caption
from gan_lessons.classroom.explorer.matrix import matrix
from gan_lessons.classroom.explorer.paint import colours, folded
from gan_lessons.classroom.explorer.players import Cast
from gan_lessons.classroom.explorer.stage_layout import close_stage, stage
from gan_lessons.classroom.explorer.stage_moments import PARTLY, StagedRecord, stage_moments
from gan_lessons.classroom.explorer.stage_narrow import narrow_stage
from gan_lessons.lens import show
from gan_lessons.lens.model import STATES, Forward, Graph, Moment, StepRecord

Json = dict[str, Any]
Places = Mapping[tuple[str, str], int]  # (net, parameter) -> its place in the film's "parameters"

# One letter for each state of a node ("." is not there) and for each kind of gradient.
STATE_LETTERS = {state: state[0] for state in STATES}
KIND_LETTERS = dict(zip(show.GRADIENT, "nzfahbv", strict=True))
KIND_LETTERS[PARTLY] = "p"
MIXED = "m"  # of a whole net whose parameters differ
_NET_LETTERS = {**KIND_LETTERS, "mixed": MIXED}


def make_film(
    record: StepRecord,
    title: str,
    summary: str = "",
    flops: int | None = None,
    field: Json | None = None,
) -> Json:
    """All that can be seen of one recorded step, as JSON.

    flops: of the step, counted in another run; None if they were not. field: what it did in the
    plane, of ``PlaneWatch.field``.
    """
    picture = show.draw_graph(record=record, compact=True)
    graph = picture.graph
    moments = record.moments or _moment_per_event(record)
    staged = StagedRecord(record, moments)
    source = record.source.rstrip().split("\n") if record.source else []
    pairs = [(net, name) for net, names in record.parameters.items() for name in names]
    places = {pair: i for i, pair in enumerate(pairs)}
    return {
        "title": title,
        "summary": summary,
        "source": source,
        "paint": colours(source),
        "folded": folded(source),
        "stage": _stages(staged.cast),
        "versions": [f.weights for f in record.forwards],
        "layout": _layout(picture.dot) if 0 < len(graph.nodes) <= show.LARGE else None,
        "nodes": _nodes(record, graph, places),
        "edges": _edges(graph),
        "forwards": [_forward(forward) for forward in record.forwards],
        "nets": [show.visible(net) for net in record.parameters],
        "parameters": [[show.visible(net), show.visible(name)] for net, name in pairs],
        "calls": _calls(record, graph, places),
        **matrix(staged, _NET_LETTERS),
        "moments": _moments(staged, graph, places),
        "totals": totals(record, flops),
        "field": field,
        "error": str(record.error) if record.error else "",
    }


def _moment_per_event(record: StepRecord) -> tuple[Moment, ...]:
    """Where the step's lines are not known, each event is a moment."""
    found: list[Moment] = []
    before: set[int] = set()
    for i, e in enumerate(record.events):
        built = tuple(node for node in e.states if node not in before)
        before |= {*built}
        found.append(Moment(i, 0, 0, (i,), built, e.states, e.held, e.grads, e.kind == "error"))
    return tuple(found)


# The graph ----------------------------------------------------------------------------------------


def _stages(cast: Cast) -> Json:
    return stage(cast) | {"close": close_stage(cast), "narrow": narrow_stage(cast)}


@lru_cache(maxsize=64)  # a step with one line changed often builds the same graph
def _layout(dot: str) -> Json | None:
    """Where Graphviz puts every part, in points from the top left, by the part's id in ``dot``.

    boxes: [left, top, width, height] of nodes and frames. paths: of edges, as SVG writes them.
    labels: the middle of an edge's text. None where there is no Graphviz.
    """
    try:
        found = show.layout(dot)
    except RuntimeError:
        return None
    _, _, width, height = map(float, found["bb"].split(","))

    def point(text: str) -> list[float]:
        x, y = map(float, text.split(","))
        return [round(x, 1), round(height - y, 1)]  # Graphviz counts from the bottom

    boxes, paths, labels = {}, {}, {}
    for part in found["objects"]:
        if "bb" in part:
            left, low, right, high = map(float, part["bb"].split(","))
            x, y, wide, tall = left, height - high, right - left, high - low
        else:
            wide, tall = 72 * float(part["width"]), 72 * float(part["height"])  # from inches
            x, y = point(part["pos"])
            x, y = x - wide / 2, y - tall / 2
        boxes[part["id"]] = [round(n, 1) for n in (x, y, wide, tall)]
    for part in found.get("edges", []):
        points = [point(text) for text in part["pos"].split() if not text.startswith("e,")]
        start, *bends = (f"{x:g},{y:g}" for x, y in points)
        paths[part["id"]] = f"M{start}C{' '.join(bends)}"
        if "lp" in part:
            labels[part["id"]] = point(part["lp"])
    return {"size": [width, height], "boxes": boxes, "paths": paths, "labels": labels}


def _nodes(record: StepRecord, graph: Graph, places: Places) -> list[Json]:
    """What can be told of every node that is drawn, in the order of the letters of a moment."""
    found = []
    together = show.leaf_groups(
        show.fold_parameters(record.graph)
    )  # parameters that are drawn as one node
    for i, node in graph.nodes.items():
        told: Json = {
            "id": f"n{i}",
            "op": show.visible(node.op),
            "name": show.owned_name(node) if node.is_leaf else show.short(node.op),
            "net": show.visible(node.net) if node.net else "",
            "shape": show.shape_text(node.shape),
            "saved": [
                [show.visible(s.name), show.shape_text(s.shape), s.bytes, s.what]
                for s in record.graph.saved.get(i, ())
            ],
        }
        if node.is_leaf:
            leaves = [(n.net or "", n.parameter or "") for n in together.get(i, ())]
            told["parameters"] = [places[leaf] for leaf in leaves if leaf in places]
        if node.net and node.forward is not None:
            told["forward"] = node.forward
        if i in graph.outputs:
            told["output"] = show.visible(graph.outputs[i])
        found.append(told)
    return found


def _edges(graph: Graph) -> list[Json]:
    """The way of the data: from what an operation takes, to an output, and over a cut."""
    taken = [(k, i) for i, node in graph.nodes.items() for k in dict.fromkeys(node.inputs)]
    found: list[Json] = [{"id": f"n{k}-n{i}", "ends": [f"n{k}", f"n{i}"]} for k, i in taken]
    found += [{"id": f"n{i}-n{i}output", "ends": [f"n{i}"]} for i in graph.outputs]
    for cut in graph.cuts:
        ends = [f"n{cut.source}", f"n{cut.target}"]
        found.append({"id": f"cut-{'-'.join(ends)}", "ends": ends, "cut": show.visible(cut.how)})
    return found


def _forward(forward: Forward) -> Json:
    title = forward.line.expression or show.group_title(forward.net, forward.index)
    return {"net": show.visible(forward.net), "text": show.visible(title, 30)}


def _calls(record: StepRecord, graph: Graph, places: Places) -> list[Json]:
    """For each backward call the drawn nodes that its gradient passed, and who received."""
    return [
        {
            "source": show.visible(call.source),
            "nodes": [] if call.error else [f"n{i}" for i in call.nodes if i in graph.nodes],
            "received": [places[net, n] for net, names in call.received.items() for n in names],
        }
        for call in record.backward_calls
    ]


# The moments --------------------------------------------------------------------------------------


def _moments(staged: StagedRecord, graph: Graph, places: Places) -> list[Json]:
    record, moments, found = staged.record, staged.moments, []
    phases, players = _phases(record, moments), stage_moments(staged, _NET_LETTERS)
    for moment, phase, stage_now in zip(moments, phases, players, strict=True):
        grads = (staged.kind(net, name, moment.grads[net][name]) for net, name in places)
        text, marked = marked_caption(record, moment, moments)
        told: Json = {
            "line": moment.line,
            "last": moment.last_line,
            "caption": text,
            "held": moment.held.activations,
            "heldText": show.bytes_text(moment.held),
            "states": "".join(
                STATE_LETTERS.get(moment.states.get(i, ""), ".") for i in graph.nodes
            ),
            "grads": "".join(KIND_LETTERS[kind] for kind in grads),
            "phase": phase,
            "stage": stage_now,
            "sofar": _so_far(staged, moment.index),
        }
        calls = [c for i in moment.events if (c := record.events[i].call) is not None]
        if moment.raised:
            told["raised"] = True
        if text == NOTHING:
            told["silent"] = True
        if marked:
            told["marks"] = marked
        if calls:
            told["backward"] = calls[0]
        found.append(told)
    return found


def _so_far(staged: StagedRecord, moment: int) -> Json:
    """What the step has done by the end of this moment; ``totals`` has the same of all of it."""
    record, seen = staged.record, staged.moments[: moment + 1]
    events = [record.events[i] for m in seen for i in m.events]
    ran = [record.forwards[e.forward].net for e in events
           if e.kind == "forward" and e.forward is not None]  # fmt: skip
    calls = {e.call for e in events if e.kind == "backward" and e.call is not None}
    tried = calls | {e.call for e in events if e.kind == "error" and e.call is not None}
    nodes = record.graph.nodes
    through = [
        {nodes[i].net for i in record.backward_calls[c].nodes if not nodes[i].is_leaf}
        for c in calls
    ]
    received = [record.backward_calls[c].received for c in tried]
    return {
        "forwards": [ran.count(net) for net in record.parameters],
        "backwards": [sum(net in nets for nets in through) for net in record.parameters],
        "vain": _vain(record, tried),
        "summed": _summed(record, tried),
        "received": sum(len(names) for nets in received for names in nets.values()),
        **_peak(record, seen),
    }


def _summed(record: StepRecord, calls: Iterable[int]) -> int:
    """Gradients of parameters that a step used in a sum, with those of other calls or with what
    was in ``.grad`` before."""
    steps = [record.consumed(event) for event in record.events if event.kind == "step"]
    sums = {
        (call, *owner)
        for used in steps
        for owner, state in used.items()
        if len(state.sources) + state.before > 1
        for call in state.sources
    }
    return sum(call in {*calls} for call, *_ in sums)


def _peak(record: StepRecord, seen: Sequence[Moment]) -> Json:
    """The most that the graph kept by then, and the line of it: 0 where lines are not known.

    The matrix has a column for few lines, so that its row of bytes may leave this one out."""
    found = [(m.held, m.line) for m in seen]
    for moment in seen:
        for event in (record.events[i] for i in moment.events):
            found.append((event.held, moment.line))
            if event.call is not None:  # what it is about to free was there when it began
                found.append((record.backward_calls[event.call].held_before, moment.line))
    most, line = max(found, key=lambda one: one[0].activations)
    return {"peakText": show.bytes_text(most), "peakLine": line}


def _vain(record: StepRecord, calls: Iterable[int]) -> int:
    """Gradients of parameters that no step uses. A call that raises on its way has filled some
    ``.grad`` before it does: they are on the stage and in the matrix, so they count."""
    return sum(len(names) for c in calls for names in record.in_vain(c).values())


def _phases(record: StepRecord, moments: Sequence[Moment]) -> list[str]:
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
        "forwards": {show.visible(net): count for net, count in record.forward_counts.items()},
        "backwards": {show.visible(net): count for net, count in record.backward_counts.items()},
        "peak": record.peak.activations,
        "peakText": show.bytes_text(record.peak),
        "vain": _vain(record, range(len(record.backward_calls))),
        "flops": flops,
    }
