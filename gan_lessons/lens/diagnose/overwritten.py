"""A loss whose name was given to another one before the backward: what it was, and what to do."""

from __future__ import annotations

import re
from typing import NamedTuple

from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import Forward, Line

WHICH = (
    "It was overwritten before its backward. Which of the two is meant? If the first, leave out "
    "the line that overwrites it. If the second, leave out the first. Only if each is a term of "
    "its own, add them: {name} = {name} + ..."
)


class Overwritten(NamedTuple):
    """``name``: what both losses are called. ``line``: that of the second."""

    name: str
    line: Line


def overwritten(story: Story, forward: Forward) -> Overwritten | None:
    """Was a loss that is made of this forward overwritten, in another line of the same function, by
    the one that the next backward of that name was called on?"""
    graph = story.record.graph
    for key in lost_numbers(story):
        if forward.index not in {graph.nodes[i].forward for i in story.reached(key)}:
            continue
        for call in (c for c in story.calls_made if c.loss and c.nodes and c.nodes[-1] > key):
            first, second = story.made_at(key, call), story.made_at(call.nodes[-1], call)
            if _assigned(first) == call.loss:
                return None if second is None else _by(first, second, call.loss)
    return None


def _by(first: Line | None, second: Line, name: str) -> Overwritten | None:
    """A name is another variable in another function, unless it is an attribute."""
    if first is None or first == second or _assigned(second) != name:
        return None
    here = first.file == second.file and ("." in name or first.function == second.function)
    return Overwritten(name, second) if here else None


def _assigned(line: Line | None) -> str:
    """The name that this line gives to what it makes, or ""."""
    found = line and re.match(r"\s*([\w.]+)\s*=(?!=)", line.code)
    return found[1] if found else ""


def lost_numbers(story: Story) -> list[int]:
    """Single numbers that no net made and no backward walked, and of which nothing was made that
    was read, or that is alive at the end."""
    graph = story.record.graph
    alive = {*story.record.events[-1].states} if story.record.events else set[int]()
    found = [i for i, n in graph.nodes.items() if n.shape == () and n.net is None
             and not n.is_leaf and i not in story.last_walk]  # fmt: skip
    served = {k for i in found if i in graph.read or i in alive for k in story.reached(i)}
    return [i for i in found if i not in served and i in graph.lines]
