"""A machine that lacks something: room on the disk, a folder, HOME, Graphviz, the network.

    python -m tests.stress.disk

Each trial is a program of its own. It must end with a sentence that says what is missing, or work
all the same; what stood there before must still stand, and nothing half-written beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat

from tests.stress import report

# What writes files, each with the file that it writes.
WRITERS = {
    "explorer.html": "explore('detach', what_if=False).save(where)",
    "graph.svg": "draw_graph(record=rec).save(where)",
    "graph.dot": "draw_graph(record=rec).save(where)",
    "graph.txt": "draw_graph(record=rec).save(where)",
    "training.pt": "train.Training(gan, data.ring(8), step_detach).save(where)",
}
FILLER = "filler"
PROGRAM = """\
import json, sys
from pathlib import Path
from gan_lessons import *
from gan_lessons import data, train
gan = tiny_gan()
with record(gan.nets, gan.optimizers) as rec:
    step_detach(gan, data.ring(4), data.noise(4, (2,)))
told = {{}}
{before}
for name, call in {calls!r}.items():
    where = Path({folder!r}) / name
    try:
        eval(call)
        told[name] = "done"
    except (OSError, RuntimeError) as error:
        told[name] = f"said: {{error}}"
print(json.dumps(told))
"""
LIMITED = """\
draw_graph(record=rec).svg  # what Graphviz writes for itself is not what is tried
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))"""
NO_GRAPHVIZ = """\
import importlib.util, os
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "pygraphviz" else found(name, *a)
os.environ["PATH"] = "" """
NO_NETWORK = """\
def hear(event, given):
    if event == "socket.connect" and not str(given[1]).startswith(("('127.", "('::1", "/", "b'")):
        print("asked", given[1])
        raise SystemExit(3)
sys.addaudithook(hear)"""


def ran(
    folder: Path, calls: Mapping[str, str] = WRITERS, before: str = "", **environ: str
) -> dict[str, str]:
    """What came of each call: "done", "said: ..."; else the end of the program's traceback."""
    program = PROGRAM.format(before=before, calls=dict(calls), folder=str(folder))
    environment = {k: v for k, v in {**os.environ, **environ}.items() if v}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env=environment, cwd=report.ROOT,
    )  # fmt: skip
    if done.returncode:
        return dict.fromkeys(calls, f"fell: {(done.stdout + done.stderr)[-400:]}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def not_done(told: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{name}: {what}" for name, what in told.items() if what != "done")


def refused(folder: Path, before: str = "", *, old: str = "old") -> Iterator[str]:
    """Each writer must say that it cannot, and name the file."""
    for name, told in ran(folder, before=before).items():
        where = folder / name
        if not told.startswith("said:") or name not in told:
            yield f"{name}: {told}"
        if where.exists() and where.read_text(errors="replace") != old:
            yield f"{name}: half-written, {where.stat().st_size} bytes"
    if rest := [p.name for p in folder.iterdir() if p.name not in {*WRITERS, FILLER}]:
        yield f"left {rest}"


