"""Pictures one after the other, with a slider and a play button; no kernel needed afterwards.

    play({"S2": frames, "S3": others}, slider="after step", labels=[0, 100, 200])

The pictures are computed before; the player only shows them, so it needs no video codec.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import traitlets

from gan_lessons.classroom.figures import Chart
from gan_lessons.classroom.page import StrategyWidget, module, static

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UI = {
    "play": "Play",
    "pause": "Pause",
    "playing": "playing",
    "place": "{slider} {label}",
}
STILL = "A player with {count} pictures for each of {names}; here is {name}, {slider} {label}."


@dataclass(frozen=True)
class Frame:
    """One picture, as PNG bytes, and the same in words."""

    png: bytes
    text: str

    @classmethod
    def of(cls, figure: Figure, text: str, dpi: int = 80) -> Frame:
        """Draw a matplotlib figure."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
        return cls(buffer.getvalue(), text)

    @property
    def address(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


class FramePlayer(StrategyWidget):
    """Shows frame number ``frame`` of the series ``strategy``; see ``StrategyWidget``."""

    kind = "frames"
    state = ("strategy", "frame")
    _esm = module("frames.js")
    frame = traitlets.Int(0).tag(sync=True)

    def __repr__(self) -> str:
        names = ", ".join(self.data["titles"].values())
        return f"FramePlayer({names}; {len(self.data['labels'])} pictures each)"

    def still(self) -> str:
        """The picture that is chosen, with its words."""
        d, key = self.data, self.strategy or self.data["order"][0]
        told = STILL.format(
            count=len(d["labels"]), names=", ".join(d["titles"].values()), name=d["titles"][key],
            slider=d["slider"], label=d["labels"][self.frame],
        )  # fmt: skip
        text = html.escape(d["texts"][key][self.frame])
        image = f'<img src="{d["images"][key][self.frame]}" alt="{text}" style="max-width:100%">'
        return f"<p>{html.escape(told)}</p>{image}<p>{text}</p>"


def play(
    series: Mapping[str, Sequence[Frame | Chart]],
    *,
    slider: str,
    labels: Sequence[Any],
    frame: int = -1,
    group: str = "",
) -> FramePlayer:
    """A player for one or more series of pictures that belong together, frame by frame.

    series: name -> its frames or charts, one for each of ``labels``. slider: what the labels count,
    such as "after step". frame: where it starts; -1 is the last, which is also what print shows.
    Raises ValueError where the numbers of frames and labels differ.
    """
    if not series or not labels:
        raise ValueError("play() needs at least one series and one label")
    if wrong := {name: len(f) for name, f in series.items() if len(f) != len(labels)}:
        raise ValueError(
            f"play() got {len(labels)} labels, but another number of frames for {wrong}; give each "
            "series one frame for each label"
        )
    drawn = {
        name: [f if isinstance(f, Frame) else Frame.of(f.figure, f.text, dpi=120) for f in frames]
        for name, frames in series.items()
    }
    shown = {
        "ui": UI,
        "css": static("frames.css"),
        "order": list(series),
        "titles": {name: name for name in series},
        "slider": slider,
        "labels": [str(label) for label in labels],
        "images": {name: [f.address for f in frames] for name, frames in drawn.items()},
        "texts": {name: [f.text for f in frames] for name, frames in drawn.items()},
    }
    start = range(len(labels))[frame]
    return FramePlayer(group, data=shown, strategy=next(iter(series)), frame=start)
