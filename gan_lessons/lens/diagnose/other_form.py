"""A judge that sees what a player made in one form in its own turn, in another in the player's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gan_lessons.lens.diagnose.loss_forms import RESHAPES
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.diagnose.ways import learns

# Operation, or function of torch -> what it is called: they bring numbers into a range.
SQUASHES = {
    "TanhBackward0": "tanh", "SigmoidBackward0": "sigmoid", "SoftmaxBackward0": "softmax",
    "tanh": "tanh", "sigmoid": "sigmoid", "special_expit": "sigmoid", "softmax": "softmax",
    "gumbel_softmax": "softmax",
}  # fmt: skip
# What leaves numbers as they are, but for place, scale and noise.
PLAIN = RESHAPES | {
    "AddBackward0", "SubBackward0", "RsubBackward1", "MulBackward0", "DivBackward0",
    "StackBackward0", "SplitBackward0", "SplitWithSizesBackward0", "UnbindBackward0",
    "NegBackward0",
    "add", "sub", "rsub", "mul", "div", "truediv", "radd", "rmul", "neg", "cat", "concat", "stack",
    "view", "reshape", "flatten", "squeeze", "unsqueeze", "expand", "permute", "transpose", "t",
    "clone", "contiguous", "to", "float", "double", "half", "cpu", "cuda", "detach", "getitem",
    "chunk", "split", "unbind", "requires_grad",
}  # fmt: skip


def other_form(story: Story) -> Iterator[Finding]:
    """In the judge's turn the output of a player goes through tanh, a sigmoid or a softmax, and in
    the player's turn nothing does that; or the other way round.

    Each time, and between the two nets, or as the last thing the player does. A choice (argmax) in
    one turn and its soft form in the other is a method.
    """
    for judge, player in sorted({pair for c in story.calls_made for pair in story.links(c)}):
        own, theirs = dict[int, frozenset[str]](), dict[int, frozenset[str]]()
        for call in story.calls_made:
            turn = theirs if learns(story, call, player) else own
            if not learns(story, call, judge if turn is own else player):
                continue
            forms = {_form(story, f, judge, player) for f in call.forwards} - {None}
            if forms:
                turn[call.index] = frozenset().union(*(f or () for f in forms))
                turn[call.index] |= {"several"} if len(forms) > 1 else set()
        found = {*own.values()}, {*theirs.values()}
        if len(found[0]) != 1 or len(found[1]) != 1:
            continue
        (mine,), (other,) = found
        words = (mine | other) & {*SQUASHES.values()}
        if mine != other and words == mine | other and frozenset() in (mine, other):
            yield _told(story, judge, player, sorted(words), (own, theirs), bool(mine))


def _told(
    story: Story,
    judge: str,
    player: str,
    words: list[str],
    turns: tuple[dict[int, frozenset[str]], dict[int, frozenset[str]]],
    in_its_own: bool,
) -> Finding:
    own, theirs = turns
    return story.finding(
        "other-form", "wrong", player, story.events_of([*own, *theirs]),
        "In {own} {judge} judges what {net} made through {words}, and in {theirs}, from which "
        "{net} learns, as it is: {net} follows a judge of something else."
        if in_its_own
        else "In {own} {judge} judges what {net} made as it is, and in {theirs}, from which {net} "
        "learns, through {words}: {net} follows a judge of something else.",
        "Put {words} between {net} and {judge} in both turns, or in none; what {judge} gets for "
        "real says in which.",
        judge=judge, own=story.calls(own), theirs=story.calls(theirs), words=" and ".join(words),
    )  # fmt: skip


def _form(story: Story, forward: int, judge: str, player: str) -> frozenset[str] | None:
    """What the player's output went through before this forward of the judge: names of
    ``SQUASHES``, and "other" for what is not plain. None: it had no part in it."""
    if story.record.forwards[forward].net != judge:
        return None
    nodes, own = story.record.graph.nodes, {*story.built_by.get(forward, ())}
    if any(f.net == player for key in own for f in story.fed_into.get(key, ())):
        return frozenset(["other"])  # made without gradients: what came then is not known
    found, waiting = _over_cuts(story, own, player)
    waiting += [i for key in own for i in nodes[key].inputs if i in nodes and i not in own]
    seen, arrived = set[int](), False
    while waiting:
        if (key := waiting.pop()) in seen or key not in nodes:
            continue
        seen.add(key)
        words, sources = _over_cuts(story, [key], player)
        found, waiting = found | words, waiting + sources
        if player not in story.behind[key]:
            continue
        mine = story.owner[key] == player
        arrived |= mine
        if mine and nodes[key].op not in RESHAPES | {*SQUASHES}:
            continue  # the player's last layer
        found.add(_word(nodes[key].op) if story.owner[key] in (None, player) else "other")
        waiting += nodes[key].inputs
    return frozenset(found - {""}) if arrived else None


def _over_cuts(story: Story, keys: Iterable[int], player: str) -> tuple[set[str], list[int]]:
    """Where these nodes took what the player had made, cut off: what it went through since, and
    the nodes that had made it."""
    cuts = [cut for key in keys for cut in story.cuts_into.get(key, ())]
    cuts = [cut for cut in cuts if player in story.behind[cut.source]]
    return {_word(name) for cut in cuts for name in cut.since}, [cut.source for cut in cuts]


def _word(op: str) -> str:
    return SQUASHES.get(op, "" if op in PLAIN else "other")
