"""What the players of a step show at each moment: who ran, what they keep, which weights they saw.

Everything is read off the record; see ``players`` for who they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from gan_lessons.classroom.explorer.players import NOT, THROUGH, USED, VAIN, Cast, cast_of
from gan_lessons.lens import show
from gan_lessons.lens.model import (
    FREED,
    HELD,
    STALE,
    UNKNOWN,
    Event,
    GradState,
    Moment,
    StepRecord,
)

Json = dict[str, Any]
Grads = Mapping[str, Mapping[str, GradState]]

# What a call of a net keeps of its graph, by the worst that its nodes are in.
CALLS = {STALE: "s", HELD: "h", UNKNOWN: "u", FREED: "f"}
OVER = "o"  # stale, but no backward goes through it any more
TO_COME, RAN = ".", "n"  # not yet; it ran, and there is no graph of it (any more)
PARTLY = "partly"  # the kind of a sum in vain, of which a step has used a part


@dataclass(frozen=True)
class StagedRecord:
    """A record, its moments (if not its own), and what is told of more than one of them."""

    record: StepRecord
    moments: Sequence[Moment]

    @cached_property
    def cast(self) -> Cast:
        return cast_of(self.record)

    @cached_property
    def built_by(self) -> list[list[int]]:
        """For each forward the graph nodes that it built."""
        found: list[list[int]] = [[] for _ in self.record.forwards]
        for i, node in self.record.graph.nodes.items():
            if node.forward is not None and node.net is not None and not node.is_leaf:
                found[node.forward].append(i)
        return found

    @cached_property
    def versions(self) -> list[dict[str, int]]:
        """For each event: net -> how often an optimizer had moved it by then."""
        return self.record.versions

    def kind(self, net: str, name: str, state: GradState) -> str:
        """What that ``.grad`` holds: a kind of ``show.GRADIENT``, or ``PARTLY``."""
        asked = (net, name, id(state))  # all states live as long as the record
        if (known := self._kinds.get(asked)) is None:
            known = show.describe(state, self.record.complete).kind
            if known == "vain" and self.used_of(net, name, state):
                known = PARTLY
            self._kinds[asked] = known
        return known

    @cached_property
    def _kinds(self) -> dict[tuple[str, str, int], str]:
        return {}

    def used_of(self, net: str, name: str, state: GradState) -> list[int]:
        """The backward calls in that ``.grad`` whose gradient a step has used."""
        return [call for call in state.sources if name in self._used[call].get(net, ())]

    @cached_property
    def _used(self) -> list[Mapping[str, Sequence[str]]]:
        calls = self.record.backward_calls
        return [{} if call.error else self.record.used(call.index) for call in calls]

    @cached_property
    def done(self) -> list[int]:
        """For each moment: the last event by its end, -1 for none."""
        return [*accumulate((max(m.events, default=-1) for m in self.moments), max)]

    def has_used(self, net: str, moment: Moment) -> bool:
        """Has a step used all that the net's ``.grad`` hold at the end of this moment?"""
        states = moment.grads[net].values()
        return bool(states) and all(show.is_used(s, self.done[moment.index]) for s in states)

    def moment_of(self, event: Event) -> Moment | None:
        """The line that brought an event about."""
        return next((m for m in self.moments if event.index in m.events), None)

    def gone(self, event: Event, net: str, name: str) -> Moment | None:
        """The later line that takes this backward call's gradient out of that ``.grad`` for good;
        None where it stays to the end. Where no line ends with it there: its own line."""
        holds = [m.index for m in self.moments if event.call in m.grads[net][name].sources]
        return next(iter(self.moments[holds[-1] + 1 :]), None) if holds else self.moment_of(event)

    def walked_after(self, moment: Moment) -> set[int]:
        """The graph nodes through which a backward call goes, or tries to, after this moment."""
        done = {i for m in self.moments[: moment.index + 1] for i in m.events}
        later = (e.call for e in self.record.events if e.index not in done)
        calls = {call for call in later if call is not None}
        return {node for call in calls for node in self.record.backward_calls[call].nodes}

    @cached_property
    def aside(self) -> list[dict[str, tuple[str, ...]]]:
        """For each moment: net -> its parameters whose gradient is kept elsewhere just now.

        That is, it left ``.grad`` in a line without an event and comes back in a later one. Each
        parameter for itself: the others of its net may be gone for good.
        """
        found: list[dict[str, tuple[str, ...]]] = [{} for _ in self.moments]
        for start, net, name in self._taken_out():
            end = self._back(start, net, name, self._grads(start - 1)[net][name])
            for i in range(start, end or start):
                found[i][net] = tuple(dict.fromkeys([*found[i].get(net, ()), name]))
        return found

    def _grads(self, moment: int) -> Grads:
        return self.moments[moment].grads if moment >= 0 else self.record.before

    def _taken_out(self) -> Iterator[tuple[int, str, str]]:
        for moment in self.moments:
            if moment.events:
                continue
            for net, now in moment.grads.items():
                was = self._grads(moment.index - 1).get(net, {})
                held = [n for n in now if n in was and was[n].value is not None]
                yield from ((moment.index, net, n) for n in held if now[n].value is None)

    def _back(self, start: int, net: str, name: str, held: GradState) -> int | None:
        """The moment at which this very gradient is in ``.grad`` again."""
        for moment in self.moments[start + 1 :]:
            now = moment.grads[net][name]
            if (now.value, now.sources) == (held.value, held.sources):
                return moment.index
        return None


def stage_moments(staged: StagedRecord, kind_of: Mapping[str, str]) -> list[Json]:
    """One entry for each moment. kind_of: kind of a gradient -> its letter."""
    return [_entry(staged, moment, kind_of) for moment in staged.moments]


