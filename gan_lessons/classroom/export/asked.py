"""The questions of an executed lesson as data: what is asked, of what, and what was measured.

They are read off what the notebook has put out, so a sheet, a key and a quiz hold what a learner
sees, and a truth that the lesson has measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bs4 import BeautifulSoup
from markupsafe import Markup, escape

from gan_lessons.classroom.export.execute import Outcome
from gan_lessons.classroom.export.index import Lesson, lesson_of
from gan_lessons.classroom.export.markdown import Markdown, page_link
from gan_lessons.classroom.export.slides import (
    Piece,
    Slide,
    arrange,
    heading,
    slide_type,
    tags,
    without_wrapper,
)
from gan_lessons.classroom.scoring import number_text

_WIDGET = re.compile(
    r'data-gl-(question|answers) data-gl-group="([^"]*)".*?'
    r'<script type="application/json">(.*?)</script>',
    re.DOTALL,
)
_TAUGHT = re.compile(r"\*\*Teacher, (\d+) minutes\.\*\*\s*")
LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Part:
    """One thing that is asked. ``label``: "" where it is the question itself. ``options``: texts;
    none for a number, in ``unit``. ``truth``: see ``scoring.judged``."""

    label: str
    options: tuple[str, ...]
    unit: str
    truth: dict[str, Any]

    @property
    def lettered(self) -> list[tuple[str, str, bool]]:
        """(letter, option, is it what was measured?)"""
        right = self.truth.get("option")
        return [(a, o, o == right) for a, o in zip(LETTERS, self.options, strict=False)]

    @property
    def if_wrong(self) -> dict[Any, str]:
        """Wrong answer, a text or a number -> a sentence for who gave it."""
        told = self.truth.get("if_wrong", ())
        return {wrong: text for wrong, text in told if wrong != self.truth.get("option")}

    @property
    def misled(self) -> list[tuple[str, str]]:
        """The same, each answer as people write it."""
        return [
            (wrong if isinstance(wrong, str) else number_text(wrong), text)
            for wrong, text in self.if_wrong.items()
        ]


@dataclass(frozen=True)
class Asked:
    """A question of a lesson. ``number``: "02.1". ``context``: HTML of what its slide shows before
    it, and of the code it is about."""

    number: str
    prompt: str
    parts: tuple[Part, ...]
    context: Markup


@dataclass(frozen=True)
class Taught:
    """A lesson for who teaches it.

    ``minutes``: 0 where its notes name none. ``opening``, ``notes``: the teacher's notes as HTML,
    those of the whole lesson and, by heading, of its sections.
    """

    lesson: Lesson
    minutes: int
    opening: Markup
    notes: tuple[tuple[Markup, Markup], ...]
    questions: tuple[Asked, ...]


def taught(outcome: Outcome) -> Taught:
    """Read a lesson that has run. Raises ValueError for a question that it never answers."""
    notebook, name = outcome.notebook, outcome.path.stem
    html = Markdown(page_link, ids=False)
    first, *others = [(at, _notes(cell)) for at, cell in _notes_of(notebook)] or [("", "")]
    minutes = _TAUGHT.search(first[1])
    return Taught(
        lesson_of(name, notebook),
        int(minutes[1]) if minutes else 0,
        html(_TAUGHT.sub("", first[1])),
        tuple((html.inline(at), html(text)) for at, text in others),
        tuple(_questions(notebook, name.partition("-")[0], html)),
    )


def _notes_of(notebook: Any) -> Iterator[tuple[str, Any]]:
    """(heading above it, cell) of each teacher's note."""
    above = ""
    for cell in notebook.cells:
        if slide_type(cell) == "notes":
            yield above, cell
        elif cell.cell_type == "markdown":
            above = heading(cell) or above


def _notes(cell: Any) -> str:
    return without_wrapper(cell.source)


def _questions(notebook: Any, number: str, html: Markdown) -> Iterator[Asked]:
    asked: dict[str, tuple[Any, Slide]] = {}
    truths: dict[str, list[dict[str, Any]]] = {}
    slides = [slide for stack in arrange(notebook) for slide in stack.slides]
    for slide in slides:
        for kind, group, data, state in _widgets(slide):
            if kind == "question":
                asked[group] = data, slide
            else:
                truths.setdefault(group, state["measured"])
    if lost := asked.keys() - truths.keys():
        text = "lesson {number} asks {prompt!r} and never compares it with what was measured"
        raise ValueError(text.format(number=number, prompt=asked[min(lost)][0]["prompt"]))
    for place, (group, (data, slide)) in enumerate(asked.items(), 1):
        pairs = zip(data["items"], truths[group], strict=True)
        parts = tuple(
            Part(
                "" if item["label"] == data["prompt"] else item["label"],
                tuple(item["options"]),
                item["unit"],
                truth,
            )
            for item, truth in pairs
        )
        context = Markup("").join(_context(slide, group, html))
        yield Asked(f"{number}.{place}", data["prompt"], parts, context)


def _widgets(slide: Slide) -> Iterator[tuple[str, str, Any, Any]]:
    for cell in slide.cells:
        for text in _html_of(cell):
            for kind, group, payload in _WIDGET.findall(text):
                found = json.loads(payload)
                yield kind, group, found["data"], found["state"]


def _context(slide: Slide, group: str, html: Markdown) -> Iterator[Markup]:
    """The code that the question is about, then the words and the code above it on its slide."""
    pieces = slide.beside + [piece for part in slide.parts for piece in part.pieces]
    for piece in pieces:
        if any(f'data-gl-group="{group}"' in text for text in _html_of(piece.cell)):
            return
        if piece.cell.cell_type == "markdown":
            yield html(piece.cell.source)
        else:
            yield from map(_listing, _code(piece))


def _code(piece: Piece) -> Iterator[str]:
    if piece.source and "slide-code" in tags(piece.cell):
        yield piece.cell.source
    if piece.outputs:
        for text in _html_of(piece.cell):
            for block in BeautifulSoup(text, "html.parser").select("div.highlight"):
                yield block.get_text().strip("\n")


def _listing(code: str) -> Markup:
    return Markup("<pre><code>{code}</code></pre>").format(code=escape(code))


def _html_of(cell: Any) -> list[str]:
    return [out.get("data", {}).get("text/html", "") for out in cell.get("outputs", [])]
