"""Two sides that learn from the distance between them, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.loss_forms import DISTANCES, RESHAPES, SQUARES, drawn_together
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.taught_average import taught_average

Leaves = frozenset[tuple[str, str]]
COMBINES = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "RsubBackward1")


def nothing_fixed(story: Story) -> Iterator[Finding]:
    """A distance between the outputs of two nets, as they are, is all that either learns from, and
    one optimizer moves both: one and the same number for every input brings it to zero. (Where an
    output is normalized, weights are bound, or the loss takes a derivative, that is no way out.)"""
    if story.failed or story.inside:
        return
    told, averages = set[str](), {one.net for one in story.told(taught_average)}
    for call in story.calls_made:
        for terms, (left, right) in drawn_together(story, call):
            term, both = min(terms), left | right
            steps = [s for s, _ in story.uses.get(call.index, ()) if both <= s.used.keys()]
            bound = any("parametrizations." in name for _, name in both)
            if len(terms) > 1 or not steps or bound or not _as_they_are(story, term):
                continue
            known = not averages.isdisjoint(net for net, _ in both)
            if known or both & _taught_otherwise(story, both):
                continue
            one, two = (_name(side, both) for side in (left, right))
            if one not in told:
                told.add(one)
                yield story.finding(
                    "moving-target", "wrong", min(left)[0],
                    [story.events[call.index], steps[0].event],
                    "{one} and {two} learn from nothing but the distance between them{where}, and "
                    "{step} moves both: one and the same number for every input is the best that "
                    "they can say. Neither is a target that stands still.",
                    "Leave the one that is the target out of the optimizer, and run it under "
                    "torch.no_grad().",
                    one=one, two=two, step=story.event(steps[0].event),
                    where=story.in_line(story.record.graph.lines.get(term)),
                )  # fmt: skip


def _taught_otherwise(story: Story, both: Leaves) -> set[tuple[str, str]]:
    """What any term of a loss reaches that is no such distance between the same two sides, of all
    calls that a step used."""
    found = set[tuple[str, str]]()
    for call in (c for c in story.calls_made if c.index in story.uses):
        alike = {min(terms) for terms, (a, b) in drawn_together(story, call) if a | b == both}
        for key in summed(story, call)[1]:
            same = key in alike and _as_they_are(story, key)
            found |= set() if same else story.leaves_of(key)
    return found


def _as_they_are(story: Story, term: int) -> bool:
    """Are both sides of this distance what a net says, and not normalized?"""
    nodes, graph = story.record.graph.nodes, story.record.graph
    node = nodes[term]
    if node.op in SQUARES and node.inputs:
        node = nodes[node.inputs[0]]
    elif node.op not in DISTANCES:
        return False
    for side in node.inputs:
        while side in nodes and nodes[side].op in RESHAPES and len(nodes[side].inputs) == 1:
            side = nodes[side].inputs[0]
        reached = story.reached(side)
        plain = story.owner.get(side) is not None and nodes[side].op not in COMBINES
        if not plain or any("Norm" in nodes[i].op for i in reached) or graph.curved & reached:
            return False
    return True


def _name(side: Leaves, both: Leaves) -> str:
    """The net, or, where both are parts of one, what is in this part."""
    nets = sorted({net for net, _ in side})
    if {net for net, _ in both - side}.isdisjoint(nets):
        return " and ".join(nets)
    return f"{some(sorted(name for _, name in side))} of {' and '.join(nets)}"
