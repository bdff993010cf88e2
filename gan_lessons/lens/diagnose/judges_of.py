"""Whose verdict a constant term may be: not that of a net which made what ``net`` judged itself."""

from __future__ import annotations

from collections.abc import Iterable

from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import Cut


def judges_of(story: Story, net: str, cut: Cut, nets: Iterable[str]) -> list[str]:
    """Those of ``nets`` that the value which was cut off came through, and that may have judged
    what ``net`` made."""
    met = (other for other in sorted(nets) if story.met(cut, other))
    return [other for other in met if not _judged_itself(story, net, other, cut)]


def _judged_itself(story: Story, net: str, other: str, cut: Cut) -> bool:
    """Did ``net`` come after the other only, whose output was cut off before it, and learn from
    that output by parts of its own? A part that stands still gives a number, and nobody learns."""
    reached = story.reached(cut.source)
    before = [story.made_from(c) for i in reached for c in story.cuts_into.get(i, ())]
    before += [frozenset([f.net]) for i in reached for f in story.fed_into.get(i, ())]
    if net in story.behind[cut.source].union(*before):
        return False
    for call in (story.record.backward_calls[c] for c in story.calls_of(net)):
        taken = {c.target for c in story.cuts_before(call, [other])}
        taken |= {i for i in call.nodes if any(f.net == other for f in story.fed_into.get(i, ()))}
        if (net, other) in story.links(call) or any(story.owner[i] == net for i in taken):
            return True
    return False
