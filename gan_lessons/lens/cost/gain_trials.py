"""What a training step would gain by computing nothing in vain: tried on it, and measured.

    print(gains(step, {"G": G, "D": D}, {"G": opt_g, "D": opt_d}, batch))

Every change that the record suggests is applied to the step while it runs. Offered is what leaves
the gradient of each optimizer step as it was, up to rounding.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import device as Device
from torch import nn
from torch.optim import Optimizer

from gan_lessons.arguments import require, require_callable, require_whole
from gan_lessons.lens.cost.changes import Change, changes_for
from gan_lessons.lens.cost.flops import counting
from gan_lessons.lens.cost.memory import peak_allocated
from gan_lessons.lens.cost.table import Table
from gan_lessons.lens.cost.waiting import wait_for
from gan_lessons.lens.model import HeldBytes
from gan_lessons.lens.record import record, tensors_in
from gan_lessons.lens.show import bytes_text, flops_text, visible
from gan_lessons.lens.watch import Comparison, same, state_kept
from gan_lessons.put_back import seeded
from gan_lessons.torch_modes import torch_modes_kept


@dataclass(frozen=True)
class Gain:
    """One change, and what it brings. ``change.title``, ``change.lines``: what to do, and where.

    ``flops``, ``peak``: of one step with the change (FLOPs; bytes as in ``peak_allocated``).
    ``time``: median, lower and upper quartile of the time of the changed step divided by that of
    the step as it is, run in turns; None where no time was taken. ``same``: is each gradient that
    a step used, and each weight, as without the change?
    """

    change: Change
    flops: int
    peak: int
    time: tuple[float, float, float] | None
    same: Comparison


class Gains(Table):
    """``offered``: those that change no gradient, the most FLOPs saved first. ``refused``: the
    others. ``flops``, ``peak``: of the step as it is. ``print`` it, or let a notebook show it."""

    def __init__(self, flops: int, peak: int, found: list[Gain]) -> None:
        self.flops, self.peak = flops, peak
        self.offered = sorted((g for g in found if g.same), key=lambda g: (g.flops, g.peak))
        self.refused = [g for g in found if not g.same]

    def _shown(self) -> tuple[str, list[list[str]], Mapping[str, str]]:
        title = "What this step would gain, its gradients left as they are"
        whole = ["as it is", "", flops_text(self.flops), "", bytes_text(HeldBytes(self.peak)), ""]
        notes = dict(_NOTES)
        if not self.offered:
            notes = {"nothing": "no call computed in vain what a change tried here would save"}
        for gain in self.refused:
            told = " ".join(n.message for n in gain.same.nets.values() if n.verdict == "different")
            notes[f"not offered: {gain.change.title}"] = told
        return title, [_COLUMNS, whole, *map(self._row, self.offered)], notes

    def _row(self, gain: Gain) -> list[str]:
        time = "not timed"
        if gain.time is not None:
            median, low, high = (1 - ratio for ratio in gain.time)
            word = _told(median) if low * high > 0 else "not told apart"
            time = f"{word} ({_told(high)} to {_told(low)})"
        lines = ", ".join(dict.fromkeys(f"line {x.number}: {_code(x)}" for x in gain.change.lines))
        bitwise = gain.same.verdict == "bitwise"
        return [
            gain.change.title, lines, _told(1 - gain.flops / (self.flops or 1)), time,
            _told(1 - gain.peak / (self.peak or 1)),
            "equal to the last bit" if bitwise else "equal up to rounding",
        ]  # fmt: skip


_COLUMNS = ["change", "where", "FLOPs", "time", "allocated at most", "gradients"]
_NOTES = {
    "FLOPs": "of the whole step, counted by torch in a run with the change",
    "time": "median of the runs, which took turns; in brackets the middle half of them",
    "allocated": "activations, gradients, temporaries; not weights, buffers, optimizer states, "
    "inputs",
}


def _code(line: Any) -> str:
    return visible(" ".join((line.expression or line.code).split()), 50)


def _told(saved: float) -> str:
    share = f"{abs(saved):.0%}"
    return "as much" if share == "0%" else f"{share} {'less' if saved > 0 else 'more'}"


@torch_modes_kept()
def gains(
    step: Callable[..., Any],
    nets: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    *batch: Any,
    repeat: int = 20,
    seed: int = 0,
) -> Gains:
    """Try what would spare ``step(*batch)``, one iteration of a loop, what it computes in vain.

    nets, optimizers: name -> what the step trains, all of it. batch: whatever the step takes.
    repeat: how often each is timed, the step as it is among them; 0 takes no time.

    Tried are ``inputs=`` in every backward that computes in vain, each net frozen in the forwards
    that nothing is learned from, and retain_graph left out. The step runs on the nets themselves;
    weights, buffers, gradients, modes, optimizers and random state are put back, on every path.

    Raises what the step raises, TypeError for what cannot be called, ValueError for a negative
    ``repeat`` and for a step that makes other backward calls each time.

    >>> from gan_lessons import data, gains, step_detach, tiny_gan
    >>> gan = tiny_gan()
    >>> batch = gan, data.ring(4), data.noise(4, (2,))
    >>> found = gains(step_detach, gan.nets, gan.optimizers, *batch, repeat=0)
    >>> found.offered[0].flops < found.flops
    True
    """
    _check(step, nets, optimizers, batch, repeat, seed)
    players = _Players(nets, optimizers)
    with seeded(seed, players.device), state_kept(nets.values(), optimizers.values()):
        step(*batch)  # optimizers make their states now
        with record(nets, optimizers) as rec:
            step(*batch)
            step(*batch)
        trial = _Trial(step, players, batch)
        changes = changes_for(rec, nets)
        equal = {change: trial.compared(change) for change in changes}
        counts = {c: trial.counted(c) for c in (None, *changes)}
        times = trial.timed([c for c in changes if equal[c]], repeat)
    return Gains(*counts[None], [Gain(c, *counts[c], times.get(c), equal[c]) for c in changes])


def _check(step: Any, nets: Any, optimizers: Any, batch: Any, repeat: Any, seed: Any) -> None:
    expected = "a function that runs one iteration: step(*batch)"
    require_callable("gains", expected, len(batch), step=step)
    require_whole("gains", 0, repeat=repeat)
    require_whole("gains", seed=seed)
    require("gains", Mapping, 'a dict of names, such as {"G": opt_g}', optimizers=optimizers)
    with record(nets, optimizers):  # refuses bad input in its own words
        pass


@dataclass(frozen=True)
class _Players:
    nets: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    @property
    def device(self) -> Device:
        return next(p.device for net in self.nets.values() for p in net.parameters())


@dataclass(frozen=True)
class _Trial:
    """A step, run as it is (None) or with a change."""

    step: Callable[..., Any]
    players: _Players
    batch: tuple[Any, ...]

    def run(self, change: Change | None, times: int = 1) -> None:
        for _ in range(times):
            with self._changed(change):
                self.step(*self.batch)

    def _changed(self, change: Change | None) -> AbstractContextManager[None]:
        return nullcontext() if change is None else change.applied(self.players.nets)

    def compared(self, change: Change) -> Comparison:
        """Two iterations of both, from one state."""
        nets, optimizers = self.players.nets, self.players.optimizers
        loops = (lambda _: self.run(None, 2)), (lambda _: self.run(change, 2))
        return same(*loops, nets, optimizers, [None])

    def counted(self, change: Change | None) -> tuple[int, int]:
        """FLOPs, and bytes allocated at most, each in a run of its own."""
        with counting(self.players.nets) as count:
            self.run(change)
        peak = peak_allocated(lambda: self.run(change), self.players, *tensors_in(list(self.batch)))
        return sum(work.flops for work in count.work), peak

    def timed(self, changes: list[Change], repeat: int) -> dict[Change, tuple[float, float, float]]:
        """Time relative to that of the step as it is, of runs that take turns."""
        ratios: dict[Change, list[float]] = {change: [] for change in changes}
        for i in range(repeat + 2 if repeat and changes else 0):
            taken = {change: self._seconds(change) for change in [None, *changes]}
            for change in changes if i > 1 else ():  # the first runs are slow
                ratios[change].append(taken[change] / taken[None])
        return {change: _spread(found) for change, found in ratios.items() if found}

    def _seconds(self, change: Change | None) -> float:
        with self._changed(change):
            wait_for(self.players.device)
            start = time.perf_counter()
            self.step(*self.batch)
            wait_for(self.players.device)
            return time.perf_counter() - start


def _spread(found: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    if len(found) == 1:
        return found[0], found[0], found[0]
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return median, low, high
