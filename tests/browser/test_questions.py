"""Lesson 02 as a learner works it: answer, run, and find the verdict where the answer was given."""

import pytest

pytestmark = pytest.mark.browser

LESSON = "02-strategy-1-retain-graph.ipynb"
QUESTION, COMPARE = "question = predict_received(", "question.compare(rec)"


def test_answers_are_compared_with_the_record(lab):
    page = lab.open(LESSON)
    try:
        page.run_to(QUESTION)
        cell = page.cell(QUESTION)
        assert cell.get_by_text("Measured").count() == 0

        # Rows G and D, two calls each. The first answer is wrong by what S1 does, the rest right.
        answers = ["– no", "∇ yes", "∇ yes", "∇ yes"]
        groups = cell.locator(".ask .choice")
        assert groups.count() == len(answers)
        for i, answer in enumerate(answers):
            groups.nth(i).get_by_role("button", name=answer).press("Enter")

        page.run_to(COMPARE)
        cell.get_by_text("3 of 4 as predicted.").wait_for()
        assert page.cell(COMPARE).get_by_text("3 of 4 as predicted.").count() == 1
        # The kernel knows too what was clicked: these words are Python's.
        (told,) = (c.outputs[0]["data"]["text/plain"] for c in page.cells() if COMPARE in c.source)
        assert "".join(told).startswith("3 of 4 as predicted.\nG in call 0, d_loss.backward(")

        # Whoever answers after "Run All" is judged at once, in both places.
        groups.nth(0).get_by_role("button", name="∇ yes").press("Space")
        cell.get_by_text("4 of 4 as predicted.").wait_for()
        page.cell(COMPARE).get_by_text("4 of 4 as predicted.").wait_for()
        assert page.errors() == []
        assert page.page_errors == []
    finally:
        page.close()
