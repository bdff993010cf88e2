"""An average of a net, moved by hand, that an optimizer steps as well."""

from __future__ import annotations

from collections.abc import Iterator

from gan_lessons.lens.diagnose.story import Finding, Step, Story
from gan_lessons.lens.model import Event

Names = frozenset[str]
LAYER = 2  # a weight and a bias


def taught_average(story: Story) -> Iterator[Finding]:
    """One optimizer steps two nets of one shape by the same calls, and all of one of them is
    rewritten by hand as well, time and again: an average of the other, which is not to learn.

    Two parts of one module are told so, too. Where each has an optimizer of its own, one may be a
    copy that learns from there (Reptile).
    """
    during = {e.index for step in story.steps for e in story.within(step)}
    alone = [e for e in story.record.events if e.index not in during]
    rows = story.record.parameters
    for net in story.trained:
        for names, by_hand in _rewritten(alone, net).items():
            others = [n for n in story.trained if n != net and rows[n] == rows[net]]
            if names == {*rows[net]}:
                pairs = [(net, other) for other in others if not story.moved_outside.get(other)]
            else:
                pairs = [(f"{net}.{a}", f"{net}.{b}") for a, b in _alike(story, net, names)]
            for average, other in pairs if by_hand > 1 else ():
                steps = [s for s in story.steps_of(net) if _both(s, net, names, average, other)]
                if len(steps) > 1:
                    yield _told(story, net, average, other, steps[0])


def _rewritten(events: list[Event], net: str) -> dict[Names, int]:
    """Which of its parameters were rewritten together -> how often."""
    found = dict[Names, int]()
    for event in events:
        if names := frozenset(event.moved.get(net, ())):
            found[names] = found.get(names, 0) + 1
    return found


def _alike(story: Story, net: str, names: Names) -> Iterator[tuple[str, str]]:
    """Submodules (a, b) of one parent: all of a was rewritten, nothing of b, and they have the same
    shapes. Not single layers: one may be normalized by hand, or kept positive."""
    rows = story.record.parameters[net]
    parts = dict[str, dict[str, tuple[int, ...]]]()
    for name, shape in rows.items():
        words = name.split(".")
        for depth in range(1, len(words)):
            parts.setdefault(".".join(words[:depth]), {})[".".join(words[depth:])] = shape
    touched = story.moved_outside.get(net, set())
    for a, row in parts.items():
        if len(row) <= LAYER or names != {f"{a}.{name}" for name in row}:
            continue
        for b, other in parts.items():
            near = a != b and a.rpartition(".")[0] == b.rpartition(".")[0]
            if near and row == other and not touched & {f"{b}.{name}" for name in other}:
                yield a, b


def _both(step: Step, net: str, names: Names, average: str, other: str) -> bool:
    """Did the step move both by the same calls?"""
    if average == net:
        return bool(step.calls(net)) and step.calls(net) == step.calls(other)
    prefix = other.removeprefix(f"{net}.") + "."
    mine = {c for (n, k), s in step.used.items() if n == net and k in names for c in s.sources}
    theirs = {c for (n, k), s in step.used.items()
              if n == net and k.startswith(prefix) for c in s.sources}  # fmt: skip
    return bool(mine) and mine == theirs


def _told(story: Story, net: str, average: str, other: str, step: Step) -> Finding:
    calls = step.calls(net)
    return story.finding(
        "moving-target", "wrong", net, [*story.events_of(calls), step.event],
        "{step} moves {average} by {calls}, from which {other} learns, too; and all of {average} "
        "is rewritten by hand beside that, as {other} is not: an average of {other} that "
        "learns as well.",
        "Leave the parameters of {average} out of {target}, and run {average} under "
        "torch.no_grad().",
        step=story.event(step.event), calls=story.calls(calls), average=average,
        other=other, target=step.event.target,
    )  # fmt: skip
