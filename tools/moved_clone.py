"""A clone that was moved or copied: its ``.venv`` has the old folder written into it.

The editable install points to the old folder, and so do the scripts of ``.venv/bin``. The Makefile
runs this before it uses ``.venv``; with nothing to mend it says nothing. Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import Path


def old_folder(venv: Path) -> str | None:
    """The folder of the clone that ``venv`` was made for; None before the package is installed."""
    for pointer in venv.glob("lib/python*/site-packages/*gan_lessons.pth"):
        # A line for each folder that the wheel takes files from: all of them are this one.
        return pointer.read_text(encoding="utf-8").splitlines()[0]
    return None


def mend(venv: Path, old: str, new: str) -> None:
    """Write ``new`` for ``old`` into what names the folder: the pointer, and scripts of text."""
    places = [*venv.glob("bin/*"), *venv.glob("lib/python*/site-packages/*gan_lessons.pth")]
    for path in (venv / "pyvenv.cfg", *places):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            mended = content.replace(old.encode(), new.encode())
            if mended != content and b"\0" not in content:
                path.write_bytes(mended)


def main() -> int:
    clone = Path.cwd()
    venv = clone / ".venv"
    old = old_folder(venv)
    if old is None or old == str(clone):
        return 0
    print("This clone was at {old}. Its .venv follows to {new}.".format(old=old, new=clone))
    mend(venv, old, str(clone))
    return 0


if __name__ == "__main__":
    sys.exit(main())
