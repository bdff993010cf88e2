"""Fake and real as one batch, or a call of D for each? Which is faster is measured once."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

import gan_lessons.torch_internals as internals
from gan_lessons.independence import Forward, gpus, known_of, on_copies, predict
from gan_lessons.put_back import trainable

WARM_UP = 10  # the step that measures: by then caches and allocators are warm
ROUNDS = 5
WORTH = 0.98  # of the time: one call holds more at once, so it must be faster to be chosen


def use_one_call(D: nn.Module, real: Tensor, asked: bool | None) -> bool:
    """What was asked for; None: is one call of D on (2 batch, ...) faster, backward included?

    Measured at the tenth step with D and this shape, on copies of D's buffers, and remembered as
    long as its independence is. Until then it is False, and it stays so where a time would mean
    nothing or a choice would do harm: under a recorder or a counter, with a compiled D, in several
    processes, when torch is told to be deterministic, or where D is not the same twice (dropout,
    spectral norm). Raises ValueError where one call is asked for and gives other predictions.
    """
    known = known_of(D, real)
    if asked is None:
        if known.one_call is None:
            known.steps += 1
            if known.steps >= WARM_UP and not _is_watched(real):
                known.one_call = _is_faster(D, real)
        return bool(known.one_call)
    if asked and known.differs_in_one_call is None:
        known.differs_in_one_call = _differs_in_one_call(D, real)
    if asked and known.differs_in_one_call:
        raise ValueError(
            "one call of the discriminator on fake and real gives other predictions than a call "
            "for each: they depend on the place in the batch or on its size; use one_call=False"
        )
    return asked


def _is_watched(real: Tensor) -> bool:
    """Is somebody counting, recording, capturing, or waiting for the same calls from us?"""
    modes = internals.function_modes()
    return (
        (bool(modes) and not isinstance(modes[-1], internals.DeviceContext))
        or bool(internals.dispatch_modes())
        or torch.compiler.is_compiling()
        or torch.are_deterministic_algorithms_enabled()
        or (torch.distributed.is_available() and torch.distributed.is_initialized())
        or (real.is_cuda and torch.cuda.is_current_stream_capturing())
    )


def _is_faster(D: nn.Module, real: Tensor) -> bool:
    compiled = any(map(internals.is_compiled, D.modules()))
    if compiled or not _is_the_same_twice(D, real) or _differs_in_one_call(D, real):
        return False
    return _measured(D, real)


@torch.no_grad()
def _is_the_same_twice(D: nn.Module, real: Tensor) -> bool:
    """Not if its forward draws (dropout) or moves a buffer (spectral norm, a counter)."""
    moved = {name: buffer.clone() for name, buffer in D.named_buffers()}
    with torch.random.fork_rng(devices=gpus(real)):
        first, again = on_copies(D, lambda forward: (forward(real), forward(real)), moved)
    unmoved = all(torch.equal(buffer, moved[name]) for name, buffer in D.named_buffers())
    return unmoved and _close(first, again, 64 * torch.finfo(first.dtype).eps)


@torch.no_grad()
def _differs_in_one_call(D: nn.Module, real: Tensor) -> bool:
    """Does D look at the place in the batch, or (more than rounding could do) at its size?"""
    if not _is_the_same_twice(D, real):
        return False  # nothing can be told
    n, turned = len(real), real.flip(0)
    alone = predict(D, real)
    first, second = predict(D, torch.cat((real, turned))), predict(D, torch.cat((turned, real)))
    same_place = _close(first[:n], second[n:], 64 * torch.finfo(alone.dtype).eps)
    return not (same_place and _close(first[:n], alone, 0.01))


def _close(first: Tensor, second: Tensor, share: float) -> bool:
    return bool((first - second).abs().max() <= share * second.abs().max())


def _measured(D: nn.Module, real: Tensor) -> bool:
    weights, seconds = trainable(D), {False: list[float](), True: list[float]()}

    def run(forward: Forward, together: bool) -> None:
        fake = real.detach().requires_grad_()
        batches = [torch.cat((fake, real))] if together else [fake, real]
        predictions = [forward(batch).sum() for batch in batches]
        torch.autograd.grad(predictions, [fake, *weights], allow_unused=True)

    def race(forward: Forward) -> None:
        for _ in range(1 + ROUNDS):
            for together, taken in seconds.items():
                start = time.perf_counter()
                run(forward, together)
                if real.is_cuda:
                    torch.cuda.synchronize(real.device)
                taken.append(time.perf_counter() - start)

    try:
        with torch.random.fork_rng(devices=gpus(real)):
            on_copies(D, race)
    except torch.OutOfMemoryError:
        return False
    import statistics  # it brings decimal and fractions, for one median

    apart, together = (statistics.median(taken[1:]) for taken in seconds.values())
    return together <= WORTH * apart
