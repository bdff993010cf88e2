"""A part of a net that was thawed when its optimizer had been built, from the rest alone."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall


def thawed_late(story: Story) -> Iterator[Finding]:
    """A part stood still while an optimizer moved the rest of its net, and was thawed by a line
    that is about nothing else. Since then the losses of the rest reach it in one iteration after
    the other, no optimizer holds it, and nobody computes with those gradients. (A net that is
    frozen and thawed in each turn, with a fixed part in it, is another matter.)"""
    if story.failed or story.inside:
        return
    for net, row in story.record.thawed.items():
        held = {k for s in story.steps for k in s.event.holds.get(net, ())}
        calls = [story.record.backward_calls[c] for c in sorted(story.calls_of(net))]
        free = {*row} - held - story.moved_outside.get(net, set())
        got = [c for c in calls if free & {*c.received.get(net, ())}]
        read = any(story.computed_with(c, net) & free for c in story.calls_made)
        names = [k for k in row if k in free and sum(k in c.received[net] for c in got) > 1]
        if not names or read or got[0] is calls[0] or _steps(story, net, got) < 2:
            continue
        target = story.steps_of(net)[0].event.target
        yield story.finding(
            "ownership", "wrong", net, story.events_of(c.index for c in got[:2]),
            "{call} computes gradients for {names} of {net}, and no optimizer holds them: {thaw} "
            "thawed them when {target} had been built from the rest of {net}, and they never "
            "learn.",
            "Give them to {target} where they are thawed (`add_param_group`), or build it from all "
            "parameters of {net}: it passes over those that get no gradient.",
            call=story.call(got[0].index), names=some(names), target=target,
            thaw=story.quoted(row[names[0]]) or "a line",
        )  # fmt: skip


def _steps(story: Story, net: str, calls: list[BackwardCall]) -> int:
    """How many steps of the net used these calls."""
    numbers = {call.index for call in calls}
    return sum(not numbers.isdisjoint(step.calls(net)) for step in story.steps_of(net))
