"""The rules of ``diagnose`` for errors and wrong gradients; ``remarks`` has the others.

A rule that is not sure says nothing: legitimate code raises no alarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gan_lessons.lens.diagnose import diagnose_words as words
from gan_lessons.lens.diagnose.facts import Step, Story, is_finite
from gan_lessons.lens.model import INPLACE, NO_GRAPH, SECOND_BACKWARD, BackwardCall, Event, Forward

Severity = Literal["error", "wrong", "waste", "info"]
ERRORS = {
    INPLACE: "inplace-after-retain",
    SECOND_BACKWARD: "second-backward",
    NO_GRAPH: "no-graph",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a record tells.

    ``code``: stable, for programs. ``net``: whom it concerns, or None. ``message`` and ``fix`` in
    plain words ("" where there is nothing to do). ``evidence``: the lines it was seen at.
    ``events``: indices of these events in the record.
    """

    code: str
    severity: Severity
    net: str | None
    message: str
    fix: str
    evidence: tuple[str, ...]
    events: tuple[int, ...]


def finding(
    story: Story,
    code: str,
    severity: Severity,
    net: str | None,
    events: list[Event],
    message: str,
    fix: str = "",
) -> Finding:
    indices = tuple(sorted({e.index for e in events}))
    seen = story.seen({e.index: e for e in events}.values())
    return Finding(code, severity, net, message, fix, seen, indices)


# Errors -------------------------------------------------------------------------------------------


def errors(story: Story) -> Iterator[Finding]:
    for event in story.record.events:
        message = event.message or ""
        code = next((code for start, code in ERRORS.items() if start in message), None)
        if event.kind != "error" or event.call is None or code is None:
            continue
        what, fix = event.what or message, event.fix or words.ERROR_FIX
        yield finding(story, code, "error", None, [event], what, fix)


# Wrong gradients ----------------------------------------------------------------------------------


def cut_off(story: Story) -> Iterator[Finding]:
    """An optimizer stepped, and none of its parameters held a gradient, nor in its other steps."""
    yield from _holds_another_net(story)
    fed = {step.event.target for step in story.steps if step.used}
    for step in story.steps:
        if step.event.target in fed or _may_have_cleared(story, step):
            continue
        why, details, events = _why_empty(story, step)
        net = words.AND.join(step.nets)
        details = {"net": net, **details}
        message = words.CUT_OFF.format(
            step=story.step(step), net=net, why=words.CUT_OFF_WHY[why].format(**details)
        )
        fix = words.CUT_OFF_FIX[why].format(**details)
        yield finding(story, "cut-off", "wrong", step.nets[0], [*events, step.event], message, fix)


def _may_have_cleared(story: Story, step: Step) -> bool:
    """It ran a backward (a closure) or moved weights: what it used may be gone already."""
    within = story.within(step)
    return any(e.kind == "backward" for e in within) or any(
        net in e.moved for e in within for net in step.nets
    )


def _holds_another_net(story: Story) -> Iterator[Finding]:
    """An optimizer with the name of a net that holds none of its parameters; nor does another."""
    for event in story.record.events:
        net = event.target
        if event.kind == "step" and net in story.record.parameters and net not in story.trained:
            details = {"net": net, "step": story.step(Step(event, (), {}))}
            message = words.CUT_OFF_OTHERS.format(**details)
            fix = words.CUT_OFF_OTHERS_FIX.format(**details)
            yield finding(story, "cut-off", "wrong", net, [event], message, fix)


def _why_empty(story: Story, step: Step) -> tuple[str, dict[str, str], list[Event]]:
    """Why the step found nothing: a key of ``CUT_OFF_WHY``, its details, and the events."""
    own = [s.event.index for s in story.steps_of(step.nets[0])]
    since = max((i for i in own if i < step.event.index), default=-1)
    calls = [c for c in story.calls_made if since < story.events[c.index].index < step.event.index]
    if not calls:
        return "no call", {}, []
    wrote = [c for c in calls if set(story.receivers(c)) & set(step.nets)]
    idle = [c for c in calls if not story.used_by_anyone(c.index)]
    call = ([c for c in wrote if c in idle] or wrote or idle or calls)[-1]
    event, details = story.events[call.index], {"call": story.call(call.index)}
    if call in wrote:
        cleared = _clearing(story, step, event)
        if cleared is None or cleared.kind != "zero_grad":
            return "by hand", details, [event]
        details["clearing"] = story.clearing(cleared)
        return "cleared", details, [event, cleared]
    if not idle:
        return "theirs", details, [event]
    if call.restricted:
        return "restricted", details, [event]
    if how := _cut_before(story, call, step.nets):
        return "cut", {**details, "how": how}, [event]
    if {story.record.forwards[i].net for i in call.forwards} & set(step.nets):
        return "frozen", details, [event]
    if (forward := _without_graph(story, event, step.nets)) is not None:
        return "no graph", {**details, "forward": story.forward(forward)}, [event]
    return "other", details, [event]


