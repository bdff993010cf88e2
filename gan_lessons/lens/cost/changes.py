"""Changes to a training step that save work and no gradient, applied to it while it runs.

The step's own source is left alone: its calls are counted, and where the count says so a backward
gets ``inputs=``, or a net is frozen for one of its forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from gan_lessons.lens.diagnose import diagnose
from gan_lessons.lens.model import BackwardCall, Line, Record
from gan_lessons.lens.record import (
    ENGINE,
    is_compiler_at_work,
    replace_function,
    undone,
    watch_forwards,
)
from gan_lessons.lens.show import visible
from gan_lessons.put_back import frozen

Parameters = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Change:
    """``title``: what to do; ``lines``: where. Calls and forwards are counted in one step, from 0.

    ``inputs``: backward call -> those that are to receive. ``freed``: backward calls that let go
    of their graph. ``frozen``: net -> its forwards in which it is frozen.
    """

    title: str
    lines: tuple[Line, ...]
    inputs: Mapping[int, Parameters] = field(default_factory=dict)
    freed: frozenset[int] = frozenset()
    frozen: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @contextmanager
    def applied(self, nets: Mapping[str, nn.Module]) -> Iterator[None]:
        """To one run of the step; everything is as before afterwards, on every path."""
        calls = _Calls(self)
        with undone() as undo:
            if self.inputs or self.freed:
                replace_function(undo, *ENGINE, calls.around_engine)
            for name, numbers in self.frozen.items():
                gate = _Gate(numbers, nets[name])
                undo.callback(gate.open.close)
                watch_forwards(undo, nets[name], gate.before, gate.after)
            yield


class _Calls:
    """Counts backward calls, and changes the arguments of some."""

    def __init__(self, change: Change) -> None:
        self._change, self._next, self._inside = change, 0, False

    def around_engine(
        self, original: Callable[..., Any], outputs: Any, *args: Any, **kwargs: Any
    ) -> Any:
        __tracebackhide__ = True
        own = self._inside or is_compiler_at_work() or not kwargs.get("accumulate_grad", True)
        if own:  # a backward inside a backward is part of it
            return original(outputs, *args, **kwargs)
        number, self._next = self._next, self._next + 1
        grads, retain, create, inputs, *rest = args
        if number in self._change.freed:
            retain = False
        if number in self._change.inputs:
            inputs = tuple(p for p in self._change.inputs[number] if p.requires_grad)
        self._inside = True
        try:
            return original(outputs, grads, retain, create, inputs, *rest, **kwargs)
        finally:
            self._inside = False


class _Gate:
    """Counts the forwards of a net, and freezes it in some."""

    def __init__(self, numbers: frozenset[int], net: nn.Module) -> None:
        self._numbers, self._net, self._next = numbers, net, 0
        self.open = ExitStack()

    def before(self, *_: Any) -> None:
        if self._next in self._numbers:
            self.open.enter_context(frozen(self._net))
        self._next += 1

    def after(self, *_: Any) -> None:
        self.open.close()


# Which changes a record suggests ------------------------------------------------------------------


def changes_for(record: Record, nets: Mapping[str, nn.Module]) -> list[Change]:
    """What could be changed about a step of which ``record`` holds two runs, one after the other.

    Raises ValueError where the two did not make the same calls.
    """
    calls = record.backward_calls
    half = len(calls) // 2
    first, second = calls[:half], calls[half:]
    if [_kind(c) for c in first] != [_kind(c) for c in second]:
        raise ValueError(
            "gains() needs a step that makes the same backward calls each time it runs; this one "
            f"made {len(calls)} in two runs, and they differ"
        )
    vain, kept = set[int](), set[int]()
    for finding in diagnose(record).findings:
        ended = (record.events[i] for i in finding.events)
        mine = {e.call for e in ended if e.call is not None and e.call >= half}
        vain |= mine if finding.code == "in-vain" and finding.saves else set()
        kept |= mine if finding.code == "needless-retain" else set()
    wasted = {i for i in vain if record.used(i)}
    changes = [_narrowed(record, nets, wasted, half)] if wasted else []
    changes += _freezes(record, nets, wasted, half)
    if kept:
        lines, freed = tuple(calls[i].line for i in sorted(kept)), frozenset(i - half for i in kept)
        changes.append(Change("leave out retain_graph=True", lines, freed=freed))
    return changes


def _kind(call: BackwardCall) -> tuple[Any, ...]:
    return call.line.file, call.line.number, call.restricted


def _narrowed(record: Record, nets: Mapping[str, nn.Module], wasted: set[int], half: int) -> Change:
    """Every call that computes in vain names who is to receive."""
    named = {name: dict(net.named_parameters()) for name, net in nets.items()}
    inputs = {
        i - half: tuple(named[net][p] for net, names in record.used(i).items() for p in names)
        for i in sorted(wasted)
    }
    users = " and ".join(dict.fromkeys(visible(n) for i in sorted(wasted) for n in record.used(i)))
    title = "backward(inputs=...) of {users}".format(users=users)
    lines = tuple(record.backward_calls[i].line for i in sorted(wasted))
    return Change(title, lines, inputs=inputs)


def _freezes(
    record: Record, nets: Mapping[str, nn.Module], wasted: set[int], half: int
) -> Iterator[Change]:
    """A net is frozen in those of its forwards that no call walks for its own sake."""
    calls = record.backward_calls
    for net in nets:
        own = [f for f in record.forwards if f.net == net and f.during is None]
        vain = {f for i in wasted if net in record.in_vain(i) for f in calls[i].forwards}
        vain -= {f for c in calls if net in record.used(c.index) for f in c.forwards}
        run = own[len(own) // 2 :]  # of the second of the two runs
        numbers = frozenset(i for i, f in enumerate(run) if f.index in vain)
        if numbers:
            title = "freeze {net} in this forward".format(net=visible(net))
            lines = tuple(run[i].line for i in sorted(numbers))
            yield Change(title, lines, frozen={net: numbers})
