"""What was computed or kept for nobody."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.ownership import exchanged, in_no_optimizer, never_stepped
from gan_lessons.lens.diagnose.polluted import instead_of_its_own, not_meant_for
from gan_lessons.lens.diagnose.saving import saved_if_freed, saved_if_not_for
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.thrown_away import thrown_away
from gan_lessons.lens.model import BackwardCall


def in_vain(story: Story) -> Iterator[Finding]:
    """Gradients were computed that no step used; one finding for each line and net."""
    if story.failed or story.inside:
        return
    # Where a player does not learn, the calls that nobody used were meant for it.
    failing = any(map(story.told, (never_stepped, cut_off, instead_of_its_own)))
    told = story.told_events(thrown_away, in_no_optimizer)
    crossed = {story.record.events[i].line for i in story.told_events(exchanged)}
    lines = {i: story.record.events[i].line for f in story.told(thrown_away) for i in f.events}
    lost = {(one.net, lines[i]) for one in story.told(thrown_away) for i in one.events}
    calls = [
        c
        for c in story.calls_made
        if c.index in story.uses or not (failing or story.events[c.index].index in told)
    ]
    for net in story.record.parameters:
        wasted: dict[tuple[object, ...], dict[int, tuple[str, ...]]] = {}
        for call in (c for c in calls if c.line not in crossed):
            names = _wasted(story, call, net)
            if (net, call.line) in lost:
                continue
            if names and story.finite_after(net, [call.index]):
                users = tuple(sorted({n for _, n in story.uses.get(call.index, ())} - {net}))
                place = call.line.file, call.line.number
                wasted.setdefault((users, *place), {})[call.index] = names
        yield from (_in_vain(story, net, names) for names in wasted.values())


def _wasted(story: Story, call: BackwardCall, net: str) -> tuple[str, ...]:
    """The parameters of ``net`` that got a gradient from this call, not all zeros, in vain."""
    row = story.events[call.index].grads[net]
    names = {n for n in story.record.in_vain(call.index).get(net, ()) if row[n].value != 0.0}
    names -= story.moved_outside.get(net, set()) | _put_by_hand(story, call, net)
    names -= story.computed_with(call, net)
    if (step := story.evaluations.get(call.index)) is not None:  # a line search looked at it
        names -= {*step.event.holds.get(net, ())}
    if names and (story.kind(call), net) in story.kinds_used:  # an accumulation that is under way
        end = story.record.events[-1].grads[net]
        names = {n for n in names if call.index not in end[n].sources}
    return tuple(n for n in row if n in names)


def _put_by_hand(story: Story, call: BackwardCall, net: str) -> set[str]:
    """What the next step of ``net`` used was put there by hand: it may be made of this call's."""
    step = story.step_after(story.events[call.index], net)
    return (
        set() if step is None else {k for (n, k), s in step.used.items() if n == net and s.by_hand}
    )


# (is nothing of the net ever stepped, does the line serve other turns) -> whom to name
_NAME = {
    (False, False): "Name who is to receive, all that train: `backward(inputs={users})`.",
    (True, False): "If {net} is to learn from this, its own step is missing. If not, name who is "
    "to receive, all that train: `backward(inputs={users})`.",
    (False, True): "Hand this line, which serves the turn of {others}, too, who is to receive as "
    "an argument: in the turn of {who} `backward(inputs={users})`, in that of {others} the "
    "parameters that are to learn there (`inputs=None` is all that it reaches).",
    (True, True): "If {net} is to learn from this, its own step is missing. If not, hand this "
    "line, which serves the turn of {others}, too, who is to receive as an argument: in the turn "
    "of {who} `backward(inputs={users})`, in that of {others} the parameters that are to "
    "learn there (`inputs=None` is all that it reaches).",
}


