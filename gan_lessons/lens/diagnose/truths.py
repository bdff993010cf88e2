"""What a player is drawn to beside a verdict: a truth, or what it had been given itself."""

from __future__ import annotations

from collections.abc import Iterable

from gan_lessons.lens.diagnose.loss_forms import RESHAPES, SQUARES
from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Story

# What may stand between a player's output and what compares it: these add nothing of others.
ON_THE_WAY = RESHAPES | SQUARES | {
    "MeanBackward0", "MeanBackward1", "SumBackward0", "SumBackward1", "MulBackward0",
    "DivBackward0", "SigmoidBackward0", "TanhBackward0", "LogSoftmaxBackward0", "SqrtBackward0",
}  # fmt: skip


def is_drawn_to_a_truth(story: Story, calls: Iterable[int], judge: str, player: str) -> bool:
    """Do these calls compare what the player made with something that no net but the judge had been
    given, and with nothing that one had?"""
    made = story.record.backward_calls
    terms = {t for i in calls for t in summed(story, made[i])[1] if player in story.behind[t]}
    found = [nets for t in terms for nets in _compared(story, t, player)]
    return bool(found) and all(nets <= {judge} for nets in found)


def _compared(story: Story, term: int, player: str) -> Iterable[frozenset[str]]:
    """For each comparison of what ``player`` itself made, behind this term: the nets that were
    given what it is compared with."""
    graph = story.record.graph
    waiting: list[tuple[int, int | None]] = [(term, None)]
    seen = set[tuple[int, int | None]]()
    while waiting:
        if (one := waiting.pop()) in seen or one[0] not in graph.nodes:
            continue
        seen.add(one)
        key, compared = one
        if compared is not None and story.owner[key] == player:
            yield graph.targets[compared]
        elif compared is None and key in graph.targets:
            waiting += [(i, key) for i in graph.nodes[key].inputs]
        elif graph.nodes[key].op in ON_THE_WAY:
            waiting += [(i, compared) for i in graph.nodes[key].inputs]
