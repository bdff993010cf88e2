"""What a step has come to, in words: who moved, by which loss, what was in vain; or why it raised.

Of those who moved, also through whose weights their gradient came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gan_lessons.classroom.explorer.stage_moments import StagedRecord
from gan_lessons.lens.model import (
    INPLACE,
    NO_GRAPH,
    SECOND_BACKWARD,
    BackwardCall,
    Event,
    Moment,
    StepRecord,
)
from gan_lessons.lens.show import visible

_RAISED = {
    SECOND_BACKWARD: "the graph that it goes back through has been freed.",
    INPLACE: "what it needs has been rewritten since the forward: the graph is stale.",
    NO_GRAPH: "no graph leads back from its loss.",
}


def why_raised(record: StepRecord) -> str:
    """``line 18: the graph that it goes back through has been freed.``; "" where nothing raised.

    The moment's caption has the whole story.
    """
    if record.error is None:
        return ""
    told = str(record.error)
    first = "{kind}: {told}".format(kind=type(record.error).__name__, told=told.partition("\n")[0])
    why = next((text for said, text in _RAISED.items() if said in told), visible(first, 120))
    moment = next((m for m in record.moments if m.raised), None)
    return why if moment is None else f"line {moment.line}: {why}"


def learned(staged: StagedRecord) -> Iterator[str]:
    """A sentence for each net that an optimizer moved, in the order of the steps."""
    for event in staged.record.events:
        for net in staged.record.moved_by(event):
            yield _learned(staged, event, net)


def mixed(record: StepRecord, as_written: StepRecord) -> str:
    """``G stepped on a sum: what was in .grad before, d_loss's and g_loss's.`` for each net of
    which that was not so in the step as written; "" where it is so of none."""
    known = set(_sums(as_written))
    text = "{net} stepped on a sum: {parts}."
    found = [(net, parts) for net, parts in _sums(record) if (net, parts) not in known]
    told = [text.format(net=visible(net), parts=_joined(parts)) for net, parts in found]
    return " ".join(told).replace("`", "")


def _sums(record: StepRecord) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each net, and the parts of the gradient that a step of it used, where there are several."""
    for event in (e for e in record.events if e.kind == "step"):
        for net in record.moved_by(event):
            states = [s for (owner, _), s in record.consumed(event).items() if owner == net]
            calls = sorted({call for state in states for call in state.sources})
            parts = [f"{_loss(record.backward_calls[call])}'s" for call in calls]
            before = ["what was in .grad before"] if any(s.before for s in states) else []
            if len(before + parts) > 1:
                yield net, (*before, *parts)


def stayed(record: StepRecord) -> Iterator[str]:
    """A sentence for each net that no optimizer moved."""
    moved = {net for event in record.events for net in record.moved_by(event)}
    for net in record.parameters:
        if net not in moved:
            yield "No optimizer step moved {net}.".format(net=visible(net))


def _learned(staged: StagedRecord, event: Event, net: str) -> str:
    """``G learned from `g_loss`, through D v1.``"""
    record = staged.record
    states = [s for (owner, _), s in record.consumed(event).items() if owner == net]
    calls = sorted({call for state in states for call in state.sources})
    ran = {f.index: f for call in calls for f in staged.cast.through(call, net) if f.net != net}
    others = dict.fromkeys(f"{visible(f.net)} v{f.weights}" for f in ran.values())
    text = "{net} learned from {losses}, through {others}."
    if not others:
        text = "{net} learned from {losses}."
    if not calls:
        text = "{net} moved by a gradient that no backward call of this step wrote."
    elif any(state.before for state in states):
        text = text[:-1] + ", and from what was in .grad before."
    losses = _joined(_loss(record.backward_calls[call]) for call in calls)
    return text.format(net=visible(net), losses=losses, others=_joined(others))


def wasted(staged: StagedRecord) -> str:
    """``G's gradient from `d_loss` (line 12) was in vain.``; "" where none was."""
    record = staged.record
    found = [
        "{net}'s gradient from {loss}".format(net=visible(net), loss=_loss(call))
        + _at(staged.moment_of(record.end_of(call.index)))
        for call in record.backward_calls
        for net in record.in_vain(call.index)
    ]
    text = "{what} was in vain." if len(found) == 1 else "{what} were in vain."
    return text.format(what=_joined(found)) if found else ""


def why_in_vain(staged: StagedRecord, event: Event, net: str, names: Sequence[str]) -> str:
    """A sentence on what became of gradient that this call gave these parameters and no step used:
    a line clears or replaces it, a line raises, or no step of theirs comes any more."""
    record = staged.record
    gone = {m.index: m for n in names if (m := staged.gone(event, net, n)) is not None}
    ended = next((m for m in staged.moments if m.raised), None)
    later = [e for e in record.events[event.index + 1 :] if e.kind == "step"]
    text = "No step will use it."
    if gone:
        line, text = _taken(staged, gone, net, names) or (0, text)
    elif ended is not None and ended.line:
        line, text = ended.line, "Line {line} raises before a step uses it."
    elif not any({*names} & {*e.holds.get(net, ())} for e in later):
        line, text = 0, "No step of {net} follows."
    else:
        line = 0
    return text.format(line=line, net=visible(net))


def _taken(
    staged: StagedRecord, gone: Mapping[int, Moment], net: str, names: Sequence[str]
) -> tuple[int, str] | None:
    """The line, and what it does, where one line takes all of them out of ``.grad``."""
    (moment, *others) = gone.values()
    if others or not moment.line:
        return None
    kinds = {staged.record.events[i].kind for i in moment.events}
    if "zero_grad" in kinds or all(moment.grads[net][n].value is None for n in names):
        return moment.line, "Line {line} clears it before a step uses it."
    aside = staged.aside[moment.index - 1] if moment.index else {}
    if {*names} <= {*aside.get(net, ())}:
        return moment.line, "Line {line} puts the old one back."
    return None


def _at(moment: Moment | None) -> str:
    return " (line {line})".format(line=moment.line) if moment is not None and moment.line else ""


def _loss(call: BackwardCall) -> str:
    return f"`{call.loss}`" if call.loss.isidentifier() else f"backward call {call.index}"


def _joined(texts: Iterable[str]) -> str:
    *first, last = [*texts] or [""]
    return " and ".join([", ".join(first), last]) if first else last
