"""Exercises that ask for a training step: it is run beside a step of the package, and compared.

    def my_step(gan, real, noise):
        ...
    check_step(my_step, like="detach")

Both start from the same weights, batch and random state, and a few steps are taken: a gradient that
is cleared too late shows in the second one. Passed: no error, both losses returned, the weights
equal after every step (but for rounding), and the same parameters received gradient in the same
backward calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

from gan_lessons.classroom.exercises import Check
from gan_lessons.classroom.scoring import checked_tolerance, first_line, number_text, received_text
from gan_lessons.factories import tiny_gan
from gan_lessons.gan import Gan, StepLosses
from gan_lessons.lens.cost import copied
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import record
from gan_lessons.models import ShapedModule
from gan_lessons.put_back import seeded
from gan_lessons.strategies import STRATEGIES, Step

_BATCH = 4


def check_step(
    my_step: Step | EllipsisType | None,
    like: Step | str = "retain_graph",
    gan: Gan | None = None,
    *,
    real: Tensor | None = None,
    noise: Tensor | None = None,
    steps: int = 2,
    only_weights: bool = False,
    tolerance: float = 1e-3,
) -> Check:
    """Run a learner's step and a reference beside each other, and say in words what differs.

    like: the reference, a step function or a key of STRATEGIES. gan: what both train (each a deep
    copy); ``tiny_gan()``, which uses SGD, if it is not given: Adam would hide a gradient that is
    wrong by a factor. real, noise: (batch, ...), drawn where the nets know their shapes.
    tolerance: how far weights may lie apart, as a part of the reference's largest move.
    only_weights: other backward calls are told, and pass. None, ``...`` or a function with a gap is
    not answered yet.

    Changes nothing of what is passed in, nor the global random state and grad mode. Raises
    TypeError or ValueError for arguments that fit nothing; what ``my_step`` raises is reported.
    """
    reference = STRATEGIES[like].step if isinstance(like, str) else like
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    allowed = checked_tolerance(tolerance)
    if my_step is None or my_step is Ellipsis:
        return Check.unanswered("Write your step, then run this cell again.")
    gan = tiny_gan() if gan is None else gan
    run = partial(_run, gan, *_batch(gan, real, noise), steps)
    return _beside(my_step, reference, run, allowed, only_weights)


@dataclass
class _Run:
    """What a step did: ``weights`` at the start and after each step, and a record of each."""

    weights: list[dict[str, Tensor]]
    returned: list[Any] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    error: Exception | None = None


def _run(gan: Gan, real: Tensor, noise: Tensor, steps: int, step: Step) -> _Run:
    gan = copied(gan)
    run = _Run([_weights(gan)])
    gpus = [real.device] if real.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), torch.enable_grad():
        for _ in range(steps):
            try:
                with record(gan.nets, gan.optimizers) as rec:
                    run.records.append(rec)
                    run.returned.append(step(gan, real.clone(), noise.clone()))
            except Exception as error:  # noqa: BLE001 -- whatever a learner's code raises is a finding
                run.error = error
                break
            run.weights.append(_weights(gan))
    return run


def _weights(gan: Gan) -> dict[str, Tensor]:
    """Net -> a copy of all its weights, as one vector."""
    return {
        net: torch.cat([p.detach().flatten() for p in module.parameters()])
        for net, module in gan.nets.items()
    }


def _batch(gan: Gan, real: Tensor | None, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    if real is None or noise is None:
        G, D = gan.generator, gan.discriminator
        if not isinstance(G, ShapedModule) or not isinstance(D, ShapedModule):
            raise ValueError("these nets do not tell their shapes; pass real=... and noise=...")
        weight = next(D.parameters())
        with seeded(0):
            drawn_real = torch.rand(_BATCH, *D.in_shape) * 2 - 1  # in [-1, 1], as images are
            drawn_noise = torch.randn(_BATCH, *G.in_shape)
        real = drawn_real.to(weight) if real is None else real
        noise = drawn_noise.to(weight) if noise is None else noise
    gan.check(real, noise)
    return real, noise


def _beside(
    my_step: Any, reference: Step, run: Callable[[Step], _Run], allowed: float, only_weights: bool
) -> Check:
    """Run both, and compare them up to the step that differs: later ones do for that reason."""
    if not callable(my_step):
        raise TypeError(
            f"check_step() got {type(my_step).__name__}; expected your step function itself, "
            "its name without brackets"
        )
    mine = run(my_step)
    if _is_gap(my_step, mine):
        return Check.unanswered(
            "Your function does nothing yet. Write your step, then run this cell again."
        )
    if mine.error is not None:
        return Check(False, tuple(_error_told(mine)))
    right = run(reference)
    if right.error is not None:
        raise right.error
    for step in range(len(right.records)):
        check = _compared(mine, right, step, allowed, only_weights)
        if not check.passed:
            break
    return check


def _is_gap(step: Step, run: _Run) -> bool:
    """Is the function still as the exercise left it: dots that raise, or nothing done at all?"""
    code = getattr(step, "__code__", None)
    if run.error is not None:
        return Ellipsis in getattr(code, "co_consts", ())
    trained = any(e.kind in ("backward", "grad", "step") for e in run.records[0].events)
    return run.returned[0] is None and not trained


def _error_told(run: _Run) -> Iterator[str]:
    text = "Your step raised {error}"
    if len(run.records) > 1:
        text = "Your step ran once, and raised when it was run again: {error}"
    yield text.format(error=f"{type(run.error).__name__}: {first_line(str(run.error))}")
    if explanation := run.records[-1].explanation:
        yield explanation


def _compared(mine: _Run, right: _Run, step: int, allowed: float, only_weights: bool) -> Check:
    losses, calls = _losses_differ(mine, right, step), _calls_differ(mine, right, step)
    weights, agree = _weights_differ(mine, right, step, allowed)
    passed = not (losses or weights or (calls and not only_weights))
    taken = len(right.records)
    text = (
        "Your step ran without an error, on nets of {parameters} parameters. Steps taken: {steps}."
    )
    told = [text.format(parameters=_sizes(right.records[0]), steps=taken)]
    told += losses or ["Both losses agree with the reference."]
    told += weights or [agree]
    if step and not passed:
        text = "Before step {step} all agreed: what did the step before leave in .grad?"
        told.append(text.format(step=step))
    told += calls or ["The same nets receive gradient in the same backward calls."]
    if calls and only_weights:
        told.append("(Told only: this exercise asks for the same weights, not for the same calls.)")
    return Check(passed, (*told, *_forwards_differ(mine, right, step)))


def _sizes(rec: Record) -> str:
    """How many parameters each net has: the pair that is tried is not the one of the lesson."""
    return ", ".join(f"{len(shapes)} ({net})" for net, shapes in rec.parameters.items())


def _losses_differ(mine: _Run, right: _Run, step: int) -> list[str]:
    got, wanted = _losses(mine.returned[step]), _losses(right.returned[step])
    if got is None or wanted is None:
        text = (
            "It returns {got}; a step returns StepLosses(d_loss, g_loss), two tensors with one "
            "number each."
        )
        return [text.format(got=type(mine.returned[step]).__name__)]
    text = "{loss} is {mine} in your step {step}, {reference} in the reference."
    return [
        text.format(loss=name, step=step, mine=number_text(a), reference=number_text(b))
        for name, a, b in zip(StepLosses._fields, got, wanted, strict=True)
        if not math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
    ]


def _losses(returned: Any) -> tuple[float, float] | None:
    try:
        d_loss, g_loss = (x.detach() if isinstance(x, Tensor) else x for x in returned)
        return float(d_loss), float(g_loss)
    except (TypeError, ValueError, RuntimeError):
        return None


def _weights_differ(mine: _Run, right: _Run, step: int, allowed: float) -> tuple[list[str], str]:
    """What differs, net by net; and what is said if nothing does."""
    told, apart, moves = [], [], []
    for net, wanted in right.weights[step + 1].items():
        got, start = mine.weights[step + 1][net], mine.weights[step][net]
        apart.append(difference := _distance(got, wanted))
        moves.append(moved := _distance(wanted, right.weights[step][net]))
        rounding = 8 * torch.finfo(wanted.dtype).eps * wanted.abs().max().item()
        if difference <= allowed * moved + rounding:  # False for NaN
            continue
        text = (
            "The weights of {net} are not those of the reference after step {step}: largest "
            "difference {difference:.2g}, where the reference moved by at most {moved:.2g}."
        )
        if torch.equal(got, start):
            text = "Step {step} moved no weight of {net} at all."
        told.append(text.format(net=net, step=step, difference=difference, moved=moved))
    text = (
        "All weights are those of the reference (largest difference {difference:.2g}, largest "
        "move {moved:.2g})."
    )
    return told, text.format(difference=max(apart), moved=max(moves))


def _distance(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def _calls_differ(mine: _Run, right: _Run, step: int) -> list[str]:
    got, wanted = mine.records[step], right.records[step]
    counts = {"mine": len(got.backward_calls), "reference": len(wanted.backward_calls)}
    if counts["mine"] != counts["reference"]:
        text = "Your step {step} makes {mine} backward calls, the reference {reference}."
        return [text.format(step=step, **counts)]
    text = (
        "Step {step}, backward call {number} ({source}): {net} receives gradient in {mine}; "
        "in the reference in {reference}."
    )
    return [
        text.format(
            step=step,
            number=a.index,
            source=a.source or "source not known",
            net=net,
            mine=received_text(got, net, a.index),
            reference=received_text(wanted, net, a.index),
        )
        for a, b in zip(got.backward_calls, wanted.backward_calls, strict=True)
        for net in b.received
        if set(a.received[net]) != set(b.received[net])
    ]


def _forwards_differ(mine: _Run, right: _Run, step: int) -> Iterator[str]:
    text = "{net} runs forward {mine} times in a step; in the reference {reference} times."
    got, wanted = mine.records[step].forward_counts, right.records[step].forward_counts
    for net, count in wanted.items():
        if got[net] != count:
            yield text.format(net=net, mine=got[net], reference=count)
