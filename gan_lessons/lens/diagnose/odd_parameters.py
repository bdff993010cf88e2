"""Parameters that an optimizer moves in vain, twice, or by more than was meant.

Made anew, two on one memory, under hooks that pile up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import BackwardCall, Line


def made_anew(story: Story) -> Iterator[Finding]:
    """A line's backward reached a parameter, which steps moved, and reaches it no more: it reaches
    a leaf of the same shape that is in no net. The variable was given another tensor."""
    if story.failed or story.inside:
        return
    told = {(f.net or "", name) for f in story.told(cut_off)
            for name in story.record.parameters.get(f.net or "", ())}  # fmt: skip
    before = set[tuple[Line, tuple[str, ...], tuple[int, ...]]]()  # shapes of strange leaves there
    for call in story.calls_made:
        kind = story.kind(call)
        shapes = [s for s in _strange_shapes(story, call) if (*kind, s) not in before]
        before |= {(*kind, shape) for shape in _strange_shapes(story, call)}
        lost = defaultdict[tuple[int, str], list[str]](list)
        for place, mover in _lost(story, call).items():
            net, name = place
            if place not in told and story.record.parameters[net][name] in shapes:
                told.add(place)
                lost[mover.event.index, net].append(name)
        for (index, net), names in lost.items():
            step = story.record.events[index]
            yield story.finding(
                "ownership", "wrong", net, [step, story.events[call.index]],
                "{step} moves {names} of {net}, and {call} does not reach it any more: it reaches "
                "another tensor of the same shape, which no optimizer holds. {names} was made anew."
                if len(names) == 1
                else "{step} moves {count} parameters of {net} ({names}), and {call} does not "
                "reach them any more: it reaches others of the same shapes, which no optimizer "
                "holds. They were made anew.",
                "Write new values into the old tensor (under torch.no_grad(), by `copy_` and other "
                "operations in place), or build the optimizer anew as well.",
                step=story.event(step), count=len(names), call=story.call(call.index),
                names=some(names),
            )  # fmt: skip


def _strange_shapes(story: Story, call: BackwardCall) -> list[tuple[int, ...]]:
    """Of the leaves of no net that this call walked."""
    nodes = (story.record.graph.nodes[i] for i in call.nodes)
    return [node.shape or () for node in nodes if node.is_leaf and node.net is None]


def _lost(story: Story, call: BackwardCall) -> dict[tuple[str, str], Step]:
    """What an earlier call of this line had reached and a step used, and no call reaches from here
    on, though its optimizer steps again (else it is another's turn of a line that they share, and
    the recording ends before its own); each with that step. (A helper's line serves several
    players: what else it reached has to be the same; or, where it reaches nothing, the lines that
    made the loss.)"""
    calls, now_got = story.record.backward_calls, story.receivers(call).keys()
    made = [story.lines_of(i) for i in call.nodes[-1:]]
    earlier = [c for c in calls[: call.index] if c.line == call.line
               and (now_got & story.receivers(c).keys() if now_got
                    else made == [story.lines_of(i) for i in c.nodes[-1:]])]  # fmt: skip
    reached = {(n, k) for c in earlier for n, ks in c.received.items() for k in ks}
    late = {(n, k) for c in calls[call.index :] for n, ks in c.received.items() for k in ks}
    now, gone = story.events[call.index].index, reached - late
    if not gone:
        return {}
    again = {step.event.target for step in story.steps if step.event.index > now}
    steps = (s for s in story.steps if s.event.index < now and s.event.target in again)
    return {place: s for s in steps for place in s.used if place in gone}


def part_made_anew(story: Story) -> Iterator[Finding]:
    """A part of a net gets gradient, and no optimizer holds it, while the optimizer of the rest
    holds parameters that are in no net and get none."""
    if story.failed or story.inside:
        return
    for target, count in story.record.orphans.items():
        for net in story.record.holds.get(target, {}):
            held = {k for row in story.record.holds.values() for k in row.get(net, ())}
            calls = [story.record.backward_calls[c] for c in sorted(story.calls_of(net))]
            free = [k for k in story.record.parameters[net] if k not in held
                    and any(k in c.received[net] for c in calls)]  # fmt: skip
            if not free or free[0] in story.moved_outside.get(net, ()):
                continue
            yield story.finding(
                "ownership", "wrong", net, story.events_of(c.index for c in calls[:1]),
                "{call} computes gradients for {names} of {net}, and no optimizer holds them; "
                "{target} holds {count} parameters that are in no net and get none. This part of "
                "{net} was made anew after {target} was built.",
                "Build {target} after the new part is in its place.",
                call=story.call(calls[0].index), target=target, count=count,
                names=some(free),
            )  # fmt: skip


def on_one_memory(story: Story) -> Iterator[Finding]:
    """Several parameters lie on one memory. Wrong where two of them get gradients, for each gets
    only that of its own use. Waste where one is of a net that nobody trains: it is no copy."""
    record, told = story.record, set[tuple[str, ...]]()
    got = {(n, k) for c in record.backward_calls for n, ks in c.received.items() for k in ks}
    held = {(n, k) for row in record.holds.values() for n, ks in row.items() for k in ks}
    for places in dict.fromkeys(record.aliased):
        split = [place for place in places if place in got]
        nets = tuple(dict.fromkeys(net for net, _ in places))
        if nets in told or not held & {*places}:
            continue
        steps = [s.event for s in story.steps if {*nets} & {*s.nets}][:1]
        names = " and ".join(f"{name} of {net}" for net, name in places)
        if len(split) > 1 and steps:
            told.add(nets)
            yield story.finding(
                "ownership", "wrong", split[0][0], steps,
                "{names} are two parameters on one memory: each gets only the gradient of its own "
                "use, and {step} moves that memory by each of them as if they were apart.",
                "Use the parameter itself in both places: assign it, not a new nn.Parameter of its "
                ".data.",
                names=names, step=story.event(steps[0]),
            )  # fmt: skip
        elif len(nets) > 1 and not {*nets} <= {*story.trained} and steps:
            told.add(nets)
            yield story.finding(
                "ownership", "waste", nets[-1], steps,
                "{names} lie on one memory: {step} moves both.",
                "If one is to be a copy, copy the values: load_state_dict, or `copy_` under "
                "torch.no_grad().",
                names=names, step=story.event(steps[0]),
            )  # fmt: skip


def hooks_pile_up(story: Story) -> Iterator[Finding]:
    """From step to step there are more hooks on what backward brings: one is registered again and
    again. (Once or twice may be a set-up.)"""
    for target in story.record.holds:
        steps = [e for e in story.record.events if e.kind == "step" and e.target == target]
        for net in dict.fromkeys(n for e in steps for n in e.hooks):
            counts = [e.hooks.get(net, 0) for e in steps]
            rises = [b - a for a, b in pairwise(counts)]
            if sum(r > 0 for r in rises) < 2 or min(rises) < 0:
                continue
            yield story.finding(
                "hooks", "wrong", net, [steps[0], steps[-1]],
                "Hooks on the gradients of {net} pile up: {first} at {step} the first time, {last} "
                "the last time. Each of them runs in every backward, and changes what the others "
                "have changed.",
                "Register a hook once, before the loop; or keep its handle, and remove it in each "
                "iteration.",
                first=counts[0], last=counts[-1], step=story.event(steps[0]),
            )  # fmt: skip


def frozen_by_a_name(story: Story) -> Iterator[Finding]:
    """An attribute that freezes nothing stands at False at each step that moves its parameters: on
    a module, or on a parameter under a name that torch does not know. Where an optimizer holds
    nothing else, it is one that a player has for another's turn."""
    for net, place in story.record.frozen_in_vain.items():
        path = place.rpartition(".")[0]
        steps = [s for s in story.steps_of(net) if s.used]
        for step in steps[:1]:
            mine = [
                k for n, k in step.used if n == net and (not path or f"{k}.".startswith(f"{path}."))
            ]
            others = {(n, k) for n, k in step.used} - {(net, k) for k in mine}
            if not place or not mine or not others:
                continue
            single = path in story.record.parameters[net]
            yield story.finding(
                "not-frozen", "wrong", net, [*story.events_of(step.calls(net)), step.event],
                "{place} of {net} is False, and torch knows no such word for a parameter: {step} "
                "moves it all the same."
                if single
                else "{place} of {net} is False, and for a module that is a mere attribute: {step} "
                "moves {count} parameters there all the same.",
                "To freeze them, call requires_grad_(False) on the module, or set requires_grad "
                "of each parameter. If they are to learn, leave that line out.",
                place=place, step=story.event(step.event), count=len(mine),
            )  # fmt: skip
