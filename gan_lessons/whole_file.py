"""Write a file in one piece: whoever looks finds the old one or the new one, never half of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, *, make_folder: bool = False) -> Iterator[BinaryIO]:
    """A file to write bytes to, which stands at ``path`` once all are on the disk.

    make_folder: with its parents, where it is not there. On an error or an interrupt what was there
    stays. Whoever is killed leaves a ``.name.….part`` beside it, which nothing reads.
    Raises OSError, which names ``path``.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with half.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def write_whole(path: Path, text: str, *, make_folder: bool = False) -> None:
    """The same for a text, in UTF-8."""
    with whole_file(path, make_folder=make_folder) as file:
        file.write(text.encode())
