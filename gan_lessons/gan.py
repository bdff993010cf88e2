"""A GAN as five plain parts, and what a training step on it returns."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gan_lessons import checks
from gan_lessons.arguments import require, require_number
from gan_lessons.checks import Loss


class StepLosses(NamedTuple):
    """What one training step returns: two detached 0-d tensors, in nats with the default loss.

    Both were computed before the weights that they move were changed.

    >>> from gan_lessons import data, step_detach, tiny_gan
    >>> d_loss, g_loss = step_detach(tiny_gan(), data.ring(4), data.noise(4, (2,)))
    >>> d_loss.shape, d_loss.requires_grad
    (torch.Size([]), False)
    """

    d_loss: Tensor
    g_loss: Tensor


@dataclass(eq=False)
class Gan:
    """Two nets, their optimizers and a loss: all that a training step needs.

    generator:     any nn.Module, noise (batch, ...) -> fake (batch, ...)
    discriminator: any nn.Module, sample (batch, ...) -> prediction, usually (batch, 1)
    optimizer_g:   holds the generator's parameters; optimizer_d the discriminator's
    loss:          loss(prediction, target) -> 0-d mean over the batch. The default, `nn.BCELoss`,
                   expects probabilities; use `losses.bce_with_logits` for a net that ends in logits

    Raises TypeError or ValueError where the parts do not fit together.

    >>> from torch import nn, optim
    >>> from gan_lessons import Gan
    >>> G, D = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 1), nn.Sigmoid())
    >>> gan = Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))
    >>> list(gan.nets)
    ['G', 'D']
    """

    generator: nn.Module
    discriminator: nn.Module
    optimizer_g: Optimizer
    optimizer_d: Optimizer
    loss: Loss = field(default_factory=nn.BCELoss)

    def __post_init__(self) -> None:
        G, D, opt_g, opt_d, loss = self.parts
        checks.check_types(G, D, opt_g, opt_d, loss)
        self._weight_g = checks.first_parameter("generator", G)
        self._weight_d = checks.first_parameter("discriminator", D)
        checks.check_optimizers(G, D, opt_g, opt_d)
        checks.check_nets(G, D)
        checks.check_loss(loss, D, like=self._weight_d)

    @classmethod
    def with_adam(
        cls, generator: nn.Module, discriminator: nn.Module, loss: Loss, lr: float = 2e-4
    ) -> Gan:
        """The usual optimizers of GAN papers: Adam with betas (0.5, 0.999) for both players."""
        nets = {"generator": generator, "discriminator": discriminator}
        require("Gan.with_adam", nn.Module, "a torch.nn.Module", **nets)
        require_number("Gan.with_adam", lr=lr)
        for name, net in nets.items():
            checks.first_parameter(name, net)
        opt_g, opt_d = (
            Adam(net.parameters(), lr, betas=(0.5, 0.999)) for net in (generator, discriminator)
        )
        return cls(generator, discriminator, opt_g, opt_d, loss)

    @property
    def parts(self) -> tuple[nn.Module, nn.Module, Optimizer, Optimizer, Loss]:
        """For one line at the top of a step: G, D, opt_g, opt_d, loss = gan.parts."""
        return self.generator, self.discriminator, self.optimizer_g, self.optimizer_d, self.loss

    @property
    def nets(self) -> dict[str, nn.Module]:
        """By the names that the lessons use: record(gan.nets, gan.optimizers)."""
        return {"G": self.generator, "D": self.discriminator}

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """By the same names as `nets`."""
        return {"G": self.optimizer_g, "D": self.optimizer_d}

    def check(self, real: Tensor, noise: Tensor) -> None:
        """Refuse a batch that cannot be trained on. Changes nothing.

        real: (batch, ...), noise: (batch, ...), both on the device and of the dtype of the nets.
        Raises TypeError for what is not a tensor, ValueError for an empty batch, batch sizes that
        differ, NaN or infinite values, a foreign device or dtype, and (where the nets know their
        shapes, as ours do) a wrong shape. On a GPU it waits for `real` and `noise`, once; while a
        CUDA graph is captured there are no values, and none is looked at.
        """
        D, G = self.discriminator, self.generator
        checks.check_batch("real", real, "discriminator", D, self._weight_d)
        checks.check_batch("noise", noise, "generator", G, self._weight_g)
        checks.check_values(real, noise)


def check(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """The first line of a step: refuse what is no `Gan`, and then what `Gan.check` refuses."""
    require(sys._getframe(1).f_code.co_name, Gan, "a Gan, such as tiny_gan()", gan=gan)
    gan.check(real, noise)
