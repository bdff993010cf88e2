"""A net of which an optimizer never finds a gradient, because what it made was always cut off."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.diagnose.straight_through import kept, made_after, straight_through
from gan_lessons.lens.model import BackwardCall, Cut, Forward, Line

NumPy = tuple[str, Line | None]  # how what a net made left torch, and where


def kept_out(story: Story) -> Iterator[Finding]:
    """An optimizer holds two nets, and steps one of them by losses that are about what the other
    made, cut off: the other never learns by this optimizer.

    Each step, and with gradients on: what ran under ``torch.no_grad`` is a fixed part, left
    among the parameters. Nor where the cut is inside a net: parts may be shared there. (Of a
    straight-through inside it the loss tells, that compares what comes out with what goes in.)
    """
    if story.failed or story.inside:
        return
    told = {(one.net, one.code) for one in story.told(cut_off)}
    for target in story.record.holds:
        steps = [s for s in story.steps if s.event.target == target and s.used]
        nets = dict.fromkeys(net for step in steps for net in step.nets)
        for net in nets if len(steps) > 1 else ():
            idle = not any(n == net for step in steps for n, _ in step.used)
            if not idle or (net, "cut-off") in told or story.moved_outside.get(net):
                continue
            calls = [story.record.backward_calls[c] for s in steps for c in sorted(s.calls())]
            cuts = [cut for c in calls if (cut := _cut_from(story, c, net)) is not None]
            everywhere = bool(cuts) and len(cuts) == len(calls)
            everywhere = everywhere and not _reached(story, calls, net)
            if not everywhere:
                cuts = [cut for c in calls if (cut := _compared_after(story, c, net)) is not None]
                got = any(story.receivers(c).get(net) for c in story.calls_made)
                everywhere = bool(cuts) and len(cuts) == len(calls) and not got
            if everywhere and _awake(story, net):
                yield _kept_out(story, net, steps[0], calls, cuts[0])


def _awake(story: Story, net: str) -> bool:
    """Did the net run in training mode, none of it frozen or in eval mode?"""
    ran = [f for f in story.record.forwards if f.net == net]
    asleep = any(f.frozen is not None or not f.training for f in ran)
    return bool(ran) and not asleep and not story.record.evaluated.get(net)


def _reached(story: Story, calls: list[BackwardCall], net: str) -> bool:
    return any(call.restricted or story.owner[i] == net for call in calls for i in call.nodes)


def _cut_from(story: Story, call: BackwardCall, net: str) -> Cut | NumPy | None:
    """Where what the net made was cut off before it went into this loss, outside of the nets."""
    cuts = [c for c in story.cuts_before(call, [net]) if c.how != "torch.no_grad"]
    if cuts:
        return cuts[0] if cuts[0].through is None else None
    nodes = story.record.graph.nodes
    first = min((i for i in call.nodes if not nodes[i].is_leaf), default=-1)
    made = [f for f in story.record.forwards if f.net == net and _before(story, f, call)]
    mine = {i for f in made[-1:] for i in story.built_by.get(f.index, ())}
    left = [(how, line) for node, how, line in story.record.graph.left
            if node in mine and node < first]  # fmt: skip
    return left[0] if left else None


def _compared_after(story: Story, call: BackwardCall, net: str) -> Cut | None:
    """The cut of a straight-through inside the net, of which a loss here was to draw the value."""
    for cut in story.cuts_before(call, [net]) if not call.restricted else ():
        found = straight_through(story, cut)
        if cut.through == net and found and made_after(story, call, found) is not None:
            return cut
    return None


def _before(story: Story, forward: Forward, call: BackwardCall) -> bool:
    end = story.events[call.index].index
    return story.began.get(forward.index, end) < end


def _kept_out(
    story: Story, net: str, step: Step, calls: list[BackwardCall], cut: Cut | NumPy
) -> Finding:
    how, line = (cut.how, cut.line) if isinstance(cut, Cut) else cut
    others = [n for n in step.nets if any(m == n for m, _ in step.used)]
    keep = kept(story, calls[0], story.cuts_before(calls[0], [net]))
    return story.finding(
        "cut-off", "wrong", net, [*story.events_of(c.index for c in calls[:2]), step.event],
        "{step} is to move {net} as well as {others}, and never finds a gradient in {net}: what "
        "{net} made was cut off by {how}{where}, before {call}." + (keep.why if keep else "")
        if isinstance(cut, Cut)
        else "{step} is to move {net} as well as {others}, and never finds a gradient in {net}: "
        "what {net} made left torch for {how}{where}, before {call}.",
        keep.fix
        if keep
        else "If {net} is to learn from this loss, hand on what it made with its graph (without "
        "{how}). If not, leave {net} out of {target}.",
        step=story.event(step.event), others=" and ".join(others), how=how,
        where=story.in_line(line), call=story.call(calls[0].index), target=step.event.target,
        who=net, **(keep.blanks if keep else {}),
    )  # fmt: skip
