"""Many seeds at once are the same trainings, one by one; and the statistics on them."""

import math

import pytest
import torch

from gan_lessons import STRATEGIES, Gan, dcgan, mlp_gan
from gan_lessons.data import ring, rng
from gan_lessons.dirac import with_r1
from gan_lessons.many_seeds import bootstrap_interval, sign_flip_p, stacked
from gan_lessons.ring_study import (
    BATCH,
    MODES,
    STD,
    Score,
    Seeds,
    grid,
    keep_scores,
    measured_on,
    ring_gan,
    ring_of_8,
    ring_scores,
    score,
)


def doubled(seed: int) -> Gan:
    """In float64: Adam's first steps would blow a difference of rounding up."""
    gan = ring_gan(seed)
    for net in gan.nets.values():
        net.double()
    return Gan.with_adam(gan.generator, gan.discriminator, gan.loss, lr=2e-3)


@pytest.mark.parametrize("key", ["retain_graph", "detach", "generator_first", "selective"])
def test_one_seed_of_the_batch_is_the_ordinary_step(key):
    seeds, alone = Seeds(3, doubled), [doubled(seed) for seed in range(3)]
    step = STRATEGIES[key].step
    for _ in range(5):
        real, noise = (x.double() for x in seeds.batch())
        both = step(seeds.gan, real, noise)
        ones = [step(gan, real[i], noise[i]) for i, gan in enumerate(alone)]
    assert float(both.d_loss) == pytest.approx(sum(float(one.d_loss) for one in ones), rel=1e-12)
    for name, net in seeds.gan.nets.items():
        for i, gan in enumerate(alone):
            for stack, weight in zip(net.parameters(), gan.nets[name].parameters(), strict=True):
                torch.testing.assert_close(stack[i], weight, rtol=0, atol=1e-11)
    start = doubled(0).generator.parameters()
    moved = [w - v for w, v in zip(alone[0].generator.parameters(), start, strict=True)]
    assert max(float(m.detach().abs().max()) for m in moved) > 1e-3  # far more than that difference


def test_a_penalty_on_all_seeds_is_each_seeds_own():
    seeds, alone = Seeds(3, doubled), [doubled(seed) for seed in range(3)]
    real, noise = (x.double() for x in seeds.batch())
    with_r1(STRATEGIES["detach"].step, 0.5, samples=BATCH)(seeds.gan, real, noise)
    for i, gan in enumerate(alone):
        with_r1(STRATEGIES["detach"].step, 0.5)(gan, real[i], noise[i])
        own = zip(seeds.gan.discriminator.parameters(), gan.discriminator.parameters(), strict=True)
        for stack, weight in own:
            assert stack.grad is not None
            assert weight.grad is not None
            torch.testing.assert_close(stack.grad[i], weight.grad, rtol=1e-9, atol=1e-12)


def test_seeds_do_not_feel_each_other():
    """Another neighbour, the same seed: the same weights to the last bit."""
    mine, other = Seeds(2), Seeds(2, make=lambda seed: ring_gan(seed if seed == 0 else 77))
    for seeds in (mine, other):
        seeds.train(STRATEGIES["detach"].step, ((2e-3, 3),))
    for a, b in zip(mine.gan.generator.parameters(), other.gan.generator.parameters(), strict=True):
        assert torch.equal(a[0], b[0])
        assert not torch.equal(a[1], b[1])


def test_nets_with_buffers_are_refused():
    gans = [dcgan(16, 1, 4, width=4, seed=seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="BatchNorm"):
        stacked(gans)


def test_stacking_changes_nothing():
    gans = [mlp_gan(seed=seed) for seed in (0, 1)]
    before = [p.clone() for gan in gans for p in gan.generator.parameters()]
    stacked(gans)
    after = [p for gan in gans for p in gan.generator.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_scores():
    assert score(ring(4000, seed=0, std=STD)).modes == MODES
    # a Rayleigh distance is within 3 standard deviations with probability 1 - exp(-9/2)
    assert score(ring(20_000, seed=0, std=STD)).good == pytest.approx(1 - math.exp(-4.5), abs=3e-3)
    one_mode = torch.tensor([[0.8, 0.0]]).repeat(100, 1)
    assert score(one_mode).modes == 1
    assert score(one_mode).good == 1.0
    assert not score(one_mode).passed
    assert score(torch.zeros(100, 2)).good == 0.0


def test_scores_on_the_grid():
    clusters, generator = grid(), rng(0)
    assert clusters.centres.shape == (25, 2)
    found = score(clusters.draw(20_000, generator), clusters)
    assert (found.modes, found.of) == (25, 25)
    assert found.good == pytest.approx(1 - math.exp(-4.5), abs=3e-3)
    assert found.passed
    without = clusters.draw(20_000, generator)
    corner = (without - clusters.centres[0]).norm(dim=1) < 0.2
    assert score(without[~corner], clusters).modes == 24
    assert not score(without[~corner], clusters).passed


def test_the_ring_is_that_of_the_data():
    for n in (1, 7, 256):
        assert torch.equal(ring_of_8(0.02).draw(n, rng(3)), ring(n, 3, MODES, 0.02))


def test_seeds_learn_the_clusters_that_they_are_given():
    """Their batches come from there, and they are judged against it."""
    seeds = Seeds(2, clusters=grid())
    real, noise = seeds.batch()
    assert real.shape == noise.shape == (2, BATCH, 2)
    assert score(real[0], grid()).good > 0.95 > score(real[0], ring_of_8()).good
    assert [s.of for s in seeds.scores()] == [25, 25]


def test_scores_are_kept_beside_those_of_other_settings(tmp_path):
    path = tmp_path / "scores.json"
    assert ring_scores(path) == {}
    first = {"a": {"S2": {3: [Score(8, 0.5)]}, "S3": {3: [Score(7, 0.25)]}}}
    second = {"b": {"S2": {3: [Score(25, 1.0, 25)]}, "S3": {3: [Score(0, 0.0, 25)]}}}
    keep_scores(first, "here", path)
    keep_scores(second, "there", path)
    assert ring_scores(path) == first | second
    assert measured_on(path) == "there"
    keep_scores({"a": second["b"]}, "there", path)
    assert ring_scores(path)["a"] == second["b"]


def test_sign_flips_by_hand():
    """Three differences of one sign: of 8 patterns only +++ and --- are as far from 0."""
    assert sign_flip_p([1.0, 2.0, 0.5]) == 2 / 8
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert sign_flip_p([0.1] * 10) == 2 / 1024


def test_bootstrap_interval_holds_the_mean_and_narrows():
    values = torch.randn(40, generator=torch.Generator().manual_seed(0)).tolist()
    low, high = bootstrap_interval(values)
    mean = sum(values) / 40
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(40), rel=0.25)
    assert bootstrap_interval([3.0] * 5) == (3.0, 3.0)
