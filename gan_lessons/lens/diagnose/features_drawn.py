"""A judge that draws its features of a player's output to those of all else: its player's loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.loss_forms import DISTANCES, SQUARES, line_of
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.turned_round import signed_terms
from gan_lessons.lens.diagnose.ways import behind, learns
from gan_lessons.lens.model import BackwardCall


def features_drawn(story: Story) -> Iterator[Finding]:
    """In one loss, from which the player does not learn, a judge learns to tell the player's output
    from all else, and is drawn to make the same of both: a distance between its features, which
    the player should make small.

    Only a distance that counts positively and has no label (a relative verdict has one), and only
    where the two verdicts are pulled opposite ways, or drawn to two numbers.
    """
    told = set[tuple[str, str]]()
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        for call in (story.record.backward_calls[c] for c in sorted(story.calls_of(judge))):
            if learns(story, call, player) or not _tells_apart(story, call, judge, player):
                continue
            term = next((t for t, sign in signed_terms(story, call).items()
                         if sign == 1 and _is_drawn(story, t, judge, player)), None)  # fmt: skip
            if term is not None and (judge, player) not in told:
                told.add((judge, player))
                yield story.finding(
                    "pulled-alike", "wrong", judge, [story.events[call.index]],
                    "{call} draws what {net} makes of the output of {player} to what it makes of "
                    "all else{where}, and by the same loss {net} learns to tell the two apart. "
                    "{player} learns nothing from that distance.",
                    "Leave this distance out of the loss of {net}, and add it to that of "
                    "{player}: there {net} runs on what {player} made with its graph, and the "
                    "other side is detached.",
                    call=story.call(call.index), player=player,
                    where=story.in_line(line_of(story, call, term)),
                )  # fmt: skip


def _is_of(story: Story, forward: int, player: str) -> bool:
    return player in behind(story, forward) or story.comes_from(forward, player)


def _is_drawn(story: Story, term: int, judge: str, player: str) -> bool:
    """Is this a distance between what the judge made of the player's output, and of all else?"""
    graph = story.record.graph
    if graph.nodes[term].op not in DISTANCES | SQUARES or graph.labels.get(term):
        return False
    outside = [i for i in story.reached(term) if graph.nodes[i].net is None]
    ends = [term, *(c.source for i in outside for c in story.cuts_into.get(i, ()))]
    sides = {graph.nodes[i].forward for end in ends for i in story.nodes_of(judge, end)}
    return {_is_of(story, f, player) for f in sides if f is not None} == {True, False}


def _tells_apart(story: Story, call: BackwardCall, judge: str, player: str) -> bool:
    """Are the judge's verdicts on the two pulled opposite ways, or drawn to two numbers?"""
    graph, found = story.record.graph, defaultdict[object, dict[bool, set[float]]](dict)
    for pull in (p for p in story.record.pulls if p.call == call.index):
        if story.record.forwards[pull.forward].net == judge:
            ways = found[pull.output].setdefault(_is_of(story, pull.forward, player), set())
            ways.add(pull.sign)
    for term in (i for i in call.nodes if i in graph.labels):
        forwards = {graph.nodes[i].forward for i in story.nodes_of(judge, term)}
        for forward in (f for f in forwards if f is not None and len(forwards) == 1):
            labels = found["labels"].setdefault(_is_of(story, forward, player), set())
            labels.add(graph.labels[term])
    for kind, row in found.items():
        mine, other = row.get(True, set()), row.get(False, set())
        known = kind == "labels" or 0 not in mine | other
        if len(mine) == len(other) == 1 and mine != other and known:
            return True
    return False
