"""Which way the players pull a verdict: opponents pull it in opposite ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gan_lessons.lens.diagnose.overwritten import lost_numbers
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.truths import is_drawn_to_a_truth
from gan_lessons.lens.diagnose.ways import (
    Pulled,
    Way,
    by_call,
    has_a_label,
    pulls_at,
    pulls_of_all_else,
)

# (Does the judge learn to tell them apart from all else?, way) -> what is told
_ALIKE = {
    (False, -1): "{mine} and {theirs} both raise what {net} says of the output of {player}: {net} "
    "and {player} do not play against each other.",
    (False, 1): "{mine} and {theirs} both lower what {net} says of the output of {player}: {net} "
    "and {player} do not play against each other.",
    (True, -1): "{mine} and {theirs} both raise what {net} says of the output of {player}, and "
    "{net} says less of all else: it learns to tell them apart, and {player} helps it.",
    (True, 1): "{mine} and {theirs} both lower what {net} says of the output of {player}, and "
    "{net} says more of all else: it learns to tell them apart, and {player} helps it.",
    (True, 0): "{mine} and {theirs} both draw what {net} says of the output of {player} towards "
    "{label}, and {net} draws what it says of all else elsewhere: it learns to tell them apart, "
    "and {player} helps it.",
}
_TOGETHER = {
    -1: "{net} and {player} both step on {mine}, which raises what {net} says of the output of "
    "{player} and lowers what it says of all else: {net} learns to tell them apart, and {player} "
    "helps it.",
    1: "{net} and {player} both step on {mine}, which lowers what {net} says of the output of "
    "{player} and raises what it says of all else: {net} learns to tell them apart, and {player} "
    "helps it.",
    0: "{net} and {player} both step on {mine}, which draws what {net} says of the output of "
    "{player} towards {label} and what it says of all else elsewhere: {net} learns to tell them "
    "apart, and {player} helps it.",
}

_ALL_ALIKE = {
    -1: "{calls} raises what {net} says of the output of {player}, and what it says of all else as "
    "well: {net} does not learn to tell them apart.",
    1: "{calls} lowers what {net} says of the output of {player}, and what it says of all else as "
    "well: {net} does not learn to tell them apart.",
    0: "{calls} draws what {net} says of the output of {player} towards {label}, and what it says "
    "of all else as well: {net} does not learn to tell them apart.",
}


def pulled_alike(story: Story) -> Iterator[Finding]:
    """A judge, and who learns through it, pull its verdict on the same output the same way.

    Waste, for they may be meant to work together: the record knows who pulls which way, and not who
    is to be whose opponent. Wrong where the judge learns to tell the player from all else, and the
    player follows nothing but that verdict, or else is drawn to a truth that it had not been given
    (a watermark's maker helps its judge, and stays near the picture that it got). Only
    where every number of every verdict has one sign, each time; of a loss that is a distance, only
    where all are drawn to one number, and all else to another.
    """
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        mine = pulls_at(story, judge, judge, player)
        learned, judges = by_call(pulls_at(story, player, judge, player)), by_call(mine)
        ways = {*learned.values(), *judges.values()}
        way = next(iter(ways), None)
        if len(learned) < 2 or len(judges) < 2 or len(ways) != 1 or way is None:
            continue
        apart = _tells_apart(way, pulls_of_all_else(story, judge, player))
        # Where it was not kept from the player, the two may take turns at one loss.
        kept = all(story.comes_from(pull.forward, player) for pull, _ in mine)
        if not apart and (not kept or way.by == "label"):
            continue
        sure = apart and (
            _follows_nothing_else(story, learned, judge, player)
            or is_drawn_to_a_truth(story, learned, judge, player)
        )
        yield story.finding(
            "pulled-alike", "wrong" if sure else "waste", judge,
            story.events_of([*judges, *learned]),
            _ALIKE[sure or way.by == "label", _sign(way)],
            "If they are opponents, the loss of {player} has the wrong sign or the wrong label, or "
            "the whole loss of {net} has. If they are to work together, leave it."
            if sure
            else "If they are opponents, one of the two losses has the wrong sign or the wrong "
            "label. If they are to work together, leave it.",
            mine=story.calls(judges), theirs=story.calls(learned), player=player,
            label=f"{way.number:g}",
        )  # fmt: skip


def _sign(way: Way) -> int:
    return int(way.number) if way.by == "sign" else 0


def _tells_apart(way: Way, else_: Iterable[Pulled]) -> bool:
    """Is the judge's word on all else pulled the other way, each time?"""
    found = {way for _, way in else_}
    return bool(found) and all(way.against(other) for other in found)


def helps_its_judge(story: Story) -> Iterator[Finding]:
    """A judge and a player step on one call, by an optimizer each, and it is the judge's: it tells
    the player from all else, and the player follows nothing else.

    Wrong where a loss that goes through the judge to the player was computed and never used; and
    where the judge tells two such players from each other. Else it may be meant (features, and a
    head that knows them from noise), and is only noted, with the kind of update.
    """
    found = helpers(story)
    for (judge, player), (way, calls) in found.items():
        rivals = [p for j, p in found if j == judge and found[j, p][0].against(way)]
        lost = [i for i in lost_numbers(story) if {judge, player} <= story.behind[i]]
        if not rivals and not lost:
            continue
        step = next(s for s, n in story.uses[calls[0]] if n == player)
        them = sorted([player, *rivals])
        line = story.made_at(lost[-1], story.record.backward_calls[calls[0]]) if lost else None
        yield story.finding(
            "pulled-alike", "wrong", judge, [*story.events_of(calls), step.event],
            _TOGETHER[_sign(way)],
            "If they are opponents, let {them} follow a loss that pulls the other way{where}: call "
            "backward on both, `backward(retain_graph=True, inputs={judges})` on this one, "
            "and `backward(inputs={players})` on that. If they are to work together, leave it.",
            mine=story.calls(calls), player=player, label=f"{way.number:g}",
            them=" and ".join(them), judges=story.parameters_of([judge], calls[0]),
            players=story.parameters_of(them, calls[0]),
            where=f" (it is there{story.in_line(line)})" if line else "",
        )  # fmt: skip


def helpers(story: Story) -> dict[tuple[str, str], tuple[Way, list[int]]]:
    """(judge, player) -> which way the calls pull that both step on, by an optimizer each, where
    the judge learns to tell the player from all else, and the player follows nothing else."""
    found: dict[tuple[str, str], tuple[Way, list[int]]] = {}
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        ways = by_call(pulls_at(story, judge, judge, player, together=True))
        calls = [c for c in ways if _by_two(story, c, judge, player)]
        way = next(iter(ways.values()), None)
        alone = by_call(pulls_at(story, player, judge, player))
        if len(calls) < 2 or way is None or {*ways.values()} != {way} or alone:
            continue
        apart = _tells_apart(way, pulls_of_all_else(story, judge, player, together=True))
        if apart and _follows_nothing_else(story, calls, judge, player):
            found[judge, player] = way, calls
    return found


def _by_two(story: Story, call: int, judge: str, player: str) -> bool:
    """Did an optimizer use this call in the judge that does not hold the player, and the other way
    round?"""
    steps = [(step, net) for step, net in story.uses[call] if net in (judge, player)]
    return bool(steps) and all({judge, player} - {*step.nets} for step, _ in steps)


def _follows_nothing_else(story: Story, calls: Iterable[int], judge: str, player: str) -> bool:
    """Does each term from which the player learns there go through the judge?"""
    made = story.record.backward_calls
    terms = {t for i in calls for t in summed(story, made[i])[1] if player in story.behind[t]}
    return all(judge in story.behind[term] for term in terms)


def nothing_to_tell_apart(story: Story) -> Iterator[Finding]:
    """A judge is pulled the same way on what a player made and on everything else.

    Wrong where its verdicts go into what a label makes a loss (a cross entropy, a hinge), or are
    drawn to a number: then it has nothing to learn. Waste where they are raised or lowered as they
    are: a logarithm of a density rises on all data. (Or drawn to zero, as a penalty does.)
    """
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        own = [one for one in pulls_at(story, judge, judge, player)
               if story.comes_from(one.pull.forward, player)]  # fmt: skip
        other = pulls_of_all_else(story, judge, player)
        calls = {pull.call for pull, _ in own + other}
        ways = {way for _, way in own}, {way for _, way in other}
        way = next(iter(ways[0]), None)
        if ways[0] == ways[1] and len(ways[0]) == 1 and way and len(calls) > 1:
            sure = way.number != 0 and all(has_a_label(story, pull) for pull, _ in own + other)
            yield story.finding(
                "pulled-alike", "wrong" if sure else "waste", judge, story.events_of(calls),
                _ALL_ALIKE[_sign(way)],
                "One of the terms of the loss of {net} has the wrong sign or the wrong label."
                if sure
                else "If {net} is to tell them apart, one of the terms of its loss has the wrong "
                "sign or the wrong label.",
                calls=story.calls(calls), player=player, label=f"{way.number:g}",
            )  # fmt: skip
