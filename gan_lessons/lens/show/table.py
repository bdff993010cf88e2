"""The table of a record: parameter x event, in a notebook and on a terminal.

Both say the same. A cell is a symbol and a norm, and never a colour alone.
"""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from gan_lessons.lens.model import Event, GradState, HeldBytes, Kind, Record
from gan_lessons.lens.show import symbols as words
from gan_lessons.lens.show.scene import marked, visible

KINDS: tuple[str, ...] = get_args(Kind)
EMPTY = GradState()


@dataclass(frozen=True)
class Cell:
    """What one ``.grad`` holds after one event. kind: a key of ``words.GRADIENT``.

    changed: it was another gradient before the event. used: the event is the step that used it.
    """

    kind: str
    value: float | None
    sources: tuple[int | str, ...]
    changed: bool = False
    used: bool = False

    @property
    def text(self) -> str:
        """``⊕ 0.31 (0+1)``: the symbol, the norm, and where it comes from if that is not plain."""
        symbol = words.GRADIENT[self.kind][0]
        norm = "" if self.kind in ("none", "zero") else f" {norm_text(self.value)}"
        sources = f" ({'+'.join(map(str, self.sources))})" if len(self.sources) > 1 else ""
        return f"{symbol}{norm}{sources}"

    @property
    def story(self) -> tuple[object, ...]:
        """Everything but the number."""
        return (self.kind, self.sources, self.changed, self.used)


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
    earlier = (words.BEFORE,) if state.before and state.sources else ()
    return Cell(kind, state.value, (*earlier, *state.sources))


