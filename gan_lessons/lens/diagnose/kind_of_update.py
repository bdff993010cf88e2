"""What is worth knowing: who learned from whose weights, who was frozen, what BatchNorm saw."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from gan_lessons.lens.diagnose.directions import helpers, helps_its_judge
from gan_lessons.lens.diagnose.kept_out import kept_out
from gan_lessons.lens.diagnose.opponents_loss import pulled_apart
from gan_lessons.lens.diagnose.story import Finding, Step, Story


def update_kind(story: Story) -> Iterator[Finding]:
    """For each two optimizers: both on the same backward; or simultaneous; or alternating.

    What the gradient saw decides: the weights behind the graph that was walked, and behind what was
    cut off from a graph and went into it. Who learned nothing from the other gets no note.
    """
    if story.failed or story.inside:
        return
    firsts: dict[str | None, Step] = {}
    for step in story.steps:
        if step.used:
            firsts.setdefault(step.event.target, step)
    for first, second in combinations(firsts.values(), 2):
        if {*first.nets} & {*second.nets}:
            continue  # two optimizers of one player
        told = story.told_events(pulled_apart, helps_its_judge)
        new = told.isdisjoint({first.event.index, second.event.index})
        if first.calls() == second.calls() and first.calls() and new:
            yield _shared(story, first, second)
        # The last step of the leader before the follower's first.
        before = [s for s in story.steps if s.event.target == first.event.target
                  and s.event.index < second.event.index]  # fmt: skip
        seen = [(net, n) for net in first.nets for n in _weights_seen(story, second, net)]
        if not seen:
            continue
        fresh = any(n >= story.steps_until(net, second) for net, n in seen)
        code = "alternating" if fresh else "simultaneous"
        message = (
            "The gradient of {second} was computed with {first} as it was before its step: a "
            "simultaneous update."
        )
        if fresh:
            message = (
                "The gradient of {second} was computed with {first} as it is after its step: "
                "alternating updates."
            )
        yield story.finding(
            code, "info", None, [before[-1].event, second.event], message,
            first=" and ".join(first.nets), second=" and ".join(second.nets),
        )  # fmt: skip


def _weights_seen(story: Story, step: Step, net: str) -> set[int]:
    """What the gradient of a step saw of another net: how many steps that had made by then."""
    seen = set()
    for call in (story.record.backward_calls[c] for c in step.calls()):
        seen |= {story.steps_seen(node, net) for node in story.through(call, net)}
        for cut in story.cuts_before(call, [net]):
            seen |= {story.steps_seen(node, net) for node in story.nodes_of(net, cut.source)}
        fed = (f for node in call.nodes for f in story.fed_into.get(node, ()))
        seen |= {f.weights for f in fed if f.net == net}
    return seen


def _shared(story: Story, first: Step, second: Step) -> Finding:
    nets = {*first.nets, *second.nets}
    for judge, player in (pair for pair in helpers(story) if {*pair} <= nets):
        return story.finding(
            "shared-backward", "info", None, [first.event, second.event],
            "{first} and {second} step on the same backward ({calls}). It teaches {judge} to tell "
            "the output of {player} from all else, and {player} to help it. Are they meant to work "
            "together?",
            "If they are opponents, {player} needs a loss of its own, which pulls the other way, "
            "and each loss names who is to receive (`inputs=`).",
            first=" and ".join(first.nets), second=" and ".join(second.nets),
            calls=story.calls(first.calls()), judge=judge, player=player,
        )  # fmt: skip
    return story.finding(
        "shared-backward", "info", None, [first.event, second.event],
        "{first} and {second} step on the same backward ({calls}).",
        "Right for a one-stage step, which scales the gradient between the nets. With a plain sum "
        "of both losses each player would also follow the other's.",
        first=" and ".join(first.nets), second=" and ".join(second.nets),
        calls=story.calls(first.calls()),
    )  # fmt: skip


def frozen(story: Story) -> Iterator[Finding]:
    """A net was walked through, and none of its parameters got a gradient: none wanted one, or
    the graph led past them."""
    told = {one.net for one in story.told(kept_out)}
    for call in (c for c in story.calls_made if not c.restricted):
        for net in sorted({story.record.forwards[i].net for i in call.forwards} - told):
            if story.record.parameters[net] and not call.received.get(net):
                told.add(net)
                ran = (story.record.forwards[i] for i in call.forwards)
                asleep = any(f.net == net and f.frozen is not None for f in ran)
                yield story.finding(
                    "frozen" if asleep else "never-received", "info", net,
                    story.events_of([call.index]),
                    "{net} was frozen while {call} walked through it: none of its gradients was "
                    "computed."
                    if asleep
                    else "{call} walked through {net} and came to none of its parameters, "
                    "though not all of them are frozen: the graph leads past them.",
                    call=story.call(call.index),
                )  # fmt: skip


def batchnorm_updates(story: Story) -> Iterator[Finding]:
    """How often a net's running statistics were updated, and by how many forwards."""
    for net, count in story.record.batchnorm.items():
        forwards = [f for f in story.record.forwards if f.net == net and f.training]
        if count > 0:
            began = [story.began[f.index] for f in forwards if f.index in story.began]
            message = "The running statistics of {net}'s BatchNorm were updated {count} times."
            if count == 1:
                message = "The running statistics of {net}'s BatchNorm were updated once."
            elif forwards:
                message = (
                    "The running statistics of {net}'s BatchNorm were updated {count} times "
                    "({forwards} forwards in train mode)."
                )
            yield story.finding(
                "batchnorm-updates", "info", net, [story.record.events[i] for i in began], message,
                count=count, forwards=len(forwards),
            )  # fmt: skip
