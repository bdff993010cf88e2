"""A backward that was there for the gradient of an input, and left gradients in the weights."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import BackwardCall


def for_the_input(story: Story) -> Iterator[Finding]:
    """A step used the sum of two calls. The first is there for its input: each time somebody reads
    the gradient of that (an attack, a sampler), and the second is about what was made of it.

    Told where the first stands in a function of its own, which does not step. Else the sum may be
    meant: a loss of clean samples serves the attack, too; or each step of it is learned from.
    """
    if story.failed or story.inside:
        return
    told = set[tuple[str, object]]()
    for step in story.steps:
        for net in step.nets:
            for first, second in _pairs(story, step, net):
                if (net, first.line) in told:
                    continue
                told.add((net, first.line))
                yield story.finding(
                    "polluted", "wrong", net,
                    [story.events[first.index], story.events[second.index], step.event],
                    "{step} moved {net} by the sum of {first} and {second}. The first is there for "
                    "the gradient of its input, of which the input of the second is made: what it "
                    "wrote into {net} was never cleared.",
                    "In {function}, ask for the gradient of the input alone: "
                    "torch.autograd.grad(loss, x), or backward(inputs=[x]). Or clear the gradients "
                    "of {net} (zero_grad) before {second}.",
                    step=story.event(step.event), first=story.call(first.index),
                    second=story.call(second.index), function=first.line.function,
                )  # fmt: skip


def _pairs(story: Story, step: Step, net: str) -> Iterator[tuple[BackwardCall, BackwardCall]]:
    asked = story.record.graph.asked
    calls = [story.record.backward_calls[c] for c in sorted(step.calls(net))]
    first = [c for c in calls if not asked.isdisjoint(c.nodes)]
    for one in first:
        alike = [c for c in story.calls_made if c.line == one.line]
        if any(asked.isdisjoint(c.nodes) for c in alike):
            continue
        for other in (c for c in calls if c.index > one.index and c not in first):
            apart = one.line.function not in (other.line.function, step.event.line.function)
            if apart and _is_made_of(story, other, one):
                yield one, other


def _is_made_of(story: Story, call: BackwardCall, one: BackwardCall) -> bool:
    """Did what was computed from the gradient of an input of ``one`` go into ``call``?"""
    made = {s.target for s in story.record.graph.slopes if s.source in one.nodes}
    if not made.isdisjoint(call.nodes):
        return True
    cuts = (cut for node in call.nodes for cut in story.cuts_into.get(node, ()))
    return any(made & {cut.source, *story.reached(cut.source)} for cut in cuts)
