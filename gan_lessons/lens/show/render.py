"""DOT in, SVG or positions out: by the system's ``dot`` if there is one, else by pygraphviz.

Each lays out in a process of its own. Layout time explodes with residuals and double backward (369
nodes: more than 100 s), and only a process can be stopped, by a limit or by Ctrl-C. Interrupted in
this one, pygraphviz can close its handle twice, and that kills a notebook's kernel.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

LIMIT = 10.0  # seconds after which a layout takes long


def graphviz_available() -> bool:
    """Can this machine turn DOT into pictures?"""
    return bool(_renderers())


def svg(dot: str, *, wait: bool = False) -> str:
    """Lay out DOT source and return an SVG document that starts with ``<svg``.

    wait: to the end; where that takes long, standard error says so. Else it is stopped then.
    Raises RuntimeError, with what to do, where there is no Graphviz, none could lay it out, or it
    was stopped.
    """
    drawn = _laid_out(dot, "svg", wait)
    return drawn[drawn.index("<svg") :]


def layout(dot: str, *, wait: bool = False) -> dict[str, Any]:
    """Lay out DOT source and return Graphviz's JSON (``-Tjson0``): attributes and positions.

    wait, errors: as of ``svg``.
    """
    found: dict[str, Any] = json.loads(_laid_out(dot, "json0", wait))
    return found


def _laid_out(dot: str, form: str, wait: bool) -> str:
    """Tries every Graphviz there is: a broken ``dot`` does not hide a working wheel."""
    failures, begun, limit = [], time.monotonic(), None if wait else LIMIT
    for render in _renderers():
        try:
            with _after(LIMIT, _say_that_it_takes_long) if wait else nullcontext():
                return render(dot, form, limit)
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            if limit is not None and time.monotonic() - begun >= limit:
                text = (
                    "Graphviz was stopped after {limit:g} seconds, for this graph takes long to "
                    "lay out. Use .save('graph.svg'), which waits for it, or read the words."
                )
                raise RuntimeError(text.format(limit=limit)) from error
            failures.append(f"{type(error).__name__}: {error}")
    text = "Graphviz could not lay out this graph: {why}"
    if not failures:
        text = (
            "No picture: Graphviz was not found. `pip install pygraphviz` brings it along "
            "(or install Graphviz itself, so that `dot` can be called), then draw again."
        )
    raise RuntimeError(text.format(why="; ".join(failures)))


def _renderers() -> list[Callable[[str, str, float | None], str]]:
    wheel = importlib.util.find_spec("pygraphviz") is not None
    return [*[_by_dot] * bool(shutil.which("dot")), *[_by_wheel] * wheel]


@contextmanager
def _after(seconds: float, do: Callable[[], object]) -> Iterator[None]:
    """Call ``do`` if what stands inside takes longer; never after it."""
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


# The process of the wheel -------------------------------------------------------------------------

_WORKER = Path(__file__).with_name("graphviz_worker.py")
_idle: list[subprocess.Popen[str]] = []  # loading Graphviz takes 50 ms, so the process is kept


def _by_wheel(source: str, form: str, limit: float | None) -> str:
    worker = _taken()
    try:
        with nullcontext() if limit is None else _after(limit, worker.kill):
            print(json.dumps([source, form]), file=worker.stdin, flush=True)
            answer = worker.stdout.readline() if worker.stdout else ""
        if not answer:
            raise ValueError(f"pygraphviz ended with status {worker.wait()} and no picture")
    except BaseException:  # Ctrl-C too: an answer that nobody read must not be taken for the next
        _end(worker)
        raise
    _idle.append(worker)
    drawn, said = json.loads(answer)
    if drawn is None:
        raise ValueError(said.replace("\n", ". "))
    if said:
        print(said, file=sys.stderr)
    return str(drawn)


def _taken() -> subprocess.Popen[str]:
    """A process that nobody else asks meanwhile. To a forked one, its parent's seem ended."""
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


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    with suppress(OSError), worker:  # closes the pipes and waits for its end
        pass


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())
