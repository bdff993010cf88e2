"""What each optimizer stepped on, a line for each kind of step.

It is told of a loop in which nothing is wrong as far as rules know, so that a wrong intention can
be seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Step, Story
from gan_lessons.lens.model import BackwardCall
from gan_lessons.lens.show import visible

MOST = 8  # lines
LONGEST = 60  # characters of a loss


def stepped_on(story: Story) -> tuple[str, ...]:
    """Steps of one optimizer by calls of the same lines are told once, as the last was."""
    made, kinds = story.record.backward_calls, defaultdict[object, list[Step]](list)
    for step in (step for step in story.steps if step.used):
        lines = frozenset(made[c].line for c in step.calls())
        kinds[step.event.target, lines].append(step)
    told = [_told(story, steps[-1], len(steps)) for steps in kinds.values()]
    if (more := len(told) - MOST) > 0:
        told[MOST:] = ["Kinds of step that are not shown: {more}.".format(more=more)]
    return tuple(told)


def _told(story: Story, step: Step, count: int) -> str:
    calls = [story.record.backward_calls[c] for c in sorted(step.calls())]
    nets = list(dict.fromkeys(net for net, _ in step.used))
    losses = list(dict.fromkeys(_loss(story, call) for call in calls))
    if not losses and any(state.before for state in step.used.values()):
        text = "{target} moved {nets} by what .grad held from before the recording."
        if count > 1:
            text = (
                "{target} moved {nets} {count} times by what .grad held from before the recording."
            )
    elif not losses:
        text = "{target} moved {nets} by what was put into .grad by hand."
        if count > 1:
            text = "{target} moved {nets} {count} times by what was put into .grad by hand."
    elif len(losses) > 1:
        text = "{target} moved {nets} by the sum of the gradients of {losses}."
        if count > 1:
            text = "{target} moved {nets} {count} times by the sum of the gradients of {losses}."
    else:
        text = "{target} moved {nets} by the gradient of {losses}."
        if count > 1:
            text = "{target} moved {nets} {count} times by the gradient of {losses}."
    first = text.format(
        target=step.event.target, nets=" and ".join(nets), losses=" and ".join(losses), count=count
    )
    if losses and any(state.by_hand for state in step.used.values()):
        first += " Some of it was put into .grad by hand."
    elif any(state.rewritten for state in step.used.values()) and not story.record.scalings:
        first += " Something that is no backward changed it in place."
    return " ".join([first, *_through(story, step, calls, nets), *_cut(story, calls, nets)])


def _loss(story: Story, call: BackwardCall) -> str:
    """`` `d_loss` (line 31) ``."""
    name = story.record.graph.outputs.get(call.nodes[-1], "") if call.nodes else ""
    loss = f"`{visible(name, LONGEST)}`" if name else "a loss"
    return f"{loss} ({story.place(call.line)})" if call.line.number else loss


def _through(story: Story, step: Step, calls: list[BackwardCall], nets: list[str]) -> Iterator[str]:
    """The nets that the gradient went through before, and how new their weights were."""
    above = sorted({n for call in calls for n, m in story.links(call) if m in nets} - {*nets})
    for net in above:
        seen = {story.steps_seen(i, net) for call in calls for i in story.through(call, net)}
        if net not in story.trained:
            yield "It came through {net}, which nobody trains.".format(net=net)
        elif min(seen) < story.steps_until(net, step):
            yield "It came through {net} as it was before its last step.".format(net=net)
        else:
            yield "It came through {net} as it was at that moment.".format(net=net)


def _cut(story: Story, calls: list[BackwardCall], nets: list[str]) -> Iterator[str]:
    others = [n for n in story.trained if n not in nets]
    kept = [n for n in others if any(story.kept_from(call, n) for call in calls)]
    cut = [n for n in kept if not any(n in pair for call in calls for pair in story.links(call))]
    if cut:
        yield "What {nets} made was cut off.".format(nets=" and ".join(cut))
