"""A distance that was cut off number by number, before its mean was taken."""

from __future__ import annotations

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Cut

_OF_A_DIFFERENCE = {"AbsBackward0", "PowBackward0", "SquareBackward0", "SmoothL1LossBackward0"}
_LOSSES = {"MseLossBackward0", "SmoothL1LossBackward0", "HuberLossBackward0"}


def is_a_distance(story: Story, cut: Cut) -> bool:
    """Was each number of a difference cut off for itself? (A whole distance that is detached, one
    number, may be there for what is printed; and one that is taken from itself, with its graph, is
    there for its gradient.)"""
    nodes = story.record.graph.nodes
    made = nodes[cut.source]
    below = [nodes[i].op for i in made.inputs if i in nodes]
    many = made.shape is not None and made.shape != ()
    differs = made.op in _OF_A_DIFFERENCE and "SubBackward0" in below
    taken = story.reached(cut.target)
    itself = any((nodes[i].op, nodes[i].inputs) == (made.op, made.inputs) for i in taken)
    itself = itself or (differs and not taken.isdisjoint(made.inputs))
    by_name = cut.how in ("detach()", ".data") and (differs or made.op in _LOSSES)
    return many and by_name and not itself


def cut_distance(story: Story, net: str, call: BackwardCall, cut: Cut) -> Finding:
    return story.finding(
        "cut-off", "wrong", net, [story.events[call.index]],
        "In {call} a term is a distance to the output of {net}, and a constant: {how}{where} cut "
        "off the difference, both of its sides, before the mean was taken. {net} learns nothing "
        "from it.",
        "Cut off the side that is to stand still, and not the difference: move {how} to the "
        "target.",
        call=story.call(call.index), how=cut.how, where=story.in_line(cut.line),
    )  # fmt: skip
