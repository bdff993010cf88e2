"""Does a discriminator judge each sample by itself? That is tried once, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.func import functional_call

import gan_lessons.torch_internals as internals
from gan_lessons.put_back import at_the_end, in_shares

Forward = Callable[[Tensor], Tensor]
Tensors = Mapping[str, Tensor]  # by their names in D
T = TypeVar("T")


def require_independent(D: nn.Module, real: Tensor) -> None:
    """Raise ValueError unless D (batch, ...) gives one number per sample, from that sample alone.

    Found by trying: some samples are changed, and the outputs of the others must not move. Of any
    two samples, each is changed once while the other is not: 2 log2(batch) forwards. The trial is
    remembered for D and this shape, until a module of D is replaced or changes its mode. Buffers,
    modes and random state stay as they are; hooks on D itself do not see the trial (but FSDP2's).
    """
    if not is_independent(D, real):
        raise ValueError(known_of(D, real).refusal)


def is_independent(D: nn.Module, real: Tensor) -> bool:
    """As `require_independent`, which says why not."""
    known = known_of(D, real)
    if known.refusal is None:
        known.refusal = _why_dependent(D, real)
    return not known.refusal


@torch.no_grad()
def _why_dependent(D: nn.Module, real: Tensor) -> str:
    """Why D is not independent; "" if it is."""
    if any(map(in_shares, D.parameters())):
        _let_fsdp2_begin(D, real)
    weights = _moved_from_zero(D, real)
    before = predict(D, real, weights)
    if before.numel() != len(real):
        return (
            "the discriminator gives {n} numbers per sample, shape {shape}; step_one_stage needs "
            "one: take their mean, or step_by_halves".format(
                n=before.numel() // len(real), shape=tuple(before.shape)
            )
        )
    rounding = 4 * torch.finfo(before.dtype).eps * before.abs().max().item()
    other = 100 * real + 100 if real.is_floating_point() else real.roll(1, 0)
    place = torch.arange(len(real), device=real.device)
    for bit in range((len(real) - 1).bit_length()):
        for value in (0, 1):
            changed = (place >> bit) % 2 == value
            batch = torch.where(changed.view(-1, *[1] * (real.ndim - 1)), other, real)
            kept, now = (p.flatten()[~changed] for p in (before, predict(D, batch, weights)))
            if not torch.allclose(kept, now, rtol=0, atol=rounding, equal_nan=True):
                return (
                    "the discriminator mixes the samples of a batch: changing some moved the "
                    "outputs of others by up to {most:.2g}, as BatchNorm in train mode does; "
                    "step_one_stage would be wrong, step_by_halves is exact".format(
                        most=(kept - now).abs().max().item()
                    )
                )
    return ""


def _let_fsdp2_begin(D: nn.Module, real: Tensor) -> None:
    """Whose weights lie in shares sets itself up in its first forward, from D inwards: by its
    hooks, which the trial goes past. Buffers and random state stay as they are."""
    back = [partial(buffer.copy_, buffer.clone()) for buffer in D.buffers()]
    with torch.random.fork_rng(devices=gpus(real)), at_the_end(*back):
        D(real)


def _moved_from_zero(D: nn.Module, real: Tensor) -> Tensors:
    """A layer that mixes may begin at zero, unseen, and move: a BatchNorm whose scale does.

    Weights in shares (FSDP2) are put together: the trial goes past the hooks that would do it.
    """
    found: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=gpus(real)):
        for name, p in D.named_parameters():
            whole = p.full_tensor() if in_shares(p) else p
            moves = torch.where(whole == 0, 0.1 * torch.randn_like(whole), whole)
            found[name] = moves if p.requires_grad else whole
    return found


# Trying without a trace, and remembering ----------------------------------------------------------


class _OnCopies(nn.Module):
    def __init__(self, D: nn.Module) -> None:
        super().__init__()
        self.D = D

    def forward(self, work: Callable[[Forward], Any]) -> Any:
        return work(self.D.forward)


def on_copies(D: nn.Module, work: Callable[[Forward], T], given: Tensors | None = None) -> T:
    """work(D's forward), past D's hooks, on copies of its buffers; `given` goes before its own."""
    own: dict[str, Tensor] = {**dict(D.named_parameters()), **dict(D.named_buffers())}
    copies = {name: buffer.clone() for name, buffer in D.named_buffers()}
    new = {id(own[name]): tensor for name, tensor in {**copies, **(given or {})}.items()}
    state = {f"D.{place}": new[id(old)] for place, old in _places(D) if id(old) in new}
    # Ties are followed here: torch would exchange a module that has two names twice, and put back
    # what it had put there itself. Fabric's wrapper is of that kind.
    return functional_call(_OnCopies(D), state, (work,), tie_weights=False)


def _places(D: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every place in D that holds a tensor, under one name; a tied tensor has several places."""
    for path, module in D.named_modules():
        for name, tensor in internals.own_tensors(module):
            if tensor is not None:
                yield f"{path}.{name}" if path else name, tensor


def predict(D: nn.Module, batch: Tensor, given: Tensors | None = None) -> Tensor:
    """D(batch), leaving no trace. Twice the same batch: twice the same dropout mask."""
    with torch.random.fork_rng(devices=gpus(batch)):
        return on_copies(D, lambda forward: forward(batch), given)


def gpus(batch: Tensor) -> list[torch.device]:
    """The device whose random state work on this batch may move, beside the CPU's."""
    return [batch.device] if batch.device.type == "cuda" else []


@dataclass
class Known:
    """What has been found out about one discriminator and one shape of batch; None: not tried."""

    refusal: str | None = None  # why D is not independent, "" if it is
    differs_in_one_call: bool | None = None  # are fake and real as one batch judged otherwise?
    one_call: bool | None = None  # is one call faster than two?
    steps: int = 0  # that asked for the faster form before it was measured


# All modules of a net, each with its mode. Weak: what is remembered keeps no net alive.
_Signature = list[tuple["ref[nn.Module]", bool]]
_known: WeakKeyDictionary[nn.Module, tuple[_Signature, dict[Any, Known]]] = WeakKeyDictionary()


def known_of(D: nn.Module, real: Tensor) -> Known:
    """What is known about D as it is now: a replaced module, or another mode, is another D."""
    signature: _Signature = []
    waiting: list[nn.Module | None] = [D]
    while waiting:  # as D.modules() would find them, in half its time: this runs at every step
        if (module := waiting.pop()) is not None:
            signature.append((ref(module), module.training))
            waiting.extend(internals.parts_of(module))
    found = _known.get(D)
    if found is None or found[0] != signature:
        found = _known[D] = signature, {}
    return found[1].setdefault((real.shape, real.dtype, real.device), Known())
