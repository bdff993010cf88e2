"""The three errors that a graph raises, in plain words: what happened, where, what to do.

Each rule stands beside the sentences that it picks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gan_lessons.lens.model import (
    FREED,
    INPLACE,
    NO_GRAPH,
    SECOND_BACKWARD,
    STALE,
    Event,
    Line,
    Node,
    Record,
)
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.operations import Operations
from gan_lessons.torch_internals import without_torch_functions


class Explanation(NamedTuple):
    """``what`` happened, and how to ``fix`` it."""

    what: str
    fix: str


@dataclass(frozen=True)
class Failure:
    """A backward that raised, while the graph behind its ``outputs`` still lives."""

    line: Line
    outputs: Sequence[Tensor]
    graph: LiveGraph
    operations: Operations
    record: Record

    def explain(self, error: BaseException) -> Explanation | None:
        """Plain words for the error, or None if it is not one of the three."""
        if not isinstance(error, RuntimeError):
            return None
        with without_torch_functions():
            if INPLACE in str(error):
                return self._rewritten()
            if SECOND_BACKWARD in str(error):
                return self._walked_again()
            return self._no_graph() if NO_GRAPH in str(error) else None

    def _nodes(self) -> list[Node]:
        roots = [t.grad_fn for t in self.outputs if t.grad_fn is not None]
        return [self.graph.nodes[i] for i in self.graph.reach(roots)]

    # Modified by an inplace operation ---------------------------------------------------------

    def _rewritten(self) -> Explanation | None:
        states, _ = self.graph.look([t.grad_fn for t in self.outputs])
        stale = [node for node in self._nodes() if states.get(node.id) == STALE]
        for node in reversed(stale):  # nearest to the loss first: backward meets it first
            for net, name in sorted(self.graph.saves.get(node.id) or self._taken(node)):
                mover = self._mover(net, name, node)
                if mover is not None:
                    return self._parameter_rewritten(net, name, node, mover)
        if not stale:
            return None
        return self._activation_rewritten(stale[-1])

    def _taken(self, node: Node) -> set[tuple[str, str]]:
        """The parameters that it took: what it saved was stale before anybody could read it."""
        inputs = [self.graph.nodes[i] for i in node.inputs]
        return {(n.net, n.parameter) for n in inputs if n.net and n.parameter}

    def _activation_rewritten(self, node: Node) -> Explanation:
        # Saved was what the node made, or what went into it.
        written = (self.graph.written.get(i) for i in (node.id, *node.inputs))
        writer = next(filter(None, written), None)
        blanks = {"line": self.line.code, "op": node.op, "forward": self._forward_of(node)}
        if writer is not None:
            return Explanation(
                "`{line}` needs a tensor that {op} saved (shape {shape}) as it was when {forward} "
                "ran. `{writer}` has rewritten it since.".format(
                    shape=node.shape, writer=writer.code, **blanks
                ),
                "Do not write in place there: make a new tensor (`h = h + 1`, not `h += 1`; "
                "inplace=False).",
            )
        return Explanation(
            "`{line}` needs a tensor that {op} saved as it was when {forward} ran. Something that "
            "is no optimizer step has rewritten it since.".format(**blanks),
            "Look for an operation that writes in place (a name that ends in _, +=, inplace=True, "
            "x[...] = ...) between the forward and this line; use one that makes a new tensor.",
        )

    def _parameter_rewritten(self, net: str, name: str, node: Node, mover: Event) -> Explanation:
        if mover.kind == "step":
            what = (
                "`{line}` needs {net}'s parameter {name} as it was when {forward} ran. `{mover}` "
                "has rewritten it since."
            )
        else:  # only a step is known to have done it; other events just come after it
            what = (
                "`{line}` needs {net}'s parameter {name} as it was when {forward} ran. Something "
                "that is no optimizer step has rewritten it since."
            )
        fix = (
            "Call {net} again after the step, and compute this loss from that; or run both "
            "backwards before either step, and name in each who is to receive (inputs=): each its "
            "own player."
            if mover.kind == "step"
            else "Call {net} again after that, and compute this loss from what it makes then."
        )
        if self._ran_since(mover, net):
            fix = (
                "If {net} is not to learn from this loss, pass what it made through .detach(). If "
                "it is, run {net} again after its step."
            )
        blanks = {"line": self.line.code, "forward": self._forward_of(node)}
        what = what.format(net=net, name=name, mover=mover.line.code, **blanks)
        return Explanation(what, fix.format(net=net))

    def _ran_since(self, mover: Event, net: str) -> bool:
        """Does this loss come from another net that ran after the step? Only its input is old."""
        events = self.record.events[mover.index :]
        began = {e.forward for e in events if e.kind == "forward"}
        return any(n.net not in (None, net) and n.forward in began for n in self._nodes())

    def _forward_of(self, node: Node) -> str:
        if node.forward is None:
            return "the forward"
        return f"`{self.record.forwards[node.forward].line.code}`"

    def _mover(self, net: str, name: str, node: Node) -> Event | None:
        """The last event since the node was made in which that parameter was rewritten."""
        events = self.record.events
        ends = {e.forward: e.index + 1 for e in events if e.kind == "forward"}
        # Of no net, or of a forward that did not end: made before the first event that saw it.
        seen = (e.index for e in events if node.id in e.states)
        since = ends.get(node.forward) or next(seen, len(events))
        moved = [e for e in events[since:] if name in e.moved.get(net, ())]
        return moved[-1] if moved else None

    # Backward through the graph a second time -------------------------------------------------

    def _walked_again(self) -> Explanation:
        nodes, events, calls = self._nodes(), self.record.events, self.record.backward_calls
        freed_by: dict[int, int | None] = {}  # node -> call, None for one of autograd.grad
        for event in (e for e in events if e.kind in ("backward", "grad", "error")):
            for node in (i for i, state in event.states.items() if state == FREED):
                freed_by.setdefault(node, event.call)
        freed = [n for n in nodes if n.id in freed_by]  # not by this call, which frees as it goes
        indices = sorted({n.forward for n in freed if n.forward is not None})
        forwards = [(f.net, f.line.code) for f in (self.record.forwards[i] for i in indices)]
        told = " and ".join(f"{net}'s forward `{line}`" for net, line in forwards)
        known = [i for n in freed if (i := freed_by[n.id]) is not None]
        call = calls[known[-1]].source if known else "backward"
        what = (
            "`{line}` walks the graph of {forwards} again, but `{call}` has already freed what "
            "that graph had saved."
        ).format(line=self.line.code, forwards=told or "an earlier computation", call=call)
        since = self.record.end_of(known[-1]).index if known else 0
        needed = {p for n in freed for p in self.graph.saves.get(n.id, ())}
        # A step inside that call is an event before its end.
        later = (e for e in events if e.index > since or (known and e.call == known[-1]))
        moved = any(name in e.moved.get(net, ()) for e in later for net, name in needed)
        return Explanation(what, self._instead_of_walking_again(nodes, freed, call, moved=moved))

    def _instead_of_walking_again(
        self, nodes: Sequence[Node], freed: Sequence[Node], call: str, *, moved: bool
    ) -> str:
        """``moved``: weights that the freed nodes need were changed since: to keep the graph would
        not help."""
        ids = {n.id for n in freed}
        cut = next((c for c in self.graph.cuts.values() if c.target in ids), None)
        if cut is not None:
            return (
                "Do not reach for retain_graph=True: that prediction was made from a tensor cut "
                "off by {how}, so no gradient would get past the cut. Call {net} once more on the "
                "tensor itself."
            ).format(how=cut.how, net=self.graph.nodes[cut.target].net or "the net")
        # A net that was called anew since: then only what it was given is old.
        old = [n.net for n in freed if n.net and not n.parameter]
        fresh = {n.net for n in nodes if n.net and not n.parameter and n.id not in ids}
        if old and fresh - set(old) and moved:
            return (
                "If {net} needs no gradient here, pass the tensor it made through .detach(). If it "
                "does, run {net} again: its weights were changed since, so that keeping the graph "
                "would not help."
            ).format(net=old[0])
        if old and fresh - set(old):
            return (
                "If {net} needs no gradient here, pass the tensor it made through .detach(). If it "
                "does, the first backward must keep the graph: `{call}` with retain_graph=True."
            ).format(net=old[0], call=call)
        if moved:
            nets = dict.fromkeys(n.net for n in reversed(nodes) if n.net and not n.parameter)
            return (
                "Run {net} again for this loss, on a detached tensor (.detach()) where what made "
                "it is not to learn from this loss. Keeping the graph (retain_graph=True) would "
                "not help: weights that it needs were changed since."
            ).format(net=next(iter(nets), "the net"))
        return (
            "Run the forward again for this loss; or keep the graph in the first call "
            "(retain_graph=True), and name in each call who is to receive (inputs=)."
        )

    # Does not require grad --------------------------------------------------------------------

    def _no_graph(self) -> Explanation:
        pasts = (self.operations.values.past(tensor) for tensor in self.outputs)
        past, frozen = next(filter(None, pasts), None), self.graph.frozen_nets()
        fix = "Compute it with trainable parameters and gradients switched on."
        if past is not None:
            what = (
                "`{line}` starts from a tensor that has no graph: it was computed from a tensor "
                "cut off by {how} in `{cut}`, and nothing after it trains."
            )
            fix = "Leave out {how} there if the gradient has to reach what made that tensor."
            if frozen:
                fix = (
                    "If {nets} is to learn from this loss, thaw it before its forward "
                    "(requires_grad_(True)): it is frozen. If what made that tensor is to learn, "
                    "leave out {how} there."
                )
        elif not torch.is_grad_enabled():
            what = (
                "`{line}` starts from a tensor that has no graph: gradients are switched off here "
                "(torch.no_grad)."
            )
        elif frozen and set(frozen) == {f.net for f in self.record.forwards}:
            what = (
                "`{line}` starts from a tensor that has no graph: every parameter of {nets} is "
                "frozen (requires_grad is False)."
            )
        else:
            what = (
                "`{line}` starts from a tensor that has no graph: it was computed without "
                "gradients (torch.no_grad, .data, or no trainable input)."
            )
        blanks = {"line": self.line.code, "nets": " and ".join(frozen)}
        if past is not None:
            blanks |= {"how": past.how, "cut": past.line.code}
        return Explanation(what.format(**blanks), fix.format(**blanks))
