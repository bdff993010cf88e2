"""Build all decks, or the whole site: ``python -m gan_lessons.classroom.export.build slides``.

Every notebook runs once, and what it gave is used for its deck and its page. One that fails is
named with its cell and its error, and is linked from nowhere; the others are built all the same,
and the exit status is 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gan_lessons.classroom.export.assets import require_slides
from gan_lessons.classroom.export.execute import Outcome, execute_all
from gan_lessons.classroom.export.exporters import GanPage, GanSlides
from gan_lessons.classroom.export.handout import write_handout
from gan_lessons.classroom.export.index import index_page, lesson_of
from gan_lessons.classroom.export.more_pages import Site, more_pages
from gan_lessons.classroom.export.search import search_page
from gan_lessons.classroom.lessons import lessons_folder
from gan_lessons.whole_file import write_whole

_say = partial(print, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line asks for; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:  # now, and not after the lessons have run
        require_slides()
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    notebooks = sorted(options.notebooks.glob("[0-9]*.ipynb"))
    if not notebooks:
        print("there is no lesson in {folder}".format(folder=options.notebooks), file=sys.stderr)
        return 2
    start = time.monotonic()
    try:
        failures = build(
            options.kind, notebooks, options.build, jobs=options.jobs, teacher=options.teacher
        )
    except KeyboardInterrupt:
        print("interrupted; what was finished is complete", file=sys.stderr)
        return 130
    except OSError as error:
        text = (
            "cannot write {path}: {reason}; what was finished is complete. Make room there, or "
            "choose another folder with --build."
        )
        print(
            text.format(path=error.filename or "standard output", reason=error.strerror),
            file=sys.stderr,
        )
        return 1
    _say("{seconds:.0f} s in all".format(seconds=time.monotonic() - start))
    if failures:
        print("\nnot built ({n}):".format(n=len(failures)), *failures, sep="\n", file=sys.stderr)
    return 1 if failures else 0


def slides_command(arguments: Sequence[str]) -> int:
    """``gan-lessons slides``; returns the exit status."""
    return main(["slides", *arguments])


def site_command(arguments: Sequence[str]) -> int:
    """``gan-lessons site``; returns the exit status."""
    return main(["site", *arguments])


def build(
    kind: str, notebooks: list[Path], folder: Path, *, jobs: int = 2, teacher: bool = False
) -> list[str]:
    """Write decks to ``folder/slides`` and, for "site" and "all", the site to ``folder/site``; for
    "handout" nothing but what a teacher prints, to ``folder/handout``.

    teacher: the site too has the teacher's notes, with answers; ``folder/slides`` always has them.
    Returns one line for every lesson that could not be built. Prints how far it is. Raises OSError
    for a file that cannot be written.
    """
    outcomes = execute_all(notebooks, folder / "executed", jobs=jobs, say=_say)
    if kind == "handout":
        write_handout(outcomes, folder / "handout", _write)
        return [outcome.error for outcome in outcomes if outcome.error]
    if kind != "site":
        outcomes = _decks(outcomes, folder / "slides", GanSlides())
    if kind != "slides":
        decks = GanSlides(with_links=True, teacher=teacher)
        outcomes = _decks(outcomes, folder / "site" / "slides", decks)
        outcomes = _pages(outcomes, folder / "site", GanPage(with_links=True, teacher=teacher))
    return [outcome.error for outcome in outcomes if outcome.error]


def _decks(outcomes: list[Outcome], folder: Path, exporter: GanSlides) -> list[Outcome]:
    return _each(outcomes, partial(_export, exporter, folder, {}))[1]


def _pages(outcomes: list[Outcome], folder: Path, exporter: GanPage) -> list[Outcome]:
    """The pages, all else that the site has, and the index. A page links to those beside it: when
    one fails, the others are made again without it."""
    while True:
        lessons, outcomes = _each(outcomes, lambda o: lesson_of(o.path.stem, o.notebook))
        line = [None, *lessons.values(), None]
        beside = {lesson.name: line[i : i + 3 : 2] for i, lesson in enumerate(lessons.values())}
        pages, outcomes = _each(outcomes, partial(_export, exporter, folder, beside))
        if len(pages) == len(lessons):
            break
    ran = {o.path.stem: o.notebook for o in outcomes if not o.error}
    site = Site(folder, ran, outcomes[0].path.resolve().parents[1] / "docs", _write)
    more = more_pages(site)
    _write(folder / "index.html", index_page(list(lessons.values()), more))
    _write(folder / "search.html", search_page(folder))
    return outcomes


def _each(
    outcomes: list[Outcome], make: Callable[[Outcome], Any]
) -> tuple[dict[str, Any], list[Outcome]]:
    """Name -> what ``make`` gives, for all lessons that have not failed; and who has by now."""
    made, after = {}, []
    for outcome in outcomes:
        try:
            if not outcome.error:
                made[outcome.path.stem] = make(outcome)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are built
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            outcome = replace(outcome, error=f"{outcome.path.name}: {kind}{error}")
        after.append(outcome)
    return made, after


def _export(exporter: Any, folder: Path, beside: dict[str, Any], outcome: Outcome) -> None:
    name = outcome.path.stem
    where = {"name": name, "path": str(outcome.path.parent)}
    told = {"metadata": where, "neighbours": beside.get(name)}
    page, _ = exporter.from_notebook_node(outcome.notebook, told)
    _write(folder / f"{name}.html", page)


def _write(path: Path, page: str) -> None:
    write_whole(path, page, make_folder=True)
    _say("wrote {path} ({size:.2f} MB)".format(path=path, size=len(page.encode()) / 1e6))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("slides", "site", "all", "handout"))
    parser.add_argument("--notebooks", type=Path, default=lessons_folder(), help="your own copies")
    parser.add_argument("--build", type=Path, default=Path("build"), help="where to write")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks that run at a time")
    parser.add_argument(
        "--teacher",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="put the teacher's notes, which have answers, into the site too",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the kernels as Ctrl-C does
    sys.exit(main())
