"""One plain sentence or two for each moment of a step, made from what its record says."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from gan_lessons.classroom.explorer.ending import learned, stayed, wasted, why_in_vain
from gan_lessons.classroom.explorer.stage_moments import StagedRecord
from gan_lessons.lens.model import FREED, STALE, BackwardCall, Event, GradState, Moment, StepRecord
from gan_lessons.lens.show import bytes_text, visible

_Grads = Mapping[str, Mapping[str, GradState]]

NOTHING = "Nothing changes for gradients, graph or memory."

# Around a sentence on gradient that a step will use, or on gradient in vain. Neither is printable,
# so that no name can hold them.
_USED, _VAIN, _END = "\x01", "\x02", "\x03"
_MARKS = {_USED: "used", _VAIN: "vain"}


def caption(record: StepRecord, moment: Moment, moments: Sequence[Moment] = ()) -> str:
    """What the line of ``moment`` did, in words. ``moments``: all of them, if not the record's."""
    return marked_caption(record, moment, moments)[0]


def marked_caption(
    record: StepRecord, moment: Moment, moments: Sequence[Moment] = ()
) -> tuple[str, list[list[int | str]]]:
    """The caption, and [start, end, "used" or "vain"] of its sentences on gradient."""
    return _marks(_told(record, moment, moments))


def _told(record: StepRecord, moment: Moment, moments: Sequence[Moment]) -> str:
    """The caption, sentences on gradient between control characters."""
    moments = moments or record.moments
    before = moments[moment.index - 1] if moment.index else None
    events = [record.events[i] for i in moment.events]
    staged = StagedRecord(record, moments)
    told = [_ON_THE_WAY_OUT] if record.error and _raised_before(moments, moment) else []
    for kind, group in groupby(events, key=lambda event: (event.kind, event.target)):
        told += _event(staged, kind[0], list(group))
    told += _cuts(record, moment)
    if not events:
        told += _by_hand(staged, moment)
    told += _graph(staged, moment, before, events)
    if moment is next((m for m in moments if m.events), None):
        told += _left_over(moment)
    if moment.raised:
        told.append(record.explanation or "This line raises an error.")
    elif moment is moments[-1] and record.text(moment).startswith("return"):
        told += _over(staged)
    return " ".join(told) or NOTHING


_ON_THE_WAY_OUT = "The error is on its way out of the step, and the end of this block still runs."


def _raised_before(moments: Sequence[Moment], moment: Moment) -> bool:
    return any(m.raised for m in moments[: moment.index])


def _left_over(moment: Moment) -> Iterator[str]:
    nets = [net for net, states in moment.grads.items() if any(s.before for s in states.values())]
    if nets:
        text = "The .grad of {nets} is from before: the last training step left it there."
        yield text.format(nets=" and ".join(map(visible, nets)))


def _over(staged: StagedRecord) -> Iterator[str]:
    """The step has returned: what there was to learn from it."""
    yield "The step is over."
    yield from (_USED + sentence + _END for sentence in learned(staged))
    yield from stayed(staged.record)
    vain = wasted(staged)
    yield _VAIN + vain + _END if vain else "No gradient of a parameter was wasted."


def _marks(text: str) -> tuple[str, list[list[int | str]]]:
    """The text without control characters, and what they held."""
    found: list[list[int | str]] = []
    plain = ""
    for part in re.split(f"([{_USED}{_VAIN}][^{_END}]*{_END})", text):
        if part[:1] in _MARKS:
            found.append([len(plain), len(plain) + len(part) - 2, _MARKS[part[0]]])
            part = part[1:-1]
        plain += part
    return plain, found


def _event(staged: StagedRecord, kind: str, events: Sequence[Event]) -> Iterator[str]:
    """Events of one kind and one target, one after the other."""
    record = staged.record
    if kind == "forward":
        yield from _forwards(record, events)
        return
    for event in events:
        if kind == "zero_grad":
            yield from _cleared(staged, event)
        elif kind == "backward" and event.call is not None:
            yield from _backward(staged, record.backward_calls[event.call], event)
        elif kind == "grad":
            yield "A gradient is computed without being written into any .grad."
        elif kind == "step":
            yield from _step(record, event)


