"""What one step costs: FLOPs, passes through each net, memory and time.

    costs = cost_all(STRATEGIES, gan, real, noise)
    print(costs)                         # a table; a notebook shows it as one
    costs["detach"].flops_of("D", "backward")

Everything is measured on copies, each number in a run of its own, so that no instrument sees
another. Works for any step and any nets.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from gan_lessons.arguments import require, require_whole
from gan_lessons.gan import Gan
from gan_lessons.lens.cost.copies import copied
from gan_lessons.lens.cost.flops import counting
from gan_lessons.lens.cost.memory import peak_allocated
from gan_lessons.lens.cost.table import CostTable, Seconds, StepCost
from gan_lessons.lens.cost.waiting import wait_for
from gan_lessons.lens.record import record_step
from gan_lessons.put_back import seeded
from gan_lessons.strategies import Strategy

Step = Callable[[Gan, Tensor, Tensor], Any]


def cost(
    step: Step | Strategy, gan: Gan, real: Tensor, noise: Tensor, *, repeat: int = 30, seed: int = 0
) -> StepCost:
    """What ``step(gan, real, noise)`` costs; see ``cost_all``."""
    name = step.key if isinstance(step, Strategy) else getattr(step, "__name__", "step")
    return cost_all({name: step}, gan, real, noise, repeat=repeat, seed=seed)[name]


def cost_all(
    steps: Mapping[str, Step | Strategy],
    gan: Gan,
    real: Tensor,
    noise: Tensor,
    *,
    repeat: int = 30,
    seed: int = 0,
) -> CostTable:
    """Measure each step on copies of ``gan``: FLOPs, passes, memory and time.

    steps: name -> function ``step(gan, real, noise)`` or ``Strategy``. real, noise: (batch, ...).
    repeat: how often each is timed, the steps taking turns, so that a busy machine is busy for
    all of them; 0 takes no time.

    Each step first runs once unmeasured: optimizers make their states then. Nothing of the
    caller's is changed, on error neither: nets, gradients, modes, random state. (On CUDA the
    allocator's peak statistics are reset.) Whatever a step raises goes on to the caller.
    Raises TypeError for what is no step, ValueError for no steps or a negative ``repeat``.
    """
    named = _checked(steps, repeat)
    require("cost_all", Gan, "a Gan, such as tiny_gan()", gan=gan)
    require_whole("cost_all", seed=seed)
    gan.check(real, noise)
    found: dict[str, StepCost] = {}
    with seeded(seed, real.device):
        trials = {name: copied(gan) for name in named}
        for name, strategy in named.items():
            strategy.step(trials[name], real, noise)
            found[name] = _measured(name, strategy, trials[name], real, noise)
        for _ in range(min(repeat, 2)):  # the first runs after all that looking around are slow
            _in_turns(named, trials, real, noise)
        taken = [_in_turns(named, trials, real, noise) for _ in range(repeat)]
    if repeat:
        found = {n: replace(c, seconds=_spread([t[n] for t in taken])) for n, c in found.items()}
    return CostTable(found)


def _measured(name: str, strategy: Strategy, gan: Gan, real: Tensor, noise: Tensor) -> StepCost:
    """All but the time, each in a run of its own."""
    step = strategy.step
    with counting(gan.nets) as count:
        step(gan, real, noise)
    allocated = peak_allocated(lambda: step(gan, real, noise), gan, real, noise)
    record = record_step(step, gan, real, noise)
    if record.error is not None:  # kept there for those who want to see half a step
        raise record.error
    return StepCost(name, strategy.title, count.work, record, allocated, None)


def _in_turns(
    steps: Mapping[str, Strategy], gans: Mapping[str, Gan], real: Tensor, noise: Tensor
) -> dict[str, float]:
    """Seconds of one run of each."""
    taken = {}
    for name, strategy in steps.items():
        wait_for(real.device)
        start = time.perf_counter()
        strategy.step(gans[name], real, noise)
        wait_for(real.device)
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
