"""DOT in, SVG out: by the system's ``dot`` if there is one, else by the pygraphviz wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from gan_lessons.lens.show import symbols as words

_fd2 = threading.Lock()  # file descriptor 2 belongs to the whole process


def available() -> bool:
    """Can this machine turn DOT into pictures?"""
    return bool(_renderers())


def svg(dot: str) -> str:
    """Lay out DOT source and return an SVG document that starts with ``<svg``.

    Tries every Graphviz there is: a broken ``dot`` does not hide a working wheel.
    Raises RuntimeError, with what to do, if there is none or none could lay it out.
    """
    renderers = _renderers()
    if not renderers:
        raise RuntimeError(words.NO_GRAPHVIZ)
    failures = []
    for render in renderers:
        try:
            drawn = render(dot)
        except (OSError, ValueError, ImportError) as error:
            failures.append(f"{type(error).__name__}: {error}")
        else:
            return drawn[drawn.index("<svg") :]
    raise RuntimeError(words.GRAPHVIZ_FAILED.format(why="; ".join(failures)))


def _renderers() -> list[Callable[[str], str]]:
    found: list[Callable[[str], str]] = []
    if shutil.which("dot"):
        found.append(_by_dot)
    if importlib.util.find_spec("pygraphviz") is not None:
        found.append(_by_wheel)
    return found


def _by_dot(source: str) -> str:
    done = subprocess.run(
        ["dot", "-Kdot", "-Tsvg"], input=source.encode(), capture_output=True, check=False
    )
    drawn = done.stdout.decode()
    if done.returncode or "<svg" not in drawn:
        complaint = done.stderr.decode(errors="replace").strip()
        raise ValueError(complaint or f"dot ended with status {done.returncode} and no picture")
    return drawn


def _by_wheel(source: str) -> str:
    with _complaints_kept() as complaints:
        from pygraphviz import AGraph  # DotError, what it raises for bad DOT, is a ValueError

        try:
            # pygraphviz 2.0.4 crashes the process on a label whose first line is empty. torchviz
            # writes such labels for tensors without a name. A space keeps the line, and the kernel.
            graph = AGraph(string=re.sub(r'(label=")(\n|\\n)', r"\1 \2", source))
            try:
                return graph.draw(format="svg", prog="dot").decode()
            finally:
                graph.close()
        except ValueError as error:
            raise ValueError(f"{error}. {_without_fontconfig(complaints)}".strip()) from error


@contextmanager
def _complaints_kept() -> Iterator[IO[bytes]]:
    """Keep Fontconfig's warning (C code, fd 2) out of the notebook cell; let all else through.

    The warning is about files of the system that are newer than the wheel's Fontconfig; nobody
    can act on it. What is no warning of Fontconfig is written to fd 2 afterwards, as it came.
    """
    with _fd2, tempfile.TemporaryFile() as kept:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            saved = os.dup(2)
        except OSError:  # no standard error at all
            yield kept
            return
        try:
            os.dup2(kept.fileno(), 2)
            yield kept
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        if rest := _without_fontconfig(kept):
            os.write(2, rest.encode() + b"\n")


def _without_fontconfig(kept: IO[bytes]) -> str:
    kept.seek(0)
    lines = kept.read().decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith("Fontconfig"))
