"""Parameters that take part in a loss as if they were to learn, and that no optimizer holds."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gan_lessons.lens.diagnose.odd_parameters import part_made_anew
from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import FOLDABLE, BackwardCall

TO_LEARN = (
    "Give them to the optimizer as well, before the loop. If they are to stand still, freeze them "
    "(requires_grad_(False))."
)

ALIKE = " A part of {others} was made after its optimizer; these seem to be as well."


def forgotten(story: Story, calls: list[BackwardCall], numbers: frozenset[int]) -> Finding | None:
    """Strangers that stand between a net that learns and the loss, in each of these calls, as they
    were made: an adapter, a second generator. A fixed net would have been loaded, or frozen, or is
    in eval mode, or judges what is wanted as well; a random target takes the data themselves."""
    graph = story.record.graph
    used = [call for call in calls if _modules(story, call)]
    if len(used) < 2 or not numbers <= graph.fresh:
        return None
    takers = [i for number in numbers for i in _takers(story, number)]
    learning = {net for call in used for net in _modules(story, call)}
    behind = {i: {net for net, _ in story.leaves_of(i)} & learning for i in takers}
    first = min((i for i in takers if i in used[0].nodes), default=-1)
    if first < 0 or not all(behind.values()):
        return None
    names = story.strangers(numbers)
    return story.finding(
        "ownership", "wrong", None, story.events_of(c.index for c in used[:2]),
        "{call} computes gradients for {count} parameters that no optimizer holds: they never "
        "learn. They take what {behind} made{where}, in training mode, as they were initialized."
        + (" These are {names}." if names else ""),
        TO_LEARN,
        call=story.call(used[0].index), count=len(numbers), names=names,
        behind=" and ".join(sorted(behind[first])), where=story.in_line(graph.lines.get(first)),
    )  # fmt: skip


def _modules(story: Story, call: BackwardCall) -> set[str]:
    """The nets, lone parameters left out, that learn from this call."""
    return {net for _, net in story.uses.get(call.index, ())} - {*story.record.lone}


def _takers(story: Story, number: int) -> list[int]:
    """The nodes that take this parameter, as it is or transposed."""
    graph = story.record.graph
    known = {i for i, n in graph.strangers.items() if n == number}
    found = []
    for key, node in sorted(graph.nodes.items()):
        if known & {*node.inputs}:
            if node.op in FOLDABLE and len(node.inputs) == 1:
                known.add(key)
            else:
                found.append(key)
    return found


def emptied(story: Story) -> Iterator[Finding]:
    """A group of an optimizer holds nothing, and no optimizer holds a part of its net that gets
    gradient from the losses of the rest: an iterator was used up before the optimizer came, say.

    Wrong where that part is as it was made, and takes what the rest made. Waste where it was
    loaded, is in eval mode, or stands below the rest: it may have been left out on purpose."""
    if story.failed or story.inside:
        return
    told = {one.net for one in story.told(part_made_anew)}
    for target in story.record.empty_groups:
        for net in (n for n in story.record.holds.get(target, {}) if n not in told):
            calls = [story.record.backward_calls[c] for c in sorted(story.calls_of(net))]
            free = _learning_nowhere(story, net, calls)
            if not free:
                continue
            told.add(net)
            held = {k for row in story.record.holds.values() for k in row.get(net, ())}
            sure = {*free} <= {*story.record.as_made.get(net, ())} and _trains(story, net)
            sure = sure and _above(story, net, {*free}, held)
            yield story.finding(
                "ownership", "wrong" if sure else "waste", net,
                story.events_of(c.index for c in calls[:2]),
                "{call} computes gradients for {names} of {net}, and no optimizer holds them: they "
                "never learn. A group of {target} holds nothing.",
                "If they were to be in that group: parameters(), filter() and generators can be "
                "gone through once, and are empty then. Hand it a list: list(...). If they are to "
                "stand still, freeze them (requires_grad_(False)).",
                call=story.call(calls[0].index), names=some(free), target=target,
            )  # fmt: skip


def _learning_nowhere(story: Story, net: str, calls: list[BackwardCall]) -> list[str]:
    """The parameters of ``net`` that no optimizer holds, that nothing moves, and that got gradient
    from several of these calls."""
    held = {k for row in story.record.holds.values() for k in row.get(net, ())}
    return [k for k in story.record.parameters[net] if k not in held
            and k not in story.moved_outside.get(net, ())
            and sum(k in c.received.get(net, ()) for c in calls) > 1]  # fmt: skip


def _trains(story: Story, net: str) -> bool:
    """Was all of it in training mode, all the time?"""
    ran = (f.training for f in story.record.forwards if f.net == net)
    return not story.record.evaluated.get(net) and all(ran)


def forgotten_parts(story: Story) -> Iterator[Finding]:
    """A part of a net gets gradient from losses of the rest, takes what the rest made, and no
    optimizer holds it, though it is as it was made. Where only a small part learns, on purpose or
    beside what is fixed (adapters, prompts, a new head), nothing is said; unless a part of another
    net, beside it in a loss, was made after its optimizer: then it was the same here."""
    if story.failed or story.inside:
        return
    told = {one.net for rule in (part_made_anew, emptied) for one in story.told(rule)}
    for net in (net for net in story.trained if net not in told):
        calls = [story.record.backward_calls[c] for c in sorted(story.calls_of(net))]
        held = {k for row in story.record.holds.values() for k in row.get(net, ())}
        made = {*story.record.as_made.get(net, ())}
        free = [k for k in _learning_nowhere(story, net, calls) if k in made]
        parents = {k.rpartition(".")[0] for k in held}
        free = [k for k in free if k.rpartition(".")[0] not in parents]
        size = story.record.parameters[net]
        small = sum(math.prod(size[k]) for k in free) <= sum(math.prod(size[k]) for k in held)
        alike = _made_anew_beside(story, net)
        if not free or not (small or alike) or not _trains(story, net):
            continue
        if _above(story, net, {*free}, held):
            yield story.finding(
                "ownership", "wrong", net, story.events_of(c.index for c in calls[:2]),
                "{call} computes gradients for {names} of {net}, and no optimizer holds them: they "
                "never learn. They take what the rest of {net} made, in training mode and as they "
                "were initialized."
                + (ALIKE if alike else ""),
                TO_LEARN,
                call=story.call(calls[0].index), names=some(free),
                others=" and ".join(alike),
            )  # fmt: skip


def _made_anew_beside(story: Story, net: str) -> list[str]:
    """The nets of which a part was made after their optimizer, and that a call walked as well."""
    rows = [{story.record.forwards[i].net for i in c.forwards} for c in story.calls_made]
    beside = set[str]().union(*(row for row in rows if net in row))
    return sorted(beside & {one.net for one in story.told(part_made_anew) if one.net})


def _above(story: Story, net: str, free: set[str], held: set[str]) -> bool:
    """Do all these parameters take what those made?"""
    nodes = story.record.graph.nodes
    folded = {i: n.parameter for i, n in nodes.items() if n.is_leaf and n.net == net}
    takes: dict[str, bool] = {}
    for key, node in sorted(nodes.items()):
        mine = {name for i in node.inputs if (name := folded.get(i)) in free}
        if node.op in FOLDABLE and len(node.inputs) == 1 and node.inputs[0] in folded:
            folded[key] = folded[node.inputs[0]]
            continue
        for name in mine:
            below = {k for n, k in story.leaves_of(key) if n == net}
            takes[name or ""] = takes.get(name or "", True) and bool(below & held)
    return takes.keys() == free and all(takes.values())
