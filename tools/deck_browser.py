"""Open exported decks and pages from disk, with no network, and look at every slide.

python tools/deck_browser.py build/slides/02-*.html --sheets /tmp/sheets   # pictures, 9 slides each
python tools/deck_browser.py build/slides/*.html                           # only what overflows

With ``--pdf FOLDER`` each deck is printed, one page per slide, and each sheet on A4; with
``--fill`` the slides that end above half of the height are listed; ``--dark`` asks for dark ones,
which decks of the site (build/site/slides) follow.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab_browser import CHROMIUM_FLAGS, CHROMIUM_NAMES, find_chromium
from playwright.sync_api import Browser, Page, Route, sync_playwright

SIZE = {"width": 1280, "height": 720}
SMALLEST_TEXT = 14  # CSS pixels at 1280 x 720: what the last row can still read
READY_MS = 20_000

_MEASURE = Path(__file__).with_name("deck_measure.js").read_text(encoding="utf-8")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """A Chromium for several ``DeckBrowser`` in turn. Raises FileNotFoundError without one."""
    executable = find_chromium()
    if executable is None:
        raise FileNotFoundError(f"no Chromium: looked for {', '.join(CHROMIUM_NAMES)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        try:
            yield chromium
        finally:
            chromium.close()


class DeckBrowser:
    """A Chromium that opens files and asks nobody for anything.

    ``requests``: every address other than the files that were opened; ``errors``: console errors
    and exceptions. Both should be empty. ``script=False`` turns JavaScript off, ``dark`` asks for
    a dark page. ``chromium``: one that runs already, see ``running_chromium``.
    """

    def __init__(
        self, *, script: bool = True, dark: bool = False, chromium: Browser | None = None
    ) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._options = {"java_script_enabled": script, "color_scheme": "dark" if dark else "light"}
        self._opened: set[str] = set()
        self._chromium = chromium
        self._running: Any = None

    def __enter__(self) -> Self:
        self._running = self._context_manager()
        self.context = self._running.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.__exit__(kind, error, trace)

    @contextmanager
    def _context_manager(self) -> Iterator[Any]:
        with nullcontext(self._chromium) if self._chromium else running_chromium() as chromium:
            context: Any = chromium.new_context(viewport=SIZE, **self._options)  # type: ignore[arg-type]
            try:
                context.route("**/*", self._only_what_was_opened)
                context.on("page", self._listen)
                yield context
            finally:
                context.close()

    def _only_what_was_opened(self, route: Route) -> None:
        if route.request.url.split("#")[0].split("?")[0] in self._opened:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def _listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console", lambda line: self.errors.append(line.text) if line.type == "error" else None
        )

    def open(self, path: Path, query: str = "") -> Page:
        """Open an exported file; a deck when its first slide is ready."""
        url = path.resolve().as_uri()
        self._opened.add(url)
        page: Page = self.context.new_page()
        page.goto(url + query)
        if self._options["java_script_enabled"] and page.locator(".reveal").count():
            page.wait_for_selector("html[data-ready]", timeout=READY_MS)
        return page


def slides(page: Page) -> Iterator[tuple[int, str]]:
    """Walk through the deck as a teacher does. Yields (number, id) with all fragments shown."""
    page.evaluate("Reveal.slide(0, 0)")
    number = 0
    while True:
        number += 1
        while page.evaluate("Reveal.availableFragments().next"):
            page.evaluate("Reveal.nextFragment()")
        settle(page)
        yield number, str(page.evaluate("Reveal.getCurrentSlide().id"))
        if page.evaluate("Reveal.isLastSlide()"):
            return
        page.evaluate("Reveal.next()")


def settle(page: Page) -> None:
    """Wait until the current slide stands as it will: its pictures are there, and it is drawn."""
    page.evaluate("""async () => {
        const images = [...Reveal.getCurrentSlide().querySelectorAll('img')];
        await Promise.all(images.map(image => image.decode()));
        await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
    }""")


# How far down what can be read on the current slide reaches, where 1 is its lower edge.
_FILL = """() => {
    const sheet = Reveal.getCurrentSlide().querySelector('.sheet');
    const frame = sheet.getBoundingClientRect();
    const all = root => [...root.querySelectorAll('*')].flatMap(
        part => part.shadowRoot ? [part, ...all(part.shadowRoot)] : [part]);
    const read = all(sheet).filter(part => part.checkVisibility() && !part.closest('.running') &&
        (/^(img|svg|input|button)$/.test(part.localName) ||
         [...part.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())));
    const bottom = Math.max(...read.map(part => part.getBoundingClientRect().bottom));
    return (bottom - frame.top) / frame.height;
}"""


def fill(page: Page) -> float:
    """How far down the current slide is filled: 1 is its lower edge. The title is centred: 1."""
    if page.evaluate("Reveal.getCurrentSlide().querySelector('.sheet.title') !== null"):
        return 1.0
    return float(page.evaluate(_FILL))


def overflows(page: Page) -> list[str]:
    """What leaves the current slide, is cut off in it, or is too small to read."""
    return list(page.evaluate(_MEASURE, SMALLEST_TEXT))


def print_pdf(browser: DeckBrowser, path: Path, pdf: Path) -> None:
    """Print a deck, one page per slide, or a page on the sheets that its style asks for."""
    page = browser.open(path, "?print-pdf")
    if page.locator(".reveal").count():
        # reveal lays the sheets out after it is ready; printed earlier, all slides are one page.
        total = page.evaluate("Reveal.getTotalSlides()")
        page.locator(".pdf-page").nth(total - 1).wait_for(state="attached")
    pdf.parent.mkdir(parents=True, exist_ok=True)
    half = pdf.with_name(f".{pdf.name}.part")
    page.pdf(path=half, prefer_css_page_size=True, print_background=True)
    half.replace(pdf)
    page.close()


def _sheets(pictures: list[bytes], columns: int = 3) -> Iterator[Any]:
    from PIL import Image

    width, height, per_sheet = 640, 360, columns * columns
    for start in range(0, len(pictures), per_sheet):
        some = pictures[start : start + per_sheet]
        sheet = Image.new("RGB", (width * columns, height * -(-len(some) // columns)), "#888")
        for i, data in enumerate(some):
            small = Image.open(io.BytesIO(data)).resize((width - 4, height - 4))
            sheet.paste(small, (width * (i % columns) + 2, height * (i // columns) + 2))
        yield sheet


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("decks", nargs="+", type=Path)
    parser.add_argument("--sheets", type=Path, help="folder for pictures of all slides")
    parser.add_argument("--fill", action="store_true", help="list slides that are half empty")
    parser.add_argument("--pdf", type=Path, help="folder for PDFs, of decks or of sheets")
    parser.add_argument("--dark", action="store_true", help="as on a screen that is set to dark")
    options = parser.parse_args(arguments)
    broken = 0
    with DeckBrowser(dark=options.dark) as browser:
        for path in options.decks:
            if options.pdf:
                print_pdf(browser, path, options.pdf / f"{path.stem}.pdf")
                print(f"wrote {options.pdf / path.stem}.pdf", flush=True)
                continue
            broken += _look_at(browser, path, options.sheets)
            if options.fill:
                _list_half_empty(browser, path)
    for line in (*browser.requests, *browser.errors):
        print(line)
    return 1 if broken or browser.requests or browser.errors else 0


def _list_half_empty(browser: DeckBrowser, path: Path) -> None:
    page = browser.open(path)
    filled = {f"{number} (#{name})": fill(page) for number, name in slides(page)}
    page.close()
    half = {name: part for name, part in filled.items() if part < 0.5}
    print(f"{path.name}: {len(half)} of {len(filled)} slides end above half of the height")
    for name, part in half.items():
        print(f"  slide {name}: {part:.0%}")


def _look_at(browser: DeckBrowser, path: Path, sheets: Path | None) -> int:
    page, pictures, broken = browser.open(path), [], 0
    for number, name in slides(page):
        for line in overflows(page):
            broken += 1
            print(f"{path.name}, slide {number} (#{name}): {line}")
        if sheets:
            pictures.append(page.screenshot())
    page.close()
    if sheets:
        sheets.mkdir(parents=True, exist_ok=True)
        for i, sheet in enumerate(_sheets(pictures)):
            sheet.save(sheets / f"{path.stem}-{i}.png")
    return broken


if __name__ == "__main__":
    sys.exit(main())
