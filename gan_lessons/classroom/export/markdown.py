"""Markdown to HTML for a page that loads nothing: MathML for formulas, links between lessons."""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from gan_lessons.classroom.export.slides import Anchors
from gan_lessons.extras import installed_for

TO_A_LINE = "#at="  # of the step that an explorer shows: explorer_text.js
_LESSON = re.compile(r"(?:\.\./notebooks/)?(?P<name>[\w.-]+)\.ipynb(?:#(?P<anchor>.*))?$")
_DOC = re.compile(r"(?P<name>[\w-]+)\.md(?=#|$)")
_TAG = re.compile(r"<[^>]+>")


def mathml(latex: str, *, block: bool = False) -> str:
    """A formula as MathML, its LaTeX as ``alttext``. Raises ValueError for what cannot be read."""
    with installed_for("a formula"):  # late: JupyterLab asks every exporter for its name
        from latex2mathml.converter import convert
    try:
        converted = convert(latex.strip(), display="block" if block else "inline")
    except Exception as error:  # latex2mathml raises IndexError and KeyError too
        text = "the formula {latex!r} cannot be turned into MathML: {error!r}"
        raise ValueError(text.format(latex=latex, error=error)) from error
    if leftover := re.search(r"<m(?:i|o|text)>(\\\w+)", converted):
        text = "the formula {latex!r} has a command that MathML lacks: {command}"
        raise ValueError(text.format(latex=latex, command=leftover[1]))
    converted = _mended(converted, block)
    return converted.replace("<math ", f'<math alttext="{html.escape(latex.strip())}" ', 1)


# What latex2mathml leaves undone: TeX's space around names of functions, limits that belong below
# the name in a displayed formula, and the sign for "distributed as".
_FUNCTION = r"<mi>(?:log|ln|exp|sin|cos|tan|tanh)</mi>"
_THIN = '<mspace width="0.167em"/>'
_LIMITS = re.compile(
    r"<msub>(<mo>(?:lim|max|min|sup|inf)</mo>)(<mi>.*?</mi>|<mrow>.*?</mrow>)</msub>"
)


def _mended(formula: str, block: bool) -> str:
    formula = formula.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
    formula = re.sub(rf"({_FUNCTION})(?=<m(?:i|n|frac|sub|sup|row|sqrt)\b)", rf"\1{_THIN}", formula)
    formula = re.sub(rf"(</m(?:i|n|frac|sub|sup)>)(?={_FUNCTION})", rf"\1{_THIN}", formula)
    return _LIMITS.sub(r"<munder>\1\2</munder>", formula) if block else formula


def slide_link(name: str, anchor: str) -> str:
    """The address of a lesson's deck, at the slide that has the heading."""
    return f"{name}.html#/{anchor}" if anchor else f"{name}.html"


def page_link(name: str, anchor: str) -> str:
    return f"{name}.html#{anchor}" if anchor else f"{name}.html"


class Markdown:
    """Turns the Markdown of one document into HTML; remembers which ids are taken.

    link: (name of a lesson, anchor) -> address. ids: give the headings their ids, and a link to
    themselves (in a deck the slides have them). folder: where pictures are that the text names;
    they become part of it.
    """

    def __init__(
        self, link: Callable[[str, str], str], *, ids: bool = True, folder: Path | None = None
    ) -> None:
        self.link = link
        self.folder = folder
        self.anchors = Anchors() if ids else None
        self.headings: list[tuple[int, str, Markup]] = []  # level, id, HTML

    def __call__(self, source: str) -> Markup:
        return Markup(MarkdownWithMath(renderer=_Renderer(self)).render(source))

    def inline(self, source: str) -> Markup:
        """One paragraph without its ``<p>``."""
        return Markup(re.sub(r"^<p>|</p>$", "", self(source).strip()))


def _formula(latex: str) -> str:
    return f'<span class="formula">{mathml(latex, block=True)}</span>'


class _Renderer(IPythonRenderer):
    def __init__(self, document: Markdown) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self._document = document

    def block_math(self, body: str) -> str:
        return _formula(body)

    def inline_math(self, body: str) -> str:
        return mathml(body)

    def latex_environment(self, name: str, body: str) -> str:
        return _formula(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        if self._document.anchors is None:
            return f"<h{level}>{text}</h{level}>\n"
        anchor = self._document.anchors.of(html.unescape(_TAG.sub("", text)))
        self._document.headings.append((level, anchor, Markup(text)))
        place = html.escape(anchor)
        to_itself = f'<a class="permalink" href="#{place}" aria-label="Link to here">#</a>'
        return f'<h{level} id="{place}">{text}{to_itself}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if url.startswith(TO_A_LINE) and self._document.anchors is None:
            return text  # on a slide the explorer is not below these words
        if found := _LESSON.match(url):
            url = self._document.link(found["name"], found["anchor"] or "")
        if found := _DOC.match(url):  # beside this one
            url = f"{found['name']}.html{url[found.end() :]}"
        return str(super().link(text, url, title))

    def image(self, text: str, url: str, title: str | None = None) -> str:
        folder = self._document.folder
        if folder and (file := folder / url).is_file():
            kind = mimetypes.guess_type(file.name)[0]
            url = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
            return f'<img src="{url}" alt="{html.escape(text)}">'
        return str(super().image(text, url, title))

    def table(self, text: str) -> str:
        return f'<div class="table" tabindex="0"><table>{text}</table></div>\n'
