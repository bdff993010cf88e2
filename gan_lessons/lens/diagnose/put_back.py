"""A net that was to have its former weights again, and keeps those that it has."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Story


def put_back(story: Story) -> Iterator[Finding]:
    """A state was taken from a net, steps moved the net, and that state was loaded into it: but it
    is the memory of the net itself, which has the new values. (Where nothing moved in between,
    nothing had to be put back.)"""
    told = set[str]()
    for net, taken, line, now, put in story.record.put_back if not story.failed else ():
        steps = [e for e in story.record.events[taken:now]
                 if any(_is_in(one, net) for one in story.record.moved_by(e))]  # fmt: skip
        if not steps or net in told:
            continue
        told.add(net)
        yield story.finding(
            "not-restored", "wrong", net, [steps[0], steps[-1]],
            "{put} was to undo what {step} did to {net} since {taken}, and does nothing: a "
            "state_dict() is no copy, its tensors are those of {net} itself, and moved with it.",
            "Copy the values when the state is taken: copy.deepcopy({name}.state_dict()).",
            put=story.quoted(put) or "load_state_dict()", step=story.event(steps[0]),
            taken=story.quoted(line) or "state_dict()", name=net,
        )  # fmt: skip


def _is_in(part: str, net: str) -> bool:
    """The net itself, or a part of it that has an optimizer of its own."""
    return part == net or part.startswith(f"{net}.")
