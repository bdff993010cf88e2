"""The Dirac-GAN (arXiv 1801.04406): two weights, so that a whole training is a path in the plane.

The data is one point, 0. G moves its point theta, D is the line psi * x; (0, 0) is where both rest.
Everything is float64: a path of thousands of steps is compared with closed forms.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.nn.functional import softplus
from torch.optim import SGD

from gan_lessons.gan import Gan, Loss
from gan_lessons.losses import bce_with_logits
from gan_lessons.strategies import Step

Order = Literal["simultaneous", "alternating"]
REAL = NOISE = torch.zeros(1, 1, dtype=torch.float64)  # (batch, 1): the one point there is


class DiracGenerator(nn.Module):
    """Noise (batch, 1) -> theta (batch, 1). The noise is 0 and only carries the shape.

    A sum makes a new tensor. A view of theta would move with it, and a fake that is reused after
    the step would not be the old one any more.
    """

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, noise: Tensor) -> Tensor:
        return noise + self.theta


class DiracDiscriminator(nn.Module):
    """Points (batch, 1) -> logits psi * x (batch, 1)."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, point: Tensor) -> Tensor:
        return self.psi * point


def bilinear(logits: Tensor, target: Tensor) -> Tensor:
    """-l for target 1, l for target 0: the loss of a WGAN without its constraint."""
    return ((1 - 2 * target) * logits).mean()


def saturating(logits: Tensor, target: Tensor) -> Tensor:
    """log(1 - D(fake)) for G, as the first paper has it. Here D(real) is constant, so the sign of
    that term does not matter to D."""
    return ((1 - 2 * target) * softplus(logits)).mean()


LOSSES: dict[str, Loss] = {
    "bilinear": bilinear,
    "saturating": saturating,
    "logistic": bce_with_logits,
}


def dirac_gan(
    loss: str = "bilinear",
    h: float = 0.1,
    start: tuple[float, float] = (1.0, 0.0),
    momentum: float = 0.0,
) -> Gan:
    """A Dirac-GAN with SGD that starts at (theta, psi) = ``start``.

    loss: a key of ``LOSSES``. h: the step of both players; the steps halve D's loss, so its
    learning rate is 2h. Raises KeyError for an unknown loss.
    """
    G, D = DiracGenerator(start[0]), DiracDiscriminator(start[1])
    opt_g = SGD(G.parameters(), h, momentum=momentum)
    opt_d = SGD(D.parameters(), 2 * h, momentum=momentum)
    return Gan(G, D, opt_g, opt_d, LOSSES[loss])


def path(gan: Gan, step: Step, steps: int) -> Tensor:
    """(steps + 1, 2): (theta, psi) at the start and after each step. Moves ``gan``."""
    points = [point_of(gan)]
    for _ in range(steps):
        step(gan, REAL, NOISE)
        points.append(point_of(gan))
    return torch.stack(points)


def point_of(gan: Gan) -> Tensor:
    """(2,): theta and psi as they are now."""
    return torch.stack([p.detach().clone() for net in gan.nets.values() for p in net.parameters()])


def update(gan: Gan, order: Order) -> Callable[[Tensor], Tensor]:
    """One step as a function (theta, psi) -> (theta, psi) that torch can differentiate.

    A real step calls backward, which nothing differentiates. This computes the same update with
    ``torch.func`` on the very nets, loss and learning rates of ``gan``: without momentum or Adam.
    """
    G, D, opt_g, opt_d, loss = gan.parts
    (rate_g,), (rate_d,) = ([g["lr"] for g in opt.param_groups] for opt in (opt_g, opt_d))
    one, zero = torch.ones_like(REAL), torch.zeros_like(REAL)

    def judged(theta: Tensor, psi: Tensor) -> Tensor:
        fake = functional_call(G, {"theta": theta}, (NOISE,))
        return functional_call(D, {"psi": psi}, (fake,))

    def d_loss(psi: Tensor, theta: Tensor) -> Tensor:
        real = functional_call(D, {"psi": psi}, (REAL,))
        return (loss(real, one) + loss(judged(theta, psi), zero)) / 2

    def g_loss(theta: Tensor, psi: Tensor) -> Tensor:
        return loss(judged(theta, psi), one)

    def moved(point: Tensor) -> Tensor:
        theta, psi = point
        new_psi = torch.add(psi, grad(d_loss)(psi, theta), alpha=-rate_d)
        seen = new_psi if order == "alternating" else psi
        return torch.stack([torch.add(theta, grad(g_loss)(theta, seen), alpha=-rate_g), new_psi])

    return moved


def jacobian(gan: Gan, order: Order, point: Tensor) -> Tensor:
    """(2, 2): how one update moves a small error around ``point``; its eigenvalues say whether
    errors grow (outside the unit circle) or shrink."""
    return jacrev(update(gan, order))(point)


def with_r1(step: Step, gamma: float, samples: int | None = None) -> Step:
    """The same step, with R1 in D's loss: gamma / 2 times the squared gradient of D at real data.

    The steps halve d_loss, so a gamma here weighs as much as 2 gamma beside the sum of both halves.
    Its gradient is added right before D's optimizer steps, where D has the weights that d_loss saw.
    Works for any nets and strategies; (batch, ...) as in ``step``. samples: what a mean goes over,
    where that is not the first dimension, as in many seeds at once.
    """

    def penalised(gan: Gan, real: Tensor, noise: Tensor) -> Any:
        def add(*_: Any) -> None:
            weights = [p for p in gan.discriminator.parameters() if p.requires_grad]
            point = real.detach().requires_grad_()
            (slope,) = torch.autograd.grad(gan.discriminator(point).sum(), point, create_graph=True)
            penalty = gamma / 2 * slope.square().sum() / (samples or len(real))
            for weight, g in zip(
                weights, torch.autograd.grad(penalty, weights, allow_unused=True), strict=True
            ):
                if g is not None:  # a bias of the last layer has no part in the slope
                    weight.grad = g if weight.grad is None else weight.grad + g

        with gan.optimizer_d.register_step_pre_hook(add):
            return step(gan, real, noise)

    return penalised
