"""What a record holds: plain data, with no tensor, module or graph in it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gan_lessons.lens.show import GradientTable

# The graph ---------------------------------------------------------------------------------------

HELD, FREED, STALE, NOTHING, UNKNOWN = "held", "freed", "stale", "nothing", "unknown"
STATES = (HELD, FREED, STALE, NOTHING, UNKNOWN)

# The first words of torch's own errors; what follows them changes between versions.
INPLACE = "one of the variables needed for gradient computation has been modified by an inplace"
SECOND_BACKWARD = "Trying to backward through the graph a second time"
NO_GRAPH = "does not require grad and does not have a grad_fn"


@dataclass(frozen=True)
class Node:
    """One node of the autograd graph (a ``grad_fn``).

    ``inputs`` are the ids of the nodes that its gradient goes to next (``next_functions``).
    ``shape`` is the shape of what it made in the forward pass, which is also the shape of the
    gradient that arrives. ``net`` is None for what no named net made (a loss, say);
    ``parameter`` is the name within ``net`` when the node is that parameter's AccumulateGrad.
    ``forward`` is the index of the recorded forward that built it, None without a record.
    """

    id: int
    op: str
    net: str | None = None
    parameter: str | None = None
    shape: tuple[int, ...] | None = None
    inputs: tuple[int, ...] = ()
    forward: int | None = None


@dataclass(frozen=True)
class Cut:
    """Where a graph was cut: ``source`` made a tensor, a detached copy of it went to ``target``."""

    source: int
    target: int
    how: str = "detach()"


@dataclass(frozen=True)
class Saved:
    """A tensor that a node saved for its backward: its name there, its shape, its bytes.

    ``what``: "parameter" or "input" where it is one of those, which live on without the graph.
    ``parameter``: the net and the name of that parameter.
    """

    name: str
    shape: tuple[int, ...]
    bytes: int
    what: str = "activation"
    parameter: tuple[str, str] | None = None


@dataclass(frozen=True)
class HeldBytes:
    """Bytes that a graph keeps for backward, each storage counted once.

    ``parameters`` belong to the nets and ``inputs`` came from outside (images, noise): they would
    be alive without the graph too. ``activations`` are what the graph alone keeps.
    ``complete`` is False where some saved tensors could not be looked at (saved-tensor hooks).
    """

    activations: int = 0
    parameters: int = 0
    inputs: int = 0
    complete: bool = True

    @property
    def total(self) -> int:
        return self.activations + self.parameters + self.inputs


@dataclass(frozen=True)
class Graph:
    """Nodes by id, the outputs they end in (id -> name), the cuts, and each node's state.

    ``saved``: node -> what it saved, as far as that could be looked at while it was held.

    A node without a state is not there at the moment that ``states`` speaks of: not built yet,
    or already gone. ``inferred`` tells that owners were guessed from parameters, not observed.
    """

    nodes: Mapping[int, Node]
    outputs: Mapping[int, str] = field(default_factory=dict)
    cuts: tuple[Cut, ...] = ()
    states: Mapping[int, str] = field(default_factory=dict)
    inferred: bool = False
    saved: Mapping[int, tuple[Saved, ...]] = field(default_factory=dict)


# Operations that only turn a parameter on its way into a layer; a picture may leave them out.
FOLDABLE = frozenset({"TBackward0", "TransposeBackward0", "PermuteBackward0", "ViewBackward0"})


# Events ------------------------------------------------------------------------------------------

Kind = Literal["forward", "zero_grad", "backward", "grad", "step", "error"]


@dataclass(frozen=True)
class Line:
    """A line of somebody's source, as written; best effort: ``text`` is "" where there is none.

    ``expression``: the part of it that was running, such as ``D(fake)``; "" if torch or Python
    does not tell.
    """

    text: str
    file: str
    number: int
    function: str
    expression: str = ""


@dataclass(frozen=True)
class GradState:
    """What one parameter's ``.grad`` holds.

    ``value``: None for no gradient, 0.0 for a gradient of zeros, else its 2-norm.
    ``sources``: indices of the backward calls that went into it since it was last cleared.
    ``used_by``: index of the event in which an optimizer consumed it; None: computed in vain
    (known once the record is complete). ``by_hand``: written by an assignment, not by backward.
    ``before``: it holds, or was added to, what was there before the recording began.
    """

    value: float | None = None
    sources: tuple[int, ...] = ()
    used_by: int | None = None
    by_hand: bool = False
    before: bool = False


@dataclass(frozen=True)
class Forward:
    """One call of a net. ``weights``: how many optimizer steps its weights had seen by then,
    within this record (0: as they were at the start). ``during``: index of the backward call
    inside which it ran (checkpointing recomputes), else None."""

    index: int
    net: str
    line: Line
    training: bool
    weights: int
    during: int | None = None


@dataclass(frozen=True)
class BackwardCall:
    """One call of ``backward``.

    ``received``: net -> names of its parameters whose ``.grad`` this call wrote or added to.
    ``forwards``: indices of the recorded forwards whose graph it walked.
    ``weights``: net -> how many optimizer steps its weights had seen when the call began.
    ``restricted``: ``inputs=`` was given. ``nodes``: ids of the graph nodes it walked.
    ``held_before``: bytes held when it began. ``error``: what it raised, or None.
    """

    index: int
    source: str
    line: Line
    retain_graph: bool
    create_graph: bool
    restricted: bool
    received: Mapping[str, tuple[str, ...]]
    forwards: tuple[int, ...]
    weights: Mapping[str, int]
    nodes: tuple[int, ...]
    held_before: HeldBytes
    error: str | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened, and how things stood right after it.

    ``target``: the net (forward, or zero_grad on a net) or the optimizer. ``call``: index of the
    backward call, for "backward", the "error" it raised and a "step" inside it. ``forward``: index
    of the forward. Of a step, ``holds``: net -> the parameters it was for, and ``began``: the
    number of events before it began (a closure's are between).
    ``grads``: net -> parameter -> GradState. ``moved``: net -> parameters rewritten since the
    event before. ``states``: graph node -> "held", "freed", "stale", "nothing" or "unknown".
    ``message``: the exception, ``explanation``: the same in plain words, its end being the ``fix``
    (errors only).
    """

    index: int
    kind: Kind
    target: str | None
    line: Line
    grads: Mapping[str, Mapping[str, GradState]]
    moved: Mapping[str, tuple[str, ...]]
    held: HeldBytes
    states: Mapping[int, str]
    call: int | None = None
    forward: int | None = None
    message: str | None = None
    explanation: str | None = None
    fix: str | None = None
    holds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    began: int | None = None


