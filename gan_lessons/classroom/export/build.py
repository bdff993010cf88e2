"""Build all decks, or the whole site: ``python -m gan_lessons.classroom.export.build slides``.

Every notebook runs once, and what it gave is used for its deck and its page. One that fails is
named with its cell and its error; the others are built all the same, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from gan_lessons.classroom.export.execute import Outcome, execute_all, write
from gan_lessons.classroom.export.exporters import GanPage, GanSlides
from gan_lessons.classroom.export.index import Lesson, index_page, lesson_of

KINDS = ("slides", "site", "all")


def main(arguments: list[str] | None = None) -> int:
    """Build what the command line asks for; returns the exit status."""
    options = _parser().parse_args(arguments)
    notebooks = sorted(options.notebooks.glob("[0-9]*.ipynb"))
    if not notebooks:
        print(f"there is no lesson in {options.notebooks}", file=sys.stderr)
        return 2
    start = time.monotonic()
    try:
        failures = build(options.kind, notebooks, options.build, jobs=options.jobs)
    except KeyboardInterrupt:
        print("interrupted; what was finished is complete", file=sys.stderr)
        return 130
    print(f"{time.monotonic() - start:.0f} s in all", flush=True)
    if failures:
        print(f"\nnot built ({len(failures)}):", *failures, sep="\n", file=sys.stderr)
    return 1 if failures else 0


def build(kind: str, notebooks: list[Path], folder: Path, *, jobs: int = 2) -> list[str]:
    """Write decks to ``folder/slides`` and, for "site" and "all", the site to ``folder/site``.

    Returns one line for everything that could not be built. Prints how far it is.
    """
    outcomes = execute_all(notebooks, folder / "executed", jobs=jobs, say=_say)
    failures = [outcome.error for outcome in outcomes if outcome.error]
    done = [outcome for outcome in outcomes if not outcome.error]
    if kind != "site":
        failures += _decks(done, folder / "slides", links=False)
    if kind != "slides":
        site = folder / "site"
        failures += _decks(done, site / "slides", links=True)
        failures += _pages(done, site)
    return failures


def _decks(outcomes: list[Outcome], folder: Path, *, links: bool) -> list[str]:
    exporter = GanSlides(with_links=links)
    return [
        failure
        for outcome in outcomes
        if (failure := _export(exporter, outcome, folder / f"{outcome.path.stem}.html"))
    ]


def _pages(outcomes: list[Outcome], folder: Path) -> list[str]:
    lessons = [lesson_of(outcome.path.stem, outcome.notebook) for outcome in outcomes]
    failures = []
    for i, outcome in enumerate(outcomes):
        exporter = GanPage(with_links=True)
        exporter.neighbours = (
            _neighbour(lessons[i - 1] if i else None),
            _neighbour(lessons[i + 1] if i + 1 < len(lessons) else None),
        )
        if failure := _export(exporter, outcome, folder / f"{outcome.path.stem}.html"):
            failures.append(failure)
    write(folder / "index.html", index_page(lessons))
    _say(f"wrote {folder / 'index.html'}")
    return failures


def _neighbour(lesson: Lesson | None) -> tuple[str, str] | None:
    return None if lesson is None else (f"{lesson.name}.html", lesson.title)


def _export(exporter: Any, outcome: Outcome, path: Path) -> str:
    """Write one page. Returns what went wrong, or ""."""
    where = {"metadata": {"name": outcome.path.stem, "path": str(outcome.path.parent)}}
    try:
        page, _ = exporter.from_notebook_node(outcome.notebook, where)
    except ValueError as error:  # a formula, or something that would be loaded
        return f"{outcome.path.name}: {error}"
    write(path, page)
    _say(f"wrote {path} ({len(page.encode()) / 1e6:.2f} MB)")
    return ""


def _say(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"))
    parser.add_argument("--build", type=Path, default=Path("build"), help="where to write")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks that run at a time")
    return parser


if __name__ == "__main__":
    sys.exit(main())
