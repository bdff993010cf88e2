"""Drive a real JupyterLab in a real Chromium: open a notebook, run it, look at it.

No request leaves 127.0.0.1.

    with LabServer(Path("notebooks"), scratch) as server, LabBrowser(server) as browser:
        page = browser.open("02-lesson.ipynb")
        page.run_all()
        print(page.problems())
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

from lab_server import START_SECONDS, LabServer
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
POLL = 50  # ms. Playwright would ask at every frame: of each cell, while the kernel needs the core
RUN_SECONDS = 240  # in which no cell ends: something hangs


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome, ``$CHROMIUM`` first, or None."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else CHROMIUM_NAMES
    return next((path for name in names if (path := shutil.which(name))), None)


class LabBrowser:
    """A Chromium with a fresh profile that sees one ``LabServer`` and nothing else.

    Raises FileNotFoundError on entering if the machine has no Chromium.
    """

    def __init__(self, server: LabServer, *, width: int = 1280, height: int = 720) -> None:
        self.server = server
        self.outside_requests: list[str] = []
        self._open: list[NotebookPage] = []
        self._free: list[Page] = []  # tabs whose notebook is closed: to load JupyterLab takes long
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
        """Open the notebook ``name``, its kernel started and known: in a tab of its own, which may
        have shown a notebook that is closed by now."""
        if self._free:
            page = self._free.pop()
            page.evaluate(
                "async path => { await jupyterapp.commands.execute('docmanager:open', {path}); }",
                name,
            )
        else:
            page = self._context.new_page()
            workspace = f"test-{secrets.token_hex(4)}"
            page.goto(
                f"{self.server.url}/lab/workspaces/{workspace}/tree/{quote(name)}"
                f"?token={self.server.token}"
            )
        lab = NotebookPage(page, name, self._closed)
        self._open.append(lab)
        lab.wait_for_kernel()
        return lab

    def _closed(self, lab: NotebookPage) -> None:
        self._open.remove(lab)
        self._free.append(lab.page)

    def close_all(self, *, tabs: bool = False) -> None:
        """Close the notebooks that are open; their ``tabs`` too, where one may show anything."""
        for lab in list(self._open):
            if tabs:
                self._open.remove(lab)
                lab.page.close()
            else:
                lab.close()


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

    def __init__(self, page: Page, name: str, closed: Callable[[NotebookPage], None]) -> None:
        self.page = page
        self.name = name
        self.page_errors: list[str] = []
        self._closed = closed
        page.on("pageerror", self._keep_error)
        page.set_default_timeout(30_000)

    def _keep_error(self, error: object) -> None:
        self.page_errors.append(str(error))

    def wait_for_kernel(self) -> None:
        self.page.wait_for_function(
            f"path => {{ {_PANEL} return panel !== undefined; }}",
            arg=self.name,
            timeout=START_SECONDS * 1000,
            polling=POLL,
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
        Raises playwright's Error if ``seconds`` go by in which no cell ends: a busy machine may
        take its time for a lesson.
        """
        self._call("void app.commands.execute('notebook:run-all-cells');", seconds)
        # "Idle" comes between cells too: wait for the counts, or for the error that ended the run.
        ran: int | str = -1
        while ran != "over":
            ran = self.page.wait_for_function(
                f"""([path, before]) => {{ {_PANEL}
                    const cells = Array.from(panel.content.model.cells).filter(
                        cell => cell.type === 'code' && cell.sharedModel.getSource().trim());
                    const ran = cells.filter(cell => cell.executionCount != null);
                    const raised = ({{outputs}}) => Array.from(outputs, (_, i) => outputs.get(i))
                        .some(output => output.type === 'error');
                    const ended = ran.some(cell => raised(cell)
                        && !(cell.getMetadata('tags') ?? []).includes('raises-exception'));
                    if ((ended || ran.length === cells.length)
                        && panel.sessionContext.session.kernel.status === 'idle') return 'over';
                    return ran.length > before ? ran.length : null; }}""",
                arg=[self.name, ran],
                timeout=seconds * 1000,
                polling=POLL,
            ).json_value()
        return self.cells()

    def run_to(self, text: str, seconds: float = RUN_SECONDS) -> None:
        """Run the code cells that have not run yet, up to the first whose source holds ``text``."""
        cells = self.cells()
        last = next((i for i, cell in enumerate(cells) if text in cell.source), None)
        if last is None:
            raise ValueError(f"no code cell of {self.name} holds {text!r}")
        for cell in (c for c in cells[: last + 1] if c.execution_count is None):
            self._call(
                f"panel.content.activeCellIndex = {cell.index};"
                "await app.commands.execute('notebook:run-cell');",
                seconds,
            )
            self.page.wait_for_function(
                f"""([path, index]) => {{ {_PANEL}
                    return panel.content.model.cells.get(index).executionCount != null
                        && panel.sessionContext.session.kernel.status === 'idle'; }}""",
                arg=[self.name, cell.index],
                timeout=seconds * 1000,
                polling=POLL,
            )

    def evaluated(self, expression: str) -> str:
        """The repr of this expression in the kernel, where no cell is run for it."""
        return str(
            self._call(
                f"""
                const future = panel.sessionContext.session.kernel.requestExecute(
                    {{code: '', user_expressions: {{it: {json.dumps(expression)}}}}});
                return (await future.done).content.user_expressions.it.data['text/plain'];
                """,
                30,
            )
        )

    def close(self) -> None:
        """Shut the notebook's kernel down and close the notebook; its tab is free for another."""
        self._call(
            """
            await panel.sessionContext.shutdown();
            panel.content.model.dirty = false;  // or it would ask
            const closed = new Promise(done => panel.disposed.connect(done));
            panel.close();
            await closed;
            """,
            30,
        )
        self.page.remove_listener("pageerror", self._keep_error)
        self._closed(self)

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

    def show(self, text: str | None = None) -> None:
        """Scroll the first cell that shows ``text``, or the first of all, to the top."""
        self.cell(text or "").evaluate("cell => cell.scrollIntoView({block: 'start'})")

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