def _fix(
    story: Story, net: str, names: dict[int, tuple[str, ...]], used: bool, shared: bool
) -> str:
    if used:  # where the net is never stepped, the waste may be what the loop is about
        return _NAME[not story.steps_of(net), shared]
    asked = story.record.graph.asked
    if all(not asked.isdisjoint(story.record.backward_calls[i].nodes) for i in names):
        return (
            "If only the gradient of the input is wanted, ask for that alone: "
            "torch.autograd.grad(loss, x), or backward(inputs=[x]). If {net} is to learn from "
            "this, let its optimizer step before its gradients are cleared."
        )
    return (
        "If {net} is to learn from this, let its optimizer step before its gradients are "
        "cleared; if that comes later in your loop, record up to there."
    )


def _in_vain(story: Story, net: str, names: dict[int, tuple[str, ...]]) -> Finding:
    count = sum(map(len, names.values()))
    shapes = story.record.parameters[net]
    users = sorted({n for call in names for _, n in story.uses.get(call, ())} - {net})
    users = sorted({*users} - not_meant_for(story, names)) or users
    message = "{calls} wrote {count} gradients of {net} that no step used ({numbers} numbers)."
    if count == 1:
        message = "{calls} wrote a gradient of {net} that no step used ({numbers} numbers)."
    others = _others_turns(story, {*names}, {*users})
    fix = _fix(story, net, names, bool(users), bool(others))
    found = story.finding(
        "in-vain", "waste", net, story.events_of(names), message, fix,
        calls=story.calls(names), count=count, users=story.parameters_of(users, min(names)),
        who=" and ".join(users), others=" and ".join(others),
        numbers=f"{sum(math.prod(shapes[n]) for ns in names.values() for n in ns):,}",
    )  # fmt: skip
    if not users:  # then it may be a step that is missing, and nothing to be saved
        return found
    return replace(found, saves=saved_if_not_for(story.record, net, names, story.computed))


def _others_turns(story: Story, calls: set[int], users: set[str]) -> list[str]:
    """The nets that learn from other calls of the same line (of a helper), and not from these:
    if the line named its players, these would no longer receive. Those that play along, that is,
    that some call reaches together with these, or with others of which that is true."""
    along = {n for c in calls for n in story.receivers(story.record.backward_calls[c])}
    rows = [{*story.receivers(call)} for call in story.calls_made]
    while more := set[str]().union(*(row for row in rows if row & along)) - along:
        along |= more
    places = {(line.file, line.number) for c in calls
              if (line := story.record.backward_calls[c].line).file}  # fmt: skip
    there = (c for c in story.calls_made if (c.line.file, c.line.number) in places)
    taught = {n for c in there if c.index not in calls for _, n in story.uses.get(c.index, ())}
    return sorted(taught & along - users) if users else []


def needless_retain(story: Story) -> Iterator[Finding]:
    """A graph was kept, and nothing walked it again; nor was it ever needed at that line."""
    if story.failed:
        return
    calls = [c for c in story.calls_made if c.retain_graph and not c.create_graph]
    lines = [(c.line.file, c.line.number) for c in calls]
    needed = {line for line, c in zip(lines, calls, strict=True) if _walked_again(story, c)}
    kept: dict[tuple[str, int], list[BackwardCall]] = defaultdict(list)
    for line, call in zip(lines, calls, strict=True):
        kept[line] += [] if line in needed else [call]
    for found in filter(None, kept.values()):
        one = story.finding(
            "needless-retain", "waste", None, story.events_of([c.index for c in found]),
            "{call} kept the graph (retain_graph=True), and nothing walked it again.",
            "Leave retain_graph=True out: it holds memory for nothing.",
            call=story.call(found[0].index),
        )  # fmt: skip
        yield replace(one, saves=saved_if_freed(story.record, found))


def _walked_again(story: Story, call: BackwardCall) -> bool:
    """By a later backward, or by an ``autograd.grad``."""
    nodes = story.record.graph.nodes
    own = {i for i in call.nodes if i in nodes and not nodes[i].is_leaf}
    return any(story.last_walk[i] > story.events[call.index].index for i in own)
