"""Small data: toy distributions in the plane, and scikit-learn's handwritten digits.

Every `seed` may also be a torch.Generator, which then moves on; the global one is never touched.
"""

import math

import torch
from torch import Tensor

Seed = int | torch.Generator


def rng(seed: Seed) -> torch.Generator:
    """A generator on the CPU with this seed; a generator is returned as it is."""
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


def ring(n: int, seed: Seed = 0, modes: int = 8, std: float = 0.02) -> Tensor:
    """(n, 2) points around `modes` places on a circle of radius 0.8: does G find all of them?"""
    generator = rng(seed)
    angle = 2 * math.pi * torch.randint(modes, (n,), generator=generator) / modes
    centre = 0.8 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return centre + std * torch.randn(n, 2, generator=generator)


def spiral(n: int, seed: Seed = 0, std: float = 0.02) -> Tensor:
    """(n, 2) points along one curve of two turns, inside [-1, 1] but for the noise."""
    generator = rng(seed)
    t = torch.rand(n, 1, generator=generator).sqrt()  # even along the curve
    curve = 0.9 * t * torch.cat([(4 * math.pi * t).cos(), (4 * math.pi * t).sin()], dim=1)
    return curve + std * torch.randn(n, 2, generator=generator)


def digits() -> Tensor:
    """(1797, 1, 8, 8) handwritten digits in [-1, 1], float32. Needs scikit-learn."""
    from sklearn.datasets import load_digits

    return torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 8 - 1


def draw(data: Tensor, n: int, seed: Seed = 0) -> Tensor:
    """(n, ...) rows of `data`, drawn with replacement."""
    rows = torch.randint(len(data), (n,), generator=rng(seed))
    return data[rows.to(data.device)]


def normal_noise(n: int, shape: tuple[int, ...], seed: Seed = 0) -> Tensor:
    """(n, *shape) standard normal noise, on the CPU, so that it is the same on every device."""
    return torch.randn(n, *shape, generator=rng(seed))
