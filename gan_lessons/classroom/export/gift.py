"""Questions as GIFT, the text format from which Moodle takes a quiz."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

from gan_lessons.classroom.export.asked import LETTERS, Asked, Part, Taught

# What GIFT reads as its own, unless a backslash stands before it.
_SPECIAL = re.compile(r"([~=#{}:\\])")
_HEAD = "// Questions of gan-lessons; the answers are those that the lessons measured."


def gift(lessons: Iterable[Taught]) -> str:
    """All questions of these lessons, a category for each lesson."""
    return "\n\n".join([_HEAD, *(block for lesson in lessons for block in _lesson(lesson))]) + "\n"


def _lesson(taught: Taught) -> Iterator[str]:
    if taught.questions:
        title = re.sub(r"<[^>]+>|/", " ", str(taught.lesson.title))
        yield f"$CATEGORY: $course$/top/gan-lessons/{taught.lesson.number} {title}"
    for asked in taught.questions:
        several = len(asked.parts) > 1
        for letter, part in zip(LETTERS.lower(), asked.parts, strict=False):
            yield _question(f"{asked.number}{letter if several else ''}", asked, part)


def _question(number: str, asked: Asked, part: Part) -> str:
    label = f"<p><strong>{escape(part.label)}</strong></p>" if part.label else ""
    text = f"{asked.context}<p>{escape(asked.prompt)}</p>{label}"
    name = f"{number} {part.label or asked.prompt}"
    answers = "\n".join(_choices(part) if part.options else _number(part))
    return f"::{_text(name)}::[html]{_text(text)}{{\n{answers}\n{_everybody(part)}}}"


def _choices(part: Part) -> Iterator[str]:
    for _, option, right in part.lettered:
        told = part.if_wrong.get(option, "")
        feedback = f"#{_shown(told)}" if told else ""
        yield f"{'=' if right else '~'}{_shown(option)}{feedback}"


def _number(part: Part) -> Iterator[str]:
    yield "#"
    yield f"=%100%{part.truth['number']:.15g}:{part.truth['tolerance']:.15g}"
    for wrong, told in part.if_wrong.items():
        yield f"=%0%{wrong:.15g}:0#{_shown(told)}"


def _everybody(part: Part) -> str:
    """What all are told afterwards."""
    measured = part.truth["measured"]
    return f"####{_shown(measured)}\n" if measured != part.truth.get("option") else ""


def _shown(text: str) -> str:
    """Plain text, where GIFT expects HTML."""
    return _text(escape(text, quote=False))


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text.strip()).replace("\n", "\\n")
