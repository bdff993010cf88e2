"""Everything that a loop moves, kept and put back: weights, buffers, optimizers, random numbers."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.put_back import at_the_end


class SavedState:
    """The state of nets, optimizers and random generators (torch, random, numpy if loaded)."""

    def __init__(self, nets: Iterable[nn.Module], optimizers: Iterable[Optimizer]) -> None:
        self._modules = {
            m: (m.training, dict(internals.buffers_of(m))) for net in nets for m in net.modules()
        }
        parameters = {p for m in self._modules for p in m.parameters(recurse=False)}
        self._parameters = {p: (p.requires_grad, p.grad) for p in parameters}
        buffers = [b for _, own in self._modules.values() for b in own.values()]
        gradients = [p.grad for p in parameters]
        kept: list[Tensor] = [t for t in (*parameters, *buffers, *gradients) if t is not None]
        self._values = [(t, t.detach().clone()) for t in kept]
        self._optimizers = [(o, copy.deepcopy(o.state_dict())) for o in optimizers]
        self._random, self._torch = random.getstate(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        numpy = sys.modules.get("numpy")
        self._numpy = None if numpy is None else numpy.random.get_state()
        self._gradients_on = torch.is_grad_enabled()

    def put_back(self) -> None:
        """Mutates everything that was saved back to what it was; the same tensors stay."""
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for parameter, (trains, gradient) in self._parameters.items():
            parameter.requires_grad_(trains).grad = gradient
        for module, (training, buffers) in self._modules.items():
            module.training = training
            internals.buffers_of(module).update(buffers)
        for optimizer, state in self._optimizers:
            optimizer.load_state_dict(copy.deepcopy(state))
        random.setstate(self._random)
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        torch.set_grad_enabled(self._gradients_on)


@contextmanager
def state_kept(nets: Iterable[nn.Module], optimizers: Iterable[Optimizer]) -> Iterator[SavedState]:
    """Put everything back at the end, on every path."""
    saved = SavedState(nets, optimizers)
    with at_the_end(saved.put_back):
        yield saved
