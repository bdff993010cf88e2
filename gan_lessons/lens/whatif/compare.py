"""What a change in a training step did: both run for real, and their gradients are compared.

What counts is the gradient that each optimizer finds in ``.grad`` when it steps.
"""

from __future__ import annotations

import copy
import dis
import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_lessons.lens.model import StepRecord
from gan_lessons.lens.record import innermost, record_step
from gan_lessons.lens.whatif import whatif_words as words
from gan_lessons.put_back import seeded

if TYPE_CHECKING:
    from gan_lessons.gan import Gan

Step = Callable[..., Any]
ROUNDING = 1e-5  # relative: what differs by less came out of another order of summation


class Variant(Protocol):
    @property
    def step(self) -> Step: ...


@dataclass(frozen=True)
class PlayerGap:
    """A player's gradient against that of the unchanged step, all its parameters together.

    ``cosine``, ``ratio`` of the lengths: computed in float64; None where one of them is missing or
    zero. ``kind``: "equal" but for rounding, "wrong", "none", "zero", "not finite", "from nothing"
    (the unchanged step gives none) or "no step" (the optimizer stepped another number of times).
    """

    cosine: float | None
    ratio: float | None
    kind: str = "equal"


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


_Grads = list[tuple[Tensor | None, ...]]  # one entry for each step of one optimizer


@dataclass(frozen=True)
class _Run:
    gan: Gan  # as the run left it
    consumed: Mapping[str, _Grads]
    record: StepRecord | None  # None: only the gradients were taken


def warmed_up(step: Step, gan: Gan, real: Tensor, noise: Tensor, seed: int = 0) -> Gan:
    """A copy of ``gan`` on which ``step`` has run once, with what it left in every ``.grad``.

    A ``zero_grad`` matters only where there is something to clear: so both steps that are compared
    start here. real, noise: (batch, ...). Raises what the step raises.
    """
    start = _copied(gan)
    with seeded(seed, real.device):
        step(start, real, noise)
    return start


