"""DOT in, SVG or positions out: by the system's ``dot`` if there is one, else by pygraphviz's wheel.

Each lays out in a process of its own. Layout time explodes with residuals and double backward (369
nodes: more than 100 s), and only a process can be stopped, by a limit or by Ctrl-C; interrupted in
this one, pygraphviz closes its handle twice, which can kill a notebook's kernel.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LIMIT = 10.0  # seconds that a display waits for a layout


def graphviz_available() -> bool:
    """Can this machine turn DOT into pictures?"""
    return bool(_renderers())


def svg(dot: str, limit: float | None = LIMIT) -> str:
    """Lay out DOT source and return an SVG document that starts with ``<svg``.

    limit: seconds to wait; None waits to the end, and says so on standard error when that is long.
    Raises RuntimeError, with what to do, where there is no Graphviz, none could lay it out, or the
    limit is over. Ctrl-C stops it.
    """
    drawn = _laid_out(dot, "svg", limit)
    return drawn[drawn.index("<svg") :]


def layout(dot: str, limit: float | None = LIMIT) -> dict[str, Any]:
    """Lay out DOT source and return Graphviz's JSON (``-Tjson0``): attributes and positions.

    limit, errors: as of ``svg``.
    """
    found: dict[str, Any] = json.loads(_laid_out(dot, "json0", limit))
    return found


def _laid_out(dot: str, form: str, limit: float | None) -> str:
    """Tries every Graphviz there is: a broken ``dot`` does not hide a working wheel."""
    failures = []
    for render in _renderers():
        try:
            with _after(LIMIT if limit is None else None, _say_that_it_takes_long):
                return render(dot, form, limit)
        except subprocess.TimeoutExpired as slow:
            text = (
                "Graphviz was stopped after {limit:g} seconds: the layout of this graph takes long. "
                "Use .save('graph.svg'), which waits for it, or read the words."
            )
            raise RuntimeError(text.format(limit=limit)) from slow
        except (OSError, ValueError) as error:
            failures.append(f"{type(error).__name__}: {error}")
    if not failures:
        raise RuntimeError(
            "No picture: Graphviz was not found. `pip install pygraphviz` brings it along "
            "(or install Graphviz itself, so that `dot` can be called), then draw again."
        )
    raise RuntimeError(f"Graphviz could not lay out this graph: {'; '.join(failures)}")


def _renderers() -> list[Callable[[str, str, float | None], str]]:
    found: list[Callable[[str, str, float | None], str]] = []
    if shutil.which("dot"):
        found.append(_by_dot)
    if importlib.util.find_spec("pygraphviz") is not None:
        found.append(_by_wheel)
    return found


@contextmanager
def _after(seconds: float | None, do: Callable[[], object]) -> Iterator[None]:
    """Call ``do`` if what stands inside takes longer; never after it."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _say_that_it_takes_long() -> None:
    text = "Graphviz is still laying out this graph, which may take minutes. Interrupt to stop it."
    print(text, file=sys.stderr)


def _by_dot(source: str, form: str, limit: float | None) -> str:
    command = ["dot", "-Kdot", f"-T{form}"]  # run here: graphviz.Source.pipe knows no limit
    done = subprocess.run(
        command, input=source.encode(), capture_output=True, check=False, timeout=limit
    )
    drawn = done.stdout.decode()
    if done.returncode or ("<svg" if form == "svg" else "{") not in drawn:
        complaint = done.stderr.decode(errors="replace").strip()
        raise ValueError(complaint or f"dot ended with status {done.returncode} and no picture")
    return drawn


# The wheel's process ------------------------------------------------------------------------------

_WORKER = Path(__file__).with_name("graphviz_worker.py")
_idle: list[subprocess.Popen[str]] = []  # loading Graphviz takes 50 ms, so the process is kept
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_idle.clear)  # the parent's answers are not the child's


def _by_wheel(source: str, form: str, limit: float | None) -> str:
    worker, late = _taken(), threading.Event()

    def stop() -> None:
        late.set()
        worker.kill()

    try:
        with _after(limit, stop):
            answer = _asked(worker, json.dumps([source, form]))
        if late.is_set():
            raise subprocess.TimeoutExpired(worker.args, limit or 0)
        if not answer:
            raise ValueError(f"pygraphviz ended with status {worker.wait()} and no picture")
    except BaseException:  # Ctrl-C too: an answer that nobody read must not be taken for the next
        _end(worker)
        raise
    _idle.append(worker)
    drawn, said = json.loads(answer)
    if drawn is None:
        raise ValueError(said)
    if said:
        print(said, file=sys.stderr)
    return str(drawn)


def _taken() -> subprocess.Popen[str]:
    """A process that waits for a graph; nobody else asks it meanwhile."""
    with suppress(IndexError):
        while (worker := _idle.pop()).poll() is not None:
            _end(worker)
        return worker
    return subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],  # -P: it finds no modules beside itself
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the asker, who ends it
    )


def _asked(worker: subprocess.Popen[str], request: str) -> str:
    """The line that it answers; empty if it ended."""
    assert worker.stdin is not None and worker.stdout is not None
    with suppress(BrokenPipeError):
        worker.stdin.write(f"{request}\n")
        worker.stdin.flush()
    return worker.stdout.readline()


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    with suppress(OSError), worker:  # closes the pipes and waits for its end
        pass


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())
