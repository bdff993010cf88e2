"""Small data: toy distributions in the plane, and scikit-learn's handwritten digits.

A `seed` may also be a torch.Generator, which then moves on; the global one is never touched.
"""

import math

import torch
from torch import Tensor

from gan_lessons.checked_arguments import checked, number, rows, sizes, whole
from gan_lessons.extras import installed_for
from gan_lessons.put_back import Seed, rng


@checked(n=whole(1), modes=whole(1), std=number)
def ring(n: int, seed: Seed = 0, modes: int = 8, std: float = 0.02) -> Tensor:
    """(n, 2) points around `modes` places on a circle of radius 0.8: does G find all of them?"""
    generator = rng(seed)
    angle = 2 * math.pi * torch.randint(modes, (n, 1), generator=generator) / modes
    return 0.8 * torch.cat([angle.cos(), angle.sin()], 1) + std * noise(n, (2,), generator)


@checked(n=whole(1), std=number)
def spiral(n: int, seed: Seed = 0, std: float = 0.02) -> Tensor:
    """(n, 2) points along a curve of two turns, out to radius 0.9."""
    generator = rng(seed)
    t = torch.rand(n, 1, generator=generator).sqrt()  # about even along the curve
    angle = 4 * math.pi * t
    return 0.9 * t * torch.cat([angle.cos(), angle.sin()], 1) + std * noise(n, (2,), generator)


def digits() -> Tensor:
    """(1797, 1, 8, 8) handwritten digits in [-1, 1], float32. Needs scikit-learn."""
    with installed_for("data.digits"):
        from sklearn.datasets import load_digits
    return torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 8 - 1


@checked(data=rows, n=whole(1))
def batch(data: Tensor, n: int, seed: Seed = 0) -> Tensor:
    """(n, ...) rows of data (rows, ...), drawn with replacement."""
    return data[torch.randint(len(data), (n,), generator=rng(seed))]


@checked(n=whole(1), shape=sizes)
def noise(n: int, shape: tuple[int, ...], seed: Seed = 0) -> Tensor:
    """(n, *shape) standard normal, on the CPU, so that every device sees the same."""
    return torch.randn(n, *shape, generator=rng(seed))
