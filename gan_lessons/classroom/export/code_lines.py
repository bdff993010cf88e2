"""Code in a page, line by line: a long one goes on below itself (``.line`` in page.css)."""

from __future__ import annotations

import re

_CODE = re.compile(
    r'(<div class="[^"]*\bhighlight\b[^"]*"><pre>(?:<span></span>)?)(.*?)\n?</pre>', re.DOTALL
)
_INDENT = re.compile(r"(?:<[^>]*>)*( *)")


def by_lines(page: str) -> str:
    """Each line of what Pygments has coloured as an element that knows its indent, in characters.

    Pygments closes at the end of a line what it has opened there.
    """
    return _CODE.sub(
        lambda code: f"{code[1]}{''.join(map(_line, code[2].split(chr(10))))}</pre>", page
    )


def _line(line: str) -> str:
    indent = _INDENT.match(line)
    style = f' style="--in:{len(indent[1])}"' if indent and indent[1] else ""
    return f'<span class="line"{style}>{line}\n</span>'
