"""A record retold step by step: what each optimizer step used, and who the players are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gan_lessons.lens import diagnose_words as words
from gan_lessons.lens.events import BackwardCall, Event, Forward, GradState, Line, Record
from gan_lessons.lens.source import without_comment

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
        self.steps = [
            self._step(e) for e in record.events if e.kind == "step" and e.target in record.holds
        ]
        self.failed = any(e.kind == "error" for e in record.events)
        self.trained = tuple(dict.fromkeys(n for held in record.holds.values() for n in held))
        self.events = {e.call: e for e in record.events if e.kind == "backward"}
        self.began = {e.forward: e.index for e in record.events if e.kind == "forward"}

    def _step(self, event: Event) -> Step:
        """What is left after the step, or what the record knows that it used (it may clear)."""
        used = {}
        held = self.record.holds[event.target or ""]
        for net, names in held.items():
            for name in names:
                states = [e.grads[net][name] for e in self.record.events[: event.index]]
                known = (s for s in reversed(states) if s.used_by == event.index)
                now = event.grads[net][name]
                state = now if now.value else next(known, None)
                if state is not None:
                    used[net, name] = state
        return Step(event, tuple(held), used)

    @property
    def players(self) -> tuple[str, str] | None:
        """The two nets that play against each other; None where that cannot be told."""
        if {"G", "D"} <= set(self.trained):
            return "G", "D"
        return (self.trained[0], self.trained[1]) if len(self.trained) == 2 else None

    def steps_of(self, net: str) -> list[Step]:
        return [step for step in self.steps if net in step.nets]

    def receivers(self, call: BackwardCall) -> dict[str, tuple[str, ...]]:
        return {net: names for net, names in call.received.items() if names}

    def used_by_anyone(self, call: int) -> bool:
        return any(call in step.calls() for step in self.steps)

    def moves_by_hand(self, net: str) -> bool:
        """Were weights of ``net`` rewritten by something that is no optimizer step?"""
        moved = [e.moved for e in self.record.events if e.kind != "step"]
        return any(net in names for names in [*moved, self.record.moved])

    def states(self, net: str, event: Event) -> list[GradState]:
        return list(event.grads[net].values())

    # Quoting ----------------------------------------------------------------------------------

    def call(self, index: int) -> str:
        return _quoted(self.record.backward_calls[index].line) or words.BACKWARD.format(call=index)

    def calls(self, indices: Iterable[int]) -> str:
        return words.AND.join(dict.fromkeys(self.call(i) for i in sorted(indices)))

    def step(self, step: Step) -> str:
        return _quoted(step.event.line) or words.STEP.format(target=step.event.target)

    def clearing(self, event: Event) -> str:
        return _quoted(event.line) or words.CLEARING.format(target=event.target)

    def forward(self, forward: Forward) -> str:
        return _quoted(forward.line) or f"{forward.net}(...)"

    def seen(self, events: Iterable[Event]) -> tuple[str, ...]:
        return tuple(_seen(e) for e in sorted(events, key=lambda e: e.index))


def is_finite(states: Iterable[GradState]) -> bool:
    return all(s.value is None or math.isfinite(s.value) for s in states)


def _short(line: Line) -> str:
    crowded = ";" in line.text and line.expression
    text = " ".join(without_comment(line.expression if crowded else line.text).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _quoted(line: Line) -> str:
    return words.CALL.format(source=_short(line)) if line.text else ""


def _seen(event: Event) -> str:
    if not event.line.text:
        what = f"{event.kind} {event.target or ''}".strip()
        return words.SEEN_EVENT_NOWHERE.format(event=event.index, what=what)
    return words.SEEN_EVENT.format(
        event=event.index, line=event.line.number, source=_short(event.line)
    )
