"""A net that learns, and not from all that was meant for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gan_lessons.lens.diagnose.choices import CHOICES, RESAMPLED, SOFT_CHOICE
from gan_lessons.lens.diagnose.cut_distance import cut_distance, is_a_distance
from gan_lessons.lens.diagnose.judges_of import judges_of
from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.diagnose.straight_through import kept, straight_through
from gan_lessons.lens.model import BackwardCall, Cut

ANEW = ("tensor()", "as_tensor()")  # a tensor made of numbers, which were read off other ones
CUTS = ("detach()", "detach_()", ".data")
ADDS = ("AddBackward0", "SubBackward0", "SumBackward0", "StackBackward0", "MeanBackward0")
STACKED = (
    "Put the terms together by torch.stack(...), or add them up: both keep the graph. "
    "torch.{how} makes a new tensor of their numbers, and no gradient goes back from a number."
)
SCALES = ("MulBackward0", "DivBackward0", "NegBackward0")


def constant_term(story: Story) -> Iterator[Finding]:
    """A term of the loss is another net's verdict on what this net made, and teaches it nothing.

    None of the calls that the net learned from walks through the other net and on to it. A number
    is added, of the batch or of each sample, and what this net had made was cut off before it: with
    the verdict, or before.
    """
    for net in story.trained:
        used = [story.record.backward_calls[c] for c in sorted(story.calls_of(net))]
        linked = {n for call in used for n, m in story.links(call) if m == net}
        told = {net, *linked}
        for call, (cut, judges) in ((c, term) for c in used for term in _terms(story, c, net)):
            for judge in judges_of(story, net, cut, judges - told):
                told.add(judge)
                if judge in story.trained and call.index not in story.calls_of(judge):
                    seen = ((c, js) for c, js in _terms(story, call, net) if judge in js)
                    cuts = [c for c, _ in seen if story.met(c, judge)]
                    between = _handed_to(story, net, judge, call, cut)
                    yield (
                        _constant(story, net, judge, call, cut, cuts)
                        if between is None
                        else _may_be_meant(story, (net, between, judge), call, cut)
                    )
            whole = story.record.graph.nodes[cut.target].op in ADDS  # the term itself
            fixed = judges - {*story.trained}
            again = whole and judges - fixed <= {net, *linked} and cut.how != "torch.no_grad"
            inside = cut.through not in {None, *fixed} or bool(slopes_behind(story, cut))
            anew = _is_made_anew(story, cut)
            apart = not anew and is_a_distance(story, cut)
            if (judges == {net} or again) and not inside and (anew or apart or _is_compared(cut)):
                by_name = again and cut.how in CUTS
                judge = " and ".join(sorted(judges - fixed - {net})) if by_name else ""
                features = anew or (by_name and (fixed or _is_judged(story, cut)))
                judged = cut.judged or bool(features)
                yield (
                    cut_distance(story, net, call, cut)
                    if apart
                    else _added_without_gradients(story, net, call, cut, judge, judged=judged)
                )


def _terms(story: Story, call: BackwardCall, net: str) -> Iterator[tuple[Cut, frozenset[str]]]:
    """Cuts behind a term that is added to the loss, and the nets that the term came through."""
    nodes, walked = story.record.graph.nodes, {*call.nodes}
    sums = summed(story, call)[0]  # one sample at a time, too
    for node in (nodes[i] for i in call.nodes):
        if node.op not in ADDS or not (node.shape == () or node.id in sums) or node.net is not None:
            continue
        for cut in story.cuts_into.get(node.id, ()):  # the term is a constant
            if net in (nets := story.made_from(cut)) and not straight_through(story, cut):
                yield cut, nets
        for term in (i for i in node.inputs if i in walked and net not in story.behind[i]):
            cuts = (c for i in story.reached(term) for c in story.cuts_into.get(i, ()))
            made = (c for c in cuts if net in story.made_from(c))
            yield from ((c, story.behind[term]) for c in made if not straight_through(story, c))


def _handed_to(story: Story, net: str, judge: str, call: BackwardCall, cut: Cut) -> str | None:
    """A player that got the detached value, made something of it, learns from what the judge says
    of that, and has another optimizer than ``net``, or else hands a gradient on to it in another
    term. (``net`` learns from a loss of its own, too: the cut may keep the two apart.)"""
    pupils = {n for _, n in story.uses.get(call.index, ())} - {net, judge}
    owners = {story.owner[i] for i in story.above(cut.target, {*call.nodes})}
    mine = [call, *(story.record.backward_calls[c] for c in story.calls_of(net))]
    for one in sorted(pupils & owners if judge in owners else ()):
        together = any({net, one} <= {*step.nets} for step in story.steps)
        if not together or any((one, net) in story.links(c) for c in mine):
            return one
    return None


def _may_be_meant(
    story: Story, nets: tuple[str, str, str], call: BackwardCall, cut: Cut
) -> Finding:
    net, between, judge = nets
    return story.finding(
        "cut-off", "info", net, [story.events[call.index]],
        "In {call} what {net} made goes to {between} cut off by {how}{where}, and {judge} judges "
        "what {between} made of it: {net} learns from other terms, and not from this one. Is that "
        "meant?",
        "If {net} should learn from {judge}, too, hand on what {net} made with its graph. If the "
        "cut is there to keep the two apart, leave it.",
        between=between, judge=judge, call=story.call(call.index), how=cut.how,
        where=story.in_line(cut.line),
    )  # fmt: skip


def _constant(
    story: Story, net: str, judge: str, call: BackwardCall, cut: Cut, cuts: list[Cut]
) -> Finding:
    """``cuts``: all that belong to terms of this judge; each has to go."""
    alike = dict.fromkeys(story.in_line(c.line) for c in cuts if c.how == cut.how)
    if story.owner[cut.source] == net and judge in story.behind[cut.source]:
        return story.finding(
            "cut-off", "wrong", net, [story.events[call.index]],
            "In {call} a term is a constant for {net}: what {net} said of the output of {judge} "
            "was cut off by {how}{where}, after {net}. {net} learns nothing from this term.",
            "Cut off what goes into {net}, and not what comes out of it: for this term call {net} "
            "again, on the detached output of {judge}.",
            judge=judge, call=story.call(call.index), how=cut.how, where=story.in_line(cut.line),
        )  # fmt: skip
    return story.finding(
        "cut-off", "wrong", net, [story.events[call.index]],
        "{net} learns nothing from {judge}: in {call} the term that comes from {judge} is a "
        "constant for {net}. It was cut off by {how}{where}, and no other loss of {net} goes "
        "through {judge}.",
        SOFT_CHOICE
        if cut.how in CHOICES
        else STACKED
        if cut.how in ANEW
        else RESAMPLED
        if cut.line is not None and ".sample(" in cut.line.expression
        else "Compute this term with gradients on: call {judge} again for it, on what {net} made, "
        "with no detach() and no torch.no_grad() on the way to the loss.",
        judge=judge, call=story.call(call.index), how=cut.how, where=" and".join(alike),
    )  # fmt: skip


def _is_judged(story: Story, cut: Cut) -> bool:
    """Had it gone through weights that no optimizer holds, outside the nets, when it was cut?"""
    return not story.record.graph.judged.isdisjoint([cut.source, *story.reached(cut.source)])


def slopes_behind(story: Story, cut: Cut) -> frozenset[int]:
    """The gradients with a graph that the value was made of before it was cut off: a penalty."""
    return story.record.graph.curved & {cut.source, *story.reached(cut.source)}


def _is_compared(cut: Cut) -> bool:
    """Was a loss made of it, after it was cut off? (A loss that is made and then detached may be
    there for what is printed.)"""
    return (
        cut.how == "torch.no_grad"
        or cut.judged
        or any(re.search("loss|entropy|kl_div|cosine_sim", name) for name in cut.since)
    )


def _is_made_anew(story: Story, cut: Cut) -> bool:
    """Was a new tensor made of the number, and what had that number walked by nobody? Then no loss
    of its own teaches what this term does not."""
    return cut.how in ANEW and cut.source not in story.last_walk


_A_CONSTANT = {  # (was it computed under no_grad, did a fixed net judge it) -> what is told
    (True, True): "In {call} a term made of the output of {net} is a constant: it was computed "
    "under torch.no_grad{where}, through the weights of a fixed net, and {net} learns nothing from "
    "it.",
    (True, False): "In {call} a term made of the output of {net} is a constant: it was computed "
    "under torch.no_grad{where}, and {net} learns nothing from it.",
    (False, True): "In {call} a term made of the output of {net} is a constant: it was made of "
    "what {how} had cut off{where}, through the weights of a fixed net, and {net} learns nothing "
    "from it.",
    (False, False): "In {call} a term made of the output of {net} is a constant: it was made of "
    "what {how} had cut off{where}, and {net} learns nothing from it.",
}


def _added_without_gradients(
    story: Story, net: str, call: BackwardCall, cut: Cut, judge: str, *, judged: bool
) -> Finding:
    """It is a loss where a fixed net judged, or a loss function compared, or features of ``judge``,
    which learns, were detached before they were compared; else it may be for a log."""
    no_grad = cut.how == "torch.no_grad"
    sure = judged or judge or any(re.search("loss|cross_entropy", name) for name in cut.since)
    if cut.how in ANEW:
        return story.finding(
            "cut-off", "wrong" if judged else "waste", net, [story.events[call.index]],
            "In {call} a term made of the output of {net} is a constant: torch.{how} made it anew "
            "of mere numbers{where}, and {net} learns nothing from it.",
            STACKED,
            call=story.call(call.index), where=story.in_line(cut.line), how=cut.how,
        )  # fmt: skip
    return story.finding(
        "cut-off", "wrong" if sure else "waste", net, [story.events[call.index]],
        _A_CONSTANT[no_grad, judged],
        "If {net} is to learn from this term, compute it with gradients on: a fixed net is frozen "
        "by requires_grad_(False), not by torch.no_grad(). If it is for a log, leave it out of the "
        "loss."
        if no_grad
        else "If {net} is to learn from this term, make it of the output of {net} itself, without "
        "{how}, and call {judge} again on that. If it is for a log, leave it out of the loss."
        if judge
        else "If {net} is to learn from this term, make it of the output of {net} itself, without "
        "{how}. If it is for a log, leave it out of the loss.",
        judge=judge, call=story.call(call.index), where=story.in_line(cut.line), how=cut.how,
    )  # fmt: skip


def mere_number(story: Story) -> Iterator[Finding]:
    """A penalty on a gradient is added to the loss, and that gradient has no graph.

    What is added, with nothing but sums, means and scaling from there to the loss, is no part of
    any gradient. As a factor (an adaptive weight) or inside a net (an attack) it would be.
    """
    for slope in story.record.graph.slopes:
        inner = [e for e in story.record.events if e.kind == "grad" and slope.source in e.nodes]
        nets = {story.owner[i] for e in inner for i in e.nodes}
        for call in story.calls_made:
            if slope.target not in summed(story, call)[0]:
                continue
            for net in (n for n in story.trained if n in nets and call.index in story.calls_of(n)):
                yield story.finding(
                    "cut-off", "wrong", net, [*inner[:1], story.events[call.index]],
                    "{net} learns nothing from the penalty in {call}: the gradient that {slope} "
                    "computed is a mere number, without a graph back to {net}.",
                    "Give create_graph=True to {slope}.",
                    call=story.call(call.index),
                    slope=(slope.line and story.quoted(slope.line)) or "autograd.grad",
                )  # fmt: skip


def summed(story: Story, call: BackwardCall) -> tuple[set[int], set[int]]:
    """The sums from which only sums, means and scaling by constants lead to what backward got; and
    the terms that they add."""
    nodes, sums, terms = story.record.graph.nodes, set[int](), set[int]()
    waiting, seen = [*call.nodes[-1:]], set[int]()
    while waiting:
        if (key := waiting.pop()) in seen:
            continue
        seen.add(key)
        node = nodes[key]
        if node.op in ADDS or (node.op in SCALES and len(node.inputs) == 1):
            waiting += [i for i in node.inputs if i in nodes]
            sums |= {key} if node.op in ADDS else set()
        else:
            terms.add(key)
    return sums, terms


def without_pupils(story: Story, call: BackwardCall) -> Iterator[tuple[int, str]]:
    """(term, judge): nobody behind this term learns from the call; ``judge`` does from others."""
    pupils = {net for _, net in story.uses.get(call.index, ())}
    last = story.record.events[-1].grads
    for term in () if call.restricted else summed(story, call)[1]:
        for judge in sorted(story.behind[term]) if not story.behind[term] & pupils else ():
            kept = any(call.index in state.sources for state in last.get(judge, {}).values())
            served = (story.kind(call), judge) in story.kinds_used  # by this line, another time
            if judge in story.trained and not kept and not served:
                yield term, judge


def never_received(story: Story) -> Iterator[Finding]:
    """An optimizer holds parameters that no backward ever reached, while others were reached."""
    if story.failed or story.inside:
        return
    got = {(n, k) for c in story.record.backward_calls for n, ks in c.received.items() for k in ks}
    for net in story.trained:
        steps = [step for step in story.steps_of(net) if step.used]
        held = {name for step in steps for name in step.event.holds[net]}
        used = {name for step in steps for n, name in step.used if n == net}
        idle = held - used
        never = [k for k in story.record.parameters[net] if k in idle and (net, k) not in got]
        if used and (found := _as_a_number(story, net, never, steps[0])) is not None:
            yield found
            continue
        still = [name for name in never if name not in story.moved_outside.get(net, ())]
        if not still or not used:
            continue
        if (found := _cut_inside(story, net, still)) is not None:
            yield found
            continue
        yield story.finding(
            "never-received", "info", net, [step.event for step in steps],
            "No backward reached {names} of {net}, which {step} is to move: frozen, or not used by "
            "the forward.",
            "If it is to learn, look why the forward leaves it out; if not, leave it out of the "
            "optimizer.",
            names=some(still), step=story.event(steps[0].event),
        )  # fmt: skip


def _as_a_number(story: Story, net: str, never: list[str], step: Step) -> Finding | None:
    """Of these parameters alone a Python number was made while the net ran, or a detached copy,
    and nothing else moves them."""
    for node, how, line in story.record.graph.numbers:
        leaves, cut = story.leaves_of(node), how in CUTS
        moved = {(net, name) for name in story.moved_outside.get(net, ())} if cut else set()
        if leaves and leaves <= {(net, name) for name in never} - moved:
            return story.finding(
                "cut-off", "wrong", net, [step.event],
                "No backward reached {names} of {net}, which {step} is to move: {how}{where} cuts "
                "it off where the forward reads it."
                if cut
                else "No backward reached {names} of {net}, which {step} is to move: {how}{where} "
                "makes a Python number of it, and no gradient goes back from a number.",
                "Leave out {how} there: compute with the parameter itself. If it is to stand "
                "still, leave it out of the optimizer."
                if cut
                else "Leave out {how} there: compute with the tensor.",
                names=some(sorted(name for _, name in leaves)), step=story.event(step.event),
                how=how, where=story.in_line(line),
            )  # fmt: skip
    return None


def _cut_inside(story: Story, net: str, idle: list[str]) -> Finding | None:
    """The parameters lie behind a cut in a graph that this net learned from."""
    nodes = story.record.graph.nodes
    for call in (story.record.backward_calls[c] for c in sorted(story.calls_of(net))):
        behind = {cut: {nodes[i].parameter for i in story.leaves_behind(cut.source, net)}
                  for cut in story.cuts_before(call, [net])}  # fmt: skip
        for cut, leaves in behind.items():
            if names := [name for name in idle if name in leaves]:
                keep = kept(story, call, (c for c in behind if behind[c] & {*names}))
                return story.finding(
                    "cut-off", "wrong", net, [story.events[call.index]],
                    "{call} trains a part of {net} only: no backward reaches {names}, because the "
                    "graph was cut by {how}{where}." + (keep.why if keep else ""),
                    keep.fix
                    if keep
                    else "{soft} If they are not to learn, leave them out of the optimizer."
                    if cut.how in CHOICES
                    else "Leave out {how} there if these are to learn; if not, leave them out of "
                    "the optimizer.",
                    call=story.call(call.index), names=some(names), how=cut.how,
                    where=story.in_line(cut.line), soft=SOFT_CHOICE, who=some(names),
                    **(keep.blanks if keep else {}),
                )  # fmt: skip
    return None
