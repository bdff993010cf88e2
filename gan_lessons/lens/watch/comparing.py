"""Do two loops do the same? Both run from one state, and what every step used is compared.

    print(same(with_frozen_d, without, {"G": G, "D": D}, {"G": opt_g, "D": opt_d}, batches))

Rounding has a yardstick: ``loop_a`` runs once more from weights that are off by one unit in the
last place. What drifts apart no faster than that is equal up to rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.arguments import require, require_callable
from gan_lessons.lens.model import Line, Record
from gan_lessons.lens.record import held_parameters, record, undone, watch_steps
from gan_lessons.lens.show import visible
from gan_lessons.lens.watch.report import shown
from gan_lessons.lens.watch.saved_state import state_kept
from gan_lessons.torch_modes import torch_modes_kept

Verdict = Literal["bitwise", "rounding", "different"]
Loop = Callable[[Any], Any]
RANK: tuple[Verdict, ...] = ("bitwise", "rounding", "different")
SLACK = 16.0  # how many times as far as the yardstick still counts as rounding
LEAST = 64.0  # and how many units in the last place do in any case

TITLE = {
    "bitwise": "The two loops are equal to the last bit.",
    "rounding": "The two loops are equal up to rounding.",
    "different": "The two loops are different.",
}
EQUAL = {
    "bitwise": "{net}: equal to the last bit in {steps} steps.",
    "rounding": "{net}: equal up to rounding in {steps} steps (at most {apart:.1g}, relatively).",
}
NEVER = "{net}: no optimizer stepped on it in either loop."
GRADIENT = (
    "{net}: different from step {step} on. The gradient that `{step_a}` ({place_a}) used came from "
    "{calls_a}; the one that `{step_b}` ({place_b}) used came from {calls_b}. Their cosine is "
    "{cosine:.4f}, and the second is {length:.4g} times as long."
)
WEIGHTS = (
    "{net}: different from step {step} on. `{step_a}` ({place_a}) and `{step_b}` ({place_b}) used "
    "the same gradient and moved the weights differently: the moves have a cosine of {cosine:.4f}, "
    "and the second is {length:.4g} times as long."
)
COUNT = (
    "{net}: the same for {step} steps; then one loop goes on. The first steps {a} times on it, the "
    "second {b} times."
)
AFTERWARDS = (
    "{net}: every step is the same, and the weights differ at the end: something that is no "
    "optimizer step moves them in one of the loops."
)
STATISTICS = "{net}: its buffers (running statistics) end up different."
NO_CALL = "no backward call"
AND = " and "


@dataclass(frozen=True)
class NetComparison:
    """One net in both loops. ``steps``: how many there were in each. ``message``: all in words.

    Where they differ: ``step`` (counted from 1), ``what`` differs first ("gradient", "weights",
    "count" of steps, or "afterwards"), ``cosine`` and ``length`` (second to first) of the gradients
    or moves, and the lines of both loops, as ``file:number``. ``apart``: the largest relative
    difference seen before. ``buffers``: do the buffers end up the same?
    """

    net: str
    verdict: Verdict
    steps: tuple[int, int]
    message: str
    apart: float = 0.0
    step: int | None = None
    what: str | None = None
    cosine: float | None = None
    length: float | None = None
    lines: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    buffers: bool = True


@dataclass(frozen=True)
class Comparison:
    """``verdict``: "bitwise", "rounding" or "different", the worst of ``nets``. ``print`` it."""

    nets: dict[str, NetComparison]

    @property
    def verdict(self) -> Verdict:
        return max((n.verdict for n in self.nets.values()), key=RANK.index, default="bitwise")

    def __bool__(self) -> bool:
        """Are they the same, at least up to rounding?"""
        return self.verdict != "different"

    def __str__(self) -> str:
        lines = [TITLE[self.verdict], *(f"  {n.message}" for n in self.nets.values())]
        lines += [f"  {STATISTICS.format(net=k)}" for k, n in self.nets.items() if not n.buffers]
        return "\n".join(lines)

    __repr__ = __str__


@torch_modes_kept()
def same(
    loop_a: Loop,
    loop_b: Loop,
    nets: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    batches: Iterable[Any],
) -> Comparison:
    """Run both loops from equal weights, batches and random state; compare all they step on.

    loop_a, loop_b: called as ``loop(batches)`` with a list of fresh copies, once each (``loop_a``
    twice where they differ). They train ``nets`` with ``optimizers``: all of them are named here.

    Compared are, step by step, the gradient that it used and the weights after it. Everything is
    put back at the end, on every path: weights, buffers, gradients, modes, optimizers, random
    generators. Keeps a copy of gradients and weights for every step while it runs.

    Raises what the loops raise, TypeError for what cannot be called, ValueError without batches.

    >>> import gan_lessons as gl
    >>> gan, batch = gl.tiny_gan(), (gl.data.ring(4), gl.data.noise(4, (2,)))
    >>> loops = (lambda x, step=s: step(gan, *x[0]) for s in (gl.step_detach, gl.step_detach))
    >>> gl.same(*loops, gan.nets, gan.optimizers, [batch]).verdict
    'bitwise'
    """
    given = _checked(loop_a, loop_b, nets, optimizers, batches)
    with state_kept(nets.values(), optimizers.values()) as start:
        a = _run(loop_a, nets, optimizers, given)
        start.put_back()
        b = _run(loop_b, nets, optimizers, given)
        found = Comparison({net: _compare(net, a, b, a) for net in nets})
        if found.verdict == "bitwise":
            return found
        start.put_back()
        _nudge(nets.values())
        off = _run(loop_a, nets, optimizers, given)
    return Comparison({net: _compare(net, a, b, off) for net in nets})


class _Update(NamedTuple):
    """One step on one net, as flat vectors: the gradient it used, the weights around it."""

    gradient: Tensor
    before: Tensor
    after: Tensor
    event: int  # among the steps of the record

    @property
    def move(self) -> Tensor:
        return self.after - self.before


class _Run(NamedTuple):
    updates: dict[str, list[_Update]]
    record: Record
    weights: dict[str, Tensor]
    buffers: dict[str, Tensor]


def _checked(loop_a: Any, loop_b: Any, nets: Any, optimizers: Any, batches: Any) -> list[Any]:
    """The batches. Raises TypeError or ValueError for what `same` cannot use."""
    for name, loop in (("loop_a", loop_a), ("loop_b", loop_b)):
        expected = "a function of the batches: def loop(batches): for batch in batches: ..."
        require_callable("same", expected, 1, **{name: loop})
    require("same", Iterable, "the batches to run the loops on", batches=batches)
    given = list(batches)
    if not given:
        raise ValueError("same() got no batches; one or more are needed to run the loops on")
    names = 'a dict of names, such as {"G": opt_g, "D": opt_d}'
    require("same", Mapping, names, optimizers=optimizers)
    with record(nets, optimizers):  # refuses bad input in its own words
        pass
    return given


def _run(
    loop: Loop,
    nets: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    batches: list[Any],
) -> _Run:
    updates: dict[str, list[_Update]] = {net: [] for net in nets}
    under_way: list[tuple[Optimizer, dict[str, tuple[Tensor, Tensor]]]] = []
    ids, done = {id(o) for o in optimizers.values()}, 0

    def before(optimizer: Optimizer, *_: Any) -> None:
        held = held_parameters(optimizer)
        mine = {n: net for n, net in nets.items() if not held.isdisjoint(net.parameters())}
        if mine or id(optimizer) in ids:  # just those that the record tells of
            found = {n: (_gradient(m, held), _flat(m.parameters())) for n, m in mine.items()}
            under_way.append((optimizer, found))

    def after(optimizer: Optimizer, args: Any, options: Any) -> None:
        nonlocal done
        if not under_way or under_way[-1][0] is not optimizer:
            return
        _, found = under_way.pop()
        if any(o is optimizer for o, _ in under_way):
            return  # super().step() of a class of one's own: they are one
        closure = any(callable(x) for x in (*args[1:], *options.values()))
        for net, (gradient, weights) in found.items():
            # A closure computes inside the step what the step uses.
            used = _gradient(nets[net], held_parameters(optimizer)) if closure else gradient
            updates[net].append(_Update(used, weights, _flat(nets[net].parameters()), done))
        done += 1

    with record(nets, optimizers) as rec, undone() as undo:
        watch_steps(undo, before, after)
        loop(copy.deepcopy(batches))
    weights = {n: _flat(net.parameters()) for n, net in nets.items()}
    return _Run(updates, rec, weights, {n: _flat(net.buffers()) for n, net in nets.items()})


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    """All values in one vector of float64, in which float32 and less are exact."""
    parts = [torch.view_as_real(t) if t.is_complex() else t for t in (t.detach() for t in tensors)]
    flat = [t.to_dense().flatten().to("cpu", torch.float64) for t in parts]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=torch.float64)


def _gradient(net: nn.Module, held: Collection[Tensor]) -> Tensor:
    return _flat(
        p.grad if p in held and p.grad is not None else torch.zeros_like(p)
        for p in net.parameters()
    )


def _nudge(nets: Iterable[nn.Module]) -> None:
    """Move every weight by one unit in its last place, up or down."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in {p for net in nets for p in net.parameters()}:
            if p.is_floating_point():
                up = torch.rand(p.shape, generator=generator).to(p.device) < 0.5
                p.copy_(torch.where(up, torch.nextafter(p, p + 1), torch.nextafter(p, p - 1)))


