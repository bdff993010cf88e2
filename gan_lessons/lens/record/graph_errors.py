"""The three errors that a graph raises, in plain words: what happened, where, what to do.

The sentences of this file stand in ``WORDS``, apart from the logic that picks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

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
from gan_lessons.lens.record.autograd_graph import GraphTrace

WORDS = {
    "inplace": (
        "`{line}` needs {tensor} as it was when `{forward}` ran. {mover} has rewritten it since."
    ),
    "mover": "`{line}`",
    "unknown mover": "Something that is no optimizer step",
    "parameter": "{net}'s parameter {name}",
    "activation": "a tensor that {op} saved",
    "inplace, parameter": (
        "Run every backward that walks this graph before the step that rewrites {net}, "
        "or call {net} again after the step."
    ),
    "inplace, activation": (
        "Look for an operation that writes in place (a name that ends in _, +=, inplace=True, "
        "x[...] = ...) between the forward and this line; use one that makes a new tensor."
    ),
    "second": (
        "`{line}` walks the graph of {forwards} again, but `{call}` has already freed what that "
        "graph had saved."
    ),
    "of forward": "{net}'s forward `{line}`",
    "of nobody": "an earlier computation",
    "the net": "the net",
    "the forward": "the forward",
    "second, cut": (
        "Do not reach for retain_graph=True: that prediction was made from a tensor cut off by "
        "{how}, so no gradient would get past the cut. Call {net} once more on the tensor itself."
    ),
    "second, old input": (
        "If {net} needs no gradient here, pass the tensor it made through .detach(). If it does, "
        "the first backward must keep the graph: `{call}` with retain_graph=True."
    ),
    "second, all": (
        "Call backward once on the sum of the losses, or keep the graph in the first call "
        "(retain_graph=True), or run the forward again."
    ),
    "no graph": "`{line}` starts from a tensor that has no graph: {why}.",
    "no graph, cut": (
        "it was computed from a tensor cut off by {how} in `{line}`, and nothing after it trains"
    ),
    "no graph, frozen": "every parameter of {nets} is frozen (requires_grad is False)",
    "no graph, grad mode": "gradients are switched off here (torch.no_grad)",
    "no graph, other": (
        "it was computed without gradients (torch.no_grad, .data, or no trainable input)"
    ),
    "no graph, cut fix": (
        "Leave out {how} there if the gradient has to reach what made that tensor."
    ),
    "no graph, thaw": " If {nets} should learn from it instead: it is frozen, thaw it.",
    "no graph, fix": "Compute it with trainable parameters and gradients switched on.",
}


class Explanation(NamedTuple):
    """``what`` happened, and how to ``fix`` it."""

    what: str
    fix: str


def explain(
    error: BaseException,
    line: Line,
    outputs: Iterable[Any],
    trace: GraphTrace,
    record: Record,
    freed_by: Mapping[int, int],
) -> Explanation | None:
    """Plain words for an error that ``backward`` raised, or None if it is not one of the three.

    To be called while the graph behind ``outputs`` still lives. ``freed_by``: graph node -> index
    of the backward call that freed it.
    """
    if not isinstance(error, RuntimeError):
        return None
    tensors = [x for x in outputs if isinstance(x, Tensor)]
    here = line.code
    with torch._C.DisableTorchFunction():
        walked = trace.reach([t.grad_fn for t in tensors if t.grad_fn is not None])
        states, _ = trace.look([t.grad_fn for t in tensors])
        nodes = [trace.nodes[i] for i in walked]
        if INPLACE in str(error):
            return _inplace(here, [n for n in nodes if states.get(n.id) == STALE], trace, record)
        if SECOND_BACKWARD in str(error):
            return _second(here, nodes, trace, record, freed_by)
        if NO_GRAPH in str(error):
            return _no_graph(here, tensors, trace, record)
    return None


def _inplace(here: str, stale: list[Node], trace: GraphTrace, record: Record) -> Explanation | None:
    if not stale:
        return None
    stale = stale[::-1]  # nearest to the loss first: backward meets it first
    for node in stale:
        for net, name in sorted(trace.saves.get(node.id, ())):
            mover = _mover(net, name, node, record.events)
            if mover is not None:
                tensor = WORDS["parameter"].format(net=net, name=name)
                fix = WORDS["inplace, parameter"].format(net=net)
                # Only a step is known to have done it; other events just come after it.
                line = mover.line if mover.kind == "step" else None
                return Explanation(_needs(here, tensor, _made(node, record), line), fix)
    tensor = WORDS["activation"].format(op=stale[0].op)
    what = _needs(here, tensor, _made(stale[0], record), None)
    return Explanation(what, WORDS["inplace, activation"])


def _made(node: Node, record: Record) -> Line | None:
    return None if node.forward is None else record.forwards[node.forward].line


def _needs(here: str, tensor: str, forward: Line | None, mover: Line | None) -> str:
    moved_by = WORDS["mover"].format(line=_code(mover)) if mover else WORDS["unknown mover"]
    return WORDS["inplace"].format(line=here, tensor=tensor, forward=_code(forward), mover=moved_by)


def _mover(net: str, name: str, node: Node, events: list[Event]) -> Event | None:
    """The last event since the node's forward in which that parameter was rewritten."""
    since = next((e.index for e in events if e.forward == node.forward), 0)
    moved = [e for e in events if e.index > since and name in e.moved.get(net, ())]
    return moved[-1] if moved else None


