"""Every lesson opens in a real JupyterLab and runs there once more, without a fault.

"Once more": in the kernel in which it has run before, as when a learner comes back to a tab. The
run before is the one that other tests look at, so that no lesson runs a third time.
"""

from __future__ import annotations

import exercise_rules
import lesson_sentences
import nbformat
import pytest

pytestmark = pytest.mark.browser


def test_lesson_runs_again_in_jupyterlab(notebook_path, lab, lesson_runs, record_property):
    fresh = lesson_runs.of(notebook_path, kernel=lab.server.start_kernel(notebook_path.name))
    record_property("cell seconds", f"{fresh.seconds:.1f} s fresh")
    page = lab.open(notebook_path.name)
    try:
        cells = page.run_all()
        assert page.problems() == []
        assert lab.outside_requests == []
    finally:
        page.close()
    again = nbformat.read(notebook_path, as_version=4)
    for cell in cells:
        again.cells[cell.index].outputs = nbformat.from_dict(cell.outputs)
    assert exercise_rules.exercise_problems(again) == []
    assert lesson_sentences.missing(notebook_path.stem, again) == []
