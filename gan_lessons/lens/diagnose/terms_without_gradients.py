"""A term of a net's own loss for which that net ran without gradients."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import constant_term, summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.ways import pulls_at, pulls_of_all_else
from gan_lessons.lens.model import BackwardCall, Forward


def ran_without_gradients(story: Story) -> Iterator[Finding]:
    """What a net gave under ``no_grad`` was made a term, and added to a loss that it learns from.

    Wrong where a player learns through the net, and all that the net itself ever learns is to say
    one thing, whatever it sees. Else waste: it may be there to be printed with the rest. As a
    factor, or compared with what the net says with its graph (a target), it would be part of the
    gradient.
    """
    known = {one.net for one in story.told(constant_term)}
    for net in (net for net in story.trained if net not in known):
        for call in (story.record.backward_calls[c] for c in sorted(story.calls_of(net))):
            if (ran := _for_a_term(story, call, net)) is None:
                continue
            one_thing = _says_one_thing(story, net)
            yield story.finding(
                "cut-off", "wrong" if one_thing else "waste", net, [story.events[call.index]],
                "In {call} a term is a constant: {net} ran under torch.no_grad{where} for it, and "
                "learns nothing from it."
                + (" All that {net} learns is to say one thing of all it sees." if one_thing
                   else ""),
                "Run {net} with gradients for this term."
                if one_thing
                else "If {net} is to learn from this term, run it with gradients for it. If it is "
                "for a log, leave it out of the loss.",
                call=story.call(call.index), where=story.in_line(ran.line),
            )  # fmt: skip


def _for_a_term(story: Story, call: BackwardCall, net: str) -> Forward | None:
    """The forward of ``net`` without a graph of which a term of this loss was made."""
    nodes = story.record.graph.nodes
    for key in sorted(summed(story, call)[0]):
        for ran in story.fed_into.get(key, ()) if nodes[key].shape == () else ():
            # One with a graph had a part without parameters that train.
            if ran.net == net and ran.frozen is None and not story.built_by.get(ran.index):
                return ran
    return None


def _says_one_thing(story: Story, judge: str) -> bool:
    """Does each loss of its own pull all that it says the same way, where others learn from it?"""
    players = {player for c in story.calls_made for j, player in story.links(c) if j == judge}
    pulled = [
        one
        for player in sorted(players)
        for one in pulls_at(story, judge, judge, player) + pulls_of_all_else(story, judge, player)
    ]
    ways = {one.way for one in pulled}
    return len(ways) == 1 and None not in ways
