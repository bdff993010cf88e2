"""What raised: the errors of a graph as the record explains them, and any other as it is."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import INPLACE, NO_GRAPH, SECOND_BACKWARD, Event

# How somebody ends a recording on purpose.
ENDINGS = ("KeyboardInterrupt", "SystemExit", "StopIteration", "GeneratorExit")


def errors(story: Story) -> Iterator[Finding]:
    """One finding for each exception, also for one that the code caught."""
    for event in story.record.events:
        if event.kind != "error":
            continue
        message = event.message or "an exception"
        code = _code(story, event, message)
        if code is None:
            yield story.finding(
                "exception", "info" if message.startswith(ENDINGS) else "error", None, [event],
                "The recording met this: {what}", what=message,
            )  # fmt: skip
            continue
        yield story.finding(
            code, "error", None, [event], "{what}", "{do}", what=event.what or message,
            do=event.fix or "Look at the graph at this event: draw_graph(record=rec).",
        )  # fmt: skip


def _code(story: Story, event: Event, message: str) -> str | None:
    if event.call is None:
        return None
    if SECOND_BACKWARD in message:
        return "second-backward"
    if NO_GRAPH in message:
        return "no-graph"
    if INPLACE not in message:
        return None
    calls = story.record.backward_calls
    mine = {i for i in calls[event.call].nodes if not story.record.graph.nodes[i].is_leaf}
    kept = (c for c in calls[: event.call] if c.retain_graph)
    return "inplace-after-retain" if any(mine & {*c.nodes} for c in kept) else "inplace"
