"""The GAN that the explorer brings itself: ``tiny_gan``, without the second that it costs.

torch loads its compiler (1 s) when the first optimizer is made, clears or steps, to tell the
compiler to keep out. These two optimizers do the same work without asking for it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from gan_lessons.factories import TINY_LR, tiny_nets
from gan_lessons.gan import Gan


def own_gan(seed: int) -> Gan:
    """``tiny_gan(seed)``: the same weights, which move in the same way."""
    G, D = tiny_nets(seed)
    return Gan(G, D, SGD(G.parameters(), TINY_LR), SGD(D.parameters(), TINY_LR))


def _uncompiled(name: str) -> Any:
    """That method of SGD below all that torch has put around it."""
    return inspect.unwrap(getattr(torch.optim.SGD, name))


class SGD(torch.optim.SGD):
    """Plain SGD that the compiler knows nothing of; torch itself stays as it is."""

    add_param_group = _uncompiled("add_param_group")
    zero_grad = _uncompiled("zero_grad")
    step = torch.no_grad()(_uncompiled("step"))
