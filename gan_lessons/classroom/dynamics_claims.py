"""What training says about two claims of the article: the ranking (C17) and the accurate D (C18).

Each takes what was measured, and says beforehand when a condition of the claim is met. A verdict
on a claim needs all of its conditions: ``article.Scoreboard``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gan_lessons.many_seeds import bootstrap_interval
from gan_lessons.ring_study import Kept, Score

RANKED = (
    "at the end of {settings} settings S2 has more good samples than S3 in {s2}, fewer in {s3}, "
    "and in {neither} the two are not told apart; {s1}"
)
S1_IS_S3 = (
    "in 20 steps of another pair, S1 (as repaired) and S3 end at the same weights, bit by bit"
)
S1_IS_NOT_S3 = "in 20 steps of another pair, S1 (as repaired) and S3 end at different weights"
ACCURATE = (
    "mean cosine to the gradient by an accurate D, with S3 and with S2: {cosines}; good samples "
    "of S3 {few}, and {many} with more steps of D (difference {more}; in brackets: 95 % intervals "
    "of means, differences seed by seed)"
)


class ByTraining(NamedTuple):
    """Whether the ranking holds by training, and the evidence in words."""

    holds: bool
    evidence: str


class Accuracy(NamedTuple):
    """``less``: S3's D is the less accurate one. ``helps``: more steps of D help S3."""

    less: bool
    helps: bool
    evidence: str


def ahead(a: Sequence[float], b: Sequence[float]) -> str | None:
    """ "a" or "b", whichever is larger seed by seed, if the 95 % interval of the difference leaves
    0 out; else None."""
    _, low, high = _more(a, b)
    return "a" if low > 0 else "b" if high < 0 else None


def _more(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """By how much a is ahead of b, seed by seed: the mean, and its 95 % interval."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    return mean(differences), *bootstrap_interval(differences)


def good(scores: Sequence[Score]) -> list[float]:
    """The share of good samples, seed by seed."""
    return [score.good for score in scores]


def ranking_by_training(kept: Kept, s1_is_s3: bool) -> ByTraining:
    """Of C17. It would hold if S3 ended ahead of S2 in most settings.

    kept: what ``ring_scores`` returns; each setting is judged by its last number of steps.
    s1_is_s3: did both end at the same weights, bit by bit? It is told beside, and judges nothing.
    Raises ValueError without a setting.
    """
    if not kept:
        raise ValueError("ranking_by_training() got no setting; benchmarks/ring.py makes them")
    found = Counter(
        ahead(*(good(by_strategy[name][max(by_strategy[name])]) for name in ("S2", "S3")))
        for by_strategy in kept.values()
    )
    evidence = RANKED.format(
        settings=len(kept), s2=found["a"], s3=found["b"], neither=found[None],
        s1=S1_IS_S3 if s1_is_s3 else S1_IS_NOT_S3,
    )  # fmt: skip
    return ByTraining(2 * found["b"] > len(kept), evidence)


def needs_an_accurate_d(
    aims: Mapping[int, Mapping[str, Sequence[float]]], few: Sequence[float], many: Sequence[float]
) -> Accuracy:
    """Of C18. Did S3's D push G less in the accurate direction than S2's at every moment, and did
    more steps of D bring S3 more good samples? Both seed by seed, with intervals.

    aims: number of steps -> what ``d_accuracy.aims`` returns. few, many: good samples of each seed,
    with S3 as it is and with more steps of D. Raises ValueError without a moment.
    """
    if not aims:
        raise ValueError("needs_an_accurate_d() got no moment; d_accuracy.aims() measures them")
    less_accurate = all(ahead(aim["S2"], aim["S3"]) == "a" for aim in aims.values())
    cosines = ", ".join(
        f"{_mean_text(aim['S3'])} and {_mean_text(aim['S2'])} after {steps} steps "
        f"(difference {_more_text(aim['S2'], aim['S3'])})"
        for steps, aim in aims.items()
    )
    evidence = ACCURATE.format(
        cosines=cosines, few=_mean_text(few), many=_mean_text(many), more=_more_text(many, few)
    )
    return Accuracy(less_accurate, ahead(many, few) == "a", evidence)


def _more_text(a: Sequence[float], b: Sequence[float]) -> str:
    return "{:+.2f} [{:.2f}, {:.2f}]".format(*_more(a, b))


def _mean_text(values: Sequence[float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(mean(values), *bootstrap_interval(values))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
