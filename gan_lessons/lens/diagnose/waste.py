"""What was computed or kept for nobody."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.facts import Finding, Story, parameters_of
from gan_lessons.lens.diagnose.ownership import never_stepped
from gan_lessons.lens.diagnose.polluted import instead_of_its_own
from gan_lessons.lens.model import BackwardCall


def in_vain(story: Story) -> Iterator[Finding]:
    """Gradients were computed that no step used."""
    if story.failed or story.inside:
        return
    # Where a player does not learn, the calls that nobody used were meant for it.
    failing = [*never_stepped(story), *cut_off(story), *instead_of_its_own(story)]
    calls = [c for c in story.calls_made if not failing or c.index in story.uses]
    for net in story.record.parameters:
        if story.moves_by_hand(net):
            continue
        wasted: dict[tuple[str, ...], dict[int, int]] = {}  # who did use them -> call -> how many
        for call in calls:
            if (count := _wasted(story, call, net)) and story.finite_after(net, [call.index]):
                users = tuple(sorted({n for _, n in story.uses.get(call.index, ())} - {net}))
                wasted.setdefault(users, {})[call.index] = count
        for users, counts in wasted.items():
            yield _in_vain(story, net, users, counts)


def _wasted(story: Story, call: BackwardCall, net: str) -> int:
    """How many gradients of ``net`` this call wrote, not all zeros, that no step used."""
    row = story.events[call.index].grads[net]
    names = story.record.in_vain(call.index).get(net, ())
    return sum(row[name].value != 0.0 for name in names)


def _in_vain(story: Story, net: str, users: tuple[str, ...], counts: dict[int, int]) -> Finding:
    message = "{calls} wrote {count} gradients of {net} that no step used."
    if sum(counts.values()) == 1:
        message = "{calls} wrote a gradient of {net} that no step used."
    fix = "Name who is to receive, all that train: `backward(inputs={users})`."
    if not users:
        fix = "If nobody reads them either, leave this backward out."
    elif not story.steps_of(net):  # then the waste may be what the loop is about
        fix = (
            "If {net} is to learn from this, its own step is missing. If not, name who is to "
            "receive, all that train: `backward(inputs={users})`."
        )
    return story.finding(
        "in-vain", "waste", net, story.events_of(counts), message, fix,
        calls=story.calls(counts), count=sum(counts.values()), users=parameters_of(users),
    )  # fmt: skip


def needless_retain(story: Story) -> Iterator[Finding]:
    """A graph was kept, and nothing walked it again; nor was it ever needed at that line."""
    if story.failed:
        return
    calls = [c for c in story.calls_made if c.retain_graph and not c.create_graph]
    lines = [(c.line.file, c.line.number) for c in calls]
    needed = {line for line, c in zip(lines, calls, strict=True) if _walked_again(story, c)}
    for line, call in zip(lines, calls, strict=True):
        if line not in needed:
            yield story.finding(
                "needless-retain", "waste", None, story.events_of([call.index]),
                "{call} kept the graph (retain_graph=True), and nothing walked it again.",
                "Leave retain_graph=True out: it holds memory for nothing.",
                call=story.call(call.index),
            )  # fmt: skip


def _walked_again(story: Story, call: BackwardCall) -> bool:
    """By a later backward; or perhaps by an ``autograd.grad``, of which that is not known."""
    nodes = story.record.graph.nodes
    own = {i for i in call.nodes if i in nodes and not nodes[i].is_leaf}
    asked = max((e.index for e in story.record.events if e.kind == "grad"), default=-1)
    return any(story.last_walk[i] > call.index for i in own) or asked > (
        story.events[call.index].index
    )
