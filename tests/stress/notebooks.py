"""The cells of a lesson again, in random order, after they ran once from top to bottom.

    python -m tests.stress.notebooks                    # every lesson, every cell once more
    python -m tests.stress.notebooks --only 03 --cases 20

A cell that worked must work again: a name that stands for two things breaks it. (Cells that are
meant to raise must still raise; those that take long are not run again.)
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.stress import report

LONG = ("07", "10")  # lessons that come last, in case the time does not suffice
SLOW = 5.0  # seconds of a cell in the first run; it is left out of the second


def again(path: Path, random_: random.Random, most: int, end: float) -> tuple[int, list[str]]:
    """(cells that ran again, what went wrong)."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": path.parent}})
    done, bad = 0, list[str]()
    with client.setup_kernel():
        quick = [cell for cell in code_cells(notebook) if took(client, notebook, cell) < SLOW]
        for cell in random_.sample(quick, min(most, len(quick))):
            if time.monotonic() > end:
                break
            try:
                took(client, notebook, cell)
            except CellExecutionError as error:
                bad.append(f"{path.stem}, {cell.source[:70]!r}: {error.ename}: {error.evalue}")
            done += 1
    return done, bad


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def took(client: NotebookClient, notebook: Any, cell: Any) -> float:
    start = time.monotonic()
    client.execute_cell(cell, notebook.cells.index(cell))
    return time.monotonic() - start


def main() -> None:
    parser = report.arguments(__doc__, cases=1000)
    parser.add_argument("--only", default="", help="lessons whose name begins like this")
    options = parser.parse_args()
    end, found, bad = time.monotonic() + options.seconds, dict[str, list[int]](), 0
    paths = (report.ROOT / "notebooks").glob(f"{options.only}*.ipynb")
    for path in sorted(paths, key=lambda path: (path.stem.startswith(LONG), path)):
        if time.monotonic() > end:
            break
        random_ = random.Random(f"{path.stem} {options.seed}")
        ran, wrong = again(path, random_, options.cases, end)
        said = f"{path.stem}: {ran} cells again, {len(wrong)} accidents"
        print(said, *wrong, sep="\n  ", flush=True)
        found[path.stem] = [ran, len(wrong)]
        bad += len(wrong)
    earlier = report.kept("notebooks").get("each", {}) if options.keep else {}
    each = {**earlier, **found}  # the last run of each lesson
    text = "{done} cells of {lessons} lessons run again in random order: {bad} accidents"
    done, all_bad = (sum(numbers[i] for numbers in each.values()) for i in (0, 1))
    told = text.format(done=done, lessons=len(each), bad=all_bad)
    report.told("notebooks", told, bad, each=each)


if __name__ == "__main__":
    main()
