"""A backward that was there for a gradient to be read, and left it for the step as well."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall


def read_and_left(story: Story) -> Iterator[Finding]:
    """A step used the sum of two calls. The first, in a function of its own, has the same loss as
    a term of the second, and what was made of its gradient (the change of an embedding, say) went
    into another term of that: so the first was there to be read, and its loss counts twice."""
    if story.failed or story.inside:
        return
    told = set[tuple[str, object]]()
    for step in story.steps:
        calls = [story.record.backward_calls[c] for c in sorted(step.calls())]
        for net in step.nets:
            mine = [c for c in calls if c.index in step.calls(net)]
            for first, second in ((a, b) for a in mine for b in mine if a.index < b.index):
                own = first.line.function not in (second.line.function, step.event.line.function)
                if (net, first.line) in told or not own or not _served(story, net, first, second):
                    continue
                told.add((net, first.line))
                yield story.finding(
                    "polluted", "wrong", net,
                    [story.events[first.index], story.events[second.index], step.event],
                    "{step} moved {net} by the sum of {first} and {second}. The second has the "
                    "loss of the first as a term, which counts twice: the first is there for its "
                    "gradient, of which another term is made, and left that in {net}.",
                    "In {function}, ask for that gradient without writing it: "
                    "torch.autograd.grad(loss, parameters). Or clear the gradients of {net} "
                    "(zero_grad) before {second}.",
                    step=story.event(step.event), first=story.call(first.index),
                    second=story.call(second.index), function=first.line.function,
                )  # fmt: skip


def _served(story: Story, net: str, first: BackwardCall, second: BackwardCall) -> bool:
    read = story.computed_with(first, net)
    taught = {i for n, name, i in story.record.graph.taught if n == net and name in read}
    if taught.isdisjoint(second.nodes):
        return False
    forms, wanted = _forms(story, second), _forms(story, first)
    terms = summed(story, second)[1]
    alone = {forms[t] for t in terms if taught.isdisjoint(story.reached(t))}
    return len(alone) < len(terms) and {wanted[t] for t in summed(story, first)[1]} <= alone


def _forms(story: Story, call: BackwardCall) -> dict[int, object]:
    """Node -> what was computed there, of which parameters, from beginning to end."""
    nodes, found = story.record.graph.nodes, dict[int, object]()
    for node in (nodes[i] for i in call.nodes):  # inputs come first
        below = tuple(found.get(i) for i in node.inputs)
        found[node.id] = hash((node.op, node.net, node.parameter, node.shape, below))
    return found
