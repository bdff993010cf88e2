"""Which way the players pull a verdict: opponents pull it in opposite ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gan_lessons.lens.diagnose.loss_forms import DISTANCES, SQUARES
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.polluted import polluted
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Line, Quarrel

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
        learns = _pulls(story, player, judge, player)
        judges = _pulls(story, judge, judge, player)
        signs = {*learns.values()} | {*judges.values()}
        if len(learns) < 2 or len(judges) < 2 or len(signs) != 1 or 0 in signs:
            continue
        apart = signs.isdisjoint(_pulls_of_all_else(story, judge, player) or signs)
        apart = apart and _follows_nothing_else(story, learns, judge, player)
        yield story.finding(
            "pulled-alike", "wrong" if apart else "waste", judge,
            story.events_of([*judges, *learns]),
            _ALIKE[apart, max(signs)],
            "If they are opponents, the loss of {player} has the wrong sign or the wrong label, or "
            "the whole loss of {net} has. If they are to work together, leave it."
            if apart
            else "If they are opponents, one of the two losses has the wrong sign or the wrong "
            "label. If they are to work together, leave it.",
            mine=story.calls(judges), theirs=story.calls(learns), player=player,
        )  # fmt: skip


def _follows_nothing_else(story: Story, calls: Iterable[int], judge: str, player: str) -> bool:
    """Does each term from which the player learns there go through the judge?"""
    made = story.record.backward_calls
    terms = {t for i in calls for t in summed(story, made[i])[1] if player in story.behind[t]}
    return all(judge in story.behind[term] for term in terms)


def _pulls_of_all_else(story: Story, judge: str, player: str) -> set[int]:
    """The signs at the judge's verdicts on what the player had no part in, in the judge's turn."""
    return {
        pull.sign
        for pull in story.record.pulls
        if story.record.forwards[pull.forward].net == judge
        and _learns(story, story.record.backward_calls[pull.call], judge)
        and not _learns(story, story.record.backward_calls[pull.call], player)
        and not story.comes_from(pull.forward, player)
        and player not in _behind(story, pull.forward)
    }


def nothing_to_tell_apart(story: Story) -> Iterator[Finding]:
    """A judge is pulled the same way on what a player made and on everything else."""
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        made, other = set[int](), set[int]()
        calls = set[int]()
        for pull in story.record.pulls:
            call = story.record.backward_calls[pull.call]
            if not _learns(story, call, judge) or _learns(story, call, player):
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


def pulled_apart(story: Story) -> Iterator[Finding]:
    """One backward pulls a judge's verdict on what a player made two opposite ways, and the judge
    steps on both: the losses of two opponents were summed.

    Only where the judge also judges what is not of that player: opposite terms of one loss (a
    variance and its logarithm) are about one output, and nothing is told apart.
    """
    for quarrel in story.record.quarrels:
        call = story.record.backward_calls[quarrel.call]
        judge = story.record.forwards[quarrel.forwards[0]].net
        sides = [{net for net, _ in story.leaves_of(node)} for node in quarrel.through]
        for player in sorted({m for n, m in story.links(call) if n == judge}):
            reaching = sum(player in side for side in sides)
            if (
                reaching
                and all(judge in side for side in sides)
                and _learns(story, call, judge)
                and _learns(story, call, player)
                and _of_one_output(story, quarrel, player)
                and _tells_apart(story, judge, player)
            ):
                yield _summed_losses(story, quarrel, judge, player, reaching)


def follows_its_opponent(story: Story) -> Iterator[Finding]:
    """A judge steps on a call of its own about what a player made, and as well on one through
    which the player learns, which pulls its verdict the other way: one optimizer holds both, say.
    """
    told = story.told_events(polluted, pulled_apart)
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        own = _pulls(story, judge, judge, player)
        theirs = _pulls(story, judge, judge, player, together=True)
        signs = {*own.values()}, {*theirs.values()}
        if signs not in (({1}, {-1}), ({-1}, {1})) or not _tells_apart(story, judge, player):
            continue
        events = {e.index: e for e in story.events_of([*own, *theirs])}
        step = next(s for s, n in story.uses[min(theirs)] if n == judge)
        if told.isdisjoint(events):
            yield story.finding(
                "polluted", "wrong", judge, [*events.values(), step.event],
                "{step} moves {net} by {theirs}, from which {player} learns as well: it pulls what "
                "{net} says of the output of {player} the other way than {own}, where {net} learns "
                "to tell that from all else.",
                "Keep {net} out of {theirs}: name who is to receive, "
                "`backward(inputs={players})`. An optimizer for each of them alone is not enough "
                "if both step there.",
                step=story.event(step.event), theirs=story.calls(theirs), own=story.calls(own),
                player=player, players=story.parameters_of([player], min(theirs)),
            )  # fmt: skip


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
        players=story.parameters_of([player], call.index),
    )  # fmt: skip


def _of_one_output(story: Story, quarrel: Quarrel, player: str) -> bool:
    """Are both verdicts on the same; or is one on what was cut off from the player, the other not?
    Two verdicts on two outputs, both with their graphs, may well go opposite ways."""
    one, two = quarrel.forwards
    if one == two:
        return True
    linked = [player in _behind(story, f) for f in (one, two)]
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


def _tells_apart(story: Story, judge: str, player: str) -> bool:
    """Does the judge learn from what the player had no part in as well, in a forward of its own or
    in one batch with what the player made?"""
    nodes = story.record.graph.nodes
    calls = [story.record.backward_calls[c] for c in story.calls_of(judge)]
    for forward in {f for call in calls for f in call.forwards}:
        if story.record.forwards[forward].net != judge:
            continue
        if player not in _behind(story, forward) and not story.comes_from(forward, player):
            return True
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
    nodes, above = story.record.graph.nodes, [{i} for i in quarrel.through]
    for key in call.nodes:  # inputs come first
        for found in above:
            if found & {*nodes[key].inputs}:
                found.add(key)
    both = above[0] & above[1]
    joined = {_place(x) for x in (call.line, *(x for i in both for x in _lines_of(story, i)))}
    told = []
    for found in above:
        own = [x for i in call.nodes[::-1] if i in found - both for x in _lines_of(story, i)]
        own = [x for x in own if _place(x) not in joined]
        near = [x for x in own if x.function == call.line.function]
        told += (near or own)[:1]
    return sorted(told, key=_place) if len({*map(_place, told)}) == 2 else []


def _place(line: Line) -> tuple[str, int]:
    return line.file, line.number


def _lines_of(story: Story, node: int) -> list[Line]:
    graph = story.record.graph
    return [*filter(None, [graph.lines.get(node)]), *graph.outer_lines.get(node, ())]


def _pulls(
    story: Story, learner: str, judge: str, player: str, together: bool = False
) -> dict[int, int]:
    """Backward call that only ``learner`` of the two learns from -> the sign of the gradient at the
    judge's verdict on what the player made; 0 where there are both. ``together``: calls that both
    learn from, through the judge."""
    found: dict[int, int] = {}
    rival = player if learner == judge else judge
    for pull in story.record.pulls:
        call = story.record.backward_calls[pull.call]
        if story.record.forwards[pull.forward].net != judge or _by_distance(story, call, judge):
            continue
        if not _learns(story, call, learner) or _learns(story, call, rival) != together:
            continue
        linked = player in _behind(story, pull.forward)
        of_judge = not together and learner == judge
        if story.comes_from(pull.forward, player) if of_judge else linked:
            same = found.get(pull.call, pull.sign) == pull.sign
            found[pull.call] = pull.sign if same else 0
    return found


def _learns(story: Story, call: BackwardCall, net: str) -> bool:
    return any(n == net for _, n in story.uses.get(call.index, ()))


def _by_distance(story: Story, call: BackwardCall, judge: str) -> bool:
    """Does a term that goes through the judge pull towards a target?"""
    nodes = story.record.graph.nodes
    terms = (t for t in summed(story, call)[1] if judge in story.behind[t])
    return any(nodes[t].op in DISTANCES | SQUARES for t in terms)


def _behind(story: Story, forward: int) -> set[str]:
    """The nets that a gradient at the output of a forward goes on to, beside the net itself."""
    built = story.built_by.get(forward, [])
    own = story.record.forwards[forward].net
    return {net for key in built for net in story.behind[key]} - {own}
