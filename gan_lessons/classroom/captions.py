"""One plain sentence or two for each moment of a step, made from what its record says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gan_lessons.lens.model import FREED, STALE, BackwardCall, Event, GradState, Moment, StepRecord
from gan_lessons.lens.show import bytes_text, visible

_Grads = Mapping[str, Mapping[str, GradState]]


def caption(record: StepRecord, moment: Moment, moments: Sequence[Moment] = ()) -> str:
    """What the line of ``moment`` did, in words. ``moments``: all of them, if not the record's."""
    moments = moments or record.moments
    before = moments[moment.index - 1] if moment.index else None
    events = [record.events[i] for i in moment.events]
    told = [text for event in events for text in _event(record, event)]
    told += _cuts(record, moment)
    if not events:
        told += _by_hand(before.grads if before else record.before, moment.grads)
    told += _graph(record, moment, before, events)
    if moment.raised:
        told.append(record.explanation or "This line raises an error.")
    elif moment is moments[-1] and record.text(moment).startswith("return"):
        told.append("The step is over.")
    return " ".join(told) or "Nothing changes for gradients, graph or memory."


def _event(record: StepRecord, event: Event) -> Iterator[str]:
    if event.kind == "forward" and event.forward is not None:
        yield _forward(record, event.forward)
    elif event.kind == "zero_grad":
        yield from _cleared(record, event)
    elif event.kind == "backward" and event.call is not None:
        yield from _backward(record, record.backward_calls[event.call], event)
    elif event.kind == "grad":
        yield "A gradient is computed without being written into any .grad."
    elif event.kind == "step":
        yield from _step(event)


def _forward(record: StepRecord, index: int) -> str:
    net = record.forwards[index].net
    n = sum(f.net == net for f in record.forwards[: index + 1])
    nth = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}.get(n, f"{n}th")
    text = "{net} runs forward, for the {nth} time in this step."
    if n == 1:
        text = "{net} runs forward."
    return text.format(net=visible(net), nth=nth)


def _cleared(record: StepRecord, event: Event) -> Iterator[str]:
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


def _state(grads: _Grads, net: str, name: str) -> GradState:
    return grads.get(net, {}).get(name, GradState())


def _backward(record: StepRecord, call: BackwardCall, event: Event) -> Iterator[str]:
    """Who received gradient that a step will use comes first, then who received it in vain."""
    if not any(call.received.values()):
        yield "No parameter received gradient."
        return
    useful = record.used(call.index)
    for net, names in useful.items():
        total = len(record.parameters[net])
        text = "{net}: {count} of {total} parameters received gradient."
        if len(names) == total:
            text = "{net}'s {count} parameters received gradient."
        yield text.format(net=visible(net), count=len(names), total=total)
        states = event.grads[net]
        if any(len(states[n].sources) > 1 or states[n].before for n in names):
            yield "It was added to what they held already."
    for net, names in record.in_vain(call.index).items():
        total = len(record.parameters[net])
        text = "{net}'s {count} parameters received gradient in vain: no step will use it."
        if len(names) < total:
            text = (
                "{net}: {count} of {total} parameters received gradient in vain: "
                "no step will use it."
            )
        elif useful:
            text = "So did {net}'s {count}: nobody asked for those, no step will use them."
        yield text.format(net=visible(net), count=len(names), total=total)


def _step(event: Event) -> Iterator[str]:
    moved = {net: names for net, names in event.moved.items() if names}
    for net, names in moved.items():
        yield "{net}'s {count} parameters move.".format(net=visible(net), count=len(names))
    if not moved:
        text = "{optimizer} has no gradient to use: nothing moves."
        yield text.format(optimizer=visible(event.target or ""))


def _cuts(record: StepRecord, moment: Moment) -> Iterator[str]:
    for cut in record.graph.cuts:
        if cut.target in moment.built:
            net = record.graph.nodes[cut.target].net
            text = "{how} cuts: values pass, no gradient will come back this way."
            if net:
                text = "{how} cuts: values pass to {net}, no gradient will come back this way."
            yield text.format(how=visible(cut.how), net=visible(net or ""))


def _by_hand(before: _Grads, now: _Grads) -> Iterator[str]:
    """Gradients that changed in a line without an event."""
    for net, states in now.items():
        was = {name: _state(before, net, name) for name in states}
        changed = {n: s for n, s in states.items() if s.value != was[n].value}
        gone = [n for n, s in changed.items() if s.value is None]
        back = [n for n, s in changed.items() if not s.by_hand and s.sources != was[n].sources]
        back = [n for n in back if n not in gone]
        rest = [n for n in changed if n not in {*gone, *back}]
        for text, names in (
            ("{net}'s {count} gradients are taken out of .grad and laid aside.", gone),
            ("{net}'s {count} gradients are put back into .grad.", back),
            ("{net}: {count} gradients are rewritten by hand.", rest),
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
    lost = before is not None and moment.held.activations < before.held.activations
    built = sum(not record.graph.nodes[i].is_leaf for i in moment.built)
    if built:
        text = "The graph grows by {count} operations and now holds {held}."
        if built == 1:
            text = "The graph grows by one operation and now holds {held}."
        yield text.format(count=built, held=held)
    elif kinds == {"forward"}:
        yield "It builds no graph: nothing here can be walked backward."
    yield from _stale(_newly(STALE, moment.states, states))
    if moment.raised:
        return  # what it let go of is nothing to learn from
    if "backward" in kinds:
        text = "The graph is kept: it still holds {held}."
        if lost or _newly(FREED, moment.states, states) or len(moment.states) < len(states):
            text = "What the graph saved on the way is freed: it now holds {held}."
        yield text.format(held=held)
    elif lost and not built:
        yield "Tensors go out of use, and with them graph: it now holds {held}.".format(held=held)


def _stale(count: int) -> Iterator[str]:
    text = (
        "{count} nodes had saved weights that are now rewritten: they are stale, and a backward "
        "through them will raise."
    )
    if count == 1:
        text = (
            "One node had saved a weight that is now rewritten: it is stale, and a backward "
            "through it will raise."
        )
    if count:
        yield text.format(count=count)


def _newly(state: str, now: Mapping[int, str], before: Mapping[int, str]) -> int:
    """How many nodes are in that state now and were not before."""
    return sum(s == state and before.get(i) != state for i, s in now.items())
