"""Whole GANs in one call, on the CPU: nets, Adam (or SGD) and the fitting loss.

The same seed gives the same weights; the global random state stays where it was.
"""

from collections.abc import Sequence

from torch import nn, optim

from gan_lessons.arguments import require, require_sizes, require_whole
from gan_lessons.gan import Gan
from gan_lessons.losses import bce_with_logits
from gan_lessons.models import DCDiscriminator, DCGenerator, Discriminator, Generator
from gan_lessons.put_back import seeded

TINY_LR = 0.1


def mlp_gan(
    sample_shape: Sequence[int] = (1, 8, 8),
    noise_dim: int = 32,
    hidden_g: Sequence[int] = (128, 128),
    hidden_d: Sequence[int] = (128, 128),
    logits: bool = False,
    lr: float = 2e-4,
    seed: int = 0,
) -> Gan:
    """An MLP GAN with Adam; the sizes fit the digits, which train fast with lr=2e-3.

    >>> from gan_lessons import data, mlp_gan
    >>> mlp_gan((784,), noise_dim=16).generator(data.noise(4, (16,))).shape
    torch.Size([4, 784])
    """
    require_whole("mlp_gan", seed=seed)
    require_whole("mlp_gan", 1, noise_dim=noise_dim)
    require("mlp_gan", bool, "True or False", logits=logits)
    require_sizes("mlp_gan", sample_shape=sample_shape, hidden_g=hidden_g, hidden_d=hidden_d)
    with seeded(seed):
        G = Generator(noise_dim, sample_shape, hidden_g)
        D = Discriminator(sample_shape, hidden_d, logits)
    return Gan.with_adam(G, D, bce_with_logits if logits else nn.BCELoss(), lr)


def dcgan(
    size: int = 64,
    channels: int = 3,
    noise_dim: int = 100,
    width: int = 64,
    batchnorm: bool = True,
    logits: bool = False,
    lr: float = 2e-4,
    seed: int = 0,
) -> Gan:
    """A DCGAN with Adam; `width` counts channels at the finest scale, `batchnorm` is D's.

    >>> from gan_lessons import data, dcgan
    >>> dcgan(size=16, width=4).generator(data.noise(2, (100,))).shape
    torch.Size([2, 3, 16, 16])
    """
    require_whole("dcgan", seed=seed)
    require("dcgan", bool, "True or False", batchnorm=batchnorm, logits=logits)
    require_whole("dcgan", 1, size=size, channels=channels, noise_dim=noise_dim, width=width)
    with seeded(seed):
        G = DCGenerator(noise_dim, size, channels, width).apply(_dcgan_init)
        D = DCDiscriminator(size, channels, width, batchnorm, logits).apply(_dcgan_init)
    return Gan.with_adam(G, D, bce_with_logits if logits else nn.BCELoss(), lr)


def tiny_gan(seed: int = 0) -> Gan:
    """Points in the plane, 17 + 13 weights, SGD: a graph that can be read node by node.

    >>> from gan_lessons import data, tiny_gan
    >>> tiny_gan().generator(data.noise(4, (2,))).shape
    torch.Size([4, 2])
    """
    require_whole("tiny_gan", seed=seed)
    G, D = tiny_nets(seed)
    return Gan(G, D, optim.SGD(G.parameters(), TINY_LR), optim.SGD(D.parameters(), TINY_LR))


def tiny_nets(seed: int) -> tuple[nn.Module, nn.Module]:
    """Its generator and its discriminator."""
    with seeded(seed):
        return Generator(2, (2,), hidden=(3,)), Discriminator((2,), hidden=(3,))


def _dcgan_init(module: nn.Module) -> None:
    """The DCGAN paper's weights: convolutions N(0, 0.02), BatchNorm scales N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
