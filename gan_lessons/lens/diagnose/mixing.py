"""The rule of ``diagnose`` for gradients that went where they were not meant to go."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gan_lessons.lens.diagnose import diagnose_words as words
from gan_lessons.lens.diagnose.facts import Step, Story
from gan_lessons.lens.diagnose.findings import Finding, finding
from gan_lessons.lens.model import Event


def polluted(story: Story) -> Iterator[Finding]:
    """A step used a gradient that was meant for another step; one finding for each net."""
    if story.inside:
        return
    found: dict[str, Finding] = {}
    for rule in (_of_the_other_player, instead_of_its_own, _used_twice):
        for one in rule(story):
            found.setdefault(one.net or "", one)
    yield from found.values()


def _opponents(story: Story) -> Iterator[tuple[Step, Step]]:
    """Pairs of steps, one of a generator and one of a discriminator, both ways round."""
    roles = [(step, role) for step in story.steps if (role := story.role(step)) is not None]
    for step, role in roles:
        yield from ((step, other) for other, theirs in roles if theirs != role)


def _of_the_other_player(story: Story) -> Iterator[Finding]:
    for step, theirs in _opponents(story):
        for net in step.nets:
            mine, shared = step.calls(net), step.calls(net) & theirs.calls()
            own, by = mine - shared, words.AND.join(theirs.nets)
            if not shared or not own or net in theirs.nets or _rewritten(story, shared):
                continue
            numbered = story.one_line(own, shared)
            message = words.POLLUTED.format(
                step=story.step(step), net=net, calls=story.calls(mine, numbered),
                others=story.calls(shared, numbered), by=by,
            )  # fmt: skip
            if max(own) > min(shared):
                last = min(call for call in own if call > min(shared))
                first = max(call for call in shared if call < last)
                fix = words.CLEAR_BETWEEN.format(
                    net=net, first=story.call(first, numbered), last=story.call(last, numbered)
                )
            else:
                fix = words.KEEP_OUT.format(net=net, by=_parameters(theirs))
            events = [*_events(story, mine), step.event]
            yield finding(story, "polluted", "wrong", net, events, message, fix)


def _rewritten(story: Story, calls: frozenset[int]) -> bool:
    """Does a function of somebody's own stand in the way of such a gradient? It may reverse it."""
    nodes = story.record.graph.nodes
    ops = {nodes[i].op for call in calls for i in story.record.backward_calls[call].nodes}
    return any(re.search(r"Backward$", op) for op in ops)


def instead_of_its_own(story: Story) -> Iterator[Finding]:
    """Its own gradient was cleared before the step, which then used the other player's only."""
    for step, theirs in _opponents(story):
        for net in step.nets:
            mine = step.calls(net)
            if not mine or net in theirs.nets or not mine <= theirs.calls():
                continue
            since = max(
                (s.event.index for s in story.steps_of(net) if s.event.index < step.event.index),
                default=-1,
            )
            lost = [
                c.index
                for c in story.calls_made
                if since < story.events[c.index].index < step.event.index
                and set(story.receivers(c)) == {net}
                and not story.used_by_anyone(c.index)
            ]
            if lost:
                details = {
                    "step": story.step(step), "net": net, "calls": story.calls(mine),
                    "by": words.AND.join(theirs.nets), "lost": story.calls(lost),
                }  # fmt: skip
                message = words.POLLUTED_ONLY.format(**details)
                fix = words.POLLUTED_ONLY_FIX.format(**details)
                events = [*_events(story, [*lost, *mine]), step.event]
                yield finding(story, "polluted", "wrong", net, events, message, fix)


def _used_twice(story: Story) -> Iterator[Finding]:
    last: dict[tuple[str | None, str, str], Step] = {}
    for step in story.steps:
        for (net, name), state in step.used.items():
            earlier = last.get((step.event.target, net, name))
            last[step.event.target, net, name] = step
            if earlier is None:
                continue
            again = set(state.sources) & set(earlier.used[net, name].sources)
            if not again:
                continue
            message = words.POLLUTED_ALSO.format(
                step=story.step(step), net=net, calls=story.calls(state.sources),
                shared=story.calls(again),
            )  # fmt: skip
            fix = words.CLEAR_EACH.format(net=net)
            events = [earlier.event, step.event]
            yield finding(story, "polluted", "wrong", net, events, message, fix)


def from_before(story: Story) -> Iterator[Finding]:
    """A step used the sum of a new gradient and one from before the recording.

    It may be a forgotten ``zero_grad``, or a sum over batches: the record cannot know.
    """
    told: set[str] = set()
    for step in story.steps:
        for (net, _), state in step.used.items():
            if state.before and state.sources and net not in told:
                told.add(net)
                calls = story.calls(state.sources)
                message = words.FROM_BEFORE.format(step=story.step(step), net=net, calls=calls)
                events = [*_events(story, state.sources), step.event]
                fix = words.FROM_BEFORE_FIX.format(net=net)
                yield finding(story, "from-before", "info", net, events, message, fix)


def _events(story: Story, calls: frozenset[int] | tuple[int, ...] | list[int]) -> list[Event]:
    return [story.events[call] for call in calls if call in story.events]


def _parameters(step: Step) -> str:
    return " + ".join(words.PARAMETERS_OF.format(net=net) for net in step.nets)
