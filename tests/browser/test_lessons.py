"""Every lesson opens in a real JupyterLab and runs from top to bottom without a fault."""

import pytest

pytestmark = pytest.mark.browser


def test_lesson_runs_in_jupyterlab(notebook_path, lab):
    page = lab.open(notebook_path.name)
    try:
        cells = page.run_all()
        assert cells
        assert page.problems() == []
        assert lab.outside_requests == []
    finally:
        page.close()
