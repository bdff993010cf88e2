"""Parts of a net that its optimizer cannot know: made after it, or no parameters at all."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.odd_parameters import made_anew
from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall


def come_later(story: Story) -> Iterator[Finding]:
    """A net got a part while it was trained, in its first forward or because it grew. Losses that
    train the rest of it reach the new part, which is as it was made, in training mode (a fixed one
    would have been loaded, or frozen), and no optimizer holds that."""
    if story.failed or story.inside:
        return
    graph, anew = story.record.graph, {one.net for one in story.told(made_anew)}
    for net, row in story.record.come_later.items():
        for call in _that_train(story, net) if net not in anew else ():
            numbers = {graph.strangers[i] for i in call.nodes if i in graph.strangers} & graph.fresh
            if names := [name for name, number in row.items() if number in numbers]:
                yield story.finding(
                    "ownership", "wrong", net, [story.events[call.index]],
                    "{call} computes gradients for {names} of {net}, and no optimizer holds them: "
                    "{net} got them after its optimizer was built, and they never learn.",
                    "Build the optimizer after {net} has all its parts (run it once before), or "
                    "give it the new ones: `add_param_group`.",
                    call=story.call(call.index), names=some(names),
                )  # fmt: skip
                break


def plain_tensors(story: Story) -> Iterator[Finding]:
    """A tensor that wants a gradient stands in a net as if it were a parameter of it. Losses that
    train the net fill its gradient, from one iteration to the next, and nobody reads that."""
    if story.failed or story.inside:
        return
    for net, row in story.record.plain.items():
        calls = _that_train(story, net)
        reach = {at: [c for c in calls if not {*leaves}.isdisjoint(c.nodes)]
                 for at, leaves in row.items()}  # fmt: skip
        lines = {at: [c.line for c in reached] for at, reached in reach.items()}
        places = [at for at, own in lines.items() if len({*own}) < len(own)]  # not made each time
        if places:
            first = reach[places[0]][0]
            yield story.finding(
                "ownership", "wrong", net, [story.events[first.index]],
                "{call} computes gradients for {places} inside {net}, and no optimizer holds them: "
                "a mere tensor is not among the parameters of a module, and never learns."
                if len(places) > 1
                else "{call} computes a gradient for {places} inside {net}, and no optimizer holds "
                "it: a mere tensor is not among the parameters of a module, and never learns.",
                "Make it an nn.Parameter, before the optimizer is built. If it is to stand still, "
                "leave its requires_grad out.",
                call=story.call(first.index), places=some(places),
            )  # fmt: skip


def _that_train(story: Story, net: str) -> list[BackwardCall]:
    return [c for c in story.calls_made if c.index in story.calls_of(net) and not c.restricted]
