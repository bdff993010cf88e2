"""What the site has beside its lessons: a step each, which writes its files and names them.

A new page is a new function in ``STEPS``; what it returns the index lists, and what it writes as
HTML below the site's folder can be searched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_lessons.classroom.export import api
from gan_lessons.classroom.export.cheat_sheet import cheat_sheet_page
from gan_lessons.classroom.export.docs import doc_pages
from gan_lessons.classroom.export.embed_page import embed_page, write_explorer
from gan_lessons.classroom.export.index import Link


@dataclass(frozen=True)
class Site:
    """What a step has to work with.

    folder: of the site. lessons: name -> executed notebook. docs: the folder of Markdown files, or
    one that is not there. write: (path, text) writes a file in one piece and says so.
    """

    folder: Path
    lessons: dict[str, Any]
    docs: Path
    write: Callable[[Path, str], None]


def docs_step(site: Site) -> list[Link]:
    """``docs/*.html``."""
    links = []
    for link, page in doc_pages(site.docs):
        site.write(site.folder / link.address, page)
        links.append(link)
    return links


def api_step(site: Site) -> list[Link]:
    """``api.html``."""
    site.write(site.folder / api.LINK.address, api.api_page())
    return [api.LINK]


def cheat_sheet_step(site: Site) -> list[Link]:
    """``cheat-sheet.html``."""
    site.write(site.folder / "cheat-sheet.html", cheat_sheet_page(home="index.html"))
    about = "Three strategies, the errors and their causes, nine ways to freeze one: one sheet."
    return [Link("cheat-sheet.html", "Cheat sheet", about)]


def embed_step(site: Site) -> list[Link]:
    """``explorer.html``, an explorer to show elsewhere, and ``embed.html``: how that is done."""
    page = embed_page(write_explorer(site.folder), home="index.html")
    site.write(site.folder / "embed.html", page)
    about = (
        "The three strategies in one file, and how to show a moment of it in a page or in slides."
    )
    return [Link("embed.html", "An explorer in your own slides", about)]


STEPS: tuple[Callable[[Site], list[Link]], ...] = (
    cheat_sheet_step,
    embed_step,
    api_step,
    docs_step,
)


def more_pages(site: Site) -> list[Link]:
    """Take all steps; what the index is to list, in order. Raises OSError for a file, and
    ExternalLoadError for a page that would load something."""
    return [link for step in STEPS for link in step(site)]
