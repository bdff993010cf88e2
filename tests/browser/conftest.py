"""A JupyterLab and a browser for the page tests; see tools/lab_server.py and lab_browser.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from lab_browser import LabBrowser
from lab_server import LabServer
from need_chromium import require_chromium


# Playwright's event loop fills its thread while it lives, so no fixture outlives its module:
# the tests that run notebooks with nbclient need a loop of their own.
@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabBrowser]:
    """A browser on a JupyterLab that shows a copy of the repository's notebooks."""
    require_chromium()
    scratch = tmp_path_factory.mktemp("lab")
    with LabServer(root / "notebooks", scratch) as server, LabBrowser(server) as browser:
        yield browser


@pytest.fixture
def lab_on(tmp_path: Path) -> Callable[[], AbstractContextManager[LabBrowser]]:
    """Return a function that opens a browser on the notebooks that a test wrote."""
    require_chromium()

    @contextmanager
    def start() -> Iterator[LabBrowser]:
        notebooks = tmp_path / "notebooks"
        with LabServer(notebooks, tmp_path / "lab") as server, LabBrowser(server) as browser:
            yield browser

    return start
