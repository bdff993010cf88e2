"""A loss that teaches another player through a net, and stops at a cut before this one."""

from __future__ import annotations

from gan_lessons.lens.diagnose.choices import CHOICES, SOFT_CHOICE
from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import BackwardCall, Cut

ON_THE_WAY = (
    "{call}, which came before it, does not reach {nets}: what {nets} made was cut off by {how} on "
    "the way{where}."
)


def cut_on_the_way(story: Story, call: BackwardCall, nets: tuple[str, ...]) -> Cut | None:
    """Where what one of ``nets`` made was cut off before it went on to a net that does not learn
    from this call: as judge it teaches those who made its input. (A judge that learns from the call
    is to be told apart from ``nets``: its turn is cut on purpose.)"""
    users, walked = {net for _, net in story.uses.get(call.index, ())}, {*call.nodes}
    for cut in story.cuts_before(call, nets):
        above = story.above(cut.target, walked)
        judges = {net for i in above if (net := story.owner[i]) is not None} - {*nets}
        if judges and not judges & users:
            return cut
    return None


def without_it(cut: Cut) -> str:
    """What to do about such a cut."""
    chosen = {cut.how, *(f"{name}()" for name in cut.since)} & CHOICES
    if not chosen:
        return "Hand on what {nets} made itself, without {how}."
    return SOFT_CHOICE if cut.how in CHOICES else f"{SOFT_CHOICE} And leave out {{how}} there."