def _clearing(story: Story, step: Step, written: Event) -> Event | None:
    """The first event after ``written`` at which nothing of the step's nets held a gradient."""
    for event in story.record.events[written.index + 1 : step.event.index + 1]:
        if not any(event.grads[net][k].value for net, ks in step.event.holds.items() for k in ks):
            return event
    return None


def _cut_before(story: Story, call: BackwardCall, nets: tuple[str, ...]) -> str | None:
    """How the graph that ``call`` walked was cut from what one of ``nets`` made, if it was."""
    nodes, walked = story.record.graph.nodes, set(call.nodes)
    for cut in story.record.graph.cuts:
        if cut.target in walked and nodes[cut.source].net in nets:
            return cut.how
    return None


def _without_graph(story: Story, event: Event, nets: tuple[str, ...]) -> Forward | None:
    """The last forward of one of ``nets`` before ``event``, if it left no node in the graph."""
    before = [f for f in story.record.forwards if f.net in nets]
    before = [f for f in before if story.began.get(f.index, event.index) < event.index]
    built = {node.forward for node in story.record.graph.nodes.values()}
    return before[-1] if before and before[-1].index not in built else None


def stale_weights(story: Story) -> Iterator[Finding]:
    """A gradient was computed with weights that changed since the forward, unseen by torch."""
    told: set[str] = set()
    for call in story.calls_made:
        for net, forward, name, mover in _stale_nodes(story, call):
            if net not in told:
                told.add(net)
                message = words.STALE.format(
                    call=story.call(call.index), net=net, name=name, forward=story.forward(forward),
                    mover=_line_of(story, mover),
                )  # fmt: skip
                events = [mover, story.events[call.index]]
                fix = words.STALE_FIX.format(net=net)
                yield finding(story, "stale-weights", "wrong", net, events, message, fix)
        for net, forward in _recomputed(story, call):
            if net not in told:
                told.add(net)
                message = words.STALE_RECOMPUTED.format(
                    call=story.call(call.index), net=net, forward=story.forward(forward)
                )
                fix = words.STALE_FIX.format(net=net)
                events = [story.events[call.index]]
                yield finding(story, "stale-weights", "wrong", net, events, message, fix)


def _stale_nodes(story: Story, call: BackwardCall) -> Iterator[tuple[str, Forward, str, Event]]:
    """(net, forward, parameter, who moved it) for what the walked nodes had saved."""
    graph, now = story.record.graph, story.events[call.index].index
    for node in (graph.nodes[i] for i in call.nodes if i in graph.nodes):
        if node.forward is None or node.forward not in story.began:
            continue
        between = story.record.events[story.began[node.forward] + 1 : now]
        for net, name in (s.parameter for s in graph.saved.get(node.id, ()) if s.parameter):
            mover = next((e for e in between if name in e.moved.get(net, ())), None)
            if mover is not None:
                yield net, story.record.forwards[node.forward], name, mover


def _recomputed(story: Story, call: BackwardCall) -> Iterator[tuple[str, Forward]]:
    """Forwards that a checkpoint ran again inside ``call``, with other weights than before."""
    forwards = story.record.forwards
    first = [forwards[i] for i in call.forwards if forwards[i].during is None]
    for again in (f for f in forwards if f.during == call.index):
        if any(f.net == again.net and f.weights < again.weights for f in first):
            yield again.net, again


def _line_of(story: Story, event: Event) -> str:
    step = next((s for s in story.steps if s.event.index == event.index), None)
    return story.step(step) if step is not None else words.STALE_MOVER


def never_stepped(story: Story) -> Iterator[Finding]:
    """A net with an optimizer got gradient, and no step used any of it in the whole record."""
    if story.failed or story.inside:
        return
    told = {event for one in cut_off(story) for event in one.events}  # calls meant for another net
    for net in story.trained:
        if story.steps_of(net) or story.moves_by_hand(net):
            continue  # a step that found nothing is cut off
        # What another player's own call left here is waste: that player's rule tells of it.
        calls = [
            c.index
            for c in story.calls_made
            if net in story.receivers(c)
            and not story.used_by_anyone(c.index)
            and story.events[c.index].index not in told
        ]
        if not calls or not finite_after(story, net, calls):
            continue  # a GradScaler skips the step where a gradient is not finite
        message = words.NEVER_STEPPED.format(calls=story.calls(calls), net=net)
        fix = words.NEVER_STEPPED_FIX.format(net=net)
        events = [story.events[call] for call in calls]
        yield finding(story, "never-stepped", "wrong", net, events, message, fix)


def finite_after(story: Story, net: str, calls: list[int]) -> bool:
    return all(is_finite(story.states(net, story.events[call])) for call in calls)
