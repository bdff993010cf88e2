"""A step that found no gradient, or lacks one that its loss should have given; and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from gan_lessons.lens.diagnose.choices import CHOICES, SOFT_CHOICE
from gan_lessons.lens.diagnose.cut_at_the_loss import not_on_the_copy
from gan_lessons.lens.diagnose.cut_on_the_way import ON_THE_WAY, cut_on_the_way, without_it
from gan_lessons.lens.diagnose.stand_ins import (
    COPIES,
    NOT_COPIES,
    STAND_INS,
    WITH_THEIR_GRAPH,
    cut_stand_ins,
)
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.diagnose.straight_through import kept
from gan_lessons.lens.model import BackwardCall, Event, Forward

# Did the weights keep their values? None: nobody looked, in a record of an older version.
_SEEN = {
    True: "{step} found no gradient in {nets}, and {nets} did not move. ",
    False: "{step} found no gradient in {nets}, and moved {nets} all the same: by what the "
    "optimizer remembers of earlier steps (momentum), or adds itself (weight decay). ",
    None: "{step} found no gradient in {nets}. ",
}

_NOT_NAMED = (
    "inputs= of {call} names no parameter of {nets}.",
    "Name the parameters of {nets} in inputs=.",
)
MADE_ANEW = (
    "{call} walks through {nets} and reaches parameters of the same shapes as those that this "
    "optimizer holds, which were made anew.",
    "Write new values into the old tensors (under torch.no_grad(), by `copy_`, `clamp_` and other "
    "operations in place) instead of making new ones, or build the optimizer anew as well.",
)
FROZEN = (
    "{call} walks through {nets}, and no parameter of {nets} wants a gradient.",
    "Thaw {nets} (requires_grad_(True)) before its forward, until its backward is over.",
)
NO_WAY = "{call} has no way to {nets}."
FROM_ITSELF = (
    "Compute the loss of {nets} from its own output, with gradients on (no torch.no_grad, "
    "no .data, no copy through NumPy)."
)
FROM_ITSELF_LONE = (
    "Compute the loss of {nets} from the very tensor that this optimizer holds, with gradients on: "
    "not from a copy, a detached one, or one that the variable was given later."
)


class Reason(NamedTuple):
    """Why a step found nothing, what to do, what fills their blanks, and the events that show it.

    {nets} is filled with the nets of the step. ``sure``: it is no turn that was left out.
    """

    why: str
    fix: str
    blanks: dict[str, str]
    events: tuple[Event, ...] = ()
    sure: bool = False


def cut_off(story: Story) -> Iterator[Finding]:
    """An optimizer stepped, and none of its parameters held a gradient: in all of its steps, or
    from some step on for a reason that leaves no doubt."""
    yield from _holds_another_net(story)
    fed = {step.event.target: step.event.index for step in story.steps if step.used}
    of_another = {step.event.index for step, _ in steps_of_the_wrong_net(story)}
    found: dict[tuple[object, ...], list[tuple[Step, Reason]]] = defaultdict(list)
    for step in story.steps:
        last = fed.get(step.event.target, -1)
        if step.event.index < last or step.used or _may_have_cleared(story, step):
            continue
        reason = _why_empty(story, step)
        if (last < 0 or reason.sure) and step.event.index not in of_another:
            lines = tuple(event.line for event in reason.events)
            found[step.nets, step.event.line, lines].append((step, reason))
    for same in found.values():
        # Its forward may have been run before the recording began: a later iteration knows more.
        telling = next((reason for _, reason in same if reason.why != NO_WAY), None)
        for step, own in same:
            reason = own if own.why != NO_WAY or telling is None else telling
            yield story.finding(
                "cut-off", "wrong", step.nets[0], [*own.events, step.event],
                _SEEN[step.event.stood_still] + reason.why, reason.fix,
                **reason.blanks, nets=" and ".join(step.nets), step=story.event(step.event),
            )  # fmt: skip


def steps_of_the_wrong_net(story: Story) -> Iterator[tuple[Step, BackwardCall]]:
    """Steps that found nothing, of nets that another optimizer trains, each with the call before
    it, which reaches nobody but what no optimizer holds."""
    for step in (step for step in story.steps if not step.used):
        ended = story.calls_between(story.step_before(step, step.nets[0]), step.event.index)
        call = ended[-1] if ended else None
        if call is None or call.index in story.uses or call.restricted:
            continue
        got, target = story.receivers(call), step.event.target
        unheld = got or any(i in story.record.graph.strangers for i in call.nodes)
        elsewhere = all(
            any(other.event.target != target and other.calls(net) for other in story.steps_of(net))
            for net in step.nets
        )
        if unheld and elsewhere and not {*got} & {*story.trained, *story.moved_outside}:
            yield step, call


def _holds_another_net(story: Story) -> Iterator[Finding]:
    """An optimizer with the name of a net that holds none of its parameters; nor does another."""
    for event in story.record.events:
        net = event.target
        if event.kind == "step" and net in story.record.parameters and net not in story.trained:
            yield story.finding(
                "cut-off", "wrong", net, [event],
                "{step} is the step of the optimizer named {net}, and it holds no parameter of "
                "{net}.",
                "Make it from the parameters of this net: another net's, or those of a net that "
                "was made anew since, do not count.",
                step=story.event(event),
            )  # fmt: skip


def _may_have_cleared(story: Story, step: Step) -> bool:
    """It ran a backward (a closure), or moved weights and holds nothing now: what it used may be
    gone already. Zeros that it holds were there before: they move weights by momentum alone."""
    within, grads = story.within(step), step.event.grads
    held = [grads[net][name].value for net, names in step.event.holds.items() for name in names]
    moved = any(net in e.moved for e in within for net in step.nets)
    return any(e.kind == "backward" for e in within) or (
        moved and all(value is None for value in held)
    )


def _why_empty(story: Story, step: Step) -> Reason:
    calls = story.calls_between(story.step_before(step, step.nets[0]), step.event.index)
    company = frozenset().union(*(story.company[net] for net in step.nets))
    calls = [c for c in calls if _nets_in(story, c) & company] or calls
    if not calls:
        return Reason(
            "No backward was called before it.",
            "Call backward on the loss of {nets} before this step.",
            {},
        )
    wrote = [c for c in calls if set(story.receivers(c)) & set(step.nets)]
    idle = [c for c in calls if c.index not in story.uses]
    call = ([c for c in wrote if c in idle] or wrote or idle or calls)[-1]
    if call in wrote:
        cleared = _cleared(story, step, call)
        # Cleared rightly, if what was to be stepped on came after that.
        late = [c for c in idle if c.index > call.index and not story.receivers(c)]
        after = cleared.events[-1].index
        call = next((c for c in late if story.events[c.index].index > after), call)
        return cleared if call in wrote else _never_arrived(story, step, call)
    if idle:
        return _with_stand_ins(story, step, call) or _never_arrived(story, step, call)
    if (frozen := _frozen(story, step, calls)) is not None:
        return frozen
    why = "{call}, which came before it, does not reach {nets}."
    fix = "Call backward on a loss made from the output of {nets}, before this step."
    blanks = {"call": story.call(call.index), "who": " and ".join(step.nets)}
    if (keep := kept(story, call, story.cuts_before(call, step.nets))) is not None:
        why, fix, blanks = why + keep.why, keep.fix, blanks | keep.blanks
    elif (cut := cut_on_the_way(story, call, step.nets)) is not None:
        why, fix = ON_THE_WAY, without_it(cut)
        blanks |= {"how": cut.how, "where": story.in_line(cut.line)}
    return Reason(why, fix, blanks, (story.events[call.index],))


def _nets_in(story: Story, call: BackwardCall) -> frozenset[str]:
    """Those that it has to do with; without a graph or cut off, too."""
    fed = (f.net for i in call.nodes for f in story.fed_into.get(i, ()))
    cut = (story.made_from(cut) for i in call.nodes for cut in story.cuts_into.get(i, ()))
    behind = (story.behind[i] for i in call.nodes)
    return frozenset(fed).union(story.receivers(call), *behind, *cut)


def _frozen(story: Story, step: Step, calls: list[BackwardCall]) -> Reason | None:
    """A forward of the step's nets was in the graph of these calls, or went into it, frozen."""
    for call in reversed(calls):
        fed = [f for node in call.nodes for f in story.fed_into.get(node, ())]
        for forward in (*fed, *(story.record.forwards[i] for i in call.forwards)):
            if forward.net not in step.nets or forward.frozen is None:
                continue
            line, quoted = forward.frozen, story.quoted(forward.frozen)
            place = "" if quoted.endswith(")") else f"{story.place(line)}: "
            since = f"{place}{quoted}" if quoted else "since before the recording"
            return Reason(
                "{forward} ran while {frozen} was frozen ({since}): no parameter of {frozen} wants "
                "a gradient of {call}.",
                "Thaw {frozen} (requires_grad_(True)) before that forward, until its backward is "
                "over. If it is frozen on purpose, leave this step out.",
                {
                    "call": story.call(call.index), "frozen": forward.net, "since": since,
                    "forward": story.forward(forward),
                },
                (story.events[call.index],),
            )  # fmt: skip
    return None


