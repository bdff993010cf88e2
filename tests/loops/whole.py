"""All that ``diagnose`` says of each loop, word for word: ``told/FAMILY.txt``.

What a loop is there for is claimed beside it, by hand (``codes``, ``says``, ``advice``). This holds
the rest: each note, each line of evidence, each name and number in a sentence, so that no change of
them goes unseen. ``python -m tests.loops`` writes it; whoever runs that reads what changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gan_lessons.lens.diagnose import Diagnosis
from gan_lessons.lens.diagnose.finding_text import evidence

from .kit import LOOPS, Loop, Verdict

FOLDER = Path(__file__).with_name("told")
Judge = Callable[..., Verdict]  # ``kit.judge``, or one that remembers


def path_of(family: str) -> Path:
    return FOLDER / f"{family}.txt"


def whole(one: Loop, judge: Judge) -> str:
    """What is said of a loop, and what once it is mended."""
    told = [f"### {one.name}", words(judge(one).diagnosis)]
    if one.faulty:
        told += [f"### {one.name}, mended", words(judge(one, fixed=True).diagnosis)]
    return "\n\n".join(told)


def words(told: Diagnosis) -> str:
    """Without the numbers of lines, which move with what stands above them."""
    findings = [
        replace(
            one,
            message=_unnumbered(one.message),
            fix=_unnumbered(one.fix),
            evidence=tuple(map(_unnumbered, one.evidence)),
        )
        for one in told.findings
    ]
    return replace(told, findings=findings, stepped=tuple(map(_unnumbered, told.stepped))).text(
        evidence
    )


def _unnumbered(text: str) -> str:
    return re.sub(r"\bline \d+", "line …", text)


def wholes(family: str, judge: Judge) -> str:
    """A file."""
    mine = [one for one in LOOPS if one.family == family]
    return "\n\n".join(whole(one, judge) for one in mine) + "\n"


def read(family: str) -> dict[str, str]:
    """Of a file: the name of a loop -> what is told of it, as ``whole`` gives it."""
    parts = re.split(r"^(?=### (?!.*, mended$))", path_of(family).read_text("utf-8"), flags=re.M)
    return {part.splitlines()[0].removeprefix("### "): part.strip() for part in parts if part}
