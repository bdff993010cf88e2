"""A lesson as a page: what code is folded, and what waits until a question was answered.

Plain data, no HTML. What is the point on a slide is the point on a page too: the tags of the slides
say which code is shown in full (``slides.shows_code``).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from gan_lessons.classroom.export.slides import (
    groups,
    heading,
    shows_code,
    slide_type,
    tags,
)

_SAYS = 60  # characters of a folded cell that are shown
NOT_ON_PAGE = "not-on-page"  # the tag of what means something only where it runs


@dataclass(frozen=True)
class Lid:
    """Stands above what answers the questions of ``groups``."""

    id: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A cell as the page shows it. kind: "prose", "code" or "notes".

    imports, source: its code in two parts, the second one ``folded`` or in full; ``says``: the line
    that stands for it. lid: it starts a part that waits, with the outputs of this cell; below: the
    id of the lid under which the cell (or, where it has the lid, its output) waits.
    """

    cell: Any
    kind: str
    imports: str = ""
    source: str = ""
    folded: bool = False
    asks: bool = False
    lid: Lid | None = None
    below: str = ""

    @property
    def imports_say(self) -> str:
        lines = (line.split() for line in self.imports.splitlines())
        return _cut(", ".join(words[1] for words in lines if words[:1] in (["import"], ["from"])))

    @property
    def says(self) -> str:
        """The last line in words, which is what the cell shows; of one that only imports, what."""
        last = next((x for x in reversed(self.source.splitlines()) if re.search(r"\w", x)), "")
        return _cut(last) or self.imports_say


def reading(notebook: Any, teacher: bool = False) -> list[Shown]:
    """The cells of ``notebook`` in order; notes only for a ``teacher``. Mutates nothing.

    Left out is what is of use only to who runs it: cells with the tag ``NOT_ON_PAGE``, and code on
    no slide that shows nothing (it prepares the computer).
    """
    waiting = _Waiting(notebook.cells)
    return [
        _shown(cell, *waiting.at(cell))
        for cell in notebook.cells
        if cell.source.strip() and (teacher or slide_type(cell) != "notes") and not _is_live(cell)
    ]


def _is_live(cell: Any) -> bool:
    prepares = cell.cell_type == "code" and slide_type(cell) == "skip" and not cell.get("outputs")
    return prepares or NOT_ON_PAGE in tags(cell)


def _shown(cell: Any, lid: Lid | None, below: str) -> Shown:
    if cell.cell_type != "code":
        is_prose = cell.cell_type == "markdown"
        kind = "notes" if slide_type(cell) == "notes" else "prose" if is_prose else ""
        return Shown(cell, kind, below=below)
    imports, source = without_imports(cell.source)
    point = shows_code(cell) or "raises-exception" in tags(cell)
    asks = bool(groups(cell, "question"))
    return Shown(cell, "code", imports, source, not point, asks, lid, below)


def without_imports(source: str) -> tuple[str, str]:
    """The imports that ``source`` begins with, and the rest. Both may be ""."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # IPython's own syntax
        return "", source
    last = 0
    for statement in body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            break
        last = statement.end_lineno or 0
    lines = source.splitlines()
    return "\n".join(lines[:last]), "\n".join(lines[last:]).strip("\n")


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _SAYS else f"{text[: _SAYS - 1]}…"


class _Waiting:
    """What waits below which lid, cell by cell.

    From a question to its answer every output may give it away, and so may what is written below
    such an output, up to the next heading or question. A question that is left open for more than a
    section beyond its own (a bet on the whole lesson) keeps nothing back but its answer.
    """

    def __init__(self, cells: list[Any]) -> None:
        self._answered = {group for cell in cells for group in groups(cell, "answers")}
        self._open: dict[str, int] = {}  # group -> the section that asks
        self._section = 0
        self._lids = 0
        self._lid: Lid | None = None

    def at(self, cell: Any) -> tuple[Lid | None, str]:
        """The lid that begins with this cell's outputs, if any; the id of that which covers it."""
        if cell.cell_type == "markdown" and heading(cell):
            self._section += slide_type(cell) == "slide"
            self._lid = None
        if cell.cell_type != "code":
            return None, self._lid.id if self._lid else ""
        asked, answers = (groups(cell, kind) for kind in ("question", "answers"))
        if asked:
            self._lid = None
            self._open |= dict.fromkeys(asked & self._answered, self._section)
            return None, ""
        near = {group for group, at in self._open.items() if at >= self._section - 1}
        self._open = {group: at for group, at in self._open.items() if group not in answers}
        return self._covered(near | answers if cell.get("outputs") else set())

    def _covered(self, waits: set[str]) -> tuple[Lid | None, str]:
        if self._lid and waits <= {*self._lid.groups}:
            return None, self._lid.id
        if not waits:
            return None, ""
        self._lids += 1
        self._lid = Lid(f"lid-{self._lids}", tuple(sorted(waits)))
        return self._lid, self._lid.id
