"""One plain sentence or two for each moment of a step, made from what its record says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gan_lessons.classroom import explorer_words as words
from gan_lessons.lens.model import FREED, STALE, BackwardCall, Event, GradState, Moment, StepRecord
from gan_lessons.lens.show import bytes_text, visible

_Grads = Mapping[str, Mapping[str, GradState]]


def caption(record: StepRecord, moment: Moment, moments: Sequence[Moment] = ()) -> str:
    """What the line of ``moment`` did, in words. ``moments``: all of them, if not the record's."""
    moments = moments or record.moments
    before = moments[moment.index - 1] if moment.index else None
    events = [record.events[i] for i in moment.events]
    told = [text for event in events for text in _event(record, event, moment)]
    told += _cuts(record, moment)
    if not events:
        told += _by_hand(before.grads if before else record.before, moment.grads)
    told += _graph(record, moment, before, events)
    if moment.raised:
        told.append(record.explanation or words.RAISED)
    elif moment is moments[-1] and record.text(moment).startswith("return"):
        told.append(words.RETURNS)
    return " ".join(told) or words.NOTHING


def _event(record: StepRecord, event: Event, moment: Moment) -> Iterator[str]:
    if event.kind == "forward" and event.forward is not None:
        yield _forward(record, event.forward)
    elif event.kind == "zero_grad":
        yield from _cleared(record, event)
    elif event.kind == "backward" and event.call is not None:
        yield from _backward(record, record.backward_calls[event.call], event)
    elif event.kind == "grad":
        yield words.AUTOGRAD_GRAD
    elif event.kind == "step":
        yield from _step(record, event)


def _forward(record: StepRecord, index: int) -> str:
    net = record.forwards[index].net
    n = sum(f.net == net for f in record.forwards[: index + 1])
    nth = words.NTH.get(n, words.NTH_OTHER.format(n=n))
    again = words.FORWARD_AGAIN.format(nth=nth) if n > 1 else ""
    return words.FORWARD.format(net=visible(net), again=again)


def _cleared(record: StepRecord, event: Event) -> Iterator[str]:
    before = record.events[event.index - 1].grads if event.index else record.before
    target = event.target or ""
    owned = record.holds.get(target) or {target: tuple(record.parameters.get(target, ()))}
    for net, names in owned.items():
        had = [n for n in names if _value(before, net, n)]
        now = event.grads.get(net, {})
        zero = [n for n in names if n in now and now[n].value == 0.0]
        text = words.CLEARED_ZERO if zero else words.CLEARED
        text = text if had or zero else words.CLEARED_EMPTY
        yield text.format(net=visible(net), count=len(had) or len(zero))


def _value(grads: _Grads, net: str, name: str) -> float | None:
    state = grads.get(net, {}).get(name)
    return None if state is None else state.value


def _backward(record: StepRecord, call: BackwardCall, event: Event) -> Iterator[str]:
    """Who received gradient that a step will use comes first, then who received it in vain."""
    if not any(call.received.values()):
        yield words.NOBODY
        return
    useful, vain = record.used(call.index), record.in_vain(call.index)
    for net, names in useful.items():
        total = len(record.parameters[net])
        text = words.USED if len(names) == total else words.USED_SOME
        yield text.format(net=visible(net), count=len(names), total=total)
        states = event.grads[net]
        if any(len(states[n].sources) > 1 or states[n].before for n in names):
            yield words.ADDED
    for net, names in vain.items():
        total = len(record.parameters[net])
        text = words.VAIN_TOO if useful else words.VAIN
        text = text if len(names) == total else words.VAIN_SOME
        yield text.format(net=visible(net), count=len(names), total=total)


def _step(record: StepRecord, event: Event) -> Iterator[str]:
    moved = {net: names for net, names in event.moved.items() if names}
    for net, names in moved.items():
        yield words.STEP.format(net=visible(net), count=len(names))
    if not moved:
        yield words.STEP_NOTHING.format(optimizer=visible(event.target or ""))


def _cuts(record: StepRecord, moment: Moment) -> Iterator[str]:
    for cut in record.graph.cuts:
        if cut.target in moment.built:
            net = record.graph.nodes[cut.target].net
            text = words.CUT if net else words.CUT_NO_NET
            yield text.format(how=visible(cut.how), net=visible(net or ""))


def _by_hand(before: _Grads, now: _Grads) -> Iterator[str]:
    """Gradients that changed in a line without an event."""
    for net, states in now.items():
        was = {name: before.get(net, {}).get(name, GradState()) for name in states}
        changed = {n: s for n, s in states.items() if s.value != was[n].value}
        gone = [n for n, s in changed.items() if s.value is None]
        back = [n for n, s in changed.items() if not s.by_hand and s.sources != was[n].sources]
        back = [n for n in back if n not in gone]
        for text, names in (
            (words.LAID_ASIDE, gone),
            (words.PUT_BACK, back),
            (words.REWRITTEN, [n for n in changed if n not in {*gone, *back}]),
        ):
            if names:
                yield text.format(net=visible(net), count=len(names))


def _graph(
    record: StepRecord, moment: Moment, before: Moment | None, events: Iterable[Event]
) -> Iterator[str]:
    """What the graph gained, lost, and what went stale in it."""
    kinds = {event.kind for event in events}
    held = bytes_text(moment.held)
    states = before.states if before else {}
    operations = [i for i in moment.built if not record.graph.nodes[i].is_leaf]
    if operations:
        text = words.BUILT if len(operations) > 1 else words.BUILT_ONE
        yield text.format(count=len(operations), held=held)
    elif kinds == {"forward"}:
        yield words.FORWARD_NO_GRAPH
    if newly(moment.states, states, STALE):
        count = len(newly(moment.states, states, STALE))
        yield (words.STALE if count > 1 else words.STALE_ONE).format(count=count)
    if moment.raised:
        return  # what it let go of is nothing to learn from
    if "backward" in kinds:
        freed = newly(moment.states, states, FREED) or len(moment.states) < len(states)
        lost = moment.held.activations < (before.held.activations if before else 0)
        yield (words.FREED if freed or lost else words.RETAINED).format(held=held)
    elif before and moment.held.activations < before.held.activations and not operations:
        yield words.LET_GO.format(held=held)


def newly(now: Mapping[int, str], before: Mapping[int, str], state: str) -> list[int]:
    """Nodes that are in that state now and were not before."""
    return [i for i, s in now.items() if s == state and before.get(i) != state]
