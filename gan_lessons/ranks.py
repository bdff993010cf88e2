"""One training on many processes: each takes its share of the batch, and all move alike.

Plain torch.distributed, as torchrun starts it. Gradients are averaged right before an optimizer
steps, and not by DistributedDataParallel: DDP averages in the middle of a backward, once for each
forward of a net, which is wrong without a word for a net that two backwards go through (S1), and
sends D's gradient twice where g_loss writes one that nobody uses (S2, S3). What an optimizer is
about to use is right for every strategy, and each gradient travels once. The price: it does not
travel while backward still computes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.arguments import require
from gan_lessons.gan import Gan
from gan_lessons.put_back import in_shares


def is_joined() -> bool:
    """Is this one of several processes that know of each other?"""
    return dist.is_available() and dist.is_initialized()


def join(backend: str = "gloo", **how: Any) -> None:
    """`torch.distributed.init_process_group(backend, **how)`, which can be destroyed for good.

    Building an optimizer imports torch.distributed.nn, whose functions keep the process group that
    is there at that moment. Its threads would outlive destroy_process_group(), and now and then
    abort the process at its end. So it is imported before there is a group to keep.
    """
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group(backend, **how)


def require_processes(asked: int | None = None) -> int:
    """How many processes take part: exactly as many as were asked for.

    asked: left out, it is what torchrun's WORLD_SIZE says, or 1. Raises RuntimeError where another
    number takes part: each that is left alone would train a copy of its own, without a word.
    """
    asked = int(os.environ.get("WORLD_SIZE", "1")) if asked is None else asked
    there = dist.get_world_size() if is_joined() else 1
    if there != asked:
        raise RuntimeError(
            f"{asked} processes were asked for, and {there} take part; start them by "
            f"torchrun --nproc-per-node {asked}, and call torch.distributed.init_process_group()"
        )
    return there


def share() -> tuple[int, int]:
    """(rank, processes): of every batch this process takes samples rank, rank + processes, ..."""
    return (dist.get_rank(), dist.get_world_size()) if is_joined() else (0, 1)


@dataclass(frozen=True)
class Agreement:
    """Whether all processes hold the same weights, bit by bit; true if so.

    first: the first parameter that differs, such as "G net.0.weight"; the same on every process.
    """

    processes: int
    first: str | None = None

    def __bool__(self) -> bool:
        return self.first is None

    def __str__(self) -> str:
        if self.first is None:
            return f"{self.processes} processes agree" if self.processes > 1 else "one process"
        return f"{self.first} is not the same on all {self.processes} processes"


def ranks_agree(gan: Gan, processes: int | None = None, *, buffers: bool = False) -> Agreement:
    """Compare the weights of all processes; every one of them must call it. Changes nothing.

    One whole number stands for each parameter, and one all-reduce compares them: the minimum of
    (v, not v) is its own complement where all are equal. NaN counts as a value like any other.
    processes: see ``require_processes``. buffers: compare those too; BatchNorm's running statistics
    are each process's own. Raises TypeError for weights in shares (FSDP2).
    """
    require("ranks_agree", Gan, "a Gan, such as tiny_gan()", gan=gan)
    count = require_processes(processes)
    tensors = {
        f"{key} {name.replace('module.', '')}": tensor
        for key, net in gan.nets.items()
        for name, tensor in (*net.named_parameters(), *(net.named_buffers() if buffers else ()))
    }
    if count == 1 or not tensors:
        return Agreement(count)
    _require_whole_weights("ranks_agree", gan)
    seen = torch.stack([_number(t.detach()) for t in tensors.values()])
    both = torch.stack([seen, ~seen])
    dist.all_reduce(both, dist.ReduceOp.MIN)
    differs = (both[0] != ~both[1]).tolist()
    return Agreement(count, next((n for n, d in zip(tensors, differs, strict=True) if d), None))


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _number(tensor: Tensor) -> Tensor:
    """Sum of the values' bits as whole numbers, each times a factor of its place: exact anywhere.

    Any single change is seen, whatever the order in which a device adds.
    """
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).contiguous().flatten()
    bits = flat.view(_INTEGERS[flat.element_size()]).long()
    place = torch.arange(len(bits), device=bits.device) % 8191
    return (bits * (2 * place + 1)).sum()  # odd factors: none makes a difference vanish


def average_gradients(optimizer: Optimizer) -> Any:
    """Average the gradients of all processes right before every step; returns the hook's handle."""

    def average(*_: Any) -> None:
        weights = (p for group in optimizer.param_groups for p in group["params"])
        grads = [p.grad for p in weights if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads]) / dist.get_world_size()
        dist.all_reduce(flat)
        for g, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            g.copy_(part.view_as(g))

    return optimizer.register_step_pre_hook(average)


@contextmanager
def joined(gan: Gan, processes: int | None = None) -> Iterator[int]:
    """All processes begin with the weights and buffers of rank 0, and move alike inside.

    Yields how many they are; alone, nothing is changed. Nets must not be wrapped in DDP as well.
    Raises RuntimeError where another number of processes takes part than was asked for, TypeError
    for weights in shares (FSDP2).
    """
    count = require_processes(processes)
    with ExitStack() as undone:
        if count > 1:
            _require_whole_weights("joined", gan)
            _from_the_first(*gan.nets.values())
            for optimizer in gan.optimizers.values():
                undone.enter_context(average_gradients(optimizer))  # removed at its end
        yield count


def _require_whole_weights(function: str, gan: Gan) -> None:
    """Raise TypeError for weights in shares (FSDP2): each process holds another part of them."""
    for key, net in gan.nets.items():
        for name, weight in net.named_parameters():
            if in_shares(weight):
                raise TypeError(
                    f"{function}() got {key} {name} in shares (FSDP2); it needs whole weights on "
                    "each process"
                )


def _from_the_first(*nets: nn.Module) -> None:
    with torch.no_grad():
        for net in nets:
            for tensor in (*net.parameters(), *net.buffers()):
                dist.broadcast(tensor, 0)


def every_one(state: Tensor) -> Tensor:
    """(processes, ...): this tensor as each process has it; all must call it."""
    kept = [state.clone() for _ in range(share()[1])]
    if is_joined():
        dist.all_gather(kept, state)
    return torch.stack(kept)
