"""Claim C1 of lesson 01, measured again: what detach cuts, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import Gan, dcgan, mlp_gan, record, tiny_gan

GANS: dict[str, Callable[[], Gan]] = {
    "tiny": tiny_gan,
    "mlp": lambda: mlp_gan((1, 8, 8), hidden_g=(16, 16), hidden_d=(16, 16)),
    "dcgan": lambda: dcgan(size=16, width=4),
}


def noise_for(gan: Gan) -> Tensor:
    size = {"tiny": (4, 2)}
    shape = gan.generator.in_shape
    assert isinstance(shape, tuple) and size
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
