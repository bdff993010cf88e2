"""What all tests share: the notebooks of the repository, and the report of their run times."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import notebook_rules
import pytest
from lesson_runs import LessonRuns

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_SECONDS = "cell seconds"


@pytest.fixture(scope="session")
def root() -> Path:
    """The root folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session, the same for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lesson_runs(shared: Path) -> LessonRuns:
    """Each lesson, run twice in one kernel by the first test that asks for it."""
    return LessonRuns(shared / "runs")


@pytest.fixture
def write_notebook(tmp_path: Path):
    """Return ``write(name, *sources, raises=...)``: it makes a small notebook below ``tmp_path``.

    The cells whose source is in ``raises`` get the tag ``raises-exception``.
    """

    def write(name: str, *sources: str, raises: tuple[str, ...] = ()) -> Path:
        notebook = nbformat.v4.new_notebook()
        for source in sources:
            tags = ["raises-exception"] if source in raises else []
            notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}))
        notebook_rules.clean(notebook)
        path = tmp_path / "notebooks" / name
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return write


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``notebook_path`` runs once for every lesson."""
    if "notebook_path" in metafunc.fixturenames:
        metafunc.parametrize("notebook_path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Tell how long each notebook's cells took: a promise to watch, not one to fail on."""
    yield
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == CELL_SECONDS:
                terminalreporter.write_line(f"{report.nodeid}: {value}")
