"""A code that is drawn without a gradient, where it was to be drawn with one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gan_lessons.lens.diagnose.choices import RESAMPLED
from gan_lessons.lens.diagnose.partly_cut_off import constant_term
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import BackwardCall, Cut

_DIVERGENCE = re.compile(r"(?<![a-z])kl(?![aeiou])", re.IGNORECASE)


def drawn(story: Story) -> Iterator[Finding]:
    """What a net made is the mean and the spread of a draw by ``sample()``, from which other parts
    learn in a call in which their divergence (a "KL") teaches that net: a variational autoencoder,
    whose encoder learns from the divergence alone.

    Not where the draw is scored: what takes it and what it was drawn by (a log-probability, say).
    A call without a divergence may train two nets at once that have nothing to tell each other.
    """
    if story.failed or story.inside:
        return
    told = {one.net for one in story.told(constant_term)}
    for cut in (c for c in story.record.graph.cuts if _is_drawn(c)):
        made_by = story.leaves_of(cut.source)
        for call in (c for c in story.calls_made if cut.target in c.nodes):
            pupils = {n for _, n in story.uses.get(call.index, ())} & {n for n, _ in made_by}
            nets = sorted(pupils - told)
            if not nets or _is_scored(story, cut, made_by) or not _diverges(story, call, made_by):
                continue
            told.update(nets)
            yield story.finding(
                "cut-off", "wrong", nets[0], [story.events[call.index]],
                "In {call} a draw{where} hands no gradient on to {net}: what of {net} made the "
                "mean and the spread of it learns from their divergence, and from nothing that is "
                "made of the draw.",
                RESAMPLED,
                call=story.call(call.index), where=story.in_line(cut.line),
            )  # fmt: skip


def _is_drawn(cut: Cut) -> bool:
    by_name = cut.line is not None and re.search(r"[.]sample(_n)?[(]", cut.line.expression)
    return bool(by_name) and cut.how == "torch.no_grad"


def _is_scored(story: Story, cut: Cut, made_by: frozenset[tuple[str, str]]) -> bool:
    """Does anything take the draw and, with its graph, what it was drawn by?"""
    same = (c for c in story.record.graph.cuts if c.source == cut.source)
    return any(story.leaves_of(c.target) & made_by for c in same)


def _diverges(story: Story, call: BackwardCall, made_by: frozenset[tuple[str, str]]) -> bool:
    """Is there a number that a divergence gave, made of the same?"""
    graph = story.record.graph
    return any(
        (line := graph.lines.get(i)) is not None
        and _DIVERGENCE.search(line.text)
        and story.leaves_of(i) & made_by
        for i in call.nodes
    )
