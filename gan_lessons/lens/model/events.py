"""What can happen in a training step, and how things stood right after it: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gan_lessons.lens.model.graph import HeldBytes
from gan_lessons.lens.model.line import Line

Kind = Literal["forward", "zero_grad", "backward", "grad", "step", "error"]


@dataclass(frozen=True)
class GradState:
    """What one parameter's ``.grad`` holds.

    ``value``: None for no gradient, 0.0 for a gradient of zeros, else its 2-norm.
    ``sources``: indices of the backward calls that went into it since it was last cleared.
    ``used_by``: index of the event in which an optimizer consumed it; None: computed in vain
    (known once the record is complete). ``by_hand``: written by an assignment, not by backward.
    ``before``: it holds, or was added to, what was there before the recording began.
    ``rewritten``: how often something other than backward changed it in place (clipping, scaling).
    ``held``: it was filled with zeros where it lay, while something else held the same tensor.
    """

    value: float | None = None
    sources: tuple[int, ...] = ()
    used_by: int | None = None
    by_hand: bool = False
    before: bool = False
    rewritten: int = 0
    held: bool = False

    @property
    def is_gradient(self) -> bool:
        """Is there something to step on? Zeros that backward wrote are; zeros of clearing not."""
        return self.value is not None and (self.value != 0.0 or bool(self.sources))


@dataclass(frozen=True)
class Forward:
    """One call of a net. ``weights``: the version of its weights, that is, how many optimizer
    steps of this record had moved them by then (0: as they were at the start). ``during``: index of
    the backward call inside which it ran (checkpointing recomputes), else None. ``frozen``: where
    its parameters were frozen, when none of them wanted a gradient; a line without text if before
    the recording."""

    index: int
    net: str
    line: Line
    training: bool
    weights: int
    during: int | None = None
    frozen: Line | None = None


@dataclass(frozen=True)
class BackwardCall:
    """One call of ``backward``.

    ``received``: net -> names of its parameters whose ``.grad`` this call wrote or added to.
    ``forwards``: indices of the recorded forwards whose graph it walked.
    ``weights``: net -> how many optimizer steps had moved its weights when the call began.
    ``restricted``: ``inputs=`` was given. ``nodes``: ids of the graph nodes it walked.
    ``held_before``: bytes held when it began. ``error``: what it raised, or None. ``loss``: what it
    was called on, as it stands there (``d_loss``); "" where the line has another form.
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
    loss: str = ""


@dataclass(frozen=True)
class Scaling:
    """Gradients were clipped by their norm, or a GradScaler scaled a loss, took its scale off the
    gradients, or was asked for the step of an optimizer.

    ``after``: how many events there were by then. ``nets``: net -> the parameters that were given.
    ``calls``: indices of the backward calls in their gradients; () where they had none. ``node``:
    of a loss that was scaled, the graph node.
    """

    kind: Literal["clip", "scale", "unscale", "step"]
    after: int
    line: Line
    nets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calls: tuple[int, ...] = ()
    node: int | None = None


@dataclass(frozen=True)
class Pull:
    """Backward call ``call`` brought a gradient to the output of forward ``forward``. ``sign``: 1
    or -1 where no number of it had the other sign, else 0. ``output``: which, of several."""

    call: int
    forward: int
    sign: int
    output: int = 0


@dataclass(frozen=True)
class Quarrel:
    """Backward call ``call`` pulled a verdict two opposite ways.

    ``forwards``: the two that gave it, or twice the one of whose output two losses were made.
    ``through``: the graph nodes that brought the two gradients. ``scaled``: the one gradient is the
    other, times a negative number.
    """

    call: int
    forwards: tuple[int, int]
    through: tuple[int, int]
    scaled: bool = False


@dataclass(frozen=True)
class Event:
    """Something that happened, and how things stood right after it.

    ``target``: the net (forward, or zero_grad on a net) or the optimizer. ``call``: index of the
    backward call, for "backward", the "error" it raised and a "step" inside it. ``forward``: index
    of the forward. Of a step, ``holds``: net -> the parameters it was for, and ``began``: the
    number of events before it began (a closure's are between); of one that found no gradient,
    ``stood_still``: the weights kept their values. (Momentum and weight decay move them by zeros.)
    ``frozen``: nets of which all that it holds had no requires_grad then.
    Of a "grad", ``nodes``: ids of the graph nodes that it walked. Of a step, ``hooks``: net -> how
    many hooks stand on what backward brings to it.
    ``computed_with``: (net, parameter) of the gradients that somebody's code computed with since
    the event before. ``grads``: net -> parameter -> GradState. ``moved``: net -> parameters
    rewritten since then. ``states``: graph node -> "held", "freed", "stale", "nothing", "unknown".
    Of errors, ``message``: the exception; ``what`` happened in plain words, and how to ``fix`` it
    (None where it is none of the three that graphs raise).
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
    what: str | None = None
    fix: str | None = None
    holds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    began: int | None = None
    stood_still: bool | None = None
    nodes: tuple[int, ...] = ()
    hooks: Mapping[str, int] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    computed_with: tuple[tuple[str, str], ...] = ()

    @property
    def explanation(self) -> str | None:
        """What happened and how to mend it, in one text."""
        return None if self.what is None else f"{self.what} {self.fix}"


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
