"""How much memory a step allocates at most, beyond what was there before it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record import held_parameters, tensors_in
from gan_lessons.torch_modes import torch_modes_kept


class Players(Protocol):
    """A ``Gan``, or whatever else names nets and optimizers."""

    @property
    def nets(self) -> Mapping[str, nn.Module]: ...

    @property
    def optimizers(self) -> Mapping[str, Optimizer]: ...


def peak_allocated(run: Callable[[], Any], gan: Players, *batch: Tensor) -> int:
    """Bytes of all that is alive at once while ``run()`` takes one step, at the worst moment.

    Counted are activations, gradients (those left by the step before too) and whatever an
    operation returns. Not counted is what is there with or without the step: weights, buffers,
    optimizer states, ``batch``. On CUDA the allocator tells, with all temporaries; its peak
    statistics of that device are reset. Elsewhere each storage is followed from the operation that
    returns it until it is let go, so temporaries inside one operation are not seen.
    """
    parameters = [p for net in gan.nets.values() for p in net.parameters()]
    device = (parameters or batch)[0].device
    grads = [p.grad for p in parameters if p.grad is not None]
    if device.type == "cuda":
        return _of_cuda(run, device, sum(s.nbytes() for g in grads for s in _storages(g)))
    watch = _Storages(_lasting(gan, batch))
    for grad in grads:
        watch.see(grad)
    del grads  # else the step could not let go of them
    with torch_modes_kept(), watch:
        run()
    return watch.peak


def _of_cuda(run: Callable[[], Any], device: torch.device, grads: int) -> int:
    """What the allocator saw; ``grads`` bytes of what was there before belong to the step."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) - grads
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _lasting(gan: Players, batch: Iterable[Tensor]) -> list[Tensor]:
    """What is there with or without the step."""
    found = [*batch]
    for net in gan.nets.values():
        found += [*net.parameters(), *net.buffers()]
    for optimizer in gan.optimizers.values():
        found += [*held_parameters(optimizer), *tensors_in(list(optimizer.state.values()))]
    return found


def _storages(tensor: Tensor) -> list[torch.UntypedStorage]:
    """One; of a sparse tensor (the gradient of an embedding) those of its places and its values.
    None of a lazy parameter: the step may never fill it."""
    if nn.parameter.is_lazy(tensor):
        return []
    if tensor.layout is torch.sparse_coo:
        return [part.untyped_storage() for part in internals.sparse_parts(tensor)]
    return [tensor.untyped_storage()] if tensor.layout is torch.strided else []


class _Storages(internals.TorchDispatchMode):
    """Follows every storage that an operation returns until nobody holds it any more."""

    def __init__(self, lasting: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes = {weakref.ref(s): 0 for tensor in lasting for s in _storages(tensor)}
        self._gone: list[weakref.ref[Any]] = []

    def see(self, tensor: Tensor) -> None:
        for storage in _storages(tensor):
            if weakref.ref(storage) in self._sizes:
                continue
            while self._gone:
                self.now -= self._sizes.pop(self._gone.pop())
            # Not a function of ours: a Ctrl-C in a callback is lost. append runs no Python.
            self._sizes[weakref.ref(storage, self._gone.append)] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            self.see(tensor)
        return result