def _entry(staged: StagedRecord, moment: Moment, kind_of: Mapping[str, str]) -> Json:
    record = staged.record
    events = [record.events[i] for i in moment.events]
    done = {i for m in staged.moments[: moment.index + 1] for i in m.events}
    ran = {record.events[i].forward for i in done if record.events[i].kind == "forward"}
    now = versions_at(staged, moment)
    before = versions_at(staged, staged.moments[moment.index - 1]) if moment.index else {}
    told: Json = {
        "calls": "".join(_call(staged, f.index, moment, ran) for f in record.forwards),
        "losses": "".join(_loss(staged, node, moment) for node in staged.cast.losses),
        "nets": "".join(_kind(staged, net, moment, kind_of) for net in moment.grads),
        "versions": [*now.values()],
        "saw": [_saw(staged, moment, net) for net in moment.grads],
    }
    moved = [i for i, net in enumerate(now) if now[net] != before.get(net, 0)]
    aside = [i for i, net in enumerate(moment.grads) if net in staged.aside[moment.index]]
    running = [e.forward for e in events if e.kind == "forward" and e.forward is not None]
    used = [i for i, net in enumerate(moment.grads) if staged.has_used(net, moment)]
    for name, value in (("moved", moved), ("aside", aside), ("run", running), ("used", used)):
        if value:
            told[name] = value
    return told | _walk(staged, events)


def versions_at(staged: StagedRecord, moment: Moment) -> dict[str, int]:
    """Net -> how often an optimizer had moved it by the end of this moment."""
    done = staged.done[moment.index]
    return dict.fromkeys(staged.record.parameters, 0) if done < 0 else staged.versions[done]


def _call(staged: StagedRecord, forward: int, moment: Moment, ran: set[int | None]) -> str:
    states = {moment.states.get(i) for i in staged.built_by[forward]}
    worst = next((letter for state, letter in CALLS.items() if state in states), None)
    if worst == CALLS[STALE] and not moment.raised:
        walked = staged.walked_after(moment)
        return worst if walked.intersection(staged.built_by[forward]) else OVER
    return worst or (RAN if forward in ran else TO_COME)


def _loss(staged: StagedRecord, node: int, moment: Moment) -> str:
    built = any(node in m.built for m in staged.moments[: moment.index + 1])
    return "1" if built or node in moment.states else TO_COME


def _kind(staged: StagedRecord, net: str, moment: Moment, kind_of: Mapping[str, str]) -> str:
    """The letter of what all of a net's ``.grad`` hold, or that of a mixture."""
    kinds = {staged.kind(net, name, state) for name, state in moment.grads[net].items()}
    return kind_of[kinds.pop()] if len(kinds) == 1 else kind_of["mixed"]


def _saw(staged: StagedRecord, moment: Moment, net: str) -> str:
    """Of what is in the ``.grad``; where it is in vain and a step has used a part of it, of that
    part and of the other: ``✓ at v0 + ○ at v1``."""
    states = moment.grads[net]
    calls = sorted({c for state in states.values() for c in state.sources})
    if {staged.kind(net, name, state) for name, state in states.items()} != {PARTLY}:
        return _saw_by(staged, net, calls)
    used = {c for name, state in states.items() for c in staged.used_of(net, name, state)}
    parts = {
        show.USED: [c for c in calls if c in used],
        show.GRADIENT["vain"][0]: [c for c in calls if c not in used],
    }
    told = {
        sign: _saw_by(staged, net, part, "at {version}") for sign, part in parts.items() if part
    }
    return " + ".join(f"{sign} {text}" for sign, text in told.items())


def _saw_by(
    staged: StagedRecord, net: str, calls: Sequence[int], own: str = "at weights {version}"
) -> str:
    """``through D v1``: the weights of others that the gradient of these backward calls came
    through; where there are none, which of its ``own`` it is the gradient at."""
    seen: dict[str, set[int]] = {}
    for forward in (f for call in calls for f in staged.cast.through(call, net)):
        seen.setdefault(forward.net, set()).add(forward.weights)
    for call in (staged.record.backward_calls[i] for i in calls):
        if call.error and net not in seen:  # of its way no more is known than whom it reached
            asked = {
                f.weights
                for f in staged.record.forwards
                if f.index in call.forwards and f.net == net
            }
            seen |= {net: asked} if len(asked) == 1 else {}
    versions = {name: "+".join(f"v{v}" for v in sorted(found)) for name, found in seen.items()}
    others = [f"{show.visible(name, 12)} {told}" for name, told in versions.items() if name != net]
    if others:
        return "through {weights}".format(weights=", ".join(others))
    return own.format(version=versions[net]) if net in versions else ""


def _walk(staged: StagedRecord, events: Sequence[Any]) -> Json:
    """The ways that gradient goes back over at this moment, and forwards whose weights were moved
    between their run and this."""
    letters: dict[Any, str] = {}
    old: set[int] = set()
    for event in events:
        if event.kind == "backward" and event.call is not None:
            for way, letter in staged.cast.walks[event.call].items():
                kept = letters.get(way, NOT)
                letters[way] = min(kept, letter, key=(USED + VAIN + THROUGH + NOT).index)
            old |= _moved_since(staged, event)
    if not letters:
        return {}
    walk = "".join(letters.get(way, NOT) for way in staged.cast.ways)
    return {"walk": walk, **({"old": sorted(old)} if old else {})}


def _moved_since(staged: StagedRecord, event: Any) -> set[int]:
    call = staged.record.backward_calls[event.call]
    walked = {key for way in staged.cast.walks[event.call] for kind, key in way if kind == "call"}
    now = staged.versions[event.index]
    forwards = (staged.record.forwards[i] for i in call.forwards if i in walked)
    return {f.index for f in forwards if f.weights < now[f.net]}
