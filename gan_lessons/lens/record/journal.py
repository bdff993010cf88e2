"""Writes down what happens, each time with how everything stood right after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import BackwardCall, Event, HeldBytes, Kind, Line, Record
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.gradients import (
    Content,
    Fingerprint,
    Grads,
    Ledger,
    Names,
    Weights,
)
from gan_lessons.lens.record.graph_errors import Failure
from gan_lessons.lens.record.odd_parameters import (
    come_later,
    in_eval_mode,
    in_plain_lists,
    on_one_memory,
    plain_tensors,
)
from gan_lessons.lens.record.operations import Operations
from gan_lessons.lens.record.processes import begun, drifted
from gan_lessons.lens.record.source_lines import NOWHERE, raising_line

AnyRecord = TypeVar("AnyRecord", bound=Record)


class Journal(Generic[AnyRecord]):
    """Fills in ``record``, event by event; ``finish`` completes it.

    ``inside``: index of the backward call under way (-1: one of ``autograd.grad``), else None.
    """

    def __init__(self, kind: type[AnyRecord], nets: Mapping[str, nn.Module], names: Names) -> None:
        self._nets, self._names = nets, names
        with internals.without_torch_functions():
            self._ledger, self._weights = Ledger(names), Weights(names)
        self.graph = LiveGraph(nets, names)
        self.operations = Operations(self.graph, self._ledger.exposed)
        self.record = kind(self._shapes(), {}, graph=self.graph.graph())
        self.record.aliased = on_one_memory(names)
        self.record.evaluated = in_eval_mode(nets)
        self.inside: int | None = None
        self._raised: BaseException | None = None
        self._batchnorm = self._batchnorm_updates()
        self._key = begun()

    def contents(self, parameters: Collection[Tensor]) -> list[Content]:
        """What the ``.grad`` of these holds: looked at closely, for something will use it."""
        # A step inside a backward call uses what that call has written until then.
        call = None if self.inside in (None, -1) else self.inside
        received = () if call is None else parameters
        with internals.without_torch_functions():
            self._ledger.observe(call, received, closely=parameters)
            return self._ledger.contents(parameters)

    def weights(self, parameters: Collection[Tensor]) -> list[Fingerprint]:
        """What is measured of those of these that are followed: equal, if they did not move."""
        with internals.without_torch_functions():
            return self._weights.measured_now(parameters)

    def written_inside(self) -> set[Tensor]:
        """What the backward call under way has written, as last observed."""
        return set() if self.inside is None else self._ledger.written_by(self.inside)

    def event(
        self, kind: Kind, target: str | None, line: Line, roots: Any = (), **details: Any
    ) -> None:
        """``roots``: graph nodes to look at besides those of living tensors."""
        record, index = self.record, len(self.record.events)
        with internals.without_torch_functions():
            # Inside a backward the graph is half freed and half built: leave it alone.
            inside = self.inside is not None
            states, held = ({}, HeldBytes()) if inside else self.graph.look(roots)
            self.operations.values.forget_the_dead()
            self.operations.reads.forget_the_dead()
            self.operations.made.forget_the_dead()
            self._ledger.observe(clearing=kind == "zero_grad")
            grads, moved = self._ledger.grads(), self._weights.moved()
        record.graph = self.graph.graph()
        if reads := self.operations.reads.found:
            details["computed_with"], self.operations.reads.found = tuple(reads), {}
        for net, mine in details.get("holds", {}).items():
            if mine and not any(self._names[net][name].requires_grad for name in mine):
                details["frozen"] = (*details.get("frozen", ()), net)
        event = Event(index, kind, target, line, grads, moved, held, states, **details)
        record.events.append(event)

    def stepped(self, held: Collection[Tensor], used: Iterable[Content]) -> None:
        """The event to come is a step for the parameters ``held``, which consumed ``used``."""
        self._ledger.used(len(self.record.events), used)
        self._weights.written = {p for p in held if p.grad is not None}  # versions may not tell

    def call_ended(self, call: BackwardCall, received: set[Tensor]) -> None:
        with internals.without_torch_functions():
            self._ledger.observe(call.index, received)
        self.record.backward_calls.append(call)

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
            tensors = [x for x in outputs if isinstance(x, Tensor)]
            told = Failure(line, tensors, self.graph, self.operations, self.record).explain(error)
            details = {} if told is None else told._asdict()
            details |= {"call": call, "message": f"{type(error).__name__}: {error}"}
            self.event("error", None, line, [internals.node_of(x) for x in outputs], **details)
        except Exception as ours:  # noqa: BLE001 - what the user's code raised has to come out
            error.add_note(f"record() could not write this down: {type(ours).__name__}: {ours}")

    def glance(self) -> tuple[Grads, dict[int, str], HeldBytes]:
        """How things stand between two lines: gradients, node states, bytes held."""
        with internals.without_torch_functions():
            states, held = self.graph.look()
            self._ledger.observe()
            return self._ledger.grads(), states, held

    def finish(self) -> None:
        """Fill in what only the end can tell, and let go of everything."""
        record = self.record
        try:
            self._ledger.settle()
            with internals.without_torch_functions():
                self.graph.settle_strangers()
            record.parameters = self._shapes()  # lazy ones have a shape by now
            record.graph = self.graph.graph()
            with internals.without_torch_functions():
                record.moved = self._weights.untold(record.events)
                if not any(event.kind == "error" for event in record.events):
                    began = self._weights.since_the_beginning()
                    steps = [event.target for event in record.events if event.kind == "step"]
                    found = drifted(self._key, *began, self._weights.measured_now, steps)
                    record.processes, record.apart = found
            record.unregistered = in_plain_lists(self._nets)
            record.come_later = come_later(self._nets, self._names)
            record.plain = self._plain_tensors()
            record.thawed = self.operations.thawing.once(self._names, self.graph.held)
            record.aliased = (*record.aliased, *on_one_memory(self._names))
            now = self._batchnorm_updates()
            record.batchnorm = {net: now[net] - before for net, before in self._batchnorm.items()}
        finally:
            record.complete = True
            self.graph.let_go()
            self.operations.values.clear()
            self.operations.numbers.clear()
            self._raised = None

    def _plain_tensors(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Those that no optimizer holds, and that hold a gradient which nobody read."""
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for net, place, tensor in plain_tensors(self._nets):
            idle = id(tensor) not in self.graph.held and tensor.grad is not None
            if idle and (leaves := self.operations.unread.leaves(tensor)):
                row = found.setdefault(net, {})
                row[place] = (*row.get(place, ()), *leaves)
        return found

    def _shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        return {net: {k: _shape(p) for k, p in d.items()} for net, d in self._names.items()}

    def _batchnorm_updates(self) -> dict[str, int]:
        return {name: internals.batchnorm_updates(net) for name, net in self._nets.items()}


def _shape(parameter: Tensor) -> tuple[int, ...]:
    """() for a lazy parameter that has no shape yet."""
    return () if nn.parameter.is_lazy(parameter) else tuple(parameter.shape)
