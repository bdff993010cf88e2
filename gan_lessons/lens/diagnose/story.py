"""A record retold step by step: what each optimizer step used. All rules share this."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gan_lessons.lens.diagnose.backward_flops import Flops, backward_flops
from gan_lessons.lens.diagnose.flow import Flow
from gan_lessons.lens.diagnose.saving import Saving
from gan_lessons.lens.model import BackwardCall, Event, GradState, Line, Record

Severity = Literal["error", "wrong", "waste", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing that a record tells.

    ``code``: stable, for programs. ``net``: whom it concerns, or None. ``message`` and ``fix`` in
    plain words ("" where there is nothing to do). ``evidence``: the lines it was seen at.
    ``events``: indices of these events in the record. ``saves``: of waste, what it costs.
    """

    code: str
    severity: Severity
    net: str | None
    message: str
    fix: str
    evidence: tuple[str, ...]
    events: tuple[int, ...]
    saves: Saving | None = None


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


Rule = Callable[["Story"], Iterator[Finding]]


class Story(Flow):
    """The same for all rules, computed once. ``failed``: an exception ended it early."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self.steps = [
            Step(e, tuple(e.holds), record.consumed(e))
            for e in record.events
            if e.kind == "step" and e.holds
        ]
        self.failed = any(e.kind == "error" for e in record.events)
        # Optimizers that step inside backward: who received what from it is not known then.
        self.inside = {e.call for e in record.events if e.kind == "step" and e.call is not None}
        self.trained = tuple(dict.fromkeys(n for held in record.holds.values() for n in held))
        # Backward calls that ended without an error, and about which all is known.
        self.calls_made = [
            c for c in record.backward_calls
            if c.error is None and c.index in self.events and c.index not in self.inside
        ]  # fmt: skip
        self._computing = [e.index for e in record.events if e.computed_with]
        self.began = {e.forward: e.index for e in record.events if e.kind == "forward"}
        # (call, judge) -> its forward -> to which numbers distances draw that; see ``ways``
        self.labels: dict[tuple[int, str], dict[int, set[float]] | None] = {}
        self._told: dict[Rule, list[Finding]] = {}
        self._steps_of: dict[str, list[Step]] = defaultdict(list)
        self._ended = [self.events[c.index].index for c in self.calls_made]
        self._stepped: dict[str, list[int]] = defaultdict(list)
        for step in self.steps:
            for net in step.nets:
                self._stepped[net].append(step.event.index)
                self._steps_of[net].append(step)

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

    def told(self, rule: Rule) -> list[Finding]:
        """What a rule finds, asked once. Other rules listen, so that nothing is told twice."""
        if rule not in self._told:
            self._told[rule] = list(rule(self))
        return self._told[rule]

    def told_events(self, *rules: Rule) -> set[int]:
        return {event for rule in rules for one in self.told(rule) for event in one.events}

    @cached_property
    def computed(self) -> Flops:
        """What all backward calls that are known computed."""
        calls = (call for call in self.record.backward_calls if call.error is None)
        return sum((backward_flops(self.record, call) for call in calls), Flops())

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
    def used_by(self) -> dict[str | None, set[int]]:
        """Optimizer -> the backward calls that its steps used."""
        found: dict[str | None, set[int]] = defaultdict(set)
        for step in self.steps:
            found[step.event.target] |= step.calls()
        return found

    def used_before(self, step: Step) -> frozenset[int]:
        """The backward calls of this step that the same optimizer had used before."""
        return frozenset(
            call
            for call in step.calls()
            for other, _ in self.uses[call]
            if other.event.target == step.event.target and other.event.index < step.event.index
        )

    @cached_property
    def kinds_used(self) -> set[tuple[object, str]]:
        """(kind of call, net): a step used what such a call had written in this net."""
        calls = self.record.backward_calls
        return {(self.kind(calls[c]), net) for c, used in self.uses.items() for _, net in used}

    def kind(self, call: BackwardCall) -> tuple[Line, tuple[str, ...]]:
        """Calls of one line that reach the same nets: a helper's line may serve several."""
        return call.line, tuple(self.receivers(call))

    @cached_property
    def evaluations(self) -> dict[int, Step]:
        """Backward calls of a closure -> the step inside which they ran."""
        found: dict[int, Step] = {}
        for step in self.steps:
            within = (e.call for e in self.within(step) if e.kind == "backward")
            found |= {call: step for call in within if call is not None}
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

    def calls_of(self, net: str) -> set[int]:
        """The backward calls that the steps of a net used in it."""
        return {call for step in self.steps_of(net) for call in step.calls(net)}

    def copies_of(self, net: str) -> list[str]:
        """Nets with parameters of the same names and shapes, which no optimizer holds."""
        rows = self.record.parameters
        return [n for n, row in rows.items() if n not in self.trained and row == rows[net]]

    def kept_from(self, call: BackwardCall, net: str) -> bool:
        """Was this call about what ``net`` made, and kept from training it? By a cut, by a freeze,
        by ``inputs=``, made without gradients, or because what it wrote there was cleared."""
        if any(n == net for _, n in self.uses.get(call.index, ())):
            return False
        if any(f.net == net for node in call.nodes for f in self.fed_into.get(node, ())):
            return True
        return bool(self.cuts_before(call, [net])) or any(m == net for _, m in self.links(call))

    def by_hand(self, step: Step, net: str) -> bool:
        """Did something else than backward and clipping write into what the step used of a net?"""
        states = [state for (n, _), state in step.used.items() if n == net]
        marks = [s for s in self.record.scalings if s.after <= step.event.index and net in s.nets]
        calls = step.calls(net)
        clips = sum(s.kind == "clip" and bool(calls & {*s.calls}) for s in marks)
        return any(state.by_hand or state.rewritten > clips for state in states)

    def steps_seen(self, node: int, net: str) -> int:
        """How many steps had moved the weights of ``net`` when this graph node was built."""
        forward = self.record.graph.nodes[node].forward
        if forward is not None and self.record.forwards[forward].net == net:
            return self.record.forwards[forward].weights
        return self._version_before(bisect_left(self._newest, node), net)

    def built_after(self, node: int, call: BackwardCall) -> bool:
        """Was this graph node built when the call had ended?"""
        return bisect_left(self._newest, node) > self.events[call.index].index

    def computed_with(self, call: BackwardCall, net: str) -> set[str]:
        """The parameters of ``net`` whose gradient of this call somebody's own code computed with,
        while it was there."""
        found, events, end = set[str](), self.record.events, self.events[call.index].index
        for index in self._computing[bisect_right(self._computing, end) :]:
            grads = events[index - 1].grads[net]
            left = {k for k in call.received.get(net, ()) if call.index in grads[k].sources}
            if not left:
                break
            found |= {name for n, name in events[index].computed_with if n == net and name in left}
        return found

    def within(self, step: Step) -> list[Event]:
        """What happened between the beginning and the end of a step, its end included."""
        return self.record.events[step.event.began or 0 : step.event.index + 1]

    def steps_of(self, net: str) -> list[Step]:
        return self._steps_of.get(net, [])

    def steps_until(self, net: str, step: Step) -> int:
        """How many steps had moved ``net`` before this one."""
        return self._version_before(step.event.index, net)

    @cached_property
    def _versions(self) -> list[dict[str, int]]:
        return self.record.versions

    def _version_before(self, event: int, net: str) -> int:
        return self._versions[event - 1][net] if event else 0

    def step_before(self, step: Step, net: str) -> int:
        """Event of the last step of ``net`` before this one, of any optimizer; -1 if none."""
        at = bisect_left(self._stepped[net], step.event.index)
        return self._stepped[net][at - 1] if at else -1

    def step_after(self, event: Event, net: str) -> Step | None:
        """The next step of ``net``, of any optimizer."""
        at = bisect_right(self._stepped[net], event.index)
        return self._steps_of[net][at] if at < len(self._stepped[net]) else None

    def calls_between(self, first: int, last: int) -> list[BackwardCall]:
        """Backward calls that ended between two events."""
        return self.calls_made[bisect_right(self._ended, first) : bisect_left(self._ended, last)]

    def receivers(self, call: BackwardCall) -> dict[str, tuple[str, ...]]:
        return {net: names for net, names in call.received.items() if names}

    def finite_after(self, net: str, calls: Iterable[int]) -> bool:
        """Is every gradient of ``net`` finite after these calls? A GradScaler skips others."""
        values = (s.value for call in calls for s in self.events[call].grads[net].values())
        return all(value is None or math.isfinite(value) for value in values)

    def events_of(self, calls: Iterable[int]) -> list[Event]:
        return [self.events[call] for call in calls if call in self.events]
