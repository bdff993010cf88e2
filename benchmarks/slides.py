"""How large the decks are, how soon the first slide is there, how long a build takes.

    python benchmarks/slides.py [--quick]      # --quick: take what build/ holds, build nothing

Times depend on the machine. A deck of nothing but reveal.js, opened in turn with the real one,
shows what of the waiting is the browser's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import nbformat
from deck_browser import DeckBrowser

from gan_lessons.classroom.export import GanSlides, build

ROOT = Path(__file__).resolve().parents[1]
LESSON = "02-strategy-1-retain-graph"
MOST_MB, MOST_READY_S, MOST_BUILD_S = 1.5, 1.5, 300


def building(folder: Path) -> None:
    """Everything from nothing: no cache of what ran before."""
    start = time.perf_counter()
    failures = build.build("all", sorted((ROOT / "notebooks").glob("*.ipynb")), folder)
    took = time.perf_counter() - start
    print(f"all decks and the site: {took:.0f} s (at most {MOST_BUILD_S}), failures: {failures}")


def sizes(decks: list[Path]) -> None:
    for deck in decks:
        wanted = f" (at most {MOST_MB})" if deck.stem == LESSON else ""
        print(f"{deck.name}: {deck.stat().st_size / 1e6:.2f} MB{wanted}")


def empty_deck(folder: Path) -> Path:
    cell = nbformat.v4.new_markdown_cell("# Empty", metadata={"slideshow": {"slide_type": "slide"}})
    page, _ = GanSlides().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    path = folder / "empty.html"
    path.write_text(page, encoding="utf-8")
    return path


def readiness(deck: Path, empty: Path, repeat: int) -> None:
    """From asking for the file to the first slide, fitted and painted; a fresh profile each."""
    times: dict[Path, list[float]] = {deck: [], empty: []}
    for _ in range(repeat):
        for path in times:
            with DeckBrowser() as browser:
                browser.context.new_page().close()  # the browser's own start is not the deck's
                start = time.perf_counter()
                page = browser.open(path)
                page.evaluate(
                    "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
                )
                times[path].append(time.perf_counter() - start)
    real, bare = (statistics.median(times[path]) for path in (deck, empty))
    slowest = max(times[deck])
    print(
        f"first slide of {deck.name}: median {real:.2f} s, slowest {slowest:.2f} of {repeat}",
        end="",
    )
    print(f" (at most {MOST_READY_S}); {real / bare:.1f} times the empty deck's {bare:.2f} s")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure the decks in build/slides")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = ROOT / "build" if options.quick else Path(scratch)
        if not options.quick:
            building(folder)
        decks = sorted((folder / "slides").glob("*.html"))
        if not decks:
            parser.error("build/slides holds no deck: make slides")
        sizes(decks)
        deck = next(path for path in decks if path.stem == LESSON)
        readiness(deck, empty_deck(Path(scratch)), repeat=3 if options.quick else 9)
    return 0


if __name__ == "__main__":
    sys.exit(main())
