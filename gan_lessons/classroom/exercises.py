"""Exercises that check themselves: nothing is compared with a stored answer.

A step is compared with a step of the package that is run beside it, a value with a measured one.
An exercise that is still open does not stop "Run All": its check says "not answered yet".

    def my_step(gan, real, noise):
        ...
    check_step(my_step, like="detach")

How an exercise stands in a notebook beside its solution: see ``tools/exercise_rules.py``.
"""

from __future__ import annotations

import copy
import html
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor, nn

from gan_lessons.classroom import words
from gan_lessons.classroom.forms import check_attributes
from gan_lessons.classroom.scoring import (
    bordered,
    checked_tolerance,
    finite,
    first_line,
    number_text,
    plain,
    received_text,
)
from gan_lessons.factories import tiny_gan
from gan_lessons.gan import Gan, StepLosses
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import record
from gan_lessons.models import ShapedModule
from gan_lessons.put_back import seeded
from gan_lessons.strategies import STRATEGIES, Step

# A check leaves its result in the output's metadata too, so that a test need not read words.
_METADATA = "gan_lessons"
_BATCH = 4


@dataclass(frozen=True)
class Check:
    """What a self-check found. ``messages`` say it in words; ``answered`` is False for a gap.

    ``measured``: (kind, value, tolerance) of a value that was answered right, for a page in which
    a reader without Python answers the same exercise.
    """

    passed: bool
    messages: tuple[str, ...]
    answered: bool = True
    measured: tuple[str | None, Any, float] = (None, None, 0.0)

    @property
    def title(self) -> str:
        return " ".join(words.CHECK[self.passed if self.answered else None])

    def __str__(self) -> str:
        return "\n  ".join([self.title, *self.messages])

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        lines = "".join(f"<li>{html.escape(text)}</li>" for text in self.messages)
        body = f"<strong>{self.title}</strong><ul style='margin: 0'>{lines}</ul>"
        state = ("passed" if self.passed else "failed") if self.answered else "open"
        found = check_attributes(state, *self.measured)
        page = f"<div {found}>{bordered(self.passed if self.answered else None, body)}</div>"
        result = {"passed": self.passed, "answered": self.answered}
        return {"text/plain": str(self), "text/html": page}, {_METADATA: result}


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

    Both start from the same weights, batch and random state and take ``steps`` steps: a gradient
    that is cleared too late shows in the second one. Passed: no error, both losses returned, the
    weights equal after every step (up to ``tolerance`` times the reference's largest move), and
    the same parameters received gradient in the same backward calls; this last difference is only
    told if ``only_weights``. None, ``...`` or a function with a gap is not answered yet.

    Changes nothing of what is passed in, nor the global random state and grad mode. Raises
    TypeError or ValueError for arguments that fit nothing; what ``my_step`` raises is reported.
    """
    reference = STRATEGIES[like].step if isinstance(like, str) else like
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    allowed = checked_tolerance(tolerance)
    if my_step is None or my_step is Ellipsis:
        return _unanswered(words.STEP_UNANSWERED)
    if not callable(my_step):
        raise TypeError(
            f"check_step() got {type(my_step).__name__}; expected your step function itself, "
            "its name without brackets"
        )
    gan = tiny_gan() if gan is None else gan
    real, noise = _batch(gan, real, noise)
    mine = _run(my_step, gan, real, noise, steps)
    if _is_gap(my_step, mine):
        return _unanswered(words.STEP_EMPTY)
    if mine.error is not None:
        return Check(False, tuple(_error_told(mine)))
    right = _run(reference, gan, real, noise, steps)
    if right.error is not None:
        raise right.error
    for step in range(steps):  # to the first that differs; later ones differ for that reason
        losses, calls = _losses_differ(mine, right, step), _calls_differ(mine, right, step)
        weights = _weights_differ(mine, right, step, allowed)
        passed = not (losses or weights or (calls and not only_weights))
        if not passed:
            break
    told = [
        words.STEP_RAN.format(steps=steps),
        *(losses or [words.LOSS_EQUAL]),
        *(weights or [_weights_agree(mine, right, step)]),
        *([words.STEP_LATER.format(step=step)] if step and not passed else []),
        *(calls or [words.CALLS_EQUAL]),
        *([words.CALLS_ONLY_TOLD] if calls and only_weights else []),
        *_forwards_differ(mine, right, step),
    ]
    return Check(passed, tuple(told))


def check_value(answer: Any, truth: Any, *, tolerance: float = 0.0) -> Check:
    """Compare a learner's answer with a measured value, and hint without giving it away.

    truth: the value, or a function that measures it (called once there is an answer). A set, list
    or tuple of names is compared as a set; a number (also a 0-d tensor) may be off by
    ``tolerance``; True, False and texts must be equal. None, ``...`` or a collection that holds
    ``...`` is not answered yet.

    Raises TypeError or ValueError for a truth or a tolerance that cannot be compared with.
    """
    allowed = checked_tolerance(tolerance)
    if _has_gap(answer):
        return _unanswered(words.VALUE_UNANSWERED)
    truth, answer = plain(truth() if callable(truth) else truth), plain(answer)
    expected, got = _kind(truth), _kind(answer)
    if expected is None:
        raise TypeError(
            f"check_value() got a {type(truth).__name__} as the truth; expected a set of names, "
            "a number, True or False, or a text"
        )
    if expected != got:
        kind = words.KIND[expected]
        return Check(False, (words.VALUE_KIND.format(expected=kind, got=repr(answer)),))
    if expected == "names":
        check = _check_names(set(answer), set(truth))
    elif expected == "number":
        check = _check_number(answer, finite("truth", truth), allowed)
    elif answer == truth:
        check = Check(True, (words.VALUE_RIGHT,))
    else:
        check = Check(False, (words.VALUE_WRONG.format(answer=repr(answer)),))
    return replace(check, measured=(expected, truth, allowed)) if check.passed else check


# Steps --------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """What a step did: ``weights`` at the start and after each step, and a record of each."""

    weights: list[dict[str, dict[str, Tensor]]]
    returned: list[Any] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    error: Exception | None = None

    def moved(self, step: int, net: str) -> float:
        return _distance(self.weights[step + 1][net], self.weights[step][net])


def _run(step: Step, gan: Gan, real: Tensor, noise: Tensor, steps: int) -> _Run:
    gan = copy.deepcopy(gan)
    nets = {"G": gan.generator, "D": gan.discriminator}
    optimizers = {"G": gan.optimizer_g, "D": gan.optimizer_d}
    run = _Run([_weights_of(nets)])
    gpus = [real.device] if real.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), torch.enable_grad():
        for _ in range(steps):
            try:
                with record(nets, optimizers) as rec:
                    run.records.append(rec)
                    run.returned.append(step(gan, real.clone(), noise.clone()))
            except Exception as error:  # noqa: BLE001 -- whatever a learner's code raises is a finding
                run.error = error
                break
            run.weights.append(_weights_of(nets))
    return run


def _weights_of(nets: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {
        net: {name: p.detach().clone() for name, p in module.named_parameters()}
        for net, module in nets.items()
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


def _is_gap(step: Step, run: _Run) -> bool:
    """Is the function still as the exercise left it: dots that raise, or nothing done at all?"""
    code = getattr(step, "__code__", None)
    if run.error is not None:
        return Ellipsis in getattr(code, "co_consts", ())
    trained = any(e.kind in ("backward", "grad", "step") for e in run.records[0].events)
    return run.returned[0] is None and not trained


def _error_told(run: _Run) -> Iterator[str]:
    error = f"{type(run.error).__name__}: {first_line(str(run.error))}"
    yield (words.STEP_RAISED if len(run.records) == 1 else words.STEP_RAISED_LATER).format(
        error=error
    )
    if explanation := run.records[-1].explanation:
        yield explanation


def _losses_differ(mine: _Run, right: _Run, step: int) -> list[str]:
    got, wanted = _losses(mine.returned[step]), _losses(right.returned[step])
    if got is None or wanted is None:
        return [words.STEP_RETURNED.format(got=type(mine.returned[step]).__name__)]
    return [
        words.LOSS_DIFFERS.format(
            loss=name, step=step, mine=number_text(a), reference=number_text(b)
        )
        for name, a, b in zip(StepLosses._fields, got, wanted, strict=True)
        if not math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
    ]


def _losses(returned: Any) -> tuple[float, float] | None:
    try:
        d_loss, g_loss = (x.detach() if isinstance(x, Tensor) else x for x in returned)
        return float(d_loss), float(g_loss)
    except (TypeError, ValueError, RuntimeError):
        return None


def _weights_differ(mine: _Run, right: _Run, step: int, allowed: float) -> list[str]:
    told = []
    for net, weights in right.weights[step + 1].items():
        difference, moved = _distance(mine.weights[step + 1][net], weights), right.moved(step, net)
        rounding = max(
            8 * torch.finfo(w.dtype).eps * w.abs().max().item() for w in weights.values()
        )
        if difference <= allowed * moved + rounding:  # False for NaN
            continue
        text = words.WEIGHTS_DIFFER if mine.moved(step, net) else words.WEIGHTS_UNMOVED
        numbers = {"difference": f"{difference:.2g}", "moved": f"{moved:.2g}"}
        told.append(text.format(net=net, step=step, **numbers))
    return told


def _weights_agree(mine: _Run, right: _Run, step: int) -> str:
    nets = right.weights[0]
    after = [(mine.weights[step + 1][net], right.weights[step + 1][net]) for net in nets]
    difference = max(_distance(a, b) for a, b in after)
    moved = max(right.moved(step, net) for net in nets)
    return words.WEIGHTS_EQUAL.format(difference=f"{difference:.2g}", moved=f"{moved:.2g}")


def _distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in b)


def _calls_differ(mine: _Run, right: _Run, step: int) -> list[str]:
    got, wanted = mine.records[step], right.records[step]
    counts = len(got.backward_calls), len(wanted.backward_calls)
    if counts[0] != counts[1]:
        return [words.CALLS_COUNT.format(step=step, mine=counts[0], reference=counts[1])]
    return [
        words.CALLS_DIFFER.format(
            step=step,
            number=a.index,
            source=a.source or words.NO_SOURCE,
            net=net,
            mine=received_text(got, net, a.index),
            reference=received_text(wanted, net, a.index),
        )
        for a, b in zip(got.backward_calls, wanted.backward_calls, strict=True)
        for net in b.received
        if set(a.received[net]) != set(b.received[net])
    ]


def _forwards_differ(mine: _Run, right: _Run, step: int) -> Iterator[str]:
    for net in right.weights[0]:
        counts = [sum(f.net == net for f in run.records[step].forwards) for run in (mine, right)]
        if counts[0] != counts[1]:
            yield words.FORWARDS_DIFFER.format(net=net, mine=counts[0], reference=counts[1])


# Values -------------------------------------------------------------------------------------------


def _unanswered(message: str) -> Check:
    return Check(False, (message,), answered=False)


def _has_gap(answer: Any) -> bool:
    if isinstance(answer, set | frozenset | list | tuple | dict):
        return any(item is Ellipsis for item in answer)
    return answer is None or answer is Ellipsis


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    names = isinstance(value, Iterable) and not isinstance(value, Tensor)
    return "names" if names and all(isinstance(name, str) for name in value) else None


def _check_names(answer: set[str], truth: set[str]) -> Check:
    if answer == truth:
        return Check(True, (words.VALUE_RIGHT,))
    right, extra, missing = answer & truth, answer - truth, truth - answer
    told = [words.NAMES_RIGHT.format(names=words.LIST.join(sorted(right)))] if right else []
    told += [words.NAMES_EXTRA.format(names=words.LIST.join(sorted(extra)))] if extra else []
    told += [words.NAMES_MISSING.format(count=len(missing))] if missing else []
    return Check(False, tuple(told))


def _check_number(answer: float, truth: float, allowed: float) -> Check:
    if not math.isfinite(answer):
        return Check(False, (words.VALUE_NAN,))
    if abs(answer - truth) <= allowed:
        return Check(True, (words.VALUE_RIGHT,))
    text = words.VALUE_LOW if answer < truth else words.VALUE_HIGH
    shown = {"answer": number_text(answer), "tolerance": number_text(allowed)}
    return Check(False, (text.format(**shown),))
