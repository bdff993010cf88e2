"""What is taken from a step while it runs: the fakes, the gradient that comes to them, the weights.

It looks at values and changes none; ``field`` makes of it what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan_lessons.gan import Gan
from gan_lessons.lens.model import StepRecord
from gan_lessons.lens.record import (
    Undo,
    node_of,
    watch_forwards,
    weights_and_buffers,
    without_torch_functions,
)


@dataclass(frozen=True, eq=False)
class Made:
    """One forward of G: from what, by which weights, and the fakes (batch, 2)."""

    noise: Tensor
    weights: int
    fakes: Tensor


@dataclass(frozen=True)
class Arrival:
    """The gradient that came to the fakes of one forward, when so many events were over."""

    made: int
    events: int
    gradient: Tensor


@dataclass(frozen=True)
class Look:
    """How things were after one line: weights of G, of D; the last forward of G; what D has looked
    at in this line."""

    g: int
    d: int
    made: int
    judged: frozenset[str]


class PlaneRun:
    """What was seen of one step while it ran.

    ``is_plane``: fakes are points in the plane, made of one tensor, and D has said one number of
    each place that it was asked about.
    """

    def __init__(self, gan: Gan, record: StepRecord, real: Tensor) -> None:
        self.gan, self.record, self._real = gan, record, real
        self.g = Weights(gan.generator)
        self.d = Weights(gan.discriminator)
        self.made: list[Made] = []
        self.arrivals: list[Arrival] = []
        self.looks: list[Look] = []
        self._in_plane, self._has_judged = True, False
        self._judged: set[str] = set()

    def attach(self, undo: Undo) -> None:
        G, D = self.gan.nets.values()
        watch_forwards(undo, G, self._is_alone, lambda *call: self._made(undo, *call))
        watch_forwards(undo, D, self._is_alone, self._says)

    @property
    def is_plane(self) -> bool:
        return self._in_plane and self._has_judged

    def look(self) -> None:
        judged, self._judged = frozenset(self._judged), set()
        self.looks.append(Look(self.g.now(), self.d.now(), len(self.made) - 1, judged))

    def _is_alone(self, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        """What takes more than one tensor cannot be asked again, for other weights or places."""
        self._in_plane &= len(args) == 1 and isinstance(args[0], Tensor) and not kwargs

    def _says(self, module: nn.Module, args: Any, says: Any) -> None:
        """D has looked at something."""
        if says is None or not self._in_plane:  # it raised
            return
        one_each = isinstance(says, Tensor) and says.numel() == len(says) == len(args[0])
        self._in_plane &= one_each and is_plane(args[0])
        self._has_judged = True
        known = [("real", self._real), *(("fakes", made.fakes) for made in self.made[-1:])]
        with without_torch_functions():
            points = args[0].detach()
            self._judged |= {what for what, these in known if torch.equal(points, these)}

    def _made(self, undo: Undo, module: nn.Module, args: Any, fakes: Any) -> None:
        """A forward of G is over: ask to be told when gradient comes to what it made."""
        if fakes is None or not self._in_plane:
            return
        self._in_plane &= is_plane(fakes)
        if not self._in_plane:
            return
        with without_torch_functions():
            (noise,), index = args, len(self.made)
            made = Made(noise.detach().clone(), self.g.now(), fakes.detach().clone())
            self.made.append(made)
            if not fakes.requires_grad or (node := node_of(fakes)) is None:
                return
            handles: list[Any] = []
            undo.callback(lambda: [handle.remove() for handle in handles])
            # Before the node, not at the tensor: whatever hooks have made of the gradient by then.
            place = fakes.output_nr
            handles.append(node.register_prehook(lambda got: self._arrived(index, got[place])))

    def _arrived(self, made: int, gradient: Tensor | None) -> None:
        if gradient is not None:
            with without_torch_functions():
                events = len(self.record.events)
                self.arrivals.append(Arrival(made, events, gradient.detach().clone()))

    def pulls(self) -> dict[int, tuple[int, Tensor]]:
        """Backward call -> the forward of G whose fakes it reached, and -dL/dfake (batch, 2)."""
        found: dict[int, tuple[int, Tensor]] = {}
        ends = [e for e in self.record.events if e.kind in ("backward", "grad", "error")]
        for arrival in self.arrivals:
            end = next((e for e in ends if e.index >= arrival.events), None)
            if end is not None and end.kind != "grad" and end.call is not None:
                found[end.call] = arrival.made, -arrival.gradient
        return found


def is_plane(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim == 2 and x.shape[1] == 2 and x.is_floating_point()


class Weights:
    """Every state that the weights and buffers of one net were in, each once."""

    def __init__(self, net: nn.Module) -> None:
        self._net, self.states = net, list[Tensor]()

    def now(self) -> int:
        """Number of the state that they are in."""
        now = torch.cat([t.detach().flatten() for t in self._tensors()])
        if not self.states or not torch.equal(now, self.states[-1]):
            self.states.append(now)
        return len(self.states) - 1

    def state(self, number: int) -> dict[str, Tensor]:
        """Name -> a copy, as ``functional_call`` takes them."""
        names = {id(t): name for name, t in named(self._net)}
        tensors = self._tensors()
        parts = self.states[number].split([t.numel() for t in tensors])
        pairs = zip(tensors, parts, strict=True)
        return {names[id(t)]: part.to(t.dtype, copy=True).view_as(t) for t, part in pairs}

    def _tensors(self) -> list[Tensor]:
        """All of them as they are now, each once."""
        return [*{id(t): t for t in weights_and_buffers([self._net])}.values()]


def named(net: nn.Module) -> list[tuple[str, Tensor]]:
    return [*net.named_parameters(), *net.named_buffers()]
