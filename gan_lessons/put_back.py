"""Change something for a while: modes, gradients, flags, random state. All is put back at the end.

Also on error and interrupt: what is to be undone is written down before anything is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.arguments import require_whole

if TYPE_CHECKING:  # a slow import
    from torch.distributed.tensor import DTensor

Seed = int | torch.Generator


def rng(seed: Seed) -> torch.Generator:
    """A generator on the CPU with this seed; a generator is returned as it is."""
    if isinstance(seed, torch.Generator):
        return seed
    require_whole("rng", seed=seed)
    return torch.Generator().manual_seed(seed)


@contextmanager
def at_the_end(*steps: Callable[[], object]) -> Iterator[None]:
    """Take them when the block is over, on every path; all once more where an interrupt comes."""
    try:
        yield
    finally:
        try:
            for step in steps:
                step()
        except BaseException:
            for step in steps:
                step()
            raise


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device`; afterwards they are where they were.

    Not by torch.manual_seed, which would reseed every GPU for good.
    """
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def modes_kept(*nets: nn.Module) -> Iterator[None]:
    """Put the train/eval mode of every module back at the end, or on error."""
    modes = [(module, module.training) for net in nets for module in net.modules()]
    with at_the_end(*(partial(setattr, module, "training", mode) for module, mode in modes)):
        yield


@contextmanager
def gradients_kept(optimizer: Optimizer) -> Iterator[None]:
    """Lay the optimizer's gradients aside; put the same tensors back at the end, or on error."""
    kept = [(p, p.grad) for group in optimizer.param_groups for p in group["params"]]
    with at_the_end(*(partial(setattr, parameter, "grad", grad) for parameter, grad in kept)):
        for parameter, _ in kept:
            parameter.grad = None  # else the next backward would add to the kept tensor
        yield


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """No parameter of `net` requires gradient inside; those that did, do again at the end."""
    thawed = trainable(net)
    with at_the_end(*(partial(parameter.requires_grad_, True) for parameter in thawed)):
        for parameter in thawed:
            parameter.requires_grad_(False)
        yield


def trainable(net: nn.Module) -> list[nn.Parameter]:
    """The parameters of `net` that require gradient."""
    return [p for p in net.parameters() if p.requires_grad]


def in_shares(weight: Tensor) -> TypeGuard[DTensor]:
    """Does each process hold another part of it, as FSDP2 has it?"""
    return hasattr(weight, "full_tensor")


def inputs_of(net: nn.Module) -> list[nn.Parameter]:
    """The same after a forward, for `inputs=`. RuntimeError where FSDP2 has cut them again by then:
    backward would find none of them in the graph, and write no gradient, without a word."""
    found = trainable(net)
    if any(map(in_shares, found)):
        raise RuntimeError(
            "backward(inputs=...) cannot name weights that FSDP2 has cut into shares again; call "
            "fully_shard(..., reshard_after_forward=False), or take step_frozen"
        )
    return found
