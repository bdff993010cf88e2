"""The rules of ``diagnose`` for what is wasted, and for what is worth knowing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gan_lessons.lens import diagnose_words as words
from gan_lessons.lens.events import BackwardCall
from gan_lessons.lens.findings import (
    Finding,
    cut_off,
    errors,
    finding,
    finite_after,
    never_stepped,
    polluted,
    stale_weights,
)
from gan_lessons.lens.story import Story

# Waste --------------------------------------------------------------------------------------------


def in_vain(story: Story) -> Iterator[Finding]:
    """Gradients were computed that no step used."""
    if story.failed:
        return
    # Where a player does not learn, the calls that nobody used were meant for it.
    failing = [*never_stepped(story), *cut_off(story)]
    calls = [c for c in story.record.backward_calls
             if not failing or story.used_by_anyone(c.index)]  # fmt: skip
    for net in story.record.parameters:
        if story.moves_by_hand(net):
            continue
        wasted = {c.index: n for c in calls if (n := _wasted(story, c, net))}
        if not wasted or not finite_after(story, net, list(wasted)):
            continue
        count, users = sum(wasted.values()), _users(story, list(wasted), net)
        text = words.IN_VAIN_ONE if count == 1 else words.IN_VAIN
        message = text.format(calls=story.calls(wasted), count=count, net=net)
        fix = (words.IN_VAIN_FIX if users else words.IN_VAIN_FIX_ALONE).format(
            net=net, by=" + ".join(words.PARAMETERS_OF.format(net=user) for user in users)
        )
        events = [story.events[call] for call in wasted]
        yield finding(story, "in-vain", "waste", net, events, message, fix)


def _wasted(story: Story, call: BackwardCall, net: str) -> int:
    """How many gradients of ``net`` this call wrote that no step used."""
    if call.error is not None or call.index not in story.events:
        return 0
    row = story.events[call.index].grads[net]
    return sum(row[name].used_by is None for name in call.received.get(net, ()))


def _users(story: Story, calls: list[int], net: str) -> list[str]:
    """The other nets whose steps used one of these calls."""
    used = {n for step in story.steps for n in step.nets if step.calls(n) & set(calls)}
    return sorted(used - {net})


def needless_retain(story: Story) -> Iterator[Finding]:
    """A graph was kept, and nothing walked it again."""
    record = story.record
    if story.failed:
        return
    for call in record.backward_calls:
        if not call.retain_graph or call.create_graph or call.index not in story.events:
            continue
        event = story.events[call.index]
        own = {i for i in call.nodes if i in record.graph.nodes and not _leaf(story, i)}
        later = record.backward_calls[call.index + 1 :]
        again = any(own & set(other.nodes) for other in later)
        if again or any(e.kind == "grad" for e in record.events[event.index :]):
            continue
        message = words.RETAIN.format(call=story.call(call.index))
        yield finding(story, "needless-retain", "waste", None, [event], message, words.RETAIN_FIX)


def _leaf(story: Story, node: int) -> bool:
    found = story.record.graph.nodes[node]
    return found.parameter is not None or found.op == "AccumulateGrad"


# Worth knowing ------------------------------------------------------------------------------------


def update_kind(story: Story) -> Iterator[Finding]:
    """Both on the same backward; or simultaneous; or alternating."""
    if (players := story.players) is None or story.failed:
        return
    steps = [s for s in story.steps if len(set(players) & set(s.nets)) == 1 and s.used]
    first = next(iter(steps), None)
    second = next((s for s in steps if first and s.event.target != first.event.target), None)
    if first is None or second is None:
        return
    leader, follower = (next(n for n in players if n in s.nets) for s in (first, second))
    if first.calls(leader) == second.calls(follower) and first.calls(leader):
        calls = story.calls(first.calls(leader))
        message = words.SHARED.format(first=leader, second=follower, calls=calls)
        events = [first.event, second.event]
        yield finding(story, "shared-backward", "info", None, events, message, words.SHARED_FIX)
    before = [s for s in story.steps_of(leader) if s.event.index < second.event.index]
    fresh = [
        f
        for f in story.record.forwards
        if f.net == leader and f.training and f.weights == len(before) and f.during is None
        and story.began.get(f.index, second.event.index) < second.event.index
    ]  # fmt: skip
    code, text = ("alternating", words.ALTERNATING) if fresh else (
        "simultaneous", words.SIMULTANEOUS)  # fmt: skip
    message = text.format(first=leader, second=follower)
    events = [before[-1].event, second.event]
    events += [story.record.events[story.began[f.index]] for f in fresh[:1]]
    yield finding(story, code, "info", None, events, message)


def frozen(story: Story) -> Iterator[Finding]:
    """A net was walked through, and none of its parameters wanted a gradient."""
    told: set[str] = set()
    for call in story.record.backward_calls:
        if call.error is not None or call.restricted or call.index not in story.events:
            continue
        for net in {story.record.forwards[i].net for i in call.forwards} - told:
            if story.record.parameters[net] and not call.received.get(net):
                told.add(net)
                message = words.FROZEN.format(net=net, call=story.call(call.index))
                event = story.events[call.index]
                yield finding(story, "frozen", "info", net, [event], message)


def batchnorm_updates(story: Story) -> Iterator[Finding]:
    for net, count in story.record.batchnorm.items():
        forwards = [f for f in story.record.forwards if f.net == net and f.training]
        if count > 0:
            message = words.BATCHNORM.format(net=net, count=count, forwards=len(forwards))
            events = [story.record.events[story.began[f.index]] for f in forwards
                      if f.index in story.began]  # fmt: skip
            yield finding(story, "batchnorm-updates", "info", net, events, message)


RULES: tuple[Callable[[Story], Iterator[Finding]], ...] = (
    errors, cut_off, polluted, stale_weights, never_stepped,
    in_vain, needless_retain, update_kind, frozen, batchnorm_updates,
)  # fmt: skip
