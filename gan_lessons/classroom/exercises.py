"""Exercises that check themselves: nothing is compared with a stored answer.

A value is compared with a measured one, a step (``step_checks``) with a step of the package that is
run beside it. An exercise that is still open does not stop "Run All": its check says "not answered
yet".

    my_answer = ...
    check_value(my_answer, {"G"})

How an exercise stands in a notebook beside its solution: see ``tools/exercise_rules.py``. In a page
without Python ``static/question.js`` asks for the values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gan_lessons.classroom.scoring import (
    NUMBER,
    UNREADABLE,
    checked_tolerance,
    finite,
    number_text,
    plain,
)
from gan_lessons.classroom.templating import template

# A check leaves its result in the output's metadata too, so that a test need not read words.
_METADATA = "gan_lessons"

# passed? None: not answered yet
_TITLE = {True: "✓ passed", False: "≠ not yet", None: "? not answered yet"}
_RIGHT = "Your answer is what was measured."
_NAMES_RIGHT = "Right: {names}."
_NAMES_EXTRA = "Not among them: {names}."
_NAMES_MISSING = "Still missing: {count}."
# What a page says in which the reader types the answer into a field.
_PAGE = {
    "passed": {"true": _TITLE[True], "false": _TITLE[False]},
    "answer": "Your answer",
    "check": "Check",
    "kinds": {
        "names": "names, with commas; empty for none",
        "number": "a number, to three digits",
        "bool": "True or False",
        "text": "a text",
    },
    "right": _RIGHT,
    "wrong": "That is not what was measured.",
    "namesRight": _NAMES_RIGHT,
    "namesExtra": _NAMES_EXTRA,
    "namesMissing": _NAMES_MISSING,
    "low": "Too small.",
    "high": "Too large.",
    "unreadable": UNREADABLE,
    "number": NUMBER,
}
_SHOWN = template("""\
<div data-gl-check="{{ state }}"{% if measured %} data-gl-truth="{{ measured }}"{% endif %}>
<div style="{{ bar(passed) }}"><strong>{{ title }}</strong>
<ul style="margin: 0">{% for text in messages %}<li>{{ text }}</li>{% endfor %}</ul></div></div>""")


@dataclass(frozen=True)
class Check:
    """What a self-check found. ``messages`` say it in words; ``answered`` is False for a gap.

    ``measured``: kind, truth and tolerance of a value that was answered right, for a page in which
    a reader without Python answers the same exercise.
    """

    passed: bool
    messages: tuple[str, ...]
    answered: bool = True
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def unanswered(cls, message: str) -> Check:
        return cls(False, (message,), answered=False)

    @property
    def title(self) -> str:
        return _TITLE[self.passed if self.answered else None]

    def __str__(self) -> str:
        return "\n  ".join([self.title, *self.messages])

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        page = _SHOWN.render(
            state=("passed" if self.passed else "failed") if self.answered else "open",
            measured=json.dumps({**self.measured, "ui": _PAGE}) if self.measured else "",
            passed=self.passed if self.answered else None,
            title=self.title,
            messages=self.messages,
        )
        result = {"passed": self.passed, "answered": self.answered}
        return {"text/plain": str(self), "text/html": page}, {_METADATA: result}


def check_value(answer: Any, truth: Any, *, tolerance: float = 0.0) -> Check:
    """Compare a learner's answer with a measured value, and hint without giving it away.

    truth: the value, or a function that measures it (called once there is an answer). A set, list
    or tuple of names is compared as a set; a number (also a 0-d tensor) may be off by
    ``tolerance``; True, False and texts must be equal. None, ``...`` or a collection that holds
    ``...`` is not answered yet.

    Raises TypeError or ValueError for a truth or a tolerance that cannot be compared with.
    """
    allowed = checked_tolerance(tolerance)
    if _has_gap(answer):
        return Check.unanswered("Put your answer where the dots are, then run this cell again.")
    truth, answer = plain(truth() if callable(truth) else truth), plain(answer)
    kind = _kind(truth)
    if kind is None:
        raise TypeError(
            f"check_value() got a {type(truth).__name__} as the truth; expected a set of names, "
            "a number, True or False, or a text"
        )
    if kind == "number":
        truth = finite("truth", truth)
    if told := _difference(answer, truth, kind, allowed):
        return Check(False, tuple(told))
    known = sorted(truth) if kind == "names" else truth
    return Check(True, (_RIGHT,), measured={"kind": kind, "truth": known, "tolerance": allowed})


def _has_gap(answer: Any) -> bool:
    if isinstance(answer, set | frozenset | list | tuple | dict):
        return any(item is Ellipsis for item in answer)
    return answer is None or answer is Ellipsis


# What an answer should be -> how to write it.
_KINDS = {
    "names": "a set, such as {'a', 'b'}",
    "number": "a number",
    "bool": "True or False",
    "text": "a text in quotes",
}


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    names = isinstance(value, Iterable) and not isinstance(value, Tensor)
    return "names" if names and all(isinstance(name, str) for name in value) else None


def _difference(answer: Any, truth: Any, kind: str, allowed: float) -> list[str]:
    """What is wrong, in sentences; none where the answer is right."""
    if _kind(answer) != kind:
        text = "The answer should be {expected}, yours is {got!r}."
        return [text.format(expected=_KINDS[kind], got=answer)]
    if kind == "names":
        return list(_names_differ(set(answer), set(truth)))
    if kind != "number":
        text = "Your answer {answer!r} is not what was measured."
        return [] if answer == truth else [text.format(answer=answer)]
    if not math.isfinite(answer):
        return ["Your answer is not a finite number."]
    text = "Your {answer} is too large (allowed difference: {tolerance})."
    if answer < truth:
        text = "Your {answer} is too small (allowed difference: {tolerance})."
    told = text.format(answer=number_text(answer), tolerance=number_text(allowed))
    return [] if abs(answer - truth) <= allowed else [told]


def _names_differ(answer: set[str], truth: set[str]) -> Iterator[str]:
    if answer != truth and (right := answer & truth):
        yield _NAMES_RIGHT.format(names=", ".join(sorted(right)))
    if extra := answer - truth:
        yield _NAMES_EXTRA.format(names=", ".join(sorted(extra)))
    if missing := truth - answer:
        yield _NAMES_MISSING.format(count=len(missing))
