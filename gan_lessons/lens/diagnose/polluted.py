"""Gradients that went where they were not meant to go: a step used what was another's.

Who plays against whom follows from what the record shows, never from a name. The gradient of one
call was used by two optimizers, and it went through net N on to net M:

- N (the judge, say) also has a call of its own, about what M made but kept from M, or made after
  M had already moved: then M's call is not N's to follow;
- or a lone parameter weighs what M makes, and has a call of its own about that, kept from M;
- M (what is judged) also has a call of its own through N, which N does not follow: then N's call
  is not M's to follow. Nor is it where it went to M through a copy of N that nobody trains, such as
  a target network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.diagnose.used_again import (
    added_between,
    by_two_in_turn,
    closure_adds_up,
    past_the_scaler,
    used_twice,
)


class Mixture(NamedTuple):
    """A step moved ``net`` by calls of its own and by calls that ``other`` had used as well."""

    step: Step
    net: str
    own: frozenset[int]
    shared: frozenset[int]
    other: Step


def polluted(story: Story) -> Iterator[Finding]:
    """A step used a gradient that was meant for another step; one finding for each net."""
    if story.inside:
        return
    found: dict[str, Finding] = {one.net or "": one for one in past_the_scaler(story)}
    for rule in (
        _of_the_other_player,
        instead_of_its_own,
        used_twice,
        by_two_in_turn,
        closure_adds_up,
    ):
        for one in rule(story):
            found.setdefault(one.net or "", one)
    yield from found.values()


def _sharing(story: Story) -> Iterator[tuple[Step, str, Step]]:
    """A step of a net, and a step of another optimizer that used one of the same calls."""
    for step in story.steps:
        for net in step.nets:
            others = {s.event.index: s for call in step.calls(net) for s, _ in story.uses[call]}
            for _, other in sorted(others.items()):
                if other.event.target != step.event.target and net not in other.nets:
                    yield step, net, other


Foreign = set[tuple[object, str]]  # (kind of call, net that it was not meant for)


def _of_the_other_player(story: Story) -> list[Finding]:
    found, _ = _mixtures(story)
    return [_mixed(story, one, found) for one in found.values()]


def not_meant_for(story: Story, calls: Iterable[int]) -> set[str]:
    """The nets that one of these calls pollutes, and what the same optimizer steps with them."""
    kinds = {story.kind(story.record.backward_calls[call]) for call in calls}
    nets = {net for kind, net in _mixtures(story)[1] if kind in kinds}
    return {n for step in story.steps if nets & {*step.nets} for n in step.nets}


def _mixtures(story: Story) -> tuple[dict[str, Mixture], Foreign]:
    """Where each pollutes the other, the calls of both are shared, and none seems to have one of
    its own: what is known to be another's is left aside, until nothing new is known."""
    foreign: Foreign = set()
    found: dict[str, Mixture] = {}
    while True:
        new: Foreign = set()
        for step, net, other in _sharing(story):
            if net in found and found[net].step.event.index <= step.event.index:
                continue
            if one := _mixture(story, step, net, other, foreign):
                found[net] = one
                kinds = {story.kind(story.record.backward_calls[a]) for a in one.shared}
                kinds -= {story.kind(story.record.backward_calls[b]) for b in one.own}
                new |= {(kind, net) for kind in kinds}
        if new <= foreign:
            # What was found before all that was known: a player's own accumulated calls, say,
            # which the rival holds as well because they pollute it.
            return {n: one for n, one in found.items() if _holds(story, one, foreign)}, foreign
        foreign |= new


def _holds(story: Story, one: Mixture, foreign: Foreign) -> bool:
    return _mixture(story, one.step, one.net, one.other, foreign) is not None


