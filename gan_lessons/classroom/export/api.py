"""The page of the public names: signatures and docstrings, as they stand in the code."""

from __future__ import annotations

import html
import inspect
import re
import types
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from markupsafe import Markup

from gan_lessons.classroom.export.index import Link, site_page
from gan_lessons.classroom.export.slides import Anchors

MODULES = {
    "gan_lessons": "for your own loops, and for the lessons",
    "gan_lessons.train": "a training loop that is short enough to read",
    "gan_lessons.losses": "the losses of G and D",
    "gan_lessons.published": "listings as they were printed",
    "gan_lessons.classroom": "questions, explorers, figures",
}
_CODE = re.compile("``?([^`]+)``?")
_PLACE = re.compile(r"<function (\w+) at 0x[0-9a-f]+>")  # a default that is a function
LINE = 80  # characters
LINK = Link("api.html", "API", "Every public name, with its signature and what it promises.")


def api_page() -> str:
    """All public names as one HTML page."""
    anchors, headings, parts = Anchors(), [], ["<h1>API</h1>"]
    for module, about in MODULES.items():
        anchor = anchors.of(module)
        headings.append((2, anchor, Markup(f"<code>{module}</code>")))
        parts.append(_heading(2, anchor, f"<code>{module}</code>: {about}"))
        for name, value in _public(module):
            parts.append(_heading(3, anchors.of(name), f"<code>{html.escape(name)}</code>"))
            parts.append(_described(name, value))
    body = Markup("\n".join(parts))
    return site_page(LINK.address, "doc.html.j2", title="API", html=body, headings=headings)


def _heading(level: int, anchor: str, text: str) -> str:
    to_itself = f'<a class="permalink" href="#{anchor}" aria-label="Link to here">#</a>'
    return f'<h{level} id="{anchor}">{text}{to_itself}</h{level}>'


def _public(name: str) -> Iterator[tuple[str, Any]]:
    """The public names of a module, sorted; modules among them have a part of their own."""
    module = import_module(name)
    own = [
        n for n, v in vars(module).items() if getattr(v, "__module__", "") == name and n[0] != "_"
    ]
    for public in sorted(getattr(module, "__all__", own), key=str.lower):
        if not isinstance(value := getattr(module, public), types.ModuleType):
            yield public, value


def _described(name: str, value: Any) -> str:
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        keys = f" with {', '.join(map(repr, value))}" if isinstance(value, dict | tuple) else ""
        return f"<p>{html.escape(type(value).__name__ + keys)}</p>"
    parts = [f"<pre>{html.escape(_signature(name, value))}</pre>", documented(value)]
    if inspect.isclass(value):
        for method, function in vars(value).items():
            if method[0] != "_" and inspect.isfunction(function) and function.__doc__:
                signature = html.escape(_signature(method, function))
                parts.append(f"<pre>.{signature}</pre>{documented(function)}")
    return "\n".join(parts)


def _signature(name: str, value: Any) -> str:
    """As it is written; a parameter a line where one line would be long."""
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError):  # a callable of torch's own
        return name
    whole = _PLACE.sub(r"\1", f"{name}{signature}")
    if len(whole) <= LINE:
        return whole
    parts: list[str] = []
    kind: Any = None
    for parameter in signature.parameters.values():
        before, kind = kind, parameter.kind
        if kind is parameter.KEYWORD_ONLY and before not in (kind, parameter.VAR_POSITIONAL):
            parts.append("*")
        parts.append(_PLACE.sub(r"\1", str(parameter)))
    end = whole[whole.rindex(")") :]
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), end])


def documented(value: Any) -> str:
    """A docstring as HTML: paragraphs, `code`, and what is indented or starts with >>> as it is."""
    blocks = re.split(r"\n\s*\n", inspect.getdoc(value) or "")
    return "\n".join(_block(block) for block in blocks if block.strip())


def _block(text: str) -> str:
    escaped = html.escape(text, quote=False)
    if text.startswith((" ", ">>>")):
        return f"<pre>{escaped}</pre>"
    return "<p>{text}</p>".format(text=_CODE.sub(r"<code>\1</code>", escaped))
