"""Run lesson 11 and write its scoreboard to docs/claims.md.

python tools/claims_table.py
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import nbformat

from gan_lessons.classroom.article import Scoreboard
from gan_lessons.classroom.statements import ADDRESS, ARTICLE

ROOT = Path(__file__).resolve().parents[1]
LESSON = ROOT / "notebooks" / "11-the-article-checked.ipynb"
DOCS = ROOT / "docs" / "claims.md"
HEAD = """# The article, checked

Written by `python tools/claims_table.py`, which runs
[lesson 11](../notebooks/11-the-article-checked.ipynb); `tests/test_claims_11.py` holds every line
of it. What the [article]({address}) of 2020 says is quoted in our translation. The conditions stand
before the measurement: ✓ met, ✗ not met. All of them met: the claim holds, and if it compares
sizes, for our nets; some of them: in part. Other lessons measure the same claims on their way; the
verdict that counts is this one.

{holds} hold, {ours} hold for our nets, {part} in part, {fail} do not hold.

| claim | the article says | conditions | verdict | measured | lesson |
|---|---|---|---|---|---|
"""


def scoreboard() -> Scoreboard:
    """The board that the cells of lesson 11 fill, each run once, from top to bottom."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in nbformat.read(LESSON, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"<{LESSON.stem}>", "exec"), names)
    board: Scoreboard = names["board"]
    return board


def markdown(board: Scoreboard) -> str:
    """The whole page. Raises ValueError where a claim has no verdict."""
    if board.missing:
        raise ValueError(f"no verdict on {', '.join(board.missing)}: lesson 11 must check them")
    counts = dict(zip(("holds", "ours", "part", "fail"), board.score, strict=True))
    rows = [_row(board, name) for name in ARTICLE]
    return HEAD.format(address=ADDRESS, **counts) + "\n".join(rows) + "\n"


def _row(board: Scoreboard, name: str) -> str:
    said, found = ARTICLE[name], board.checked[name]
    conditions = "<br>".join(f"{'✓' if met else '✗'} {text}" for text, met in found.found)
    link = f"[{said.lesson[:2]}](../notebooks/{said.lesson}.ipynb)"
    quote = f"“{said.quote}” *{said.where}*"
    cells = (name, quote, conditions, found.title, found.evidence, link)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    DOCS.write_text(markdown(scoreboard()), encoding="utf-8")
    print(f"{len(ARTICLE)} claims in {DOCS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
