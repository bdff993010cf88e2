"""A small reader of GIFT, Moodle's format for questions, after its documentation.

It knows what Moodle reads as its own: ``::name::``, ``[html]``, ``{ }`` with ``=``, ``~`` and
``#``, and that a backslash takes the meaning away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_QUESTION = re.compile(
    r"::(?P<name>(?:\\.|[^\\:])+)::\[html\](?P<text>(?:\\.|[^\\{}=~#])+)"
    r"\{(?P<answers>(?:\\.|[^\\{}])*)\}\Z"
)
_ANSWER = re.compile(r"([=~])((?:\\.|[^\\=~#\n])+)(?:#((?:\\.|[^\\=~#\n])*))?\n")


@dataclass
class Question:
    """``right``, ``wrong``: answer -> feedback; of a number the answer is (value, tolerance)."""

    category: str
    name: str
    text: str
    right: dict = field(default_factory=dict)
    wrong: dict = field(default_factory=dict)


def read(source: str) -> list[Question]:
    """All questions. Raises ValueError, with the block, for what is not GIFT."""
    found, category = [], ""
    for block in re.split(r"\n\s*\n", source.strip()):
        if block.startswith("//"):
            continue
        if block.startswith("$CATEGORY: "):
            category = block.removeprefix("$CATEGORY: ")
            continue
        match = _QUESTION.match(block)
        if match is None:
            raise ValueError(f"not GIFT: {block}")
        found.append(_question(category, match))
    return found


def _question(category, match):
    question = Question(category, plain(match["name"]), plain(match["text"]))
    answers, _, _ = match["answers"].lstrip("\n").partition("####")
    numeric = answers.startswith("#\n")
    left = answers[2:] if numeric else answers
    for sign, answer, feedback in _ANSWER.findall(left):
        left = left.replace(f"{sign}{answer}{f'#{feedback}' if feedback else ''}\n", "", 1)
        weight = re.match(r"%(\d+)%", answer) if numeric else None
        value = answer[weight.end() :] if weight else answer
        key = tuple(map(float, value.split(":"))) if numeric else plain(value)
        good = sign == "=" and (weight is None or weight[1] == "100")
        (question.right if good else question.wrong)[key] = plain(feedback)
    if left.strip() or not question.right:
        raise ValueError(f"not GIFT, left over {left!r}: {match[0]}")
    return question


def plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)
