"""The table of a record: parameter x event, in a notebook and on a terminal.

Both say the same. A cell is a symbol and a norm, and never a colour alone.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

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

TITLE = "What every .grad holds after each event"
PARAMETER, NO_PARAMETERS, HELD = "parameter", "no parameters", "held by the graph"
CHANGED, CHANGED_MEANS = "*", "changed since the event before"
USED_MEANS = "this step uses it"
NO_EVENTS = "No events: nothing in the recorded block touched these nets or optimizers."
NO_COLUMNS = "No events of these kinds: {kinds}."
IN_PLAIN_WORDS = "In plain words"

Rows = Mapping[str, list[Row]]  # net -> its rows


class GradientTable:
    """Parameter x event. ``print`` it, or let a notebook show it.

    record:  what ``record(...)`` gave; it is read when the table is shown.
    events:  kinds of events that get a column; all but "forward" if left out.
    fold:    a net with more parameters than this shows those with the same story in one row.
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
        return {net: rows_of(record, net, columns, self.fold) for net in record.parameters}

    def __str__(self) -> str:
        return "\n\n".join(_terminal(self))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div class="gl-table"><style>{_STYLE}</style>{"".join(_page(self))}</div>'


def _source(event: Event, limit: int = 80) -> str:
    return visible(" ".join(event.line.code.split()), limit)


def _legend(table: GradientTable, rows: Rows, changed: str) -> Iterator[str]:
    """What the symbols mean, of those that occur."""
    cells = [cell for net_rows in rows.values() for row in net_rows for cell in row.cells]
    kinds = {cell.kind for cell in cells}
    for kind, (symbol, word, means) in GRADIENT.items():
        if kind in kinds:
            yield f"{symbol} {word}: {means}"
    if any(cell.used for cell in cells):
        yield f"{USED} {USED_MEANS}"
    yield changed
    yield "held by the graph: bytes that it alone keeps for backward (no weights, no inputs)"
    if any(not event.held.complete for event in table.columns):
        yield "≥: saved-tensor hooks hide some of these bytes"
    if any(len(names) > table.fold for names in table.record.parameters.values()):
        yield "alike: parameters with the same story share a row, with their joint norm"
    if not table.record.complete:
        yield "The recording is not over: what is in vain is not known yet."
    yield "Numbers in cells are 2-norms; columns are numbered as in record.events."


# Terminal -----------------------------------------------------------------------------------------


def _terminal(table: GradientTable) -> Iterator[str]:
    """The blocks of text."""
    record = table.record
    if not record.events:
        yield f"{TITLE}\n{NO_EVENTS}"
        return
    listed = [[str(e.index), event_text(e), _source(e)] for e in record.events]
    lines = aligned(listed, numbers=1).splitlines()
    yield TITLE
    yield "\n".join(visible(line, table.width) for line in lines)
    if table.columns:
        rows = table.rows()
        yield from _matrices(table, rows)
        legend = _legend(table, rows, f"{CHANGED} {CHANGED_MEANS}")
        yield "\n".join(textwrap.fill(entry, table.width) for entry in legend)
    else:
        yield NO_COLUMNS.format(kinds=", ".join(table.kinds))
    if record.explanation:
        yield textwrap.fill(f"{IN_PLAIN_WORDS}: {record.explanation}", table.width)


def _matrices(table: GradientTable, rows: Rows) -> Iterator[str]:
    """The matrix, in as many pieces as the width asks for, the names at the left of each."""
    columns = table.columns
    lines = [[PARAMETER, *(str(event.index) for event in columns)]]
    for net, net_rows in rows.items():
        title = visible(net) if net_rows else f"{visible(net)}: {NO_PARAMETERS}"
        lines.append([title, *[""] * len(columns)])
        lines += [[f"  {row.name}", *map(_terminal_cell, row.cells)] for row in net_rows]
    lines.append([HELD, *(bytes_text(event.held) for event in columns)])
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


# Notebook -----------------------------------------------------------------------------------------

