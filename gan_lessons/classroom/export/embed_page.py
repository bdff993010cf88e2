"""How to show an explorer in a page or in slides of one's own; and the file with the explorer."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from gan_lessons.classroom.explorer import StrategyExplorer, explore
from gan_lessons.classroom.export.sheets import sheet

FILE = "explorer.html"
SHOWN = "#strategy=detach&at=8"
_FRAME = Markup('<iframe src="{src}" title="{title}" width="100%" height="720"></iframe>')


def write_explorer(folder: Path) -> StrategyExplorer:
    """Save the three strategies to ``folder/explorer.html``. Raises OSError."""
    explorer = explore()
    folder.mkdir(parents=True, exist_ok=True)
    explorer.save(folder / FILE)
    return explorer


def embed_page(explorer: StrategyExplorer, *, home: str = "") -> str:
    """The page that stands beside the file. ``home``: address of the index, "" for no link."""
    data = explorer.data
    films = [
        (
            key,
            data["films"][key]["title"],
            sum(not moment.get("silent") for moment in data["films"][key]["moments"]),
            [(variant["key"], variant["title"]) for variant in data["variants"][key]],
        )
        for key in data["order"]
    ]
    key, _, _, variants = films[-1]
    return sheet(
        "embed.html.j2",
        beside=(FILE,),
        title="An explorer in your own slides",
        home=home,
        file=FILE,
        films=films,
        frame=_FRAME.format(src=FILE + SHOWN, title="A GAN step, line by line"),
        example=f"#strategy={key}&at=1&whatif={variants[0][0]}",
    )
