"""What the commands of this folder share: their options, and where their figures are kept.

    python -m tests.stress.report   # puts the figures of the last runs into docs/robustness.md

A run of the full size keeps its figure in ``figures.json``; a shorter one only prints it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FIGURES = Path(__file__).with_name("figures.json")
PAGE = ROOT / "docs" / "robustness.md"
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tools")]  # as for the tests: pyproject.toml


def arguments(text: str | None, **defaults: int) -> argparse.ArgumentParser:
    """``--cases --seconds --seed``, and ``--keep`` for the page; more may be added."""
    parser = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=defaults.get("cases", 100))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the figure for the page")
    return parser


def kept(name: str) -> dict[str, Any]:
    """What the last run that was kept left."""
    figures: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    found: dict[str, Any] = figures.get(name, {})
    return found


def told(name: str, text: str, accidents: int, **more: Any) -> None:
    """Print the figure, keep it if asked to by ``--keep``, and end: with 1 after an accident.

    more: what is kept beside it, for the next run of the command.
    """
    print(text)
    if "--keep" in sys.argv:
        figures = json.loads(FIGURES.read_text(encoding="utf-8"))
        figures[name] = {"found": text, "with": versions(), **more}
        lines = json.dumps(figures, indent=1, ensure_ascii=False, sort_keys=True)
        FIGURES.write_text(lines + "\n", encoding="utf-8")
    sys.exit(1 if accidents else 0)


def versions() -> str:
    """What a figure was found with."""
    text = "Python {python}, torch {torch}, {system}"
    return text.format(
        python=platform.python_version(), torch=version("torch"), system=platform.system()
    )


def rows() -> str:
    """The table of the page."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    lines = ["| command | what the last run that was kept found | with |", "|---|---|---|"]
    row = "| `python -m tests.stress.{name}` | {found} | {with} |"
    return "\n".join(lines + [row.format(name=name, **figures[name]) for name in sorted(figures)])


if __name__ == "__main__":
    from between_markers import put_between

    put_between(PAGE, "figures", rows())
