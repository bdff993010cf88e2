"""Terms of a summed loss from which nobody learns, while another term reaches the player."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import constant_term, summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Cut, Line


def dead_terms(story: Story) -> Iterator[Finding]:
    """A term went through a judge, and no net that learned from the call is behind it.

    Wrong where the judge's verdict on what the net made was cut off inside that term, and compared
    with what the judge says of something else: the detach is on the wrong side. (Where the other
    side is detached, or is a target, the side that is left reaches a net that learns.) Waste where
    the net's output only left for NumPy before: whether it came back into the term is not known.
    """
    for net in story.trained:
        for index in sorted(story.calls_of(net)):
            call = story.record.backward_calls[index]
            for term, judge in _without_pupils(story, call):
                if (cut := _verdict(story, term, judge, net)) is not None:
                    yield _wrong_side(story, net, judge, call, cut)
                elif lines := _through_numpy(story, call, judge, net):
                    yield _in_numpy(story, net, judge, call, lines)


def _without_pupils(story: Story, call: BackwardCall) -> Iterator[tuple[int, str]]:
    """(term, judge): nobody behind this term learns from the call; ``judge`` does from others."""
    pupils = {net for _, net in story.uses.get(call.index, ())}
    last = story.record.events[-1].grads
    for term in () if call.restricted else summed(story, call)[1]:
        for judge in story.behind[term] if not story.behind[term] & pupils else ():
            kept = any(call.index in state.sources for state in last.get(judge, {}).values())
            served = (story.kind(call), judge) in story.kinds_used  # by this line, another time
            if judge in story.trained and not kept and not served:
                yield term, judge


def _verdict(story: Story, term: int, judge: str, net: str) -> Cut | None:
    """Where the judge's verdict on what ``net`` made was cut off, inside this term."""
    cuts = (cut for node in story.reached(term) for cut in story.cuts_into.get(node, ()))
    return next((cut for cut in cuts if {judge, net} <= story.behind[cut.source]), None)


def _through_numpy(story: Story, call: BackwardCall, judge: str, net: str) -> list[Line]:
    """Where what ``net`` made for this call left torch, if no loss of ``net`` has the judge. Which
    of them came back into the term, and which went into a log, is not known."""
    if any(finding.net == net for finding in story.told(constant_term)):
        return []
    calls = [story.record.backward_calls[c] for c in story.calls_of(net)]
    if any((judge, net) in story.links(c) for c in calls):
        return []
    nodes, first = story.record.graph.nodes, min(story.through(call, judge), default=-1)
    places = [line for node, _, line in story.record.graph.left
              if node < first and net in story.behind[node] and nodes[node].forward in call.forwards
              ]  # fmt: skip
    return list(dict.fromkeys(places))


def _wrong_side(story: Story, net: str, judge: str, call: BackwardCall, cut: Cut) -> Finding:
    return story.finding(
        "cut-off", "wrong", net, [story.events[call.index]],
        "In {call} a term compares what {judge} says of the output of {net} with what it says of "
        "something else, and {net} learns nothing from it: the side of {net} was cut off by "
        "{how}{where}.",
        "Leave out {how} there, and detach the other side of this term if it is to stand still.",
        judge=judge, call=story.call(call.index), how=cut.how, where=story.in_line(cut.line),
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
