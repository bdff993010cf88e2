"""What raised, as the record itself explains it."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.facts import Finding, Story
from gan_lessons.lens.model import INPLACE, NO_GRAPH, SECOND_BACKWARD

CODES = {
    INPLACE: "inplace-after-retain",
    SECOND_BACKWARD: "second-backward",
    NO_GRAPH: "no-graph",
}


def errors(story: Story) -> Iterator[Finding]:
    """An exception of the three that a graph raises; message and fix come with the record."""
    for event in story.record.events:
        message = event.message or ""
        code = next((code for start, code in CODES.items() if start in message), None)
        if event.kind != "error" or event.call is None or code is None:
            continue
        fix = event.fix or "Look at the graph at this event: draw_graph(record=rec)."
        what = event.what or message
        yield story.finding(code, "error", None, [event], "{what}", "{do}", what=what, do=fix)
