"""Drive a real JupyterLab in a real Chromium: start it, open a notebook, run it, look at it.

Everything lives in a temporary folder: a copy of the notebooks, JupyterLab's settings and
workspaces, the kernel's files. Nothing of the user's own Jupyter is read or written, and no
request leaves 127.0.0.1.

    with LabServer(Path("notebooks"), scratch) as server, LabBrowser(server) as browser:
        page = browser.open("02-lesson.ipynb")
        page.run_all()
        print(page.errors())
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from playwright.sync_api import Locator, Page, Route, sync_playwright

# The same names as .ci/run looks for.
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium without a graphics card, an account, or any talk to its maker's servers.
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 90
RUN_SECONDS = 240


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome, ``$CHROMIUM`` first, or None."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else CHROMIUM_NAMES
    return next((path for name in names if (path := shutil.which(name))), None)


class LabServer:
    """A JupyterLab on 127.0.0.1 over a copy of ``notebooks``, private to ``scratch``.

    ``scratch`` is created and not removed: the caller owns it. ``dark`` chooses the theme.
    Entering starts the server and waits until it answers; leaving ends it and its kernels.
    Raises RuntimeError with the end of the server's log if it does not start.
    """

    def __init__(self, notebooks: Path, scratch: Path, *, dark: bool = False) -> None:
        self.scratch = scratch.resolve()
        self.root = self.scratch / "notebooks"
        self.token = secrets.token_hex(16)
        self.url = ""
        self._source = notebooks
        self._dark = dark
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        shutil.copytree(
            self._source, self.root, ignore=shutil.ignore_patterns(".ipynb_checkpoints")
        )
        self._write_settings()
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += [
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.root}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
        ]
        with (self.scratch / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def log(self) -> str:
        return (self.scratch / "server.log").read_text(encoding="utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        return kernel_environment(self.scratch) | {
            "JUPYTERLAB_SETTINGS_DIR": str(self.scratch / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.scratch / "workspaces"),
        }

    def _write_settings(self) -> None:
        settings: dict[str, dict[str, Any]] = {
            # Lab leaves cells out of the page while they are out of view; a test looks at all.
            "notebook-extension/tracker": {"windowingMode": "none"},
            # No question about news, no look for updates.
            "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "apputils-extension/themes": {
                "theme": "JupyterLab Dark" if self._dark else "JupyterLab Light"
            },
        }
        for name, values in settings.items():
            path = self.scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        request = urllib.request.Request(
            f"{self.url}/api/status", headers={"Authorization": f"token {self.token}"}
        )
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended while starting:\n{self.log()[-3000:]}")
            try:
                with urllib.request.urlopen(request, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(
            f"JupyterLab gave no answer within {START_SECONDS} s:\n{self.log()[-3000:]}"
        )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # the server shuts its kernels down
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kernel_environment(scratch: Path) -> dict[str, str]:
    """Return an environment in which Jupyter and its kernels write only below ``scratch``."""
    private = {
        "JUPYTER_CONFIG_DIR": scratch / "config",
        "JUPYTER_DATA_DIR": scratch / "data",
        "JUPYTER_RUNTIME_DIR": scratch / "runtime",
        "IPYTHONDIR": scratch / "ipython",
        "MPLCONFIGDIR": scratch / "matplotlib",
    }
    environment = {**os.environ, **{name: str(path) for name, path in private.items()}}
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    environment["JUPYTER_PLATFORM_DIRS"] = "1"
    # Below pytest a kernel would leave what C code writes to stderr out of the cell. A learner
    # sees it, so the tests have to.
    environment.pop("PYTEST_CURRENT_TEST", None)
    environment.pop("MPLBACKEND", None)
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LabBrowser:
    """A Chromium with a fresh profile that sees one ``LabServer`` and nothing else.

    Raises FileNotFoundError on entering if the machine has no Chromium.
    """

    def __init__(self, server: LabServer, *, width: int = 1280, height: int = 720) -> None:
        self.server = server
        self.outside_requests: list[str] = []
        self._size = {"width": width, "height": height}
        self._running: Any = None

    def __enter__(self) -> Self:
        executable = find_chromium()
        if executable is None:
            raise FileNotFoundError(
                f"no Chromium: looked for {', '.join(CHROMIUM_NAMES)}. "
                "Install one, or set CHROMIUM to its path."
            )
        self._running = self._browser_context(executable)
        self._context = self._running.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.__exit__(kind, error, trace)

    @contextmanager
    def _browser_context(self, executable: str) -> Iterator[Any]:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=executable, args=list(CHROMIUM_FLAGS)
            )
            try:
                # viewport is a TypedDict that playwright does not export
                context = browser.new_context(viewport=self._size)  # type: ignore[arg-type]
                context.route("**/*", self._stay_at_home)
                yield context
            finally:
                browser.close()

    def _stay_at_home(self, route: Route) -> None:
        url = route.request.url
        if urlsplit(url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.outside_requests.append(url)
            route.abort()

    def open(self, name: str) -> NotebookPage:
        """Open the notebook ``name`` in a tab of its own, its kernel started and known."""
        page = self._context.new_page()
        lab = NotebookPage(page, name)
        workspace = f"test-{secrets.token_hex(4)}"
        page.goto(
            f"{self.server.url}/lab/workspaces/{workspace}/tree/{quote(name)}"
            f"?token={self.server.token}"
        )
        lab.wait_for_kernel()
        return lab


@dataclass(frozen=True)
class CellState:
    """One code cell after a run, as JupyterLab's own model holds it."""

    index: int
    source: str
    execution_count: int | None
    outputs: list[dict[str, Any]] = field(repr=False)
    tags: list[str]

    @property
    def stderr(self) -> str:
        """All that the cell wrote to stderr: Python warnings, and what C code printed."""
        return "".join(
            str(out["text"] if isinstance(out["text"], str) else "".join(out["text"]))
            for out in self.outputs
            if out["output_type"] == "stream" and out["name"] == "stderr"
        )

    @property
    def error(self) -> str:
        """The exception as one line, or an empty string."""
        for out in self.outputs:
            if out["output_type"] == "error":
                return f"{out['ename']}: {out['evalue']}"
        return ""


