"""Parameters that one optimizer holds more than once."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.ownership import in_no_optimizer, of_nobody
from gan_lessons.lens.diagnose.story import Finding, Story


def held_twice(story: Story) -> Iterator[Finding]:
    """An optimizer lists a parameter more than once, so each of its steps moves it as often."""
    for target, twice in story.record.twice.items():
        steps = [step.event for step in story.steps if step.event.target == target]
        nets = [net for net in twice if net in story.record.parameters]
        if steps and nets:
            names = [f"{net}'s {name}" for net in nets for name in twice[net]]
            free = _beside_in_none(story, target)
            yield story.finding(
                "ownership", "wrong", nets[0], steps,
                "{target} holds {names} more than once: {step} moves it each time.",
                "Give it each parameter once: list({{p: None for p in parameters}})."
                + (" No optimizer holds {free}: that may have been meant where {target} was given "
                   "the others again." if free else ""),
                target=target, step=story.event(steps[0]), free=free,
                names=names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} others",
            )  # fmt: skip


def _beside_in_none(story: Story, target: str) -> str:
    """What got gradient from the calls on which this optimizer stepped, and never learns from any:
    nets, and parameters of no named net."""
    calls = [story.record.backward_calls[c] for c in sorted(story.used_by[target])]
    nets = {one.net for one in story.told(in_no_optimizer) if one.net}
    nets &= {net for call in calls for net in story.receivers(call)}
    graph, told = story.record.graph, story.told_events(of_nobody)
    wrong = (c for c in calls if story.events[c.index].index in told)
    numbers = {graph.strangers[i] for c in wrong for i in c.nodes if i in graph.strangers}
    return " and ".join(filter(None, [*sorted(nets), story.strangers(numbers)]))
