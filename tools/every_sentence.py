"""Where each sentence of a lesson is shown: no sentence without its cell.

python tools/every_sentence.py notebooks/09-in-the-wild.ipynb      # those that the ledger misses

The ledger of a lesson, ``tests/sentences/<lesson>.toml``, has a table for each cell of prose. There
stands, of each sentence, where it is shown: pairs of a cell's id and a pattern that has to be found
in what this cell shows ("<id> code": in its code). Where nothing is to be shown, it says what the
sentence is instead: one of ``KINDS``. Questions and headings need no entry, and teacher's notes are
not asked.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lesson_sentences
import nbformat

from gan_lessons.classroom.export import slide_type

LEDGERS = Path(__file__).resolve().parents[1] / "tests" / "sentences"
KINDS = {
    "definition",  # of a word, or of what is going to be done: it says nothing about a result
    "task",  # what the reader is to do, or may hope to be able to do
    "source",  # it stands at the address that its cell of prose links, or nowhere: that is said
}
LINK = re.compile(r"\]\(([^()]*(?:\([^()]*\))?[^()]*)\)")
END = re.compile(r"(?<=[.?!])[\"*)]*\s+(?=[\"*(`\[$A-Z✓○])")
NUMBER = re.compile(r"(?<![\w.,])\d[\d.,]*(?<![.,])")
OF_A_LESSON = re.compile(r"`[^`]*`|\b[Ll]essons? \d\d")

Ledger = dict[str, dict[str, Any]]


def read(lesson: str) -> Ledger:
    """The ledger of a lesson, by the ids of its cells of prose."""
    return tomllib.loads((LEDGERS / f"{lesson}.toml").read_text(encoding="utf-8"))


def sentences(source: str) -> list[str]:
    """What a cell of prose asserts, sentence by sentence, in one line each."""
    found: list[str] = []
    for block in re.split(r"\n\s*\n|\n(?=- )|(?m:^#.*$)", source):
        text = " ".join(block.split()).removeprefix("- ")
        found += [s.strip() for s in _split(text) if re.search(r"\w", s)]
    return [s for s in found if not re.search(r"\?[\"*)]*$", s)]


def _split(text: str) -> Iterator[str]:
    start = 0
    for end in END.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]


def prose(notebook: Any) -> dict[str, list[str]]:
    """Cell of prose -> its sentences, where it has any; teacher's notes are left out."""
    told = {
        cell.id: sentences(cell.source)
        for cell in notebook.cells
        if cell.cell_type == "markdown" and slide_type(cell) != "notes"
    }
    return {cell: found for cell, found in told.items() if found}


def problems(ledger: Ledger, executed: Any) -> list[str]:
    """One line for each sentence of an executed lesson that is not shown, and for each entry of the
    ledger that belongs to none."""
    said, found = prose(executed), []
    cells = {cell.id: cell for cell in executed.cells}
    for cell, texts in said.items():
        entries = ledger.get(cell, {})
        found += [f"{cell}: not in the ledger: {text}" for text in texts if text not in entries]
        for text in texts:
            if text in entries:
                found += _unshown(text, entries[text], cells, cells[cell].source)
    for cell, entries in ledger.items():
        gone = [text for text in entries if text not in said.get(cell, [])]
        found += [f"{cell}: in no cell of prose: {text}" for text in gone]
    return found


def _unshown(text: str, entry: Any, cells: dict[str, Any], around: str) -> list[str]:
    """What is missing for one sentence."""
    if isinstance(entry, str):
        if entry not in KINDS:
            return [f"{text}: {entry!r} is none of {', '.join(sorted(KINDS))}"]
        unlinked = entry == "source" and not LINK.search(around)
        return [f"{text}: there is no link beside it"] if unlinked else []
    found, seen = [], {"0"}  # "below 0" needs no 0 to be printed
    for place, pattern in entry:
        shown = _shown(place, cells)
        seen |= {*NUMBER.findall(shown)}
        if not re.search(pattern, shown, re.DOTALL):
            found.append(f"{text}: {place} does not show {pattern!r}")
    numbers = NUMBER.findall(OF_A_LESSON.sub("", LINK.sub("]", text)))
    found += [f"{text}: none of its cells shows {n}" for n in numbers if n not in seen]
    return found if entry else [f"{text}: no cell is named"]


def _shown(place: str, cells: dict[str, Any]) -> str:
    """What "<id>" shows, or what stands in "<id> code"; nothing where there is no such cell."""
    name, _, code = place.partition(" ")
    if name not in cells:
        return ""
    return str(cells[name].source) if code else lesson_sentences.shown(cells[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        ledger = read(path.stem) if (LEDGERS / f"{path.stem}.toml").exists() else {}
        for cell, texts in prose(nbformat.read(path, as_version=4)).items():
            new = [text for text in texts if text not in ledger.get(cell, {})]
            print(*([f"\n[{cell}]"] if new else []), sep="\n", end="\n" if new else "")
            for text in new:
                print(json.dumps(text, ensure_ascii=False), "= ")


if __name__ == "__main__":
    main()
