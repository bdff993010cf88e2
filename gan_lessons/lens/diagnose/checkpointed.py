"""Parameters that ran in a checkpoint which built no graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gan_lessons.lens.diagnose.quoting import some
from gan_lessons.lens.diagnose.story import Finding, Story
from gan_lessons.lens.model import Line


def checkpointed(story: Story) -> Iterator[Finding]:
    """An optimizer is to move them, and no backward ever reaches them: a reentrant checkpoint runs
    them again in the backward only if one of its inputs wanted a gradient."""
    if story.failed or story.inside:
        return
    got = {(n, k) for c in story.record.backward_calls for n, ks in c.received.items() for k in ks}
    places = defaultdict[tuple[str, Line], list[str]](list)
    for net, name, line in story.record.graph.checkpointed:
        if (net, name) not in got and name not in story.moved_outside.get(net, ()):
            places[net, line].append(name)
    for (net, line), names in places.items():
        steps = [s for s in story.steps_of(net) if {*names} & {*s.event.holds[net]}]
        if len(steps) > 1:
            yield story.finding(
                "cut-off", "wrong", net, [step.event for step in steps],
                "No backward reached {names} of {net}, which {step} is to move: they ran in a "
                "checkpoint{where}, and no input of it wanted a gradient. A reentrant one builds "
                "no graph then.",
                "Give it use_reentrant=False; or let what goes into it want a gradient "
                "(requires_grad_()).",
                names=some(names), step=story.event(steps[0].event), where=story.in_line(line),
            )  # fmt: skip
