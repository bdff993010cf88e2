"""Gradients clipped at a moment when it does nothing or the wrong thing, or never unscaled."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import Scaling


def clipped_in_vain(story: Story) -> Iterator[Finding]:
    """Clipped before the backward, after the step, or while the loss scale was still on them."""
    if story.failed or story.inside:
        return
    for clip in (s for s in story.record.scalings if s.kind == "clip"):
        for net in clip.nets:
            after = [s for s in story.steps_of(net) if s.event.index >= clip.after]
            before = [s for s in story.steps_of(net) if s.event.index < clip.after]
            if clip.calls and (unscaled := _unscaled_after(story, clip, net)) is not None:
                yield _of_scaled(story, clip, net, unscaled)
            elif after and not clip.calls:
                yield from _of_nothing(story, clip, net, after[0])
            elif after and before:
                yield from _too_late(story, clip, net, before[-1], after[0])


def _others(story: Story, net: str, first: int, last: int, clip: Scaling) -> bool:
    """Was this net clipped between two events by another call, one that found gradients?"""
    scalings = (s for s in story.record.scalings if s.kind == "clip" and s is not clip)
    return any(net in s.nets and s.calls and first < s.after <= last for s in scalings)


def _unscaled_after(story: Story, clip: Scaling, net: str) -> Scaling | None:
    """What took the loss scale off the very gradients that had been clipped before."""
    later = story.record.scalings[story.record.scalings.index(clip) + 1 :]
    found = next((s for s in later if s.kind == "unscale" and net in s.nets), None)
    return found if found is not None and {*clip.calls} & {*found.calls} else None


def _of_scaled(story: Story, clip: Scaling, net: str, unscaled: Scaling) -> Finding:
    return story.finding(
        "unclipped", "wrong", net, story.events_of(c for c in clip.calls),
        "{clip} clipped the gradients of {net} while they were multiplied by the scale of the "
        "loss, which {unscaled} took off later: what {net} learns is far smaller than meant.",
        "Call `scaler.unscale_(optimizer)` between the backward and {clip}.",
        clip=story.quoted(clip.line), unscaled=story.quoted(unscaled.line),
    )  # fmt: skip


def _of_nothing(story: Story, clip: Scaling, net: str, step: Step) -> Iterator[Finding]:
    calls = [c for c in step.calls(net) if story.events[c].index >= clip.after]
    if not calls or _others(story, net, max(story.events[c].index for c in calls),
                            step.event.index, clip):  # fmt: skip
        return
    yield story.finding(
        "unclipped", "wrong", net, [*story.events_of(calls), step.event],
        "{clip} found no gradients in {net} to clip: {calls} comes after it, and {step} uses them "
        "as they are.",
        "Clip between {calls} and {step}.",
        clip=story.quoted(clip.line), calls=story.calls(calls), step=story.event(step.event),
    )  # fmt: skip


def _too_late(
    story: Story, clip: Scaling, net: str, last: Step, following: Step
) -> Iterator[Finding]:
    used, calls = {*clip.calls}, last.calls(net)
    fresh = used - calls or used & following.calls(net)
    began = max((story.events[c].index for c in calls), default=0)
    if fresh or _others(story, net, began, last.event.index, clip):
        return
    yield story.finding(
        "unclipped", "wrong", net, [*story.events_of(calls), last.event],
        "{clip} clipped gradients of {net} that {step} had used already, and no step uses again.",
        "Clip between {calls} and {step}.",
        clip=story.quoted(clip.line), calls=story.calls(calls), step=story.event(last.event),
    )  # fmt: skip


def still_scaled(story: Story) -> Iterator[Finding]:
    """A step used the gradient of a loss that a GradScaler had multiplied, and nothing took the
    scale off: it was stepped without the scaler."""
    if story.failed or story.inside:
        return
    scaled = {s.node: s for s in story.record.scalings if s.kind == "scale"}
    undone = [s for s in story.record.scalings if s.kind in ("unscale", "step")]
    for step in story.steps:
        for net in step.nets:
            for index in sorted(step.calls(net)):
                call, end = story.record.backward_calls[index], story.events[index].index
                scale = next((scaled[i] for i in call.nodes if i in scaled), None)
                off = any(net in s.nets and end < s.after <= step.event.index for s in undone)
                by_hand = any(s.rewritten for (n, _), s in step.used.items() if n == net)
                if scale is None or off or by_hand:
                    continue
                yield story.finding(
                    "still-scaled", "wrong", net, [story.events[index], step.event],
                    "{step} moved {net} by the gradient of {call} while it was multiplied by the "
                    "scale of the loss ({scale}): nothing took that off.",
                    "Step through the scaler, which unscales: `scaler.step(optimizer)` instead of "
                    "{step}.",
                    step=story.event(step.event), call=story.call(index),
                    scale=story.quoted(scale.line),
                )  # fmt: skip
