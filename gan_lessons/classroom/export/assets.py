"""What goes into every page: our own styles and scripts, and reveal.js out of its package.

reveal.js is never copied into the repository: the wheel of pyreveal carries it, with its licence.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module, resources
from pathlib import Path

from markupsafe import Markup

from gan_lessons.extras import installed_for

TEMPLATES = Path(__file__).with_name("templates")
_PART = re.compile(r"(<script\b.*?</script>|<style>.*?</style>)", re.DOTALL | re.IGNORECASE)


@cache
def reveal_file(path: str) -> Markup:
    """A file of reveal.js as text that can stand inside a ``<script>`` or ``<style>``."""
    with installed_for("a deck of slides"):
        root = resources.files("pyreveal") / "revealjs"
    return _fit_for_element((root / path).read_text(encoding="utf-8"))


def require_slides() -> None:
    """Raise ModuleNotFoundError, with what to install, if what only slides need is missing."""
    reveal_file("dist/reveal.js")
    with installed_for("a deck of slides"):
        import_module("latex2mathml")


def template_file(path: str) -> Markup:
    """A file below ``templates/``, in the same way."""
    return _fit_for_element((TEMPLATES / path).read_text(encoding="utf-8"))


def _fit_for_element(text: str) -> Markup:
    # In a string or a regular expression of JavaScript, and in CSS's, "\/" is "/".
    text = re.sub(r"</(?=script|style)", r"<\\/", text, flags=re.IGNORECASE)
    text = re.sub(r"^//# sourceMappingURL=.*$|/\*# sourceMappingURL=.*?\*/", "", text, flags=re.M)
    return Markup(text)


def each_once(page: str) -> str:
    """Drop each ``<style>`` that stood further up, and each ``<script>`` that stands further down
    again, word for word.

    Tables and widgets bring theirs along. A style is needed where it is first used; a script starts
    all that stands above it, so the last is enough. Data in scripts (with a type) is left alone.
    """
    parts = _PART.split(page)
    last = {part: place for place, part in enumerate(parts)}
    first = {part: place for place, part in reversed([*enumerate(parts)])}
    kept = {"<style>": first, "<script>": last}
    return "".join(
        part
        for place, part in enumerate(parts)
        if all(keep[part] == place for start, keep in kept.items() if part.startswith(start))
    )
