"""Gradients that a step used once more: they had been used, and nobody had cleared them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from gan_lessons.lens.diagnose.story import Finding, Step, Story


def used_twice(story: Story) -> Iterator[Finding]:
    """One optimizer used a call again, with a new one added: it was not cleared between them.

    The same gradient alone may be used again on purpose (an extrapolation from the last one).
    """
    last: dict[tuple[str | None, str, str], Step] = {}
    for step in story.steps:
        for (net, name), state in step.used.items():
            earlier = last.get((step.event.target, net, name))
            last[step.event.target, net, name] = step
            before = {*earlier.used[net, name].sources} if earlier else set()
            again, new = before & {*state.sources}, {*state.sources} - before
            if earlier is None or not again or not new:
                continue
            then, now = earlier.event, story.events[min(new)]
            if then.grads[net][name].rewritten < now.grads[net][name].rewritten:
                continue  # scaled by hand in between: a sum that decays is somebody's momentum
            yield story.finding(
                "polluted", "wrong", net, [earlier.event, step.event],
                "{step} moved {net} by the gradient of {calls} added to that of {shared} from "
                "before: an earlier step had used that already, and nobody had cleared it since.",
                "Clear the gradients of {net} (zero_grad) after each of its steps, or before the "
                "next.",
                step=story.event(step.event), calls=story.calls(new), shared=story.calls(again),
            )  # fmt: skip


def past_the_scaler(story: Story) -> Iterator[Finding]:
    """A GradScaler has stepped, and the optimizer steps again by itself, with what is left there.
    (Without a scaler a step may use its last gradient again on purpose.)"""
    scaled = [s for s in story.record.scalings if s.kind == "step"]
    for scaling in scaled:
        first = next((s for s in story.steps if s.event.index == scaling.after), None)
        later = (s for s in story.steps if first and s.event.index > first.event.index)
        again = next((s for s in later if first and s.event.target == first.event.target), None)
        if first is None or again is None or any(s.after == again.event.index for s in scaled):
            continue
        for net in again.nets:
            if calls := first.calls(net) & again.calls(net):
                yield story.finding(
                    "polluted", "wrong", net, [first.event, again.event],
                    "{again} moves {net} once more by {calls}, after {scaler} had moved it.",
                    "Leave {again} out: {scaler} has stepped already.",
                    again=story.event(again.event), calls=story.calls(calls),
                    scaler=story.quoted(scaling.line),
                )  # fmt: skip


def by_two_in_turn(story: Story) -> Iterator[Finding]:
    """Two optimizers hold the net. The second used what the first had used before, with a call
    added since: it was not cleared between them. One call that both use is a sum of theirs."""
    for step in story.steps:
        for net in step.nets:
            mine = step.calls(net)
            for earlier in (s for s in story.steps_of(net) if s.event.index < step.event.index):
                shared = mine & earlier.calls(net)
                new = {c for c in mine if story.events[c].index > earlier.event.index}
                if earlier.event.target == step.event.target or not shared or not new:
                    continue
                first = min(new)
                if any(s.rewritten for (n, _), s in step.used.items() if n == net):
                    continue  # changed by hand: somebody knows what is in it
                yield story.finding(
                    "polluted", "wrong", net, [earlier.event, *story.events_of(new), step.event],
                    "{step} moved {net} by the sum of {calls}, and {earlier} had moved it by "
                    "{shared} before.",
                    "Clear the gradients of {net} (zero_grad) between {earlier} and {first}.",
                    step=story.event(step.event), calls=story.calls(mine),
                    earlier=story.event(earlier.event), shared=story.calls(shared),
                    first=story.call(first),
                )  # fmt: skip


def closure_adds_up(story: Story) -> Iterator[Finding]:
    """Inside one step a closure ran backward again at moved weights, on top of the last time."""
    for step in story.steps:
        calls = [e for e in story.within(step) if e.kind == "backward"]
        for net in step.nets:
            for one, two in pairwise(calls):
                between = story.record.events[one.index + 1 : two.index + 1]
                if not any(e.moved.get(net) for e in between):
                    continue
                if any({one.call, two.call} <= {*s.sources} for s in two.grads[net].values()):
                    yield story.finding(
                        "polluted", "wrong", net, [one, two, step.event],
                        "{step} evaluates its closure again and again, and each {call} adds to the "
                        "gradients of {net} from the evaluation before, at other weights.",
                        "Clear the gradients inside the closure, before its backward.",
                        step=story.event(step.event), call=story.call(two.call or 0),
                    )  # fmt: skip
                    break


def added_between(story: Story, step: Step, net: str, others: frozenset[int]) -> Step | None:
    """A step of this optimizer that used once more what its step before had used, with a new call
    added, and no call like ``others`` between the two: a clearing beside those does not help it."""
    alike = {story.record.backward_calls[c].line for c in others}
    steps = [s for s in story.steps_of(net) if s.event.target == step.event.target]
    for first, then in pairwise(steps):
        again, new = then.calls(net) & first.calls(net), then.calls(net) - first.calls(net)
        between = story.calls_between(first.event.index, then.event.index)
        by_hand = any(s.rewritten for (n, _), s in then.used.items() if n == net)
        if again and new and not by_hand and not any(c.line in alike for c in between):
            return then
    return None
