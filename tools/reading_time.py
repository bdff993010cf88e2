"""How many minutes a lesson takes to work through, from what stands in it.

python tools/reading_time.py notebooks/*.ipynb          # what each takes, and what it says it takes
python tools/reading_time.py --fix notebooks/*.ipynb    # write the minutes where lessons name them

What counts: words of prose, lines of code, results to look at, predictions, exercises. Teacher's
notes are no reading of the learner's. What is for the curious is counted apart, a glossary not.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from gan_lessons.classroom.export import slide_type

# Prose is read at about 240 words a minute; with formulas and new words in it, at half of that.
WORDS_PER_MINUTE = 130
SECONDS_PER_LINE = 4  # of code, read to see what it does
SECONDS_PER_RESULT = 12  # a number, a table or a drawing, looked at
SECONDS_PER_PREDICTION = 45
MINUTES_PER_EXERCISE = 4
ROUNDED_TO = 5
CURIOUS = "For the curious"
LOOKED_UP = "Glossary"
SAME_EVERYWHERE = "ready"  # the first cell of every lesson: no reading of the lesson's
PREDICTIONS = ("predict_received(", "predict_choice(", "predict_number(")

UNREAD = re.compile(r"\]\([^)]*\)|<[^>]+>|\\[a-z]+")  # addresses, tags, and TeX's commands

STATED = re.compile(r"\*About (\d+) minutes(?:, and (\d+) for the curious)?\. ")
# The teacher's own minutes, and the plan that has to add up to them: "Plan: predict (4), run (3)."
TAUGHT = re.compile(r"\*\*Teacher, (\d+) minutes\.\*\*.*?\bPlan: (.*?)\n\n", re.DOTALL)


@dataclass
class Reading:
    """What there is to read, to look at and to do in one part of a lesson."""

    words: int = 0
    code_lines: int = 0
    results: int = 0
    predictions: int = 0
    exercises: int = 0

    def add(self, cell: Any) -> None:
        """Count one cell."""
        if cell.cell_type == "markdown":
            self.words += len(re.findall(r"[^\W_]+", UNREAD.sub(" ", cell.source)))
        elif "solution" not in cell.metadata.get("tags", []):
            lines = [line.strip() for line in cell.source.splitlines()]
            self.code_lines += sum(
                bool(line) and not line.startswith(("import ", "from ")) for line in lines
            )
            self.results += shows_something(cell.source)
            self.predictions += sum(cell.source.count(asked) for asked in PREDICTIONS)
            self.exercises += "exercise" in cell.metadata.get("tags", [])

    @property
    def exact(self) -> float:
        """Minutes."""
        seconds = (
            self.code_lines * SECONDS_PER_LINE
            + self.results * SECONDS_PER_RESULT
            + self.predictions * SECONDS_PER_PREDICTION
        )
        return self.words / WORDS_PER_MINUTE + seconds / 60 + self.exercises * MINUTES_PER_EXERCISE

    @property
    def minutes(self) -> int:
        """The same as a lesson names it."""
        return ROUNDED_TO * round(self.exact / ROUNDED_TO) or bool(self.words) * ROUNDED_TO


def shows_something(source: str) -> bool:
    """Does a code cell leave something below it? It prints, or it ends in an expression."""
    tree = ast.parse(source)
    run = [s for s in tree.body if not isinstance(s, ast.FunctionDef | ast.ClassDef)]
    calls = (n.func for s in run for n in ast.walk(s) if isinstance(n, ast.Call))
    prints = any(isinstance(called, ast.Name) and called.id == "print" for called in calls)
    return prints or (bool(tree.body) and isinstance(tree.body[-1], ast.Expr))


def readings(notebook: Any) -> tuple[Reading, Reading]:
    """(the lesson, what it has for the curious). A glossary is looked up, and not counted."""
    lesson, curious, lookup = Reading(), Reading(), Reading()
    part = lesson
    for cell in notebook.cells:
        heading = re.match(r"## (.+)", cell.source) if cell.cell_type == "markdown" else None
        if heading:
            part = {CURIOUS: curious, LOOKED_UP: lookup}.get(heading[1].split(":")[0], lesson)
        if slide_type(cell) != "notes" and cell.get("id") != SAME_EVERYWHERE:
            part.add(cell)
    return lesson, curious


def stated(notebook: Any) -> tuple[int, int] | None:
    """(minutes, minutes for the curious) that the first cell names; None if it does not."""
    found = STATED.search(notebook.cells[0].source)
    return (int(found[1]), int(found[2] or 0)) if found else None


def told(minutes: int, curious: int) -> str:
    """The sentence of the first cell."""
    if not curious:
        return "*About {minutes} minutes. ".format(minutes=minutes)
    text = "*About {minutes} minutes, and {curious} for the curious. "
    return text.format(minutes=minutes, curious=curious)


def row_of(name: str) -> re.Pattern[str]:
    """The row of a lesson in a table of lessons with a column of minutes."""
    return re.compile(
        rf"^(\| \[[^\]]+\]\((?:notebooks/)?{re.escape(name)}\) \| )(\d+)(?= \|)", re.M
    )


def problems(name: str, notebook: Any, overviews: dict[str, str]) -> Iterator[str]:
    """Each place that names other minutes for the lesson in file ``name`` than were counted.

    overviews: name -> text of what lists the lessons with their minutes.
    """
    lesson, curious = readings(notebook)
    counted = lesson.minutes, curious.minutes
    if (said := stated(notebook)) != counted:
        yield f"{name}: its first cell says {said} minutes (lesson, curious), counted: {counted}"
    notes = "\n".join(cell.source for cell in notebook.cells if slide_type(cell) == "notes")
    if taught := TAUGHT.search(notes):
        planned = sum(int(minutes) for minutes in re.findall(r"\((\d+)\b", taught[2]))
        if planned != int(taught[1]) or planned > lesson.minutes + curious.minutes:
            yield f"{name}: the teacher is told {taught[1]} minutes, the plan needs {planned}"
    for overview, text in overviews.items():
        row = row_of(name).search(text)
        if row and int(row[2]) != lesson.minutes:
            yield f"{name}: {overview} says {row[2]} minutes, counted: {lesson.minutes}"


def mend(notebook: Any) -> None:
    """Write the counted minutes into the first cell, in place."""
    lesson, curious = readings(notebook)
    first = notebook.cells[0]
    first.source = STATED.sub(told(lesson.minutes, curious.minutes), first.source)


def mended(text: str, minutes: dict[str, int]) -> str:
    """A table of lessons with these minutes in it; minutes: file -> minutes."""
    for name, number in minutes.items():
        text = row_of(name).sub(rf"\g<1>{number}", text)
    return text


def read_overviews(folder: Path) -> dict[str, str]:
    """What lists the lessons of ``folder``: the first lesson, and the README beside the folder."""
    files = sorted(folder.glob("00-*.ipynb"))
    texts = {path.name: "\n".join(c.source for c in read(path).cells) for path in files}
    readme = folder.parent / "README.md"
    return texts | ({readme.name: readme.read_text("utf-8")} if readme.is_file() else {})


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def fix(paths: list[Path]) -> None:
    """Write the minutes of these lessons into them and into what lists them."""
    minutes = {}
    for path in paths:
        notebook = read(path)
        mend(notebook)
        nbformat.write(notebook, path)
        minutes[path.name] = readings(notebook)[0].minutes
    for folder in {path.parent for path in paths}:
        for path in folder.glob("00-*.ipynb"):
            notebook = read(path)
            for cell in notebook.cells:
                cell.source = mended(cell.source, minutes)
            nbformat.write(notebook, path)
        readme = folder.parent / "README.md"
        if readme.is_file():
            readme.write_text(mended(readme.read_text("utf-8"), minutes), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--fix", action="store_true", help="write the minutes where they are named")
    options = parser.parse_args(arguments)
    if options.fix:
        fix(options.notebooks)
    wrong = 0
    for path in options.notebooks:
        notebook = read(path)
        for title, part in zip((path.name, "  for the curious"), readings(notebook), strict=True):
            if part.words:
                print(f"{title:36} {part.exact:5.1f} min: {part}")
        for problem in problems(path.name, notebook, read_overviews(path.parent)):
            print(problem)
            wrong += 1
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
