"""Run lessons, two at a time, and remember what ran.

A result is kept in the build folder under a name made from the code of the notebook and of the
package: while neither changes, no deck or page needs another run, and both show the same one.
"""

from __future__ import annotations

import asyncio
import atexit
import copy
import hashlib
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import nbformat
from jupyter_core.utils import ensure_async
from nbclient import NotebookClient

from gan_lessons.whole_file import write_whole

PACKAGE = Path(__file__).resolve().parents[2]
CELL_SECONDS = 600  # only to end a notebook that hangs
_SHAPES_THE_PAGE = "classroom/export/"  # changes the look of a result, not the result

T = TypeVar("T")
Say = Callable[[str], None]


class LessonError(RuntimeError):
    """A lesson that cannot be read or did not run; the message names it, the cell and the error."""


@dataclass(frozen=True)
class Outcome:
    """``notebook``, executed, or the ``error`` that kept it from being so, or from being built."""

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
    return _in_a_thread(_execute(copy.deepcopy(notebook), folder, name, lambda _: None))


def execute_all(
    paths: list[Path], cache: Path, *, jobs: int = 2, say: Say = print
) -> list[Outcome]:
    """Run the notebooks, ``jobs`` at a time; one that fails does not stop the others.

    What has run before comes from ``cache``; results are written there, each in one piece.
    ``say`` gets lines that tell how far it is. On KeyboardInterrupt all kernels are shut down.
    Raises OSError where the cache cannot be written.
    """
    return _in_a_thread(_execute_all(paths, cache, jobs, say))


def _in_a_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end, in a loop and a thread of its own.

    In the main thread nbclient takes Ctrl-C for itself: it ends one kernel, whose lesson then looks
    as if it had failed. Here an interrupt cancels the work, which shuts down every kernel, and
    stays what it is. JupyterLab's "Save and Export As" calls this where a loop is running.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def run() -> T:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(asyncio.wait_for(task, None))

    with ThreadPoolExecutor(1) as thread:
        try:
            done = thread.submit(run)
            while not wait([done], timeout=0.5).done:  # Windows lets Ctrl-C in between two waits
                pass
            return done.result()
        except KeyboardInterrupt:
            loop.set_exception_handler(lambda *_: None)  # what nbclient leaves behind says nothing
            loop.call_soon_threadsafe(task.cancel)
            raise


async def _execute_all(paths: list[Path], cache: Path, jobs: int, say: Say) -> list[Outcome]:
    free = asyncio.Semaphore(max(jobs, 1))

    async def one(path: Path) -> Outcome:
        async with free:
            try:
                return Outcome(path, await _executed(path, cache, say))
            except LessonError as error:
                say(str(error))
                return Outcome(path, error=str(error))

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(path)) for path in paths]
    except* OSError as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _executed(path: Path, cache: Path, say: Say) -> Any:
    """The notebook with its outputs, of this run or of one before."""
    notebook = _read(path)
    kept = kept_in(cache, path, notebook)
    try:
        ran = _with_outputs(notebook, _read(kept))
        say("{name}: has run before, taken from {cache}".format(name=path.name, cache=cache))
    except LessonError:  # it is not there, or not whole
        ran = await _execute(notebook, path.parent, path.name, say)
        write_whole(kept, nbformat.writes(ran), make_folder=True)
    return ran


def _read(path: Path) -> Any:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except (OSError, ValueError, AttributeError, TypeError, nbformat.ValidationError) as error:
        reason = str(error).partition("\n")[0]
        text = "{name}: cannot be read ({reason}); expected a notebook, as JupyterLab saves it"
        raise LessonError(text.format(name=path.name, reason=reason)) from error
    return notebook


async def _execute(notebook: Any, folder: Path, name: str, say: Say) -> Any:
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    if not code:
        return notebook
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,  # else a page would prefer a widget that it cannot show
        resources={"metadata": {"path": str(folder)}},
    )
    where = name
    kernel = client.create_kernel_manager()
    try:
        async with client.async_setup_kernel(stderr=subprocess.DEVNULL):
            for done, (index, cell) in enumerate(code, 1):
                line = next((line for line in cell.source.splitlines() if line.strip()), "")
                where = "{name}, cell {at} ({line!r})".format(name=name, at=index, line=line[:60])
                await client.async_execute_cell(cell, index)
                if done % 10 == 0 or done == len(code):
                    text = "{name}: {done} of {n} cells have run"
                    say(text.format(name=name, done=done, n=len(code)))
    except Exception as error:  # a cell raised, or the kernel died, did not start, never answered
        if (task := asyncio.current_task()) and task.cancelling():
            raise asyncio.CancelledError from error  # of which nbclient makes a dead kernel
        kind, what = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
        raise LessonError(f"{where}: {kind}: {what}") from error
    finally:  # where an interrupt comes while the kernel starts or ends, nbclient leaves it behind
        atexit.unregister(client._cleanup_kernel)
        if kernel.has_kernel:  # not client.km, which nbclient forgets before the kernel has gone
            await ensure_async(kernel.shutdown_kernel(now=True))
    return notebook


def _code(notebook: Any) -> Iterator[Any]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def _with_outputs(notebook: Any, executed: Any) -> Any:
    """``notebook`` with the outputs of ``executed``, whose code cells are the same."""
    if [c.source for c in _code(notebook)] != [c.source for c in _code(executed)]:
        raise LessonError("these are other cells")
    for cell, ran in zip(_code(notebook), _code(executed), strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return notebook


def kept_in(cache: Path, path: Path, notebook: Any) -> Path:
    """The file in ``cache`` that holds what ``notebook``, read from ``path``, gave when it ran."""
    return cache / f"{path.stem}-{_key(notebook)}.ipynb"


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
