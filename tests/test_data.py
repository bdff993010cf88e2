"""The data: shapes, ranges, and randomness that leaves the global state alone."""

import pytest
import torch

from gan_lessons import data

DRAWS = {
    "ring": lambda seed: data.ring(50, seed),
    "spiral": lambda seed: data.spiral(50, seed),
    "noise": lambda seed: data.noise(50, (3, 2), seed),
    "batch": lambda seed: data.batch(torch.arange(1000.0), 50, seed),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_follow_their_seed_alone(draw):
    before = torch.get_rng_state()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_generator_moves_on(draw):
    generator = torch.Generator().manual_seed(1)
    first, second = draw(generator), draw(generator)
    assert torch.equal(first, draw(1))
    assert not torch.equal(first, second)


def test_ring_has_its_modes():
    points = data.ring(4000, modes=5, std=0.01)
    assert points.shape == (4000, 2)
    assert points.dtype == torch.float32
    centres = points / points.norm(dim=1, keepdim=True)
    sector = torch.atan2(centres[:, 1], centres[:, 0]) * 5 / (2 * torch.pi)
    assert (sector - sector.round()).abs().max() < 0.1  # near a multiple of 72 degrees
    assert sector.round().remainder(5).unique().tolist() == [0, 1, 2, 3, 4]
    assert points.norm(dim=1).mean().item() == pytest.approx(0.8, abs=0.01)


def test_spiral_without_noise_is_one_curve():
    points = data.spiral(500, std=0.0)
    radius = points.norm(dim=1)
    assert points.shape == (500, 2)
    assert radius.max() <= 0.9
    angle = 4 * torch.pi * radius / 0.9
    expected = radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    torch.testing.assert_close(points, expected, atol=1e-4, rtol=0)


def test_digits_are_images_between_minus_one_and_one():
    images = data.digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float32
    assert (images.min().item(), images.max().item()) == (-1, 1)


def test_batch_draws_rows():
    rows = data.batch(torch.arange(6.0).reshape(3, 2), 40)
    assert rows.shape == (40, 2)
    assert torch.equal(rows.unique(dim=0), torch.arange(6.0).reshape(3, 2))


def test_noise_is_standard_normal():
    noise = data.noise(20_000, (2,))
    assert noise.shape == (20_000, 2)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
