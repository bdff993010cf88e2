"""How an exercise stands in a notebook beside its solution, so that the two never drift apart.

- A code cell tagged ``exercise`` holds gaps (``...``) and ends in a check. As shipped it runs
  without an exception and its check does not pass: it says "not answered yet".
- The next code cell is tagged ``solution``, has the metadata ``"jupyter": {"source_hidden": true}``
  (JupyterLab folds it down to its first line, so that is a comment) and ends in a check of its own.
  It is an ordinary cell: it runs with the rest, so a solution that no longer works breaks a test.
  It gives names of its own to what it defines (``solved_step`` beside ``my_step``), so it
  overwrites no answer.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any


def exercise_problems(notebook: Mapping[str, Any]) -> list[str]:
    """One line for every break of the convention above in an *executed* notebook; empty if none.

    notebook: as nbformat reads it, or the plain JSON. Nothing is run or changed.
    """
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code" and _source(c).strip()]
    problems: list[str] = []
    for i, cell in enumerate(cells):
        before = cells[i - 1] if i else None
        after = cells[i + 1] if i + 1 < len(cells) else None
        if "exercise" in _tags(cell):
            found = _exercise(cell, after)
        elif "solution" in _tags(cell):
            found = _solution(cell, before)
        else:
            continue
        name = next(iter(_source(cell).splitlines()))
        problems += [f"code cell {i} ({name[:40]!r}): {problem}" for problem in found]
    return problems


def _exercise(cell: Mapping[str, Any], after: Mapping[str, Any] | None) -> Iterator[str]:
    if after is None or "solution" not in _tags(after):
        yield "an exercise; the next code cell must be tagged 'solution'"
    results = _results(cell)
    if not results:
        yield "an exercise without a check (or one that raised, or was not run)"
    if any(result["passed"] for result in results):
        yield "an exercise that is solved already"


def _solution(cell: Mapping[str, Any], before: Mapping[str, Any] | None) -> Iterator[str]:
    if before is None or "exercise" not in _tags(before):
        yield "a solution; the code cell before it must be tagged 'exercise'"
    elif both := _names_given(_source(cell)) & _names_given(_source(before)):
        yield f"a solution that gives the exercise's names again: {', '.join(sorted(both))}"
    if cell["metadata"].get("jupyter", {}).get("source_hidden") is not True:
        yield 'a solution that is not folded; its metadata needs "jupyter": {"source_hidden": true}'
    if not _source(cell).lstrip().startswith("#"):
        yield "a solution whose first line, which shows when it is folded, is not a comment"
    results = _results(cell)
    if not results:
        yield "a solution without a check (or one that raised, or was not run)"
    if not all(result["passed"] for result in results):
        yield "a solution whose check does not pass"


def _results(cell: Mapping[str, Any]) -> list[dict[str, bool]]:
    found = (output.get("metadata", {}).get("gan_lessons") for output in cell["outputs"])
    return [result for result in found if result is not None]


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def _source(cell: Mapping[str, Any]) -> str:
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def _names_given(source: str) -> set[str]:
    """The names that a cell defines or assigns, outside of functions and classes."""
    names: set[str] = set()
    python = [line for line in source.splitlines() if not line.startswith(("%", "!"))]
    for statement in ast.parse("\n".join(python)).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
            continue
        stored = (n for n in ast.walk(statement) if isinstance(n, ast.Name))
        names |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    return names
