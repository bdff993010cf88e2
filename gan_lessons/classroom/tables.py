"""A plain table: HTML in a notebook, lines of text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from gan_lessons.classroom.templating import template

_TABLE = template(
    "<table><thead><tr>\n"
    '{% for name in heads %}<th style="text-align: left">{{ name }}</th>{% endfor %}'
    "</tr></thead><tbody>\n"
    "{% for row in rows %}<tr>"
    '{% for cell in row %}<td style="text-align: left">{{ cell }}</td>{% endfor %}'
    "</tr>\n{% endfor %}</tbody></table>"
)


class Table:
    """``heads`` name the columns; every row has a cell for each."""

    def __init__(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.heads, self.rows = tuple(heads), [tuple(row) for row in rows]

    def __repr__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        cells = ([c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines)
        return "\n".join("  ".join(line).rstrip() for line in cells)

    def _repr_html_(self) -> str:
        return _TABLE.render(heads=self.heads, rows=self.rows)
