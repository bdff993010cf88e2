"""Copies of a GAN to run steps on, whatever its nets are made of."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from gan_lessons.gan import Gan
from gan_lessons.torch_modes import torch_modes_kept


def copied(gan: Gan, *, gradients: bool = False) -> Gan:
    """A deep copy, whose optimizers hold the copied parameters. Changes nothing in ``gan``.

    gradients: with what every ``.grad`` holds, which torch leaves out when it copies a parameter.

    A tensor with a history, which torch refuses to copy, is copied without it. Such is the weight
    that the older ``spectral_norm`` and ``weight_norm`` of ``torch.nn.utils`` leave on a layer;
    every forward computes it anew.
    """
    with torch_modes_kept(), _WithoutHistory():
        new = copy.deepcopy(gan, _empty_ones(gan))
    if gradients:
        for net, old in zip(new.nets.values(), gan.nets.values(), strict=True):
            for p, q in zip(net.parameters(), old.parameters(), strict=True):
                p.grad = None if q.grad is None else q.grad.detach().clone()
    return new


def _empty_ones(gan: Gan) -> dict[int, Any]:
    """What ``deepcopy`` has copied already. A module has a dozen tables of hooks, mostly empty, and
    to copy those as it copies everything else takes half of the time."""
    tables = (v for net in gan.nets.values() for m in net.modules() for v in vars(m).values())
    return {id(v): type(v)() for v in tables if type(v) in (dict, OrderedDict) and not v}


class _WithoutHistory(TorchFunctionMode):
    """While it is active, ``deepcopy`` of a tensor that is no leaf gives a leaf of that value."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            return args[0].detach().clone()
        return func(*args, **(kwargs or {}))
