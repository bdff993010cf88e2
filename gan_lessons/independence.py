"""Does a discriminator judge each sample by itself? That is tried once, and remembered."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.func import functional_call

# All modules of a net, each with its mode. Weak: what is remembered keeps no net alive.
_Signature = list[tuple["ref[nn.Module]", bool]]
_tried: WeakKeyDictionary[nn.Module, tuple[_Signature, set[torch.Size]]] = WeakKeyDictionary()


def require_independent(D: nn.Module, real: Tensor) -> None:
    """Raise ValueError unless D (batch, ...) gives one number per sample, from that sample alone.

    Found by trying: some samples are changed, and the outputs of the others must not move. Of any
    two samples, each is changed once while the other is not: 2 log2(batch) forwards. The trial is
    remembered for D and this shape, until a module of D is replaced or changes its mode. Buffers,
    modes and random state stay as they are; hooks on D itself do not see the trial.
    """
    signature, shapes = _signature(D), set[torch.Size]()
    if D in _tried and _tried[D][0] == signature:
        shapes = _tried[D][1]
    if real.shape in shapes or len(real) < 2:
        return
    _try(D, real)
    _tried[D] = signature, shapes | {real.shape}


@torch.no_grad()
def _try(D: nn.Module, real: Tensor) -> None:
    run = _on_copies(D, real.device)
    before = run(real)
    if before.numel() != len(real):
        raise ValueError(
            f"the discriminator gives {before.numel() // len(real)} numbers per sample, shape "
            f"{tuple(before.shape)}; step_one_stage needs one: take their mean, or step_selective"
        )
    before = before.flatten()
    rounding = 4 * torch.finfo(before.dtype).eps * before.abs().max().item()
    other = 100 * real + 100 if real.is_floating_point() else real.roll(1, 0)
    place = torch.arange(len(real), device=real.device)
    for bit in range((len(real) - 1).bit_length()):
        for value in (0, 1):
            changed = (place >> bit) % 2 == value
            after = run(torch.where(changed.view(-1, *[1] * (real.ndim - 1)), other, real))
            kept, now = before[~changed], after.flatten()[~changed]
            if not torch.allclose(kept, now, rtol=0, atol=rounding, equal_nan=True):
                raise ValueError(
                    "the discriminator mixes the samples of a batch: changing some moved the "
                    f"outputs of others by up to {(kept - now).abs().max().item():.2g}, as "
                    "BatchNorm in train mode does; step_one_stage would be wrong, use "
                    "step_selective"
                )


class _PastHooks(nn.Module):
    def __init__(self, D: nn.Module) -> None:
        super().__init__()
        self.D = D

    def forward(self, batch: Tensor) -> Tensor:
        return self.D.forward(batch)


def _on_copies(D: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    """D as a function on copies of its buffers; twice the same batch: twice the same dropout mask.

    No weight is zero there: a layer that mixes may begin at zero (a BatchNorm whose scale does),
    unseen, and move away in training.
    """
    net, gpus = _PastHooks(D), [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        weights = {
            name: torch.where(p == 0, 0.1 * torch.randn_like(p), p)
            for name, p in net.named_parameters()
            if p.requires_grad
        }

    def run(batch: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        with torch.random.fork_rng(devices=gpus):
            return functional_call(net, {**weights, **buffers}, batch)

    return run


def _signature(D: nn.Module) -> _Signature:
    """As D.modules() would find them, at a third of its time: this runs at every step."""
    found: _Signature = []
    waiting: list[nn.Module | None] = [D]
    while waiting:
        if (module := waiting.pop()) is not None:
            found.append((ref(module), module.training))
            waiting.extend(module._modules.values())
    return found
