"""The nets: shapes, ranges, seeds; and the factories that make whole GANs of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gan_lessons import dcgan, losses, mlp_gan, tiny_gan
from gan_lessons.models import DCDiscriminator, DCGenerator, Discriminator, Generator


@settings(max_examples=20, deadline=None)
@given(
    noise_dim=st.integers(1, 5),
    sample_shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    hidden=st.lists(st.integers(1, 6), max_size=3),
    batch=st.integers(1, 3),
)
def test_any_mlp_pair_fits_together(noise_dim, sample_shape, hidden, batch):
    G = Generator(noise_dim, sample_shape, hidden)
    D = Discriminator(sample_shape, hidden)
    fake = G(torch.randn(batch, noise_dim))
    prediction = D(fake)
    assert fake.shape == (batch, *sample_shape)
    assert fake.abs().max() <= 1
    assert prediction.shape == (batch, 1)
    assert 0 < prediction.min() <= prediction.max() < 1
    linears = [m for m in G.modules() if isinstance(m, nn.Linear)]
    assert len(linears) == len(hidden) + 1


@pytest.mark.parametrize("size", [8, 16, 64])
def test_dcgan_pair_doubles_and_halves(size):
    G, D = DCGenerator(5, size, channels=3, width=2), DCDiscriminator(size, channels=3, width=2)
    fake = G(torch.randn(2, 5))
    assert fake.shape == (2, 3, size, size)
    assert D(fake).shape == (2, 1)
    assert G.in_shape == (5,)
    assert G.out_shape == D.in_shape == (3, size, size)


@pytest.mark.parametrize("size", [1, 4, 12, 63])
def test_dcgan_size_is_a_power_of_two(size):
    with pytest.raises(ValueError, match=f"power of two of at least 8, got {size}"):
        dcgan(size=size)


@pytest.mark.parametrize("shape", [(0,), (2, -1), (2.5,), ()])
def test_sizes_are_whole_numbers(shape):
    with pytest.raises(ValueError, match="whole numbers of at least 1"):
        Generator(3, shape, hidden=(4,))


@pytest.mark.parametrize("batchnorm", [True, False])
def test_batchnorm_in_the_discriminator_is_optional(batchnorm):
    D = dcgan(size=16, width=2, batchnorm=batchnorm).discriminator
    assert any(isinstance(m, nn.BatchNorm2d) for m in D.modules()) == batchnorm


@pytest.mark.parametrize("make", [mlp_gan, lambda **how: dcgan(size=16, width=2, **how)])
def test_logits_are_the_prediction_before_the_sigmoid(make):
    plain, logits = make(seed=3), make(seed=3, logits=True)
    sample = torch.randn(4, *plain.discriminator.in_shape)
    expected = plain.discriminator(sample)
    torch.testing.assert_close(logits.discriminator(sample).sigmoid(), expected)
    assert isinstance(plain.loss, nn.BCELoss)
    assert logits.loss is losses.bce_with_logits


def flat(net):
    return nn.utils.parameters_to_vector(net.parameters())


@pytest.mark.parametrize("make", [mlp_gan, tiny_gan, lambda seed: dcgan(16, width=2, seed=seed)])
def test_the_seed_decides_the_weights_and_nothing_else(make):
    before = torch.get_rng_state()
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for net in ("generator", "discriminator"):
        a, b, c = (flat(getattr(gan, net)) for gan in (first, again, other))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_the_real_ones_use_adam_as_gan_papers_do():
    for gan in (mlp_gan(), dcgan(size=8, width=2)):
        for optimizer in (gan.optimizer_g, gan.optimizer_d):
            assert isinstance(optimizer, torch.optim.Adam)
            assert optimizer.param_groups[0]["lr"] == 2e-4
            assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_dcgan_starts_from_the_weights_of_its_paper():
    G = dcgan(size=32, width=16).generator
    for module in G.modules():
        if isinstance(module, nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)


def test_tiny_gan_is_as_small_as_it_says():
    gan = tiny_gan()
    assert sum(p.numel() for p in gan.generator.parameters()) == 17
    assert sum(p.numel() for p in gan.discriminator.parameters()) == 13