def _cleared(story: Story, step: Step, call: BackwardCall) -> Reason:
    """Something cleared what the call had written, at the first event that holds nothing."""
    written, blanks = story.events[call.index], {"call": story.call(call.index)}
    fix = "Clear before backward, not between backward and step."
    users = {net for _, net in story.uses.get(call.index, ())}
    if others := sorted({*story.receivers(call)} & {*story.trained} - {*step.nets} - users):
        blanks["others"] = " and ".join(others)
        fix += (
            " {call} writes into {others} as well: clear {others} after it, as now, before what "
            "{others} is to step on."
        )
    for event in story.record.events[written.index + 1 : step.event.index + 1]:
        if any(event.grads[net][k].value for net, ks in step.event.holds.items() for k in ks):
            continue
        blanks["clearing"] = story.event(event)
        if event.kind == "zero_grad":
            why = "{clearing} had cleared what {call} wrote."
            return Reason(why, fix, blanks, (written, event))
        break
    why = "Something had cleared what {call} wrote, between there and {clearing}."
    return Reason(why, fix, blanks, (written,))


def _with_stand_ins(story: Story, step: Step, call: BackwardCall) -> Reason | None:
    if call.restricted or (cut := cut_stand_ins(story, step, call)) is None:
        return None
    blanks = {"call": story.call(call.index), "how": cut.how, "where": story.in_line(cut.line)}
    return Reason(STAND_INS, WITH_THEIR_GRAPH, blanks, (story.events[call.index],), sure=True)


