"""Exercises as assignments for nbgrader: what a learner fills in, and what is graded.

An exercise of a lesson has gaps and ends in a check; the solution stands below it. For nbgrader the
two become one cell, whose solution nbgrader takes out when it makes the learner's version, and a
locked cell that asks the same check again and fails unless it passes.
"""

from __future__ import annotations

import ast
import copy
from typing import Any

import nbformat

from gan_lessons.classroom.export.slides import slide_type, tags

POINTS = 1
# The learner keeps the lines with the gaps, so nothing has to stand where the solution was.
CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "gan-lessons"
c.ClearSolutions.code_stub = {"python": "# Fill in the dots above, then run this cell."}
c.ExecutePreprocessor.timeout = 600
"""
_SOLUTION = "{exercise}\n\n### BEGIN SOLUTION\n{solution}\n{given}\n### END SOLUTION"
_GRADED = """\
checked = {check}
assert checked.passed, str(checked)"""


def assignment(notebook: Any) -> str:
    """The notebook with nbgrader's metadata on its exercises, as JSON; "" where it has none.

    Without outputs and teacher's notes. Mutates nothing.
    """
    made = copy.deepcopy(notebook)
    cells, exercises, pending = [], 0, None
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "exercise" in tags(cell):
            pending = cell
            continue
        if "solution" in tags(cell) and pending is not None:
            exercises += 1
            cells += _graded(pending, cell, exercises)
            pending = None
            continue
        if slide_type(cell) != "notes":
            cells.append(cell)
    made.cells = cells
    return nbformat.writes(made) + "\n" if exercises else ""


def _graded(exercise: Any, solution: Any, number: int) -> list[Any]:
    """The cell to fill in, and the locked one that is graded."""
    mine, solved = _check(exercise.source), _check(solution.source)
    answer, graded = copy.deepcopy(exercise), copy.deepcopy(solution)
    answer.source = _SOLUTION.format(
        exercise=exercise.source,
        solution=_before_check(solution.source),
        given=_answer(mine, solved),
    )
    answer.metadata = _metadata(f"exercise-{number}", solution=True)
    graded.source = _GRADED.format(check=ast.unparse(mine))
    graded.metadata = _metadata(f"exercise-{number}-check", grade=True, locked=True, points=POINTS)
    return [answer, graded]


def _metadata(grade_id: str, **given: Any) -> Any:
    """As schema 3 of nbgrader wants it."""
    told = {"schema_version": 3, "grade_id": grade_id, "task": False}
    told |= {"solution": False, "grade": False, "locked": False}
    return nbformat.from_dict({"nbgrader": {**told, **given}, "tags": ["exercise"]})


def _check(source: str) -> ast.Call:
    """What the cell ends in: ``check_value(...)`` or ``check_step(...)``."""
    last = ast.parse(source).body[-1]
    if not isinstance(last, ast.Expr) or not isinstance(last.value, ast.Call):
        raise ValueError(f"an exercise must end in its check, this one ends in {ast.unparse(last)}")
    return last.value


def _before_check(source: str) -> str:
    lines = source.splitlines()
    return "\n".join(lines[: ast.parse(source).body[-1].lineno - 1]).rstrip()


def _answer(mine: ast.Call, solved: ast.Call) -> str:
    """The solution under the name that the exercise asks for: the first argument of its check."""
    name = next(node.id for node in ast.walk(mine.args[0]) if isinstance(node, ast.Name))
    return f"{name} = {ast.unparse(solved.args[0])}"
