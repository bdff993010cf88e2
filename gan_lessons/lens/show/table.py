"""The table of a record: parameter x event, in a notebook and on a terminal.

Both say the same. A cell is a symbol and a norm, and never a colour alone.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from gan_lessons.arguments import require, require_whole
from gan_lessons.lens.model import Event, Record
from gan_lessons.lens.show.cells import Cell, Row, rows_of
from gan_lessons.lens.show.format import (
    EVENT,
    aligned,
    bytes_text,
    event_text,
    marked,
    visible,
)
from gan_lessons.lens.show.symbols import GRADIENT, USED
from gan_lessons.lens.show.templating import page

WORDS = {  # of both
    "title": "What every .grad holds after each event",
    "parameter": "parameter",
    "no_parameters": "no parameters",
    "held": "held by the graph",
    "changed": "changed since the event before",
    "used": "used: an optimizer step has used it",
    "in_plain_words": "In plain words",
}
CHANGED = "*"  # on a terminal
CELLS = 240  # 12 parameters in two usual iterations have half of that

Rows = Mapping[str, list[Row]]  # net -> its rows


class GradientTable:
    """Parameter x event. ``print`` it, or let a notebook show it.

    record:  what ``record(...)`` gave; it is read when the table is shown.
    events:  kinds of events that get a column; all but "forward" if left out.
    fold:    a net with more parameters than this shows those with the same story in one row; so
             does one whose rows would have more than CELLS cells.
    width:   columns of the terminal; a wider table continues below.

    Raises ValueError for an unknown kind.
    """

    def __init__(
        self,
        record: Record,
        *,
        events: Iterable[str] | None = None,
        fold: int = 12,
        width: int = 100,
    ) -> None:
        require_whole("table", 1, fold=fold, width=width)
        if events is not None:
            require("table", (list, tuple, set, frozenset), "kinds of events", events=events)
        kinds = [kind for kind in EVENT if kind != "forward"] if events is None else list(events)
        if unknown := [k for k in kinds if k not in EVENT]:
            raise ValueError(f"events must be among {', '.join(EVENT)}; got {unknown[0]!r}")
        self.record, self.kinds, self.fold, self.width = record, kinds, fold, width

    @property
    def columns(self) -> list[Event]:
        """The events that have a column."""
        return [event for event in self.record.events if event.kind in self.kinds]

    def rows(self) -> dict[str, list[Row]]:
        """Net -> its rows."""
        record, columns = self.record, self.columns
        return {
            net: rows_of(record, net, columns, folded=self.is_folded(net))
            for net in record.parameters
        }

    def is_folded(self, net: str) -> bool:
        """Do parameters of this net share a row where their story is the same?"""
        count = len(self.record.parameters[net])
        return count > self.fold or count * len(self.columns) > max(CELLS, 20 * self.fold)

    def __str__(self) -> str:
        return "\n\n".join(_terminal(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows, told = self.rows(), self.record.explanation
        return page(
            "table.html.j2",
            words=WORDS,
            gradient=GRADIENT,
            used=USED,
            empty=_empty(self),
            columns=[(event, _pieces(event)) for event in self.columns],
            rows=rows,
            legend=_legend(self, rows, "bold: {changed}"),
            explanation=marked(told) if told else "",
        )


def _empty(table: GradientTable) -> str:
    """Why there is nothing to show; empty if there is something."""
    if not table.record.events:
        return "No events: nothing in the recorded block touched these nets or optimizers."
    text = "" if table.columns else "No events of these kinds: {kinds}."
    return text.format(kinds=", ".join(table.kinds))


def _source(event: Event, limit: int = 80) -> str:
    return visible(" ".join(event.line.code.split()), limit)


def _pieces(event: Event) -> list[str]:
    """The line, where a narrow column may break it."""
    return re.split(r"(?<=[(,.])", _source(event, 60))


def _legend(table: GradientTable, rows: Rows, changed: str) -> Iterator[str]:
    """What the symbols mean, of those that occur."""
    cells = [cell for net_rows in rows.values() for row in net_rows for cell in row.cells]
    kinds = {cell.kind for cell in cells}
    for kind, (symbol, word, means) in GRADIENT.items():
        if kind in kinds:
            yield f"{symbol} {word}: {means}"
    if any(len(cell.sources) > 1 for cell in cells):
        yield "(0+1): the sum of what the backward calls of these numbers wrote"
    if any(cell.used for cell in cells):
        yield f"{USED} {WORDS['used']}"
    yield changed.format(changed=WORDS["changed"])
    yield "held by the graph: bytes that it alone keeps for backward (no weights, no inputs)"
    if any(not event.held.complete for event in table.columns):
        yield "≥: saved-tensor hooks hide some of these bytes"
    if any(map(table.is_folded, table.record.parameters)):
        yield "alike: parameters with the same story share a row, with their joint norm"
    if not table.record.complete:
        yield "The recording is not over: what is in vain is not known yet."
    yield "Numbers in cells are 2-norms; columns are numbered as in record.events."


# Terminal -----------------------------------------------------------------------------------------


def _terminal(table: GradientTable) -> Iterator[str]:
    """The blocks of text."""
    record = table.record
    if not record.events:
        yield f"{WORDS['title']}\n{_empty(table)}"
        return
    listed = [[str(e.index), event_text(e), _source(e)] for e in record.events]
    lines = aligned(listed, numbers=1).splitlines()
    yield WORDS["title"]
    yield "\n".join(visible(line, table.width) for line in lines)
    if table.columns:
        rows = table.rows()
        yield from _matrices(table, rows)
        legend = _legend(table, rows, f"{CHANGED} {{changed}}")
        yield "\n".join(textwrap.fill(entry, table.width) for entry in legend)
    else:
        yield _empty(table)
    if record.explanation:
        yield textwrap.fill(f"{WORDS['in_plain_words']}: {record.explanation}", table.width)


def _matrices(table: GradientTable, rows: Rows) -> Iterator[str]:
    """The matrix, in as many pieces as the width asks for, the names at the left of each."""
    columns = table.columns
    lines = [[WORDS["parameter"], *(str(event.index) for event in columns)]]
    for net, net_rows in rows.items():
        title = visible(net) if net_rows else f"{visible(net)}: {WORDS['no_parameters']}"
        lines.append([title, *[""] * len(columns)])
        lines += [[f"  {row.name}", *map(_terminal_cell, row.cells)] for row in net_rows]
    lines.append([WORDS["held"], *(bytes_text(event.held) for event in columns)])
    names, *widths = (max(map(len, column)) + 2 for column in zip(*lines, strict=True))
    pieces: list[list[int]] = [[]]
    room = table.width - names
    for i, width in enumerate(widths, start=1):
        if pieces[-1] and width > room:
            pieces.append([])
            room = table.width - names
        pieces[-1].append(i)
        room -= width
    for piece in pieces:
        yield aligned([[line[0], *(line[i] for i in piece)] for line in lines])


def _terminal_cell(cell: Cell) -> str:
    return f"{cell.text}{CHANGED * cell.changed}{f' {USED}' * cell.used}"