def _mixed(story: Story, mixture: Mixture, found: dict[str, Mixture]) -> Finding:
    step, net, own, shared, other = mixture
    numbered = story.one_line(own, shared)
    blanks = {
        "step": story.event(step.event), "calls": story.calls(own | shared, numbered),
        "others": story.calls(shared, numbered), "by": " and ".join(other.nets),
    }  # fmt: skip
    several = blanks["others"] != story.call(min(shared), numbered)
    # A clearing in between must not throw away what the net has of its own and has yet to use.
    new = own - story.used_before(step)
    if new and min(new) > max(shared):
        fix = "Clear the gradients of {net} (zero_grad) between {first} and {last}"
        blanks["first"] = story.call(max(shared), numbered)
        blanks["last"] = story.call(min(new), numbered)
    else:
        fix = (
            "Keep the other player's call out of {net}: {named}, or freeze {net} "
            "(requires_grad_(False)) for "
        )
        fix += "those calls" if several else "that call"
        blanks["named"] = _who_is_to_receive(story, mixture, numbered, found)
    message = "{step} moved {net} by the sum of {calls}. {others} "
    message += (
        "are another player's: {by} learned from them too."
        if several
        else "is another player's: {by} learned from it too."
    )
    if again := added_between(story, step, net, shared):
        message += " And {again} added to what an earlier step of {net} had used."
        fix += ". Clear the gradients of {net} after each of its own steps as well"
        blanks["again"] = story.event(again.event)
    return story.finding(
        "polluted", "wrong", net, [*story.events_of(own | shared), step.event],
        message, fix + ".", **blanks,
    )  # fmt: skip


def _who_is_to_receive(
    story: Story, mixture: Mixture, numbered: bool, found: dict[str, Mixture]
) -> str:
    """Of each call, who is to learn from it: not always the same, and not who it pollutes as well
    (twin critics)."""
    users: dict[str, set[str]] = {}
    for call in sorted(mixture.shared):
        polluted = {n for n, one in found.items() if call in one.shared}
        learned = {n for _, n in story.uses[call]} - {mixture.net}
        quoted = story.call(call, numbered)
        users[quoted] = users.get(quoted, set()) | (learned - polluted or learned)
    last = {story.call(call, numbered): call for call in sorted(mixture.shared)}
    lists: dict[str, list[str]] = {}
    for quoted, nets in users.items():
        lists.setdefault(story.parameters_of(sorted(nets), last[quoted]), []).append(quoted)
    return "; ".join(
        f"in {' and '.join(calls)}, name who is to receive, `backward(inputs={nets})`"
        for nets, calls in lists.items()
    )


def _mixture(story: Story, step: Step, net: str, other: Step, foreign: Foreign) -> Mixture | None:
    made = story.record.backward_calls
    mine = {c for c in step.calls(net) if (story.kind(made[c]), net) not in foreign}
    theirs = {c for c in story.used_by[other.event.target]
              if any((story.kind(made[c]), n) not in foreign for n in other.nets)}  # fmt: skip
    own = {b for b in mine - theirs if not _has_a_partner(story, b, net, step, foreign)}
    shared = (step.calls(net) & other.calls()) - own
    for a in shared:
        for rival, through in ((r, t) for r in other.nets for t in (r, *story.copies_of(r))):
            if _reverses(story, a, net, through):
                continue
            if net in story.record.lone:  # a factor: no gradient goes on behind it
                found = {b for b in own if _weighs(story, b, rival, other)}
            elif through == rival and (net, rival) in story.links(made[a]):
                found = {b for b in own if _judges(story, a, b, net, rival, other)}
            elif (through, net) in story.links(made[a]):
                found = {b for b in own if _is_judged(story, a, b, net, rival, other)}
            else:
                continue
            if found:
                return Mixture(step, net, frozenset(own), shared, other)
    return None


def _has_a_partner(story: Story, call: int, net: str, step: Step, foreign: Foreign) -> bool:
    """Did the call go through ``net`` to a net of another optimizer that learned from it as well?
    Then it is as shared as the one in question: a head that serves two encoders, say."""
    made = story.record.backward_calls[call]
    lower = {m for n, m in story.links(made) if n == net} - {*step.nets}
    return any(n in lower and (story.kind(made), n) not in foreign for _, n in story.uses[call])


def _judges(story: Story, a: int, b: int, net: str, rival: str, other: Step) -> bool:
    """``a`` went through ``net`` on to ``rival``. Is ``b`` what ``net`` should learn from?"""
    calls = story.record.backward_calls
    if story.kept_from(calls[b], rival):
        return True
    later = story.events[b].index > other.event.index
    return later and not story.through(calls[a], net) & story.through(calls[b], net)