# The comparison -----------------------------------------------------------------------------------


def _compare(net: str, a: _Run, b: _Run, off: _Run) -> NetComparison:
    """``off``: the first loop, from weights that are off by rounding."""
    pairs = list(zip(a.updates[net], b.updates[net], strict=False))
    steps = (len(a.updates[net]), len(b.updates[net]))
    buffers = not _apart(a.buffers[net], b.buffers[net]) > _bound(a.buffers[net], off.buffers[net])
    worst = 0.0
    for k, (one, two) in enumerate(pairs):
        near = off.updates[net][k] if k < len(off.updates[net]) else one
        for what, x, y, z in (
            ("gradient", one.gradient, two.gradient, near.gradient),
            ("weights", one.move, two.move, near.move),
        ):
            if (apart := _apart(x, y)) > _bound(x, z):
                told = _told(net, what, k + 1, (a, one), (b, two), x, y)
                return NetComparison(net, "different", steps, apart=worst, buffers=buffers, **told)
            worst = max(worst, apart)
    if steps[0] != steps[1]:
        text = COUNT.format(net=visible(net), step=len(pairs), a=steps[0], b=steps[1])
        told = {"message": text, "step": len(pairs) + 1, "what": "count"}
        return NetComparison(net, "different", steps, apart=worst, buffers=buffers, **told)
    apart = _apart(a.weights[net], b.weights[net])
    if apart > _bound(a.weights[net], off.weights[net]):
        told = {"message": AFTERWARDS.format(net=visible(net)), "what": "afterwards"}
        return NetComparison(net, "different", steps, apart=apart, buffers=buffers, **told)
    verdict: Verdict = "rounding" if max(worst, apart) else "bitwise"
    text = EQUAL[verdict].format(net=visible(net), steps=steps[0], apart=max(worst, apart))
    text = text if steps[0] else NEVER.format(net=visible(net))
    return NetComparison(net, verdict, steps, text, worst, buffers=buffers)


