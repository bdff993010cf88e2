"""The rules every lesson notebook follows, and the mending that needs no thought.

python tools/notebook_rules.py notebooks/*.ipynb          # list what breaks a rule
python tools/notebook_rules.py --fix notebooks/*.ipynb    # first remove outputs and noise
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat

from gan_lessons.classroom.export import SHOW_CODE, SLIDE_TAGS, slide_type

MAX_CODE_LINES = 14
# A cell that goes on where the one before it stopped has no slide type: JupyterLab stores its "-"
# so, and jupyterlab-deck, which shows slides live, hides a cell in which "-" is written.
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "notes"}
UNSEEN = {"skip", "notes"}
CELL_METADATA = {"slideshow", "tags"}
FOLDED = {"source_hidden": True}
# What a reader's JupyterLab needs to open the file; all else is somebody's machine.
NOTEBOOK_METADATA: dict[str, Any] = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# Folders that only exist on the author's computer. /tmp is fine in an explanation, a home is not.
MACHINE_PATH = re.compile(
    r"(?<![\w.])(/(home|Users|root|work|opt|mnt|private|var)/[\w.-]+|[A-Za-z]:\\+Users\\+)"
)


def problems(notebook: Any) -> list[str]:
    """Return one line for every rule that ``notebook`` (a NotebookNode) breaks; empty if none."""
    ids = [cell.get("id") for cell in notebook.cells]
    if repeated := sorted({str(name) for name in ids if name and ids.count(name) > 1}):
        return [f"cell ids used more than once: {', '.join(repeated)}"]
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        return [f"not a valid notebook: {str(error).splitlines()[0]}"]
    return [*_notebook_problems(notebook), *_cell_problems(notebook), *_lonely(notebook)]


def _notebook_problems(notebook: Any) -> Iterator[str]:
    version = (notebook.nbformat, notebook.nbformat_minor)
    if version != (4, 5):
        yield f"format {version[0]}.{version[1]}, expected 4.5"
    if notebook.metadata != NOTEBOOK_METADATA:
        yield f"notebook metadata {dict(notebook.metadata)}, expected {NOTEBOOK_METADATA}"
    if notebook.cells and slide_type(notebook.cells[0]) != "slide":
        yield f"the first cell has the slide_type {slide_type(notebook.cells[0])!r}, not 'slide'"
    if not any(cell.cell_type == "code" and cell.source.strip() for cell in notebook.cells):
        yield "no code cell: there is nothing to run"


def _cell_problems(notebook: Any) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells):
        for problem in (*_stored_results(cell), *_form(cell)):
            yield f"{_where(number, cell)}: {problem}"


def _lonely(notebook: Any) -> Iterator[str]:
    """jupyterlab-deck 0.2 has no way to a subslide of one cell that another one follows."""
    shown = [(n, c) for n, c in enumerate(notebook.cells) if slide_type(c) not in UNSEEN]
    for (number, cell), (_, after) in pairwise(shown):
        if slide_type(cell) == slide_type(after) == "subslide":
            yield (
                f"{_where(number, cell)}: the only cell of its subslide, and the next is a subslide"
                " too: live slides cannot reach it. Give it a line of prose, or split it"
            )


def _where(number: int, cell: Any) -> str:
    first_line = next(iter(cell.source.splitlines()), "")
    return f"cell {number} ({cell.cell_type}, {first_line[:40]!r})"


def _stored_results(cell: Any) -> Iterator[str]:
    if cell.get("outputs"):
        yield "has outputs"
    if cell.get("execution_count") is not None:
        yield f"has execution count {cell.execution_count}"
    if cell.get("attachments"):
        yield "has attachments; make the picture with a cell"
    # A solution is stored folded; see gan_lessons.classroom.exercises.
    folded = cell.metadata.get("jupyter") == FOLDED and "solution" in cell.metadata.get("tags", [])
    if noise := set(cell.metadata) - CELL_METADATA - ({"jupyter"} if folded else set()):
        yield f"has metadata {sorted(noise)}, expected only {sorted(CELL_METADATA)}"


def _form(cell: Any) -> Iterator[str]:
    if "slideshow" in cell.metadata:
        written = cell.metadata["slideshow"].get("slide_type")
        if written not in SLIDE_TYPES:
            yield f"slide_type is {written!r}, expected one of {sorted(SLIDE_TYPES)}, or none"
    tags = {tag for tag in cell.metadata.get("tags", []) if tag.startswith("slide")}
    if unknown := tags - SLIDE_TAGS:
        yield f"has the tags {sorted(unknown)}; for slides there are {sorted(SLIDE_TAGS)}"
    if tags and cell.cell_type != "code":
        yield f"has the tags {sorted(tags)}, which are for code cells"
    if SHOW_CODE in tags and slide_type(cell) in UNSEEN:
        yield f"has the tag {SHOW_CODE} and is on no slide"
    lines = len(cell.source.splitlines())
    if cell.cell_type == "code" and lines > MAX_CODE_LINES:
        yield f"has {lines} lines, at most {MAX_CODE_LINES} fit; move the rest into the package"
    if found := MACHINE_PATH.search(cell.source):
        yield f"names a path of one machine: {found.group()}"


def clean(notebook: Any) -> None:
    """Remove from ``notebook``, in place, what running and saving it leaves behind."""
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        kind = slide_type(cell)
        tags = cell.metadata.get("tags")
        folded = cell.metadata.get("jupyter") == FOLDED and "solution" in (tags or [])
        cell.metadata = nbformat.from_dict({})
        if kind != "-":
            cell.metadata["slideshow"] = {"slide_type": kind}
        if tags:
            cell.metadata["tags"] = tags
        if folded:
            cell.metadata["jupyter"] = dict(FOLDED)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--fix", action="store_true", help="remove outputs and noise first")
    options = parser.parse_args(arguments)
    broken = 0
    for path in options.notebooks:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        if options.fix:
            clean(notebook)
            nbformat.write(notebook, path)
        for problem in problems(notebook):
            broken += 1
            print(f"{path}: {problem}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
