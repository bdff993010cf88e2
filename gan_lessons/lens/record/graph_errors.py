"""The three errors that a graph raises, in plain words: what happened, where, what to do.

Each rule stands beside the sentences that it picks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gan_lessons.lens.model import (
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
from gan_lessons.lens.record.torch_patches import without_torch_functions


class Explanation(NamedTuple):
    """``what`` happened, and how to ``fix`` it."""

    what: str
    fix: str


@dataclass(frozen=True)
class Failure:
    """A backward that raised, while the graph behind its ``outputs`` still lives.

    ``freed_by``: graph node -> index of the backward call that freed it, -1: no such call.
    """

    line: Line
    outputs: Sequence[Tensor]
    graph: LiveGraph
    operations: Operations
    record: Record
    freed_by: Mapping[int, int]

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
            for net, name in sorted(self.graph.saves.get(node.id, ())):
                mover = self._mover(net, name, node)
                if mover is not None:
                    return self._parameter_rewritten(net, name, node, mover)
        if not stale:
            return None
        return Explanation(
            "`{line}` needs a tensor that {op} saved as it was when {forward} ran. Something that "
            "is no optimizer step has rewritten it since.".format(
                line=self.line.code, op=stale[-1].op, forward=self._forward_of(stale[-1])
            ),
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
            "Run every backward that walks this graph before the step that rewrites {net}, or call "
            "{net} again after the step."
        )
        blanks = {"line": self.line.code, "forward": self._forward_of(node)}
        what = what.format(net=net, name=name, mover=mover.line.code, **blanks)
        return Explanation(what, fix.format(net=net))

    def _forward_of(self, node: Node) -> str:
        if node.forward is None:
            return "the forward"
        return f"`{self.record.forwards[node.forward].line.code}`"

    def _mover(self, net: str, name: str, node: Node) -> Event | None:
        """The last event since the node's forward in which that parameter was rewritten."""
        events = self.record.events
        since = next((e.index for e in events if e.forward == node.forward), 0)
        moved = [e for e in events if e.index > since and name in e.moved.get(net, ())]
        return moved[-1] if moved else None

    # Backward through the graph a second time -------------------------------------------------

    def _walked_again(self) -> Explanation:
        nodes = self._nodes()
        freed = [n for n in nodes if n.id in self.freed_by]  # before this call frees as it goes
        forwards = [self.record.forwards[i] for i in sorted({n.forward for n in freed} - {None})]
        told = " and ".join(
            "{net}'s forward `{line}`".format(net=f.net, line=f.line.code) for f in forwards
        )
        calls = [self.freed_by[n.id] for n in freed if self.freed_by[n.id] >= 0]
        call = self.record.backward_calls[calls[-1]].source if calls else "backward"
        what = (
            "`{line}` walks the graph of {forwards} again, but `{call}` has already freed what "
            "that graph had saved."
        ).format(line=self.line.code, forwards=told or "an earlier computation", call=call)
        return Explanation(what, self._instead_of_walking_again(nodes, freed, call))

    def _instead_of_walking_again(
        self, nodes: Sequence[Node], freed: Sequence[Node], call: str
    ) -> str:
        ids = {n.id for n in freed}
        cut = next((c for c in self.graph.cuts if c.target in ids), None)
        if cut is not None:
            return (
                "Do not reach for retain_graph=True: that prediction was made from a tensor cut "
                "off by {how}, so no gradient would get past the cut. Call {net} once more on the "
                "tensor itself."
            ).format(how=cut.how, net=self.graph.nodes[cut.target].net or "the net")
        # A net that was called anew since: then only what it was given is old.
        old = [n.net for n in freed if n.net and not n.parameter]
        fresh = {n.net for n in nodes if n.net and not n.parameter and n.id not in ids}
        if old and fresh - set(old):
            return (
                "If {net} needs no gradient here, pass the tensor it made through .detach(). If it "
                "does, the first backward must keep the graph: `{call}` with retain_graph=True."
            ).format(net=old[0], call=call)
        return (
            "Call backward once on the sum of the losses, or keep the graph in the first call "
            "(retain_graph=True), or run the forward again."
        )

    # Does not require grad --------------------------------------------------------------------

    def _no_graph(self) -> Explanation:
        pasts = (self.operations.past(tensor) for tensor in self.outputs)
        past, frozen = next(filter(None, pasts), None), self.graph.frozen_nets()
        fix = "Compute it with trainable parameters and gradients switched on."
        if past is not None:
            what = (
                "`{line}` starts from a tensor that has no graph: it was computed from a tensor "
                "cut off by {how} in `{cut}`, and nothing after it trains."
            )
            fix = "Leave out {how} there if the gradient has to reach what made that tensor."
            if frozen:
                fix += " If {nets} should learn from it instead: it is frozen, thaw it."
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
