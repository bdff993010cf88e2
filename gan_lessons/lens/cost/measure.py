"""What one step costs: FLOPs, passes through each net, memory and time.

    costs = cost_all(STRATEGIES, gan, real, noise)
    print(costs)                         # a table; a notebook shows it as one
    costs["detach"].flops_of("D", "backward")

Everything is measured on copies, each number in a run of its own, so that no instrument sees
another. Works for any step and any nets.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gan_lessons.gan import Gan
from gan_lessons.lens.cost.flops import Work, counting
from gan_lessons.lens.cost.memory import peak_allocated
from gan_lessons.lens.cost.table import costs_page, costs_text, step_page, step_text
from gan_lessons.lens.model import HeldBytes, StepRecord
from gan_lessons.lens.record import record_step
from gan_lessons.put_back import seeded
from gan_lessons.strategies import Strategy

Step = Callable[[Gan, Tensor, Tensor], Any]


@dataclass(frozen=True)
class Seconds:
    """Wall-clock times of one step. ``low``, ``high``: a quarter of the runs lies outside each."""

    median: float
    low: float
    high: float
    runs: int


@dataclass(frozen=True)
class StepCost:
    """The price of one step.

    ``work``: FLOPs by net, phase and call. ``record``: the step line by line, in which are the
    sources of the calls and the bytes that the graph held after every line and event.
    ``peak_held``: the most that the graph alone kept for backward (no weights, no inputs).
    ``peak_allocated``: bytes of all that was alive at once beyond weights, buffers, optimizer
    states and inputs: what the graph holds, gradients, temporaries (see ``peak_allocated``).
    ``seconds``: None where no time was taken.
    """

    name: str
    title: str
    work: tuple[Work, ...]
    record: StepRecord
    peak_held: HeldBytes
    peak_allocated: int
    seconds: Seconds | None

    @property
    def flops(self) -> int:
        return sum(w.flops for w in self.work)

    def flops_of(
        self, net: str | None = None, phase: str | None = None, index: int | None = None
    ) -> int:
        """FLOPs of one net, of one phase ("forward", "backward"), of one call; None: of all."""
        asked = {"net": net, "phase": phase, "index": index}
        given = {name: value for name, value in asked.items() if value is not None}
        return sum(w.flops for w in self.work if all(getattr(w, n) == v for n, v in given.items()))

    @property
    def forwards(self) -> dict[str, int]:
        """Net -> how often it ran forward."""
        return self.record.forward_counts

    @property
    def backwards(self) -> dict[str, int]:
        """Net -> how many backward calls went through its graph."""
        return self.record.backward_counts

    def source(self, work: Work) -> str:
        """The line that did this work, as written; "" where it is not known."""
        calls = self.record.forwards if work.phase == "forward" else self.record.backward_calls
        if work.index is None or work.index >= len(calls):
            return ""
        line = calls[work.index].line
        return line.expression if work.phase == "forward" and line.expression else line.code

    def in_vain(self, work: Work) -> bool:
        """Did this backward call write gradients of this net, none of which a step ever used?"""
        if work.phase != "backward" or work.index is None:
            return False
        net = str(work.net)
        return net in self.record.in_vain(work.index) and net not in self.record.used(work.index)

    def __str__(self) -> str:
        return step_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return step_page(self)


class CostTable(Mapping[str, StepCost]):
    """Name -> StepCost, shown as one table."""

    def __init__(self, costs: Mapping[str, StepCost]) -> None:
        self._costs = dict(costs)

    def __getitem__(self, name: str) -> StepCost:
        if name not in self._costs:
            raise KeyError(f"no step {name!r} here; there are {', '.join(self._costs)}")
        return self._costs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._costs)

    def __len__(self) -> int:
        return len(self._costs)

    def __str__(self) -> str:
        return costs_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return costs_page(self)


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
    functions = {name: _function(step) for name, step in _checked(steps, repeat).items()}
    found: dict[str, StepCost] = {}
    with seeded(seed, real.device):
        trials = {name: copy.deepcopy(gan) for name in functions}
        for name, step in functions.items():
            step(trials[name], real, noise)
            found[name] = _measured(name, steps[name], trials[name], real, noise)
        for _ in range(min(repeat, 2)):  # the first runs after all that looking around are slow
            _in_turns(functions, trials, real, noise)
        taken = [_in_turns(functions, trials, real, noise) for _ in range(repeat)]
    if repeat:
        found = {n: _timed(c, [times[n] for times in taken]) for n, c in found.items()}
    return CostTable(found)


def _measured(name: str, given: Step | Strategy, gan: Gan, real: Tensor, noise: Tensor) -> StepCost:
    """All but the time, each in a run of its own."""
    step = _function(given)
    with counting(gan.nets) as count:
        step(gan, real, noise)
    allocated = peak_allocated(lambda: step(gan, real, noise), gan, real, noise)
    record = record_step(step, gan, real, noise)
    return StepCost(
        name=name,
        title=given.title if isinstance(given, Strategy) else name,
        work=count.work,
        record=record,
        peak_held=record.peak,
        peak_allocated=allocated,
        seconds=None,
    )


def _in_turns(
    steps: Mapping[str, Step], gans: Mapping[str, Gan], real: Tensor, noise: Tensor
) -> dict[str, float]:
    """Seconds of one run of each."""
    taken = {}
    for name, step in steps.items():
        _wait(real.device)
        start = time.perf_counter()
        step(gans[name], real, noise)
        _wait(real.device)
        taken[name] = time.perf_counter() - start
    return taken


def _wait(device: torch.device) -> None:
    """A GPU works on while Python goes ahead."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timed(cost: StepCost, taken: list[float]) -> StepCost:
    if len(taken) == 1:
        low = high = taken[0]
    else:
        low, _, high = statistics.quantiles(taken, n=4, method="inclusive")
    seconds = Seconds(statistics.median(taken), low, high, len(taken))
    return replace(cost, seconds=seconds)


def _checked(steps: Any, repeat: Any) -> Mapping[str, Step | Strategy]:
    if not isinstance(steps, Mapping):
        raise TypeError(
            f"cost_all() got steps of type {type(steps).__name__}; expected a dict of names, such "
            'as STRATEGIES or {"mine": my_step}'
        )
    if not steps:
        raise ValueError("cost_all() got no steps; name at least one")
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 0:
        raise ValueError(f"repeat must be a whole number of at least 0, got {repeat!r}")
    return steps


def _function(step: Any) -> Step:
    found = step.step if isinstance(step, Strategy) else step
    if not callable(found):
        raise TypeError(
            f"got a step of type {type(step).__name__}; expected a function step(gan, real, noise) "
            "or one of STRATEGIES"
        )
    return found
