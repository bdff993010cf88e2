"""The cells of the gradient table: what one ``.grad`` holds after one event, and rows of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gan_lessons.lens.model import Event, GradState, Record
from gan_lessons.lens.show.format import norm_text, visible
from gan_lessons.lens.show.symbols import GRADIENT


@dataclass(frozen=True)
class Cell:
    """What one ``.grad`` holds after one event. kind: a key of ``symbols.GRADIENT``.

    changed: it was another gradient before the event. used: a step has used it by then, be it this
    event or an earlier one; it stays so until it is cleared or added to.
    """

    kind: str
    value: float | None
    sources: tuple[int | str, ...]
    changed: bool = False
    used: bool = False

    @property
    def norm(self) -> str:
        """The norm, "" where the symbol says it."""
        return "" if self.kind in ("none", "zero") else norm_text(self.value)

    @property
    def text(self) -> str:
        """``⊕ 0.31 (0+1)``: the symbol, the norm, and where it comes from if that is not plain."""
        sources = f"({'+'.join(map(str, self.sources))})" if len(self.sources) > 1 else ""
        return " ".join(filter(None, [GRADIENT[self.kind][0], self.norm, sources]))

    @property
    def story(self) -> tuple[object, ...]:
        """Everything but the number."""
        return (self.kind, self.sources, self.changed, self.used)


@dataclass(frozen=True)
class Row:
    """One parameter, or several with the same story."""

    name: str
    cells: tuple[Cell, ...]


def describe(state: GradState, complete: bool) -> Cell:
    """The kind of a gradient. ``complete``: the recording is over, so it is known who used it."""
    if state.value is None:
        kind = "none"
    elif state.value == 0.0:
        kind = "zero"
    elif state.by_hand:
        kind = "by_hand"
    elif state.before and not state.sources:
        kind = "before"
    elif complete and state.used_by is None:
        kind = "vain"
    else:
        kind = "accumulated" if len(state.sources) + state.before > 1 else "fresh"
    earlier = ("before",) if state.before and state.sources else ()
    return Cell(kind, state.value, (*earlier, *state.sources))


def rows_of(record: Record, net: str, columns: Sequence[Event], *, folded: bool) -> list[Row]:
    """The rows of one net. folded: parameters with one story share a row."""
    names = record.parameters[net]
    rows = [Row(visible(name), _cells(record, net, name, columns)) for name in names]
    if not folded:
        return rows
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(cell.story for cell in row.cells), []).append(row)
    return [_joint(group) for group in groups.values()]


def _cells(record: Record, net: str, name: str, columns: Sequence[Event]) -> tuple[Cell, ...]:
    states = [event.grads.get(net, {}).get(name, GradState()) for event in record.events]
    cells = []
    for i in (event.index for event in columns):
        now, before = states[i], states[i - 1] if i else GradState()
        cell = describe(now, record.complete)
        changed = _content(now) != _content(before)
        cells.append(replace(cell, changed=changed, used=is_used(now, i)))
    return tuple(cells)


def is_used(state: GradState, event: int) -> bool:
    """Has an optimizer step used this gradient by the end of that event?"""
    return state.used_by is not None and state.used_by <= event


def _content(state: GradState) -> tuple[object, ...]:
    return (state.value, state.sources, state.by_hand, state.before)


def _joint(group: Sequence[Row]) -> Row:
    """Rows with the same story as one, with their joint norm."""
    if len(group) == 1:
        return group[0]
    text = "{first} … {last} ({count} alike)"
    name = text.format(first=group[0].name, last=group[-1].name, count=len(group))
    columns = list(zip(*(row.cells for row in group), strict=True))
    norms = [[cell.value for cell in cells if cell.value is not None] for cells in columns]
    values = [math.hypot(*found) if found else None for found in norms]
    return Row(name, tuple(replace(c[0], value=v) for c, v in zip(columns, values, strict=True)))
