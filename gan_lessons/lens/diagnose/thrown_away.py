"""A gradient that no step used, and that was thrown away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.ownership import never_stepped
from gan_lessons.lens.diagnose.polluted import instead_of_its_own
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import BackwardCall, Event


def thrown_away(story: Story) -> Iterator[Finding]:
    """A net's own gradient was cleared, no step having used it, before the next one was added.

    Not where weights were moved meanwhile (a look ahead), the graph was walked again (a measure),
    somebody read the gradient of an input (an attack) or computed with this one before it was
    cleared, what the next step used was written or changed by hand, or it happens only now and
    then. Where others step before it is cleared, only if it came through one of them, and no step
    ever uses what this line computes: the step of this net comes too early.
    """
    if story.failed or story.inside:
        return
    lost: dict[tuple[object, str], list[tuple[BackwardCall, Event]]] = defaultdict(list)
    told = story.told_events(cut_off, never_stepped, instead_of_its_own)
    for call in story.calls_made:
        if call.index in story.evaluations or story.events[call.index].index in told:
            continue
        if not story.record.graph.asked.isdisjoint(call.nodes):
            continue
        got = story.receivers(call)
        meant = {m for n, m in story.links(call) if m in got}  # it only passed through the others
        used = call.index in story.uses
        for net in sorted(_beside_the_used(story, call) if used else meant or got):
            event = _cleared_at(story, call, net)
            if event is not None and (not used or _of_another(story, call, net, event)):
                lost[story.kind(call), net].append((call, event))
    for (kind, net), found in lost.items():
        early = _stepped_too_early(story, *found[0], net)
        if (kind, net) not in story.kinds_used or (len(found) > 1 and early is None):
            yield _thrown_away(story, net, found, early)


def _thrown_away(
    story: Story, net: str, found: list[tuple[BackwardCall, Event]], early: Step | None
) -> Finding:
    calls, cleared = [call.index for call, _ in found], [event for _, event in found]
    return story.finding(
        "thrown-away", "wrong", net,
        [*story.events_of(calls), *cleared, *([] if early is None else [early.event])],
        "{clearing} threw away what {call} had computed for {net}: no step had used it."
        + ("" if early is None else " {step} comes before that call, and not again after it."),
        "Clear once, before the first backward of what is to be summed; or let {net} step "
        "before it is cleared. To keep another player's gradients out, name who is to "
        "receive in that call (inputs=) instead of clearing here."
        if early is None else
        "Let {step} come after {call}, and before the gradients are cleared.",
        clearing=story.event(cleared[0]), call=story.call(calls[0]),
        step=early and story.event(early.event),
    )  # fmt: skip


def _stepped_too_early(story: Story, call: BackwardCall, cleared: Event, net: str) -> Step | None:
    """The step of ``net`` before this call, where others stepped between the call and the event
    that cleared what it had written."""
    end = story.events[call.index].index
    others = any(end < step.event.index < cleared.index for step in story.steps)
    return _step_before(story, call, net) if others else None


def _step_before(story: Story, call: BackwardCall, net: str) -> Step | None:
    """The last step of ``net`` before this call, if the call was added to what that had used:
    nothing was cleared in between, so that no turn of its own begins here."""
    end = story.events[call.index]
    step = next((s for s in reversed(story.steps_of(net)) if s.event.index < end.index), None)
    used = frozenset[int]() if step is None else step.calls(net)
    states = (end.grads[net][name] for name in call.received[net])
    return step if used and all(used & {*state.sources} for state in states) else None


def _beside_the_used(story: Story, call: BackwardCall) -> set[str]:
    """Nets behind one whose step used this call; the same optimizer holds them, and used of this
    call nothing in them."""
    uses = story.uses[call.index]
    behind = {m for n, m in story.links(call) for step, net in uses if n == net and m in step.nets}
    return {m for m in behind if call.received.get(m)} - {net for _, net in uses}


def _of_another(story: Story, call: BackwardCall, net: str, cleared: Event) -> bool:
    """Did an optimizer clear this net that used none of this call, and holds the net as well?"""
    users = {step.event.target for step, _ in story.uses[call.index]}
    held = story.record.holds.get(cleared.target or "", {})
    return cleared.kind == "zero_grad" and cleared.target not in users and net in held


def _cleared_at(story: Story, call: BackwardCall, net: str) -> Event | None:
    """The event that threw this call's gradient of ``net`` away, if that was not meant."""
    record, end = story.record, story.events[call.index]
    names = call.received[net]
    if not story.finite_after(net, [call.index]):
        return None
    step = story.step_after(end, net)
    if step is None:
        return None
    others = _may_step(story, call, net)
    for event in record.events[end.index + 1 : step.event.index]:
        if (event.kind == "step" and not others) or event.moved.get(net):
            return None
        if not any(call.index in event.grads[net][name].sources for name in names):
            break
    else:
        return None
    if story.computed_with(call, net):
        return None
    later = story.calls_between(event.index, step.event.index)
    own = {c.index for c in later if net in story.receivers(c)} & step.calls(net)
    # Of a call that a step used, the part in this net may well serve the next loss, too.
    walked = call.nodes[-1:] if call.index in story.uses else story.through(call, net)
    again = any(story.last_walk[i] > end.index for i in walked)
    moved = any(e.moved.get(net) for e in record.events[event.index : step.event.began or 0])
    return None if not own or story.by_hand(step, net) or again or moved else event


def _may_step(story: Story, call: BackwardCall, net: str) -> bool:
    """May others step before this gradient is cleared, and it is lost all the same? No step used
    any of the call; it came through another player, so that it is no measure of ``net`` alone; and
    it was added to what a step of ``net`` had just used."""
    judges = {n for n, m in story.links(call) if m == net and n in story.trained}
    mine = {step.event.target for step in story.steps_of(net)}
    alone = any(mine.isdisjoint(s.event.target for s in story.steps_of(n)) for n in judges)
    return alone and call.index not in story.uses and _step_before(story, call, net) is not None
