"""Straight-throughs, ``x + (y - x).detach()``: the value of y and the gradient of x, on purpose.

Their cut is never the fault. What may be wrong is a loss that was to teach y, made of what came
out; or the detach that is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gan_lessons.lens.diagnose.choices import CHOICES
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Cut, Node

PLUS_MINUS = ("AddBackward0", "SubBackward0")
# What goes into them beside the table has no slope: the numbers of rows, which were chosen.
LOOKUPS = ("EmbeddingBackward0", "IndexSelectBackward0", "IndexBackward0", "GatherBackward0")
STEPS_UP = 2  # y.detach() + x - x.detach() has two sums


class Kept(NamedTuple):
    """What a message goes on with, what to do, and what fills their blanks beside {who}."""

    why: str
    fix: str
    blanks: dict[str, str]


class StraightThrough(NamedTuple):
    """``around``: the node (x) to which the gradient goes. ``parts``: the sums it consists of."""

    around: int
    parts: frozenset[int]


def straight_through(story: Story, cut: Cut) -> StraightThrough | None:
    """The straight-through that this cut is a part of, in any order of its terms."""
    nodes, parts, top = story.record.graph.nodes, set[int](), cut.target
    base = top
    while _is_sum(nodes.get(base)):
        parts.add(base)
        base = nodes[base].inputs[0]
    for _ in range(STEPS_UP if parts else 0):
        if any(_less(story, c, base) for i in parts for c in story.cuts_into.get(i, ())):
            return StraightThrough(base, frozenset(parts))
        above = [i for i in story.takers.get(top, ()) if _is_sum(nodes[i])]
        if len(above) != 1:
            break
        top = above[0]
        parts.add(top)
    return None


def _is_sum(node: Node | None) -> bool:
    """A sum or difference with a graph on one side only."""
    return node is not None and node.op in PLUS_MINUS and len(node.inputs) == 1


def _less(story: Story, cut: Cut, base: int) -> bool:
    """Is what was cut off the value of ``base``, or a difference to it?"""
    made = story.record.graph.nodes[cut.source]
    return cut.source == base or (made.op == "SubBackward0" and base in made.inputs)


def made_after(story: Story, call: BackwardCall, found: StraightThrough) -> int | None:
    """A node of the loss that compares what came out of it with what it goes around to, detached:
    it was to draw the other value there, and has no way to that."""
    nodes = story.record.graph.nodes
    for key in call.nodes:
        takes = key not in found.parts and found.parts & {*nodes[key].inputs}
        if takes and any(c.source == found.around for c in story.cuts_into.get(key, ())):
            return key
    return None


def kept(story: Story, call: BackwardCall, cuts: Iterable[Cut]) -> Kept | None:
    """If one of these cuts, before ``call``, is a straight-through: what to say in place of "leave
    it out". {who} does not learn, because it is behind them."""
    found = [one for cut in cuts if (one := straight_through(story, cut)) is not None]
    after = (i for one in found if (i := made_after(story, call, one)) is not None)
    if not found:
        return None
    if (key := next(after, None)) is None:
        return Kept(
            " There a straight-through hands on the value of {who} with the gradient of another.",
            "Leave the straight-through as it is. If {who} should learn, add a loss of its own, "
            "made of the value that goes into the straight-through (of a codebook: the distance "
            "from the codes as they were looked up to what they stand for, detached). If not, "
            "leave {who} out of the optimizer.",
            {},
        )
    return Kept(
        " There a straight-through hands on the value of {who} with the gradient of another, and "
        "the distance to that other{after} is made of what comes out of it: its gradient goes to "
        "that other.",
        "Leave the straight-through as it is. If {who} should learn from the distance{after}, make "
        "it of the value that goes into the straight-through (of a codebook: the codes as they "
        "were looked up), not of what comes out. If not, leave {who} out of the optimizer.",
        {"after": story.in_line(story.record.graph.lines.get(key))},
    )


def uncut(story: Story) -> Iterator[Finding]:
    """``x + (y - x)`` with its graph, where y was chosen by x: the value of y alone, and of the
    gradient nothing to x. Where y was computed from x it may be a residual, and right."""
    nodes = story.record.graph.nodes
    told = set[tuple[object, ...]]()
    for call in story.calls_made:
        pupils = {net for _, net in story.uses.get(call.index, ())}
        for key in call.nodes:
            if (around := _undone(story, key)) is None:
                continue
            line = story.record.graph.lines.get(key)
            for net in sorted({nodes[i].net or "" for i in story.reached(around)} & pupils):
                if (line, net) in told:
                    continue
                told.add((line, net))
                yield story.finding(
                    "cancelled", "wrong", net, [story.events[call.index]],
                    "A difference to what {net} made is added to that very value{where}, each with "
                    "its graph: what is left is a value that was chosen, and the gradients to what "
                    "{net} made cancel in {call}.",
                    "Detach the difference there, x + (chosen - x).detach(): a straight-through, "
                    "with the value that was chosen and the gradient of x.",
                    where=story.in_line(line), call=story.call(call.index),
                )  # fmt: skip


def _undone(story: Story, key: int) -> int | None:
    """The node x of such a sum."""
    nodes = story.record.graph.nodes
    node = nodes[key]
    if node.op not in PLUS_MINUS or len(node.inputs) != 2:
        return None
    for around, other in (node.inputs, node.inputs[::-1]):
        inner = nodes.get(other)
        if inner is None or inner.op != "SubBackward0" or around not in inner.inputs:
            continue
        # x + (y - x), or x - (x - y)
        if (node.op, inner.inputs.index(around)) not in ((PLUS_MINUS[0], 1), (PLUS_MINUS[1], 0)):
            continue
        chosen = story.reached_from({*inner.inputs} - {around})
        cuts = (c for i in chosen for c in story.cuts_into.get(i, ())
                if c.how in CHOICES or nodes[c.target].op in LOOKUPS)  # fmt: skip
        if around not in chosen and any(around in story.reached(c.source) for c in cuts):
            return around
    return None