@dataclass(frozen=True)
class Row:
    """One parameter, or several with the same story."""

    name: str
    cells: tuple[Cell, ...]


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
        kinds = [k for k in KINDS if k != "forward"] if events is None else list(events)
        if unknown := [k for k in kinds if k not in KINDS]:
            raise ValueError(f"events must be among {', '.join(KINDS)}; got {unknown[0]!r}")
        self.record, self.kinds, self.fold, self.width = record, kinds, fold, width

    @property
    def columns(self) -> list[Event]:
        """The events that have a column."""
        return [event for event in self.record.events if event.kind in self.kinds]

    def rows(self) -> dict[str, list[Row]]:
        """Net -> its rows."""
        found: dict[str, list[Row]] = {}
        for net, parameters in self.record.parameters.items():
            rows = [Row(visible(name), self._cells(net, name)) for name in parameters]
            found[net] = _folded(rows) if len(rows) > self.fold else rows
        return found

    def _cells(self, net: str, name: str) -> tuple[Cell, ...]:
        states = [event.grads.get(net, {}).get(name, EMPTY) for event in self.record.events]
        cells = []
        for event in self.columns:
            i = event.index
            now, before = states[i], states[i - 1] if i else None
            changed = _content(now) != _content(before) if before else now.value is not None
            cell = describe(now, self.record.complete)
            cells.append(replace(cell, changed=changed, used=now.used_by == i))
        return tuple(cells)

    def __str__(self) -> str:
        return _terminal(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _page(self)


def _content(state: GradState) -> tuple[object, ...]:
    return (state.value, state.sources, state.by_hand, state.before)


def _folded(rows: Sequence[Row]) -> list[Row]:
    """Rows with the same story as one, in the place of the first."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(cell.story for cell in row.cells), []).append(row)
    return [_joint(group) for group in groups.values()]


def _joint(group: Sequence[Row]) -> Row:
    if len(group) == 1:
        return group[0]
    name = words.TABLE_ALIKE.format(first=group[0].name, last=group[-1].name, count=len(group))
    columns = zip(*(row.cells for row in group), strict=True)
    return Row(name, tuple(replace(column[0], value=_joint_norm(column)) for column in columns))


def _joint_norm(cells: Sequence[Cell]) -> float | None:
    values = [cell.value for cell in cells if cell.value is not None]
    return math.hypot(*values) if values else None


# Texts --------------------------------------------------------------------------------------------


def norm_text(value: float | None) -> str:
    """Two digits are enough to compare by eye."""
    if value is None:
        return ""
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.2g}"


def bytes_text(held: HeldBytes) -> str:
    """``13.8 MiB``; ``≥`` where some could not be looked at."""
    power = min(max(held.activations.bit_length() - 1, 0) // 10, 3)
    number = held.activations / 1024**power
    text = f"{number:.1f} {('B', 'KiB', 'MiB', 'GiB')[power]}" if power else f"{number:.0f} B"
    return text if held.complete else f"≥ {text}"


def event_text(event: Event) -> str:
    """``step D``, ``backward call 0``."""
    target = None if event.target is None else visible(event.target)
    return words.EVENT[event.kind].format(target=target, call=event.call).strip()


def _source(event: Event, limit: int = 80) -> str:
    return visible(" ".join(event.line.code.split()), limit)


def _legend(table: GradientTable, changed: str) -> list[str]:
    """What the symbols mean, of those that occur."""
    rows = [row for net_rows in table.rows().values() for row in net_rows]
    kinds = {cell.kind for row in rows for cell in row.cells}
    entries = [
        f"{s} {word}: {means}" for k, (s, word, means) in words.GRADIENT.items() if k in kinds
    ]
    if any(cell.used for row in rows for cell in row.cells):
        entries.append(f"{words.USED} {words.USED_MEANS}")
    entries += [changed, words.TABLE_HELD_MEANS]
    if any(not event.held.complete for event in table.columns):
        entries.append(words.TABLE_HELD_PARTLY)
    if any(len(row) > table.fold for row in table.record.parameters.values()):
        entries.append(words.TABLE_ALIKE_MEANS)
    return [*entries, *([] if table.record.complete else [words.NOT_YET])]


# Terminal -----------------------------------------------------------------------------------------


def _terminal(table: GradientTable) -> str:
    record = table.record
    if not record.events:
        return f"{words.TABLE_TITLE}\n{words.TABLE_NO_EVENTS}"
    listed = [[str(e.index), event_text(e), _source(e)] for e in record.events]
    lines = _aligned(listed, numbers=1).splitlines()
    blocks = [words.TABLE_TITLE, "\n".join(visible(line, table.width) for line in lines)]
    if table.columns:
        blocks += _matrices(table)
        changed = f"{words.CHANGED} {words.CHANGED_MEANS}"
        entries = [*_legend(table, changed), words.TABLE_HOW]
        blocks.append("\n".join(textwrap.fill(e, table.width) for e in entries))
    else:
        blocks.append(words.TABLE_NO_COLUMNS.format(kinds=", ".join(table.kinds)))
    if record.explanation:
        blocks.append(textwrap.fill(f"{words.TABLE_ERROR}: {record.explanation}", table.width))
    return "\n\n".join(blocks)


def _matrices(table: GradientTable) -> list[str]:
    """The matrix, in as many pieces as the width asks for."""
    columns = _terminal_columns(table)
    heads, columns = columns[0], columns[1:]
    room = table.width - max(map(len, heads)) - 2
    pieces: list[list[list[str]]] = [[]]
    used = 0
    for column in columns:
        wide = max(map(len, column)) + 2
        if used + wide > room and pieces[-1]:
            pieces.append([])
            used = 0
        pieces[-1].append(column)
        used += wide
    return [_aligned(zip(heads, *piece, strict=True)) for piece in pieces]


def _terminal_columns(table: GradientTable) -> list[list[str]]:
    """Columns of text, the names first: a head, the rows of every net, the bytes."""
    columns = [[words.TABLE_PARAMETER], *([str(e.index)] for e in table.columns)]
    for net, rows in table.rows().items():
        title = visible(net) if rows else f"{visible(net)}: {words.TABLE_NO_PARAMETERS}"
        for column, text in zip(columns, [title, *[""] * len(table.columns)], strict=True):
            column.append(text)
        for row in rows:
            texts = [f"  {row.name}", *map(_terminal_cell, row.cells)]
            for column, text in zip(columns, texts, strict=True):
                column.append(text)
    held = [words.TABLE_HELD, *(bytes_text(e.held) for e in table.columns)]
    for column, text in zip(columns, held, strict=True):
        column.append(text)
    return columns


def _terminal_cell(cell: Cell) -> str:
    return f"{cell.text}{words.CHANGED * cell.changed}{f' {words.USED}' * cell.used}"


def _aligned(rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Rows of text in columns; the first ``numbers`` of them flush right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [t.rjust(w) for t, w in zip(row[:numbers], widths[:numbers], strict=True)]
        texts += [t.ljust(w) for t, w in zip(row[numbers:], widths[numbers:], strict=True)]
        lines.append("  ".join(texts).rstrip())
    return "\n".join(lines)


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


def _page(table: GradientTable) -> str:
    record = table.record
    if not record.events:
        inside = f"<p>{words.TABLE_TITLE}. {words.TABLE_NO_EVENTS}</p>"
    elif not table.columns:
        inside = (
            f"<p>{html.escape(words.TABLE_NO_COLUMNS.format(kinds=', '.join(table.kinds)))}</p>"
        )
    else:
        inside = f'<div class="box" tabindex="0">{_html_table(table)}</div>'
        entries = [*_legend(table, f"{words.CHANGED_BOLD}: {words.CHANGED_MEANS}"), words.TABLE_HOW]
        inside += "<ul>" + "".join(f"<li>{html.escape(e)}</li>" for e in entries) + "</ul>"
    if record.explanation:
        text = marked(record.explanation)
        inside += f'<p class="plain" role="note"><b>{words.TABLE_ERROR}:</b> {text}</p>'
    return f'<div class="gl-table"><style>{_STYLE}</style>{inside}</div>'


def _html_table(table: GradientTable) -> str:
    heads = "".join(_html_head(event) for event in table.columns)
    held = "".join(f"<td>{bytes_text(event.held)}</td>" for event in table.columns)
    return (
        f"<table><caption>{words.TABLE_TITLE}</caption>"
        f'<thead><tr><th scope="col">{words.TABLE_PARAMETER}</th>{heads}</tr></thead>'
        f"{''.join(_html_net(net, rows, table) for net, rows in table.rows().items())}"
        f'<tfoot><tr><th scope="row">{words.TABLE_HELD}</th>{held}</tr></tfoot></table>'
    )


def _html_head(event: Event) -> str:
    source = re.sub(r"([(,.])", r"\1<wbr>", html.escape(_source(event, 60)))  # may break there
    text = html.escape(event_text(event))
    return f'<th scope="col"><b>{event.index}</b> {text}<code>{source}</code></th>'


def _html_net(net: str, rows: Sequence[Row], table: GradientTable) -> str:
    title = html.escape(visible(net)) + ("" if rows else f": {words.TABLE_NO_PARAMETERS}")
    span = f'colspan="{len(table.columns) + 1}"'
    lines = [f'<tr><th class="net" scope="rowgroup" {span}>{title}</th></tr>']
    for row in rows:
        cells = "".join(_html_cell(cell) for cell in row.cells)
        lines.append(f'<tr><th scope="row">{html.escape(row.name)}</th>{cells}</tr>')
    return f"<tbody>{''.join(lines)}</tbody>"


def _html_cell(cell: Cell) -> str:
    _, word, means = words.GRADIENT[cell.kind]
    told = [
        f"{word}: {means}",
        *[words.CHANGED_MEANS] * cell.changed,
        *[words.USED_MEANS] * cell.used,
    ]
    classes = f"{cell.kind} changed" if cell.changed else cell.kind
    title = html.escape("; ".join(told))
    return f'<td class="{classes}" title="{title}">{cell.text}{f" {words.USED}" * cell.used}</td>'
