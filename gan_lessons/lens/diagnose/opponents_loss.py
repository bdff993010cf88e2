"""A judge that steps on its opponent's loss as well, summed with its own or in the other's turn."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import SCALES, summed
from gan_lessons.lens.diagnose.polluted import polluted
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.ways import behind, learns, pulls_at, pulls_of_all_else
from gan_lessons.lens.model import BackwardCall, Line, Pull, Quarrel

# Of a term that keeps the numbers of a verdict small, whatever its label is.
PENALTIES = {"PowBackward0", "ExpBackward0", "SquareBackward0", "AbsBackward0"}


def pulled_apart(story: Story) -> Iterator[Finding]:
    """One backward pulls a judge's verdict on what a player made two opposite ways, and the judge
    steps on both: the losses of two opponents were summed.

    Only where the judge also judges what is not of that player: opposite terms of one loss (a
    variance and its logarithm) are about one output, and nothing is told apart. Or where the one
    gradient is the other, scaled: nobody means a loss and its negative. Of one number that went
    into the sum twice it is only likely: somebody may weigh it anew.
    """
    asked = set[tuple[str, str]]()
    for quarrel in story.record.quarrels:
        call = story.record.backward_calls[quarrel.call]
        judge = story.record.forwards[quarrel.forwards[0]].net
        sides = [{net for net, _ in story.leaves_of(node)} for node in quarrel.through]
        for player in sorted({m for n, m in story.links(call) if n == judge}):
            reaching = sum(player in side for side in sides)
            if not (
                reaching
                and all(judge in side for side in sides)
                and learns(story, call, judge)
                and learns(story, call, player)
                and _of_one_output(story, quarrel, player)
            ):
                continue
            if quarrel.scaled or (
                _of_one_form(story, call, quarrel)
                and _tells_apart(story, judge, player, _wish(story, quarrel, player))
            ):
                yield _summed_losses(story, quarrel, judge, player, reaching)
            elif (judge, player) not in asked and _one_number(story, call, quarrel, judge, player):
                asked.add((judge, player))
                yield _with_its_negative(story, call, quarrel, judge, player)


def follows_its_opponent(story: Story) -> Iterator[Finding]:
    """A judge steps on a call of its own about what a player made, and as well on one through
    which the player learns, which pulls its verdict the other way: one optimizer holds both, say.
    """
    told = story.told_events(polluted, pulled_apart)
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        own, theirs = _own_and_theirs(story, judge, player)
        if not own or not theirs:
            continue
        events = {e.index: e for e in story.events_of(p.call for p in own + theirs)}
        step = next(s for s, n in story.uses[theirs[0].call] if n == judge)
        if told.isdisjoint(events):
            yield story.finding(
                "polluted", "wrong", judge, [*events.values(), step.event],
                "{step} moves {net} by {theirs}, from which {player} learns as well: it pulls what "
                "{net} says of the output of {player} the other way than {own}, where {net} learns "
                "to tell that from all else.",
                "Keep {net} out of {theirs}: name who is to receive, "
                "`backward(inputs={players})`. An optimizer for each of them alone is not enough "
                "if both step there.",
                step=story.event(step.event), theirs=story.calls(p.call for p in theirs),
                own=story.calls(p.call for p in own), player=player,
                players=story.parameters_of([player], theirs[0].call),
            )  # fmt: skip


def _own_and_theirs(story: Story, judge: str, player: str) -> tuple[list[Pull], list[Pull]]:
    """The pulls by which the judge learns to tell the player from all else, and those the other way
    from which both learn. [] where they are not all alike, or it does not learn to tell them."""
    own = pulls_at(story, judge, judge, player)
    theirs = pulls_at(story, judge, judge, player, together=True)
    all_else = pulls_of_all_else(story, judge, player)
    if not own:  # neither was kept from the other
        all_else = pulls_of_all_else(story, judge, player, together=True)
        calls = {pull.call for pull, _ in all_else}
        own = [one for one in theirs if one.pull.call in calls]
        theirs = [one for one in theirs if one.pull.call not in calls]
    outputs = {one.pull.output for one in own}
    theirs = [one for one in theirs if one.pull.output in outputs]
    ways = [{one.way for one in found} for found in (own, theirs, all_else)]
    way, other = (next(iter(found), None) for found in ways[:2])
    alike = len(outputs) == 1 and [len(found) for found in ways] == [1, 1, 1]
    if not alike or way is None or not way.against(other) or ways[2] != {other}:
        return [], []
    return [one.pull for one in own], [one.pull for one in theirs]


def _summed_losses(
    story: Story, quarrel: Quarrel, judge: str, player: str, reaching: int
) -> Finding:
    call = story.record.backward_calls[quarrel.call]
    steps = [s.event for s, n in story.uses[call.index] if n in (judge, player)]
    lines = _where_they_join(story, call, quarrel)
    losses = " and ".join(f"{story.quoted(x)} ({story.place(x)})" for x in lines)
    retain = "retain_graph=True, " if reaching > 1 else ""
    return story.finding(
        "polluted", "wrong", judge, [story.events[call.index], *steps],
        "{call} sums two losses that pull what {net} says of the output of {player} in opposite "
        "ways{losses}. "
        + (
            "{net} and {player} both step on the sum: each follows the other's loss as well."
            if reaching > 1
            else "{net} steps on the sum: it follows the loss of {player} as well."
        ),
        "Send each loss backward by itself, and name who is to receive: "
        "`backward({retain}inputs={judges})` for the loss of {net}, `backward(inputs={players})` "
        "for that of {player}.",
        call=story.call(call.index), player=player, retain=retain,
        losses=f": {losses}" if losses else "",
        judges=story.parameters_of([judge], call.index),
        players=story.parameters_of(_players(story, call, player), call.index),
    )  # fmt: skip


def _one_number(
    story: Story, call: BackwardCall, quarrel: Quarrel, judge: str, player: str
) -> bool:
    """Did one number, with nothing but scaling, go into the sum with both signs, and do the two
    step by optimizers of their own?"""
    nodes, sums = story.record.graph.nodes, summed(story, call)[0]
    scaled = [[i for i in _sides(story, call, quarrel)[at] if i not in sums] for at in (0, 1)]
    linear = all(nodes[i].op in SCALES and len(nodes[i].inputs) == 1 for i in scaled[0] + scaled[1])
    held = [step.nets for step, _ in story.uses[call.index]]
    apart = not any({judge, player} <= {*nets} for nets in held)
    return linear and apart and len({*quarrel.forwards}) == 1


def _with_its_negative(
    story: Story, call: BackwardCall, quarrel: Quarrel, judge: str, player: str
) -> Finding:
    steps = [s.event for s, n in story.uses[call.index] if n in (judge, player)]
    return story.finding(
        "polluted", "waste", judge, [story.events[call.index], *steps],
        "In {call} a loss that {net} gives about the output of {player} is added and subtracted, "
        "and both step on what is left of it: {player} does not work against {net}.",
        "If they are opponents, send each loss backward by itself: `backward(retain_graph=True, "
        "inputs={judges})` for that of {net}, `backward(inputs={players})` for the one in which it "
        "is subtracted. If it is only weighed anew, write its weight once.",
        call=story.call(call.index), player=player,
        judges=story.parameters_of([judge], call.index),
        players=story.parameters_of(_players(story, call, player), call.index),
    )  # fmt: skip


def _players(story: Story, call: BackwardCall, player: str) -> list[str]:
    """All that learn from this call, but the judges of this player whom it pulls two ways."""
    forwards = (f for q in story.record.quarrels if q.call == call.index for f in q.forwards)
    nets = {story.record.forwards[f].net for f in forwards}
    judges = {net for net in nets if (net, player) in story.links(call)}
    return sorted({net for _, net in story.uses[call.index]} - judges)


def _wish(story: Story, quarrel: Quarrel, player: str) -> int:
    """Which way the player's loss pulls, where the verdicts are two: the sign where its graph goes
    on to the player. 0: not known; then either may be."""
    one, two = quarrel.forwards
    linked = [f for f in (one, two) if player in behind(story, f)]
    if len(linked) != 1:
        return 0
    found = {
        pull.sign
        for pull in story.record.pulls
        if pull.call == quarrel.call and pull.forward == linked[0]
    }
    return found.pop() if len(found) == 1 else 0


def _of_one_form(story: Story, call: BackwardCall, quarrel: Quarrel) -> bool:
    """Do both sides square or exponentiate, or neither? A penalty on the numbers of a verdict pulls
    against its label, and is no opponent's loss. A square that draws to a label other than zero is
    none; nor is one to zero where what else the judge sees is drawn to another label."""
    one, two = _sides(story, call, quarrel)
    graph = story.record.graph
    drawn = any(graph.labels.get(i) for i in call.nodes if i not in one | two)
    found = []
    for side in (one - two, two - one):
        ops = {i: graph.nodes[i].op for i in side}
        found.append(any(
            op in PENALTIES and not (i in graph.labels and (drawn or graph.labels[i]))
            for i, op in ops.items()
        ))  # fmt: skip
    return len({*found}) == 1


def _sides(story: Story, call: BackwardCall, quarrel: Quarrel) -> tuple[set[int], set[int]]:
    """The nodes that led from the loss to either side of a quarrel."""
    nodes, sides = story.record.graph.nodes, ({quarrel.through[0]}, {quarrel.through[1]})
    for key in call.nodes:  # inputs come first
        for found in sides:
            if found & {*nodes[key].inputs}:
                found.add(key)
    return sides


def _of_one_output(story: Story, quarrel: Quarrel, player: str) -> bool:
    """Are both verdicts on the same; or is one on what was cut off from the player, the other not?
    Two verdicts on two outputs, both with their graphs, may well go opposite ways."""
    one, two = quarrel.forwards
    if one == two:
        return True
    linked = [player in behind(story, f) for f in (one, two)]
    if all(linked):
        return _made_by(story, one, player) == _made_by(story, two, player) != set()
    return any(story.comes_from(f, player) for f in (one, two))


def _made_by(story: Story, forward: int, player: str) -> set[int]:
    """The nodes of the player whose output, whole, went into this forward."""
    nodes, found, seen = story.record.graph.nodes, set[int](), set[int]()
    own = {*story.built_by.get(forward, ())}
    waiting = [i for key in own for i in nodes[key].inputs if i not in own]
    while waiting:
        if (key := waiting.pop()) in seen or key not in nodes:
            continue
        seen.add(key)
        if story.owner[key] == player and not nodes[key].is_leaf:
            found.add(key)
        elif re.match("Slice|Split|Select|Index|Unbind|Narrow|Chunk|Gather", nodes[key].op):
            return set()
        else:
            waiting += nodes[key].inputs
    return found


def _tells_apart(story: Story, judge: str, player: str, towards: int = 0) -> bool:
    """Does the judge learn from what the player had no part in as well, in a forward of its own or
    in one batch with what the player made? Not where its word on that is pulled two ways, too: so
    it is with the opposite terms of one loss. ``towards``: the sign of the gradient there."""
    nodes = story.record.graph.nodes
    calls = [story.record.backward_calls[c] for c in story.calls_of(judge)]
    both = {f for q in story.record.quarrels if len({*q.forwards}) == 1 for f in q.forwards}
    signs = defaultdict[int, set[int]](set)
    for pull in story.record.pulls:
        signs[pull.forward].add(pull.sign)
    for forward in {f for call in calls for f in call.forwards}:
        if story.record.forwards[forward].net != judge:
            continue
        if player not in behind(story, forward) and not story.comes_from(forward, player):
            if forward not in both and (not towards or signs[forward] == {towards}):
                return True
            continue
        taken = {i for k in story.built_by.get(forward, ()) for i in nodes[k].inputs}
        if any(_joins_other_samples(story, i) for i in taken):
            return True
    return False


def _joins_other_samples(story: Story, key: int) -> bool:
    """Does this put together a batch of which a part has no graph (real samples, say)?"""
    node, nodes = story.record.graph.nodes[key], story.record.graph.nodes
    sizes = [shape[0] for i in node.inputs if i in nodes and (shape := nodes[i].shape)]
    whole = node.shape[0] if node.shape else 0
    return node.op == "CatBackward0" and len(sizes) == len(node.inputs) and sum(sizes) < whole


def _where_they_join(story: Story, call: BackwardCall, quarrel: Quarrel) -> list[Line]:
    """The lines of the two losses, in their order: the last that made something of either side
    alone, where backward was called rather than in a helper. [] where they are one line."""
    above = _sides(story, call, quarrel)
    both = above[0] & above[1]
    joined = {_place(x) for x in (call.line, *(x for i in both for x in story.lines_of(i)))}
    told = []
    for found in above:
        own = [x for i in call.nodes[::-1] if i in found - both for x in story.lines_of(i)]
        own = [x for x in own if _place(x) not in joined]
        near = [x for x in own if x.function == call.line.function]
        told += (near or own)[:1]
    return sorted(told, key=_place) if len({*map(_place, told)}) == 2 else []


def _place(line: Line) -> tuple[str, int]:
    return line.file, line.number
