"""A learned weight in two terms of one sum: one for whom it weighs, one for itself."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall


def weighed_twice(story: Story) -> Iterator[Finding]:
    """A lone weight was detached where it weighs what a player made, so that this term is for the
    player; and with its graph it weighs the same, not detached, in a term of its own. The player
    gets that gradient as well: of the other sign, it cancels the first."""
    if story.failed or story.inside:
        return
    told = set[tuple[str, str]]()
    for call in (c for c in story.calls_made if story.record.lone):
        users = {net: step.event.target for step, net in story.uses.get(call.index, ())}
        for key in call.nodes:
            for weight, made in _factors(story, key):
                nets = sorted(story.behind[made] & {*users})
                apart = all(users[net] != users.get(weight) for net in nets)
                if weight not in users or not nets or not apart or (weight, nets[0]) in told:
                    continue
                if (other := _detached_there(story, call, weight, made)) is not None:
                    told.add((weight, nets[0]))
                    yield _weighed_twice(story, call, weight, nets, other, key)


def _factors(story: Story, key: int) -> Iterator[tuple[str, int]]:
    """(lone weight, node of what it weighs) of a product outside the nets."""
    node = story.record.graph.nodes[key]
    if node.op != "MulBackward0" or len(node.inputs) != 2 or node.net is not None:
        return
    for one, other in (node.inputs, node.inputs[::-1]):
        nets = story.behind[one]
        if len(nets) == 1 and nets <= {*story.record.lone} and not nets & story.behind[other]:
            yield min(nets), other


def _detached_there(story: Story, call: BackwardCall, weight: str, made: int) -> int | None:
    """Another product of this call, of the same and of the weight, cut off."""
    nodes = story.record.graph.nodes
    for key in call.nodes:
        if nodes[key].op != "MulBackward0" or len(nodes[key].inputs) != 1:
            continue
        cuts = story.cuts_into.get(key, ())
        same = made in story.reached(nodes[key].inputs[0])
        same = same or nodes[key].inputs[0] in story.reached(made)
        if same and any(story.behind[cut.source] == {weight} for cut in cuts):
            return key
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
