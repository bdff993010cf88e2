"""DOT in, SVG or positions out: Graphviz in a process of its own, which a limit or Ctrl-C stops.

It is the system's ``dot`` if there is one, else pygraphviz. Layout time explodes with residuals and
double backward (284 nodes: more than a minute), and only a process can be stopped. Interrupted in
this one, pygraphviz can close its handle twice, and that kills a notebook's kernel.
"""

from __future__ import annotations

import _thread
import atexit
import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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
    layout = _Layout(dot, form)
    try:
        # No signal lands in a thread, so nothing is left half done there. (A threading.Thread
        # would wait for its start, and an interrupt could break that.)
        _thread.start_new_thread(layout.run, ())
        if not layout.is_done_in(LIMIT):
            text = "Graphviz needs long to lay out this graph. Interrupt to stop it."
            if not wait:
                text = (
                    "Graphviz was stopped after {limit:g} seconds, for this graph takes long to "
                    "lay out. Use .save('graph.svg'), which waits for it, or read the words."
                )
                raise RuntimeError(text.format(limit=LIMIT))
            print(text, file=sys.stderr)
            layout.is_done_in(math.inf)
    finally:
        layout.stop()
    if layout.said:
        print(layout.said, file=sys.stderr)
    if layout.drawn:
        return layout.drawn
    text = "Graphviz could not lay out this graph: {why}"
    if not layout.failures:
        text = (
            "No picture: Graphviz was not found. `pip install pygraphviz` brings it along "
            "(or install Graphviz itself, so that `dot` can be called), then draw again."
        )
    raise RuntimeError(text.format(why="; ".join(layout.failures)))


class _Layout:
    """A graph on its way through Graphviz, and the process that it is in."""

    def __init__(self, dot: str, form: str) -> None:
        self.dot, self.form = dot, form
        self.drawn, self.said, self.failures = "", "", list[str]()
        self.process: subprocess.Popen[str] | None = None
        self.over = False
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        """Tries every Graphviz there is: a broken ``dot`` does not hide a working wheel."""
        try:
            for render in _renderers():
                try:
                    self.drawn = render(self)
                    break
                except (OSError, ValueError) as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            self.process = None
            self.done.release()

    def is_done_in(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not (done := self.done.acquire(timeout=0.1)) and time.monotonic() < end:
            pass  # a longer wait would hear no Ctrl-C on Windows
        return done

    def enter(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        if self.over:
            self.stop()

    def stop(self) -> None:
        """Nobody waits any more."""
        self.over = True
        process = self.process
        if process is not None and process.returncode is None:
            with suppress(OSError):
                os.kill(process.pid, signal.SIGTERM)  # Popen.kill takes a lock: not in this thread


def _renderers() -> list[Callable[[_Layout], str]]:
    wheel = importlib.util.find_spec("pygraphviz") is not None
    return [*[_by_dot] * bool(shutil.which("dot")), *[_by_wheel] * wheel]


def _by_dot(layout: _Layout) -> str:
    command = ["dot", "-Kdot", f"-T{layout.form}"]  # not by graphviz.Source.pipe: it has no stop
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace"
    ) as process:
        layout.enter(process)
        drawn, complaint = process.communicate(layout.dot)
    if process.returncode or ("<svg" if layout.form == "svg" else "{") not in drawn:
        told = f"dot ended with status {process.returncode} and no picture"
        raise ValueError(complaint.strip() or told)
    return drawn


# The process of the wheel -------------------------------------------------------------------------

_WORKER = Path(__file__).with_name("graphviz_worker.py")
_idle: list[subprocess.Popen[str]] = []  # loading Graphviz takes 50 ms, so the process is kept


def _by_wheel(layout: _Layout) -> str:
    process = _taken()
    layout.enter(process)
    answer = ""
    with suppress(OSError):
        print(json.dumps([layout.dot, layout.form]), file=process.stdin, flush=True)
        answer = process.stdout.readline() if process.stdout else ""
    layout.process = None  # first this, then a look whether it was stopped
    if answer and not layout.over:
        _idle.append(process)
    else:
        _end(process)
    if not answer:
        raise ValueError(f"pygraphviz ended with status {process.returncode} and no picture")
    drawn, said = json.loads(answer)
    if drawn is None:
        raise ValueError(said.replace("\n", ". "))
    layout.said = said
    return str(drawn)


def _taken() -> subprocess.Popen[str]:
    """A process that nobody else asks meanwhile. To a forked one, its parent's seem ended."""
    with suppress(IndexError):
        while (process := _idle.pop()).poll() is not None:
            _end(process)
        return process
    return subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],  # -P: it finds no modules beside itself
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the asker, who ends it
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    with suppress(OSError), process:  # closes the pipes and waits for its end
        pass


@atexit.register
def _end_all() -> None:
    while _idle:
        _end(_idle.pop())
