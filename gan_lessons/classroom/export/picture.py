"""The picture of a lesson: the output of the cell that has the tag ``picture``, made small."""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

TAG = "picture"
_SVG = re.compile(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)")
_LONG = re.compile(r"(?<![\w.])([1-9]\d*\.\d)\d+")  # nobody sees a hundredth of a pixel
_STILL = re.compile(r"<div data-gl-still>(.*?)</div><script", re.S)  # of a question, in words
_SAFE = " '=:/;,.()-+*!?@&$"  # in an address of this kind
_NOISE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|\n\s*", re.S)


def picture_of(notebook: Any) -> Markup:
    """HTML that can be shown twice in a page; "" where no executed cell has the tag."""
    for cell in notebook.cells:
        if TAG in cell.metadata.get("tags", []) and cell.get("outputs"):
            return _small(cell.outputs[-1])
    return Markup("")


def _small(output: Any) -> Markup:
    if output.output_type == "stream":
        return Markup("<pre>{text}</pre>").format(text=output.text.rstrip("\n"))
    html = output.get("data", {}).get("text/html")
    if html is None:
        return Markup("<pre>{text}</pre>").format(text=output.data.get("text/plain", ""))
    if still := _STILL.search(html):
        html = still[1]
    if image := re.search(r"<img\b[^>]*>", html):
        html = _SVG.sub(_slim, image[0]).replace("<img ", '<img decoding="async" ', 1)
    return Markup(html)


def _slim(match: re.Match[str]) -> str:
    """The same drawing in fewer bytes: shorter coordinates, and text instead of base64."""
    svg = base64.b64decode(match[1]).decode("utf-8")
    svg = _LONG.sub(r"\1", _NOISE.sub(" ", svg)).replace('"', "'")
    return f"data:image/svg+xml,{escape(quote(svg, safe=_SAFE))}"