def _never_arrived(story: Story, step: Step, call: BackwardCall) -> Reason:
    """Nobody used this call, and it wrote nothing into the nets of the step."""
    event, blanks = story.events[call.index], {"call": story.call(call.index)}
    if call.restricted:
        why, fix = _NOT_NAMED
    elif any(story.through(call, net) for net in step.nets):
        why, fix = MADE_ANEW if _made_anew(story, step, call) else FROZEN
    elif cuts := story.cuts_before(call, step.nets):
        blanks |= {"how": cuts[0].how, "where": story.in_line(cuts[0].line)}
        why = "{call} never reaches {nets}: the graph was cut by {how} on the way{where}."
        fix = not_on_the_copy(story, call, cuts[0])
        if cuts[0].how == "torch.no_grad":
            fix = "Compute this loss with gradients on, from what {nets} made to its end."
        if cuts[0].how in CHOICES:
            return Reason(why, SOFT_CHOICE, blanks, (event,), sure=True)
        if keep := kept(story, call, cuts):
            blanks |= {"who": " and ".join(step.nets), **keep.blanks}
            return Reason(why + keep.why, keep.fix, blanks, (event,), sure=True)
    elif (forward := _without_graph(story, event, step.nets)) is not None:
        blanks["forward"] = story.forward(forward)
        why = "{forward} built no graph: gradients were switched off."
        fix = "Run that forward with gradients on: no torch.no_grad around it or inside."
        if forward.frozen is not None:
            why = "{forward} built no graph: {nets} was frozen."
            fix = "Thaw {nets} (requires_grad_(True)) before that forward."
    elif left := _left(story, step, event):
        blanks["where"] = left
        why = "{call} has no way to {nets}: what it made left torch for NumPy{where}."
        fix = "Stay in torch: what comes back from NumPy has no graph."
    elif not story.receivers(call) and _of_copies(story, step, call):
        why, fix = COPIES, NOT_COPIES
    else:
        why, fix = NO_WAY, FROM_ITSELF_LONE if {*step.nets} <= {*story.record.lone} else FROM_ITSELF
    # Where what the nets made without gradients went into this very loss, it is about them.
    own = any(f.net in step.nets for node in call.nodes for f in story.fed_into.get(node, ()))
    fix += "" if own else _or_swapped(story, step, call, blanks)
    return Reason(why, fix + _made_a_leaf(story, call), blanks, (event,), sure=True)


