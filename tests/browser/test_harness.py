"""The harness sees what a learner would see: what works, and above all what does not."""

import os
import shutil
import struct
import subprocess
import sys

import lesson_runs
import pytest
from lab_server import LabServer
from need_chromium import require_chromium

pytestmark = pytest.mark.browser

BUTTON = """
import ipywidgets as widgets
button, said = widgets.Button(description="Press me"), widgets.Label("not yet")
button.on_click(lambda _: setattr(said, "value", "pressed"))
display(widgets.VBox([button, said]))
"""
ASKS_OUTSIDE = """
from IPython.display import HTML
HTML('<img src="http://gan-lessons.invalid/x.png">')
"""


def test_what_works(write_notebook, lab_on, tmp_path):
    write_notebook("good.ipynb", "x = 1", BUTTON.strip(), *["x += 1"] * 30, "print('the end', x)")
    with lab_on() as lab:
        page = lab.open("good.ipynb")
        cells = page.run_all()
        assert [cell.execution_count for cell in cells] == list(range(1, 34))
        assert page.problems() == []
        # The last cell is far out of view, and in the page all the same.
        output = page.cell("the end").locator(".jp-OutputArea-output")
        assert output.inner_text().strip() == "the end 31"

        page.click("button", "Press me")
        page.page.get_by_text("pressed", exact=True).wait_for()

        whole, part = tmp_path / "page.png", tmp_path / "cell.png"
        page.screenshot(whole)
        page.screenshot(part, cell="the end")
        assert png_size(whole) == (1280, 720)
        assert png_size(part)[1] < 200
        assert lab.outside_requests == []


def test_what_does_not_work(write_notebook, lab_on):
    expected, tame = "{}['expected']", "'tame'"
    sources = ["import os", "os.write(2, b'careful\\n');", ASKS_OUTSIDE.strip(), expected, tame]
    write_notebook("bad.ipynb", *sources, "1 / 0", "'after'", raises=(expected, tame))
    with lab_on() as lab:
        page = lab.open("bad.ipynb")
        page.run_all()
        assert [cell.error for cell in page.errors()] == ["ZeroDivisionError: division by zero"]
        found = page.problems()
        said = (
            "wrote to stderr: careful",  # a thread reads it: in the cell that runs when it comes
            "was meant to raise, and did not", "raised ZeroDivisionError", "did not run",
        )  # fmt: skip
        assert [sum(text in problem for problem in found) for text in said] == [1] * len(found)
        page.page.locator(".jp-OutputArea-output img").wait_for(state="attached")
        assert set(lab.outside_requests) == {"http://gan-lessons.invalid/x.png"}


def test_a_cell_that_only_runs_once_is_found(write_notebook, lab_on, tmp_path):
    """The page runs in the kernel in which the notebook has run before."""
    once = "assert 'seen' not in globals()\nseen = True"
    path = write_notebook("once.ipynb", once)
    with lab_on() as lab:
        lesson_runs.run(path, lab.server.start_kernel("once.ipynb"))
        page = lab.open("once.ipynb")
        page.run_all()
        assert [cell.error for cell in page.errors()] == ["AssertionError: "]


def png_size(path):
    """Return (width, height) in pixels, from the PNG's header."""
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_a_server_that_cannot_start_says_why(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "lab").mkdir()
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    server = LabServer(tmp_path / "notebooks", tmp_path / "lab")
    with pytest.raises(RuntimeError, match="ended while starting"):
        server.__enter__()


def test_a_missing_browser_is_told(monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium on this machine"):
        require_chromium()


def test_in_ci_a_missing_browser_is_a_failure(root):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/browser/test_harness.py::test_what_works"],
        cwd=root,
        env={**os.environ, "CHROMIUM": "/nowhere/chromium", "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 error" in done.stdout
    assert "no Chromium on this machine" in done.stdout
