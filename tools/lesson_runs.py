"""Run each lesson twice in one kernel, once for all tests that need to see what it gave.

With several workers of pytest-xdist the results lie in a folder that all of them see; a lock for
each lesson lets one run it while the others wait or take another lesson.
"""

from __future__ import annotations

import asyncio
import copy
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
from filelock import FileLock, Timeout
from lab_server import kernel_environment
from nbclient import NotebookClient

# Per cell, only to end a notebook that hangs. The promise of a minute per lesson is reported,
# not asserted: a machine may be busy.
HANG_SECONDS = 300


@dataclass(frozen=True)
class Run:
    """What a lesson wrote to stderr, one line per cell, the seconds that the cells of each of the
    two runs took, and the notebook with the outputs of the first run and of the second."""

    warnings: list[str]
    seconds: list[float]
    first: nbformat.NotebookNode
    second: nbformat.NotebookNode


class LessonRuns:
    """The runs of lessons, kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, path: Path, *, wait: bool = True) -> Run:
        """The run of the lesson, made now unless it has been made.

        Raises CellExecutionError where a cell raises without the tag ``raises-exception``,
        AssertionError where one with the tag does not, and, if it must not ``wait``, Timeout where
        somebody else runs the lesson just now.
        """
        kept = self.folder / f"{path.stem}.json"
        self.folder.mkdir(exist_ok=True)
        with FileLock(kept.with_suffix(".lock")).acquire(blocking=wait):
            if not kept.exists():
                run = run_twice(path)
                kept.write_text(json.dumps(vars(run)), encoding="utf-8")
            told = json.loads(kept.read_text(encoding="utf-8"))
        first, second = (nbformat.from_dict(told[name]) for name in ("first", "second"))
        return Run(told["warnings"], told["seconds"], first, second)

    def all(self, paths: list[Path]) -> dict[Path, Run]:
        """The runs of all the lessons; first of those that nobody else is running."""
        late = []
        for path in paths:
            try:
                self.of(path, wait=False)
            except Timeout:
                late.append(path)
        return {path: self.of(path) for path in [*late, *paths]}


def run_twice(path: Path) -> Run:
    """Run the notebook twice in one fresh kernel, which writes below a temporary folder only.

    Raises CellExecutionError and AssertionError, as ``LessonRuns.of`` does.
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
    warnings: list[str] = []
    seconds: list[float] = []
    outcomes: list[nbformat.NotebookNode] = []

    async def both_runs(scratch: Path) -> None:
        async with client.async_setup_kernel(env=kernel_environment(scratch)):
            for _ in range(2):
                start = time.perf_counter()
                for index, cell in enumerate(notebook.cells):
                    await client.async_execute_cell(cell, index)
                    warnings.extend(f"cell {index}: {text}" for text in stderr_of(cell))
                    missed_error(cell, index)
                seconds.append(time.perf_counter() - start)
                outcomes.append(copy.deepcopy(notebook))

    # In a thread of its own: Playwright's loop fills this one as long as a browser is open.
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, both_runs(Path(scratch))).result()
    return Run(warnings, seconds, *outcomes)


def stderr_of(cell: nbformat.NotebookNode) -> list[str]:
    return [out.text for out in cell.get("outputs", []) if out.get("name") == "stderr"]


def missed_error(cell: nbformat.NotebookNode, index: int) -> None:
    """A lesson says that this cell raises; if it no longer does, the lesson is wrong."""
    if "raises-exception" in cell.metadata.get("tags", []):
        kinds = [out.output_type for out in cell.outputs]
        assert "error" in kinds, f"cell {index} was meant to raise, and did not: {cell.source}"
