"""A learned weight in two terms of one step: one for whom it weighs, one for itself."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import BackwardCall


def weighed_twice(story: Story) -> Iterator[Finding]:
    """A learned number was detached where it weighs what a player made, so that this term is for
    the player; and with its graph it weighs the same, not detached, in a term of its own. The
    player gets that gradient as well: of the other sign, it cancels the first."""
    weights = _weights(story)
    if story.failed or story.inside or not weights:
        return
    told = set[tuple[str, str]]()
    for call in story.calls_made:
        users = {net: step for step, net in story.uses.get(call.index, ())}
        for key in call.nodes:
            for weight, made in _factors(story, key, weights):
                nets = sorted(story.behind[made] & {*users})
                mine = users[weight].event.target if weight in users else None
                apart = all(users[net].event.target != mine for net in nets)
                if mine is None or not nets or not apart or (weight, nets[0]) in told:
                    continue
                if (other := _detached_there(story, call, weight, made)) is not None:
                    told.add((weight, nets[0]))
                    yield _weighed_twice(story, call, weight, nets, other, key)
                elif (found := _before_it(story, users[nets[0]], call, weight, made)) is not None:
                    told.add((weight, nets[0]))
                    yield _left_in(story, (call, *found), weight, nets, key)


def _weights(story: Story) -> set[str]:
    """Lone parameters, and modules that hold nothing but one number each."""
    rows = {net: {math.prod(shape) for shape in row.values()}
            for net, row in story.record.parameters.items()}  # fmt: skip
    return {net for net, sizes in rows.items() if net in story.record.lone or sizes == {1}}


def _factors(story: Story, key: int, weights: set[str]) -> Iterator[tuple[str, int]]:
    """(weight, node of what it weighs) of a product outside the nets."""
    node = story.record.graph.nodes[key]
    if node.op != "MulBackward0" or len(node.inputs) != 2 or node.net is not None:
        return
    for one, other in (node.inputs, node.inputs[::-1]):
        nets = story.behind[one]
        if len(nets) == 1 and nets <= weights and not nets & story.behind[other]:
            yield min(nets), other


def _detached_there(story: Story, call: BackwardCall, weight: str, made: int) -> int | None:
    """Another product of this call, of the same and of the weight, cut off."""
    nodes = story.record.graph.nodes
    for key in call.nodes:
        if nodes[key].op != "MulBackward0" or len(nodes[key].inputs) != 1:
            continue
        sources = [cut.source for cut in story.cuts_into.get(key, ())]
        sources += [one for one, taker in story.record.graph.numbered if taker == key]
        same = made in story.reached(nodes[key].inputs[0])
        same = same or nodes[key].inputs[0] in story.reached(made)
        if same and any(story.behind[source] == {weight} for source in sources):
            return key
    return None


def _before_it(
    story: Story, step: Step, call: BackwardCall, weight: str, made: int
) -> tuple[BackwardCall, int, Step] | None:
    """Another call that this step used, and that the weight does not learn from, with such a
    product. (What is made of a gradient with a graph balances the losses: it may be meant.)"""
    if not story.record.graph.curved.isdisjoint(story.reached(made)):
        return None
    for one in (story.record.backward_calls[c] for c in sorted(step.calls() - {call.index})):
        apart = all(net != weight for _, net in story.uses.get(one.index, ()))
        other = _detached_there(story, one, weight, made) if apart else None
        if other is not None:
            return one, other, step
    return None


def _weighed_twice(
    story: Story, call: BackwardCall, weight: str, nets: list[str], other: int, key: int
) -> Finding:
    graph = story.record.graph
    return story.finding(
        "polluted", "wrong", nets[0], [story.events[call.index]],
        "In {call} {weight} weighs the same twice: detached{there}, which is for {nets}, and with "
        "its graph{where}, which is for {weight}. The "
        "second teaches {nets} as well.",
        "Detach the other factor of the second, what {weight} weighs there: {weight} alone is to "
        "learn from it.",
        call=story.call(call.index), weight=weight, nets=" and ".join(nets),
        there=story.in_line(graph.lines.get(other)), where=story.in_line(graph.lines.get(key)),
    )  # fmt: skip


def _left_in(
    story: Story,
    found: tuple[BackwardCall, BackwardCall, int, Step],
    weight: str,
    nets: list[str],
    key: int,
) -> Finding:
    (call, one, other, step), lines = found, story.record.graph.lines
    return story.finding(
        "polluted", "wrong", nets[0],
        [story.events[one.index], story.events[call.index], step.event],
        "{step} moved {nets} by the sum of {one} and {call}. Both weigh the same by {weight}: the "
        "first by its mere value{there}, which is for {nets}, the other with its graph{where}, "
        "which is for {weight}. The other teaches {nets} as well.",
        "Detach what {weight} weighs there, in the loss of {call}: {weight} alone is to learn from "
        "it.",
        step=story.event(step.event), one=story.call(one.index), call=story.call(call.index),
        weight=weight, nets=" and ".join(nets),
        there=story.in_line(lines.get(other)), where=story.in_line(lines.get(key)),
    )  # fmt: skip
