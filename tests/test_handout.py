"""What a teacher prints: read off lessons that have run, and the same as what learners see."""

import ast
import copy
from html import unescape
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from reading_time import TAUGHT

from gan_lessons.classroom.export import handout
from gan_lessons.classroom.export.asked import Part, taught
from gan_lessons.classroom.export.execute import Outcome
from gan_lessons.classroom.export.gift import gift
from gan_lessons.classroom.export.nbgrader_course import CONFIG, assignment
from tests import gift_grammar


@pytest.fixture(scope="module")
def outcomes(root, lesson_runs):
    paths = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    return [Outcome(path, run.notebook) for path, run in lesson_runs.all(paths).items()]


@pytest.fixture(scope="module")
def lessons(outcomes):
    return [taught(outcome) for outcome in outcomes]


def asked_in(path):
    cells = nbformat.read(path, as_version=4).cells
    calls = (n for c in cells if c.cell_type == "code" for n in ast.walk(ast.parse(c.source)))
    names = [n.func.id for n in calls if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return sum(name.startswith("predict_") for name in names)


def test_every_prediction_of_a_lesson_is_there_with_what_was_measured(outcomes, lessons):
    for outcome, lesson in zip(outcomes, lessons, strict=True):
        assert len(lesson.questions) == asked_in(outcome.path)
        parts = [part for asked in lesson.questions for part in asked.parts]
        for part in parts:
            assert sum(right for *_, right in part.lettered) == bool(part.options)
            assert part.options or "number" in part.truth


def test_minutes_and_notes_are_the_lessons_own(outcomes, lessons):
    for outcome, lesson in zip(outcomes, lessons, strict=True):
        notes = "\n".join(cell.source for cell in outcome.notebook.cells)
        stated = TAUGHT.search(notes)
        if stated:
            assert lesson.minutes == int(stated[1])
        assert lesson.minutes > 0
        told = [text for _, text in lesson.notes]
        assert all("<summary>" not in text for text in told)


def test_a_question_that_is_never_answered_is_refused(outcomes):
    notebook = copy.deepcopy(outcomes[0].notebook)
    for cell in notebook.cells:
        if ".compare(" in cell.source:
            cell.outputs = []
    with pytest.raises(ValueError, match="never compares it"):
        taught(Outcome(Path("00-start-here.ipynb"), notebook))


def test_gift_is_gift_and_says_what_was_measured(lessons):
    source = gift(lessons)
    read = iter(gift_grammar.read(source))
    for lesson in lessons:
        for asked in lesson.questions:
            for part in asked.parts:
                question = next(read)
                assert lesson.lesson.number in question.category
                assert question.name.startswith(asked.number)
                assert asked.prompt in unescape(question.text)
                _same(part, question)
    assert next(read, None) is None


def _same(part: Part, question):
    if part.options:
        assert {unescape(o) for o in question.right} == {part.truth["option"]}
        assert {unescape(o) for o in question.wrong} == {*part.options} - {part.truth["option"]}
        feedback = {unescape(o): unescape(f) for o, f in question.wrong.items() if f}
        assert feedback == part.if_wrong
    else:
        assert [*question.right] == [(part.truth["number"], part.truth["tolerance"])]
        assert {value for value, _ in question.wrong} == {*part.if_wrong}


def test_the_code_that_is_asked_about_stands_in_the_question(lessons):
    clinic = next(one for one in lessons if one.lesson.number == "08").questions
    assert all("<pre>" in asked.context and "def " in asked.context for asked in clinic)


@pytest.mark.parametrize("text", ["a = b: {c} ~ d # e", "back\\slash", "two\nlines"])
def test_what_gift_would_read_as_its_own_is_escaped(text, lessons):
    part = Part("", (text, "other"), "", {"option": "other", "measured": "other"})
    asked = type(lessons[0].questions[0])("99.1", text, (part,), lessons[0].questions[0].context)
    one = type(lessons[0])(lessons[0].lesson, 1, "", (), (asked,))
    (question,) = gift_grammar.read(gift([one]))
    assert unescape(next(iter(question.wrong))) == text
    assert question.name == f"99.1 {text}"


def test_plans_fit_into_their_minutes(lessons):
    made = handout.plans(lessons)
    for plan, (most, numbers) in zip(made, handout.PLANS.values(), strict=True):
        assert tuple(one.lesson.number for one in plan.lessons) == numbers
        assert plan.free >= 0
        assert plan.starts[-1] + plan.lessons[-1].minutes + plan.free == most


def test_a_plan_that_is_too_long_is_refused(lessons, monkeypatch):
    monkeypatch.setattr(handout, "PLANS", {"A quarter": (15, ("00", "08"))})
    with pytest.raises(ValueError, match="needs 55 minutes"):
        handout.plans(lessons)


def test_the_key_is_a_file_of_its_own(lessons):
    made = {name: BeautifulSoup(page, "html.parser") for name, page in handout.pages(lessons)}
    assert set(made) == {"cheat-sheet", "lesson-plan", "vote-cards", "predictions", "answer-key"}
    count = sum(len(lesson.questions) for lesson in lessons)
    for name in ("predictions", "answer-key"):
        assert len(made[name].select("article")) == count
    parts = sum(len(asked.parts) for lesson in lessons for asked in lesson.questions)
    assert len(made["answer-key"].select(".right")) == parts
    assert not made["predictions"].select(".right, .notes, .wrong")
    assert not made["lesson-plan"].select(".right, .notes, .wrong")
    options = max(len(p.options) for one in lessons for q in one.questions for p in q.parts)
    letters = [card.get_text() for card in made["vote-cards"].select(".letter")]
    assert letters == list("ABCDEFGHIJ")[:options]


def test_exercises_carry_what_nbgrader_asks_for(outcomes):
    for outcome in outcomes:
        notebook = outcome.notebook
        exercises = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", [])]
        made = nbformat.reads(assignment(notebook), as_version=4)
        nbformat.validate(made)
        given = [c for c in made.cells if "nbgrader" in c.metadata]
        assert len(given) == 2 * len(exercises)
        ids = [c.metadata.nbgrader.grade_id for c in given]
        assert len(set(ids)) == len(ids)
        assert not any("solution" in c.metadata.get("tags", []) for c in made.cells)
        for answer, check in zip(given[::2], given[1::2], strict=True):
            _schema_3(answer.metadata.nbgrader, solution=True)
            _schema_3(check.metadata.nbgrader, grade=True, locked=True, points=1)
            before, solution, after = _parts(answer.source)
            assert before.strip() in [exercise.source for exercise in exercises]
            ast.parse(solution)
            assert after == ""
            assert "assert checked.passed" in check.source


def _schema_3(told, **given):
    """As nbgrader's own validator has it: these keys and no others; points where it is graded."""
    plain = {"schema_version": 3, "task": False, "solution": False, "grade": False, "locked": False}
    assert {k: v for k, v in told.items() if k != "grade_id"} == plain | given
    assert set(told.grade_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def _parts(source):
    before, _, rest = source.partition("### BEGIN SOLUTION\n")
    solution, _, after = rest.partition("### END SOLUTION")
    return before, solution, after


def test_the_course_keeps_the_lines_with_the_gaps():
    told = ast.parse(CONFIG)
    stubs = [n for n in ast.walk(told) if isinstance(n, ast.Attribute) and n.attr == "code_stub"]
    assert len(stubs) == 1
