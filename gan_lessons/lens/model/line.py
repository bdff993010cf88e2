"""A line of somebody's source."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Line:
    """A line of somebody's source, as written; best effort: ``text`` is "" where there is none.

    ``code``: the text without its trailing comment. ``expression``: the part of it that was
    running, such as ``D(fake)``; "" if torch or Python does not tell.
    """

    text: str
    file: str
    number: int
    function: str
    expression: str = ""

    @property
    def code(self) -> str:
        return _without_comment(self.text)


@lru_cache(maxsize=512)
def _without_comment(text: str) -> str:
    """One line of statements without its trailing comment; anything else unchanged."""
    try:
        last = ast.parse(text).body[-1]
    except (SyntaxError, IndexError):
        return text
    # ast counts columns in UTF-8 bytes, not in characters
    return text if "\n" in text else text.encode()[: last.end_col_offset].decode()