class Judge:
    """Runs the unchanged step, then any number of changed ones from the same start.

    The start is ``warmed_up(...)``: the unchanged step has run once, so that every ``.grad`` holds
    what it holds in training. Weights, batch and random numbers are the same for all.
    ``reference``: the record of the unchanged step from there; ``start``: that GAN (copy it).

    gan: copied, never changed. real, noise: (batch, ...). Global random state, hooks and patches
    are as before afterwards, on every path. Raises ValueError for a step that raises unchanged,
    that trains nets which it does not take from its argument, or that moves no player; what bad
    input raises goes on to the caller.
    """

    def __init__(self, step: Step, gan: Gan, real: Tensor, noise: Tensor, seed: int = 0) -> None:
        self._batch, self._seed = (real, noise), seed
        name = getattr(step, "__name__", type(step).__name__)
        if own := _names_of(step, gan):
            raise ValueError(words.NOT_ITS_GAN.format(name=name, names=", ".join(own)))
        try:
            warm = self._run(step, gan, 0, recorded=False)
        except Exception:
            _refuse(self._run(step, gan, 0), name)  # raises the same, unless the step had begun
            raise
        if not any(warm.consumed.values()):
            raise ValueError(words.NO_STEPS.format(name=name))
        self.start = warm.gan
        first = self._run(step, self.start, 1)
        self.reference = _refuse(first, name)
        self._first, self._second = first, self._run(step, first.gan, 2, recorded=False)

    def __call__(self, variant: Variant) -> Outcome:
        """Run the changed step once, and once more where that shows nothing.

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
        return replace(outcome, message=f"{outcome.message} {words.LATER}", run=2)

    def _run(self, step: Step, start: Gan, number: int, recorded: bool = True) -> _Run:
        """Run on a copy of ``start``, with the random numbers of that run."""
        gan, record = _copied(start), None
        with _consumed(gan) as consumed, seeded(self._seed + number, self._batch[0].device):
            if recorded:
                record = record_step(step, gan, *self._batch)
            else:
                step(gan, *self._batch)
        return _Run(gan, consumed, record)

    def _judged(self, run: _Run, right: _Run) -> Outcome:
        record, before = run.record, self.reference
        assert record is not None
        gaps = _gaps(run, right)
        if record.error is not None:
            line, message = _raised(record)
            gaps = {net: gap for net, gap in gaps.items() if run.consumed[net]}
            error = f"{type(record.error).__name__}: {record.error}"
            return Outcome("error", message, error, line, gaps, 0, 0, record)
        vain, peak = _vain(record) - _vain(before), _peak(record) - _peak(before)
        wrong = [net for net, gap in gaps.items() if gap.kind != "equal"]
        if wrong:
            told = _told(gaps, sorted(wrong, key=lambda net: _step_line(record, net) or 0))
            line = min(filter(None, (_step_line(record, net) for net in wrong)), default=None)
            return Outcome("wrong", told, None, line, gaps, vain, peak, record)
        work, end = _work(record) - _work(before), _at_end(record) - _at_end(before)
        kind: Literal["waste", "same"] = "waste" if max(vain, peak, work, end) > 0 else "same"
        message = f"{words.RIGHT} {_cost(vain, peak, work, end)}"
        return Outcome(kind, message, None, None, gaps, vain, peak, record)


def _refuse(run: _Run, name: str) -> StepRecord:
    """The record of an unchanged step; ValueError if that step raised."""
    assert run.record is not None
    if (error := run.record.error) is not None:
        told = f"{type(error).__name__}: {error}"
        raise ValueError(words.RAISES.format(name=name, error=told)) from error
    return run.record


# Running ------------------------------------------------------------------------------------------


def _copied(gan: Gan) -> Gan:
    """A deep copy with the gradients, which torch leaves out when it copies a parameter."""
    new = copy.deepcopy(gan)
    for net, old in zip(new.nets.values(), gan.nets.values(), strict=True):
        for p, q in zip(net.parameters(), old.parameters(), strict=True):
            p.grad = None if q.grad is None else q.grad.detach().clone()
    return new


@contextmanager
def _consumed(gan: Gan) -> Iterator[dict[str, _Grads]]:
    """Copies of what each optimizer finds in ``.grad`` whenever it steps."""
    found: dict[str, _Grads] = {name: [] for name in gan.optimizers}
    handles = []

    def watch(name: str, optimizer: Optimizer) -> None:
        def take(*_: Any) -> None:
            held = [p.grad for group in optimizer.param_groups for p in group["params"]]
            found[name].append(tuple(None if g is None else g.detach().clone() for g in held))

        handles.append(optimizer.register_step_pre_hook(take))

    try:
        for name, optimizer in gan.optimizers.items():
            watch(name, optimizer)
        yield found
    finally:
        for handle in handles:
            handle.remove()


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


# Comparing ----------------------------------------------------------------------------------------


def _gaps(run: _Run, right: _Run) -> dict[str, PlayerGap]:
    return {net: _gap(run.consumed[net], right.consumed[net]) for net in right.consumed}


def _gap(mine: _Grads, theirs: _Grads) -> PlayerGap:
    if len(mine) != len(theirs):
        return PlayerGap(None, None, "no step")
    pairs = [pair for a, b in zip(mine, theirs, strict=True) for pair in zip(a, b, strict=True)]
    missing = [a is None for a, _ in pairs], [b is None for _, b in pairs]
    if all(missing[0]) or all(missing[1]):
        equal = missing[0] == missing[1]
        return PlayerGap(
            None, None, "equal" if equal else "none" if all(missing[0]) else "from nothing"
        )
    a, b = (_joined(side, pairs) for side in (0, 1))
    kind = "equal" if missing[0] == missing[1] and _close(a, b) else "wrong"
    if kind == "wrong" and not a.isfinite().all():
        kind = "not finite"
    length, right = float(a.norm()), float(b.norm())
    if not length or not right or not math.isfinite(length + right):
        kind = "zero" if kind == "wrong" and not length else kind
        return PlayerGap(None, length / right if right else None, kind)
    return PlayerGap(float(a @ b) / (length * right), length / right, kind)


def _joined(side: int, pairs: list[tuple[Tensor | None, Tensor | None]]) -> Tensor:
    """One vector of all gradients of one side, in float64; where one is missing, zeros."""
    found = []
    for pair in pairs:
        like = next((g for g in pair if g is not None), None)
        if like is not None:
            grad = pair[side]
            grad = torch.zeros_like(like) if grad is None else grad
            dense = grad.to_dense() if grad.is_sparse else grad
            found.append(dense.cpu().double().flatten())
    return torch.cat(found)


def _close(a: Tensor, b: Tensor) -> bool:
    if bool(b.isfinite().all()):
        return float((a - b).norm()) <= ROUNDING * float(b.norm())
    return torch.equal(a.nan_to_num(), b.nan_to_num())


def _vain(record: StepRecord) -> int:
    made = [call for call in record.backward_calls if call.error is None]
    return sum(len(names) for call in made for names in record.in_vain(call.index).values())


def _peak(record: StepRecord) -> int:
    return record.peak.activations


def _at_end(record: StepRecord) -> int:
    """Bytes that the graph holds when the step returns."""
    ends = record.moments or record.events
    return ends[-1].held.activations if ends else 0


def _work(record: StepRecord) -> int:
    """Graph nodes that all backwards walked."""
    return sum(len(call.nodes) for call in record.backward_calls)


# Telling ------------------------------------------------------------------------------------------


def _raised(record: StepRecord) -> tuple[int | None, str]:
    why = record.explanation or f"{type(record.error).__name__}: {record.error}"
    moment = next((m for m in record.moments if m.raised), None)
    if moment is None:
        return None, words.ERROR_ELSEWHERE.format(why=why)
    code = record.text(moment)
    return moment.line, words.ERROR.format(line=moment.line, code=code, why=why)


def _step_line(record: StepRecord, net: str) -> int | None:
    steps = {e.index for e in record.events if e.kind == "step" and e.target == net}
    return next((m.line for m in record.moments if steps & {*m.events}), None)


def _told(gaps: Mapping[str, PlayerGap], wrong: list[str]) -> str:
    told: list[str] = []
    for net in wrong:
        gap = gaps[net]
        kind = gap.kind if gap.cosine is not None or gap.kind != "wrong" else "zero"
        table = words.TOO if told else words.WRONG
        text = table.get(kind) or words.TOO["other"]
        near = {_number(gap.cosine), _number(gap.ratio)} == {"1.00"}  # not to say "differs: 1.00"
        cosine, ratio = (_number(x, 6 if near else 2) for x in (gap.cosine, gap.ratio))
        told.append(text.format(net=net, cosine=cosine, ratio=ratio))
    return " ".join(told)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.3g}"


def _cost(vain: int, peak: int, work: int, end: int) -> str:
    told = []
    if vain < 0 and not work:
        told.append(words.THROWN_AWAY.format(n=-vain))
    elif vain:
        told.append(words.VAIN[_sign(vain)].format(n=abs(vain)))
    if work:
        told.append(words.WORK[_sign(work)].format(n=abs(work)))
    if peak:
        told.append(words.BYTES[_sign(peak)].format(n=abs(peak)))
    if end > 0:
        told.append(words.AT_END.format(n=end))
    return " ".join(told) or words.NO_DIFFERENCE


def _sign(number: int) -> int:
    return 1 if number > 0 else -1
