"""What a recording attaches to nets, optimizers and autograd, so as to hear what happens."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import BackwardCall, Forward, Kind, Line
from gan_lessons.lens.record import attaching, odd_parameters
from gan_lessons.lens.record.checkpoints import Checkpoints
from gan_lessons.lens.record.gradients import Content, Fingerprint, alike, by_net
from gan_lessons.lens.record.journal import AnyRecord, Journal
from gan_lessons.lens.record.line_tracing import unheard
from gan_lessons.lens.record.lone_parameters import LoneParameters
from gan_lessons.lens.record.operations import tensors_in
from gan_lessons.lens.record.optimizer_steps import (
    held_parameters,
    held_twice,
    is_plain_step,
    is_skipped,
    watch_steps,
)
from gan_lessons.lens.record.pulls import Pulls
from gan_lessons.lens.record.putting_back import PuttingBack
from gan_lessons.lens.record.reversal_modules import watch_reversals
from gan_lessons.lens.record.scaling import Scalings
from gan_lessons.lens.record.source_lines import backward_operand, caller_line, is_engines
from gan_lessons.lens.record.undo import Undo

_Function = Callable[..., Any]


@dataclass(frozen=True)
class _StepUnderWay:
    """A step that has begun: events and backward calls so far, and the gradients it found.
    ``depth``: frames on the stack. ``weights``: what was measured of them, if it found none."""

    optimizer: Optimizer
    depth: int
    events: int
    calls: int
    found: list[Content]
    weights: list[Fingerprint]


class Recorder:
    """The hooks of one recording, and what they have to remember; they write to a ``Journal``."""

    def __init__(
        self,
        kind: type[AnyRecord],
        nets: Mapping[str, nn.Module],
        optimizers: Mapping[str, Optimizer],
        undo: Undo,
    ) -> None:
        self._nets, self._optimizers, self._undo = dict(nets), dict(optimizers), undo
        self._names = {n: dict(module.named_parameters()) for n, module in nets.items()}
        self._parameters = {p for named in self._names.values() for p in named.values()}
        self.journal: Journal[Any] = Journal(kind, self._nets, self._names)
        self._record, self._graph = self.journal.record, self.journal.graph
        self._record.lone = tuple(n for n, net in nets.items() if isinstance(net, LoneParameters))
        self._record.holds = {name: self._held_by(o) for name, o in optimizers.items()}
        for name, optimizer in optimizers.items():
            self._graph.held.update(map(id, held_parameters(optimizer)))
            self._tell_twice(name, optimizer)
        self._record.as_made = odd_parameters.as_made(self._names, self._graph.held)
        alike = [(n, {*named.values()}) for n, named in self._names.items() if named]
        groups = (tuple(n for n, found in alike if found == mine) for _, mine in alike)
        self._record.shared = tuple({group: None for group in groups if len(group) > 1})
        undo.callback(self._look_for_orphans)
        self._thread = threading.get_ident()
        self._tasks: set[int] = set()  # backwards of the engine that are ours
        self._on_cpu = True
        self._versions = dict.fromkeys(nets, 0)
        self._before: list[_StepUnderWay] = []  # outermost first
        self._received: set[Tensor] = set()
        self._hooked: set[Tensor] = set()
        self._pulls = Pulls(self.journal, undo)
        self._clearing: set[int] = set()  # objects inside their own zero_grad

    def attach(self) -> None:
        undo = self._undo
        for name, net in self._nets.items():
            before = functools.partial(self._before_forward, name)
            attaching.watch_forwards(undo, net, before, self._after_forward)
        watch_steps(undo, self._before_step, self._after_step)
        attaching.replace_function(undo, *internals.ENGINE, self._around_engine)
        own = [*self._nets.values(), *self._optimizers.values()]
        kinds = (nn.Module, Optimizer, *map(type, own))
        for owner in {next(c for c in k.__mro__ if "zero_grad" in vars(c)) for k in kinds}:
            attaching.replace_function(undo, owner, "zero_grad", self._around_zero_grad)
        Scalings(self.journal, self._names, self._hears).attach(undo)
        Checkpoints(self.journal.graph, self._hears).attach(undo)
        PuttingBack(self.journal, self._names, self._hears).attach(undo)
        watch_reversals(undo, self._nets, self._record.unreversed, self._hears)
        attaching.enter_mode(undo, self.journal.operations)

    def _look_for_orphans(self) -> None:
        self._record.orphans = odd_parameters.of_no_net(self._names, self._optimizers)
        self._record.empty_groups = odd_parameters.empty_groups(self._optimizers)
        self._record.look_alikes = odd_parameters.look_alikes(self._names, self._optimizers)

    def _hears(self) -> bool:
        """Is what happens here ours to hear? Then operations are too, also where a step raised."""
        if threading.get_ident() != self._thread or self._record.complete:
            return False
        self.journal.operations.resume()
        return True

    # Forwards ---------------------------------------------------------------------------------

    # torch leaves out ``kwargs`` where a hook was removed by another one, just before it.
    @unheard
    def _before_forward(self, name: str, module: nn.Module, args: Any, kwargs: Any = None) -> None:
        if not self._hears():
            return
        index, during = len(self._record.forwards), self.journal.inside
        line, frozen = caller_line(), self._graph.frozen_in(name)
        forward = Forward(index, name, line, module.training, self._versions[name], during, frozen)
        self._record.forwards.append(forward)
        if not self._graph.running:
            self.journal.operations.came_in(name, tensors_in([args, kwargs]))
        self._graph.running.append(forward)

    @unheard
    def _after_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._hears() or not self._graph.running:
            return
        forward = self._graph.running[-1]
        if self._nets[forward.net] is not module:
            return  # somebody's own hook raised before ours: this forward never began
        if output is not None:  # None: the forward raised
            if self.journal.inside is None:
                self.journal.operations.came_out(tensors_in(output))
                self._pulls.watch(forward, tensors_in(output))
            self.journal.event("forward", forward.net, forward.line, forward=forward.index)
        self._graph.running.pop()

    # Optimizers -------------------------------------------------------------------------------

    @unheard
    def _around_zero_grad(self, original: _Function, obj: Any, *args: Any, **kwargs: Any) -> Any:
        target = self._name_of(obj) if self._hears() else None
        if target is None:
            return original(obj, *args, **kwargs)
        key = id(obj.param_groups if isinstance(obj, Optimizer) else obj)
        if key in self._clearing:
            return original(obj, *args, **kwargs)
        line = caller_line()
        self._clearing.add(key)
        try:
            result = original(obj, *args, **kwargs)
        finally:
            self._clearing.discard(key)
        self.journal.event("zero_grad", target, line)
        return result

    @unheard
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._hears() or torch.compiler.is_compiling():
            return
        held = held_parameters(optimizer)
        self._graph.held.update(map(id, held))
        if self._name_of(optimizer) is None:
            return
        depth = sum(1 for _ in walk_stack(sys._getframe()))
        begun = len(self._record.events), len(self._record.backward_calls)
        # What is no shallower than we are cannot be around us: it raised, and is over.
        self._before = [step for step in self._before if step.depth < depth]
        found = self.journal.contents(held)
        weights = [] if any(c.state.is_gradient for c in found) else self.journal.weights(held)
        self._before.append(_StepUnderWay(optimizer, depth, *begun, found, weights))
        self._received |= self.journal.written_inside()  # it may be cleared before we hear of it
        if is_plain_step(optimizer, args, kwargs):
            self.journal.operations.pause()

    @unheard
    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not self._hears() or torch.compiler.is_compiling() or not self._before:
            return
        if (target := self._name_of(optimizer)) is None:
            return
        done, record, inside = self._before.pop(), self._record, self.journal.inside
        if any(step.optimizer.param_groups is optimizer.param_groups for step in self._before):
            return  # super().step() inside the step of a class of one's own: they are one
        if is_skipped(optimizer):
            return
        held, holds = held_parameters(optimizer), self._held_by(optimizer)
        record.holds = {**record.holds, target: holds}
        self._tell_twice(target, optimizer)
        closure_ran = len(record.backward_calls) > done.calls  # backward, inside the step
        used = self.journal.contents(held) if closure_ran else done.found
        details = {"holds": holds, "began": done.events, "call": None if inside == -1 else inside}
        details["hooks"] = {
            n: odd_parameters.hooks_of(self._nets[n], self._names[n].values()) for n in holds
        }
        if done.weights and not closure_ran:
            same = map(alike, done.weights, self.journal.weights(held))
            details["stood_still"] = all(same)
        for net in holds:  # as it stands at each step of the net, else it is nothing
            here = odd_parameters.frozen_in_vain(self._nets[net])
            before = record.frozen_in_vain.get(net, here)
            record.frozen_in_vain = {**record.frozen_in_vain, net: before if here else ""}
        self.journal.stepped(held, used)
        self.journal.event("step", target, caller_line(), **details)
        for net in record.moved_by(record.events[-1]):
            self._versions[net] += 1

    def _name_of(self, obj: Any) -> str | None:
        """The name of an optimizer or of the net that ``obj`` is (part of); None for a stranger."""
        if isinstance(obj, Optimizer):
            # A wrapper (accelerate's, say) and what it wraps are one: they share their groups.
            groups = obj.param_groups
            named = [n for n, o in self._optimizers.items() if o.param_groups is groups]
            if not named and self._held_by(obj):
                kind = type(obj).__name__  # nobody named it: it goes by its class
                others = sum(name.startswith(kind) for name in self._optimizers)
                named = [f"{kind} {others + 1}" if others else kind]
                self._optimizers[named[0]] = obj
            return named[0] if named else None
        direct = [n for n, net in self._nets.items() if net is obj]
        inside = (n for n, net in self._nets.items() if any(m is obj for m in net.modules()))
        return direct[0] if direct else next(inside, None)

    def _tell_twice(self, name: str, optimizer: Optimizer) -> None:
        if twice := by_net(self._names, held_twice(optimizer)):
            self._record.twice = {**self._record.twice, name: twice}

    def _held_by(self, optimizer: Optimizer) -> dict[str, tuple[str, ...]]:
        return by_net(self._names, held_parameters(optimizer))

    # Backward ---------------------------------------------------------------------------------

    @unheard
    def _around_engine(self, original: _Function, outputs: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        # A backward inside a backward is part of it; a compiler's is nobody's.
        if not self._hears() or self.journal.inside is not None or internals.is_compiler_at_work():
            with self._followed(outputs if internals.graph_task() in self._tasks else ()):
                return original(outputs, *args, **kwargs)
        line = caller_line()
        kind: Kind = "backward" if kwargs.get("accumulate_grad") else "grad"
        begun = self._begin(line, outputs, args) if kind == "backward" else {}
        nodes = () if begun else self._walked(outputs, args)
        call = begun.get("index")
        self.journal.inside, self._received = -1 if call is None else call, set()
        try:
            with self._followed(() if self._on_cpu else outputs):
                result = original(outputs, *args, **kwargs)
        except BaseException as error:
            self._end(begun, error)
            self.journal.failed(error, line, outputs, call)
            raise
        self._end(begun)
        self.journal.event(kind, None, line, call=call, nodes=nodes)
        return result

    def _walked(self, outputs: Iterable[Any], args: tuple[Any, ...]) -> tuple[int, ...]:
        """The graph nodes on the way from ``outputs`` to the inputs that the engine was given."""
        with internals.without_torch_functions():
            roots = [node for x in outputs if (node := internals.node_of(x)) is not None]
            return self._graph.reach(roots, [internals.node_of(x) for x in args[3]])

    @contextmanager
    def _followed(self, outputs: Iterable[Any]) -> Iterator[None]:
        """For a GPU the engine has threads of its own, where its graph task tells whose it is."""
        nodes = [node for x in outputs if (node := internals.node_of(x)) is not None]
        handles = [
            n.register_prehook(lambda *_: self._tasks.add(internals.graph_task())) for n in nodes
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, line: Line, outputs: Iterable[Any], args: Any) -> dict[str, Any]:
        """What a ``BackwardCall`` says of its beginning."""
        _, retain, create, inputs, *_ = args
        graph, loss = self._graph, backward_operand(line.text, is_engines(line)) or ""
        self.journal.contents(())
        with internals.without_torch_functions():
            self._hook_parameters()
            roots = [node for x in outputs if (node := internals.node_of(x)) is not None]
            for x in (
                x for x in outputs if isinstance(x, Tensor) and x.is_leaf and x.requires_grad
            ):
                self.journal.operations.values.went_into([internals.node_of(x)], [x])
            for root in roots:
                graph.names.setdefault(graph.id_of(root), loss or "output")
            held = graph.look(roots)[1]
            nodes = self._walked(outputs, args)
            self._pulls.quarrels.begin(roots)
        return {
            "index": len(self._record.backward_calls),
            "source": line.code,
            "line": line,
            "retain_graph": bool(retain),
            "create_graph": bool(create),
            "restricted": bool(inputs),
            "weights": dict(self._versions),
            "nodes": nodes,
            "held_before": held,
            "loss": loss,
        }

    def _end(self, begun: dict[str, Any], error: BaseException | None = None) -> None:
        self.journal.inside = None
        if not begun:
            return
        self._pulls.quarrels.end(begun["index"])
        forwards = {self._graph.nodes[i].forward for i in begun["nodes"]}
        forwards |= {f.index for f in self._record.forwards if f.during == begun["index"]}
        names, received = self._names.items(), self._received
        call = BackwardCall(
            **begun,
            received={n: tuple([k for k, p in d.items() if p in received]) for n, d in names},
            forwards=tuple(sorted(f for f in forwards if f is not None)),
            error=None if error is None else str(error),
        )
        self.journal.call_ended(call, received)

    def _hook_parameters(self) -> None:
        """Ask each parameter to say when its ``.grad`` was written. Only now: a hook cannot be
        set on a frozen parameter, and players are frozen and thawed inside a step."""
        self._on_cpu = all(p.device.type == "cpu" for p in self._parameters)
        for parameter in self._parameters - self._hooked:
            if parameter.requires_grad and parameter.is_leaf:
                self._hooked.add(parameter)
                attaching.watch_gradient(self._undo, parameter, self._note_received)

    def _note_received(self, parameter: Tensor) -> None:
        elsewhere = threading.get_ident() != self._thread  # another thread trains it, or a GPU
        if self.journal.inside is None or (elsewhere and internals.graph_task() not in self._tasks):
            return
        with internals.without_torch_functions():
            # It fires where nothing is written too: undefined gradients, frozen since the forward.
            if parameter.grad is not None and parameter.requires_grad:
                self._received.add(parameter)
