"""Graphs of earlier iterations that are still alive: what they hold, and who made the oldest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import Event, Line

FEWEST = 3  # steps of one optimizer: the second always finds what the first iteration left


def memory_growth(story: Story) -> Iterator[Finding]:
    """At every step of every optimizer there is more graph than at its step before."""
    if story.failed or story.inside:
        return
    series: dict[str | None, list[Event]] = defaultdict(list)
    for step in story.steps:
        series[step.event.target].append(step.event)
    if not series or min(map(len, series.values())) < FEWEST:
        return
    if not all(_grows(events) for events in series.values()):
        return
    events = series[story.steps[-1].event.target]
    first, last, times = events[0], events[-1], len(events) - 1
    size = (last.held.activations - first.held.activations) // times
    message = (
        "The graph grows with each iteration: {nodes} nodes more each time, which hold {kib} KiB "
        "more. Graphs of earlier iterations are still alive{oldest}."
    )
    if size <= 0:
        message = (
            "The graph grows with each iteration: {nodes} nodes more each time. Graphs of earlier "
            "iterations are still alive{oldest}."
        )
    yield story.finding(
        "memory-growth", "waste", None, [first, last], message,
        "Keep numbers, not graphs: .item() or .detach() what you keep for a log, an average or a "
        "pool, and leave out retain_graph=True where nothing walks the graph again.",
        nodes=(len(last.states) - len(first.states)) // times, kib=f"{size / 1024:,.1f}",
        oldest=_oldest(story, last),
    )  # fmt: skip


def _grows(events: list[Event]) -> bool:
    return all(
        len(two.states) > len(one.states) or two.held.activations > one.held.activations
        for one, two in pairwise(events)
    )


def _oldest(story: Story, event: Event) -> str:
    """The line that made the oldest node that is alive."""
    graph = story.record.graph
    for node in sorted(event.states):
        if graph.nodes[node].is_leaf:
            continue
        line: Line | None = graph.lines.get(node)
        if (forward := graph.nodes[node].forward) is not None:
            line = story.record.forwards[forward].line
        if line is not None and line.text:
            return f"; the oldest was made by {story.quoted(line)}"
    return ""
