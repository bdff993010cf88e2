"""A net that was frozen for a while, and never thawed: its optimizer goes on without it."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Line


def left_frozen(story: Story) -> Iterator[Finding]:
    """One line froze two nets of an optimizer; one of them was thawed for the loss that both have
    a term in, the other gets no gradient any more. (A net that is frozen for itself, or under the
    one that learns, may be meant to stand still.)"""
    for net in story.trained:
        got = [c.index for c in story.record.backward_calls if c.received.get(net)]
        calls = [c for c in story.calls_made if c.index > max(got, default=-1)]
        found = [one for c in calls if (one := _left_frozen(story, net, c)) is not None]
        if len(found) > 1:  # once it may be the turn of the other
            yield found[0]


def _left_frozen(story: Story, net: str, call: BackwardCall) -> Finding | None:
    nodes, forwards = story.record.graph.nodes, story.record.forwards
    terms = (f for i in call.nodes if nodes[i].net is None for f in story.fed_into.get(i, ()))
    lines = (f.frozen for f in terms if f.net == net and f.frozen is not None)
    frozen = next((line for line in lines if line.text), None)
    if frozen is None:
        return None
    for step, other in story.uses.get(call.index, ()):
        beside = net in step.nets and other != net
        if beside and any(f.net == other and f.frozen == frozen for f in forwards):
            return story.finding(
                "cut-off", "wrong", net, [story.events[call.index], step.event],
                "{net} learns nothing from {call}: it stayed frozen, although {target} holds it. "
                "{frozen} had frozen {other} as well, which was thawed again.",
                "Thaw {net} (requires_grad_(True)) where {other} is thawed. If it is to stand "
                "still, leave it out of {target}.",
                call=story.call(call.index), target=step.event.target, other=other,
                frozen=story.quoted(frozen),
            )  # fmt: skip
    return None


def frozen_for_another(story: Story) -> Iterator[Finding]:
    """A net was frozen between its own turn and that of another player, who learns through it, and
    it still is in each of its own turns after that. (One that is frozen before a turn of its own,
    after a warm-up, may be meant to stand still.)"""
    if story.failed or story.inside:
        return
    for net in story.trained:
        last = max(story.calls_of(net), default=None)
        later = (c for c in story.calls_made if last is not None and c.index > last)
        after = [(c, line) for c in later if (line := _frozen_in(story, c, net)) is not None]
        if not after or _is_used_with(story, after[0][0], net):
            continue
        first, frozen = after[0]
        still = [c for c, line in after[1:] if line == frozen]
        turns = [c for c in still if _is_used_with(story, c, net)]
        others = [c.index for c in still if c not in turns]
        back = any(turns[0].index < c < turns[-1].index for c in others) if turns else False
        if story.uses.get(first.index) and back:  # round once more, and frozen all the while
            yield _frozen_for_another(story, net, first, frozen, turns)


def _is_used_with(story: Story, call: BackwardCall, net: str) -> bool:
    """Did a step of an optimizer that holds this net use the call?"""
    return any(net in step.nets for step, _ in story.uses.get(call.index, ()))


def _frozen_in(story: Story, call: BackwardCall, net: str) -> Line | None:
    """Where the net had been frozen, if this call walked through it so."""
    forwards = (story.record.forwards[i] for i in call.forwards)
    lines = (f.frozen for f in forwards if f.net == net)
    return next((line for line in lines if line is not None and line.text), None)


def _frozen_for_another(
    story: Story, net: str, first: BackwardCall, frozen: Line, turns: list[BackwardCall]
) -> Finding:
    step = next(s for c in turns for s, _ in story.uses[c.index] if net in s.nets)
    return story.finding(
        "cut-off", "wrong", net, story.events_of([first.index, *(c.index for c in turns)]),
        "{net} learns nothing from {call}: {frozen} had frozen it for {first}, and it was never "
        "thawed again, although {target} holds it.",
        "Thaw {net} (requires_grad_(True)) after {first}. (What {net}.parameters() gives can be "
        "gone through once: to go through it again, make it anew, or a list of it.)",
        call=story.call(turns[0].index), frozen=story.quoted(frozen),
        first=story.call(first.index), target=step.event.target,
    )  # fmt: skip
