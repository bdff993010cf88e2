"""A record retold step by step: what each optimizer step used, and who the players are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gan_lessons.lens.diagnose import diagnose_words as words
from gan_lessons.lens.model import BackwardCall, Event, Forward, GradState, Line, Record
from gan_lessons.lens.show import visible

LONGEST = 100  # characters of a line that is quoted


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
        self.steps = [self._step(e) for e in record.events if e.kind == "step" and e.holds]
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

    def _step(self, event: Event) -> Step:
        return Step(event, tuple(event.holds), self.record.consumed(event))

    @property
    def players(self) -> tuple[str, str] | None:
        """The two nets that play against each other; None where that cannot be told."""
        if {"G", "D"} <= set(self.trained):
            return "G", "D"
        return (self.trained[0], self.trained[1]) if len(self.trained) == 2 else None

    def role(self, step: Step) -> str | None:
        """ "G" or "D", from the name of the optimizer or else of its nets; None: no such name."""
        roles = {_role(net) for net in step.nets} - {None}
        return _role(step.event.target or "") or (roles.pop() if len(roles) == 1 else None)

    def within(self, step: Step) -> list[Event]:
        """What happened between the beginning and the end of a step, its end included."""
        return self.record.events[step.event.began or 0 : step.event.index + 1]

    def steps_of(self, net: str) -> list[Step]:
        return [step for step in self.steps if net in step.nets]

    def receivers(self, call: BackwardCall) -> dict[str, tuple[str, ...]]:
        return {net: names for net, names in call.received.items() if names}

    def used_by_anyone(self, call: int) -> bool:
        return any(call in step.calls() for step in self.steps)

    def moves_by_hand(self, net: str) -> bool:
        """Were weights of ``net`` rewritten by something that is no optimizer step?"""
        during = {e.index for step in self.steps for e in self.within(step)}
        moved = [e.moved for e in self.record.events if e.index not in during]
        return any(net in names for names in [*moved, self.record.moved])

    def was_used(self, net: str, name: str, call: int) -> bool:
        """Did a step use what this call wrote into this parameter's ``.grad``?"""
        found = (step.used.get((net, name)) for step in self.steps)
        return any(state is not None and call in state.sources for state in found)

    def states(self, net: str, event: Event) -> list[GradState]:
        return list(event.grads[net].values())

    # Quoting ----------------------------------------------------------------------------------

    def call(self, index: int, numbered: bool = False) -> str:
        """The line of a backward call; its number too where one line serves several."""
        quoted, number = _quoted(self.record.backward_calls[index].line), words.BACKWARD
        if not quoted:
            return number.format(call=index)
        return f"{quoted} ({number.format(call=index)})" if numbered else quoted

    def calls(self, indices: Iterable[int], numbered: bool = False) -> str:
        return words.AND.join(dict.fromkeys(self.call(i, numbered) for i in sorted(indices)))

    def one_line(self, some: Iterable[int], others: Iterable[int]) -> bool:
        """Do calls of both kinds stand at the same line (of a helper, say)?"""
        return bool({self.call(i) for i in some} & {self.call(i) for i in others})

    def step(self, step: Step) -> str:
        return _quoted(step.event.line) or words.STEP.format(target=step.event.target)

    def clearing(self, event: Event) -> str:
        return _quoted(event.line) or words.CLEARING.format(target=event.target)

    def forward(self, forward: Forward) -> str:
        return _quoted(forward.line) or f"{forward.net}(...)"

    def seen(self, events: Iterable[Event]) -> tuple[str, ...]:
        return tuple(_seen(e) for e in sorted(events, key=lambda e: e.index))


def _role(name: str) -> str | None:
    """ "D" for D, netD, opt_d, disc, critic_2 and the like, "G" for G, netG, generator; or None."""
    if re.search(r"disc|critic", name, re.IGNORECASE):
        return "D"
    if re.search(r"(^|[a-z_])(G|gen|generator)($|[\d_])|^g($|[\d_])|_g$|^gen", name):
        return "G"
    return "D" if re.search(r"(^|[a-z_])D($|[\d_])|^d($|[\d_])|_d$", name) else None


def is_finite(states: Iterable[GradState]) -> bool:
    return all(s.value is None or math.isfinite(s.value) for s in states)


def _short(line: Line) -> str:
    crowded = ";" in line.text and line.expression
    text = line.expression if crowded else line.code
    return visible(" ".join(text.split()), LONGEST)


def _quoted(line: Line) -> str:
    return words.CALL.format(source=_short(line)) if line.text else ""


def _seen(event: Event) -> str:
    if not event.line.text:
        what = f"{event.kind} {event.target or ''}".strip()
        return words.SEEN_EVENT_NOWHERE.format(event=event.index, what=what)
    return words.SEEN_EVENT.format(
        event=event.index, line=event.line.number, source=_short(event.line)
    )