_TIMES = {1: "once", 2: "twice"}
_NTH = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def _forwards(record: StepRecord, events: Sequence[Event]) -> Iterator[str]:
    ran = [record.forwards[e.forward] for e in events if e.forward is not None]
    if not ran:
        return
    net = ran[0].net
    before = sum(f.net == net for f in record.forwards[: ran[0].index])
    version = ran[0].weights
    calls = [f.line.expression for f in ran]
    which = ": " + " and ".join(f"`{visible(c)}`" for c in calls) if all(calls) else ""
    text = "{net} runs forward{which}."
    if before:
        text = "{net} runs forward, for the {nth} time in this step{which}."
    elif len(ran) > 1:
        text = "{net} runs forward {times}{which}."
    nth, count = before + 1, len(ran)
    yield text.format(
        net=visible(net), nth=_NTH.get(nth, f"{nth}th"), which=which,
        times=_TIMES.get(count, f"{count} times"),
    )  # fmt: skip
    if version:
        text = "Its weights have moved meanwhile: this is {net} of version {version}."
        yield text.format(net=visible(net), version=version)


def _cleared(staged: StagedRecord, event: Event) -> Iterator[str]:
    record = staged.record
    before = record.events[event.index - 1].grads if event.index else record.before
    target = event.target or ""
    owned = record.holds.get(target) or {target: tuple(record.parameters.get(target, ()))}
    for net, names in owned.items():
        had = [n for n in names if _state(before, net, n).value]
        zero = [n for n in names if _state(event.grads, net, n).value == 0.0]
        if zero:
            text = "{net}'s {count} gradients are set to zero."
        elif had:
            text = "{net}'s {count} gradients are cleared."
        else:
            text = "{net}'s gradients were empty already."
        yield text.format(net=visible(net), count=len(had) or len(zero))
        yield from _unused(staged, net, {n: _state(before, net, n) for n in had})


def _unused(staged: StagedRecord, net: str, states: Mapping[str, GradState]) -> Iterator[str]:
    """Here one sees why gradient was in vain: it goes before a step has used it."""
    calls = {call for state in states.values() for call in state.sources}
    if not calls or any(staged.used_of(net, n, state) for n, state in states.items()):
        return
    losses = sorted({staged.record.backward_calls[call].loss for call in calls})
    known = all(loss.isidentifier() for loss in losses)
    who = " and ".join(f"`{loss}`" for loss in losses) if known else "this step"
    text = "What {who} had put there was in vain: no step has used it."
    yield _VAIN + text.format(who=who) + _END


def _state(grads: _Grads, net: str, name: str) -> GradState:
    return grads.get(net, {}).get(name, GradState())


def _backward(staged: StagedRecord, call: BackwardCall, event: Event) -> Iterator[str]:
    """Who received gradient that a step will use comes first, then who received it in vain."""
    record = staged.record
    if call.loss.isidentifier():
        yield "Backward from `{loss}`.".format(loss=call.loss)
    if not any(call.received.values()):
        yield "No parameter received gradient."
        return
    useful = record.used(call.index)
    for net, names in useful.items():
        yield _USED + _received(record, net, names, "{net} gets its gradient.") + _END
        states = event.grads[net]
        if any(len(states[n].sources) > 1 or states[n].before for n in names):
            yield "It is added to what was there already."
    for net, names in record.in_vain(call.index).items():
        text = "{net} gets gradient in vain."
        if useful:
            text = "{net} gets some as well, in vain."
        if useful and all(staged.used_of(net, n, event.grads[net][n]) for n in names):
            text = "{net} gets some as well, in vain, on top of what a step has used."
        why = why_in_vain(staged, event, net, names)
        yield f"{_VAIN}{_received(record, net, names, text)} {why}{_END}"


def _received(record: StepRecord, net: str, names: Sequence[str], text: str) -> str:
    """The sentence for a net; where only some of its parameters received, of how many it is so."""
    total = len(record.parameters[net])
    who = "{net} ({count} of {total} parameters)" if len(names) < total else "{net}"
    return text.format(net=who.format(net=visible(net), count=len(names), total=total))


