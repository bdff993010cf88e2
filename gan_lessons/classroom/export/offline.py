"""What would a page load? A page that is to work without a network may load nothing.

A link that a reader clicks is no load. ``data:`` and ``blob:`` addresses and ``#fragments`` are in
the page already. All else, a relative path too, is a file or a server that may not be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

# element -> the attributes whose address the browser fetches by itself ("*": any element)
_LOADING = {
    "*": {"src", "srcset", "poster", "background", "data-src", "data-background-image",
          "data-background-video", "data-background-iframe"},
    "link": {"href"},
    "object": {"data"},
    "image": {"href", "xlink:href"},
    "use": {"href", "xlink:href"},
    "base": {"href"},
}  # fmt: skip
_INSIDE = re.compile(r"\s*($|#|data:|blob:|about:blank)", re.IGNORECASE)
_CSS = re.compile(
    r"url\(\s*([\"']?)(.*?)\1\s*\)|@import\s+([\"'])(.*?)\3", re.IGNORECASE | re.DOTALL
)
# In scripts only an address written out beside what loads it can be found; the page's
# Content-Security-Policy stops the rest in the browser.
_SCRIPT = re.compile(
    r"(?:\b(?:fetch|import|importScripts|Worker|EventSource|WebSocket|sendBeacon)\s*\(\s*"
    r"|\bfrom\s*|\bimport\s*|\.src\s*=\s*|\.open\s*\(\s*[\"'`][A-Z]+[\"'`]\s*,\s*)"
    r"[\"'`]((?:https?:|wss?:)?//[^\"'`\s]+)"
)


class ExternalLoadError(ValueError):
    """A page would load something that is not in it; the message names all of it."""


def require_self_contained(page: str, name: str) -> None:
    """Raise ExternalLoadError if ``page`` (HTML) would load anything; ``name`` says which page."""
    if found := loads(page):
        listed = "\n".join(f"  {url}" for url in found)
        raise ExternalLoadError(
            f"{name} would load what is not in the page:\n{listed}\n"
            "Put it into the page (a data: address), or make it a link."
        )


def loads(page: str) -> list[str]:
    """The addresses that the HTML ``page`` makes a browser fetch, in order, each once."""
    finder = _Finder()
    finder.feed(page)
    finder.close()
    return list(dict.fromkeys(finder.found))


class _Finder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._raw = ""  # the element whose text is no HTML: script or style

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._raw = tag if tag in self.CDATA_CONTENT_ELEMENTS else ""
        if "json" in values.get("type", "") or "text/plain" in values.get("type", ""):
            self._raw = ""  # data, which nobody runs
        for name, value in values.items():
            if name in _LOADING["*"] | _LOADING.get(tag, set()):
                self.found += [url for url in _addresses(name, value) if not _INSIDE.match(url)]
        if values.get("http-equiv", "").lower() == "refresh":
            self.found.append(values.get("content", ""))
        self.found += _in_css(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "style":
            self.found += _in_css(data)
        elif self._raw == "script":
            self.found += _SCRIPT.findall(data)


def _addresses(attribute: str, value: str) -> list[str]:
    if attribute != "srcset" or "data:" in value:
        return [value]
    return [part.split()[0] for part in value.split(",") if part.strip()]


def _in_css(css: str) -> Iterator[str]:
    for match in _CSS.finditer(css):
        url = match[2] if match[2] is not None else match[4]
        if not _INSIDE.match(url):
            yield url
