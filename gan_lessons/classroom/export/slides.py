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
SLIDE_TAGS = {SHOW_CODE, HIDE_OUTPUT}
SOLUTION = "Solution"  # stands above one

Cell = Any  # a NotebookNode: its fields are attributes, which mypy cannot know

_WRAPPER = re.compile(r"^\s*<details>\s*<summary>.*?</summary>|</details>\s*$", re.DOTALL)
_HEADING = re.compile(r"^(#{1,3})\s+(.+?)\s*$", re.MULTILINE)


@dataclass
class Part:
    """Cells that appear together; a fragment appears on a key of its own."""

    fragment: bool = False
    cells: list[Cell] = field(default_factory=list)


@dataclass
class Slide:
    """One screen. ``running``: the title of its section, where it has no heading of its own."""

    anchor: str
    running: str = ""
    parts: list[Part] = field(default_factory=lambda: [Part()])

    @property
    def cells(self) -> list[Cell]:
        return [cell for part in self.parts for cell in part.cells]


@dataclass
class Stack:
    """The slides of one section. Its ``notes`` (Markdown) are shown to the teacher on each."""

    slides: list[Slide] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def arrange(notebook: Any) -> list[Stack]:
    """The stacks of slides of ``notebook``, in order. Mutates nothing.

    Cells that would show nothing (code hidden and no output) are left out, and so is a slide
    that only had such cells.
    """
    stacks: list[Stack] = []
    anchors = Anchors()
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
        if shows_anything(cell):
            stack.slides[-1].parts[-1].cells.append(cell)
    return list(_filled(stacks))


def slide_type(cell: Cell) -> str:
    return str(cell.metadata.get("slideshow", {}).get("slide_type") or "-")


def tags(cell: Cell) -> list[str]:
    return list(cell.metadata.get("tags", []))


def shows_code(cell: Cell) -> bool:
    """Is the source of this code cell shown on its slide?"""
    return bool({SHOW_CODE, "exercise", "solution"} & set(tags(cell)))


def shows_output(cell: Cell) -> bool:
    return bool(cell.get("outputs")) and HIDE_OUTPUT not in tags(cell)


def is_answer(cell: Cell) -> bool:
    """Do the outputs answer a prediction? Then they appear on a key of their own."""
    return any(
        "data-gl-answers" in out.get("data", {}).get("text/html", "") for out in cell.outputs
    )


def shows_anything(cell: Cell) -> bool:
    if cell.cell_type == "code":
        return bool(cell.source.strip()) and (shows_code(cell) or shows_output(cell))
    return bool(cell.source.strip())


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
            slide.parts = [part for part in slide.parts if part.cells]
            headings = [found for cell in slide.cells if (found := heading(cell))]
            if slide.cells and not heading(slide.cells[0]):
                slide.running = latest
            latest = headings[-1] if headings else latest
        stack.slides = [slide for slide in stack.slides if slide.parts]
        if stack.slides:
            yield stack
