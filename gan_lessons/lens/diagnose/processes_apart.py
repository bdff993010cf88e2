"""Processes of one training that no longer hold the same weights: each trains a net of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Event, Forward


class Pair(NamedTuple):
    """Two backward calls through one forward of a net; a step of the net used the second."""

    forward: Forward
    first: BackwardCall
    second: BackwardCall


def ranks_differ(story: Story) -> Iterator[Finding]:
    """The weights of a net were alike in all processes when the recording began, and are not now.

    DistributedDataParallel averages in the first backward that follows a forward, and in no other.
    """
    for net in story.record.apart:
        moved = [step.event for step in story.steps_of(net)]
        pair = next(_walked_twice(story, net), None)
        if pair is None:
            yield _differ(story, net, moved)
            continue
        events: list[Event] = [*story.events_of([pair.first.index, pair.second.index]), *moved[:1]]
        only_second = pair.first.index not in story.calls_of(net)
        users = sorted({n for _, n in story.uses.get(pair.first.index, ())} - {net})
        fix = (
            "Keep {first} out of {net}: name who is to receive there, all that train, "
            "`backward(inputs={users})`, or give it a detached copy of what {net} made."
        )
        if not (only_second and users):
            fix = "Call backward once, on the sum of the losses; or run {net} anew for {second}."
        yield story.finding(
            "ranks-differ", "wrong", net, events,
            "{processes} processes held the same weights of {net} when the recording began, and do "
            "not any more. {first} was the first backward through {forward}, and "
            "DistributedDataParallel averages gradients in that one alone: what {second} then "
            "wrote is each process's own.",
            fix, processes=story.record.processes, forward=story.forward(pair.forward),
            first=story.call(pair.first.index), second=story.call(pair.second.index),
            users=story.parameters_of(users, pair.first.index),
        )  # fmt: skip


def _walked_twice(story: Story, net: str) -> Iterator[Pair]:
    for second in (c for c in story.calls_made if c.index in story.calls_of(net)):
        for first in story.calls_made[: story.calls_made.index(second)]:
            both = {*first.forwards} & {*second.forwards}
            forwards = [f for i in sorted(both) if (f := story.record.forwards[i]).net == net]
            if forwards and first.received.get(net):
                yield Pair(forwards[0], first, second)


def _differ(story: Story, net: str, moved: list[Event]) -> Finding:
    return story.finding(
        "ranks-differ", "wrong", net, moved[:1],
        "{processes} processes held the same weights of {net} when the recording began, and do not "
        "any more: what {step} used was not averaged over them.",
        "Wrap {net} in DistributedDataParallel and run it by calling the wrapper, without "
        "no_sync() in the last backward before a step; or average the gradients before the step. "
        "Only where you average the weights themselves now and then is this as it should be.",
        processes=story.record.processes,
        step=story.event(moved[0]) if moved else "its step",
    )  # fmt: skip
