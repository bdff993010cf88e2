"""Run each lesson, once for all tests that need to see what it gave.

With several workers of pytest-xdist the results lie in a folder that all of them see; a lock for
each lesson lets one run it while the others wait or take another lesson.
"""

from __future__ import annotations

import ast
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout
from jupyter_client import AsyncKernelClient
from lab_server import START_SECONDS, kernel_environment
from nbclient import NotebookClient

# What a test asks of a lesson beyond what its cells show: an expression of the lesson's names,
# evaluated in its kernel after the last cell. It gives a str of JSON, and leaves no name there.
ASKED = {
    "11-the-article-checked": (
        "__import__('json').dumps("
        "{name: [list(map(bool, c.met)), c.evidence] for name, c in board.checked.items()})"
    ),
}

# Per cell, only to end a notebook that hangs. The promise of a minute per lesson is reported,
# not asserted: a machine may be busy.
HANG_SECONDS = 300


@dataclass(frozen=True)
class Run:
    """What a lesson wrote to stderr, one line per cell, the seconds that its cells took, the
    notebook with its outputs, and what it answered to ``ASKED``."""

    warnings: list[str]
    seconds: float
    notebook: nbformat.NotebookNode
    answer: Any = None


class LessonRuns:
    """The runs of lessons, kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, path: Path, *, kernel: Path | None = None, wait: bool = True) -> Run:
        """The run of the lesson, made now unless it has been made; with a ``kernel`` it is made
        there in any case, for what comes after it in that kernel.

        kernel: connection file of one that nothing has run in. Without it the lesson gets a kernel
        of its own.
        Raises what ``run`` does and, if it must not ``wait``, Timeout where somebody else runs the
        lesson just now.
        """
        kept = self.folder / f"{path.stem}.json"
        self.folder.mkdir(exist_ok=True)
        with FileLock(kept.with_suffix(".lock")).acquire(blocking=wait):
            if kernel is not None or not kept.exists():
                kept.write_text(json.dumps(vars(run(path, kernel))), encoding="utf-8")
            told = json.loads(kept.read_text(encoding="utf-8"))
        return Run(**{**told, "notebook": nbformat.from_dict(told["notebook"])})

    def all(self, paths: list[Path]) -> dict[Path, Run]:
        """The runs of all the lessons; first of those that nobody else is running."""
        late = []
        for path in paths:
            try:
                self.of(path, wait=False)
            except Timeout:
                late.append(path)
        return {path: self.of(path) for path in [*late, *paths]}


def run(path: Path, kernel: Path | None = None) -> Run:
    """Run the notebook, in a fresh kernel that writes below a temporary folder only, or in the one
    with this connection file.

    Raises CellExecutionError where a cell raises without the tag ``raises-exception``, and
    AssertionError where one with the tag does not.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=HANG_SECONDS,
        kernel_name="python3",
        allow_errors=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )

    async def cells(scratch: Path) -> Run:
        warnings: list[str] = []
        environment = kernel_environment(scratch)
        async with (
            connected(client, kernel) if kernel else client.async_setup_kernel(env=environment)
        ):
            start = time.perf_counter()
            for index, cell in enumerate(notebook.cells):
                await client.async_execute_cell(cell, index)
                warnings.extend(f"cell {index}: {text}" for text in stderr_of(cell))
                missed_error(cell, index)
            took, asked = time.perf_counter() - start, ASKED.get(path.stem)
            return Run(warnings, took, notebook, asked and await answer_of(client, asked))

    # In a thread of its own: Playwright's loop fills this one as long as a browser is open.
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, cells(Path(scratch))).result()


@asynccontextmanager
async def connected(client: NotebookClient, kernel: Path) -> AsyncIterator[None]:
    """The client speaks to a kernel that somebody else has started, and will end."""
    client.kc = AsyncKernelClient(connection_file=str(kernel))
    client.kc.load_connection_file()
    client.kc.allow_stdin = False
    # No heartbeat: on a busy machine a kernel misses one, and would be taken for dead.
    client.kc.start_channels(hb=False)
    try:
        await client.kc.wait_for_ready(timeout=START_SECONDS)
        yield
    finally:
        client.kc.stop_channels()


async def answer_of(client: NotebookClient, asked: str) -> Any:
    """Raises AssertionError with the kernel's words if the expression raises there."""
    kernel = client.kc
    assert isinstance(kernel, AsyncKernelClient)
    request = kernel.execute("", silent=True, user_expressions={"asked": asked})
    while True:
        reply = await kernel.get_shell_msg(timeout=HANG_SECONDS)
        if reply["parent_header"].get("msg_id") == request:
            break
    told = reply["content"]["user_expressions"]["asked"]
    assert told["status"] == "ok", f"{asked}: {told['ename']}: {told['evalue']}"
    return json.loads(ast.literal_eval(told["data"]["text/plain"]))


def stderr_of(cell: nbformat.NotebookNode) -> list[str]:
    return [out.text for out in cell.get("outputs", []) if out.get("name") == "stderr"]


def missed_error(cell: nbformat.NotebookNode, index: int) -> None:
    """A lesson says that this cell raises; if it no longer does, the lesson is wrong."""
    if "raises-exception" in cell.metadata.get("tags", []):
        kinds = [out.output_type for out in cell.outputs]
        assert "error" in kinds, f"cell {index} was meant to raise, and did not: {cell.source}"
