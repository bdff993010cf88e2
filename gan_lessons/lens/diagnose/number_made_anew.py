"""A number in the place of a loss, as a tensor of its own that wants a gradient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Line


def number_made_anew(story: Story) -> Iterator[Finding]:
    """Time and again a term of a loss is a new leaf of one number, of which nobody reads the
    gradient: the number was read off something, and the graph of that was lost."""
    if story.failed or story.inside:
        return
    graph, found = story.record.graph, defaultdict[tuple[str, Line], list[BackwardCall]](list)
    for call in (c for c in story.calls_made if c.index in story.uses):
        for term in summed(story, call)[1] & (graph.anew - graph.asked):
            above = (line for i in story.takers.get(term, ()) if (line := graph.lines.get(i)))
            if (line := next(above, None)) is not None:
                found[min(net for _, net in story.uses[call.index]), line].append(call)
    for (net, line), calls in found.items():
        if len(calls) > 1:
            yield story.finding(
                "cut-off", "wrong", net, story.events_of(c.index for c in calls),
                "In {call} a term is a tensor that was made anew of a number{where}, with "
                "requires_grad=True: it has no graph, and nobody learns anything from it.",
                "Put the loss itself into the sum, of which that number was read: torch.stack(...) "
                "and .mean() keep the graph, NumPy, float(), .item() and torch.tensor(...) do not.",
                call=story.call(calls[0].index), where=story.in_line(line),
            )  # fmt: skip
