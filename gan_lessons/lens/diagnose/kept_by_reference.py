"""Gradients that were put aside without a copy, and overwritten where they lay."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import BackwardCall, Event

CLOSE = 1e-4  # of a ratio of two norms in single precision


def kept_by_reference(story: Story) -> Iterator[Finding]:
    """A gradient was filled with zeros while something else held the same tensor, the next backward
    wrote into it, and what was put into ``.grad`` by hand is a multiple of that one alone.

    Known by the norms: the same factor in each parameter of the net. Of a copy that was added
    nothing like it would be left; and where the second loss holds the first, it was a measure.
    """
    if story.failed or story.inside:
        return
    told = set[tuple[str, object]]()
    for step in story.steps:
        for net in (n for n in step.nets if any(m == n for m, _ in step.used)):
            if (found := _lost_before(story, step, net)) is None:
                continue
            lost, cleared, last, factor = found
            if (net, lost.line) not in told:
                told.add((net, lost.line))
                yield _overwritten(story, (step, net), (lost, last), cleared, factor)


def _lost_before(
    story: Story, step: Step, net: str
) -> tuple[BackwardCall, Event, BackwardCall, float] | None:
    """A call whose gradients were lost so, where they were cleared, the call that wrote there
    next, and the factor that it was stepped on with."""
    calls = story.calls_between(story.step_before(step, net), step.event.index)
    calls = [call for call in calls if net in story.receivers(call)]
    if len(calls) < 2 or (factor := _factor(story, step, net, calls[-1])) is None:
        return None
    for call in calls[:-1]:
        first, last = story.events[call.index].index, story.events[calls[-1].index].index
        between = story.record.events[first + 1 : last + 1]
        cleared = next((e for e in between if _is_held(e, net, call)), None)
        measure = not {*call.nodes[-1:]}.isdisjoint(calls[-1].nodes)
        if cleared is not None and call.index not in story.uses and not measure:
            return call, cleared, calls[-1], factor
    return None


def _is_held(event: Event, net: str, call: BackwardCall) -> bool:
    """Is all that this call wrote in the net gone by this event, filled with zeros while held?"""
    states = [event.grads[net][name] for name in call.received[net]]
    return all(state.held and call.index not in state.sources for state in states)


def _factor(story: Story, step: Step, net: str, call: BackwardCall) -> float | None:
    """By which the gradients of ``call`` were multiplied, the same in each parameter; and by hand:
    put there, or exactly doubled, as adding a gradient to itself does."""
    states, now = {k: s for (n, k), s in step.used.items() if n == net}, story.events[call.index]
    before = {k: now.grads[net][k].value for k in call.received[net]}
    pairs = [(state.value, before.get(k)) for k, state in states.items()]
    ratios = [a / b for a, b in pairs if a and b]
    if len({round(b, 9) for _, b in pairs if b}) < 2 or len(ratios) != len(states):
        return None
    factor = ratios[0]
    by_hand = all(s.by_hand for s in states.values())
    doubled = all(s.rewritten for s in states.values()) and math.isclose(factor, 2, rel_tol=CLOSE)
    same = all(math.isclose(ratio, factor, rel_tol=CLOSE) for ratio in ratios)
    return factor if same and (by_hand or doubled) else None


def _overwritten(
    story: Story,
    used: tuple[Step, str],
    calls: tuple[BackwardCall, BackwardCall],
    cleared: Event,
    factor: float,
) -> Finding:
    step, net = used
    return story.finding(
        "thrown-away", "wrong", net,
        [*story.events_of(c.index for c in calls), cleared, step.event],
        (
            "What {lost} had computed for {net} was kept without a copy: {cleared} filled the same "
            "tensors with zeros, and {last} wrote into them. "
            if cleared.kind == "zero_grad"
            else "What {lost} had computed for {net} was kept without a copy: the same tensors "
            "were filled with zeros before {last}, which wrote into them. "
        )
        + "{step} moved {net} by {factor:.3g} times the gradient of {last}, and by nothing of "
        "{lost}.",
        "Put copies aside: `p.grad.clone()`. Or let backward make new tensors, by "
        "zero_grad(set_to_none=True) in place of filling the old ones with zeros.",
        lost=story.call(calls[0].index), last=story.call(calls[1].index), factor=factor,
        cleared=story.event(cleared), step=story.event(step.event),
    )  # fmt: skip
