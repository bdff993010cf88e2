"""Gradients clipped at a moment when it does nothing or the wrong thing, or never unscaled."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import Line, Scaling

STEPS_OR_UNSCALES = r"([\w.]+)\.(?:step|unscale_)\(([\w.]+)\)"


def clipped_in_vain(story: Story) -> Iterator[Finding]:
    """Clipped before the backward, after the step, or while the loss scale was still on them."""
    if story.failed or story.inside:
        return
    for clip in (s for s in story.record.scalings if s.kind == "clip"):
        found = [one for net in clip.nets for one in _in_vain(story, clip, net)]
        yield from found or _of_another(story, clip)


def _in_vain(story: Story, clip: Scaling, net: str) -> Iterator[Finding]:
    after = [s for s in story.steps_of(net) if s.event.index >= clip.after]
    before = [s for s in story.steps_of(net) if s.event.index < clip.after]
    if clip.calls and (unscaled := _unscaled_after(story, clip, net)) is not None:
        yield _of_scaled(story, clip, net, unscaled)
    elif after and not clip.calls:
        yield from _of_nothing(story, clip, net, after[0])
    elif after and before:
        yield from _too_late(story, clip, net, before[-1], after[0])


def _of_another(story: Story, clip: Scaling) -> Iterator[Finding]:
    """No step uses any more what it clipped, and the next step uses gradients of another net, from
    the call right before, which nothing has changed since."""
    step = next((s for s in story.steps if s.event.index >= clip.after), None)
    call = max((c for c, e in story.events.items() if e.index < clip.after), default=-1)
    if step is None or {*clip.nets} & {*step.nets} or _used_later(story, clip):
        return
    for net in step.nets:
        if call in step.calls(net) and not _changed(step, net):
            yield story.finding(
                "unclipped", "wrong", net, [story.events[call], step.event],
                "Between {call} and {step}, {clip} clips the gradients of {others}, which no step "
                "uses any more; those of {net}, which {step} uses, are not clipped.",
                "Give the parameters of {net} to {clip} there.",
                call=story.call(call), step=story.event(step.event), clip=story.quoted(clip.line),
                others=" and ".join(clip.nets),
            )  # fmt: skip


def _used_later(story: Story, clip: Scaling) -> bool:
    later = (s for net in clip.nets for s in story.steps_of(net) if s.event.index >= clip.after)
    return any({*clip.calls} & s.calls(net) for s in later for net in clip.nets)


def _changed(step: Step, net: str) -> bool:
    """By another clip, of whatever kind, or by hand."""
    return any(s.rewritten or s.by_hand for (n, _), s in step.used.items() if n == net)


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
        "Call `{call}` between the backward and {clip}.",
        clip=story.quoted(clip.line), unscaled=story.quoted(unscaled.line),
        call=_called(STEPS_OR_UNSCALES, r"\1.unscale_(\2)", unscaled.line)
        or "scaler.unscale_(optimizer)",
    )  # fmt: skip


def _called(pattern: str, instead: str, line: Line) -> str:
    """A call in this line, written anew with the names that it has there; "" if there is none."""
    found = re.search(pattern, line.code)
    return found.expand(instead) if found else ""


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
                if scale is None or off or story.by_hand(step, net):
                    continue
                yield story.finding(
                    "still-scaled", "wrong", net, [story.events[index], step.event],
                    "{step} moved {net} by the gradient of {call} while it was multiplied by the "
                    "scale of the loss ({scale}): nothing took that off.",
                    "Step through the scaler, which unscales: `scaler.step({name})` instead of "
                    "{step}.",
                    name=_called(r"([\w.]+)\.step\(\)", r"\1", step.event.line) or "optimizer",
                    step=story.event(step.event), call=story.call(index),
                    scale=story.quoted(scale.line),
                )  # fmt: skip


def never_scaled(story: Story) -> Iterator[Finding]:
    """A GradScaler took its scale off a gradient of a loss that it had never multiplied: what the
    step used is by so much too small. (A loss that is scaled by hand shows as a product.)"""
    if story.failed or story.inside:
        return
    nodes = story.record.graph.nodes
    scaled = {s.node for s in story.record.scalings if s.kind == "scale"}
    told = set[tuple[str, Line]]()
    for taken in (s for s in story.record.scalings if s.kind in ("unscale", "step")):
        for net in taken.nets:
            step = next((s for s in story.steps_of(net) if s.event.index >= taken.after), None)
            calls = {*taken.calls} & step.calls(net) if step is not None else set()
            for call in (story.record.backward_calls[c] for c in sorted(calls)):
                by_hand = nodes[call.nodes[-1]].op in ("MulBackward0", "DivBackward0")
                if by_hand or scaled & {*call.nodes} or (net, call.line) in told or not step:
                    continue
                told.add((net, call.line))
                yield story.finding(
                    "still-scaled", "wrong", net, [story.events[call.index], step.event],
                    "{taken} divides the gradient of {net} by the scale of the loss, and the loss "
                    "of {call} was never multiplied by it: what moves {net} is far too small.",
                    "Multiply that loss as well: `{scale}` instead of {call}.",
                    taken=story.quoted(taken.line), call=story.call(call.index),
                    scale=_through_the_scaler(taken.line, call.line),
                )  # fmt: skip


def _through_the_scaler(taken: Line, backward: Line) -> str:
    """``scaler.scale(g_loss).backward()``, with the names that the two lines have."""
    scaler = _called(r"([\w.]+)\.(?:step|unscale_)\(", r"\1", taken) or "scaler"
    loss = re.match(r"([\w.]+)\.backward\(", backward.code)
    return f"{scaler}.scale({loss[1] if loss else 'loss'}).backward()"
