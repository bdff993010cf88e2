"""A JupyterLab and a browser for the page tests; see tools/lab_server.py and lab_browser.py."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from deck_browser import DeckBrowser, running_chromium
from filelock import FileLock
from lab_browser import LabBrowser
from lab_server import LabServer
from lesson_runs import LessonRuns
from need_chromium import require_chromium
from playwright.sync_api import Browser

from gan_lessons.classroom.export.execute import kept_in
from gan_lessons.whole_file import write_whole


@pytest.fixture(scope="session")
def lab_server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab on a copy of the repository's notebooks: to start one takes long."""
    require_chromium()
    with LabServer(root / "notebooks", tmp_path_factory.mktemp("lab")) as server:
        yield server


# Playwright's event loop fills its thread while it lives, so no browser outlives its module:
# the tests that run notebooks with nbclient need a loop of their own.
@pytest.fixture(scope="module")
def lab(lab_server: LabServer) -> Iterator[LabBrowser]:
    """A browser on a JupyterLab that shows a copy of the repository's notebooks."""
    with LabBrowser(lab_server) as browser:
        yield browser
    lab_server.end_sessions()


@pytest.fixture
def lab_on(lab: LabBrowser, tmp_path: Path) -> Callable[[], AbstractContextManager[LabBrowser]]:
    """Return a function that puts the notebooks that a test wrote before the browser."""

    @contextmanager
    def start() -> Iterator[LabBrowser]:
        shutil.copytree(tmp_path / "notebooks", lab.server.root, dirs_exist_ok=True)
        lab.outside_requests.clear()
        try:
            yield lab
        except BaseException:
            lab.close_all(tabs=True)  # nobody knows what they show
            raise
        lab.close_all()

    return start


@pytest.fixture(scope="session")
def wanted() -> Any:
    """The explorer of the three strategies, made here. What a page shows is set beside it."""
    from gan_lessons.classroom import explore  # torch, which not every test here needs

    return explore()


@pytest.fixture(scope="session")
def saved(wanted: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same as one file of HTML."""
    return wanted.save(tmp_path_factory.mktemp("saved") / "three.html")


@pytest.fixture(scope="session")
def built(root: Path, shared: Path, lesson_runs: LessonRuns) -> Path:
    """The folder with all decks and the site, built once, as ``make slides site`` would.

    It takes each lesson as its run left it, so that no lesson runs once more.
    """
    require_chromium()
    folder = shared / "built"
    lessons = sorted((root / "notebooks").glob("*.ipynb"))
    runs = lesson_runs.all(lessons)
    with FileLock(shared / "built.lock"):
        if not (folder / "complete").exists():
            for path, run in runs.items():
                ran = kept_in(folder / "executed", path, nbformat.read(path, as_version=4))
                write_whole(ran, nbformat.writes(run.notebook), make_folder=True)
            build_all(root, folder)
            (folder / "complete").touch()
    return folder


def build_all(root: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "gan_lessons.classroom.export.build", "all"]
    done = subprocess.run(
        [*command, "--build", str(folder)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert said.count("has run before") == len(list((root / "notebooks").glob("*.ipynb"))), said


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    require_chromium()
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def offline(chromium: Browser) -> Iterator[DeckBrowser]:
    """A browser that opens files only. After the test: no request was made, no error logged."""
    with DeckBrowser(chromium=chromium) as browser:
        yield browser
        assert browser.requests == []
        assert browser.errors == []


@pytest.fixture
def from_disk(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return ``opened(fragments, **context)``: a page from disk, and what it asked for."""
    contexts: list[Any] = []

    def opened(*fragments: str, background: str = "#fff", **options: Any) -> Any:
        path = tmp_path / "page.html"
        body = "<main><h1>A page</h1>" + "".join(fragments) + "</main>"
        path.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title></head>'
            f'<body style="background:{background};color:gray">{body}</body></html>',
            encoding="utf-8",
        )
        context = chromium.new_context(viewport={"width": 1280, "height": 720}, **options)
        contexts.append(context)
        page: Any = context.new_page()
        page.errors, page.asked = [], []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: page.asked.append(r.url))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
