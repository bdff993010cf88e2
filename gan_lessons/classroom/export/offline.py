"""What would a page load? A page that is to work without a network may load nothing.

A link that a reader clicks is no load. ``data:`` and ``blob:`` addresses and ``#fragments`` are in
the page already. All else, a relative path too, is a file or a server that may not be there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from bs4 import BeautifulSoup, Tag

# element -> the attributes whose address the browser fetches or goes to by itself, or when a form
# is sent ("*": any element)
_LOADING = {
    "*": {"src", "srcset", "poster", "background", "data-src", "data-background-image",
          "data-background-video", "data-background-iframe", "formaction"},
    "link": {"href"},
    "object": {"data"},
    "image": {"href", "xlink:href"},
    "use": {"href", "xlink:href"},
    "base": {"href"},
    "form": {"action"},
}  # fmt: skip
_INSIDE = re.compile(r"\s*($|#|data:|blob:|about:blank)", re.IGNORECASE)
_CSS = re.compile(
    r"url\(\s*([\"']?)(.*?)\1\s*\)|@import\s+([\"'])(.*?)\3", re.IGNORECASE | re.DOTALL
)
# In scripts only an address written out beside what goes there can be found; the page's
# Content-Security-Policy stops the rest in the browser, but for a change of the page's address.
_SCRIPT = re.compile(
    r"(?:\b(?:fetch|import|importScripts|Worker|EventSource|WebSocket|sendBeacon|open)\s*\(\s*"
    r"|\bfrom\s*|\bimport\s*|\.(?:src|action)\s*=\s*|\.open\s*\(\s*[\"'`][A-Z]+[\"'`]\s*,\s*"
    r"|\blocation(?:\.href)?\s*=\s*|\blocation\.(?:assign|replace)\s*\(\s*)"
    r"[\"'`]((?:https?:|wss?:)?//[^\"'`\s]+)"
)


class ExternalLoadError(ValueError):
    """A page would load something that is not in it; the message names all of it."""


def require_self_contained(page: str, name: str, beside: Collection[str] = ()) -> None:
    """Raise ExternalLoadError if ``page`` (HTML) would load anything; ``name`` says which page.

    beside: files of the same folder that it may show in a frame.
    """
    if found := [url for url in loads(page) if url.partition("#")[0] not in beside]:
        listed = "\n".join(f"  {url}" for url in found)
        text = (
            "{name} would load what is not in the page:\n{listed}\n"
            "Put it into the page (a data: address), or make it a link."
        )
        raise ExternalLoadError(text.format(name=name, listed=listed))


def loads(page: str) -> list[str]:
    """The addresses that the HTML ``page`` makes a browser fetch, in order, each once."""
    elements = BeautifulSoup(page, "html.parser").find_all(True)
    return list(dict.fromkeys(url for element in elements for url in _of(element)))


def _of(element: Tag) -> Iterator[str]:
    values = {name: str(value) for name, value in element.attrs.items()}
    for name, value in values.items():
        if name in _LOADING["*"] | _LOADING.get(element.name, set()):
            yield from (url for url in _addresses(name, value) if not _INSIDE.match(url))
    if values.get("http-equiv", "").lower() == "refresh":
        yield values.get("content", "")
    yield from _in_css(values.get("style", ""))
    if element.name == "style":
        yield from _in_css(element.string or "")
    elif element.name == "script" and not re.search("json|text/plain", values.get("type", "")):
        yield from _SCRIPT.findall(element.string or "")


def _addresses(attribute: str, value: str) -> list[str]:
    if attribute != "srcset" or "data:" in value:
        return [value]
    return [part.split()[0] for part in value.split(",") if part.strip()]


def _in_css(css: str) -> Iterator[str]:
    for match in _CSS.finditer(css):
        url = match[2] if match[2] is not None else match[4]
        if not _INSIDE.match(url):
            yield url
