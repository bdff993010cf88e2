"""A training step and changed ones, run for real on copies from the same start, and judged.

What counts is the gradient that each optimizer finds in ``.grad`` when it steps.
"""

from __future__ import annotations

import dis
import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

from torch import Tensor

from gan_lessons.gan import Gan
from gan_lessons.lens.cost import copied
from gan_lessons.lens.model import StepRecord
from gan_lessons.lens.record import Beside, innermost, record_step
from gan_lessons.lens.whatif.compare import Grads, PlayerGap, consumed, gap, told
from gan_lessons.put_back import seeded
from gan_lessons.torch_modes import torch_modes_kept

Step = Callable[..., Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a changed step.

    ``kind``: "error": it raised. "wrong": a player steps on another gradient, and nothing says so.
    "waste": the same gradients for more work or bytes. "same": nothing is worse.
    ``message``: in plain sentences. ``error``: what it raised.
    ``line``: in the changed source: what raised, or the first optimizer step on a wrong gradient.
    ``players``: "G", "D" -> PlayerGap, for each optimizer that stepped.
    ``extra_vain``: parameter gradients written that no step used, beyond those of the unchanged
    step; ``extra_peak``: bytes of activations that the graph held at its peak, beyond the same.
    Both 0 after an error, which left half a step.
    ``record``: of the changed step, in the run that is judged. ``run``: 1, or 2 where only a
    second run of the step shows the difference.
    """

    kind: Literal["error", "wrong", "waste", "same"]
    message: str
    error: str | None
    line: int | None
    players: Mapping[str, PlayerGap]
    extra_vain: int
    extra_peak: int
    record: StepRecord
    run: int = 1


@dataclass(frozen=True)
class _Run:
    gan: Gan  # as the run left it
    consumed: Mapping[str, Grads]
    record: StepRecord | None  # None: only the gradients were taken


NOT_ITS_GAN = (
    "{name} uses nets or optimizers of this GAN by the name {names}, so it cannot run on a copy; "
    "let it take them from its argument: G, D, opt_g, opt_d, loss = gan.parts"
)
NO_STEPS = "{name} moved neither player of the GAN that it was given; there is nothing to compare"
NO_VALUES = (
    "the gradients of {name} have no values to compare: they are on the meta device. Try what_if() "
    "with nets on the CPU or a GPU."
)


class Judge:
    """Runs the unchanged step, then any number of changed ones from the same start.

    ``start``: a copy of ``gan`` on which the unchanged step has run once, so that every ``.grad``
    holds what it holds in training, for a ``zero_grad`` matters only where there is something to
    clear. Copy it. ``reference``: the record of the unchanged step from there. Weights, batch and
    random numbers are the same for all.

    gan: copied, never changed. real, noise: (batch, ...). beside: an instrument that looks at every
    run that is recorded; see ``record_step``. Global random state, hooks and patches
    are as before afterwards, on every path. Raises ValueError for a step that raises unchanged,
    that trains nets which it does not take from its argument, that moves no player, or whose
    gradients have no values; what bad input raises goes on to the caller.
    """

    def __init__(
        self,
        step: Step,
        gan: Gan,
        real: Tensor,
        noise: Tensor,
        seed: int = 0,
        beside: Beside | None = None,
    ) -> None:
        self._batch, self._seed, self._beside = (real, noise), seed, beside
        name = getattr(step, "__name__", type(step).__name__)
        if own := _names_of(step, gan):
            raise ValueError(NOT_ITS_GAN.format(name=name, names=", ".join(own)))
        try:
            warm = self._run(step, gan, 0, recorded=False)
        except Exception:
            _refuse(self._run(step, gan, 0), name)  # raises the same, unless the step had begun
            raise
        if not any(warm.consumed.values()):
            raise ValueError(NO_STEPS.format(name=name))
        grads = chain.from_iterable(chain.from_iterable(warm.consumed.values()))
        if any(grad is not None and grad.is_meta for grad in grads):
            raise ValueError(NO_VALUES.format(name=name))
        self.start = warm.gan
        self._first = self._run(step, self.start, 1)
        self.reference = _refuse(self._first, name)
        self._second = self._run(step, self._first.gan, 2, recorded=False)

    def __call__(self, variant: Any) -> Outcome:
        """Run ``variant.step`` once, and once more where that shows nothing.

        variant: a ``WhatIf``, or whatever has a ``step`` to be set against the unchanged one.
        Raises only what comes before the step has done anything (bad input), and Ctrl-C.
        """
        first = self._run(variant.step, self.start, 1)
        outcome = self._judged(first, self._first)
        if outcome.kind in ("error", "wrong"):
            return outcome
        try:
            second = self._run(variant.step, first.gan, 2, recorded=False)
            shows = any(g.kind != "equal" for g in _gaps(second, self._second).values())
        except Exception:  # noqa: BLE001 - whatever it is, it is recorded in a moment
            shows = True
        if not shows:
            return outcome
        outcome = self._judged(self._run(variant.step, first.gan, 2), self._second)
        later = "It shows only when the step runs once more."
        return replace(outcome, message=f"{outcome.message} {later}", run=2)

    @torch_modes_kept()
    def _run(self, step: Step, start: Gan, number: int, recorded: bool = True) -> _Run:
        """Run on a copy of ``start``, with the random numbers of that run."""
        gan, record = copied(start, gradients=True), None
        with consumed(gan) as found, seeded(self._seed + number, self._batch[0].device):
            if recorded:
                record = record_step(step, gan, *self._batch, self._beside)
            else:
                step(gan, *self._batch)
        return _Run(gan, found, record)

    def _judged(self, run: _Run, wanted: _Run) -> Outcome:
        record, before, gaps = run.record, self.reference, _gaps(run, wanted)
        assert record is not None
        if record.error is not None:
            line, message = _raised(record)
            gaps = {net: gap for net, gap in gaps.items() if run.consumed[net]}
            error = f"{type(record.error).__name__}: {record.error}"
            return Outcome("error", message, error, line, gaps, 0, 0, record)
        vain = record.vain_count - before.vain_count
        peak = record.peak.activations - before.peak.activations
        lines = {net: _step_line(record, net) or 0 for net in gaps if gaps[net].kind != "equal"}
        if lines:
            message = told({net: gaps[net] for net in sorted(lines, key=lambda net: lines[net])})
            line = min(filter(None, lines.values()), default=None)
            return Outcome("wrong", message, None, line, gaps, vain, peak, record)
        work = record.walked - before.walked
        end = record.held_at_end.activations - before.held_at_end.activations
        kind: Literal["waste", "same"] = "waste" if max(vain, peak, work, end) > 0 else "same"
        right = "Both players step on the same gradients as before."
        message = f"{right} {_price(vain, work, peak, end)}"
        return Outcome(kind, message, None, None, gaps, vain, peak, record)


RAISES = (
    "{name} raises as it stands ({error}); a what-if needs a step that runs. "
    "Look at it with record_step() first."
)


def _refuse(run: _Run, name: str) -> StepRecord:
    """The record of an unchanged step; ValueError if that step raised."""
    assert run.record is not None
    if (error := run.record.error) is not None:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(RAISES.format(name=name, error=problem)) from error
    return run.record


def _names_of(step: Step, gan: Gan) -> list[str]:
    """Names outside the step by which it reaches for nets or optimizers of this very GAN."""
    function = innermost(step)
    if not isinstance(function, types.FunctionType):
        return []
    closed = inspect.getclosurevars(function).nonlocals
    read = {i.argval for i in dis.get_instructions(function) if i.opname == "LOAD_GLOBAL"}
    named = {**closed, **{n: v for n, v in function.__globals__.items() if n in read}}
    own = [gan, *gan.nets.values(), *gan.optimizers.values()]
    return [name for name, value in named.items() if any(value is part for part in own)]


def _gaps(run: _Run, right: _Run) -> dict[str, PlayerGap]:
    return {net: gap(run.consumed[net], right.consumed[net]) for net in right.consumed}


def _raised(record: StepRecord) -> tuple[int | None, str]:
    """The line that raised, if it is known, and why."""
    there, somewhere = "Line {line}, `{code}`, raises. {why}", "It raises. {why}"
    why = record.explanation or f"{type(record.error).__name__}: {record.error}"
    moment = next((m for m in record.moments if m.raised), None)
    if moment is None:
        return None, somewhere.format(why=why)
    return moment.line, there.format(line=moment.line, code=record.text(moment), why=why)


def _step_line(record: StepRecord, net: str) -> int | None:
    steps = {e.index for e in record.events if e.kind == "step" and e.target == net}
    return next((m.line for m in record.moments if steps & {*m.events}), None)


def _price(vain: int, work: int, peak: int, end: int) -> str:
    """What it costs beyond the unchanged step, or saves: gradients, graph nodes, bytes."""
    found = {
        "{n} parameter gradients more are computed in vain.": vain,
        "{n} parameter gradients fewer are computed in vain.": -vain if work else 0,
        (
            "{n} parameter gradients fewer are written in vain, but backward walks as many nodes "
            "as before."
        ): 0 if work else -vain,
        "Backward walks {n} graph nodes more.": work,
        "Backward walks {n} graph nodes fewer.": -work,
        "The graph holds {n} bytes more at its peak.": peak,
        "The graph holds {n} bytes fewer at its peak.": -peak,
        "When the step returns, the graph still holds {n} bytes that were free before.": end,
    }
    told = [sentence.format(n=n) for sentence, n in found.items() if n > 0]
    return " ".join(told) or "It costs the same, too."
