"""Which way the players pull a verdict: opponents pull it in opposite ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gan_lessons.lens.diagnose.loss_forms import DISTANCES, SQUARES
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Pull

# (Does the judge learn to tell them apart from all else?, sign of the gradient) -> what is told
_ALIKE = {
    (False, -1): "{mine} and {theirs} both raise what {net} says of the output of {player}: {net} "
    "and {player} do not play against each other.",
    (False, 1): "{mine} and {theirs} both lower what {net} says of the output of {player}: {net} "
    "and {player} do not play against each other.",
    (True, -1): "{mine} and {theirs} both raise what {net} says of the output of {player}, and "
    "{net} says less of all else: it learns to tell them apart, and {player} helps it.",
    (True, 1): "{mine} and {theirs} both lower what {net} says of the output of {player}, and "
    "{net} says more of all else: it learns to tell them apart, and {player} helps it.",
}


def pulled_alike(story: Story) -> Iterator[Finding]:
    """A judge, and who learns through it, pull its verdict on the same output the same way.

    Waste, for they may be meant to work together: the record knows who pulls which way, and not who
    is to be whose opponent. Wrong where the judge learns to tell the player from all else, and the
    player follows nothing but that verdict (a watermark's maker also stays near a picture). Only
    where every number of every verdict has one sign, each time, and the loss is no distance to a
    target (which pulls either way, by what the verdict is).
    """
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        learned = pulls(story, player, judge, player)
        judges = pulls(story, judge, judge, player)
        signs = {*learned.values()} | {*judges.values()}
        if len(learned) < 2 or len(judges) < 2 or len(signs) != 1 or 0 in signs:
            continue
        apart = signs.isdisjoint(pulls_of_all_else(story, judge, player) or signs)
        apart = apart and _follows_nothing_else(story, learned, judge, player)
        yield story.finding(
            "pulled-alike", "wrong" if apart else "waste", judge,
            story.events_of([*judges, *learned]),
            _ALIKE[apart, max(signs)],
            "If they are opponents, the loss of {player} has the wrong sign or the wrong label, or "
            "the whole loss of {net} has. If they are to work together, leave it."
            if apart
            else "If they are opponents, one of the two losses has the wrong sign or the wrong "
            "label. If they are to work together, leave it.",
            mine=story.calls(judges), theirs=story.calls(learned), player=player,
        )  # fmt: skip


def _follows_nothing_else(story: Story, calls: Iterable[int], judge: str, player: str) -> bool:
    """Does each term from which the player learns there go through the judge?"""
    made = story.record.backward_calls
    terms = {t for i in calls for t in summed(story, made[i])[1] if player in story.behind[t]}
    return all(judge in story.behind[term] for term in terms)


def pulls_of_all_else(story: Story, judge: str, player: str) -> set[int]:
    """The signs at the judge's verdicts on what the player had no part in, in the judge's turn."""
    return {
        pull.sign
        for pull in story.record.pulls
        if story.record.forwards[pull.forward].net == judge
        and learns(story, story.record.backward_calls[pull.call], judge)
        and not learns(story, story.record.backward_calls[pull.call], player)
        and not story.comes_from(pull.forward, player)
        and player not in behind(story, pull.forward)
    }


def nothing_to_tell_apart(story: Story) -> Iterator[Finding]:
    """A judge is pulled the same way on what a player made and on everything else."""
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        made, other = set[int](), set[int]()
        calls = set[int]()
        for pull in story.record.pulls:
            call = story.record.backward_calls[pull.call]
            if not learns(story, call, judge) or learns(story, call, player):
                continue
            if story.record.forwards[pull.forward].net != judge or _by_distance(story, call, judge):
                continue
            calls.add(pull.call)
            fed = story.comes_from(pull.forward, player)
            (made if fed else other).add(pull.sign)
        if made == other and len(made) == 1 and 0 not in made and len(calls) > 1:
            yield story.finding(
                "pulled-alike", "waste", judge, story.events_of(calls),
                "{calls} raises what {net} says of the output of {player}, and what it says of "
                "all else as well: {net} does not learn to tell them apart."
                if made == {-1}
                else "{calls} lowers what {net} says of the output of {player}, and what it says "
                "of all else as well: {net} does not learn to tell them apart.",
                "If {net} is to tell them apart, one of the terms of its loss has the wrong sign "
                "or the wrong label.",
                calls=story.calls(calls), player=player,
            )  # fmt: skip


def pulls(
    story: Story, learner: str, judge: str, player: str, together: bool = False
) -> dict[int, int]:
    """Backward call that only ``learner`` of the two learns from -> the sign of the gradient at the
    judge's verdict on what the player made; 0 where there are both. ``together``: calls that both
    learn from, through the judge."""
    found: dict[int, int] = {}
    for pull in pulls_at(story, learner, judge, player, together):
        same = found.get(pull.call, pull.sign) == pull.sign
        found[pull.call] = pull.sign if same else 0
    return found


def pulls_at(
    story: Story, learner: str, judge: str, player: str, together: bool = False
) -> list[Pull]:
    """The same, each by itself."""
    found = []
    rival = player if learner == judge else judge
    for pull in story.record.pulls:
        call = story.record.backward_calls[pull.call]
        if story.record.forwards[pull.forward].net != judge or _by_distance(story, call, judge):
            continue
        if not learns(story, call, learner) or learns(story, call, rival) != together:
            continue
        linked = player in behind(story, pull.forward)
        of_judge = not together and learner == judge
        if story.comes_from(pull.forward, player) if of_judge else linked:
            found.append(pull)
    return found


def learns(story: Story, call: BackwardCall, net: str) -> bool:
    return any(n == net for _, n in story.uses.get(call.index, ()))


def _by_distance(story: Story, call: BackwardCall, judge: str) -> bool:
    """Does a term that goes through the judge pull towards a target?"""
    nodes = story.record.graph.nodes
    terms = (t for t in summed(story, call)[1] if judge in story.behind[t])
    return any(nodes[t].op in DISTANCES | SQUARES for t in terms)


def behind(story: Story, forward: int) -> set[str]:
    """The nets that a gradient at the output of a forward goes on to, beside the net itself."""
    built = story.built_by.get(forward, [])
    own = story.record.forwards[forward].net
    return {net for key in built for net in story.behind[key]} - {own}
