"""Lessons 09 and 11: no sentence without the cell that shows it."""

from __future__ import annotations

from pathlib import Path

import every_sentence
import nbformat
import pytest
from nbformat import NotebookNode

LESSONS = ("09-in-the-wild", "11-the-article-checked")


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_sentence_is_shown(lesson: str, root: Path, lesson_runs) -> None:
    executed = lesson_runs.of(root / "notebooks" / f"{lesson}.ipynb").notebook
    assert every_sentence.problems(every_sentence.read(lesson), executed) == []


def test_every_ledger_belongs_to_a_lesson() -> None:
    assert {path.stem for path in every_sentence.LEDGERS.iterdir()} == set(LESSONS)


@pytest.mark.parametrize("lesson", LESSONS)
def test_most_sentences_name_a_cell(lesson: str) -> None:
    """What a ledger lets pass as something else stays the smaller part."""
    entries = [e for table in every_sentence.read(lesson).values() for e in table.values()]
    assert sum(isinstance(entry, list) for entry in entries) > len(entries) / 2


# The check itself has to find what it looks for.


def executed(*prose: str) -> NotebookNode:
    """A lesson with these cells of prose, and one cell that prints three numbers."""
    code = nbformat.v4.new_code_cell("print(1, 2.5, 300)  # three numbers", id="shows")
    code.outputs = [nbformat.v4.new_output("stream", text="D moves by 1, 2.5 and 300\n")]
    texts = [nbformat.v4.new_markdown_cell(text, id=f"says{i}") for i, text in enumerate(prose)]
    return nbformat.v4.new_notebook(cells=[*texts, code])


def told(text: str, entry: object, prose: str | None = None) -> list[str]:
    return every_sentence.problems({"says0": {text: entry}}, executed(prose or text))


def test_a_sentence_that_its_cell_shows_is_no_problem() -> None:
    assert told("D moves by 2.5.", [["shows", r"moves by 1, 2\.5"]]) == []
    assert told("Three numbers.", [["shows code", "three numbers"]]) == []
    assert told("We call it S1.", "definition") == []
    text = "Look [there](https://example.org)."
    assert told(text, "source") == []


@pytest.mark.parametrize(
    ("text", "entry", "problem"),
    [
        ("D moves.", [["shows", "G moves"]], "shows does not show 'G moves'"),
        ("D moves.", [["gone", "D moves"]], "gone does not show 'D moves'"),
        ("Three numbers.", [["shows", "three numbers"]], "does not show"),
        ("D moves by 30.", [["shows", "D moves"]], "none of its cells shows 30"),
        ("D moves by 5.", [["shows", r"2\.5"]], "none of its cells shows 5"),
        ("D moves.", [], "no cell is named"),
        ("D moves.", "obvious", "'obvious' is none of definition, source, task"),
        ("As is known.", "source", "there is no link beside it"),
    ],
)
def test_a_sentence_that_nothing_shows_is_found(text: str, entry: object, problem: str) -> None:
    assert [problem in line for line in told(text, entry)] == [True]


def test_a_new_sentence_and_one_that_is_gone_are_found() -> None:
    found = told("D moves.", [["shows", "D moves"]], "D moves. G does not.")
    assert found == ["says0: not in the ledger: G does not."]
    assert told("D moves.", "task", "D stops.") == [
        "says0: not in the ledger: D stops.",
        "says0: in no cell of prose: D moves.",
    ]


def test_what_is_a_sentence() -> None:
    source = """## A heading

- **One** thing: `a. b` holds.
- Another (see
  below.) Why? It is 2.5 long, "so." It is.

Does it?
$x$ is. *Here.*"""
    assert every_sentence.sentences(source) == [
        "**One** thing: `a. b` holds.",
        "Another (see below.)",
        'It is 2.5 long, "so."',
        "It is.",
        "$x$ is.",
        "*Here.*",
    ]


def test_teacher_s_notes_are_not_asked() -> None:
    lesson = executed("They will say yes.")
    lesson.cells[0].metadata["slideshow"] = {"slide_type": "notes"}
    assert every_sentence.prose(lesson) == {}
