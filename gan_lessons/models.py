"""Two pairs of nets: MLPs of any depth, and DCGAN's convolutions (arXiv 1511.06434)."""

from collections.abc import Sequence
from itertools import chain, pairwise
from math import prod

from torch import Tensor, nn


class ShapedModule(nn.Module):
    """A net that knows the shapes of one sample at its input and output (no batch dimension).

    `Gan` reads them, so that a wrong shape is refused before any BatchNorm buffer moves.
    """

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int]) -> None:
        super().__init__()
        for shape in (in_shape, out_shape):
            if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
                raise ValueError(
                    "the shape of one sample must be whole numbers of at least 1, "
                    "got {shape}".format(shape=shape)
                )
        self.in_shape = tuple(in_shape)
        self.out_shape = tuple(out_shape)


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
        ending = [] if logits else [nn.Sigmoid()]
        self.net = nn.Sequential(*_mlp(prod(sample_shape), *hidden, 1), *ending)

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
        self.net = nn.Sequential(*layers, nn.Tanh())

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
        layers += [nn.Conv2d(widths[-1], 1, 4), *([] if logits else [nn.Sigmoid()])]
        self.net = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image).flatten(1)  # (batch, 1)


def _mlp(*sizes: int) -> list[nn.Module]:
    layers = ((nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)) for n_in, n_out in pairwise(sizes))
    return list(chain.from_iterable(layers))[:-1]  # no LeakyReLU after the last


def _widths(size: int, width: int) -> list[int]:
    """Channels at size/2, size/4, ... 4."""
    if size < 8 or size & (size - 1):
        raise ValueError("size is a power of two of at least 8, got {n}; try 32".format(n=size))
    return [width * 2**i for i in range(size.bit_length() - 3)]