def _weighs(story: Story, b: int, rival: str, other: Step) -> bool:
    """Is ``b`` about what ``rival`` made, kept from it, and later than the step that used ``a``?
    Who means to sum the two calls runs both before the steps."""
    call = story.record.backward_calls[b]
    return story.events[b].index > other.event.index and story.kept_from(call, rival)


def _is_judged(story: Story, a: int, b: int, net: str, rival: str, other: Step) -> bool:
    """``a`` went through ``rival`` on to ``net``. Does ``b`` too, and teaches ``net`` alone?"""
    calls = story.record.backward_calls
    if (rival, net) not in story.links(calls[b]):
        return False
    later = story.events[b].index > other.event.index
    return later or bool(story.through(calls[a], net) & story.through(calls[b], net))


def _reverses(story: Story, call: int, net: str, rival: str) -> bool:
    """Does a function of somebody's own stand between the two? It may reverse the gradient.

    A compiled net is one such function, and is no stranger. One that belongs to a net counts where
    the gradient leaves the net through it, with no parameter and no change of shape.
    """
    nodes, pair = story.record.graph.nodes, {net, rival}
    nets: dict[int, frozenset[str]] = {}  # node -> who of the two lies right behind it
    strange: set[int] = set()  # nodes behind which such a function was passed since
    for key in story.record.backward_calls[call].nodes:  # inputs come first
        node, mine = nodes[key], story.owner[key]
        inputs = [i for i in node.inputs if i in nets]
        behind = frozenset().union(*(nets[i] for i in inputs))
        custom = bool(re.search(r"Backward$", node.op)) and "CompiledFunction" not in node.op
        if mine not in pair:
            nets[key] = behind
            if behind and (custom or strange & {*inputs}):
                strange.add(key)
            continue
        lone = custom and len(node.inputs) == 1 and nodes[node.inputs[0]].shape == node.shape
        others = {i for i in inputs if nets[i] - {mine}}
        if others and (lone or strange & others):
            return True
        nets[key] = frozenset([mine]) if mine else behind
        if lone:
            strange.add(key)
    return False


def instead_of_its_own(story: Story) -> Iterator[Finding]:
    """Its own gradient was cleared before the step, which then used the other player's only."""
    for step, net, other in _sharing(story):
        mine = step.calls(net)
        passed = {rival for c in mine for n, rival in
                  story.links(story.record.backward_calls[c]) if n == net}  # fmt: skip
        if not mine <= other.calls() or not passed & {*other.nets}:
            continue
        lost = [
            c.index
            for c in story.calls_between(story.step_before(step, net), step.event.index)
            if set(story.receivers(c)) == {net} and c.index not in story.uses
        ]
        if not lost:
            continue
        yield story.finding(
            "polluted", "wrong", net, [*story.events_of([*lost, *mine]), step.event],
            "{step} moved {net} by {calls}, from which {by} learned too. What {lost} had "
            "computed for {net} alone was cleared before.",
            "Let {net} step after {lost}, before its gradients are cleared.",
            step=story.event(step.event), calls=story.calls(mine), lost=story.calls(lost),
            by=" and ".join(other.nets),
        )  # fmt: skip


def from_before(story: Story) -> Iterator[Finding]:
    """A step used the sum of a new gradient and one from before the recording.

    It may be a forgotten ``zero_grad``, or a sum over batches: the record cannot know.
    """
    told: set[str] = set()
    for step in story.steps:
        for (net, _), state in step.used.items():
            if not state.before or not state.sources or net in told:
                continue
            told.add(net)
            yield story.finding(
                "from-before", "info", net, [*story.events_of(state.sources), step.event],
                "{step} used the sum of {calls} and of gradients from before the recording. Was a "
                "zero_grad forgotten, or is this a sum over batches?",
                "Record two iterations: then it shows what goes into {net}.",
                step=story.event(step.event), calls=story.calls(state.sources),
            )  # fmt: skip
