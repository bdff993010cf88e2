"""From a notebook's slideshow metadata to slides: what stands where, and what is left out.

Plain data, no HTML. The slide types are those of Jupyter: ``slide`` opens a stack, ``subslide`` the
next slide of it, ``fragment`` a part that appears on the next key, ``notes`` are for the teacher,
``skip`` leaves a cell out, and ``-``, stored as no type, goes on where the cell before it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# On a slide code is hidden unless it is the point; then its cell has this tag.
SHOW_CODE = "slide-code"
# The output is said on another slide, or is only of use to who runs the cell.
HIDE_OUTPUT = "slide-hide-output"
# The next question is about this code: it is shown again beside the question.
ASKED_ABOUT = "slide-asked"
# An explorer before a question keeps to itself what the step costs: the templates look for the tag.
NO_TOTALS = "slide-no-totals"
SLIDE_TAGS = {SHOW_CODE, HIDE_OUTPUT, ASKED_ABOUT, NO_TOTALS}
SOLUTION = "Solution"  # stands above one

Cell = Any  # a NotebookNode: its fields are attributes, which mypy cannot know

_WRAPPER = re.compile(r"^\s*<details>\s*<summary>.*?</summary>|</details>\s*$", re.DOTALL)
_HEADING = re.compile(r"^(#{1,3})\s+(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """What a cell puts on a slide: its ``source``, its ``outputs``, or both."""

    cell: Cell
    source: bool
    outputs: bool


@dataclass
class Part:
    """Pieces that appear together; a fragment appears on a key of its own."""

    fragment: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def cells(self) -> list[Cell]:
        return [piece.cell for piece in self.pieces]


@dataclass
class Slide:
    """One screen. ``running``: the title of its section, where it has no heading of its own.
    ``beside``: the code that its question is about, where that stands on a slide before."""

    anchor: str
    running: str = ""
    parts: list[Part] = field(default_factory=lambda: [Part()])
    beside: list[Piece] = field(default_factory=list)

    @property
    def cells(self) -> list[Cell]:
        return [cell for part in self.parts for cell in part.cells]

    def add(self, piece: Piece, *, waits: bool) -> None:
        """Put it below the rest. ``waits``: until the next key, and so does all that follows."""
        if waits and (self.parts[-1].pieces or not self.parts[-1].fragment):
            self.parts.append(Part(fragment=True))
        self.parts[-1].pieces.append(piece)


@dataclass
class Stack:
    """The slides of one section. Its ``notes`` (Markdown) are shown to the teacher on each."""

    slides: list[Slide] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def arrange(notebook: Any) -> list[Stack]:
    """The stacks of slides of ``notebook``, in order. Mutates nothing.

    Cells that would show nothing (code hidden and no output) are left out, and so is a slide
    that only had such cells. What may answer a question waits for a key: see ``_Asked``.
    """
    stacks: list[Stack] = []
    anchors, asked = Anchors(), _Asked(notebook.cells)
    for number, cell in enumerate(notebook.cells):
        kind = slide_type(cell)
        if kind == "skip":
            continue
        if kind == "notes":
            if stacks:
                stacks[-1].notes.append(without_wrapper(cell.source))
            continue
        if kind == "slide" or not stacks:
            stacks.append(Stack())
        stack = stacks[-1]
        if kind in ("slide", "subslide") or not stack.slides:
            stack.slides.append(Slide(anchors.of(heading(cell)) or f"cell-{number}"))
        elif kind == "fragment":
            stack.slides[-1].parts.append(Part(fragment=True))
        for piece, waits in asked.pieces(cell, len(stacks)):
            stack.slides[-1].add(piece, waits=waits)
        stack.slides[-1].beside += asked.about(cell, stack.slides[-1])
    return list(_filled(stacks))


class _Asked:
    """The questions that have been asked and not been answered yet.

    Until then an output may give the answer away, so it waits for a key of its own, and what stands
    below it on its slide waits with it. So does the answer. A question that is left open for more
    than a section beyond its own (a bet on the whole lesson) keeps nothing back but its answer.
    """

    def __init__(self, cells: list[Cell]) -> None:
        shown = [cell for cell in cells if slide_type(cell) != "skip"]
        self._answered = {group for cell in shown for group in groups(cell, "answers")}
        self._open: dict[str, int] = {}  # group -> the section that asks
        self._about: list[Piece] = []

    def pieces(self, cell: Cell, section: int) -> Iterator[tuple[Piece, bool]]:
        """What the cell puts on its slide, and does it wait?"""
        if cell.cell_type != "code":
            if cell.source.strip():
                yield Piece(cell, source=True, outputs=False), False
            return
        questions, answers = (groups(cell, kind) for kind in ("question", "answers"))
        near = any(asked >= section - 1 for asked in self._open.values())
        waits = bool(answers) or (near and not questions)
        self._open |= dict.fromkeys(questions & self._answered, section)
        self._open = {group: at for group, at in self._open.items() if group not in answers}
        source = bool(cell.source.strip()) and shows_code(cell)
        if waits and shows_output(cell):
            if source:
                yield Piece(cell, source=True, outputs=False), False
            yield Piece(cell, source=False, outputs=True), True
        elif source or shows_output(cell):
            yield Piece(cell, source=source, outputs=shows_output(cell)), False

    def about(self, cell: Cell, slide: Slide) -> list[Piece]:
        """The code that a question in ``cell`` is about, unless its ``slide`` shows it already."""
        if ASKED_ABOUT in tags(cell):
            self._about.append(Piece(cell, source=shows_code(cell), outputs=not shows_code(cell)))
        if cell.cell_type != "code" or not groups(cell, "question"):
            return []
        about, self._about = self._about, []
        return [piece for piece in about if piece.cell not in slide.cells]


def slide_type(cell: Cell) -> str:
    return str(cell.metadata.get("slideshow", {}).get("slide_type") or "-")


def tags(cell: Cell) -> list[str]:
    return list(cell.metadata.get("tags", []))


def shows_code(cell: Cell) -> bool:
    """Is the source of this code cell shown on its slide?"""
    return bool({SHOW_CODE, "exercise", "solution"} & set(tags(cell)))


def shows_output(cell: Cell) -> bool:
    return bool(cell.get("outputs")) and HIDE_OUTPUT not in tags(cell)


def groups(cell: Cell, kind: str) -> set[str]:
    """The groups of the "question" or "answers" widgets in the outputs: who answers whom."""
    pattern = re.compile(rf'data-gl-{kind}(?: data-gl-group="([^"]*)")?[ >]')
    texts = (out.get("data", {}).get("text/html", "") for out in cell.get("outputs", []))
    return {found or "" for text in texts for found in pattern.findall(text)}


def without_wrapper(notes: str) -> str:
    """Teacher's notes without the ``<details>`` that folds them away in JupyterLab."""
    return _WRAPPER.sub("", notes).strip()


