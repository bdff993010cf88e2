"""Every link between the lessons leads to a heading that exists."""

import re
from pathlib import Path

import nbformat
import pytest

LINK = re.compile(r"\]\(([\w.-]+\.ipynb)(?:#([^)\s]+))?\)")


def markdown(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def anchors(path: Path) -> set[str]:
    """The ids that JupyterLab gives to headings: their text, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", markdown(path), re.MULTILINE)
    return {re.sub(r"[`*]", "", heading).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere(notebook_path: Path) -> None:
    for name, anchor in LINK.findall(markdown(notebook_path)):
        target = notebook_path.parent / name
        assert target.is_file(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


def test_the_glossary_links_every_word(root: Path) -> None:
    text = markdown(root / "notebooks" / "00-start-here.ipynb")
    rows = text.split("## Glossary")[1].splitlines()
    words = [row.split("|")[1].strip() for row in rows if row.count("|") == 4][2:]
    assert len(words) > 20
    assert sorted(words, key=lambda word: word.strip("`").lower()) == words
    assert len(LINK.findall("\n".join(rows))) == len(words)


@pytest.mark.parametrize("broken", ["02-nowhere.ipynb", "00-start-here.ipynb#Nothing"])
def test_a_broken_link_is_found(broken: str, root: Path) -> None:
    ((name, anchor),) = LINK.findall(f"[x]({broken})")
    target = root / "notebooks" / name
    assert not target.is_file() or anchor not in anchors(target)
