"""Run a notebook in a real JupyterLab and save a picture of what a learner sees.

python tools/screenshot.py notebooks/02-....ipynb out.png
python tools/screenshot.py notebooks/02-....ipynb out.png --cell "Predict" --dark
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lab_browser import LabBrowser
from lab_server import LabServer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("png", type=Path)
    parser.add_argument("--cell", help="only the first cell that shows this text, with its output")
    parser.add_argument("--at", help="the whole page, scrolled to the first cell with this text")
    parser.add_argument("--width", type=int, default=1280, help="pixels")
    parser.add_argument("--height", type=int, default=720, help="pixels")
    parser.add_argument("--dark", action="store_true", help="JupyterLab's dark theme")
    options = parser.parse_args(arguments)
    if not options.notebook.is_file():
        parser.error(f"there is no notebook {options.notebook}")

    with (
        tempfile.TemporaryDirectory(prefix="gan-lessons-") as scratch,
        LabServer(options.notebook.parent, Path(scratch), dark=options.dark) as server,
        LabBrowser(server, width=options.width, height=options.height) as browser,
    ):
        page = browser.open(options.notebook.name)
        page.hide_side_panels()
        page.run_all()
        page.show(options.at)
        page.screenshot(options.png, cell=options.cell)
        problems = page.problems()
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
