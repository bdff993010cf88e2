"""What a recording attaches to nets, optimizers and autograd, and how it writes it all down."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from gan_lessons.lens.model import (
    FREED,
    BackwardCall,
    Event,
    Forward,
    GradState,
    HeldBytes,
    Kind,
    Line,
    Record,
)
from gan_lessons.lens.record.autograd_graph import GraphTrace, tensors_in
from gan_lessons.lens.record.autograd_nodes import parameter_names
from gan_lessons.lens.record.gradients import Ledger
from gan_lessons.lens.record.graph_errors import explain
from gan_lessons.lens.record.source_lines import (
    NOWHERE,
    backward_operand,
    caller_line,
    raising_line,
    stack_depth,
)
from gan_lessons.lens.record.tensors import batchnorm_updates, held_parameters, node_of, shape_of
from gan_lessons.lens.record.torch_patches import (
    NetHook,
    defining_class,
    is_compiler_at_work,
    patched,
)
from gan_lessons.lens.record.weights import Weights

_Hook = Callable[..., Any]
AnyRecord = TypeVar("AnyRecord", bound=Record)


class _StepUnderWay(NamedTuple):
    """An optimizer step that has begun: backward calls so far, and the gradients it found."""

    optimizer: Optimizer
    depth: int
    events: int
    calls: int
    consumed: dict[Tensor, Any]


class Recorder(Generic[AnyRecord]):
    """State of one recording. Everything it attaches goes through one ``ExitStack``."""

    def __init__(
        self, kind: type[AnyRecord], nets: dict[str, nn.Module], optimizers: dict[str, Optimizer]
    ) -> None:
        self.nets, self.optimizers = nets, optimizers
        self.names = {n: dict(module.named_parameters()) for n, module in nets.items()}
        self.ledger = Ledger({p for named in self.names.values() for p in named.values()})
        self.trace = GraphTrace(nets, parameter_names(nets), self._where, caller_line)
        self.freed_by: dict[int, int] = {}  # graph node -> backward call
        self.record = kind(
            {n: {k: shape_of(p) for k, p in named.items()} for n, named in self.names.items()},
            {name: self._held_by(optimizer) for name, optimizer in optimizers.items()},
        )
        self.rows: list[dict[str, dict[str, GradState]]] = []  # of the ledger, once complete
        self._rows: list[int] = []  # event -> row of the ledger
        self._thread = threading.get_ident()
        self._running: list[int] = []  # forwards under way, innermost last
        self._steps = dict.fromkeys(nets, 0)
        self._consumed: dict[int, dict[Tensor, Any]] = {}  # step event -> the gradients it used
        self._before: list[_StepUnderWay] = []  # outermost first
        self._call: int | None = None  # the backward call under way
        self._received: list[Tensor] = []
        self._hooked: set[Tensor] = set()
        self._clearing: set[int] = set()  # objects inside their own zero_grad
        self._raised: BaseException | None = None
        self._stack = ExitStack()  # hooks on parameters, which come late
        self._weights = Weights(self.names)
        self._batchnorm = {name: batchnorm_updates(net) for name, net in nets.items()}

    # Attach and let go ------------------------------------------------------------------------

    def attach(self, stack: ExitStack) -> None:
        stack.enter_context(self._stack)
        for name, net in self.nets.items():
            before = NetHook(net, functools.partial(self._before_forward, name))
            after = NetHook(net, self._after_forward)
            stack.callback(before.forget_copies)
            stack.callback(after.forget_copies)
            stack.callback(net.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(net.register_forward_hook(after, always_call=True).remove)
        stack.callback(register_optimizer_step_pre_hook(self._before_step).remove)
        stack.callback(register_optimizer_step_post_hook(self._after_step).remove)
        # One function leads into the engine, however `backward` or `grad` was imported.
        stack.enter_context(patched(torch.autograd, "_engine_run_backward", self._around_engine))
        for owner in {defining_class(x, "zero_grad") for x in self._clearable()}:
            stack.enter_context(patched(owner, "zero_grad", self._around_zero_grad))
        stack.enter_context(self.trace)

    def _clearable(self) -> list[type]:
        own = [*self.nets.values(), *self.optimizers.values()]
        return [nn.Module, Optimizer, *map(type, own)]

    def finish(self) -> None:
        """Fill in what only the end can tell, and let go of everything."""
        try:
            rows = self.ledger.with_uses(self._consumed)
            events = self.record.events
            for i, (event, row) in enumerate(zip(events, self._rows, strict=False)):
                events[i] = replace(event, grads=self._by_name(rows[row]))
            self.rows = [self._by_name(row) for row in rows]
            self.record.parameters = {  # lazy ones have a shape by now
                n: {k: shape_of(p) for k, p in named.items()} for n, named in self.names.items()
            }
            self.record.graph = self.trace.graph()
            now = {name: batchnorm_updates(net) for name, net in self.nets.items()}
            self.record.moved = self._weights.untold(self.record.events)
            self.record.batchnorm = {n: now[n] - before for n, before in self._batchnorm.items()}
        finally:
            self.record.complete = True
            self.trace.close()
            self._raised = None

    @property
    def _mine(self) -> bool:
        return threading.get_ident() == self._thread and not self.record.complete

    # Forwards ---------------------------------------------------------------------------------

    def _before_forward(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if not self._mine:
            return
        forwards = self.record.forwards
        forward = Forward(
            len(forwards), name, caller_line(), module.training, self._steps[name], self._call
        )
        forwards.append(forward)
        if not self._running:
            self.trace.came_in(tensors_in([args, kwargs]))
        self._running.append(forward.index)

    def _after_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._mine or not self._running:
            return
        if self.nets[self.record.forwards[self._running[-1]].net] is not module:
            return  # somebody's own hook raised before ours: this forward never began
        if output is not None:  # None: the forward raised
            if self._call is None:
                self.trace.came_out(tensors_in(output))
            forward = self.record.forwards[self._running[-1]]
            self._event("forward", forward.net, forward.line, forward=forward.index)
        self._running.pop()

    def _where(self) -> tuple[str | None, int | None]:
        if not self._running:
            return None, None
        forward = self.record.forwards[self._running[-1]]
        return forward.net, forward.index

    # Optimizers -------------------------------------------------------------------------------

    def _around_zero_grad(self, original: _Hook, obj: Any, *args: Any, **kwargs: Any) -> Any:
        target = self._name_of(obj)
        if not self._mine or target is None or id(obj) in self._clearing:
            return original(obj, *args, **kwargs)
        line = caller_line()
        self._clearing.add(id(obj))
        try:
            result = original(obj, *args, **kwargs)
        finally:
            self._clearing.discard(id(obj))
        self._event("zero_grad", target, line)
        return result

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not self._mine or torch.compiler.is_compiling():
            return
        if self._name_of(optimizer) is not None:
            self._observe()
            depth = stack_depth()
            begun = len(self.record.events), len(self.record.backward_calls)
            held = self.ledger.contents(held_parameters(optimizer))
            # What is no shallower than we are cannot be around us: it raised, and is over.
            self._before = [step for step in self._before if step.depth < depth]
            self._before.append(_StepUnderWay(optimizer, depth, *begun, held))
            if self._call is not None:  # it steps inside backward, before we hear who received
                self._received += [p for p in held_parameters(optimizer) if p.grad is not None]

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not self._mine or torch.compiler.is_compiling():
            return
        if (target := self._name_of(optimizer)) is None or not self._before:
            return
        done = self._before.pop()
        if any(step.optimizer is optimizer for step in self._before):
            return  # super().step() inside the step of a class of one's own: they are one
        consumed = done.consumed
        held = held_parameters(optimizer)
        holds = self._held_by(optimizer)
        self.record.holds = {**self.record.holds, target: holds}
        if len(self.record.backward_calls) > done.calls:  # a closure ran backward inside the step
            self._observe()
            consumed = self.ledger.contents(held)
        self._consumed[len(self.record.events)] = consumed
        for net, named in self.names.items():
            self._steps[net] += any(p in held for p in named.values())
        written = {p for p in held if p.grad is not None}  # also where versions do not tell
        inside = {"call": self._call} if self._call is not None and self._call >= 0 else {}
        details = {"holds": holds, "began": done.events, **inside}
        self._event("step", target, caller_line(), written=written, **details)

    def _name_of(self, obj: Any) -> str | None:
        """The name of an optimizer or of the net that ``obj`` is (part of); None for a stranger."""
        if isinstance(obj, Optimizer):
            named = [n for n, o in self.optimizers.items() if o is obj]
            if not named and self._held_by(obj):
                kind = type(obj).__name__  # nobody named it: it goes by its class
                alike = sum(name.startswith(kind) for name in self.optimizers)
                named = [f"{kind} {alike + 1}" if alike else kind]
                self.optimizers[named[0]] = obj
            return named[0] if named else None
        direct = [n for n, net in self.nets.items() if net is obj]
        inside = [n for n, net in self.nets.items() if any(m is obj for m in net.modules())]
        return next(iter(direct + inside), None)

    def _held_by(self, optimizer: Optimizer) -> dict[str, tuple[str, ...]]:
        held = held_parameters(optimizer)
        by_net = {n: tuple(k for k, p in d.items() if p in held) for n, d in self.names.items()}
        return {net: names for net, names in by_net.items() if names}

    # Backward ---------------------------------------------------------------------------------

    def _around_engine(self, original: _Hook, outputs: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        # A backward inside a backward is part of it; a compiler's is nobody's.
        if not self._mine or self._call is not None or is_compiler_at_work():
            return original(outputs, *args, **kwargs)
        line = caller_line()
        with torch._C.DisableTorchFunction():
            self._observe()
            self._hook_parameters()
            roots = [node_of(x) for x in outputs]
            accumulates = kwargs.get("accumulate_grad", True)
            before = self._begin(line, roots, args) if accumulates else None
        kind: Kind = "backward" if accumulates else "grad"
        self._call, self._received = len(self.record.backward_calls) if before else -1, []
        try:
            result = original(outputs, *args, **kwargs)
        except BaseException as error:
            self._end(before, error)
            self.failed(error, line, outputs, call=before.index if before else None)
            raise
        self._end(before)
        self._event(kind, None, line, call=before.index if before else None)
        return result

    def _begin(self, line: Line, roots: list[Any], args: tuple[Any, ...]) -> BackwardCall:
        _, retain, create, inputs, *_ = args
        targets = [node_of(x) for x in inputs]
        walked = self.trace.reach([r for r in roots if r is not None], targets)
        name = backward_operand(line.text)
        for root in roots:
            if root is not None:
                self.trace.names.setdefault(self.trace.reach([root])[-1], name or "output")
        nodes = self.trace.nodes
        forwards = {f for i in walked if (f := nodes[i].forward) is not None}
        return BackwardCall(
            index=len(self.record.backward_calls),
            source=line.code,
            line=line,
            retain_graph=bool(retain),
            create_graph=bool(create),
            restricted=bool(inputs),
            received={},
            forwards=tuple(sorted(forwards)),
            weights=dict(self._steps),
            nodes=walked,
            held_before=self.trace.look(roots)[1],
        )

    def _end(self, call: BackwardCall | None, error: BaseException | None = None) -> None:
        received, self._call = set(self._received), None
        if call is None:
            return
        again = {f.index for f in self.record.forwards if f.during == call.index}  # checkpoints
        with torch._C.DisableTorchFunction():
            self.ledger.observe(call.index, received)
        names = {n: tuple(k for k, p in d.items() if p in received) for n, d in self.names.items()}
        self.record.backward_calls.append(
            replace(
                call,
                received=names,
                forwards=tuple(sorted({*call.forwards, *again})),
                error=None if error is None else str(error),
            )
        )

    def _hook_parameters(self) -> None:
        """Ask each parameter to say when its ``.grad`` was written. Only now: a hook cannot be
        set on a frozen parameter, and players are frozen and thawed inside a step."""
        for parameter in {p for named in self.names.values() for p in named.values()}:
            trains = parameter.requires_grad and parameter.is_leaf
            if trains and parameter not in self._hooked:
                self._hooked.add(parameter)
                handle = parameter.register_post_accumulate_grad_hook(self._note_received)
                self._stack.callback(handle.remove)

    def _note_received(self, parameter: Tensor) -> None:
        # It also fires where nothing is written: undefined gradients, frozen since the forward.
        if self._call is not None and parameter.grad is not None and parameter.requires_grad:
            self._received.append(parameter)

    # Writing down -----------------------------------------------------------------------------

    def failed(
        self,
        error: BaseException,
        line: Line = NOWHERE,
        outputs: Any = (),
        call: int | None = None,
    ) -> None:
        """Write down an exception, once; the same one comes by again when it leaves the block."""
        if error is self._raised:
            return
        self._raised = error
        line = line if line is not NOWHERE else raising_line(error.__traceback__)
        roots = [node for x in outputs if (node := node_of(x)) is not None]
        told = explain(error, line, outputs, self.trace, self.record, self.freed_by)
        details: dict[str, Any] = {"message": f"{type(error).__name__}: {error}"}
        if told is not None:
            details |= {"what": told.what, "fix": told.fix}
        self._event("error", None, line, call=call, roots=roots, **details)

    def _observe(self) -> None:
        with torch._C.DisableTorchFunction():
            self.ledger.observe()

    def _event(
        self,
        kind: Kind,
        target: str | None,
        line: Line,
        *,
        roots: Any = (),
        written: set[Tensor] | frozenset[Tensor] = frozenset(),
        **details: Any,
    ) -> None:
        with torch._C.DisableTorchFunction():
            # Inside a backward the graph is half freed and half built: leave it alone.
            states, held = ({}, HeldBytes()) if self._call is not None else self.trace.look(roots)
            self.ledger.observe()
            row = self.ledger.write_down()
        if kind in ("backward", "grad", "error"):
            call = details.get("call")
            for node in (i for i, state in states.items() if state == FREED):
                self.freed_by.setdefault(node, -1 if call is None else call)
        self.record.graph = self.trace.graph()
        self._rows.append(row)
        self.record.events.append(
            Event(
                index=len(self.record.events),
                kind=kind,
                target=target,
                line=line,
                grads=self._by_name(self.ledger.row(row)),
                moved=self._weights.moved(written),
                held=held,
                states=states,
                **details,
            )
        )

    def glance(self) -> tuple[int, dict[int, str], HeldBytes]:
        """How things stand between two lines: a row of the ledger, node states, bytes held."""
        with torch._C.DisableTorchFunction():
            states, held = self.trace.look()
            self.ledger.observe()
            return self.ledger.write_down(), states, held

    def _by_name(self, row: Mapping[Tensor, Any]) -> dict[str, dict[str, Any]]:
        return {net: {k: row[p] for k, p in named.items()} for net, named in self.names.items()}
