"""A loss with a minus before it, and a head that learns from it alone: it learns to be wrong."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import ADDS
from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall

ENTROPIES = ("NllLoss", "BinaryCrossEntropy")
Places = frozenset[tuple[str, str]]  # (net, parameter)


def turned_round(story: Story) -> Iterator[Finding]:
    """A term is a cross entropy to labels times a negative number, some parameters learn from it
    alone, and what is below them learns from another term too.

    As a reversal of a whole loss: whoever wants the features to fool that head has to turn round
    what goes on from the head, and not the head. (A player that only raises the loss of a judge
    does not step the judge; a head that learns rightly elsewhere is left alone, but for one that
    another optimizer holds for that.)
    """
    if story.failed or story.inside:
        return
    told = set[object]()
    for call in story.calls_made:
        signs, used = signed_terms(story, call), _used(story, call)
        for term, sign in signs.items():
            op = story.record.graph.nodes[term].op
            if sign != -1 or not op.startswith(ENTROPIES):
                continue
            others = frozenset[tuple[str, str]]().union(
                *(story.leaves_of(i) for i, s in signs.items() if i != term and s == 1)
            )
            mine = story.leaves_of(term) & used
            alone, shared = mine - _rightly_there(story, signs), mine & others
            here = call.line, alone
            if not alone or not shared or here in told or alone & _reversed_above(story, term):
                continue
            rival = _rightly(story, alone)
            if rival is None or len(rival) == 2:
                told.add(here)
                yield _turned_round(story, call, term, alone, rival)


def signed_terms(story: Story, call: BackwardCall) -> dict[int, int]:
    """What the loss is a sum of -> 1, -1, or 0 where the sign is not known."""
    graph, found = story.record.graph, dict[int, int]()
    waiting = [(key, 1) for key in call.nodes[-1:]]
    while waiting:
        key, sign = waiting.pop()
        node = graph.nodes[key]
        inputs = [i for i in node.inputs if i in graph.nodes]
        if node.op == "SubBackward0" and len(inputs) == 2:
            waiting += [(inputs[0], sign), (inputs[1], -sign)]
        elif node.op in ADDS and node.op != "SubBackward0":
            waiting += [(i, sign) for i in inputs]
        elif node.op == "NegBackward0":
            waiting += [(i, -sign) for i in inputs]
        elif node.op in ("MulBackward0", "DivBackward0") and len(inputs) == 1:
            factor = graph.factors.get(key, 0.0)
            waiting.append((inputs[0], sign * ((factor > 0) - (factor < 0))))
        else:
            found[key] = sign if found.get(key, sign) == sign else 0
    return found


def _used(story: Story, call: BackwardCall) -> Places:
    steps = [step for step, _ in story.uses.get(call.index, ())]
    return frozenset(k for step in steps for k, s in step.used.items() if call.index in s.sources)


def _rightly_there(story: Story, signs: dict[int, int]) -> Places:
    """What this loss teaches by a term that is no negative cross entropy. (Such a loss may be one
    of the samples of either domain.)"""
    nodes = story.record.graph.nodes
    found = (story.leaves_of(term) for term, sign in signs.items()
             if sign != -1 or not nodes[term].op.startswith(ENTROPIES))  # fmt: skip
    return frozenset[tuple[str, str]]().union(*found)


def _reversed_above(story: Story, term: int) -> Places:
    """What gets the gradient turned round, or stopped, by somebody's own function. Below a head
    that turns nothing round for the head."""
    passes = story.record.graph.passes
    found = (story.leaves_of(i) for i in story.reached(term) if passes.get(i, 1.0) <= 0)
    return frozenset[tuple[str, str]]().union(*found)


def _rightly(story: Story, places: Places) -> tuple[str, ...] | None:
    """None: these learn from a negative term alone. Else, where an optimizer of more than these
    steps them on that and one of these alone on others, (the one, the other); or else ()."""
    holders: dict[bool, set[str]] = {True: set(), False: set()}
    wrong = dict[int, bool]()
    for step in story.steps:
        for c in {c for k, s in step.used.items() if k in places for c in s.sources}:
            if c not in wrong:
                signs = signed_terms(story, story.record.backward_calls[c])
                terms = (i for i, sign in signs.items() if sign == -1)
                wrong[c] = any(story.leaves_of(i) & places for i in terms)
            holders[wrong[c]].add(step.event.target or "")
    here, others = holders[True], holders[False]
    if not others:
        return None
    if not len(here) == len(others) == 1 or here & others:
        return ()
    alone = _held(story, *others) <= places < _held(story, *here)
    return (*here, *others) if alone else ()


def _held(story: Story, target: str) -> Places:
    held = story.record.holds.get(target, {})
    return frozenset((net, name) for net, names in held.items() for name in names)


def _turned_round(
    story: Story, call: BackwardCall, term: int, alone: Places, rival: tuple[str, ...] | None
) -> Finding:
    nets = sorted({net for net, _ in alone})
    names = sorted(name for net, name in alone if net == nets[0])
    passes = story.record.graph.passes
    below = any(passes.get(i, 1.0) < 0 for i in story.reached(term))
    return story.finding(
        "reversed", "wrong", nets[0], [story.events[call.index]],
        "In {call} a cross entropy{where} counts negatively, and {names} of {net} learn from it "
        "alone: they learn to be wrong, "
        + ("and what is below them is turned round once more: it helps them."
           if below
           else "though {other} steps them on the positive one."
           if rival
           else "and what fools them teaches nothing."),
        "Make it a plus in the sum: the reversal below these parameters does the rest."
        if below
        else "Leave these parameters out of {target}: {other} is there for them."
        if rival
        else "Turn the gradient round below these parameters, on what goes into them (a gradient "
        "reversal there, and a plus in the sum). Or step them on the positive loss, and the rest "
        "on the negative, by an optimizer each.",
        call=story.call(call.index), where=story.in_line(story.record.graph.lines.get(term)),
        names=some(names), target=(rival or ("",))[0], other=(rival or ("",))[-1],
    )  # fmt: skip