def _made_anew(story: Story, step: Step, call: BackwardCall) -> bool:
    """Did the call reach, of the shape of each parameter of the step, one that is in no net?"""
    nodes, rows = (story.record.graph.nodes[i] for i in call.nodes), story.record.parameters
    reached = Counter(node.shape for node in nodes if node.is_leaf and node.net is None)
    wanted = Counter(rows[net][k] for net, names in step.event.holds.items() for k in names)
    return wanted <= reached


def _of_copies(story: Story, step: Step, call: BackwardCall) -> bool:
    """Did it reach such parameters of a module, and are they gone by now?"""
    gone = story.record.graph.strangers.keys().isdisjoint(call.nodes)
    lone = not {*step.nets}.isdisjoint(story.record.lone)
    return gone and not lone and _made_anew(story, step, call)


def _made_a_leaf(story: Story, call: BackwardCall) -> str:
    """A loss that has no graph of its own, and was told to want a gradient: torch then raises no
    error, and with a graph it would."""
    nodes = story.record.graph.nodes
    if not call.nodes or not nodes[call.nodes[-1]].is_leaf:
        return ""
    return (
        " Leave out what lets the loss itself want a gradient (loss.requires_grad = True): it only "
        "hides that the loss has no graph."
    )


def _or_swapped(story: Story, step: Step, call: BackwardCall, blanks: dict[str, str]) -> str:
    """The other reading: the call is right, and this is the wrong optimizer for it."""
    got = [net for net in story.receivers(call) if net not in step.nets]
    if not got:
        graph = story.record.graph
        blanks["count"] = str(len({graph.strangers[i] for i in call.nodes if i in graph.strangers}))
        blanks["target"] = step.event.target or ""
        if blanks["count"] == "0" or story.cuts_before(call, step.nets):
            return ""
        return (
            " Or, if {call} is for another net: {target} holds {nets}, and no optimizer holds "
            "the {count} parameters that {call} reaches; make {target} from those."
        )
    holders = [name for name, held in story.record.holds.items() if {*held} & {*got}]
    blanks |= {"target": step.event.target or "", "got": " and ".join(got)}
    blanks["holders"] = " and ".join(holders)
    if not holders:
        return (
            " Or, if {call} is for {got}: {target} holds {nets}, and no optimizer holds {got}; "
            "make it from the parameters of {got}."
        )
    return (
        " Or, if {call} is for {got}, this is the wrong optimizer: {target} holds {nets}, and "
        "{holders} holds {got}."
    )


def _left(story: Story, step: Step, before: Event) -> str | None:
    """Where a value that the step's nets had made left torch, before this event."""
    known = max(before.states, default=-1)
    nets = {*step.nets}
    places = [line for node, _, line in story.record.graph.left
              if node <= known and story.behind[node] & nets]  # fmt: skip
    return story.in_line(places[-1]) if places else None


def _without_graph(story: Story, event: Event, nets: tuple[str, ...]) -> Forward | None:
    """The last forward of one of ``nets`` before ``event``, if it left no node in the graph."""
    before = [f for f in story.record.forwards if f.net in nets]
    before = [f for f in before if story.began.get(f.index, event.index) < event.index]
    return before[-1] if before and before[-1].index not in story.built_by else None