# The panel of the notebook that this tab was opened for.
_PANEL = """
const app = window.jupyterapp;
const panel = app ? Array.from(app.shell.widgets('main'))
    .find(widget => widget.context && widget.context.path === path) : undefined;
"""


class NotebookPage:
    """One notebook in one tab. ``page`` is Playwright's page, for what is not offered here."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.page_errors: list[str] = []
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.set_default_timeout(30_000)

    def wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            f"path => {{ {_PANEL} return panel !== undefined; }}",
            arg=self.name,
            timeout=START_SECONDS * 1000,
        )
        self._call(
            """
            await panel.context.ready;
            await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
            app.shell.activateById(panel.id);
            """,
            START_SECONDS,
        )

    def run_all(self, seconds: float = RUN_SECONDS) -> list[CellState]:
        """Run every cell from top to bottom, wait until the kernel is idle, return the cells.

        A cell that raises stops the run, as in JupyterLab: ``problems`` tells it.
        Raises playwright's Error if it takes longer than ``seconds``.
        """
        self._call("await app.commands.execute('notebook:run-all-cells');", seconds)
        self.page.wait_for_function(
            f"""path => {{ {_PANEL}
                return panel.sessionContext.session.kernel.status === 'idle'; }}""",
            arg=self.name,
            timeout=seconds * 1000,
        )
        return self.cells()

    def close(self) -> None:
        """Shut the notebook's kernel down and close the tab."""
        self._call("await panel.sessionContext.shutdown();", 30)
        self.page.close()

    def cells(self) -> list[CellState]:
        """Return every code cell that holds code, in order."""
        found = self._call(
            """
            return Array.from(panel.content.model.cells).map((cell, index) => ({
                index, type: cell.type, source: cell.sharedModel.getSource(),
                execution_count: cell.executionCount ?? null,
                outputs: cell.type === 'code' ? cell.outputs.toJSON() : [],
                tags: cell.getMetadata('tags') ?? [],
            })).filter(cell => cell.type === 'code' && cell.source.trim());
            """,
            30,
        )
        return [
            CellState(**{key: value for key, value in cell.items() if key != "type"})
            for cell in found
        ]

    def errors(self) -> list[CellState]:
        """Return the cells that raised without the tag ``raises-exception``."""
        return [c for c in self.cells() if c.error and "raises-exception" not in c.tags]

    def problems(self) -> list[str]:
        """Return one line per fault: a cell that raised, did not run, or wrote to stderr."""
        found = []
        for cell in self.cells():
            where = f"{self.name}, cell {cell.index} ({cell.source.splitlines()[0][:50]!r})"
            if cell.error and "raises-exception" not in cell.tags:
                found.append(f"{where} raised {cell.error}")
            if "raises-exception" in cell.tags and not cell.error:
                found.append(f"{where} was meant to raise, and did not")
            if cell.execution_count is None:
                found.append(f"{where} did not run")
            if cell.stderr:
                found.append(f"{where} wrote to stderr: {cell.stderr.strip()[:300]}")
        return found + [f"{self.name}: error in the page: {text}" for text in self.page_errors]

    def cell(self, text: str) -> Locator:
        """Return the first cell whose source or output shows ``text``."""
        return self.page.locator(".jp-Notebook .jp-Cell").filter(has_text=text).first

    def click(self, role: Any, name: str, *, within: Locator | None = None) -> None:
        """Click the element with this accessible role and name, as a screen reader finds it."""
        (within or self.page.locator(".jp-Notebook")).get_by_role(role, name=name).first.click()

    def screenshot(self, path: Path, cell: str | None = None) -> None:
        """Write a PNG of the page, or of the first cell that shows ``cell``, with its output."""
        if cell is None:
            self.page.screenshot(path=path)
            return
        found = self.cell(cell)
        found.scroll_into_view_if_needed()
        found.screenshot(path=path)

    def show(self, text: str) -> None:
        """Scroll the first cell that shows ``text`` to the top of the notebook."""
        self.cell(text).evaluate("cell => cell.scrollIntoView({block: 'start'})")

    def hide_side_panels(self) -> None:
        """Give the notebook the whole width, for a picture."""
        self._call("app.shell.collapseLeft(); app.shell.collapseRight();", 30)

    def _call(self, body: str, seconds: float) -> Any:
        """Run JavaScript with ``app`` and ``panel`` in scope; fail rather than wait for ever."""
        return self.page.evaluate(
            f"""async ([path, milliseconds]) => {{
                {_PANEL}
                const work = (async () => {{ {body} }})();
                let timer;
                const limit = new Promise((_, reject) => {{ timer = setTimeout(
                    () => reject(new Error('no end after ' + milliseconds + ' ms')), milliseconds);
                }});
                try {{ return await Promise.race([work, limit]); }}
                finally {{ clearTimeout(timer); }}
            }}""",
            [self.name, seconds * 1000],
        )
