"""The Dirac-GAN: real steps against closed forms, and the map that stands for a step."""

import itertools
import math

import pytest
import torch

from gan_lessons import STRATEGIES
from gan_lessons.dirac import LOSSES, Order, dirac_gan, jacobian, path, point_of, update, with_r1

SIMULTANEOUS = ("retain_graph", "generator_first", "frozen", "selective", "one_stage")
ORDERS: dict[str, Order] = {**dict.fromkeys(SIMULTANEOUS, "simultaneous"), "detach": "alternating"}


def radius(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1)


@pytest.mark.parametrize("key", SIMULTANEOUS)
def test_simultaneous_steps_spiral_out_as_the_closed_form_says(key):
    r = radius(path(dirac_gan("bilinear", h=0.1), STRATEGIES[key].step, 500))
    wanted = torch.tensor([(1 + 0.1**2) ** (n / 2) for n in range(501)], dtype=torch.float64)
    torch.testing.assert_close(r, wanted, rtol=1e-10, atol=0)


def test_alternating_steps_keep_what_they_conserve():
    """theta^2 + psi^2 - h theta psi: an ellipse, so bounded, and not convergent."""
    h = 0.1
    theta, psi = path(dirac_gan("bilinear", h), STRATEGIES["detach"].step, 2000).T
    kept = theta**2 + psi**2 - h * theta * psi
    torch.testing.assert_close(kept, torch.ones_like(kept), rtol=0, atol=1e-11)
    r = torch.hypot(theta, psi)
    assert float(r.max()) < 1.03
    assert float(r[-200:].min()) > 0.97


def test_the_order_is_lost_where_the_fake_is_a_view(monkeypatch):
    """Then S3 reuses a fake that has moved with theta, and is the alternating update."""
    from gan_lessons import dirac

    monkeypatch.setattr(dirac.DiracGenerator, "forward", lambda self, noise: self.theta.view(1, 1))
    theta, psi = path(dirac_gan("bilinear"), STRATEGIES["generator_first"].step, 500).T
    assert float(torch.hypot(theta, psi).max()) < 1.1  # (1.01)^250 = 12 otherwise


@pytest.mark.parametrize("h", [0.2, 0.4])
def test_logistic_loss_simultaneous_ends_on_a_circle(h):
    r = radius(path(dirac_gan("logistic", h), STRATEGIES["generator_first"].step, 1000))
    assert float(r[-1]) == pytest.approx(math.sqrt(2 * h), rel=0.03)


def test_logistic_loss_alternating_goes_to_the_rest_slowly():
    h, r0, n = 0.1, 1.0, 2000
    r = radius(path(dirac_gan("logistic", h), STRATEGIES["detach"].step, n))
    assert float(r[-1]) == pytest.approx(1 / math.sqrt(1 / r0**2 + h * n / 8), rel=0.05)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("key", ["generator_first", "detach"])
def test_the_map_is_the_real_step(key, loss):
    """To the last digit or two: that is what makes its Jacobian worth believing."""
    real = path(dirac_gan(loss), STRATEGIES[key].step, 200)
    move = update(dirac_gan(loss), ORDERS[key])
    for before, after in itertools.pairwise(real):
        torch.testing.assert_close(move(before), after, rtol=0, atol=4e-16)


@pytest.mark.parametrize("key", ["generator_first", "detach"])
def test_the_jacobian_is_that_of_the_real_step(key):
    """Central differences of real steps, which call backward."""
    point, e = torch.tensor([0.7, -0.4], dtype=torch.float64), 1e-5

    def stepped(start):
        return path(dirac_gan("logistic", 0.3, tuple(start.tolist())), STRATEGIES[key].step, 1)[1]

    unit = torch.eye(2, dtype=torch.float64) * e
    rows = [(stepped(point + d) - stepped(point - d)) / (2 * e) for d in unit]
    wanted = torch.stack(rows, dim=1)
    gan = dirac_gan("logistic", 0.3)
    torch.testing.assert_close(jacobian(gan, ORDERS[key], point), wanted, rtol=0, atol=1e-9)


def test_eigenvalues_say_which_update_stays_near_the_rest():
    rest = torch.zeros(2, dtype=torch.float64)
    orders: tuple[Order, ...] = ("simultaneous", "alternating")
    sizes = {
        order: torch.linalg.eigvals(jacobian(dirac_gan("bilinear", 0.1), order, rest)).abs()
        for order in orders
    }
    both = torch.full((2,), math.sqrt(1 + 0.1**2), dtype=torch.float64)
    torch.testing.assert_close(sizes["simultaneous"], both)
    torch.testing.assert_close(sizes["alternating"], torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("key", "gamma", "settles"),
    [
        ("generator_first", 0.04, False),  # gamma < h / 2
        ("generator_first", 0.06, True),  # gamma > h / 2
        ("detach", 0.01, True),
    ],
)
def test_a_gradient_penalty_settles_both_if_it_is_strong_enough(key, gamma, settles):
    step = with_r1(STRATEGIES[key].step, gamma)
    r = radius(path(dirac_gan("bilinear", h=0.1), step, 800))
    assert bool(r[-1] < 0.5) == settles
    assert bool(r[-1] > 2) != settles


@pytest.mark.parametrize("key", ["generator_first", "detach"])
def test_momentum_carries_each_player_past_the_other(key):
    def farthest(momentum):
        gan = dirac_gan("bilinear", 0.1, momentum=momentum)
        return float(radius(path(gan, STRATEGIES[key].step, 300)).max())

    assert farthest(0.5) > 5 * farthest(0.0)


@pytest.mark.parametrize(("key", "area"), [("generator_first", 1.01), ("detach", 1.0)])
@pytest.mark.parametrize("gamma", [0.0, 0.04, 0.05, 0.06])
def test_what_the_penalty_takes_from_the_area(key, area, gamma):
    """One step is linear, so two of its paths are its matrix: 1 + h^2 - 2 h gamma for S3."""
    step = with_r1(STRATEGIES[key].step, gamma)
    starts = ((1.0, 0.0), (0.0, 1.0))
    matrix = torch.stack([path(dirac_gan("bilinear", 0.1, start), step, 1)[1] for start in starts])
    assert torch.linalg.det(matrix).item() == pytest.approx(area - 2 * 0.1 * gamma, abs=1e-12)


def test_the_penalty_is_that_of_the_loss():
    """Against R1 written into D's loss, on nets that are no line."""
    from gan_lessons import data, tiny_gan

    real, noise = data.ring(16, seed=1), data.noise(16, (2,), seed=2)
    gan, other = tiny_gan(3), tiny_gan(3)
    with_r1(STRATEGIES["detach"].step, 0.5)(gan, real, noise)
    G, D, _, opt_d, loss = other.parts
    x = real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    ones = torch.ones(16, 1)
    d_loss = (loss(D(real), ones) + loss(D(G(noise).detach()), 1 - ones)) / 2
    (d_loss + 0.25 * slope.square().sum(1).mean()).backward()
    opt_d.step()
    for mine, wanted in zip(gan.discriminator.parameters(), D.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_start_and_points():
    gan = dirac_gan(start=(0.25, -2.0))
    assert point_of(gan).tolist() == [0.25, -2.0]
    assert path(gan, STRATEGIES["detach"].step, 3).shape == (4, 2)
    with pytest.raises(KeyError):
        dirac_gan("hinge")
