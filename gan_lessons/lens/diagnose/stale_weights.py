"""A gradient computed with weights that changed since the forward, unseen by torch."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Event, Forward

Sight = tuple[str, str, dict[str, str], list[Event]]  # net, message, its blanks, events


def stale_weights(story: Story) -> Iterator[Finding]:
    """Old activations times new weights; one finding for each net."""
    told: set[str] = set()
    for call in story.calls_made:
        for net, message, blanks, events in (*_saved(story, call), *_recomputed(story, call)):
            if net in told:
                continue
            told.add(net)
            yield story.finding(
                "stale-weights", "wrong", net, [*events, story.events[call.index]], message,
                "Call backward before the step that moves {net}, or run the forward of {net} again "
                "after it.",
                call=story.call(call.index), **blanks,
            )  # fmt: skip


def _saved(story: Story, call: BackwardCall) -> Iterator[Sight]:
    """What the walked nodes had saved was changed since, and the version check saw nothing."""
    graph, now = story.record.graph, story.events[call.index].index
    steps = {step.event.index for step in story.steps}
    for node in (graph.nodes[i] for i in call.nodes if i in graph.nodes):
        if node.forward is None or node.forward not in story.began:
            continue
        between = story.record.events[story.began[node.forward] + 1 : now]
        for net, name in (s.parameter for s in graph.saved.get(node.id, ()) if s.parameter):
            mover = next((e for e in between if name in e.moved.get(net, ())), None)
            if mover is not None:
                blanks = {
                    "name": name,
                    "forward": story.forward(story.record.forwards[node.forward]),
                    "mover": story.event(mover) if mover.index in steps else "something",
                }
                message = (
                    "{call} went through {net} with {name} as it is now, but {forward} had run "
                    "before {mover} changed it. Old activations times new weights need not be the "
                    "gradient of any loss. torch did not notice."
                )
                yield net, message, blanks, [mover]


def _recomputed(story: Story, call: BackwardCall) -> Iterator[Sight]:
    """Forwards that a checkpoint ran again inside ``call``, with other weights than before."""
    forwards = story.record.forwards
    first: list[Forward] = [forwards[i] for i in call.forwards if forwards[i].during is None]
    for again in story.during.get(call.index, ()):
        if any(f.net == again.net and f.weights < again.weights for f in first):
            message = (
                "{call} ran {forward} again (a checkpoint), with weights of {net} that were "
                "changed since: the gradient is not that of the loss you computed."
            )
            yield again.net, message, {"forward": story.forward(again)}, []
