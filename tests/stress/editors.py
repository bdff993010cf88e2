"""A lesson in two editors that are not JupyterLab: Notebook 7 in Chromium, and marimo.

    python -m tests.stress.editors               # two minutes; 12 packages in a temporary folder
    python -m tests.stress.editors --in FOLDER   # an environment that is kept, and made once

Asks a package index for ``notebook`` and ``marimo``; all else comes from this environment. In both
cells of lesson 02 have to run: in Notebook 7 up to the table of gradients, with its question on the
page; in marimo all, of which those fail that are meant to raise, and no other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.stress import report

# Of tools/, which stands on the path once `report` is imported.
from lab_server import LabServer, kernel_environment  # isort: skip
from deck_browser import running_chromium  # isort: skip

LESSON = report.ROOT / "notebooks" / "02-strategy-1-retain-graph.ipynb"
FIRST_CELLS = 14  # up to the table of gradients
WAIT_MS = 120_000


def environment(folder: Path) -> Path:
    """The Python of an environment that sees this one's packages, and has the two editors."""
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        venv.create(folder, symlinks=True)
        own = sysconfig.get_path("purelib", vars={"base": str(folder)})
        Path(own, "this_one.pth").write_text(sysconfig.get_path("purelib"))
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
        lab = f"jupyterlab=={version('jupyterlab')}"  # its settings have to lie there, too
        subprocess.run([*command, "--no-deps", "--ignore-installed", lab], check=True)
        subprocess.run([*command, "notebook>=7,<8", "marimo"], check=True)
    return python


class Notebook7(LabServer):
    """The same server with another page."""

    def __init__(self, python: Path, scratch: Path) -> None:
        super().__init__(LESSON.parent, scratch)
        self.program = (str(python), "-m", "notebook")

    def _environment(self) -> dict[str, str]:
        shared = Path(sysconfig.get_path("data"), "share", "jupyter")  # ipywidgets' front end
        return super()._environment() | {
            "JUPYTER_PATH": str(shared), "PYTHONPATH": str(report.ROOT)
        }  # fmt: skip


def wrong_in_notebook_7(python: Path, scratch: Path) -> list[str]:
    """What did not go as a learner expects; with a picture in ``scratch``."""
    with Notebook7(python, scratch / "server") as server, running_chromium() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{server.url}/notebooks/{LESSON.name}?token={server.token}")
        page.locator(".jp-Notebook .jp-Cell").first.click(timeout=WAIT_MS)
        ready = page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        expect(ready).to_be_visible(timeout=WAIT_MS)
        run = page.get_by_role("button", name="Run this cell and advance")
        for _ in range(FIRST_CELLS):
            run.click()
        for seen in (".ask", ".jp-OutputArea-output table"):  # its question, and the table
            expect(page.locator(seen).first).to_be_visible(timeout=WAIT_MS)
        page.screenshot(path=str(scratch / "notebook7.png"))
        failed = '[data-mime-type="application/vnd.jupyter.error"]'
        return list(page.locator(failed).all_inner_texts())


def wrong_in_marimo(python: Path, scratch: Path) -> list[str]:
    """One line for each cell that failed, or did not, against what is meant."""
    made = scratch / "lesson.py"
    quietly([python, "-m", "marimo", "convert", LESSON, "-o", made], scratch).check_returncode()
    kept = scratch / "__marimo__" / "session" / "lesson.py.json"  # what the run leaves behind
    kept.unlink(missing_ok=True)
    page = scratch / "lesson.html"
    done = quietly([python, "-m", "marimo", "export", "html", made, "-o", page], scratch)
    if not kept.exists():
        return [done.stderr[-500:]]
    return not_as_meant(*(json.loads(path.read_text(encoding="utf-8")) for path in (LESSON, kept)))


def not_as_meant(lesson: dict[str, Any], session: dict[str, Any]) -> list[str]:
    """marimo knows no `raises-exception` and calls such a cell failed; it is wrong where it is not.

    lesson: the notebook. session: what marimo keeps of a run: a cell that imports marimo, then
    those of the notebook.
    """
    written, ran = lesson["cells"], session["cells"][1:]
    if len(ran) != len(written):
        return [f"marimo ran {len(ran)} cells of {len(written)}"]
    wrong = []
    for number, (cell, done) in enumerate(zip(written, ran, strict=True)):
        errors = [out["evalue"] for out in done["outputs"] if out["type"] == "error"]
        if not cell["metadata"].get("tags", []).count("raises-exception"):
            wrong += [f"cell {number} failed: {error}" for error in errors]
        elif not errors:
            wrong.append(f"cell {number} is meant to raise, and did not")
    return wrong


def quietly(command: list[str | Path], scratch: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=scratch, env=kernel_environment(scratch) | {"PYTHONPATH": str(report.ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--in", dest="folder", type=Path, help="keep the environment there")
    kept = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        scratch = kept or Path(temporary)
        scratch.mkdir(exist_ok=True)
        python = environment(scratch / "environment")
        wrong = [
            f"{name}: {line}"
            for name, told in (
                ("marimo", wrong_in_marimo(python, scratch)),
                ("Notebook 7", wrong_in_notebook_7(python, scratch)),
            )
            for line in told
        ]
    print("\n".join(wrong) or "lesson 02 runs in Notebook 7 and in marimo")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
