"""Terms of a summed loss from which nobody learns, while another term reaches the player."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.choices import CHOICES, SOFT_CHOICE
from gan_lessons.lens.diagnose.ownership import exchanged
from gan_lessons.lens.diagnose.partly_cut_off import constant_term, summed, without_pupils
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Cut, Forward, Line


def dead_terms(story: Story) -> Iterator[Finding]:
    """A term went through a judge, and no net that learned from the call is behind it.

    Wrong where the judge's verdict on what the net made was cut off inside that term, and compared
    with what the judge says of something else: the detach is on the wrong side. (Where the other
    side is detached, or is a target, the side that is left reaches a net that learns.) Wrong, too,
    where the judge got what the net had made cut off, or where it judges something else there, and
    judges the net in its own turn only. Waste where the net's output only left for NumPy before:
    whether it came back into the term is not known.
    """
    crossed = {one.net for one in story.told(exchanged)}
    for net in (net for net in story.trained if net not in crossed):
        for index in sorted(story.calls_of(net)):
            call = story.record.backward_calls[index]
            for term, judge in without_pupils(story, call):
                if _taught_by(story, term, judge):
                    continue
                if (cut := _verdict(story, term, judge, net)) is not None:
                    yield _wrong_side(story, net, judge, call, cut)
                elif (judged := _on_a_copy(story, call, term, judge, net)) is not None:
                    yield _judged_a_copy(story, net, judge, call, judged)
                elif lines := _through_numpy(story, call, judge, net):
                    yield _in_numpy(story, net, judge, call, lines)
                elif _on_something_else(story, judge, net):
                    yield _judged_something_else(story, net, judge, call, term)


def _verdict(story: Story, term: int, judge: str, net: str) -> Cut | None:
    """Where the judge's verdict on what ``net`` made was cut off, inside this term."""
    cuts = (cut for node in story.reached(term) for cut in story.cuts_into.get(node, ()))
    return next((cut for cut in cuts if {judge, net} <= story.behind[cut.source]), None)


def _taught_by(story: Story, term: int, judge: str) -> bool:
    """Is the term one of those by which the judge learns in its own turn? Then it was added to this
    loss for nothing, and nothing is missing."""
    graph = story.record.graph

    def place(node: int) -> object:
        forward = graph.nodes[node].forward  # a verdict of which only a mean is taken is the net's
        ran = None if forward is None else story.record.forwards[forward].line
        return graph.lines.get(node, ran), graph.outer_lines.get(node, ())[:1]

    own = (story.record.backward_calls[c] for c in story.calls_of(judge))
    return any(place(t) == place(term) for call in own for t in summed(story, call)[1])


def _on_a_copy(story: Story, call: BackwardCall, term: int, judge: str, net: str) -> Forward | None:
    """The judge's forward in this term, if it got what ``net`` had made cut off, while ``net``
    learns through the judge elsewhere in this call."""
    if (judge, net) not in story.links(call):
        return None
    nodes = story.record.graph.nodes
    inside = {nodes[i].forward for i in story.reached(term)}
    forwards = [f for f in story.record.forwards if f.index in inside]
    return next((f for f in forwards if f.net == judge and story.comes_from(f.index, net)), None)


def _on_something_else(story: Story, judge: str, net: str) -> bool:
    """Does the judge learn to judge what ``net`` made, and ``net`` by no call through the judge?"""
    made = story.record.backward_calls
    if any((judge, net) in story.links(made[c]) for c in story.calls_of(net)):
        return False
    own = {f for c in story.calls_of(judge) for f in made[c].forwards}
    return any(
        story.comes_from(f, net) for f in own if story.record.forwards[f].net == judge
    ) and not any(finding.net == net for finding in story.told(constant_term))


def _through_numpy(story: Story, call: BackwardCall, judge: str, net: str) -> list[Line]:
    """Where what ``net`` made for this call left torch, if no loss of ``net`` has the judge. Which
    of them came back into the term, and which went into a log, is not known."""
    if any(finding.net == net for finding in story.told(constant_term)):
        return []
    calls = [story.record.backward_calls[c] for c in story.calls_of(net)]
    if any((judge, net) in story.links(c) for c in calls):
        return []
    nodes, first = story.record.graph.nodes, min(story.through(call, judge), default=-1)
    made = {i for i in nodes if nodes[i].net == net and nodes[i].forward in call.forwards}
    places = [line for node, _, line in story.record.graph.left
              if node < first and made & story.reached(node)]  # fmt: skip
    return list(dict.fromkeys(places))


def _wrong_side(story: Story, net: str, judge: str, call: BackwardCall, cut: Cut) -> Finding:
    return story.finding(
        "cut-off", "wrong", net, [story.events[call.index]],
        "In {call} a term compares what {judge} says of the output of {net} with what it says of "
        "something else, and {net} learns nothing from it: the side of {net} was cut off by "
        "{how}{where}.",
        "{soft} Detach the other side of this term if it is to stand still."
        if cut.how in CHOICES
        else "Leave out {how} there, and detach the other side of this term if it is to stand "
        "still.",
        judge=judge, call=story.call(call.index), how=cut.how, where=story.in_line(cut.line),
        soft=SOFT_CHOICE,
    )  # fmt: skip


def _judged_a_copy(
    story: Story, net: str, judge: str, call: BackwardCall, forward: Forward
) -> Finding:
    return story.finding(
        "cut-off", "wrong", net, [story.events[call.index]],
        "In {call} a term teaches nobody: it is made of {forward}, where {judge} got a copy of the "
        "output of {net} that was cut off, and {judge} does not step on this call.",
        "Make this term of what {judge} says of the output of {net} itself, with its graph.",
        judge=judge, call=story.call(call.index), forward=story.forward(forward),
    )  # fmt: skip


def _judged_something_else(
    story: Story, net: str, judge: str, call: BackwardCall, term: int
) -> Finding:
    return story.finding(
        "cut-off", "wrong", net, [story.events[call.index]],
        "In {call} the term that comes from {judge}{where} teaches nobody: {judge} judges there "
        "what {net} had no part in, and does not step on this call. {judge} learns to judge {net}, "
        "and {net} learns from no loss that goes through {judge}.",
        "In this term, give {judge} what {net} made, with its graph. If the term is there for "
        "{judge}, leave it out of this loss.",
        judge=judge, call=story.call(call.index),
        where=story.in_line(story.record.graph.lines.get(term)),
    )  # fmt: skip


def _in_numpy(story: Story, net: str, judge: str, call: BackwardCall, lines: list[Line]) -> Finding:
    return story.finding(
        "cut-off", "waste", net, [story.events[call.index]],
        "In {call} the term that comes from {judge} teaches nobody, and what {net} made left torch "
        "for NumPy{where}.",
        "If this term judges that output, {net} should learn from it: stay in torch, for what "
        "comes back from NumPy has no graph. If it judges something else, leave it out of this "
        "loss.",
        judge=judge, call=story.call(call.index), where=" and".join(map(story.in_line, lines)),
    )  # fmt: skip
