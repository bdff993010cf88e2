"""What a teacher takes into the room: a plan, cards to vote with, a sheet to predict on, the key.

All of it is read off the lessons, which have run: their minutes and notes, what they ask, and what
they measured. The key is a file of its own, so that the rest can lie on any desk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_lessons.classroom.export.asked import LETTERS, Taught, taught
from gan_lessons.classroom.export.cheat_sheet import cheat_sheet_page
from gan_lessons.classroom.export.execute import Outcome
from gan_lessons.classroom.export.gift import gift
from gan_lessons.classroom.export.nbgrader_course import CONFIG, assignment
from gan_lessons.classroom.export.sheets import sheet

# How long -> (minutes, numbers of the lessons). A day is six hours of teaching; breaks come on top.
PLANS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "45 minutes": (45, ("02",)),
    "90 minutes": (90, ("02", "03")),
    "A day": (360, ("00", "01", "02", "03", "04", "05", "06", "08", "12")),
}


@dataclass(frozen=True)
class Plan:
    """``starts``: after how many minutes each lesson begins. ``free``: minutes that are left."""

    name: str
    lessons: tuple[Taught, ...]
    starts: tuple[int, ...]
    free: int


def plans(lessons: Sequence[Taught]) -> list[Plan]:
    """The plans that these lessons allow. Raises ValueError where one takes longer than it may."""
    return [_plan(name, lessons, *PLANS[name]) for name in PLANS]


def _plan(name: str, lessons: Sequence[Taught], most: int, numbers: tuple[str, ...]) -> Plan:
    chosen = tuple(one for one in lessons if one.lesson.number in numbers)
    starts = tuple(sum(one.minutes for one in chosen[:i]) for i in range(len(chosen)))
    total = sum(one.minutes for one in chosen)
    if total > most:
        text = (
            "the plan of {name} needs {total} minutes, as the teacher's notes of lessons {numbers} "
            "say; take one of them out of PLANS"
        )
        raise ValueError(text.format(name=name, total=total, numbers=", ".join(numbers)))
    return Plan(name, chosen, starts, most - total)


def cards(lessons: Sequence[Taught]) -> list[tuple[str, list[str]]]:
    """For each letter, which is an answer that somebody may choose, the lessons that need it."""
    most = {one.lesson.number: _most_options(one) for one in lessons}
    needed = LETTERS[: max(most.values(), default=0)]
    return [
        (letter, [number for number, count in most.items() if count > place])
        for place, letter in enumerate(needed)
    ]


def _most_options(one: Taught) -> int:
    return max((len(part.options) for asked in one.questions for part in asked.parts), default=0)


def pages(lessons: Sequence[Taught]) -> Iterator[tuple[str, str]]:
    """(name of the file, HTML) of each sheet."""
    yield "cheat-sheet", cheat_sheet_page()
    yield (
        "lesson-plan",
        sheet("lesson_plan.html.j2", title="Lesson plan", home="", plans=plans(lessons)),
    )
    voted = cards(lessons)
    sheets = [voted[i : i + 4] for i in range(0, len(voted), 4)]
    yield (
        "vote-cards",
        sheet("vote_cards.html.j2", title="Cards to vote with", home="", sheets=sheets),
    )
    for name, key, title in (
        ("predictions", False, "What do you predict?"),
        ("answer-key", True, "Answer key"),
    ):
        yield name, sheet("questions.html.j2", title=title, home="", key=key, lessons=lessons)


def write_handout(
    outcomes: Sequence[Outcome], folder: Path, write: Callable[[Path, str], None]
) -> None:
    """Write the handout to ``folder``. What could not run is left out."""
    ran = [outcome for outcome in outcomes if not outcome.error]
    lessons = [taught(outcome) for outcome in ran]
    for name, page in pages(lessons):
        write(folder / f"{name}.html", page)
    write(folder / "questions.gift.txt", gift(lessons))
    write(folder / "nbgrader" / "nbgrader_config.py", CONFIG)
    for outcome in ran:
        if text := assignment(outcome.notebook):
            name = outcome.path.stem
            write(folder / "nbgrader" / "source" / name / f"{name}.ipynb", text)
