"""What the form of a loss gives away: its operations, whatever its numbers are."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import FOLDABLE, BackwardCall, Line

# Operation of a loss -> the operation that it does itself, and what that is called.
DOES_ITSELF = {
    "BinaryCrossEntropyWithLogitsBackward0": ("SigmoidBackward0", "sigmoid"),
    "LogSoftmaxBackward0": ("SoftmaxBackward0", "softmax"),
    "LogSigmoidBackward0": ("SigmoidBackward0", "sigmoid"),
}
# They hand values on as they are.
RESHAPES = FOLDABLE | {
    "SqueezeBackward0", "SqueezeBackward1", "UnsqueezeBackward0", "ReshapeAliasBackward0",
    "UnsafeViewBackward0", "CloneBackward0", "ExpandBackward0", "ToCopyBackward0", "CatBackward0",
    "SelectBackward0", "SliceBackward0", "IndexBackward0",
}  # fmt: skip
DISTANCES = {"MseLossBackward0", "SmoothL1LossBackward0", "HuberLossBackward0", "L1LossBackward0"}
SQUARES = {"PowBackward0", "SquareBackward0", "AbsBackward0"}


def squashed_twice(story: Story) -> Iterator[Finding]:
    """A loss for logits got what had been through its own sigmoid (or softmax) already.

    Its gradient is damped, and never lets the output be sure of anything.
    """
    nodes = story.record.graph.nodes
    for call in story.calls_made:
        for node in (nodes[i] for i in call.nodes):
            if node.op not in DOES_ITSELF or node.net is not None:
                continue
            op, word = DOES_ITSELF[node.op]
            given = next((i for i in node.inputs if i in nodes), None)
            while given is not None and nodes[given].op in RESHAPES:
                given = next((i for i in nodes[given].inputs if i in nodes), None)
            if given is None or nodes[given].op != op:
                continue
            for net in sorted(story.behind[given] & {n for _, n in story.uses.get(call.index, ())}):
                yield story.finding(
                    "squashed-twice", "wrong", net, story.events_of([call.index]),
                    "The loss{where} takes the {word} of its input, and what it got has been "
                    "through a {word} already: the gradient that {net} gets from {call} is damped.",
                    "Take the {word} out of the net, or use a loss for probabilities: BCELoss for "
                    "BCEWithLogitsLoss, NLLLoss of the log for CrossEntropyLoss.",
                    where=story.in_line(line_of(story, call, node.id)), word=word,
                    call=story.call(call.index),
                )  # fmt: skip


def weighed_by_another(story: Story) -> Iterator[Finding]:
    """The log-probability of a sampled choice is weighed by what another net says, with its graph.

    The weight (an advantage, a reward) is a number for the policy. Here its net learns from the
    product, beside the loss of its own. That the choice was sampled from the same policy shows in a
    cut (or it ran without gradients, and what it gave picks a number here), which tells this from a
    learned weight of an ordinary loss.
    """
    for call in story.calls_made:
        terms = summed(story, call)[1]
        for term in sorted(terms):
            if (found := _product(story, term)) is None:
                continue
            policy, weight = found
            pupils = {net for _, net in story.uses.get(call.index, ())}
            extra = story.leaves_of(weight) - story.leaves_of(policy)
            own = {leaf for t in terms - {term} if _is_distance(story, t)
                   for leaf in story.leaves_of(t)}  # fmt: skip
            other = {c for net in pupils for c in story.calls_of(net)} - {call.index}
            own |= {(n, k) for c in other for n, ks in
                    story.record.backward_calls[c].received.items() for k in ks}  # fmt: skip
            for net in sorted({n for n, _ in extra & own} & pupils):
                yield story.finding(
                    "polluted", "wrong", net, story.events_of([call.index]),
                    "In {call} a log-probability of what was sampled is weighed by what {net} "
                    "says{where}, and {net} learns from that product as well as from the loss of "
                    "its own.",
                    "Detach the weight in that product (advantage.detach()): the policy alone "
                    "learns from it.",
                    call=story.call(call.index),
                    where=story.in_line(story.record.graph.lines.get(term)),
                )  # fmt: skip


def _product(story: Story, term: int) -> tuple[int, int] | None:
    """(log-probability, weight): the two factors of a term, if the first is of a sampled choice."""
    nodes = story.record.graph.nodes
    factors = nodes[term].inputs
    if nodes[term].op != "MulBackward0" or len(factors) != 2 or nodes[term].net is not None:
        return None
    for policy, weight in (factors, factors[::-1]):
        nets = story.behind[policy] & {*story.trained}
        cuts = (cut for i in story.reached(policy) for cut in story.cuts_into.get(i, ()))
        sampled = any(nets & story.behind[cut.source] and cut.how in SAMPLES for cut in cuts)
        if (sampled or _picked(story, policy, nets)) and story.leaves_of(weight):
            return policy, weight
    return None


def weighed_by_its_judge(story: Story) -> Iterator[Finding]:
    """What a player made is multiplied by what a judge says of it, with the judge's graph, and both
    step on that; the judge also has a term of its own, on what was cut off from the player.

    Waste: a weight that is a number (the gradient of a distilled score) looks like one that learns.
    """
    for call in story.calls_made:
        for judge, player in sorted(story.links(call)):
            steps = [s for s, n in story.uses.get(call.index, ()) if n in (judge, player)]
            both = {n for _, n in story.uses.get(call.index, ())} >= {judge, player}
            if not both or any({judge, player} <= {*s.nets} for s in steps):
                continue
            own = (f for c in story.calls_of(judge) for f in story.record.backward_calls[c].forwards
                   if story.record.forwards[f].net == judge)  # fmt: skip
            if not any(story.comes_from(f, player) for f in own):
                continue
            for term in sorted(
                t for t in summed(story, call)[1] if _weighs(story, t, judge, player)
            ):
                yield story.finding(
                    "polluted", "waste", judge, [story.events[call.index], steps[0].event],
                    "In {call} what {player} made is multiplied by what {net} says of it{where}: "
                    "{net} learns from that product as well as from a term of its own, which was "
                    "kept from {player}.",
                    "If {net} is to give a mere weight there, detach it in that product: then "
                    "{player} learns from the other factor alone. If {net} is to learn what it "
                    "weighs, leave it.",
                    call=story.call(call.index), player=player,
                    where=story.in_line(story.record.graph.lines.get(term)),
                )  # fmt: skip


def _weighs(story: Story, term: int, judge: str, player: str) -> bool:
    """Is the term the product of what the player made and of what the judge said of it?"""
    node = story.record.graph.nodes[term]
    if node.op != "MulBackward0" or node.net is not None or len(node.inputs) != 2:
        return False
    behind = [story.behind[i] for i in node.inputs]
    return any(judge not in a and player in a and {judge, player} <= b
               for a, b in (behind, behind[::-1]))  # fmt: skip


def _picked(story: Story, policy: int, nets: frozenset[str]) -> bool:
    """Does what one of these made without gradients pick a number on the way to ``policy``?"""
    picks = (i for i in story.reached(policy) if story.record.graph.nodes[i].op in PICKS)
    return any(f.net in nets for i in picks for f in story.fed_into.get(i, ()))


PICKS = {"GatherBackward0", "IndexBackward0", "NllLossBackward0"}
SAMPLES = {"multinomial()", "normal()", "bernoulli()", "torch.no_grad", "rsample()", "sample()"}


def _is_distance(story: Story, term: int) -> bool:
    return story.record.graph.nodes[term].op in DISTANCES | SQUARES


def moving_target(story: Story) -> Iterator[Finding]:
    """A net is drawn towards a target that it has made itself: ``r + gamma * Q(next)``.

    The target is scaled and shifted by constants, has its graph, and the other side is as the net
    made it. Waste: a gradient through both sides is a method too (a residual gradient).
    """
    for call in story.calls_made:
        pupils = {net for _, net in story.uses.get(call.index, ())}
        for term in sorted(summed(story, call)[1]):
            for one, target in _sides(story, term):
                nets = story.behind[one] & story.behind[target] & pupils
                for net in sorted(n for n in nets if _bootstraps(story, one, target, n)):
                    line = story.record.graph.lines.get(target)
                    yield story.finding(
                        "moving-target", "waste", net, story.events_of([call.index]),
                        "{call} compares what {net} says with a target that {net} has made "
                        "itself{where}, and {net} learns through both sides.",
                        "If the target is to stand still, as in temporal-difference learning, "
                        "make it under torch.no_grad() or detach it. If you mean the residual "
                        "gradient, leave it.",
                        call=story.call(call.index), where=story.in_line(line),
                    )  # fmt: skip


def _sides(story: Story, term: int) -> list[tuple[int, int]]:
    """The two sides that a term compares, in both orders."""
    nodes = story.record.graph.nodes
    node = nodes[term]
    if node.op in SQUARES:
        node = nodes[node.inputs[0]] if node.inputs and node.inputs[0] in nodes else node
    elif node.op not in DISTANCES:
        return []
    if node.op not in DISTANCES | {"SubBackward0"} or len(node.inputs) != 2:
        return []
    return [node.inputs, node.inputs[::-1]]


def _bootstraps(story: Story, one: int, target: int, net: str) -> bool:
    """Is ``target`` a scaled and shifted output of ``net``, and ``one`` an output as it is?"""
    mine, theirs = _ops_until(story, one, net), _ops_until(story, target, net)
    apart = not story.nodes_of(net, one) & story.nodes_of(net, target)
    return apart and {"scale", "shift"} <= theirs and not {"scale", "shift"} & mine


def _ops_until(story: Story, root: int, net: str) -> set[str]:
    """Between ``root`` and the nodes of ``net``: "scale" by and "shift" of a constant."""
    nodes, waiting, seen, found = story.record.graph.nodes, [root], set[int](), set[str]()
    while waiting:
        if (key := waiting.pop()) in seen or key not in nodes or story.owner[key] == net:
            continue
        seen.add(key)
        if len(nodes[key].inputs) == 1:
            found |= {"scale"} if nodes[key].op == "MulBackward0" else set()
            found |= {"shift"} if nodes[key].op in ("AddBackward0", "RsubBackward1") else set()
        waiting += nodes[key].inputs
    return found


def taught_teacher(story: Story) -> Iterator[Finding]:
    """A term draws two sides together, and one of them learns from nothing else: a teacher.

    Wrong where that side is in eval mode, in which nobody trains; else waste, for it may be meant
    (a prior that follows what it is the prior of).
    """
    told = set[object]()
    for call in story.calls_made:
        for terms, sides in drawn_together(story, call):
            others = [
                story.leaves_of(t)
                for c in story.calls_made
                if c.index in story.uses
                for t in summed(story, c)[1] - (terms if c is call else set())
                if story.record.graph.lines.get(t) != story.record.graph.lines.get(min(terms))
            ]
            known = frozenset().union(*others)
            used = {(n, k) for s, _ in story.uses.get(call.index, ()) for n, k in s.used}
            for teacher, student in (sides, sides[::-1]):
                if teacher & known or not student & known or not {*teacher} <= used:
                    continue
                if not student & used:  # nothing is drawn but this side: it is no teacher
                    continue
                net, name = min(teacher)
                asleep = all(k in story.record.evaluated.get(n, ()) for n, k in teacher)
                ran = {f.training for f in story.record.forwards if f.net == net}
                asleep |= ran == {False}
                if (net, asleep) not in told:
                    told.add((net, asleep))
                    yield _taught(story, call, net, name, len(teacher), asleep, min(terms))


def drawn_together(
    story: Story, call: BackwardCall
) -> Iterator[tuple[set[int], tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]]]:
    """The nodes of a term that draws two sides together, and the parameters behind each side."""
    nodes, terms = story.record.graph.nodes, summed(story, call)[1]
    found: list[tuple[set[int], int, int]] = []
    for term in sorted(terms):
        sides = _sides(story, term)
        found += [({term}, *sides[0])] if sides else []
        if nodes[term].op == "XlogyBackward0":  # of kl_div: t * log(t) - t * input
            target = nodes[term].inputs[0]
            for other in (t for t in terms if nodes[t].op == "MulBackward0"):
                if target in nodes[other].inputs and len({*nodes[other].inputs}) == 2:
                    given = next(i for i in nodes[other].inputs if i != target)
                    found.append(({term, other}, target, given))
    for one, a, b in found:
        left, right = story.leaves_of(a), story.leaves_of(b)
        if left and right and not left & right:
            yield one, (left, right)


def _taught(
    story: Story, call: BackwardCall, net: str, name: str, count: int, asleep: bool, term: int
) -> Finding:
    return story.finding(
        "moving-target", "wrong" if asleep else "waste", net, [story.events[call.index]],
        "{call} draws {count} parameters of {net} ({name}, ...) towards what learns from them, "
        "though they are in eval mode; nothing else teaches them."
        if asleep
        else "{call} draws {count} parameters of {net} ({name}, ...) towards what learns from "
        "them; nothing else teaches them.",
        "A teacher stands still: leave its parameters out of the optimizer, and run it under "
        "torch.no_grad()." if asleep
        else "If they are a teacher's, run it under torch.no_grad(), and leave them out of the "
        "optimizer. If they are to follow, leave it.",
        call=story.call(call.index), count=count, name=name,
    )  # fmt: skip


def line_of(story: Story, call: BackwardCall, key: int) -> Line | None:
    """The line of an operation of a loss; several operations may be one call of torch."""
    lines, nodes = story.record.graph.lines, story.record.graph.nodes
    after = (i for i in call.nodes if i in lines and key in nodes[i].inputs)
    return lines.get(key) or next((lines[i] for i in after), None)
