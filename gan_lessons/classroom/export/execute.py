"""Run lessons, two at a time, and remember what ran.

A result is kept in the build folder under a name made from the code of the notebook and of the
package: while neither changes, no deck or page needs another run, and both show the same one.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PACKAGE = Path(__file__).resolve().parents[2]
CELL_SECONDS = 600  # only to end a notebook that hangs
_SHAPES_THE_PAGE = "classroom/export/"  # changes the look of a result, not the result


class LessonError(RuntimeError):
    """A lesson that did not run; the message names the notebook, the cell and the error."""


@dataclass(frozen=True)
class Outcome:
    """``notebook``, executed, or the ``error`` that kept it from being so."""

    path: Path
    notebook: Any = None
    error: str = ""


def is_executed(notebook: Any) -> bool:
    """Has every code cell been run?"""
    return all(
        cell.get("execution_count") is not None for cell in _code(notebook) if cell.source.strip()
    )


def execute(notebook: Any, folder: Path, name: str) -> Any:
    """Run a copy of ``notebook`` in ``folder`` in a kernel of its own, and return it.

    Raises LessonError with the notebook's ``name``, the cell and the error.
    """
    # Not asyncio.run: JupyterLab's "Save and Export As" calls this where a loop is running.
    return run_sync(_execute)(copy.deepcopy(notebook), folder, name, lambda _: None)


def execute_all(
    paths: list[Path], cache: Path, *, jobs: int = 2, say: Callable[[str], None] = print
) -> list[Outcome]:
    """Run the notebooks, ``jobs`` at a time; one that fails does not stop the others.

    What has run before comes from ``cache``; results are written there, each in one piece.
    ``say`` gets lines that tell how far it is. On KeyboardInterrupt all kernels are shut down.
    """
    return asyncio.run(_execute_all(paths, cache, jobs, say))


async def _execute_all(
    paths: list[Path], cache: Path, jobs: int, say: Callable[[str], None]
) -> list[Outcome]:
    free = asyncio.Semaphore(jobs)

    async def one(path: Path) -> Outcome:
        async with free:
            return await _outcome(path, cache, say)

    tasks = [asyncio.create_task(one(path)) for path in paths]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:  # on an interrupt: each ends its kernel before we leave
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(path: Path, cache: Path, say: Callable[[str], None]) -> Outcome:
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        return _failed(path, f"{path.name}: cannot be read: {error}", say)
    kept = cache / f"{path.stem}-{_key(notebook)}.ipynb"
    if kept.exists():
        say(f"{path.name}: has run before, taken from {cache}")
        return Outcome(path, _with_outputs(notebook, nbformat.read(kept, as_version=4)))
    try:
        await _execute(notebook, path.parent, path.name, say)
    except LessonError as error:
        return _failed(path, str(error), say)
    write(kept, nbformat.writes(notebook))
    return Outcome(path, notebook)


def _failed(path: Path, error: str, say: Callable[[str], None]) -> Outcome:
    say(error)
    return Outcome(path, error=error)


async def _execute(notebook: Any, folder: Path, name: str, say: Callable[[str], None]) -> Any:
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,  # else a page would prefer a widget that it cannot show
        resources={"metadata": {"path": str(folder)}},
    )
    total = sum(1 for _ in _code(notebook))
    running = 0
    try:
        async with client.async_setup_kernel(stderr=asyncio.subprocess.DEVNULL):
            _interrupt_ends_everything()
            for running, cell in enumerate(notebook.cells):
                await client.async_execute_cell(cell, running)
                if cell.cell_type == "code":
                    done = sum(1 for _ in _code(notebook, running + 1))
                    if done % 10 == 0 or done == total:
                        say(f"{name}: {done} of {total} cells have run")
    except CellExecutionError as error:
        told = f"{error.ename}: {error.evalue}"
        raise LessonError(f"{_place(notebook, running, name)}: {told}") from error
    except Exception as error:  # the kernel died, did not start, or a cell never ended
        told = f"{type(error).__name__}: {error}"
        raise LessonError(f"{_place(notebook, running, name)}: {told}") from error
    return notebook


def _interrupt_ends_everything() -> None:
    """Ctrl-C cancels all notebooks. nbclient's own handler would end one kernel only."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.remove_signal_handler(name)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt there anyway
            return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _place(notebook: Any, index: int, name: str) -> str:
    cell = notebook.cells[index]
    line = next((line for line in cell.source.splitlines() if line.strip()), "")
    return f"{name}, cell {index} ({line[:60]!r})"


def _code(notebook: Any, end: int | None = None) -> Iterator[Any]:
    return (cell for cell in notebook.cells[:end] if cell.cell_type == "code")


def _with_outputs(notebook: Any, executed: Any) -> Any:
    """``notebook`` with the outputs of ``executed``, whose code cells are the same."""
    for cell, ran in zip(_code(notebook), _code(executed), strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return notebook


def _key(notebook: Any) -> str:
    """Changes with the notebook's code, the package, torch and Python; not with prose."""
    digest = hashlib.sha256(f"{sys.version} torch {metadata.version('torch')}".encode())
    for cell in _code(notebook):
        digest.update(
            f"{cell.source}\0{'raises-exception' in cell.metadata.get('tags', [])}\0".encode()
        )
    for path in sorted(PACKAGE.rglob("*")):
        inside = path.relative_to(PACKAGE).as_posix()
        if path.suffix in (".py", ".js", ".css") and not inside.startswith(_SHAPES_THE_PAGE):
            digest.update(inside.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def write(path: Path, text: str) -> None:
    """Write a file in one piece: whoever looks finds the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        half.write_text(text, encoding="utf-8")
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
