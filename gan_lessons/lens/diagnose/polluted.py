"""Gradients that went where they were not meant to go: a step used what was another's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gan_lessons.lens.diagnose.facts import Finding, Step, Story, parameters_of


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
    """Pairs of steps, one of a generator and one of a discriminator, that share a call."""
    for step in story.steps:
        role = story.role(step)
        others = {s.event.index: s for call in step.calls() for s, _ in story.uses[call]}
        for other in (others[i] for i in sorted(others)):
            if role and story.role(other) not in (None, role):
                yield step, other


def _of_the_other_player(story: Story) -> Iterator[Finding]:
    for step, theirs in _opponents(story):
        for net in step.nets:
            mine, shared = step.calls(net), step.calls(net) & theirs.calls()
            own = mine - shared
            if not shared or not own or net in theirs.nets or _rewritten(story, shared):
                continue
            numbered = story.one_line(own, shared)
            blanks = {
                "step": story.event(step.event), "calls": story.calls(mine, numbered),
                "others": story.calls(shared, numbered), "by": " and ".join(theirs.nets),
                "users": parameters_of(theirs.nets),
            }  # fmt: skip
            fix = (
                "Keep the other player's call out of {net}: name who is to receive, "
                "`backward(inputs={users})`."
            )
            if max(own) > min(shared):
                fix = "Clear the gradients of {net} (zero_grad) between {first} and {last}."
                last = min(call for call in own if call > min(shared))
                blanks["first"] = story.call(max(c for c in shared if c < last), numbered)
                blanks["last"] = story.call(last, numbered)
            yield story.finding(
                "polluted", "wrong", net, [*story.events_of(mine), step.event],
                "{step} moved {net} by the sum of {calls}. {others} is another player's: {by} "
                "learned from it too.",
                fix, **blanks,
            )  # fmt: skip


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
            since = story.step_before(step, net)
            lost = [
                c.index
                for c in story.calls_between(since, step.event.index)
                if set(story.receivers(c)) == {net} and c.index not in story.uses
            ]
            if not lost:
                continue
            yield story.finding(
                "polluted", "wrong", net, [*story.events_of([*lost, *mine]), step.event],
                "{step} moved {net} by {calls}, from which {by} learned too. What {lost} had "
                "computed for {net} alone was cleared before.",
                "Let {net} step after {lost}, before its gradients are cleared.",
                step=story.event(step.event), calls=story.calls(mine), lost=story.calls(lost),
                by=" and ".join(theirs.nets),
            )  # fmt: skip


def _used_twice(story: Story) -> Iterator[Finding]:
    """One optimizer used the same call in two steps: it was not cleared between them."""
    last: dict[tuple[str | None, str, str], Step] = {}
    for step in story.steps:
        for (net, name), state in step.used.items():
            earlier = last.get((step.event.target, net, name))
            last[step.event.target, net, name] = step
            again = set(state.sources) & set(earlier.used[net, name].sources if earlier else ())
            if earlier is None or not again:
                continue
            yield story.finding(
                "polluted", "wrong", net, [earlier.event, step.event],
                "{net} learns from {calls} at {step}, and had learned from {shared} before.",
                "Clear the gradients of {net} (zero_grad) after each of its steps, or before the "
                "next.",
                step=story.event(step.event), calls=story.calls(state.sources),
                shared=story.calls(again),
            )  # fmt: skip


def from_before(story: Story) -> Iterator[Finding]:
    """A step used the sum of a new gradient and one from before the recording.

    It may be a forgotten ``zero_grad``, or a sum over batches: the record cannot know.
    """
    told: set[str] = set()
    for step in story.steps:
        for (net, _), state in step.used.items():
            if not state.before or not state.sources or net in told:
                continue
            told.add(net)
            yield story.finding(
                "from-before", "info", net, [*story.events_of(state.sources), step.event],
                "{step} used the sum of {calls} and of gradients from before the recording. Was a "
                "zero_grad forgotten, or is this a sum over batches?",
                "Record two iterations: then it shows what goes into {net}.",
                step=story.event(step.event), calls=story.calls(state.sources),
            )  # fmt: skip