def heading(cell: Cell) -> str:
    """The text of the first heading (levels 1 to 3) of a Markdown cell, or ""."""
    if cell.cell_type == "code":
        return SOLUTION if "solution" in tags(cell) else ""
    found = _HEADING.search(cell.source)
    return found[2] if found else ""


def title(notebook: Any) -> str:
    """The first heading without its marks, or ""."""
    return re.sub(r"[`*]", "", next(filter(None, map(heading, notebook.cells)), ""))


class Anchors:
    """Ids for headings, as JupyterLab makes them; the second of two alike gets a number."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def of(self, text: str) -> str:
        """The id for a heading's text: spaces become hyphens, Markdown's marks go. "" for ""."""
        anchor = re.sub(r"\s+", "-", re.sub(r"[`*<>\"&]", "", text).strip())
        if not anchor:
            return ""
        self._used[anchor] = count = self._used.get(anchor, 0) + 1
        return anchor if count == 1 else f"{anchor}-{count}"


def _filled(stacks: list[Stack]) -> Iterator[Stack]:
    """Without empty slides and parts, and with the running title where one is needed."""
    for stack in stacks:
        latest = ""
        for slide in stack.slides:
            slide.parts = [part for part in slide.parts if part.pieces]
            headings = [found for cell in slide.cells if (found := heading(cell))]
            if slide.cells and not heading(slide.cells[0]):
                slide.running = latest
            latest = headings[-1] if headings else latest
        stack.slides = [slide for slide in stack.slides if slide.parts]
        if stack.slides:
            yield stack
