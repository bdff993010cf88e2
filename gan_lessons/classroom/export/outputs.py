"""The outputs of an executed cell as HTML: which form is taken, and what is left out."""

from __future__ import annotations

import copy
import html
import re
from collections.abc import Iterable, Iterator
from typing import Any

from nbconvert.filters import ansi2html, strip_ansi

from gan_lessons.classroom.export import words

WIDGET = "application/vnd.jupyter.widget-view+json"
# The HTML of a widget works in a page, the widget itself only beside a kernel. So it goes last.
PREFERRED = ("text/html", "text/markdown", "image/svg+xml", "image/png", "text/latex", "text/plain")

# IPython.display.Code brings a style sheet for a white page; the page has one for both themes.
_CODE_STYLE = re.compile(r"<style>pre \{ line-height.*?</style>(?=<div class=\"highlight\">)", re.S)
_FOLDER = re.compile(r"[^\s:'\"]*/(?=(?:gan_lessons|site-packages)/)")
_ARROW = re.compile(r"^-+>\s*\d+ ")


def tidy(notebook: Any) -> Any:
    """A copy without what belongs to the run alone: progress bars, and folders of the machine."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = list(_joined(o for o in cell.outputs if not _is_bare_widget(o)))
            for out in cell.outputs:
                if out.output_type == "error":
                    out.traceback = list(_short_traceback("\n".join(out.traceback)))
                elif out.output_type == "stream":
                    out.text = _FOLDER.sub("", out.text)
    return notebook


def as_html(output: Any, markup: Any) -> str:
    """One output as HTML. ``markup`` turns Markdown into HTML. All text is escaped."""
    if output.output_type == "error":
        told = "\n".join(output.traceback)
        return f'<p class="raised">{words.ERROR}</p><pre class="text error">{_text(told)}</pre>'
    if output.output_type == "stream":
        return f'<pre class="text {html.escape(output.name)}">{_text(output.text)}</pre>'
    kind = next((kind for kind in PREFERRED if kind in output.data), None)
    value = output.data[kind] if kind else ""
    match kind:
        case "text/html":
            return _CODE_STYLE.sub("", value)
        case "text/markdown":
            return str(markup(value))
        case "image/svg+xml":
            return str(value)
        case "image/png":
            told = html.escape(output.data.get("text/plain", ""))
            return f'<img src="data:image/png;base64,{value}" alt="{told}">'
        case None:
            return ""
        case _:
            return f'<pre class="text">{_text(value)}</pre>'


def plain(markdown: str) -> str:
    """A heading's Markdown without its marks."""
    return re.sub(r"[`*]", "", markdown)


def _text(text: str) -> str:
    return str(ansi2html(text.rstrip("\n")))


def _joined(outputs: Iterable[Any]) -> Iterator[Any]:
    """What one cell printed as one output, in however many pieces it arrived."""
    last = None
    for output in outputs:
        if last is not None and output.get("name") == last.get("name") == "stdout":
            last.text += output.text
            continue
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def _is_bare_widget(output: Any) -> bool:
    """A widget that brings no HTML (a progress bar) has nothing to say once its run is over."""
    data = output.get("data", {})
    return WIDGET in data and "text/html" not in data


def _short_traceback(traceback: str) -> Iterator[str]:
    """Per frame of the lesson the file and the line that was reached, then the error.

    The frames inside torch, and folders that only this machine has, are left out.
    """
    *frames, message = re.split(r"\n\s*\n(?=\S)", strip_ansi(traceback))
    for frame in frames:
        lines = frame.splitlines()
        where = next(
            (i for i, line in enumerate(lines) if line.startswith(("Cell ", "File "))), None
        )
        if where is None or "/site-packages/" in lines[where]:
            continue
        yield _FOLDER.sub("", lines[where])
        yield from (line for line in lines if _ARROW.match(line))
    yield ""
    yield from message.splitlines()
