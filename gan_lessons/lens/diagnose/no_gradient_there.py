"""Terms of a loss that teach nobody or the wrong way, as their numbers show.

Differences of the same, numbers that are added, gradients that are reversed in the wrong place or
not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.loss_forms import DISTANCES, SQUARES
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import REVERSAL, BackwardCall, Line

MEANS = {"MeanBackward0", "SumBackward0"}


def cancelled(story: Story) -> Iterator[Finding]:
    """What a net says is subtracted from the very same, each with its graph: zero, and so is the
    gradient. Each time that this line ran; once it may be by chance."""
    graph = story.record.graph
    places = defaultdict[tuple[Line, frozenset[str]], list[int]](list)
    for key in story.last_walk:
        node, line = graph.nodes.get(key), graph.lines.get(key)
        if line is not None and node is not None and node.op == "SubBackward0":
            places[line, story.behind[key]].append(key)
    for (_, nets), keys in places.items():
        sides = [story.leaves_of(i) for i in graph.nodes[keys[0]].inputs]
        calls = [c for c in story.calls_made if {*keys} & {*c.nodes}]
        if len(keys) < 2 or not graph.cancelled >= {*keys} or len({*sides}) != 1 or not calls:
            continue
        for net in sorted(nets & {*story.trained}):
            yield story.finding(
                "cancelled", "wrong", net, story.events_of(c.index for c in calls[:2]),
                "Both sides of the difference{where} are what {net} says of the same, with their "
                "graphs: it is zero each time, the gradients cancel, and {net} learns nothing from "
                "it in {call}.",
                "Detach the side that is to stand still, or compute it under torch.no_grad() "
                "before {net} moves.",
                where=story.in_line(graph.lines[keys[0]]), call=story.call(calls[0].index),
            )  # fmt: skip


def to_itself(story: Story) -> Iterator[Finding]:
    """A distance of what a net made to the very same, or to a detached copy of it: zero each time,
    and no gradient."""
    graph, told = story.record.graph, set[tuple[str, Line]]()
    all_at, same = defaultdict[Line, set[int]](set), defaultdict[Line, set[int]](set)
    for key in story.last_walk:
        if key in graph.lines and (taken := _distance_at(story, key)) is not None:
            all_at[graph.lines[key]].add(key)
            if key in graph.zeros and _is_to_itself(story, taken):
                same[graph.lines[key]].add(key)
    for call in story.calls_made:
        for key in (i for i in call.nodes if i in graph.lines):
            line = graph.lines[key]
            if len(same[line]) < 2 or same[line] != all_at[line] or key not in same[line]:
                continue
            for net in sorted(story.behind[key] & {n for _, n in story.uses.get(call.index, ())}):
                if (net, line) not in told:
                    told.add((net, line))
                    yield _to_itself(story, call, net, line)


def _to_itself(story: Story, call: BackwardCall, net: str, line: Line) -> Finding:
    return story.finding(
        "cancelled", "wrong", net, [story.events[call.index]],
        "The distance{where} is that of what {net} made to itself: it is zero each time, and so is "
        "its gradient. {net} learns nothing from it in {call}.",
        "Look which of the two names there is to be another one.",
        where=story.in_line(line), call=story.call(call.index),
    )  # fmt: skip


def _distance_at(story: Story, key: int) -> int | None:
    """The node that takes both sides of a distance, of which ``key`` makes one number."""
    nodes = story.record.graph.nodes
    path = [nodes[key]]
    while path[-1].op in MEANS | SQUARES and len(path[-1].inputs) == 1:
        path.append(nodes[path[-1].inputs[0]])
    if path[-1].op in DISTANCES and nodes[key].shape == ():
        return path[-1].id
    squared = any(node.op in SQUARES for node in path)
    return path[-1].id if path[-1].op == "SubBackward0" and squared else None


def _is_to_itself(story: Story, key: int) -> bool:
    """Does a node take one and the same tensor twice, one of the two perhaps detached? (What comes
    of one operation may be several tensors: their numbers have to tell, too.)"""
    inputs = story.record.graph.nodes[key].inputs
    copies = {cut.source for cut in story.cuts_into.get(key, ()) if cut.how != "torch.no_grad"}
    return len({*inputs}) == 1 and (len(inputs) == 2 or {*inputs} == copies)


def added_number(story: Story, call: BackwardCall) -> int | None:
    """The sum in the loss of ``call`` to which a Python number was added that is another one each
    time: it was read off a tensor, for nobody sets such a number by hand."""
    graph = story.record.graph
    for key in summed(story, call)[0]:
        line = graph.lines.get(key)
        values = {v for k, v in graph.constants.items() if graph.lines.get(k) == line}
        if key in graph.constants and len(values) > 1:
            return key
    return None


def reversals(story: Story) -> Iterator[Finding]:
    """A function of somebody's own hands its input on as it is, and multiplies the gradient.

    Below zero, at a number: all nets behind it are reversed, the one that judges too. Above zero,
    between two nets that learn from one call: they pull the same way (waste where it is one: then
    the function does nothing).
    """
    told = set[tuple[object, ...]]()
    for call in story.calls_made:
        pupils = {net for _, net in story.uses.get(call.index, ())}
        for key in (i for i in call.nodes if i in story.record.graph.passes):
            factor, node = story.record.graph.passes[key], story.record.graph.nodes[key]
            # Not its own net: it may have been met first inside the net that goes on from it.
            behind = frozenset().union(*(story.behind[i] for i in node.inputs)) & pupils
            pairs = {(n, m) for n, m in story.links(call) if m in behind and n in pupils}
            if factor < 0 and node.shape == ():
                tops = {n for n, _ in pairs if n in behind} - {m for _, m in pairs}
                found = [_of_the_judge(story, call, key, top) for top in sorted(tops)]
            elif factor > 0:
                above = _nets_above(story, call, key) & pupils
                pairs = {(n, m) for n, m in pairs if n in above and n not in behind}
                found = [_not_reversed(story, call, key, n, m) for n, m in sorted(pairs)]
            else:
                continue
            for one in found:
                if (one.code, one.net, one.message) not in told:
                    told.add((one.code, one.net, one.message))
                    yield one


def uncalled_reversals(story: Story) -> Iterator[Finding]:
    """A module with the name of a reversal, whose ``backward`` is a mere method."""
    for net, path in story.record.unreversed.items():
        calls = [c for c in story.calls_made if story.through(c, net)]
        for call in calls[:1]:
            yield story.finding(
                "reversed", "wrong", net, [story.events[call.index]],
                "{path} of {net} has the name of a reversal, and is a module: torch never calls "
                "its method backward, and in {call} the gradient goes on as it comes.",
                "Make it a torch.autograd.Function whose backward turns the gradient round, and "
                "call its apply in the forward.",
                path=path, call=story.call(call.index),
            )  # fmt: skip


def _of_the_judge(story: Story, call: BackwardCall, key: int, judge: str) -> Finding:
    return story.finding(
        "reversed", "wrong", judge, [story.events[call.index]],
        "{op} reverses the gradient of a whole loss in {call}: that of {net}, too, which this loss "
        "is there to teach. {net} learns to be wrong.",
        "Reverse between {net} and what it judges: on what goes into {net}, not on the loss.",
        call=story.call(call.index), op=story.record.graph.nodes[key].op,
    )  # fmt: skip


def _not_reversed(story: Story, call: BackwardCall, key: int, judge: str, net: str) -> Finding:
    factor, op = story.record.graph.passes[key], story.record.graph.nodes[key].op
    if REVERSAL.search(op):
        return story.finding(
            "reversed", "wrong", net, [story.events[call.index]],
            "{op}, between {net} and {judge}, has the name of a reversal, and in {call} it does "
            "not reverse the gradient: {net} and {judge} pull the same way.",
            "Look at the sign in its backward and at that of its factor: one of the two is to be "
            "negative, and not both.",
            call=story.call(call.index), op=op, judge=judge,
        )  # fmt: skip
    return story.finding(
        "reversed", "waste" if factor == 1 else "info", net, [story.events[call.index]],
        "{op} hands on what goes from {net} into {judge}, and in {call} multiplies the gradient by "
        "{factor:.3g}: {net} and {judge} pull the same way."
        if factor != 1
        else "{op} hands on what goes from {net} into {judge}, and its gradient as well: in {call} "
        "it changes nothing.",
        "If it is to reverse the gradient, its backward lacks the minus.",
        call=story.call(call.index), op=op, judge=judge, factor=factor,
    )  # fmt: skip


def _nets_above(story: Story, call: BackwardCall, key: int) -> set[str]:
    """The nets from which this call went on to the node ``key``."""
    nodes, above = story.record.graph.nodes, {key}
    for i in call.nodes:  # inputs come first
        if above & {*nodes[i].inputs}:
            above.add(i)
    return {net for i in above - {key} if (net := story.owner[i]) is not None}
