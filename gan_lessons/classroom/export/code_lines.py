"""Code and text in a page, by lines: a long one goes on below itself (``.line`` in page.css)."""

from __future__ import annotations

import re
from html import unescape

_BLOCK = re.compile(
    r'((?P<code><div class="[^"]*\bhighlight\b[^"]*">)?<pre\b(?![^>]*\b(?:error|sentence)\b)[^>]*>'
    r"(?:<span></span>)?)(?P<text>.*?)\n?</pre>",
    re.DOTALL,
)
_TAG, _OPENS = re.compile(r"<[^>]*>"), re.compile(r"<\w")
_INDENT = re.compile(r"(?:<[^>]*>)*( *)")
_BRACKET = re.compile(r"[(\[]</span>")  # of code: a call is broken there, and not in a name
_FITS = 30  # characters, on any telephone
_COLUMNS = re.compile(r"\S {2,}(?=[^\s#])")  # set below each other; before a comment it is style


def by_lines(page: str) -> str:
    """Each line of a ``<pre>`` as an element that knows its indent, in characters.

    A block stays as it is where all lines are short, where printed text has columns (broken, they
    would say nothing), and where an element begins on one line and ends on another.
    """
    return _BLOCK.sub(
        lambda block: f"{block[1]}{_lines(block['text'], is_code=bool(block['code']))}</pre>", page
    )


def _lines(html: str, *, is_code: bool) -> str:
    text, lines = unescape(_TAG.sub("", html)), html.split("\n")
    fits = all(len(line) <= _FITS for line in text.split("\n"))
    nested = any(len(_OPENS.findall(line)) != line.count("</") for line in lines)
    columns = not is_code and _COLUMNS.search(text)
    return html if fits or nested or columns else "".join(map(_line, lines))


def _line(line: str) -> str:
    indent = _INDENT.match(line)
    style = f' style="--in:{len(indent[1])}"' if indent and indent[1] else ""
    line = _BRACKET.sub(r"\g<0><wbr>", line)
    return f'<span class="line"{style}>{line}\n</span>'
