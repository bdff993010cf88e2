"""Pages for paper: the same template on a screen, light or dark, and on sheets of A4."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gan_lessons.classroom.content_policy import may_load
from gan_lessons.classroom.export import assets
from gan_lessons.classroom.export.offline import require_self_contained


def sheet(template: str, *, beside: Collection[str] = (), **values: Any) -> str:
    """The ``template`` as one HTML page, which may show the files ``beside`` it in frames.

    Raises ExternalLoadError if it would load anything else.
    """
    loader = FileSystemLoader(assets.TEMPLATES)
    environment = Environment(
        autoescape=True, loader=loader, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template(template).render(
        asset=assets.template_file, may_load=may_load, framed=bool(beside), **values
    )
    require_self_contained(page, template.removesuffix(".j2"), beside)
    return page