def _step(record: StepRecord, event: Event) -> Iterator[str]:
    moved = record.moved_by(event)
    for net, names in moved.items():
        new = record.versions[event.index].get(net, 0)
        text = "{net} moves: its {count} parameters go from version {old} to version {new}."
        yield text.format(net=visible(net), count=len(names), old=new - 1, new=new)
    if not moved:
        text = "{optimizer} has no gradient to use: nothing moves."
        yield text.format(optimizer=visible(event.target or ""))


def _cuts(record: StepRecord, moment: Moment) -> Iterator[str]:
    for cut in record.graph.cuts:
        if cut.target in moment.built:
            net = record.graph.nodes[cut.target].net
            text = "`{how}` cuts: values pass, no gradient will come back this way."
            if net:
                text = "`{how}` cuts: values pass to {net}, no gradient will come back this way."
            yield text.format(how=visible(cut.how), net=visible(net or ""))


def _by_hand(staged: StagedRecord, moment: Moment) -> Iterator[str]:
    """Gradients that changed in a line without an event."""
    before = staged.moments[moment.index - 1].grads if moment.index else staged.record.before
    for net, states in moment.grads.items():
        was = {name: _state(before, net, name) for name in states}
        changed = {n: s for n, s in states.items() if s.value != was[n].value}
        gone = [n for n, s in changed.items() if s.value is None]
        kept = [n for n in gone if n in staged.aside[moment.index].get(net, ())]
        lost = [n for n in gone if n not in kept]
        back = [n for n, s in changed.items() if not s.by_hand and s.sources != was[n].sources]
        back = [n for n in back if n not in gone]
        rest = [n for n in changed if n not in {*gone, *back}]
        for text, names in (
            ("{net}'s {count} gradients are taken out of .grad and put aside.", kept),
            ("{net}'s {count} gradients are taken out of .grad.", lost),
            ("{net}'s {count} gradients are put back into .grad.", back),
            ("{net}: {count} gradients are rewritten by hand.", rest),
        ):
            if names:
                yield text.format(net=visible(net), count=len(names))


def _graph(
    staged: StagedRecord, moment: Moment, before: Moment | None, events: Iterable[Event]
) -> Iterator[str]:
    """What the graph gained, lost, and what went stale in it."""
    record = staged.record
    kinds = {event.kind for event in events}
    held = bytes_text(moment.held)
    states = before.states if before else {}
    lost = before is not None and moment.held.activations < before.held.activations
    built = sum(not record.graph.nodes[i].is_leaf for i in moment.built)
    if built:
        text = "The graph grows by {count} operations and keeps {held}."
        if built == 1:
            text = "The graph grows by one operation and keeps {held}."
        yield text.format(count=built, held=held)
    elif kinds == {"forward"}:
        yield "It builds no graph: nothing here can be walked backward."
    yield from _stale(staged, moment, _newly(STALE, moment.states, states))
    if moment.raised:
        return  # what it let go of is nothing to learn from
    if "backward" in kinds:
        text = "The graph stays: it still keeps {held}."
        if lost or _newly(FREED, moment.states, states) or len(moment.states) < len(states):
            text = "The graph on the way is freed: {held} are left."
        yield text.format(held=held)
    elif lost and not built:
        yield "Tensors go out of use, and with them graph: it keeps {held}.".format(held=held)


def _stale(staged: StagedRecord, moment: Moment, nodes: Collection[int]) -> Iterator[str]:
    if not nodes:
        return
    text = "{count} nodes had saved weights that are now rewritten: they are stale."
    if len(nodes) == 1:
        text = "One node had saved a weight that is now rewritten: it is stale."
    yield text.format(count=len(nodes))
    if staged.walked_after(moment).isdisjoint(nodes):
        yield "No backward comes through there any more, so this does no harm."
    else:
        yield "A backward through there will raise."


def _newly(state: str, now: Mapping[int, str], before: Mapping[int, str]) -> set[int]:
    """The nodes that are in that state now and were not before."""
    return {i for i, s in now.items() if s == state and before.get(i) != state}
