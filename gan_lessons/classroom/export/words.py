"""Words of a lesson that show a line of its explorer: ``[the cut](#at=fake.detach())``.

In the page, and in the notebook, ``static/explorer_text.js`` finds the line again by the same rule.
Here it is checked, when a page is built, that there is one, so that no such link goes stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from gan_lessons.classroom.export.markdown import TO_A_LINE
from gan_lessons.classroom.export.slides import heading, slide_type
from gan_lessons.classroom.repeats import again

_WORDS = re.compile(rf"\]\({TO_A_LINE}(\S+)\)")
_EXPLORER = re.compile(
    r'data-gl-explorer\b.*?<script type="application/json">(.*?)</script>', re.DOTALL
)


def require_lines(notebook: Any) -> None:
    """Raise ValueError for words whose line is not there, or not the only one, in each step that
    the explorer of their section shows; ``notebook`` has been executed."""
    for section in _sections(notebook.cells):
        wanted = [text for cell in section for text in _wanted(cell)]
        films = [film for cell in section for film in _films(cell)] if wanted else []
        if wanted and not films:
            message = "{link}{text} leads to an explorer, and its section has none"
            raise ValueError(message.format(link=TO_A_LINE, text=wanted[0]))
        for text in wanted:
            for film in films:
                _require_line(text, film)


def _require_line(text: str, film: Any) -> None:
    ran = {at for m in film["moments"] for at in range(m["line"], m["last"] + 1)}
    found = [at for at, line in enumerate(film["source"], 1) if text in line and at in ran]
    if len(found) != 1:
        message = (
            "{link}{text} leads to {n} lines of {title}; expected a part of exactly one that runs:"
            "\n{source}"
        )
        told = {"n": len(found), "title": film["title"], "source": "\n".join(film["source"])}
        raise ValueError(message.format(link=TO_A_LINE, text=text, **told))


def _sections(cells: list[Any]) -> Iterator[list[Any]]:
    """The cells from one heading that opens a section to the next."""
    found: list[Any] = []
    for cell in cells:
        if cell.cell_type == "markdown" and heading(cell) and slide_type(cell) == "slide":
            yield found
            found = []
        found.append(cell)
    yield found


def _wanted(cell: Any) -> list[str]:
    is_prose = cell.cell_type == "markdown"
    return [unquote(text) for text in _WORDS.findall(cell.source)] if is_prose else []


def _films(cell: Any) -> Iterator[Any]:
    for output in cell.get("outputs", []):
        for shown in _EXPLORER.findall(output.get("data", {}).get("text/html", "")):
            parts = json.loads(shown)
            yield from again(parts["data"], parts["repeats"])["films"].values()