# Colours are laid over the theme's own background, so they fit a light and a dark one.
_STYLE = """
.gl-table{font-size:13px;line-height:1.35;color:var(--jp-content-font-color1,inherit)}
.gl-table .box{overflow-x:auto}
.gl-table table{border-collapse:collapse;margin:0}
.gl-table caption{caption-side:top;text-align:left;font-weight:600;padding:2px 0 6px}
.gl-table th,.gl-table td{padding:3px 8px;text-align:left;vertical-align:bottom;
border:1px solid var(--jp-border-color2,rgba(128,128,128,.35));font-weight:400;white-space:nowrap}
.gl-table thead th{max-width:11.5em;white-space:normal}
.gl-table thead b{font-size:1.15em}
.gl-table th code{display:block;font-size:.86em;overflow-wrap:break-word;background:none;padding:0}
.gl-table tbody th,.gl-table tfoot th,.gl-table thead th:first-child{position:sticky;left:0;
background:var(--jp-layout-color0,Canvas)}
.gl-table.gl-table table th{text-align:left}
.gl-table .net{font-weight:700}
.gl-table .changed{font-weight:700;box-shadow:inset 0 -3px 0 currentColor}
.gl-table .none,.gl-table .zero{opacity:.75}
.gl-table .fresh{background:rgba(0,114,178,.28)}
.gl-table .accumulated{background:rgba(160,80,190,.32)}
.gl-table .by_hand{background:rgba(0,158,115,.3)}
.gl-table .before{background:rgba(128,128,128,.25)}
.gl-table .vain{background:repeating-linear-gradient(135deg,rgba(213,94,0,.34) 0 5px,
rgba(213,94,0,.12) 5px 10px)}
.gl-table ul{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:6px 0;padding:0}
.gl-table .plain{border-left:4px solid #d55e00;padding:2px 10px;margin:6px 0}
"""


def _page(table: GradientTable) -> Iterator[str]:
    record = table.record
    if not record.events:
        yield f"<p>{TITLE}. {NO_EVENTS}</p>"
    elif not table.columns:
        yield f"<p>{html.escape(NO_COLUMNS.format(kinds=', '.join(table.kinds)))}</p>"
    else:
        rows = table.rows()
        yield f'<div class="box" tabindex="0">{"".join(_html_table(table.columns, rows))}</div>'
        legend = _legend(table, rows, f"bold: {CHANGED_MEANS}")
        yield f"<ul>{''.join(f'<li>{html.escape(entry)}</li>' for entry in legend)}</ul>"
    if record.explanation:
        text = marked(record.explanation)
        yield f'<p class="plain" role="note"><b>{IN_PLAIN_WORDS}:</b> {text}</p>'


def _html_table(columns: list[Event], rows: Rows) -> Iterator[str]:
    yield f"<table><caption>{TITLE}</caption>"
    yield f'<thead><tr><th scope="col">{PARAMETER}</th>{"".join(map(_html_head, columns))}</tr>'
    yield "</thead>"
    for net, net_rows in rows.items():
        title = html.escape(visible(net)) + ("" if net_rows else f": {NO_PARAMETERS}")
        span = f'colspan="{len(columns) + 1}"'
        yield f'<tbody><tr><th class="net" scope="rowgroup" {span}>{title}</th></tr>'
        for row in net_rows:
            cells = "".join(map(_html_cell, row.cells))
            yield f'<tr><th scope="row">{html.escape(row.name)}</th>{cells}</tr>'
        yield "</tbody>"
    held = "".join(f"<td>{bytes_text(event.held)}</td>" for event in columns)
    yield f'<tfoot><tr><th scope="row">{HELD}</th>{held}</tr></tfoot></table>'


def _html_head(event: Event) -> str:
    source = re.sub(r"([(,.])", r"\1<wbr>", html.escape(_source(event, 60)))  # may break there
    text = html.escape(event_text(event))
    return f'<th scope="col"><b>{event.index}</b> {text}<code>{source}</code></th>'


def _html_cell(cell: Cell) -> str:
    _, word, means = GRADIENT[cell.kind]
    told = [f"{word}: {means}", *[CHANGED_MEANS] * cell.changed, *[USED_MEANS] * cell.used]
    classes = f"{cell.kind} changed" if cell.changed else cell.kind
    title = html.escape("; ".join(told))
    return f'<td class="{classes}" title="{title}">{cell.text}{f" {USED}" * cell.used}</td>'