@dataclass
class Record:
    """What happened between ``with record(...)`` and its end. Plain data; see the fields.

    ``parameters``: net -> parameter -> shape. ``holds``: optimizer -> net -> its parameters.
    ``graph``: every node that was built, with the cuts; ``graph_at(event)`` adds the states.
    ``moved``: net -> parameters that changed and that no event's ``moved`` tells of: after the last
    event, or through ``.data``.
    ``batchnorm``: net -> how many times the running statistics of its BatchNorm were updated.
    """

    parameters: Mapping[str, Mapping[str, tuple[int, ...]]]
    holds: Mapping[str, Mapping[str, tuple[str, ...]]]
    events: list[Event] = field(default_factory=list)
    backward_calls: list[BackwardCall] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    graph: Graph = field(default_factory=lambda: Graph({}))
    moved: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    batchnorm: Mapping[str, int] = field(default_factory=dict)
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

    def graph_at(self, event: int) -> Graph:
        """The whole graph, with the states its nodes had right after event number ``event``."""
        if not -len(self.events) <= event < len(self.events):
            raise IndexError(
                f"event {event} of a record with {len(self.events)} events; "
                "see record.events for what happened"
            )
        return replace(self.graph, states=self.events[event].states)

    def table(self, **options: Any) -> GradientTable:
        """Parameter x event, drawn in a notebook and as text on a terminal; see GradientTable."""
        from gan_lessons.lens.show import GradientTable  # a view: loaded when it is looked at

        return GradientTable(self, **options)

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def __str__(self) -> str:
        return str(self.table())


# Line by line ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """One line of the step has run; how things stand right after it.

    ``line``, ``last_line``: first and last line of the statement, counted from 1 in the step's
    ``source``; of a compound statement (``with``, ``for``) its head alone.
    ``events``, ``built``: indices of the events, ids of the graph nodes, that it brought about.
    ``states``: graph node -> state, as in ``Event``. ``held``: bytes held by the graph.
    ``grads``: net -> parameter -> GradState. ``raised``: it ended in the exception of the step.
    """

    index: int
    line: int
    last_line: int
    events: tuple[int, ...]
    built: tuple[int, ...]
    states: Mapping[int, str]
    held: HeldBytes
    grads: Mapping[str, Mapping[str, GradState]]
    raised: bool = False


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

    def text(self, moment: Moment) -> str:
        """The statement that ran at ``moment``, as written, without its indentation."""
        if not moment.line:
            return ""
        lines = self.source.splitlines()[moment.line - 1 : moment.last_line]
        return textwrap.dedent("\n".join(lines)).strip()
