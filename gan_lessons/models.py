"""Two pairs of nets, MLP and DCGAN (after arXiv 1511.06434), and factories for whole GANs.

A factory's `seed` decides the weights and leaves the global random state where it was.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn, optim

from gan_lessons.gan import Gan, ShapedModule, seeded
from gan_lessons.losses import bce_with_logits


class Generator(ShapedModule):
    """MLP: noise (batch, noise_dim) -> samples (batch, *sample_shape) in [-1, 1]."""

    def __init__(self, noise_dim: int, sample_shape: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__((noise_dim,), sample_shape)
        self.net = nn.Sequential(*_mlp(noise_dim, *hidden, prod(sample_shape)), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        return self.net(noise).view(-1, *self.out_shape)  # (batch, *sample_shape)


class Discriminator(ShapedModule):
    """MLP: samples (batch, *sample_shape) -> (batch, 1), the probability of real, or its logit."""

    def __init__(
        self, sample_shape: Sequence[int], hidden: Sequence[int], logits: bool = False
    ) -> None:
        super().__init__(sample_shape, (1,))
        self.logits = logits
        self.net = nn.Sequential(*_mlp(prod(sample_shape), *hidden, 1), *_ending(logits))

    def forward(self, sample: Tensor) -> Tensor:
        return self.net(sample.flatten(1))  # (batch, 1)


class DCGenerator(ShapedModule):
    """Noise (batch, noise_dim) -> images (batch, channels, size, size), doubled layer by layer."""

    def __init__(self, noise_dim: int, size: int, channels: int, width: int) -> None:
        super().__init__((noise_dim,), (channels, size, size))
        widths = _widths(size, width)[::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(noise_dim, widths[0], 4, bias=False)]
        for n_in, n_out in pairwise([*widths, channels]):
            layers += [nn.BatchNorm2d(n_in), nn.ReLU()]
            layers += [nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, bias=False)]
        self.net = nn.Sequential(*layers, nn.Tanh()).apply(_dcgan_init)

    def forward(self, noise: Tensor) -> Tensor:
        return self.net(noise[:, :, None, None])  # (batch, channels, size, size)


class DCDiscriminator(ShapedModule):
    """Images (batch, channels, size, size) -> (batch, 1), halved layer by layer down to 4x4."""

    def __init__(
        self, size: int, channels: int, width: int, batchnorm: bool = True, logits: bool = False
    ) -> None:
        super().__init__((channels, size, size), (1,))
        self.logits = logits
        widths = _widths(size, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for n_in, n_out in pairwise(widths):
            layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1, bias=not batchnorm)]
            layers += [*([nn.BatchNorm2d(n_out)] if batchnorm else []), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(widths[-1], 1, 4), *_ending(logits)]
        self.net = nn.Sequential(*layers).apply(_dcgan_init)

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image).flatten(1)  # (batch, 1)


def mlp_gan(
    sample_shape: Sequence[int] = (1, 8, 8),
    noise_dim: int = 32,
    hidden_g: Sequence[int] = (256, 256),
    hidden_d: Sequence[int] = (256, 256),
    logits: bool = False,
    lr: float = 2e-4,
    seed: int = 0,
) -> Gan:
    """An MLP GAN with Adam, on the CPU; the defaults fit the digits."""
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
    """A DCGAN with Adam; `width` counts channels at the finest scale, `batchnorm` is D's."""
    with seeded(seed):
        G = DCGenerator(noise_dim, size, channels, width)
        D = DCDiscriminator(size, channels, width, batchnorm, logits)
    return Gan.with_adam(G, D, bce_with_logits if logits else nn.BCELoss(), lr)


def tiny_gan(seed: int = 0) -> Gan:
    """Points in the plane, 17 + 13 weights, SGD: a graph that can be read node by node."""
    with seeded(seed):
        G, D = Generator(2, (2,), hidden=(3,)), Discriminator((2,), hidden=(3,))
    return Gan(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))


def _mlp(*sizes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return layers[:-1]  # no LeakyReLU after the last


def _ending(logits: bool) -> list[nn.Module]:
    return [] if logits else [nn.Sigmoid()]


def _widths(size: int, width: int) -> list[int]:
    """Channels at size/2, size/4, ... 4."""
    if size < 8 or size & (size - 1):
        raise ValueError(f"size must be a power of two of at least 8, got {size}; try 32 or 64")
    return [width * 2**i for i in range(size.bit_length() - 3)]


def _dcgan_init(module: nn.Module) -> None:
    """The DCGAN paper's weights: convolutions N(0, 0.02), BatchNorm scales N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
