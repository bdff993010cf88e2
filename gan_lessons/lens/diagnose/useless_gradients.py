"""Gradients that arrive and are of no use: no slope, all pairs, counted twice, not finite."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.partly_cut_off import summed
from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import BackwardCall, Line

# What they draw does not depend on their input as torch sees it: they hand on zeros.
DRAWS = {"NormalBackward1", "NormalBackward2", "NormalBackward3", "BernoulliBackward0",
         "PoissonBackward0"}  # fmt: skip
# Their derivative is zero wherever it is defined. (Those of comparisons and argmax are none.)
FLAT = {"RoundBackward0", "RoundBackward1", "SignBackward0", "FloorBackward0", "CeilBackward0",
        "TruncBackward0", *DRAWS}  # fmt: skip


def flat(story: Story) -> Iterator[Finding]:
    """All that a term of a loss says of a net goes through an operation that has no slope."""
    nodes = story.record.graph.nodes
    told = set[tuple[str, Line | None]]()
    for call in story.calls_made:
        if not any(nodes[i].op in FLAT for i in call.nodes):
            continue
        pupils = {net for _, net in story.uses.get(call.index, ())}
        for term in summed(story, call)[1]:
            steep, steps = _without_flat(story, term)
            for net in sorted((story.behind[term] - steep) & pupils):
                op = next(i for i in sorted(steps) if net in story.behind[i])
                line = story.record.graph.lines.get(op)
                if _is_scored(story, call, op) or not _is_new(told, net, line):
                    continue
                yield story.finding(
                    "flat", "wrong", net, [story.events[call.index]],
                    "In {call} a term comes from {net} through {word}{where} alone, whose slope is "
                    "zero everywhere: its gradient is all zeros.",
                    "Draw it as a function of noise: mean + std * torch.randn_like(std) has the "
                    "same distribution, and a slope."
                    if nodes[op].op in DRAWS
                    else "Leave {word} out of the loss, or let the gradient go past it: "
                    "`x + (f(x) - x).detach()` has the values of f and the slope of x.",
                    call=story.call(call.index), where=story.in_line(line),
                    word=nodes[op].op.partition("Backward")[0].lower() + "()",
                )  # fmt: skip


def _is_scored(story: Story, call: BackwardCall, op: int) -> bool:
    """Was this drawn, and goes into another term as well? That may weigh its log-probability."""
    if story.record.graph.nodes[op].op not in DRAWS:
        return False
    return sum(op in story.reached(term) for term in summed(story, call)[1]) > 1


def _is_new(told: set[tuple[str, Line | None]], net: str, line: Line | None) -> bool:
    """Of each net and line these rules tell once."""
    known = (net, line) in told
    told.add((net, line))
    return not known


def _without_flat(story: Story, root: int) -> tuple[set[str], set[int]]:
    """The nets that a gradient at ``root`` goes on to past no flat operation; and the flat ones."""
    nodes, waiting, seen, stopped = story.record.graph.nodes, [root], {root}, set[int]()
    nets = set[str]()
    while waiting:
        key = waiting.pop()
        if nodes[key].op in FLAT:
            stopped.add(key)
            continue
        nets |= {story.owner[key] or ""}
        new = {i for i in nodes[key].inputs if i in nodes} - seen
        waiting += new
        seen |= new
    return nets, stopped


def all_pairs(story: Story) -> Iterator[Finding]:
    """A column and a row of the same length met in a loss, and it is taken over all pairs."""
    graph, told = story.record.graph, set[tuple[str, Line | None]]()
    for call in story.calls_made:
        pupils = {net for _, net in story.uses.get(call.index, ())}
        for key in (i for i in call.nodes if i in graph.pairs):
            for net in sorted(story.behind[key] & pupils):
                if not _is_new(told, net, graph.lines.get(key)):
                    continue
                yield story.finding(
                    "broadcast", "wrong", net, [story.events[call.index]],
                    "In {call} shapes ({count}, 1) and ({count},) meet{where}: torch compares each "
                    "sample with every other one, {square} pairs, and {net} learns from that.",
                    "Give both the same shape there: .squeeze(1) for the one, or .unsqueeze(1) for "
                    "the other.",
                    call=story.call(call.index), count=graph.pairs[key],
                    square=f"{graph.pairs[key] ** 2:,}", where=story.in_line(graph.lines.get(key)),
                )  # fmt: skip


def counted_twice(story: Story) -> Iterator[Finding]:
    """A step used the gradient of a loss, and that of a sum of which this loss is a part."""
    calls, told = story.record.backward_calls, set[tuple[str, Line | None]]()
    for step in story.steps:
        for net in step.nets:
            mine = sorted(step.calls(net))
            for one, two in ((a, b) for a in mine for b in mine if a < b):
                root = calls[one].nodes[-1:]
                if calls[one].create_graph or not {*root} <= {*calls[two].nodes}:
                    continue
                if _is_new(told, net, calls[two].line):
                    yield story.finding(
                        "counted-twice", "wrong", net,
                        [*story.events_of([one, two]), step.event],
                        "{step} moved {net} by the sum of {one} and {two}, and the second goes "
                        "through the loss of the first: it counts twice.",
                        "Call backward on the sum alone, or on each of its parts alone.",
                        step=story.event(step.event), one=story.call(one), two=story.call(two),
                    )  # fmt: skip


def stepped_again(story: Story) -> Iterator[Finding]:
    """An optimizer stepped on gradients that it had stepped on before, and nothing came to them.

    Time and again, and nobody moves these weights by hand. A question: optimistic descent looks
    ahead with the last gradient, and does the same.
    """
    if story.failed or story.inside:
        return
    again: dict[tuple[object, ...], list[tuple[Step, Step]]] = defaultdict(list)
    before: dict[str | None, Step] = {}
    for step in story.steps:
        first = before.get(step.event.target)
        before[step.event.target] = step
        if first is not None and _on_the_same(story, first, step):
            again[step.event.target, step.event.line, first.event.line].append((first, step))
    for pairs in again.values():
        first, step = pairs[0]
        if len(pairs) < 2:
            continue
        yield story.finding(
            "counted-twice", "info", step.nets[0],
            [*(one.event for pair in pairs for one in pair)],
            "{step} moved {nets} once more by the gradient of {calls}: {first} had used it, and no "
            "backward came between the two that brought another one. Is that meant?",
            "If it is a look ahead with the last gradient, leave it. If not, leave out {step}, or "
            "let a zero_grad and a backward come before it.",
            step=story.event(step.event), nets=" and ".join(step.nets),
            first=story.event(first.event), calls=story.calls(step.calls()),
        )  # fmt: skip


def _on_the_same(story: Story, first: Step, step: Step) -> bool:
    """Did both use the very same, all of which backward had written? Where a scaler made the first,
    the second is `polluted`."""
    if any(s.kind == "step" and s.after == first.event.index for s in story.record.scalings):
        return False
    same = first.used == step.used and step.used and all(s.sources for s in step.used.values())
    by_hand = any(story.moved_outside.get(net) for net in step.nets)
    return bool(same) and not by_hand


def not_finite(story: Story) -> Iterator[Finding]:
    """A step used a gradient that is not finite, so that the weights are not either."""
    seen = (s.value for e in story.record.events for row in e.grads.values() for s in row.values())
    if not any(value and math.isfinite(value) for value in seen):
        return  # nothing could be measured: on the meta device, say
    told = set[str]()
    for step in story.steps:
        for net in (n for n in step.nets if n not in told and _is_broken(step, n)):
            told.add(net)
            yield story.finding(
                "not-finite", "wrong", net,
                [*story.events_of(step.calls(net)), step.event],
                "{step} moved {net} by a gradient that is not finite (NaN or infinite), from "
                "{calls}: from here on its weights are not finite either.",
                "torch.autograd.set_detect_anomaly(True) names the operation. Often it is the root "
                "or the norm of zeros, the log of zero, or a division by zero: add a small number "
                "inside it.",
                step=story.event(step.event), calls=story.calls(step.calls(net)),
            )  # fmt: skip


def _is_broken(step: Step, net: str) -> bool:
    values = [s.value for (n, _), s in step.used.items() if n == net]
    return any(value is not None and not math.isfinite(value) for value in values)
