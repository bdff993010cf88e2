"""Many kernels at once through one lesson, as where a class shares a computer.

    python -m tests.stress.kernels --cases 12       # kernels; --lesson 05 is meant

All must finish. What each takes is its proportional share of memory (PSS): what is its own, and its
part of what it shares with others, at the most that was seen. ``docs/classroom.md`` tells it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.stress import report

PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def pss_of(pid: int) -> int:
    """Bytes; 0 where the process has ended, or the system does not tell."""
    try:
        found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


async def one(path: Path) -> tuple[int, str]:
    """(the most bytes that the kernel took, what went wrong) of one run of a lesson."""
    most, notebook = 0, nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": path.parent}})
    try:
        async with client.async_setup_kernel():
            manager: Any = client.km
            pid = manager.provisioner.process.pid
            for index, cell in enumerate(notebook.cells):
                await client.async_execute_cell(cell, index)
                most = max(most, pss_of(pid))  # between cells: while one runs it may be more
    except Exception as error:  # noqa: BLE001 - one kernel's end is not the others'
        return most, f"{type(error).__name__}: {str(error)[-300:]}"
    return most, ""


async def together(path: Path, count: int) -> list[tuple[int, str]]:
    return await asyncio.gather(*(one(path) for _ in range(count)))


def main() -> None:
    parser = report.arguments(__doc__, cases=12)
    parser.add_argument("--lesson", default="05")
    options = parser.parse_args()
    (path,) = (report.ROOT / "notebooks").glob(f"{options.lesson}*.ipynb")
    start = time.monotonic()
    found = asyncio.run(together(path, options.cases))
    took, most = time.monotonic() - start, max(size for size, _ in found)
    bad = [what for _, what in found if what]
    print(*(f"{size / 1e6:.0f} MB {what}" for size, what in found), sep="\n")
    text = (
        "{n} kernels at once through lesson {lesson} on this machine, in {took:.0f} s: "
        "{done} finished, each with at most {most:.0f} MB"
    )
    told = text.format(n=options.cases, lesson=options.lesson, took=took,
                       done=options.cases - len(bad), most=most / 1e6)  # fmt: skip
    if "--keep" in sys.argv:
        from between_markers import put_between

        words = (
            "Of {n} kernels that went through lesson {lesson} at the same time, each took at most "
            "{most:.0f} MB."
        )
        words = words.format(n=options.cases, lesson=options.lesson, most=most / 1e6)
        put_between(report.ROOT / "docs" / "classroom.md", "memory", words)
    report.told("kernels", told, len(bad))


if __name__ == "__main__":
    main()