def limited(folder: Path) -> Iterator[str]:
    """No file may grow beyond some bytes: as on a full disk, and anybody may ask for it."""
    for name in WRITERS:
        (folder / name).write_text("old")
    yield from refused(folder, LIMITED)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[bool]:
    """A small file system of its own; False where this user may not mount one."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    try:
        yield done.returncode == 0
    finally:
        if not done.returncode:
            subprocess.run(["umount", str(folder)], check=True)


def full_disk(folder: Path) -> Iterator[str]:
    with mounted(folder, "size=64k") as is_there:
        if not is_there:
            print("  (no tmpfs may be mounted here; the limit on files says the same)")
            return
        for name in WRITERS:
            (folder / name).write_text("old")
        with suppress(OSError), (folder / FILLER).open("wb") as file:
            while file.write(b"x" * 512):
                file.flush()
        yield from refused(folder)


def read_only(folder: Path) -> Iterator[str]:
    with mounted(folder, "size=64k,ro") as is_there:
        if not is_there:
            folder.chmod(0o555)
        if is_there or os.getuid():
            yield from refused(folder)
        folder.chmod(0o755) if not is_there else None


def no_graphviz(folder: Path) -> Iterator[str]:
    words = {
        "graph.svg": WRITERS["graph.svg"],
        "graph.txt": "draw_graph(record=rec)._repr_html_(), draw_graph(record=rec).save(where)",
        "x.html": WRITERS["explorer.html"],
    }
    told = ran(folder, words, NO_GRAPHVIZ)
    if "Graphviz was not found. `pip install pygraphviz`" not in told.pop("graph.svg"):
        yield "no Graphviz, and not a word how to come by it"
    yield from not_done(told)


def no_home(folder: Path) -> Iterator[str]:
    for home in ("", "/nowhere"):
        yield from not_done(ran(folder, HOME=home, XDG_CACHE_HOME=""))


def no_network(folder: Path) -> Iterator[str]:
    yield from not_done(ran(folder, before=NO_NETWORK))


# Exports ------------------------------------------------------------------------------------------

CORRUPT = {
    "03-list": "[]",
    "04-empty": "",
    "05-no-cells": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "06-cut": '{"cells": [',
    "07-bytes": "\x00\x01",
    "08-formula": "",  # its title; see below
}


def lesson(path: Path, title: str, *code: str) -> None:
    new = nbformat.v4
    cells = [new.new_markdown_cell(title), *map(new.new_code_cell, code)]
    cells[0].metadata["slideshow"] = {"slide_type": "slide"}
    nbformat.write(new.new_notebook(cells=cells), path)


def builder(folder: Path) -> list[str]:
    command = [sys.executable, "-m", "gan_lessons.classroom.export.build", "site"]
    return [*command, "--notebooks", str(folder), "--build", str(folder / "build")]


def corrupt(folder: Path) -> Iterator[str]:
    lesson(folder / "01-good.ipynb", "# Good", "print(6 * 7)")
    for name, text in CORRUPT.items():
        (folder / f"{name}.ipynb").write_text(text)
    lesson(folder / "08-formula.ipynb", r"# Bad $\frac{$")
    done = subprocess.run(builder(folder), capture_output=True, text=True, check=False)
    site = folder / "build" / "site"
    if done.returncode != 1 or "Traceback" in done.stderr:
        yield f"status {done.returncode}: {done.stderr[-300:]}"
    made = {p.stem for p in site.glob("*.html")}
    if not {"01-good", "index"} <= made or made & {*CORRUPT}:
        yield f"built {sorted(made)}"
    yield from (f"{name} is not named" for name in CORRUPT if name not in done.stderr)
    index = (site / "index.html").read_text(encoding="utf-8")
    yield from (f"{name} is linked" for name in CORRUPT if name in index)


def killed_half_way(folder: Path) -> Iterator[str]:
    for number in (1, 2):
        cells = ["import time; time.sleep(0.2)"] * 12
        lesson(folder / f"0{number}-lesson.ipynb", f"# Lesson {number}", *cells)
    with subprocess.Popen(
        builder(folder), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "cells have run" in line:
                break
        os.killpg(process.pid, signal.SIGKILL)
    halves = [p for p in folder.rglob("*.html") if "</html>" not in p.read_text()[-20:]]
    yield from (f"half-written: {p.name}" for p in halves)
    for kept in (folder / "build" / "executed").glob("[!.]*"):
        json.loads(kept.read_text())
    done = subprocess.run(builder(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"the next build failed: {done.stderr[-300:]}"


TRIALS: dict[str, Callable[[Path], Iterator[str]]] = {
    "no room for a file": limited,
    "a full disk": full_disk,
    "a folder that only reads": read_only,
    "no Graphviz": no_graphviz,
    "no HOME": no_home,
    "no network": no_network,
    "corrupt notebooks": corrupt,
    "an export killed half-way": killed_half_way,
}


def main() -> None:
    parser = report.arguments(__doc__, cases=len(TRIALS))
    parser.add_argument("--only", help="trials whose name holds this")
    options = parser.parse_args()
    chosen = {n: t for n, t in TRIALS.items() if not options.only or options.only in n}
    accidents = []
    for name, trial in list(chosen.items())[: options.cases]:
        folder = Path(tempfile.mkdtemp(prefix="gan-lessons-"))
        try:
            found = list(trial(folder))
        finally:
            shutil.rmtree(folder)
        print(f"{name}: {len(found)} accidents", *found, sep="\n  ", flush=True)
        accidents += found
    text = "{names}: a sentence, or it works; half-written files and other accidents: {bad}"
    names = ", ".join(list(chosen)[: options.cases])
    report.told("disk", text.format(names=names, bad=len(accidents)), len(accidents))


if __name__ == "__main__":
    main()
