"""Writes down what happens, each time with how everything stood right after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from gan_lessons.lens.model import FREED, BackwardCall, Event, HeldBytes, Kind, Line, Record
from gan_lessons.lens.record import torch_patches as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.gradients import Grads, Ledger, Names, Weights
from gan_lessons.lens.record.graph_errors import Failure
from gan_lessons.lens.record.operations import Operations
from gan_lessons.lens.record.source_lines import NOWHERE, raising_line

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Journal(Generic[AnyRecord]):
    """Fills in ``record``, event by event; ``finish`` completes it.

    ``inside``: index of the backward call under way (-1: one of ``autograd.grad``), else None.
    """

    def __init__(self, kind: type[AnyRecord], nets: Mapping[str, nn.Module], names: Names) -> None:
        self._nets, self._names = nets, names
        with internals.without_torch_functions():
            self.ledger, self._weights = Ledger(names), Weights(names)
        self.graph = LiveGraph(nets, names)
        self.operations = Operations(self.graph, self.ledger.exposed)
        self.record = kind(self._shapes(), {}, graph=self.graph.graph())
        self.inside: int | None = None
        self._freed_by: dict[int, int] = {}  # graph node -> backward call
        self._used: dict[int, Sequence[Any]] = {}  # step event -> the gradients it used
        self._raised: BaseException | None = None
        self._batchnorm = {name: internals.batchnorm_updates(net) for name, net in nets.items()}

    def observe(self, closely: Collection[Tensor] = ()) -> None:
        """See what was done to the gradients by other means, before something uses them."""
        with internals.without_torch_functions():
            self.ledger.observe(closely=closely)

    def event(
        self,
        kind: Kind,
        target: str | None,
        line: Line,
        *,
        roots: Iterable[Any] = (),
        written: Iterable[Tensor] = (),
        used: Sequence[Any] | None = None,
        **details: Any,
    ) -> None:
        """``roots``: graph nodes to look at besides those of living tensors. ``written``: weights
        known to be rewritten. ``used``: the gradients that a step consumed."""
        with internals.without_torch_functions():
            # Inside a backward the graph is half freed and half built: leave it alone.
            inside = self.inside is not None
            anew = kind in ("forward", "error")
            states, held = ({}, HeldBytes()) if inside else self.graph.look(roots, anew=anew)
            self.operations.forget_the_dead()
            self.ledger.observe()
            grads, moved = self.ledger.write_down(), self._weights.moved(written)
        index, record = len(self.record.events), self.record
        if kind in ("backward", "grad", "error"):
            call = details.get("call")
            for node in (i for i, state in states.items() if state == FREED):
                self._freed_by.setdefault(node, -1 if call is None else call)
        if used is not None:
            self._used[index] = used
        record.graph = self.graph.graph()
        record.events.append(
            Event(index, kind, target, line, grads, moved, held, states, **details)
        )

    def failed(
        self,
        error: BaseException,
        line: Line = NOWHERE,
        outputs: Iterable[Any] = (),
        call: int | None = None,
    ) -> None:
        """Write down an exception, once; the same one comes by again when it leaves the block."""
        if error is self._raised:
            return
        self._raised = error
        try:
            line = line if line is not NOWHERE else raising_line(error.__traceback__)
            roots = [node for x in outputs if (node := internals.node_of(x)) is not None]
            tensors = [x for x in outputs if isinstance(x, Tensor)]
            failure = Failure(
                line, tensors, self.graph, self.operations, self.record, self._freed_by
            )
            told = failure.explain(error)
            message = f"{type(error).__name__}: {error}"
            what, fix = (None, None) if told is None else told
            self.event(
                "error", None, line, call=call, roots=roots, message=message, what=what, fix=fix
            )
        except Exception as ours:  # noqa: BLE001 - what the user's code raised has to come out
            error.add_note(f"record() could not write this down: {type(ours).__name__}: {ours}")

    def call_ended(
        self, call: BackwardCall, received: set[Tensor], error: BaseException | None
    ) -> None:
        again = {f.index for f in self.record.forwards if f.during == call.index}  # checkpoints
        with internals.without_torch_functions():
            self.ledger.observe(call.index, received)
        self.record.backward_calls.append(
            replace(
                call,
                received={
                    net: tuple([k for k, p in named.items() if p in received])
                    for net, named in self._names.items()
                },
                forwards=tuple(sorted({*call.forwards, *again})),
                error=None if error is None else str(error),
            )
        )

    def glance(self) -> tuple[Grads, dict[int, str], HeldBytes]:
        """How things stand between two lines: gradients, node states, bytes held."""
        with internals.without_torch_functions():
            states, held = self.graph.look()
            self.ledger.observe()
            return self.ledger.write_down(), states, held

    def finish(self) -> None:
        """Fill in what only the end can tell, and let go of everything."""
        record = self.record
        try:
            self.ledger.settle(self._used)
            record.parameters = self._shapes()  # lazy ones have a shape by now
            record.graph = self.graph.graph()
            now = {name: internals.batchnorm_updates(net) for name, net in self._nets.items()}
            with internals.without_torch_functions():
                record.moved = self._weights.untold(record.events)
            record.batchnorm = {n: now[n] - before for n, before in self._batchnorm.items()}
        finally:
            record.complete = True
            self.operations.close()
            self.graph.let_go()
            self._raised = None

    def _shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        return {
            n: {k: internals.shape_of(p) for k, p in named.items()}
            for n, named in self._names.items()
        }
