"""Which optimizer holds which net: gradients that no step was there to use."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.facts import Finding, Story


def never_stepped(story: Story) -> Iterator[Finding]:
    """A net with an optimizer got gradient, and no step used any of it in the whole record."""
    if story.failed or story.inside:
        return
    told = {event for one in cut_off(story) for event in one.events}  # calls meant for another net
    for net in story.trained:
        if story.steps_of(net) or story.moves_by_hand(net):
            continue  # a step that found nothing is cut off
        # What another player's own call left here is waste: that player's rule tells of it.
        calls = [
            c.index
            for c in story.calls_made
            if net in story.receivers(c)
            and c.index not in story.uses
            and story.events[c.index].index not in told
        ]
        if not calls or not story.finite_after(net, calls):
            continue  # a GradScaler skips the step where a gradient is not finite
        yield story.finding(
            "never-stepped", "wrong", net, story.events_of(calls),
            "{calls} filled the gradients of {net}, and no step used them: {net} does not learn.",
            "Call the step of the optimizer of {net} after it. If that comes later in your loop, "
            "record up to there.",
            calls=story.calls(calls),
        )  # fmt: skip
