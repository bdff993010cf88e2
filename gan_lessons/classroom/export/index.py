"""The index of the site: a running explorer, a card with a picture for every lesson, all else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from gan_lessons.classroom import StrategyExplorer, explore
from gan_lessons.classroom.content_policy import may_load
from gan_lessons.classroom.export import assets
from gan_lessons.classroom.export.code_lines import by_lines
from gan_lessons.classroom.export.markdown import Markdown, page_link
from gan_lessons.classroom.export.offline import require_self_contained
from gan_lessons.classroom.export.picture import picture_of
from gan_lessons.lens.model import BackwardCall

LEAD = 200  # characters of a card's text
FIRST = "retain_graph"  # whose first backward is what the course is about


@dataclass(frozen=True)
class Lesson:
    """What the index says of a lesson; ``number`` and ``minutes`` may be ""."""

    name: str
    number: str
    title: Markup
    lead: Markup
    minutes: str
    picture: Markup


@dataclass(frozen=True)
class Link:
    """A page of the site that is no lesson. address: from the site's root; about: plain text."""

    address: str
    title: str
    about: str = ""


def lesson_of(name: str, notebook: Any) -> Lesson:
    """Read it off the lesson's first cell: heading, first paragraph, "About 35 minutes"."""
    source = next((c.source for c in notebook.cells if c.cell_type == "markdown"), "")
    html = Markdown(page_link, ids=False)
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", source) if p.strip()]
    title = next((p.lstrip("# ") for p in paragraphs if p.startswith("# ")), name)
    lead = next((p for p in paragraphs if not p.startswith(("#", "-", "*", "|"))), "")
    lead = _first_sentences(lead)
    minutes = re.search(r"[Aa]bout (\d+) minutes", source)
    number = re.match(r"\d+", name)
    return Lesson(
        name,
        number[0] if number else "",
        html.inline(title),
        html.inline(lead),
        minutes[1] if minutes else "",
        picture_of(notebook),
    )


def _first_sentences(text: str) -> str:
    """As many as a card has room for, at least one, each whole."""
    first, *more = re.split(r"(?<=[.?!])\s+", text)
    for sentence in more:
        if len(first) + len(sentence) >= LEAD:
            break
        first = f"{first} {sentence}"
    return first


@cache
def decisive() -> tuple[StrategyExplorer, BackwardCall]:
    """The explorer right before the first backward of ``FIRST``, and that call: one press, and the
    reader sees what was to be guessed.

    What could be changed is offered there alone: tried on all three it would double the page.
    """
    explorer = explore(group="index")
    record = explorer.records[FIRST]
    offered = {FIRST: explorer.data["variants"][FIRST]}
    explorer.data = explorer.data | {"variants": offered}
    explorer.strategy = FIRST
    event = next(event.index for event in record.events if event.call == 0)
    answer = next(m.index for m in record.moments if event in m.events)
    stops = (
        i for i, m in enumerate(explorer.data["films"][FIRST]["moments"]) if not m.get("silent")
    )
    explorer.moment = max(i for i in stops if i < answer)
    return explorer, record.backward_calls[0]


def index_page(lessons: Sequence[Lesson], more: Sequence[Link] = ()) -> str:
    """The index as one HTML page. Raises ExternalLoadError if it would load something."""
    explorer, call = decisive()
    return site_page(
        "index.html", "index.html.j2", lessons=lessons, more=more, explorer=explorer,
        source=call.source,
    )  # fmt: skip


def site_page(name: str, template: str, **values: Any) -> str:
    """A page of the site from a template below ``templates/``; ``name``: from the site's root.

    Raises ExternalLoadError if it would load something.
    """
    environment = Environment(autoescape=True, loader=FileSystemLoader(assets.TEMPLATES))
    home = "../" * name.count("/")
    ours = {"asset": assets.template_file, "may_load": may_load}
    told = {**ours, "links": True, "home": home, **values}
    page = by_lines(assets.each_once(environment.get_template(template).render(told)))
    require_self_contained(page, name)
    return page
