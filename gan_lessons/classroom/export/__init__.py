"""Lessons as slides and pages that need no network: ``exporters`` for one, ``build`` for all."""

from gan_lessons.classroom.export.exporters import GanPage, GanSlides
from gan_lessons.classroom.export.index import index_page, lesson_of
from gan_lessons.classroom.export.markdown import Markdown, mathml, page_link, slide_link
from gan_lessons.classroom.export.slides import SHOW_CODE, SLIDE_TAGS, slide_type

__all__ = [
    "SHOW_CODE", "SLIDE_TAGS", "GanPage", "GanSlides", "Markdown", "index_page", "lesson_of",
    "mathml", "page_link", "slide_link", "slide_type",
]  # fmt: skip
