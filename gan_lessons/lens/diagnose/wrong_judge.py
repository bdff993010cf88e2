"""A loss of one judge that asks another judge for one of its terms."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.ways import Way, pulls_at, pulls_of_all_else


def wrong_judge(story: Story) -> Iterator[Finding]:
    """All that a judge ever learns is to say one thing, whatever it sees; and in the same calls
    another judge, which has a loss of its own, is pulled the other way.

    Only where the first has an opponent, that learns through it and pulls the other way, and the
    second steps by an optimizer of its own: the two terms were meant for one judge.
    """
    found: dict[tuple[str, str, bool], tuple[list[str], list[int]]] = {}
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        made, other = pulls_at(story, judge, judge, player), pulls_of_all_else(story, judge, player)
        own = made or other
        theirs = {one.way for one in pulls_at(story, player, judge, player)}
        way = own[0].way if own else None
        if way is None or (made and other) or {one.way for one in own} != {way}:
            continue
        opposed = {w.against(way) for w in theirs if w} == {bool(made)} and None not in theirs
        calls = sorted({one.pull.call for one in own})
        if not opposed or len(calls) < 2:
            continue
        for rival in sorted({*story.trained} - {judge, player}):
            if _takes_its_place(story, judge, rival, way, calls):
                found.setdefault((judge, rival, bool(made)), ([], calls))[0].append(player)
    for (judge, rival, seen), (players, calls) in found.items():
        yield _told(story, judge, rival, " and ".join(players), calls, seen=seen)


def _takes_its_place(story: Story, judge: str, rival: str, way: Way, calls: list[int]) -> bool:
    """Is ``rival`` pulled the other way in each of these calls, and both ways in others?"""
    mine = pulls_of_all_else(story, rival, "")
    there = {one.pull.call: one.way for one in mine if one.pull.call in calls}
    elsewhere = {one.way for one in mine if one.pull.call not in calls}
    apart = all({judge, rival} - {*step.nets} for c in calls for step, _ in story.uses[c])
    against = all(w is not None and w.against(way) for w in there.values())
    return apart and against and [*there] == calls and {way, *there.values()} <= elsewhere


def _told(
    story: Story, judge: str, rival: str, player: str, calls: list[int], *, seen: bool
) -> Finding:
    forwards = [story.record.forwards[i] for i in story.record.backward_calls[calls[0]].forwards]
    forward = next(f for f in forwards if f.net == rival)
    line = f"`{forward.line.expression}`" if forward.line.expression else story.forward(forward)
    steps = [s.event for s, n in story.uses[calls[0]] if n == rival]
    return story.finding(
        "polluted", "wrong", rival, [*story.events_of(calls), *steps[:1]],
        "{judge} sees nothing but what {player} made, and learns to say one thing of it; in the "
        "same loss, {calls}, {net} is drawn the other way by {line}, and learns from that as well "
        "as from a loss of its own."
        if seen
        else "{judge} sees nothing that {player} made, and learns to say one thing of all it sees; "
        "in the same loss, {calls}, {net} is drawn the other way by {line}, and learns from that "
        "as well as from a loss of its own.",
        "Call {judge} instead of {net} there, in {line}.",
        judge=judge, player=player, calls=story.calls(calls), line=line,
    )  # fmt: skip
