"""Lesson 07, dynamics: what training says about the ranking and about an accurate D.

The kept scores are those of ``benchmarks/ring.py``. What ten seeds on the ring show, the lesson
trains itself, and ``tools/lesson_sentences.py`` holds what it shows. Here are the verdicts on it.
"""

from __future__ import annotations

import copy
import re

import pytest
import torch

from gan_lessons import STRATEGIES, Gan, data, mlp_gan
from gan_lessons.classroom import needs_an_accurate_d, ranking_by_training
from gan_lessons.d_accuracy import aims, d_step, gradient_of_g, with_more_d
from gan_lessons.many_seeds import bootstrap_interval
from gan_lessons.ring_study import Kept, Score, Seeds, ring_gan, ring_scores, score
from gan_lessons.steps import step_detach, step_generator_first, step_retain_graph


def weights(gan: Gan) -> list[torch.Tensor]:
    return [p.detach().clone() for net in gan.nets.values() for p in net.parameters()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def gap(s2: list[Score], s3: list[Score]) -> tuple[float, float]:
    return bootstrap_interval([a.good - b.good for a, b in zip(s2, s3, strict=True)])


# C17, the half about training: S3 is best, S2 second, S1 worst.


def kept_with(*shifts: float) -> Kept:
    """A setting for each shift, by which S2 has more good samples than S3; the last steps count."""
    return {
        str(number): {
            "S2": {5: [Score(8, 0.0)] * 4, 10: [Score(8, 0.5 + shift + n / 50) for n in range(4)]},
            "S3": {5: [Score(8, 0.9)] * 4, 10: [Score(8, 0.5 + n / 50) for n in range(4)]},
        }
        for number, shift in enumerate(shifts)
    }


def test_c17_the_verdict_follows_the_scores():
    assert ranking_by_training(kept_with(-0.2, -0.2, 0.2), s1_is_s3=False).holds
    assert not ranking_by_training(kept_with(-0.2, 0.0, 0.2), s1_is_s3=False).holds
    assert not ranking_by_training(kept_with(0.2, 0.2), s1_is_s3=False).holds
    both = [ranking_by_training(kept_with(-0.2, 0.0, 0.2, 0.2), s1_is_s3=s) for s in (True, False)]
    assert [told.holds for told in both] == [False, False]  # S1 is told beside, and judges nothing
    assert ["the same weights" in told.evidence for told in both] == [True, False]
    told = both[0]
    assert "4 settings S2 has more good samples than S3 in 2, fewer in 1, and in 1" in told.evidence
    with pytest.raises(ValueError, match="no setting"):
        ranking_by_training({}, s1_is_s3=True)


def test_c17_by_training_s3_is_ahead_of_s2_at_the_end_of_no_setting():
    kept = ring_scores()
    assert len(kept) >= 7
    ends = {name: gap(*(by[s][max(by[s])] for s in ("S2", "S3"))) for name, by in kept.items()}
    assert not [name for name, (_, high) in ends.items() if high < 0]
    assert len([name for name, (low, _) in ends.items() if low > 0]) > len(ends) / 2
    assert not ranking_by_training(kept, s1_is_s3=True).holds


def test_c17_s1_trains_as_s3_to_the_last_bit():
    found = {}
    for name, step in (
        ("S1", step_retain_graph),
        ("S2", step_detach),
        ("S3", step_generator_first),
    ):
        gan = ring_gan(0)
        for number in range(50):
            step(gan, data.ring(64, number, std=0.05), 2 * data.noise(64, (2,), 500 + number))
        found[name] = weights(gan)
    assert equal(found["S1"], found["S3"])
    assert not equal(found["S2"], found["S3"])


# C18: S3 feels odd, since G's update needs an accurate D.


def test_c18_the_verdict_follows_what_was_measured():
    low, high = [0.1, 0.2, 0.3, 0.2], [0.4, 0.5, 0.6, 0.5]
    better, worse, same = {"S3": low, "S2": high}, {"S3": high, "S2": low}, {"S3": low, "S2": low}
    told = needs_an_accurate_d({100: better}, low, high)
    assert (told.less, told.helps) == (True, True)
    for spoilt in (worse, same):
        assert not needs_an_accurate_d({100: better, 300: spoilt}, low, high).less
    for few, many in ((low, low), (high, low)):
        assert not needs_an_accurate_d({100: better}, few, many).helps
    by = "(difference +0.30 [0.30, 0.30]"  # each seed by as much, so the interval is no wider
    means = re.findall(r"(0\.\d\d) \[(0\.\d\d), (0\.\d\d)\]", told.evidence.replace(by, ""))
    assert [mean for mean, _, _ in means] == ["0.20", "0.50"] * 2
    assert all(low < mean < high for mean, low, high in means)
    assert f"after 100 steps {by}); good samples of S3 0.20 [" in told.evidence
    assert f"with more steps of D {by}; in brackets: 95 % intervals" in told.evidence
    uneven = needs_an_accurate_d({100: better}, low, [0.4, 0.5, 0.9, 0.5])
    low_end, high_end = map(
        float, re.findall(r"D \(difference \+0\.38 \[([\d.]+), ([\d.]+)\]", uneven.evidence)[0]
    )
    assert 0.3 <= low_end < 0.38 < high_end <= 0.6
    with pytest.raises(ValueError, match="no moment"):
        needs_an_accurate_d({}, low, high)


# What measures it.


def test_d_learns_as_in_a_strategy_and_g_stands_still():
    alone, whole = mlp_gan((2,), 2, (8,), (8,)), mlp_gan((2,), 2, (8,), (8,))
    start = weights(whole)
    real, noise = data.ring(16, 1), data.noise(16, (2,), 2)
    d_step(alone, real, noise)
    step_detach(whole, real, noise)
    of_d = len(list(whole.discriminator.parameters()))
    assert equal(weights(alone)[-of_d:], weights(whole)[-of_d:])
    assert equal(weights(alone)[:-of_d], start[:-of_d])
    assert all(p.grad is None for p in alone.generator.parameters())


def test_more_steps_of_d_come_before_the_step():
    by_hand, ours = ring_gan(0), ring_gan(0)
    batches = [(data.ring(16, n), data.noise(16, (2,), 50 + n)) for n in range(3)]
    left = iter(batches[:2])
    with_more_d(step_detach, 2, lambda: next(left))(ours, *batches[2])
    for batch in batches[:2]:
        d_step(by_hand, *batch)
    step_detach(by_hand, *batches[2])
    assert equal(weights(ours), weights(by_hand))


def test_without_more_steps_of_d_the_d_of_s3_is_the_accurate_one_and_nothing_moves():
    seeds = Seeds(2)
    seeds.train(step_generator_first, ((2e-3, 5),))
    before = weights(seeds.gan)
    found = aims(seeds, more=0)
    assert equal(before, weights(seeds.gan))
    assert found["S3"] == pytest.approx([1.0] * 2, abs=1e-5)
    assert max(found["S2"]) < 1


def test_the_gradient_is_the_one_that_g_uses_and_nothing_moves():
    seeds = Seeds(2)
    before, real_noise = weights(seeds.gan), seeds.batch()
    found = gradient_of_g(seeds.gan, STRATEGIES["detach"].step, *real_noise)
    assert equal(before, weights(seeds.gan))
    for seed in range(2):
        G, D = (copy.deepcopy(net) for net in seeds.nets(seed))
        gan = Gan.with_adam(G, D, ring_gan(0).loss, lr=2e-3)
        step_detach(gan, *(x[seed] for x in real_noise))
        alone = torch.cat([p.grad.flatten() for p in G.parameters() if p.grad is not None])
        torch.testing.assert_close(found[seed], alone, rtol=1e-3, atol=1e-5)
    assert score(seeds.samples()[0]).of == 8
