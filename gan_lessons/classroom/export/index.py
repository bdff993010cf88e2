"""The index of the site: what the course is, and a card for every lesson."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from gan_lessons.classroom.export import assets
from gan_lessons.classroom.export.markdown import Markdown, page_link
from gan_lessons.classroom.export.offline import require_self_contained


@dataclass(frozen=True)
class Lesson:
    """What the index says of a lesson; ``number`` and ``minutes`` may be ""."""

    name: str
    number: str
    title: Markup
    lead: Markup
    minutes: str


def lesson_of(name: str, notebook: Any) -> Lesson:
    """Read it off the lesson's first cell: heading, first paragraph, "About 35 minutes"."""
    source = next((c.source for c in notebook.cells if c.cell_type == "markdown"), "")
    html = Markdown(page_link, ids=False)
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", source) if p.strip()]
    title = next((p.lstrip("# ") for p in paragraphs if p.startswith("# ")), name)
    lead = next((p for p in paragraphs if not p.startswith(("#", "-", "*", "|"))), "")
    minutes = re.search(r"[Aa]bout (\d+) minutes", source)
    number = re.match(r"\d+", name)
    return Lesson(
        name,
        number[0] if number else "",
        html.inline(title),
        html.inline(lead),
        minutes[1] if minutes else "",
    )


def index_page(lessons: Sequence[Lesson]) -> str:
    """The index as one HTML page. Raises ExternalLoadError if it would load something."""
    environment = Environment(autoescape=True, loader=FileSystemLoader(assets.TEMPLATES))
    template = environment.get_template("index.html.j2")
    page = template.render(lessons=lessons, asset=assets.template_file)
    require_self_contained(page, "index.html")
    return page
