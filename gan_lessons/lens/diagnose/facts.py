"""A record retold step by step, which is what the rules share; and how its lines are quoted."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gan_lessons.lens.model import BackwardCall, Cut, Event, Forward, GradState, Line, Record
from gan_lessons.lens.show import visible

LONGEST = 100  # characters of a line that is quoted
Severity = Literal["error", "wrong", "waste", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing that a record tells.

    ``code``: stable, for programs. ``net``: whom it concerns, or None. ``message`` and ``fix`` in
    plain words ("" where there is nothing to do). ``evidence``: the lines it was seen at.
    ``events``: indices of these events in the record.
    """

    code: str
    severity: Severity
    net: str | None
    message: str
    fix: str
    evidence: tuple[str, ...]
    events: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One optimizer step. ``used``: (net, parameter) -> what it held when the step used it."""

    event: Event
    nets: tuple[str, ...]
    used: dict[tuple[str, str], GradState]

    def calls(self, net: str | None = None) -> frozenset[int]:
        """Indices of the backward calls whose gradients it used, in one net or in all."""
        states = (s for (n, _), s in self.used.items() if net in (None, n))
        return frozenset(call for state in states for call in state.sources)


class Story:
    """The same for all rules, computed once. ``failed``: an exception ended it early."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.steps = [
            Step(e, tuple(e.holds), record.consumed(e))
            for e in record.events
            if e.kind == "step" and e.holds
        ]
        self.failed = any(e.kind == "error" for e in record.events)
        # Optimizers that step inside backward: who received what from it is not known then.
        self.inside = {e.call for e in record.events if e.kind == "step" and e.call is not None}
        self.trained = tuple(dict.fromkeys(n for held in record.holds.values() for n in held))
        told = (e for e in record.events if e.kind in ("backward", "error"))
        self.events = {e.call: e for e in told if e.call is not None}
        # Backward calls that ended without an error, and about which all is known.
        self.calls_made = [
            c for c in record.backward_calls
            if c.error is None and c.index in self.events and c.index not in self.inside
        ]  # fmt: skip
        self.began = {e.forward: e.index for e in record.events if e.kind == "forward"}
        self._ended = [self.events[c.index].index for c in self.calls_made]
        self._stepped: dict[str, list[int]] = defaultdict(list)
        for step in self.steps:
            for net in step.nets:
                self._stepped[net].append(step.event.index)

    def finding(
        self,
        code: str,
        severity: Severity,
        net: str | None,
        events: Iterable[Event],
        message: str,
        fix: str = "",
        **blanks: object,
    ) -> Finding:
        """``message`` and ``fix``: whole sentences; ``blanks`` fill what is in braces there."""
        blanks = {"net": net, **blanks}
        seen = {e.index: self.seen(e) for e in sorted(events, key=lambda e: e.index)}
        texts = message.format(**blanks), fix.format(**blanks)
        return Finding(code, severity, net, *texts, tuple(seen.values()), tuple(seen))

    # Steps and calls ----------------------------------------------------------------------------

    @cached_property
    def uses(self) -> dict[int, list[tuple[Step, str]]]:
        """Backward call -> the steps that used it, each with a net in which it did."""
        found: dict[int, list[tuple[Step, str]]] = defaultdict(list)
        for step in self.steps:
            for net in step.nets:
                for call in step.calls(net):
                    found[call].append((step, net))
        return found

    @cached_property
    def moved_outside(self) -> dict[str, set[str]]:
        """Net -> its parameters that were rewritten by something that is no optimizer step."""
        during = {e.index for step in self.steps for e in self.within(step)}
        moved = [e.moved for e in self.record.events if e.index not in during]
        found: dict[str, set[str]] = defaultdict(set)
        for net, names in (item for one in [*moved, self.record.moved] for item in one.items()):
            found[net] |= {*names}
        return found

    @cached_property
    def during(self) -> dict[int, list[Forward]]:
        """Backward call -> the forwards that ran inside it (checkpoints recompute)."""
        found: dict[int, list[Forward]] = defaultdict(list)
        for forward in self.record.forwards:
            if forward.during is not None:
                found[forward.during].append(forward)
        return found

    @cached_property
    def built(self) -> set[int | None]:
        """The forwards that left nodes in the graph."""
        return {node.forward for node in self.record.graph.nodes.values()}

    @cached_property
    def cuts_into(self) -> dict[int, list[Cut]]:
        """Graph node -> where the graph behind it was cut."""
        found: dict[int, list[Cut]] = defaultdict(list)
        for cut in self.record.graph.cuts:
            found[cut.target].append(cut)
        return found

    @cached_property
    def last_walk(self) -> dict[int, int]:
        """Graph node -> the last backward call that walked it, an error or not."""
        return {node: c.index for c in self.record.backward_calls for node in c.nodes}

    @property
    def players(self) -> tuple[str, str] | None:
        """The two nets that play against each other; None where that cannot be told."""
        if {"G", "D"} <= set(self.trained):
            return "G", "D"
        return (self.trained[0], self.trained[1]) if len(self.trained) == 2 else None

    def role(self, step: Step) -> str | None:
        """ "G" or "D", from the name of the optimizer or else of its nets; None: no such name."""
        roles = {role_of(net) for net in step.nets} - {None}
        return role_of(step.event.target or "") or (roles.pop() if len(roles) == 1 else None)

    def within(self, step: Step) -> list[Event]:
        """What happened between the beginning and the end of a step, its end included."""
        return self.record.events[step.event.began or 0 : step.event.index + 1]

    def steps_of(self, net: str) -> list[Step]:
        return [step for step in self.steps if net in step.nets]

    def step_before(self, step: Step, net: str) -> int:
        """Event of the last step of ``net`` before this one, of any optimizer; -1 if none."""
        at = bisect_left(self._stepped[net], step.event.index)
        return self._stepped[net][at - 1] if at else -1

    def calls_between(self, first: int, last: int) -> list[BackwardCall]:
        """Backward calls that ended between two events."""
        return self.calls_made[bisect_right(self._ended, first) : bisect_left(self._ended, last)]

    def receivers(self, call: BackwardCall) -> dict[str, tuple[str, ...]]:
        return {net: names for net, names in call.received.items() if names}

    def moves_by_hand(self, net: str) -> bool:
        return bool(self.moved_outside.get(net))

    def finite_after(self, net: str, calls: Iterable[int]) -> bool:
        """Is every gradient of ``net`` finite after these calls? A GradScaler skips others."""
        values = (s.value for call in calls for s in self.events[call].grads[net].values())
        return all(value is None or math.isfinite(value) for value in values)

    def events_of(self, calls: Iterable[int]) -> list[Event]:
        return [self.events[call] for call in calls if call in self.events]

    # Quoting ------------------------------------------------------------------------------------

    def call(self, index: int, numbered: bool = False) -> str:
        """The line of a backward call; its number too where one line serves several."""
        quoted, number = _quoted(self.record.backward_calls[index].line), f"backward call {index}"
        return (f"{quoted} ({number})" if numbered else quoted) if quoted else number

    def calls(self, indices: Iterable[int], numbered: bool = False) -> str:
        return " and ".join(dict.fromkeys(self.call(i, numbered) for i in sorted(indices)))

    def one_line(self, some: Iterable[int], others: Iterable[int]) -> bool:
        """Do calls of both kinds stand at the same line (of a helper, say)?"""
        return bool({self.call(i) for i in some} & {self.call(i) for i in others})

    def event(self, event: Event) -> str:
        """The line of a step or of a ``zero_grad``."""
        what = "a step" if event.kind == "step" else event.kind
        return _quoted(event.line) or f"{what} of {event.target}"

    def forward(self, forward: Forward) -> str:
        return _quoted(forward.line) or f"{forward.net}(...)"

    def seen(self, event: Event) -> str:
        if not event.line.text:
            return f"event {event.index}: {event.kind} {event.target or ''}".strip()
        return f"event {event.index}, line {event.line.number}: `{_short(event.line)}`"


def role_of(name: str) -> str | None:
    """ "D" for D, netD, opt_d, disc, critic_2 and the like, "G" for G, netG, generator; or None."""
    if re.search(r"disc|critic", name, re.IGNORECASE):
        return "D"
    if re.search(r"(^|[a-z_])(G|gen|generator)($|[\d_])|^g($|[\d_])|_g$|^gen", name):
        return "G"
    return "D" if re.search(r"(^|[a-z_])D($|[\d_])|^d($|[\d_])|_d$", name) else None


def _short(line: Line) -> str:
    crowded = ";" in line.text and line.expression
    text = line.expression if crowded else line.code
    return visible(" ".join(text.split()), LONGEST)


def _quoted(line: Line) -> str:
    return f"`{_short(line)}`" if line.text else ""


def parameters_of(nets: Iterable[str]) -> str:
    """Code for the parameters of some nets."""
    return " + ".join(f"list({net}.parameters())" for net in nets)
