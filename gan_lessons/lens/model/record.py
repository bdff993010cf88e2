"""A record: everything that happened, and the facts that can be read off it, each in one place."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gan_lessons.arguments import require, require_whole
from gan_lessons.lens.model.as_json import from_plain, to_plain
from gan_lessons.lens.model.events import (
    BackwardCall,
    Event,
    Forward,
    GradState,
    Moment,
    Pull,
    Quarrel,
    Scaling,
)
from gan_lessons.lens.model.graph import Graph, HeldBytes
from gan_lessons.lens.model.line import Line

if TYPE_CHECKING:
    from gan_lessons.lens.show import GradientTable


VERSION = 1  # of the JSON; it rises when an old reader would misread a new record


@dataclass
class Record:
    """What happened between ``with record(...)`` and its end. Plain data; see the fields.

    ``parameters``: net -> parameter -> shape. ``holds``: optimizer -> net -> its parameters.
    ``graph``: every node that was built, with the cuts; ``graph_at(event)`` adds the states.
    ``moved``: net -> parameters that changed and that no event's ``moved`` tells of: after the last
    event, or through ``.data``.
    ``batchnorm``: net -> how many times the running statistics of its BatchNorm were updated.
    ``twice``: optimizer -> net -> parameters that it holds more than once.
    ``shared``: nets that are made of the same parameters, every one of them.
    ``processes``: how many, joined by torch.distributed, compared their weights at the end (1: none
    did). ``apart``: net -> parameters that all of them held alike when the recording began, and no
    longer when it ended. ``scalings``: what clipped or unscaled gradients, in order.
    ``pulls``: which way each backward call pulled the small outputs of nets; ``quarrels``: where
    one pulled two ways at once. ``lone``: nets that are no module, only parameters, by the names
    of the variables that hold them.
    ``aliased``: (net, parameter) of those that are several objects on one memory, at the beginning
    or at the end. ``orphans``: optimizer -> how many parameters it holds that are of no named net,
    and hold no gradient. ``evaluated``: net in training -> parameters of its parts in eval mode.
    ``as_made``: net -> its parameters that train, that no optimizer held when the recording began,
    and that nobody had written to since they were initialized.
    ``look_alikes``: optimizer that held none of the nets at the end, and no gradient -> one that
    nobody held, of just the shapes of what it did hold.
    ``empty_groups``: optimizer -> how many of its groups held nothing at the end, beside others.
    ``unreversed``: net -> the module in it that has the name of a reversal and a ``backward`` which
    torch never calls, and that handed on what has a graph.
    ``frozen_in_vain``: net -> what stood at False on it at each of its steps, and freezes nothing,
    such as an attribute ``requires_grad`` of a module; "" for nothing.
    ``unregistered``: net -> attribute that is a plain list (or dict) -> the numbers, as in
    ``Graph.strangers``, of the parameters in it. ``come_later``: net -> parameter that it got while
    the recording ran -> its number. ``plain``: net -> attribute that holds a tensor which wants a
    gradient and is no parameter -> its leaves; nobody read that gradient, or moved the tensor.
    ``put_back``: (net, events by then, line) where its state was taken, and (events by then, line)
    where this state, being the memory of the net itself, was loaded into it.
    ``thawed``: net -> parameter that no optimizer held, and that was frozen -> the one line that
    thawed it, which did the same to none that an optimizer held.
    """

    parameters: Mapping[str, Mapping[str, tuple[int, ...]]]
    holds: Mapping[str, Mapping[str, tuple[str, ...]]]
    events: list[Event] = field(default_factory=list)
    backward_calls: list[BackwardCall] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    graph: Graph = field(default_factory=lambda: Graph({}))
    moved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    batchnorm: Mapping[str, int] = field(default_factory=dict)
    twice: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    shared: tuple[tuple[str, ...], ...] = ()
    processes: int = 1
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scalings: list[Scaling] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)
    quarrels: list[Quarrel] = field(default_factory=list)
    lone: tuple[str, ...] = ()
    aliased: tuple[tuple[tuple[str, str], ...], ...] = ()
    orphans: Mapping[str, int] = field(default_factory=dict)
    evaluated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    as_made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    look_alikes: Mapping[str, str] = field(default_factory=dict)
    empty_groups: Mapping[str, int] = field(default_factory=dict)
    frozen_in_vain: Mapping[str, str] = field(default_factory=dict)
    unreversed: dict[str, str] = field(default_factory=dict)
    unregistered: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    come_later: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    put_back: list[tuple[str, int, Line, int, Line]] = field(default_factory=list)
    thawed: Mapping[str, Mapping[str, Line]] = field(default_factory=dict)
    plain: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    complete: bool = False

    @property
    def explanation(self) -> str | None:
        """The last error in plain words, or None when nothing was raised."""
        texts = [e.explanation for e in self.events if e.explanation]
        return texts[-1] if texts else None

    @property
    def peak(self) -> HeldBytes:
        """The most that the graph held for backward at any event or start of a backward call."""
        seen = [e.held for e in self.events] + [c.held_before for c in self.backward_calls]
        return max(seen, key=lambda held: held.activations, default=HeldBytes())

    # Facts: each is decided here and nowhere else ------------------------------------------------

    def end_of(self, call: int) -> Event:
        """The event with which backward call number ``call`` ended: "backward", or its "error"."""
        require_whole("end_of", call=call)
        if not 0 <= call < len(self.backward_calls):
            raise IndexError(
                f"backward call {call} of a record with {len(self.backward_calls)}; see "
                "record.backward_calls"
            )
        return (self._ends if self.complete else self._find_ends())[call]

    @cached_property
    def _ends(self) -> dict[int, Event]:
        return self._find_ends()

    def _find_ends(self) -> dict[int, Event]:
        ended = (e for e in self.events if e.kind in ("backward", "error"))
        return {e.call: e for e in ended if e.call is not None}

    def used(self, call: int) -> dict[str, tuple[str, ...]]:
        """Net -> its parameters that got gradient from this call which an optimizer step used."""
        return self._received(call, in_vain=False)

    def in_vain(self, call: int) -> dict[str, tuple[str, ...]]:
        """Net -> its parameters that got gradient from this call which no step used."""
        return self._received(call, in_vain=True)

    def _received(self, call: int, *, in_vain: bool) -> dict[str, tuple[str, ...]]:
        grads = self.end_of(call).grads
        inside = self._used_inside.get(call, set()) if self.complete else set()
        found: dict[str, tuple[str, ...]] = {}
        for net, names in self.backward_calls[call].received.items():
            vain = {n for n in names if grads[net][n].used_by is None and (net, n) not in inside}
            found[net] = tuple(name for name in names if (name in vain) == in_vain)
        return {net: names for net, names in found.items() if names}

    @cached_property
    def _used_inside(self) -> dict[int, set[tuple[str, str]]]:
        """Backward call -> (net, parameter) of what steps inside it used, and may have cleared."""
        found: dict[int, set[tuple[str, str]]] = {}
        for event in self.events:
            if event.kind == "step" and event.call is not None:
                found.setdefault(event.call, set()).update(self.consumed(event))
        return found

    @property
    def vain_count(self) -> int:
        """How many gradients of parameters were computed in vain, calls that raised left out."""
        made = [call.index for call in self.backward_calls if call.error is None]
        return sum(len(names) for call in made for names in self.in_vain(call).values())

    @property
    def walked(self) -> int:
        """Graph nodes that the backward calls walked, counted anew in each."""
        return sum(len(call.nodes) for call in self.backward_calls)

    @property
    def held_at_end(self) -> HeldBytes:
        """What the graph still held when all was over."""
        return self.events[-1].held if self.events else HeldBytes()

    def consumed(self, step: Event) -> dict[tuple[str, str], GradState]:
        """(net, parameter) -> what its ``.grad`` held when this optimizer step used it.

        That is what is left after the step, or what is known of it where the step cleared it.
        """
        known = self._last_states.get(step.index, {}) if self.complete else {}
        used = {}
        for net, name in ((net, name) for net, names in step.holds.items() for name in names):
            now = step.grads[net][name]
            state = now if now.is_gradient else known.get((net, name))
            if state is not None:
                used[net, name] = state
        return used

    @cached_property
    def _last_states(self) -> dict[int, dict[tuple[str, str], GradState]]:
        """Step event -> (net, parameter) -> the last that was seen of what this step used."""
        last: dict[int, dict[tuple[str, str], GradState]] = {}
        for event in self.events:
            for net, row in event.grads.items():
                for name, state in row.items():
                    if state.used_by is not None and state.used_by > event.index:
                        last.setdefault(state.used_by, {})[net, name] = state
        return last

    def moved_by(self, step: Event) -> dict[str, tuple[str, ...]]:
        """Net -> its parameters that this optimizer step moved, those between the evaluations of
        its closure included. A step that found nothing to use moves nothing, though it may have
        written the same values again."""
        if step.kind != "step" or step.stood_still:
            return {}
        began = step.index if step.began is None else min(step.began, step.index)
        rewritten = [event.moved for event in [*self.events[began : step.index], step]]
        found = {
            net: tuple(n for n in names if any(n in moved.get(net, ()) for moved in rewritten))
            for net, names in step.holds.items()
        }
        return {net: names for net, names in found.items() if names}

    @property
    def versions(self) -> list[dict[str, int]]:
        """For each event: net -> the version of its weights, that is, how many optimizer steps
        had moved them by then. ``Forward.weights`` and ``BackwardCall.weights`` are the same."""
        now, found = dict.fromkeys(self.parameters, 0), []
        for event in self.events:
            moved = self.moved_by(event)
            now = {net: n + (net in moved) for net, n in now.items()} if moved else now
            found.append(now)
        return found

    @property
    def forward_counts(self) -> dict[str, int]:
        """Net -> how often it ran forward."""
        ran = [forward.net for forward in self.forwards]
        return {net: ran.count(net) for net in self.parameters}

    @property
    def backward_counts(self) -> dict[str, int]:
        """Net -> how many backward calls went through what its forwards built.

        A penalty on the weights alone reaches its parameters and passes through nothing; a call
        that raised is not counted.
        """
        nodes = self.graph.nodes
        through = [
            {nodes[i].net for i in call.nodes if not nodes[i].is_leaf}
            for call in self.backward_calls
            if call.error is None
        ]
        return {net: sum(net in nets for nets in through) for net in self.parameters}

    def graph_at(self, event: int) -> Graph:
        """The whole graph, with the states its nodes had right after event number ``event``."""
        require_whole("graph_at", event=event)
        if not -len(self.events) <= event < len(self.events):
            raise IndexError(
                f"event {event} of a record with {len(self.events)} events; "
                "see record.events for what happened"
            )
        return replace(self.graph, states=self.events[event].states)

    def to_json(self) -> str:
        """All of it as JSON, for ``Record.from_json``, here or on another machine.

        Of a ``StepRecord``, ``result`` and ``error`` stay behind: they may be anything.
        """
        plain = to_plain(self, leave_out=("result", "error"))
        return json.dumps({"version": VERSION, "kind": type(self).__name__, **plain})

    @staticmethod
    def from_json(text: str) -> Record:
        """The ``Record`` (or ``StepRecord``) that ``to_json`` wrote.

        Raises ValueError for text that is no such JSON, or of another version.
        """
        require("from_json", str, "what to_json() wrote", text=text)
        try:
            plain = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"from_json() got a text that is no JSON ({error}); expected what to_json() wrote"
            ) from error
        if not isinstance(plain, dict) or plain.get("version") != VERSION:
            version = plain.get("version") if isinstance(plain, dict) else None
            raise ValueError(
                f"from_json() got a record of version {version}; expected what to_json() of this "
                f"version of gan-lessons writes, version {VERSION}"
            )
        kind = {"Record": Record, "StepRecord": StepRecord}[plain["kind"]]
        record: Record = from_plain(kind, plain)
        return record

    def table(self, **options: Any) -> GradientTable:
        """Parameter x event, drawn in a notebook and as text on a terminal; see GradientTable."""
        from gan_lessons.lens.show import GradientTable  # a view: loaded when it is looked at

        return GradientTable(self, **options)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        return str(self.table())


@dataclass
class StepRecord(Record):
    """A ``Record`` of one step, with a moment for each line that ran.

    ``source``: the step's own source, dedented; "" (and no moments) where Python cannot read it.
    ``before``: net -> parameter -> what its ``.grad`` held before the first line.
    ``result``: what the step returned. ``error``: the exception that ended it, or None.
    """

    source: str = ""
    name: str = ""
    moments: tuple[Moment, ...] = ()
    before: Mapping[str, Mapping[str, GradState]] = field(default_factory=dict)
    result: Any = None
    error: Exception | None = None

    @property
    def peak(self) -> HeldBytes:
        """The same, between any two lines too."""
        seen = [moment.held for moment in self.moments] + [super().peak]
        return max(seen, key=lambda held: held.activations)

    @property
    def held_at_end(self) -> HeldBytes:
        """What the graph still held when the step returned."""
        return self.moments[-1].held if self.moments else super().held_at_end

    def text(self, moment: Moment) -> str:
        """The statement that ran at ``moment``, as written, without its indentation."""
        if not moment.line:
            return ""
        lines = self.source.splitlines()[moment.line - 1 : moment.last_line]
        return textwrap.dedent("\n".join(lines)).strip()
