"""The autograd graph as plain data: whose a node is, what it holds, where the graph was cut."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gan_lessons.lens.model.line import Line

HELD, FREED, STALE, NOTHING, UNKNOWN = "held", "freed", "stale", "nothing", "unknown"
STATES = (HELD, FREED, STALE, NOTHING, UNKNOWN)

# The first words of torch's own errors; what follows them changes between versions.
INPLACE = "one of the variables needed for gradient computation has been modified by an inplace"
SECOND_BACKWARD = "Trying to backward through the graph a second time"
NO_GRAPH = "does not require grad and does not have a grad_fn"

# What functions and modules are called that reverse a gradient.
REVERSAL = re.compile("revers(?!ib)|rev_?grad|grl", re.IGNORECASE)


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

    @property
    def is_leaf(self) -> bool:
        """A parameter, or another tensor that collects gradient."""
        return self.op == "AccumulateGrad"


@dataclass(frozen=True)
class Cut:
    """Where a graph was cut: ``source`` made a tensor, a detached copy of it went to ``target``.

    ``how``: detach(), .data, torch.no_grad, or an operation that no gradient passes (argmax()).
    ``line``: where that was done. ``through``: the net whose forward ran there. ``judged``: what
    went to ``target`` had come through weights that no optimizer holds, outside the nets.
    ``since``: the operations outside the nets that it had gone through since it was cut, and those
    that choose (``gt``, ``argmax``), wherever.
    """

    source: int
    target: int
    how: str = "detach()"
    line: Line | None = None
    through: str | None = None
    judged: bool = False
    since: tuple[str, ...] = ()


@dataclass(frozen=True)
class Saved:
    """A tensor that a node saved for its backward: its name there, its shape, its bytes.

    ``what``: "parameter", "buffer" or "input" where it is one of those, which live on without the
    graph.
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

    ``parameters`` (with buffers) belong to the nets and ``inputs`` came from outside (images,
    noise): they would be alive without the graph too. ``activations`` are what it alone keeps.
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
    ``read``: nodes whose value was taken out of the graph (printed, ``item()``, detached).
    ``left``: (node, how, line) where a value left for NumPy, and torch cannot follow it.
    ``numbers``: (node, how, line) where a value became a Python number while a net ran, or one that
    an operation with a graph took later.
    ``numbered``: (node, node): outside the nets the first was read as a Python number, and the
    second took that number.
    ``taught``: (net, parameter, node): what somebody's code made of the gradient of that parameter
    went into this node.
    ``fed``: (forward, node): what went into this node came through a forward that built no graph;
    of each net the last.
    ``lines``: node -> its line, of those that no net made (a loss, say). ``outer_lines``: of those
    that made a single number, the lines that called this one, the nearest first.
    ``slopes``: (as cuts) ``source`` was differentiated by ``autograd.grad`` without create_graph,
    and what was computed from that gradient went into ``target``; or it is an input, of which the
    ``.grad`` was read.
    ``strangers``: leaf -> a number for its parameter, where that is of no named net, no optimizer
    holds it, and at the end it held gradient.
    ``fresh``: the numbers of strangers that nobody wrote to since they were initialized, of modules
    in training mode, which no operation without gradients took.
    ``places``: the number of a stranger that a module owns -> the class of the outermost module
    that it is in, and its name there.
    ``cancelled``: differences of which every number was zero, both sides having a graph.
    ``asked``: leaves that are no parameters, an input say, of which somebody read the gradient.
    ``anew``: leaves of one number, not zero, that no optimizer holds and one graph alone took.
    ``checkpointed``: (net, parameter, line) of those that want a gradient and ran in a checkpoint
    which built no graph, because no input of it wanted one.
    ``zeros``: means, sums and distances that gave one number, zero.
    ``curved``: what ``autograd.grad`` made with create_graph.
    ``judged``: nodes outside the nets that took weights which no optimizer holds.
    ``constants``: sum -> the Python number that was added to a tensor there.
    ``factors``: one number with a graph -> the constant that it was multiplied or divided by.
    ``labels``: distance -> the one number towards which it draws all that it takes.
    ``pairs``: operation -> n, where shapes (n, 1) and (n,) met.
    ``targets``: what is compared with a tensor without a graph -> the nets that were given that.
    ``passes``: function of somebody's own that hands its input on as it is -> by what it multiplies
    the gradient.

    A node without a state is not there at the moment that ``states`` speaks of: not built yet,
    or already gone. ``inferred`` tells that owners were guessed from parameters, not observed.
    """

    nodes: Mapping[int, Node]
    outputs: Mapping[int, str] = field(default_factory=dict)
    cuts: tuple[Cut, ...] = ()
    states: Mapping[int, str] = field(default_factory=dict)
    inferred: bool = False
    saved: Mapping[int, tuple[Saved, ...]] = field(default_factory=dict)
    read: frozenset[int] = frozenset()
    left: tuple[tuple[int, str, Line], ...] = ()
    numbers: tuple[tuple[int, str, Line], ...] = ()
    numbered: tuple[tuple[int, int], ...] = ()
    taught: tuple[tuple[str, str, int], ...] = ()
    fed: tuple[tuple[int, int], ...] = ()
    lines: Mapping[int, Line] = field(default_factory=dict)
    outer_lines: Mapping[int, tuple[Line, ...]] = field(default_factory=dict)
    slopes: tuple[Cut, ...] = ()
    strangers: Mapping[int, int] = field(default_factory=dict)
    fresh: frozenset[int] = frozenset()
    places: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    cancelled: frozenset[int] = frozenset()
    judged: frozenset[int] = frozenset()
    asked: frozenset[int] = frozenset()
    anew: frozenset[int] = frozenset()
    checkpointed: tuple[tuple[str, str, Line], ...] = ()
    zeros: frozenset[int] = frozenset()
    curved: frozenset[int] = frozenset()
    constants: Mapping[int, float] = field(default_factory=dict)
    factors: Mapping[int, float] = field(default_factory=dict)
    passes: Mapping[int, float] = field(default_factory=dict)
    labels: Mapping[int, float] = field(default_factory=dict)
    pairs: Mapping[int, int] = field(default_factory=dict)
    targets: Mapping[int, frozenset[str]] = field(default_factory=dict)


# Operations that only turn a parameter on its way into a layer; a picture may leave them out.
FOLDABLE = frozenset({"TBackward0", "TransposeBackward0", "PermuteBackward0", "ViewBackward0"})
