"""The lessons without a clone: ``gan-lessons copy DIR`` and ``gan-lessons lab [DIR]``.

The wheel carries the notebooks. They are copied into a folder of the learner's, and never over the
learner's own work: ``.gan-lessons.json`` there remembers what was given, so that a notebook changed
since then is known. It stays, and a newer one comes beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from gan_lessons.whole_file import whole_file, write_whole

PACKAGE = Path(__file__).resolve().parents[1]
FIRST = "00-start-here.ipynb"
FOLDER = "gan-lessons"  # in the folder where one types
LAB_SETTINGS = PACKAGE / "classroom" / "jupyter"  # JupyterLab asks nobody for news, nor for updates
GIVEN = ".gan-lessons.json"  # name of a notebook -> digest of what was copied under that name


def lessons_folder() -> Path:
    """Where the notebooks are: inside an installed package, beside it in a clone.

    Raises FileNotFoundError if they are in neither place.
    """
    for folder in (PACKAGE / "notebooks", PACKAGE.parent / "notebooks"):
        if (folder / FIRST).is_file():
            return folder
    raise FileNotFoundError(2, "the lessons are missing, install again", str(PACKAGE / "notebooks"))


def copy_lessons(folder: Path) -> list[str]:
    """Copy the notebooks into ``folder``, which is made if it is not there.

    A notebook that was changed there is left alone; if ours is newer than the one that was copied,
    it comes beside it. Returns a sentence for whatever is not simply new. Raises OSError where the
    folder cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = _read_given(folder / GIVEN)
    told: list[str] = []
    kept: list[str] = []
    for ours in sorted(lessons_folder().glob("[0-9]*.ipynb")):
        newest = ours.read_bytes()
        digest = hashlib.sha256(newest).hexdigest()
        path, there = _place(folder / ours.name, digest, given)
        if path.name != ours.name and given.get(ours.name) == digest:
            kept.append(ours.name)  # the newest was offered before
            continue
        if there != digest:
            with whole_file(path) as file:
                file.write(newest)
            told += _sentence(ours.name, path.name, there)
        given[path.name] = given[ours.name] = digest
    if kept:
        told.append("You changed these, and they stay: {names}.".format(names=", ".join(kept)))
    write_whole(folder / GIVEN, json.dumps(given, indent=1))
    return told


def _place(path: Path, digest: str, given: dict[str, str]) -> tuple[Path, str | None]:
    """The first name under which no work of the learner's is, and the digest of what is there.

    x.ipynb, x.newer.ipynb, x.newer-2.ipynb, ...
    """
    for number in count():
        end = ["", ".newer"][number] if number < 2 else f".newer-{number}"
        place = path.with_suffix(f"{end}.ipynb")
        there = hashlib.sha256(place.read_bytes()).hexdigest() if place.exists() else None
        if there in (None, digest, given.get(place.name)):
            return place, there
    raise AssertionError("count() has no end")


def _sentence(asked: str, name: str, there: str | None) -> Iterator[str]:
    if name != asked:
        text = "You changed {asked}, and it stays; the newer one is {name}."
        yield text.format(name=name, asked=asked)
    elif there is not None:
        yield "{name} was as it came, and is the newer one now.".format(name=name)


def _read_given(path: Path) -> dict[str, str]:
    """What was noted, or nothing: without the note, whatever differs counts as changed."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def copy_command(arguments: Sequence[str]) -> int:
    """``gan-lessons copy DIR``; returns the exit status."""
    parser = argparse.ArgumentParser("gan-lessons copy", description="copy the lessons into DIR")
    parser.add_argument("folder", metavar="DIR", type=Path)
    return _copy(parser.parse_args(arguments).folder)


def _copy(folder: Path) -> int:
    try:
        told = copy_lessons(folder)
    except OSError as error:
        text = "The lessons cannot be copied to {folder}: {reason} ({path}). Name another folder."
        reason, path = error.strerror or error, error.filename or folder
        print(text.format(folder=folder, reason=reason, path=path), file=sys.stderr)
        return 1
    text = "The lessons are in {folder}. Begin with {first}."
    print(*told, text.format(folder=folder, first=FIRST), sep="\n", flush=True)
    return 0


def lab_command(arguments: Sequence[str]) -> int:
    """``gan-lessons lab [DIR]``: copy the lessons, open JupyterLab on the first one.

    Options that are not its own go to JupyterLab. Returns an exit status where it returns: on POSIX
    JupyterLab takes over this process, which holds torch and would keep it in memory.
    """
    parser = argparse.ArgumentParser(
        "gan-lessons lab",
        usage="%(prog)s [-h] [DIR] [options of JupyterLab ...]",
        description="copy the lessons into DIR, then open JupyterLab on the first of them",
    )
    text = "where your copies are (default: {folder})".format(folder=FOLDER)
    parser.add_argument("folder", metavar="DIR", type=Path, help=text)
    named = arguments and (arguments[0] in ("-h", "--help") or not arguments[0].startswith("-"))
    options = parser.parse_args(arguments[:1] if named else [FOLDER])
    rest = arguments[1:] if named else arguments
    if find_spec("jupyterlab") is None:
        text = 'gan-lessons lab needs jupyterlab. To have it: pip install "gan-lessons[lab]"'
        print(text, file=sys.stderr)
        return 2
    if failed := _copy(options.folder):
        return failed
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command += [f"--LabApp.default_url=/lab/tree/{FIRST}", *rest, str(options.folder)]
    theirs = os.environ.get("JUPYTER_CONFIG_PATH")
    paths = os.pathsep.join([str(LAB_SETTINGS), *([theirs] if theirs else [])])
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": paths}
    if os.name == "posix":
        os.execve(command[0], command, environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is JupyterLab's, which asks back
    return subprocess.call(command, env=environment)
