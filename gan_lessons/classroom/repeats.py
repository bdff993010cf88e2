"""JSON in which nothing long stands twice: what recurs stands once, and is named by a number.

The steps of an explorer differ in little: without this, half of its page is a repetition.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

Json = Any
Repeats = tuple[str, list[Json]]

LEAST = 14  # characters: to name what is shorter would save nothing


def once(data: Json) -> tuple[Json, Repeats]:
    """``data`` with ``{mark: number}`` in the place of what recurs in it, and ``(mark, values)``:
    what the numbers stand for, each value after those that are named in it.

    Keys of objects are strings. ``again`` gives ``data`` back, and so does ``static/boot.js``.
    """
    values = _Values()
    root = values.add(data)
    return values.told(root)


def again(data: Json, repeats: Repeats) -> Json:
    """What ``once`` was given, tuples as lists."""
    mark, values = repeats
    whole: list[Json] = []

    def put(value: Json) -> Json:
        if isinstance(value, list):
            return [put(one) for one in value]
        if not isinstance(value, dict):
            return value
        return whole[value[mark]] if mark in value else {k: put(v) for k, v in value.items()}

    whole.extend(put(value) for value in values)
    return put(data)


class _Values:
    """Every value that occurs, by a number of its own: the same value has the same number."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._parts: list[Any] = []  # of a list and an object: the numbers of what is in it
        self._sizes: list[int] = []  # about, in characters
        self._names: set[str] = set()

    def add(self, value: Json) -> int:
        """The number of a value, and of all that is in it."""
        parts: Any = value
        if isinstance(value, dict):
            self._names.update(value)
            parts = {name: self.add(one) for name, one in value.items()}
            key, inside = ("object", *parts.items()), [*parts.values()]
            size = 2 + sum(len(name) + 4 for name in parts)
        elif isinstance(value, (list, tuple)):
            parts = inside = [self.add(one) for one in value]
            key, size = ("list", *parts), 2 + len(parts)
        else:  # 1, 1.0 and True are equal, and are written differently
            key, inside, size = (type(value), repr(value)), [], len(str(value)) + 2
        if key not in self._numbers:
            self._numbers[key] = len(self._parts)
            self._parts.append(parts)
            self._sizes.append(size + sum(self._sizes[i] for i in inside))
        return self._numbers[key]

    def told(self, root: int) -> tuple[Json, Repeats]:
        mark = "$"
        while mark in self._names:
            mark += "$"
        uses = Counter(i for parts in self._parts for i in _inside(parts))
        recurring = (i for i, size in enumerate(self._sizes) if uses[i] > 1 and size >= LEAST)
        shared = {i: place for place, i in enumerate(recurring)}

        def put(i: int, *, named: bool = True) -> Json:
            if named and i in shared:
                return {mark: shared[i]}
            parts = self._parts[i]
            if isinstance(parts, dict):
                return {name: put(one) for name, one in parts.items()}
            return [put(one) for one in parts] if isinstance(parts, list) else parts

        return put(root), (mark, [put(i, named=False) for i in shared])


def _inside(parts: Any) -> list[int]:
    return (
        [*parts.values()] if isinstance(parts, dict) else parts if isinstance(parts, list) else []
    )
