"""What is worth knowing: who learned from whose weights, who was frozen, what BatchNorm saw."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.facts import Finding, Step, Story


def update_kind(story: Story) -> Iterator[Finding]:
    """Both on the same backward; or simultaneous; or alternating."""
    if (players := story.players) is None or story.failed or story.inside:
        return
    steps = [s for s in story.steps if len(set(players) & set(s.nets)) == 1 and s.used]
    if not steps:
        return
    leader, follower = players if players[0] in steps[0].nets else players[::-1]
    first, second = steps[0], next((s for s in steps if follower in s.nets), None)
    if second is None:
        return
    if first.calls(leader) == second.calls(follower) and first.calls(leader):
        yield _shared(story, first, second, leader, follower)
    before = [s for s in story.steps_of(leader) if s.event.index < second.event.index]
    fresh = [
        f
        for f in story.record.forwards
        if f.net == leader and f.training and f.weights == len(before) and f.during is None
        and story.began.get(f.index, second.event.index) < second.event.index
    ]  # fmt: skip
    code = "alternating" if fresh else "simultaneous"
    message = (
        "{second} moves by a gradient that was computed before {first} moved: a simultaneous "
        "update."
    )
    if fresh:
        message = (
            "{second} runs {first} again after it has moved, and learns from it: alternating "
            "updates."
        )
    events = [before[-1].event, second.event]
    events += [story.record.events[story.began[f.index]] for f in fresh[:1]]
    yield story.finding(code, "info", None, events, message, first=leader, second=follower)


def _shared(story: Story, first: Step, second: Step, leader: str, follower: str) -> Finding:
    return story.finding(
        "shared-backward", "info", None, [first.event, second.event],
        "{first} and {second} step on the same backward ({calls}).",
        "Right for a one-stage step, which scales the gradient between the nets. With a plain sum "
        "of both losses each player would also follow the other's.",
        first=leader, second=follower, calls=story.calls(first.calls(leader)),
    )  # fmt: skip


def frozen(story: Story) -> Iterator[Finding]:
    """A net was walked through, and none of its parameters wanted a gradient."""
    told: set[str] = set()
    for call in (c for c in story.calls_made if not c.restricted):
        for net in {story.record.forwards[i].net for i in call.forwards} - told:
            if story.record.parameters[net] and not call.received.get(net):
                told.add(net)
                yield story.finding(
                    "frozen", "info", net, story.events_of([call.index]),
                    "{net} was frozen while {call} walked through it: none of its gradients was "
                    "computed.",
                    call=story.call(call.index),
                )  # fmt: skip


def batchnorm_updates(story: Story) -> Iterator[Finding]:
    """How often a net's running statistics were updated, and by how many forwards."""
    for net, count in story.record.batchnorm.items():
        forwards = [f for f in story.record.forwards if f.net == net and f.training]
        if count > 0:
            began = [story.began[f.index] for f in forwards if f.index in story.began]
            yield story.finding(
                "batchnorm-updates", "info", net, [story.record.events[i] for i in began],
                "The running statistics of {net}'s BatchNorm were updated {count} times "
                "({forwards} forwards in train mode).",
                count=count, forwards=len(forwards),
            )  # fmt: skip
