"""The published orderings fail as they do in the wild; before 1.5 one failed in silence."""

from statistics import median

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_lessons import Gan, dcgan, mlp_gan, published
from gan_lessons.steps import step_detach

IN_PLACE = (
    r"^one of the variables needed for gradient computation has been modified by an inplace "
    r"operation"
)
SECOND_TIME = r"^Trying to backward through the graph a second time"
SEEDS = range(20)


def batch_for(gan, n=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    real = torch.rand(n, *gan.discriminator.in_shape, generator=generator) * 2 - 1
    return real, torch.randn(n, *gan.generator.in_shape, generator=generator)


@pytest.mark.parametrize("make", [mlp_gan, lambda: dcgan(16, 1, 4, width=4)])
@pytest.mark.parametrize(
    ("step", "text"),
    [
        (published.retain_graph_as_printed, IN_PLACE),
        (published.detach_as_printed, SECOND_TIME),
    ],
)
def test_as_printed_raises_after_d_has_moved(step, text, make):
    gan = make()
    G, D, *_ = gan.parts
    old_g, old_d = ([p.detach().clone() for p in net.parameters()] for net in (G, D))
    with pytest.raises(RuntimeError, match=text):
        step(gan, *batch_for(gan, n=8))
    assert all(torch.equal(p, q) for p, q in zip(G.parameters(), old_g, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(D.parameters(), old_d, strict=True))
    assert all(p.grad is None for p in G.parameters())


def test_before_1_5_by_hand():
    """g(z) = a z, d(x) = sigmoid(b x): the error of the old b, carried back through the new b."""
    lr, a, b = 0.5, 0.7, -0.4
    G, linear = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(G.weight, a)
    nn.init.constant_(linear.weight, b)
    D = nn.Sequential(linear, nn.Sigmoid())
    gan = Gan(G, D, torch.optim.SGD(G.parameters(), lr), torch.optim.SGD(D.parameters(), lr))
    x, z = torch.tensor([[1.0], [2.0]]).double(), torch.tensor([[0.5], [-1.5]]).double()
    s, r = (b * a * z).sigmoid(), (b * x).sigmoid()
    new_b = b - lr * (((r - 1) * x + s * a * z) / 2).mean()

    published.retain_graph_before_1_5(gan, x, z)
    mixture = ((s - 1) * new_b * z).mean()
    torch.testing.assert_close(G.weight.grad, mixture.reshape(1, 1))
    torch.testing.assert_close(linear.weight.detach(), new_b.reshape(1, 1))
    old_d = ((s - 1) * b * z).mean()
    new_d = (((new_b * a * z).sigmoid() - 1) * new_b * z).mean()
    assert not torch.isclose(mixture, old_d)
    assert not torch.isclose(mixture, new_d)


def gradient_of_g(step, seed, values, hidden, lr):
    gan = mlp_gan((values,), 16, hidden, hidden, lr=lr, seed=seed)
    step(gan, *batch_for(gan, seed=seed))
    return torch.cat([p.grad.flatten() for p in gan.generator.parameters() if p.grad is not None])


def cosines(values, hidden, lr):
    """Of the silent gradient and the true one, which S2 gives for the same new D."""
    return [
        F.cosine_similarity(
            gradient_of_g(published.retain_graph_before_1_5, seed, values, hidden, lr),
            gradient_of_g(step_detach, seed, values, hidden, lr),
            dim=0,
        ).item()
        for seed in SEEDS
    ]


@pytest.mark.parametrize(
    ("values", "hidden", "lr", "low", "middle", "high"),
    [
        # Two layers: harmless even at a high rate. Not exactly 1 though, or nothing was mixed.
        (20, (32,), 1e-2, (0.95, 0.9999), (0.99, 0.9999), (0.99, 1.0)),
        # Four layers: harmless, then visible, then ruinous, as D's step grows.
        (784, (64, 64, 64), 2e-4, (0.95, 0.995), (0.98, 0.999), (0.99, 0.9999)),
        (784, (64, 64, 64), 1e-3, (0.3, 0.85), (0.7, 0.95), (0.85, 0.99)),
        (784, (64, 64, 64), 1e-2, (-1.0, 0.0), (-0.4, 0.4), (0.1, 0.95)),
    ],
)
def test_before_1_5_the_gradient_was_wrong_in_silence(values, hidden, lr, low, middle, high):
    found = cosines(values, hidden, lr)
    for bounds, value in ((low, min(found)), (middle, median(found)), (high, max(found))):
        assert bounds[0] < value < bounds[1]


def test_before_1_5_depth_makes_it_worse():
    medians = [median(cosines(784, (64,) * depth, lr=1e-2)) for depth in (1, 2, 3)]
    assert medians[0] > medians[1] + 0.1 > medians[2] + 0.3


def hooks_left(gan):
    optimizer = gan.optimizer_d
    return [*optimizer._optimizer_step_pre_hooks, *optimizer._optimizer_step_post_hooks]


def test_the_version_check_is_back_afterwards():
    gan = mlp_gan()
    losses = published.retain_graph_before_1_5(gan, *batch_for(gan))
    assert all(value.isfinite() and not value.requires_grad for value in losses)
    assert not hooks_left(gan)
    with pytest.raises(RuntimeError, match=IN_PLACE):
        published.retain_graph_as_printed(gan, *batch_for(gan))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_version_check_is_back_after_an_error(error):
    gan = mlp_gan()

    def fail(*_):
        raise error

    handle = gan.generator.register_forward_hook(fail)
    with pytest.raises(error):
        published.retain_graph_before_1_5(gan, *batch_for(gan))
    handle.remove()
    assert not hooks_left(gan)
    with pytest.raises(RuntimeError, match=IN_PLACE):
        published.retain_graph_as_printed(gan, *batch_for(gan))
