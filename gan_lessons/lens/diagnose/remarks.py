"""The rules of ``diagnose`` for what is wasted, and for what is worth knowing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gan_lessons.lens.diagnose import diagnose_words as words
from gan_lessons.lens.diagnose.facts import Story
from gan_lessons.lens.diagnose.findings import (
    Finding,
    cut_off,
    errors,
    finding,
    finite_after,
    never_stepped,
    stale_weights,
)
from gan_lessons.lens.diagnose.mixing import from_before, instead_of_its_own, polluted
from gan_lessons.lens.model import BackwardCall

# Waste --------------------------------------------------------------------------------------------


def in_vain(story: Story) -> Iterator[Finding]:
    """Gradients were computed that no step used."""
    if story.failed or story.inside:
        return
    # Where a player does not learn, the calls that nobody used were meant for it.
    failing = [*never_stepped(story), *cut_off(story), *instead_of_its_own(story)]
    calls = [c for c in story.calls_made if not failing or story.used_by_anyone(c.index)]
    for net in story.record.parameters:
        if story.moves_by_hand(net):
            continue
        wasted: dict[tuple[str, ...], dict[int, int]] = {}  # who did use them -> call -> how many
        for call in calls:
            if (count := _wasted(story, call, net)) and finite_after(story, net, [call.index]):
                wasted.setdefault(_users(story, call.index, net), {})[call.index] = count
        for users, counts in wasted.items():
            count = sum(counts.values())
            text = words.IN_VAIN_ONE if count == 1 else words.IN_VAIN
            message = text.format(calls=story.calls(counts), count=count, net=net)
            by = " + ".join(words.PARAMETERS_OF.format(net=user) for user in users)
            # Where the net makes no step at all, the waste may be what the loop is about.
            text = words.IN_VAIN_FIX if story.steps_of(net) else words.IN_VAIN_FIX_UNLESS
            fix = text.format(by=by, net=net) if users else words.IN_VAIN_FIX_ALONE
            events = [story.events[call] for call in counts]
            yield finding(story, "in-vain", "waste", net, events, message, fix)


def _wasted(story: Story, call: BackwardCall, net: str) -> int:
    """How many gradients of ``net`` this call wrote, not all zeros, that no step used."""
    row = story.events[call.index].grads[net]
    return sum(
        row[name].value != 0.0 and not story.was_used(net, name, call.index)
        for name in call.received.get(net, ())
    )


def _users(story: Story, call: int, net: str) -> tuple[str, ...]:
    """The other nets whose steps used this call."""
    used = {n for step in story.steps for n in step.nets if call in step.calls(n)}
    return tuple(sorted(used - {net}))


def needless_retain(story: Story) -> Iterator[Finding]:
    """A graph was kept, and nothing walked it again; nor was it ever needed at that line."""
    if story.failed:
        return
    calls = [c for c in story.calls_made if c.retain_graph and not c.create_graph]
    lines = [(c.line.file, c.line.number) for c in calls]
    needed = {line for line, c in zip(lines, calls, strict=True) if _walked_again(story, c)}
    for line, call in zip(lines, calls, strict=True):
        if line not in needed:
            message = words.RETAIN.format(call=story.call(call.index))
            events = [story.events[call.index]]
            yield finding(
                story, "needless-retain", "waste", None, events, message, words.RETAIN_FIX
            )


def _walked_again(story: Story, call: BackwardCall) -> bool:
    """By a later backward; or perhaps by an ``autograd.grad``, of which that is not known."""
    record, event = story.record, story.events[call.index]
    own = {i for i in call.nodes if i in record.graph.nodes and not _leaf(story, i)}
    later = record.backward_calls[call.index + 1 :]
    return any(own & set(other.nodes) for other in later) or any(
        e.kind == "grad" for e in record.events[event.index :]
    )


def _leaf(story: Story, node: int) -> bool:
    found = story.record.graph.nodes[node]
    return found.parameter is not None or found.op == "AccumulateGrad"


# Worth knowing ------------------------------------------------------------------------------------


def update_kind(story: Story) -> Iterator[Finding]:
    """Both on the same backward; or simultaneous; or alternating."""
    if (players := story.players) is None or story.failed or story.inside:
        return
    steps = [s for s in story.steps if len(set(players) & set(s.nets)) == 1 and s.used]
    if not steps:
        return
    leader, follower = players if players[0] in steps[0].nets else players[::-1]
    first, second = steps[0], next((s for s in steps if follower in s.nets), None)
    if second is None:
        return
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
    for call in (c for c in story.calls_made if not c.restricted):
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
    in_vain, needless_retain, update_kind, from_before, frozen, batchnorm_updates,
)  # fmt: skip