def _second(
    here: str, nodes: list[Node], trace: GraphTrace, record: Record, freed_by: Mapping[int, int]
) -> Explanation:
    freed = [n for n in nodes if n.id in freed_by]  # before this call, which frees as it goes
    indices = sorted({n.forward for n in freed if n.forward is not None})
    forwards = [record.forwards[i] for i in indices]
    names = [WORDS["of forward"].format(net=f.net, line=_code(f.line)) for f in forwards]
    calls = [freed_by[n.id] for n in freed if freed_by[n.id] >= 0]
    call = record.backward_calls[calls[-1]].source if calls else "backward"
    told = " and ".join(names) or WORDS["of nobody"]
    text = WORDS["second"].format(line=here, forwards=told, call=call)
    return Explanation(text, _second_fix(nodes, freed, trace, call))


def _second_fix(nodes: list[Node], freed: list[Node], trace: GraphTrace, call: str) -> str:
    ids = {n.id for n in freed}
    cuts = [c for c in trace.cuts if c.target in ids]
    if cuts:
        net = trace.nodes[cuts[0].target].net or WORDS["the net"]
        return WORDS["second, cut"].format(how=cuts[0].how, net=net)
    # A net that was called anew since: then only what it was given is old.
    old = [n.net for n in freed if n.net and not n.parameter]
    fresh = {n.net for n in nodes if n.net and not n.parameter and n.id not in ids}
    if old and fresh - set(old):
        return WORDS["second, old input"].format(net=old[0], call=call)
    return WORDS["second, all"]


def _no_graph(here: str, tensors: list[Tensor], trace: GraphTrace, record: Record) -> Explanation:
    past = next((p for t in tensors if (p := trace.past(t)) is not None), None)
    frozen = trace.frozen_nets()
    if past is not None:
        why = WORDS["no graph, cut"].format(how=past.how, line=_code(past.line))
        fix = WORDS["no graph, cut fix"].format(how=past.how)
        if frozen:
            fix += WORDS["no graph, thaw"].format(nets=" and ".join(frozen))
    else:
        if not torch.is_grad_enabled():
            why = WORDS["no graph, grad mode"]
        elif frozen and set(frozen) == {f.net for f in record.forwards}:
            why = WORDS["no graph, frozen"].format(nets=" and ".join(frozen))
        else:
            why = WORDS["no graph, other"]
        fix = WORDS["no graph, fix"]
    return Explanation(WORDS["no graph"].format(line=here, why=why), fix)


def _code(line: Line | None) -> str:
    return line.code if line is not None else WORDS["the forward"]
