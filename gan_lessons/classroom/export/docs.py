"""The Markdown files of ``docs/`` as pages of the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gan_lessons.classroom.export.index import Link, site_page
from gan_lessons.classroom.export.markdown import Markdown, page_link


def doc_pages(folder: Path) -> Iterator[tuple[Link, str]]:
    """(what the index says of it, the page) for each file of ``folder``, by name.

    Raises ExternalLoadError for a picture that is not in the folder.
    """
    for path in sorted(folder.glob("*.md")):
        markdown = Markdown(_from_docs, folder=folder)
        html = markdown(path.read_text(encoding="utf-8"))
        title = next((str(found) for level, _, found in markdown.headings if level == 1), path.stem)
        plain = re.sub(r"<[^>]+>", "", title)
        link = Link(f"docs/{path.stem}.html", plain)
        told = {"title": plain, "html": html, "headings": markdown.headings}
        yield link, site_page(link.address, "doc.html.j2", **told)


def _from_docs(name: str, anchor: str) -> str:
    return f"../{page_link(name, anchor)}"
