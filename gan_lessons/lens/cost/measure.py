"""What one step costs: FLOPs, passes through each net, memory and time.

    costs = cost_all(STRATEGIES, gan, real, noise)
    print(costs)                         # a table; a notebook shows it as one
    costs["detach"].flops_of("D", "backward")

Each number is measured in a run of its own, so that no instrument sees another. Any step on any
nets: ``cost(my_step, args=(batch,), nets={...}, optimizers={...})``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.arguments import require_whole
from gan_lessons.gan import Gan
from gan_lessons.lens.cost.copies import copied
from gan_lessons.lens.cost.flops import counting
from gan_lessons.lens.cost.memory import peak_allocated
from gan_lessons.lens.cost.table import CostTable, Seconds, StepCost
from gan_lessons.lens.cost.waiting import wait_for
from gan_lessons.lens.record import (
    StepCall,
    is_own_call,
    of_gan,
    record_step,
    step_call,
    tensors_in,
)
from gan_lessons.lens.watch import state_kept
from gan_lessons.put_back import seeded
from gan_lessons.strategies import Strategy
from gan_lessons.torch_modes import torch_modes_kept


def cost(
    step: Callable[..., Any] | Strategy,
    gan: Gan | None = None,
    real: Tensor | None = None,
    noise: Tensor | None = None,
    *,
    args: Sequence[Any] | None = None,
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
    repeat: int = 30,
    seed: int = 0,
) -> StepCost:
    """What ``step(gan, real, noise)`` costs, or ``step(*args)`` on any nets; see ``cost_all``.

    >>> from gan_lessons import cost, data, step_detach, tiny_gan
    >>> cost(step_detach, tiny_gan(), data.ring(4), data.noise(4, (2,)), repeat=0).forwards
    {'G': 1, 'D': 3}
    """
    name = step.key if isinstance(step, Strategy) else getattr(step, "__name__", "step")
    own: dict[str, Any] = {"args": args, "nets": nets, "optimizers": optimizers}
    return cost_all({name: step}, gan, real, noise, **own, repeat=repeat, seed=seed)[name]


@torch_modes_kept()
def cost_all(
    steps: Mapping[str, Callable[..., Any] | Strategy],
    gan: Gan | None = None,
    real: Tensor | None = None,
    noise: Tensor | None = None,
    *,
    args: Sequence[Any] | None = None,
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
    repeat: int = 30,
    seed: int = 0,
) -> CostTable:
    """Measure each step: FLOPs, passes, memory and time.

    steps: name -> function ``step(gan, real, noise)`` or ``Strategy``. real, noise: (batch, ...).
    Or any steps on any nets, ``step(*args)``: ``args=(...)``, ``nets={name: module}``,
    ``optimizers={name: optimizer}`` in place of ``gan``, ``real``, ``noise``.
    repeat: how often each is timed, the steps taking turns; 0 takes no time.

    Each step first runs once unmeasured: optimizers make their states then. Steps run on copies of
    ``gan``, and on ``nets`` themselves, which are put back. Nothing of the caller's is changed, on
    error neither. (On CUDA the allocator's peak statistics are reset.) Whatever a step raises goes
    on. Raises TypeError for what does not fit, ValueError for no steps or a negative ``repeat``.

    >>> from gan_lessons import STRATEGIES, cost_all, data, tiny_gan
    >>> costs = cost_all(STRATEGIES, tiny_gan(), data.ring(4), data.noise(4, (2,)), repeat=0)
    >>> costs["frozen"].flops < costs["detach"].flops
    True
    """
    named = _checked(steps, repeat)
    require_whole("cost_all", seed=seed)
    own = args, nets, optimizers
    calls = {n: _call(s, (gan, real, noise), own) for n, s in named.items()}
    own_state = (
        nullcontext() if nets is None else state_kept(nets.values(), (optimizers or {}).values())
    )
    with seeded(seed, next(iter(calls.values())).device), own_state:
        found = {name: _measured(name, named[name].title, call) for name, call in calls.items()}
        times = _timed(calls, repeat) if repeat else {}
    return CostTable({n: replace(c, seconds=times.get(n)) for n, c in found.items()})


def _call(strategy: Strategy, batch: tuple[Any, ...], own: tuple[Any, ...]) -> StepCall:
    """What is measured. batch: gan (used as a copy), real, noise; own: args, nets, optimizers."""
    call = step_call("cost_all", strategy.step, batch, *own)
    if is_own_call(*own):
        return call
    gan, *given = batch
    gan.check(*given)
    return of_gan(call.step, copied(gan), *given)


def _measured(name: str, title: str, call: StepCall) -> StepCost:
    """All but the time, each in a run of its own, after a first one that nobody looks at."""
    call()
    with counting(call.nets) as count:
        call()
    allocated = peak_allocated(call, call, *tensors_in(list(call.args)))
    record = record_step(call.step, args=call.args, nets=call.nets, optimizers=call.optimizers)
    if record.error is not None:  # kept there for those who want to see half a step
        raise record.error
    return StepCost(name, title, count.work, record, allocated, None)


def _timed(calls: Mapping[str, StepCall], repeat: int) -> dict[str, Seconds]:
    for _ in range(min(repeat, 2)):  # the first runs after all that looking around are slow
        _in_turns(calls)
    taken = [_in_turns(calls) for _ in range(repeat)]
    return {name: _spread([times[name] for times in taken]) for name in calls}


def _in_turns(calls: Mapping[str, StepCall]) -> dict[str, float]:
    """Seconds of one run of each."""
    taken = {}
    for name, call in calls.items():
        wait_for(call.device)
        start = time.perf_counter()
        call()
        wait_for(call.device)
        taken[name] = time.perf_counter() - start
    return taken


def _spread(taken: list[float]) -> Seconds:
    if len(taken) == 1:
        return Seconds(taken[0], taken[0], taken[0], 1)
    low, median, high = statistics.quantiles(taken, n=4, method="inclusive")
    return Seconds(median, low, high, len(taken))


def _checked(steps: Any, repeat: Any) -> dict[str, Strategy]:
    """The steps, each with its title; TypeError or ValueError for anything else."""
    if not isinstance(steps, Mapping):
        raise TypeError(
            f"cost_all() got steps of type {type(steps).__name__}; expected a dict of names, such "
            'as STRATEGIES or {"mine": my_step}'
        )
    if not steps:
        raise ValueError("cost_all() got no steps; name at least one")
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 0:
        raise ValueError(f"repeat must be a whole number of at least 0, got {repeat!r}")
    found = {n: s if isinstance(s, Strategy) else Strategy(n, s, n, "") for n, s in steps.items()}
    for step in (strategy.step for strategy in found.values()):
        if not callable(step):
            raise TypeError(
                f"got a step of type {type(step).__name__}; expected a function "
                "step(gan, real, noise) or one of STRATEGIES"
            )
    return found
