"""All that ``diagnose`` says in the tests of its room, word for word: ``FILE.txt``.

What a test is there for it asserts by hand. This holds the rest, as ``tests/loops/told`` does for
the loops: what else is said of the same record, and that nothing else is, each line of evidence and
each name in a sentence. ``python -m tests.said`` writes it; whoever runs that reads what changed.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gan_lessons.lens.diagnose import Diagnosis
from tests.loops.whole import words

FOLDER = Path(__file__).parent
FILES = (
    "test_diagnose", "test_diagnose_facts", "test_diagnose_guards", "test_diagnose_judges",
    "test_diagnose_kept_gradients", "test_diagnose_left_open", "test_diagnose_loops",
    "test_diagnose_lost_terms", "test_diagnose_more_guards", "test_diagnose_one_guard",
    "test_diagnose_real_code", "test_diagnose_scaled_loss", "test_diagnose_signs",
    "test_diagnose_near_misses", "test_diagnose_stepped_on", "test_diagnose_left_out",
    "test_diagnose_thrown_away", "test_diagnose_lost_ways", "test_diagnose_whose_loss",
)  # fmt: skip
AS_IN = "(as in) "  # another test of the file
SHORT = 200  # characters that may stand there again
AGAIN = "(as above)"  # said of several records of one test: of each turn of a parameter, say


ANEW = False  # is it being written just now?


@contextlib.contextmanager
def noted() -> Iterator[list[Diagnosis]]:
    """The diagnoses that are made meanwhile."""
    made: list[Diagnosis] = []
    plain = Diagnosis.__init__

    def with_note(self: Diagnosis, *args: Any, **named: Any) -> None:
        plain(self, *args, **named)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Diagnosis, "__init__", with_note)
        yield made


def whole(made: list[Diagnosis]) -> str:
    """What a test said, in its order."""
    told: list[str] = []
    for text in map(words, made):
        told.append(AGAIN if text in told else text)
    return "\n\n".join(told)


def path_of(file: str) -> Path:
    return FOLDER / f"{file}.txt"


@functools.cache
def read(file: str) -> dict[str, str]:
    """The name of a test -> what it said."""
    parts = re.split(r"^### (.*)\n\n", path_of(file).read_text("utf-8"), flags=re.M)[1:]
    said = {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return {
        name: said[text.removeprefix(AS_IN)] if text.startswith(AS_IN) else text
        for name, text in said.items()
    }


def written(file: str, said: dict[str, str]) -> None:
    """A file anew. said: the name of a test -> what it said."""
    first: dict[str, str] = {}
    texts = []
    for name, text in said.items():
        before = first.setdefault(text, name) if len(text) > SHORT else name
        texts.append(f"### {name}\n\n{text if before == name else AS_IN + before}\n")
    path_of(file).write_text("\n".join(texts), encoding="utf-8")
