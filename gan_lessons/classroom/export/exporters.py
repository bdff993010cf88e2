"""Exporters for nbconvert: a lesson as one file, slides or a page, that works with no network.

    jupyter nbconvert --to gan_slides notebooks/02-*.ipynb --output-dir build/slides
    jupyter nbconvert --to gan_page notebooks/02-*.ipynb --output-dir build/site

A notebook without outputs is executed first. All lessons at once, with a cache of what was
executed, an index and PDFs: ``python -m gan_lessons.classroom.export.build`` (``make slides``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters.highlight import Highlight2HTML
from traitlets import Bool, default

from gan_lessons.classroom.export import assets, outputs, slides, words
from gan_lessons.classroom.export.execute import execute, is_executed
from gan_lessons.classroom.export.markup import Markup, page_link, slide_link
from gan_lessons.classroom.export.offline import require_self_contained
from gan_lessons.classroom.page import classic, module

TEMPLATES = Path(__file__).parent / "templates"


class _OneFile(TemplateExporter):
    """What decks and pages have in common."""

    output_mimetype = "text/html"
    with_links = Bool(
        False, help="Link to the index and the other form of the lesson, as in a built site."
    ).tag(config=True)

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".html"

    @default("template_extension")
    def _template_extension_default(self) -> str:
        return ".html.j2"

    @default("extra_template_basedirs")
    def _extra_template_basedirs_default(self) -> list[str]:
        return [str(TEMPLATES)]

    def from_notebook_node(  # type: ignore[override] # as in nbconvert's own HTMLExporter
        self, nb: Any, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """The notebook as one HTML page. It is executed in a copy unless it has been already.

        Raises what a cell raises, and ExternalLoadError for a page that would load something.
        """
        resources = dict(resources or {})
        where = dict(resources.get("metadata", {}))
        name = where.setdefault("name", "notebook")
        resources["metadata"] = where
        if not is_executed(nb):
            nb = execute(nb, Path(where.get("path") or "."), name)
        nb = outputs.tidy(nb)
        told = self._told(nb, name)
        self.environment.globals["gan"] = told  # resources would be copied, modules and all
        self.register_filter("highlight", Highlight2HTML(pygments_lexer="ipython3", parent=self))
        page, resources = super().from_notebook_node(nb, resources, **kw)
        page = assets.scripts_once(assets.styles_once(page))
        require_self_contained(page, f"{name}{self.file_extension}")
        return page, resources

    def _use(self, markup: Markup) -> None:
        self.register_filter("markup", markup)
        self.register_filter("output", lambda output: outputs.as_html(output, markup))

    def _told(self, nb: Any, name: str) -> dict[str, Any]:
        """What the template is told beside the notebook."""
        first = next((slides.heading(c) for c in nb.cells if slides.heading(c)), name)
        return {
            "name": name,
            "title": outputs.plain(first),
            "words": words,
            "exercises": f"{classic(module('question.js', css='question.css'))}.exercises();",
            "asset": assets.template_file,
            "links": self.with_links,
            "tags": slides.tags,
        }


class GanSlides(_OneFile):
    """One file of reveal.js slides, with the teacher's notes in the speaker view."""

    export_from_notebook = "Slides that need no network"

    @default("file_extension")
    def _file_extension_default(self) -> str:
        return ".slides.html"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "gan_slides"

    def _told(self, nb: Any, name: str) -> dict[str, Any]:
        markup = Markup(slide_link, ids=False)
        self._use(markup)
        return super()._told(nb, name) | {
            "stacks": slides.arrange(nb),
            "reveal": assets.reveal_file,
            "shows_code": slides.shows_code,
            "shows_output": slides.shows_output,
            "is_answer": slides.is_answer,
        }


class GanPage(_OneFile):
    """One page to read, all of the lesson in it."""

    export_from_notebook = "A page that needs no network"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "gan_page"

    neighbours: tuple[tuple[str, str] | None, tuple[str, str] | None] = (None, None)

    def _told(self, nb: Any, name: str) -> dict[str, Any]:
        markup = Markup(page_link)
        self._use(markup)
        return super()._told(nb, name) | {
            "cells": [cell for cell in nb.cells if cell.source.strip()],
            "headings": markup.headings,
            "neighbours": self.neighbours,
            "notes": slides.without_wrapper,
            "slide_type": slides.slide_type,
        }
