"""The index of the site: what the course is, and a card for every lesson."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment

from gan_lessons.classroom.export import assets, words
from gan_lessons.classroom.export.markup import Markup, page_link
from gan_lessons.classroom.export.offline import require_self_contained


@dataclass(frozen=True)
class Lesson:
    """What the index says of a lesson: ``title`` and ``lead`` are HTML, ``number`` may be ""."""

    name: str
    number: str
    title: str
    lead: str
    minutes: str


def lesson_of(name: str, notebook: Any) -> Lesson:
    """Read it off the lesson's first cell: heading, first paragraph, "About 35 minutes"."""
    source = next((c.source for c in notebook.cells if c.cell_type == "markdown"), "")
    markup = Markup(page_link, ids=False)
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", source) if p.strip()]
    title = next((p.lstrip("# ") for p in paragraphs if p.startswith("# ")), name)
    lead = next((p for p in paragraphs if not p.startswith(("#", "-", "*", "|"))), "")
    minutes = re.search(r"[Aa]bout (\d+) minutes", source)
    number = re.match(r"\d+", name)
    return Lesson(
        name,
        number[0] if number else "",
        _inline(markup(title)),
        _inline(markup(lead)),
        minutes[1] if minutes else "",
    )


def index_page(lessons: Sequence[Lesson]) -> str:
    """The index as one HTML page. Raises ExternalLoadError if it would load something."""
    template = Environment(autoescape=True).from_string(_source("index.html.j2"))
    page = template.render(lessons=lessons, words=words, asset=assets.template_file)
    require_self_contained(page, "index.html")
    return page


def _source(path: str) -> str:
    from importlib import resources

    root = resources.files("gan_lessons.classroom.export") / "templates"
    return (root / path).read_text(encoding="utf-8")


def _inline(paragraph: str) -> str:
    return re.sub(r"^<p>|</p>$", "", paragraph.strip())
