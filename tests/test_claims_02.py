"""The article's claims about strategy 1, measured without the notebook."""

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import mlp_gan, published, record, step_retain_graph, tiny_gan
from gan_lessons.data import noise
from gan_lessons.gan import Gan

SECOND = r"^Trying to backward through the graph a second time"
GANS = {
    "tiny": lambda: (tiny_gan(seed=1), (2,), (2,)),
    "mlp": lambda: (mlp_gan(), (1, 8, 8), (32,)),
}


@pytest.fixture(params=GANS)
def setting(request: pytest.FixtureRequest) -> tuple[Gan, Tensor, Tensor]:
    gan, sample, latent = GANS[request.param]()
    return gan, noise(8, sample, seed=0).tanh(), noise(8, latent, seed=1)


def norms(net: nn.Module) -> list[float]:
    return [0.0 if p.grad is None else float(p.grad.norm()) for p in net.parameters()]


def losses(gan: Gan, real: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """d_loss and g_loss of one forward, written out once more."""
    G, D, _, _, loss = gan.parts
    fake, ones, zeros = D(G(z)), torch.ones(8, 1), torch.zeros(8, 1)
    return (loss(D(real), ones) + loss(fake, zeros)) / 2, loss(fake, ones)


def test_c02_d_loss_also_computes_gs_gradient(setting: tuple[Gan, Tensor, Tensor]) -> None:
    gan, real, z = setting
    d_loss, _ = losses(gan, real, z)
    d_loss.backward()
    assert min(norms(gan.generator)) > 0
    before = [p.clone() for p in gan.generator.parameters()]
    gan.optimizer_d.step()  # and yet only D is updated
    after = gan.generator.parameters()
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))


def test_c03_gs_gradients_must_be_cleared_in_between(
    setting: tuple[Gan, Tensor, Tensor],
) -> None:
    gan, real, z = setting
    G = list(gan.generator.parameters())
    d_loss, g_loss = losses(gan, real, z)
    right = torch.autograd.grad(g_loss, G, retain_graph=True)
    left_over = torch.autograd.grad(d_loss, G, retain_graph=True)
    d_loss.backward(retain_graph=True)
    g_loss.backward()
    for p, a, b in zip(G, right, left_over, strict=True):
        assert p.grad is not None
        assert torch.allclose(p.grad, a + b, atol=1e-7)
        assert not torch.allclose(p.grad, a, rtol=1e-2)
    # The step of the package clears, and leaves what it should.
    gan.generator.zero_grad()
    step_retain_graph(gan, real, z)
    assert all(torch.equal(p.grad, a) for p, a in zip(G, right, strict=True) if p.grad is not None)
    assert all(p.grad is not None for p in G)


@pytest.mark.parametrize(("bias", "turned"), [(-1.0, False), (0.0, False), (2.5, True)])
def test_c03_left_out_the_gradient_turns_round_where_d_believes(bias: float, turned: bool) -> None:
    gan = mlp_gan(seed=0)
    with torch.no_grad():
        list(gan.discriminator.parameters())[-1].add_(bias)
    real, z = noise(8, (1, 8, 8), seed=0).tanh(), noise(8, (32,), seed=1)
    believed = gan.discriminator(gan.generator(z)).detach()
    assert bool((believed > 2 / 3).all()) is turned  # no sample in between, else the test is void
    assert bool((believed < 2 / 3).all()) is not turned
    G = list(gan.generator.parameters())
    d_loss, g_loss = losses(gan, real, z)
    right = torch.autograd.grad(g_loss, G, retain_graph=True)
    total = torch.autograd.grad(d_loss + g_loss, G)
    a, b = (torch.cat([g.flatten() for g in grads]) for grads in (right, total))
    cosine = float(torch.cosine_similarity(a, b, dim=0))
    assert (cosine < -0.9) if turned else (cosine > 0.9)


def test_c04_two_backwards_need_the_first_to_retain(setting: tuple[Gan, Tensor, Tensor]) -> None:
    gan, real, z = setting
    d_loss, g_loss = losses(gan, real, z)
    d_loss.backward()
    with pytest.raises(RuntimeError, match=SECOND):
        g_loss.backward()
    d_loss, g_loss = losses(gan, real, z)
    d_loss.backward(retain_graph=True)
    g_loss.backward()
    with pytest.raises(RuntimeError, match=SECOND):
        g_loss.backward()  # the second call did not retain


def test_c05_g_loss_fills_d_and_the_next_zero_grad_clears(
    setting: tuple[Gan, Tensor, Tensor],
) -> None:
    gan, real, z = setting
    gan.discriminator.zero_grad()
    _, g_loss = losses(gan, real, z)
    g_loss.backward()
    assert min(norms(gan.discriminator)) > 0
    gan.optimizer_d.zero_grad()
    assert norms(gan.discriminator) == [0.0] * len(list(gan.discriminator.parameters()))
    with record(gan.nets, gan.optimizers) as rec:
        step_retain_graph(gan, real, z)
    assert len(rec.backward_calls[1].received["D"]) == len(rec.parameters["D"])


def test_c06_as_printed_it_does_not_train(setting: tuple[Gan, Tensor, Tensor]) -> None:
    gan, real, z = setting
    before = [p.clone() for p in gan.generator.parameters()]
    prefix = "^one of the variables needed for gradient computation has been modified by an inplace"
    with pytest.raises(RuntimeError, match=prefix):
        published.retain_graph_as_printed(gan, real, z)
    after = gan.generator.parameters()
    assert all(torch.equal(p, q) for p, q in zip(before, after, strict=True))
