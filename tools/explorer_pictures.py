"""Pictures of the explorer at the moments that decide, on a light and on a dark page.

python tools/explorer_pictures.py build/pictures                             # all of them
python tools/explorer_pictures.py build/pictures --readme docs/explorer.png  # and the README's
python tools/explorer_pictures.py --walk build/walk                # moving pictures, line by line
python tools/explorer_pictures.py --walk build/walk --strategy detach        # of another strategy

A walk is for who cannot run scripts: a GIF, light and dark. All are taken of a file that
``explore().save()`` has written, opened at the moment's own address.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deck_browser import DeckBrowser, running_chromium
from PIL import Image
from playwright.sync_api import Page

from gan_lessons.classroom import StrategyExplorer, explore
from gan_lessons.strategies import THREE

Film = dict[str, Any]
COLOURS = 128  # of a picture: flat areas and text need no more
WALK_COLOURS = 48
# How long a moment of the walk stands still: until its caption has been read.
SHORTEST, PER_WORD, LONGEST = 1.6, 0.22, 5.5  # seconds


@dataclass(frozen=True)
class Shot:
    """A moment: where ``line`` runs in a strategy, or in one with something changed."""

    name: str
    strategy: str
    line: str
    what_if: str = ""


SHOTS = (
    Shot("s1-in-vain", "retain_graph", "d_loss.backward("),
    Shot("s1-pulled", "retain_graph", "g_loss.backward("),
    Shot("s1-moved", "retain_graph", "opt_g.step("),
    Shot("s2-through-the-new-d", "detach", "g_loss.backward("),
    Shot("s3-old-fakes", "generator_first", "d_loss = "),
    Shot("what-if-no-zero-grad", "retain_graph", "opt_g.step(", "no_zero_grad_g"),
)
README = SHOTS[0]


def film_of(explorer: StrategyExplorer, shot: Shot) -> Film:
    """The film that is shown: a variant's holds what differs from the step as written."""
    film: Film = explorer.data["films"][shot.strategy]
    changed = (v["film"] for v in explorer.data["variants"][shot.strategy]
               if v["key"] == shot.what_if)  # fmt: skip
    return {**film, **next(changed, {})}


def address(explorer: StrategyExplorer, shot: Shot) -> str:
    """What stands behind the name of the file, to see this moment.

    Raises ValueError for a line that does not run there.
    """
    film = film_of(explorer, shot)
    for number, moment in enumerate(numbered(film), 1):
        if film["source"][moment["line"] - 1].strip().startswith(shot.line):
            return at(shot, number)
    raise ValueError(f"no line of {shot.strategy} {shot.what_if} begins with {shot.line!r}")


def numbered(film: Film) -> list[Film]:
    """The moments that have a number: something happens in them."""
    return [moment for moment in film["moments"] if not moment.get("silent")]


def at(shot: Shot, number: int) -> str:
    """The address of a moment, counted from 1."""
    what_if = f"&whatif={shot.what_if}" if shot.what_if else ""
    return f"#strategy={shot.strategy}&at={number}{what_if}"


def picture(page: Page, size: tuple[int, int] = (1280, 720)) -> Image.Image:
    """The explorer as it stands, with nothing in motion."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(reduced_motion="reduce")
    section = page.locator("section.explorer")
    section.wait_for()
    page.evaluate("document.fonts.ready")
    return Image.open(io.BytesIO(section.screenshot(animations="disabled"))).convert("RGB")


def small(image: Image.Image, colours: int = COLOURS) -> Image.Image:
    """With few colours, for a file that is soon there."""
    return image.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def seconds(moment: Film) -> float:
    """How long a moment stands still."""
    words = len(str(moment["caption"]).split())
    return min(max(SHORTEST, PER_WORD * words), LONGEST)


def walk(browser: DeckBrowser, file: Path, film: Film, shot: Shot, path: Path) -> None:
    """Write a GIF of every moment of a film in which something happens."""
    moments = numbered(film)
    found = [_taken(browser, file, at(shot, n)) for n in range(1, len(moments) + 1)]
    size = max(image.width for image in found), max(image.height for image in found)
    first, *more = (small(_framed(image, size), WALK_COLOURS) for image in found)
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [round(1000 * seconds(moment)) for moment in moments]
    first.save(path, save_all=True, append_images=more, duration=times, loop=0, optimize=True)
    print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)", flush=True)


def _framed(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """On a ground of one size for all, and three quarters as large."""
    ground = Image.new("RGB", size, image.getpixel((0, 0)))
    ground.paste(image)
    return ground.resize((size[0] * 3 // 4, size[1] * 3 // 4), Image.Resampling.LANCZOS)


def _taken(
    browser: DeckBrowser, file: Path, where: str, size: tuple[int, int] = (1280, 720)
) -> Image.Image:
    page = browser.open(file, where)
    try:
        return picture(page, size)
    finally:
        page.close()


def _write(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small(image).save(path, optimize=True)
    print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where the pictures go")
    parser.add_argument("--readme", type=Path, help="PNG for the top of the README")
    parser.add_argument("--walk", type=Path, help="folder for GIFs, moment by moment")
    parser.add_argument("--strategy", choices=THREE, default=THREE[0], help="of the walk")
    options = parser.parse_args(arguments)
    if not (options.folder or options.walk or options.readme):
        parser.error("name a folder for pictures, or --walk FOLDER, or --readme FILE")
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as scratch, running_chromium() as chromium:
        explorer = explore()
        file = explorer.save(Path(scratch) / "explorer.html")
        for look in ("light", "dark"):
            with DeckBrowser(dark=look == "dark", chromium=chromium) as browser:
                for shot in SHOTS if options.folder else ():
                    image = _taken(browser, file, address(explorer, shot))
                    _write(options.folder / f"{shot.name}-{look}.png", image)
                if look == "light" and options.readme:
                    _write(options.readme, _taken(browser, file, address(explorer, README)))
                if options.walk:
                    shot, path = Shot("walk", options.strategy, ""), options.walk
                    path = path / f"{options.strategy.replace('_', '-')}-{look}.gif"
                    walk(browser, file, film_of(explorer, shot), shot, path)
            problems += [*browser.requests, *browser.errors]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
