"""What a step has come to, in words: who moved, by which loss, what was in vain; or why it raised.

Of those who moved, also through whose weights their gradient came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gan_lessons.classroom.explorer.stage_moments import StagedRecord
from gan_lessons.lens.model import (
    INPLACE,
    NO_GRAPH,
    SECOND_BACKWARD,
    BackwardCall,
    Event,
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

    The moment's caption has the whole staged.
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
        text = text[:-1] + ", and once more from what the step before had left in .grad."
    losses = _joined(_loss(record.backward_calls[call]) for call in calls)
    return text.format(net=visible(net), losses=losses, others=_joined(others))


def wasted(record: StepRecord) -> str:
    """``G's gradient from `d_loss` was in vain.``; "" where none was."""
    found = [
        "{net}'s gradient from {loss}".format(net=visible(net), loss=_loss(call))
        for call in record.backward_calls
        for net in record.in_vain(call.index)
    ]
    text = "{what} was in vain." if len(found) == 1 else "{what} were in vain."
    return text.format(what=_joined(found)) if found else ""


def _loss(call: BackwardCall) -> str:
    return f"`{call.loss}`" if call.loss.isidentifier() else f"backward call {call.index}"


def _joined(texts: Iterable[str]) -> str:
    *first, last = [*texts] or [""]
    return " and ".join([", ".join(first), last]) if first else last
