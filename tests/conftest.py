"""What all tests share: the notebooks of the repository, and the report of their run times."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import nbformat
import notebook_rules
import pytest
from lesson_runs import LessonRuns
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Before torch is imported, here and in whatever the tests start: workers share the cores, and on
# nets as small as ours the threads of one only wait for those of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """In the tests of ``diagnose``: all that it says is, word for word, as it was read. After a
    change that is meant, ``python -m tests.said``."""
    if not pyfuncitem.path.stem.startswith("test_diagnose"):
        return (yield)
    from tests import said  # with torch: not for every test

    with said.noted() as made:
        result = yield
    if not said.ANEW:
        assert said.whole(made) == said.read(pyfuncitem.path.stem).get(pyfuncitem.name, "")
    return result


# How the tests go to the workers of pytest-xdist: a file at a time, for its fixtures' sake, and of
# the lessons each alone. What takes longest begins, so that no core is idle in the end.
LESSONS = "tests/browser/test_lessons.py"
LONGEST = (
    f"{LESSONS}::test_lesson_runs_again_in_jupyterlab[07-dynamics]",
    f"{LESSONS}::test_lesson_runs_again_in_jupyterlab[10-many-processes]",
    LESSONS,
    "tests/browser/test_present.py",
    "tests/browser/test_in_jupyterlab.py",
    "tests/test_many_processes.py",
    "tests/test_resume_many.py",
    "tests/test_export.py",
    "tests/test_leaner.py",
    "tests/browser/test_slides.py",  # builds all decks and the site
)


class ByFile(LoadScopeScheduling):
    """What goes to one worker: the tests of a file; of those that run lessons, each."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(LESSONS) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """A scheduler that takes the tests in the order in which they were collected."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for a worker often waits for a browser or a server (two more
    were no faster); five at most: a browser, a JupyterLab and kernels belong to each."""
    return min(5, (os.cpu_count() or 1) + 1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, the longest first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(item.nodeid))


def place_of(nodeid: str) -> int:
    starts = (i for i, start in enumerate(LONGEST) if nodeid.startswith(start))
    return next(starts, len(LONGEST))


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
