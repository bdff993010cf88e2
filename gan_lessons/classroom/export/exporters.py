"""Exporters for nbconvert: a lesson as one file, slides or a page, that works with no network.

    jupyter nbconvert --to gan_slides notebooks/02-*.ipynb --output-dir build/slides
    jupyter nbconvert --to gan_page notebooks/02-*.ipynb --output-dir build/site

A notebook without outputs is executed first. All lessons at once, with a cache of what was
executed, an index and PDFs: ``python -m gan_lessons.classroom.export.build`` (``make slides``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets import Bool, List, Unicode
from traitlets.config import Config

from gan_lessons.classroom.content_policy import may_load
from gan_lessons.classroom.export import assets, slides
from gan_lessons.classroom.export.code_lines import by_lines
from gan_lessons.classroom.export.execute import execute, is_executed
from gan_lessons.classroom.export.markdown import Markdown, page_link, slide_link
from gan_lessons.classroom.export.offline import require_self_contained
from gan_lessons.classroom.export.outputs import LeaveOutTheRun
from gan_lessons.classroom.export.picture import picture_of
from gan_lessons.classroom.export.reading import reading
from gan_lessons.classroom.export.words import require_lines
from gan_lessons.classroom.page import classic, module

# An output is shown as the first of these that it has.
PRIORITY = ["text/html", "text/markdown", "image/svg+xml", "image/png", "text/latex", "text/plain"]


class _OneFile(TemplateExporter):
    """What decks and pages have in common; ``templates/output.html.j2`` shows the outputs."""

    output_mimetype = "text/html"
    file_extension = Unicode(".html").tag(config=True)
    template_extension = Unicode(".html.j2").tag(config=True, affects_environment=True)
    extra_template_basedirs = List([str(assets.TEMPLATES)]).tag(
        config=True, affects_environment=True
    )
    extra_template_paths = List([str(assets.TEMPLATES)]).tag(config=True, affects_environment=True)
    with_links = Bool(
        False, help="Link to the index and the other form of the lesson, as in a built site."
    ).tag(config=True)
    teacher = Bool(False, help="Show the teacher's notes.").tag(config=True)
    link: Callable[[str, str], str]  # (lesson, anchor) -> address

    @property
    def default_config(self) -> Config:
        config = Config({"NbConvertBase": {"display_data_priority": PRIORITY}})
        config.merge(super().default_config)
        return config

    def _init_preprocessors(self) -> None:
        super()._init_preprocessors()
        for preprocessor in (LeaveOutTheRun, CoalesceStreamsPreprocessor):
            self.register_preprocessor(preprocessor, enabled=True)

    def _create_environment(self) -> Any:
        environment = super()._create_environment()
        environment.autoescape = True
        environment.filters["highlight"] = Highlight2HTML(pygments_lexer="ipython3", parent=self)
        environment.globals.update(
            asset=assets.template_file,
            may_load=may_load,
            reveal=assets.reveal_file,
            slides=slides,
            reading=reading,
            teacher=self.teacher,
            exercises=f"{classic(module('question.js', css='question.css'))}.exercises();",
        )
        return environment

    def from_notebook_node(  # type: ignore[override] # as in nbconvert's own HTMLExporter
        self, nb: Any, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """The notebook as one HTML page. It is executed in a copy unless it has been already.

        resources: "metadata" has its name and path; of a page also "neighbours", the lessons before
        and after it, or None. Raises LessonError for a cell that raises, ExternalLoadError for a
        page that would load something, ValueError for a formula that cannot be read, or for words
        that lead to a line of no explorer.
        """
        resources = dict(resources or {})
        where = resources["metadata"] = {"name": "notebook", **resources.get("metadata", {})}
        if not is_executed(nb):
            nb = execute(nb, Path(where.get("path") or "."), where["name"])
        require_lines(nb)
        # It remembers which anchors are taken: one for each document.
        is_page = self.link is page_link
        markdown = Markdown(self.link, ids=is_page)
        self.register_filter("markdown", markdown)
        self.register_filter("inline", markdown.inline)
        self.environment.globals.update(
            headings=markdown.headings, links=self.with_links, picture=picture_of(nb)
        )
        page, resources = super().from_notebook_node(nb, resources, **kw)
        page = assets.each_once(by_lines(page) if is_page else page)
        require_self_contained(page, f"{where['name']}{self.file_extension}")
        return page, resources


class GanSlides(_OneFile):
    """One file of reveal.js slides, with the teacher's notes in the speaker view."""

    export_from_notebook = "Slides that need no network"
    file_extension = Unicode(".slides.html").tag(config=True)
    teacher = Bool(True, help="Keep the teacher's notes for the speaker view.").tag(config=True)
    template_name = Unicode("gan_slides").tag(config=True, affects_template=True)
    link = staticmethod(slide_link)


class GanPage(_OneFile):
    """One page to read, all of the lesson in it."""

    export_from_notebook = "A page that needs no network"
    template_name = Unicode("gan_page").tag(config=True, affects_template=True)
    link = staticmethod(page_link)
