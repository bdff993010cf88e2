"""What goes into every page: our own styles and scripts, and reveal.js out of its package.

reveal.js is never copied into the repository: the wheel of sphinx-revealjs carries it.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from pathlib import Path

from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")
_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)


@cache
def reveal_file(path: str) -> Markup:
    """A file of reveal.js as text that can stand inside a ``<script>`` or ``<style>``."""
    root = resources.files("sphinx_revealjs") / "_static" / "revealjs"
    return _fit_for_element((root / path).read_text(encoding="utf-8"))


def template_file(path: str) -> Markup:
    """A file below ``templates/``, in the same way."""
    return _fit_for_element((TEMPLATES / path).read_text(encoding="utf-8"))


def _fit_for_element(text: str) -> Markup:
    # In a string or a regular expression of JavaScript, and in CSS's, "\/" is "/".
    text = re.sub(r"</(?=script|style)", r"<\\/", text, flags=re.IGNORECASE)
    text = re.sub(r"^//# sourceMappingURL=.*$|/\*# sourceMappingURL=.*?\*/", "", text, flags=re.M)
    return Markup(text)


def scripts_once(page: str) -> str:
    """Drop every ``<script>`` that stands further down again, word for word.

    Widgets bring their script along. It starts all that stand above it, so the last is enough.
    """
    parts = re.split(r"(<script>.*?</script>)", page, flags=re.DOTALL)
    last = {part: place for place, part in enumerate(parts)}
    return "".join(
        part
        for place, part in enumerate(parts)
        if last[part] == place or not part.startswith("<script>")
    )


def styles_once(page: str) -> str:
    """Drop every ``<style>`` that stood in the page before, word for word.

    Tables and questions each bring their style along; in one page the first is enough. Scripts
    and the documents that they hold are left alone.
    """
    seen: set[str] = set()

    def once(found: re.Match[str]) -> str:
        if found[0] in seen:
            return ""
        seen.add(found[0])
        return found[0]

    parts = re.split(r"(<script\b.*?</script>)", page, flags=re.DOTALL | re.IGNORECASE)
    return "".join(
        part if part.lower().startswith("<script") else _STYLE.sub(once, part) for part in parts
    )