def _apart(x: Tensor, y: Tensor) -> float:
    """Length of the difference, relative to the longer of the two; NaN equals NaN."""
    if x.shape != y.shape:
        return math.inf
    difference = torch.where((x == y) | (x.isnan() & y.isnan()), 0.0, x - y).norm()
    length = torch.maximum(x.norm(), y.norm())
    if not difference:
        return 0.0
    relative = float(difference / length)
    return relative if math.isfinite(relative) else math.inf


def _bound(x: Tensor, off: Tensor) -> float:
    """How far apart rounding may drive two runs by now."""
    return max(SLACK * _apart(x, off), LEAST * torch.finfo(torch.float32).eps)


def _told(
    net: str,
    what: str,
    step: int,
    one: tuple[_Run, _Update],
    two: tuple[_Run, _Update],
    x: Tensor,
    y: Tensor,
) -> dict[str, Any]:
    lines = [_lines(net, run, update) for run, update in (one, two)]
    (step_a, calls_a), (step_b, calls_b) = lines
    cosine = float(torch.nn.functional.cosine_similarity(x, y, dim=0))
    length = float(y.norm() / x.norm()) if x.norm() else math.inf
    text = (GRADIENT if what == "gradient" else WEIGHTS).format(
        net=visible(net),
        step=step,
        step_a=_source(step_a),
        place_a=_place(step_a),
        calls_a=AND.join(f"`{_source(c)}` ({_place(c)})" for c in calls_a) or NO_CALL,
        step_b=_source(step_b),
        place_b=_place(step_b),
        calls_b=AND.join(f"`{_source(c)}` ({_place(c)})" for c in calls_b) or NO_CALL,
        cosine=cosine,
        length=length,
    )
    places = tuple(tuple(_place(line) for line in (s, *calls)) for s, calls in lines)
    return {
        "message": text, "step": step, "what": what, "cosine": cosine, "length": length,
        "lines": places,
    }  # fmt: skip


def _lines(net: str, run: _Run, update: _Update) -> tuple[Line, list[Line]]:
    """The line of the step, and those of the backward calls that it used."""
    step = [e for e in run.record.events if e.kind == "step"][update.event]
    states = (s for (n, _), s in run.record.consumed(step).items() if n == net)
    calls = sorted({call for state in states for call in state.sources})
    return step.line, list(dict.fromkeys(run.record.backward_calls[c].line for c in calls))


def _source(line: Line) -> str:
    return visible(" ".join(line.code.split()), 80)


def _place(line: Line) -> str:
    return f"{shown(line.file)}:{line.number}"
