"""The search of the site: all its text in one page, which works from disk and asks nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from markupsafe import Markup

from gan_lessons.classroom.export.index import site_page

Section = tuple[str, str, str, str]  # address, page, heading, text
_HEADINGS = ["h1", "h2", "h3"]
# What is no text of the page: scripts, and the insides of widgets, which say it in their own way.
_HEAVY = re.compile(r"<(script|style|svg)\b.*?</\1>|\"data:[^\"]*\"", re.S | re.I)
_NO_TEXT = ".permalink, .window, nav, [data-gl-still], .gl-lid, .teacher"
_WITHIN_A_LINE = {"a", "b", "code", "em", "i", "kbd", "span", "strong"}
_LONGEST = 4000  # characters of a section: a table of bytes is not searched to its end


def search_page(folder: Path) -> str:
    """The page that searches all pages of the site in ``folder``, but for the index and slides."""
    pages = [*sorted(folder.glob("*.html")), *sorted(folder.glob("docs/*.html"))]
    found = [
        section
        for path in pages
        if path.name not in ("index.html", "search.html")
        for section in sections(path.relative_to(folder).as_posix(), path.read_text("utf-8"))
    ]
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return site_page("search.html", "search.html.j2", sections=Markup(data))


def sections(address: str, page: str) -> Iterator[Section]:
    """The parts of an HTML ``page``, each from a heading with an id to the next."""
    main = BeautifulSoup(_HEAVY.sub("", page), "html.parser").find("main")
    if not isinstance(main, Tag):
        return
    for nothing in main.select(_NO_TEXT):
        nothing.decompose()
    headings = main.find_all(_HEADINGS)
    title = _text(headings[0].strings) if headings else address
    for heading in headings:
        anchor = str(heading.get("id") or "")
        text = _text(_until_next(heading))
        yield f"{address}#{anchor}" if anchor else address, title, _text(heading.strings), text


def _until_next(heading: Tag) -> Iterator[str]:
    inside = {*heading.strings}
    for node in heading.next_elements:
        if isinstance(node, Tag):
            if node.name in _HEADINGS:
                return
            yield "" if node.name in _WITHIN_A_LINE else " "
        elif isinstance(node, str) and node not in inside:
            yield node


def _text(strings: Iterable[str]) -> str:
    return " ".join("".join(strings).split())[:_LONGEST]
