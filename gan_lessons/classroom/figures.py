"""The charts of the lessons: each takes plain data and returns a ``Chart`` that a cell shows.

Drawn with ``matplotlib.figure.Figure``, never with pyplot: widget callbacks run on other threads,
where pyplot's current figure is somebody else's.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gan_lessons.extras import installed_for
from gan_lessons.lens.model import Event, Record
from gan_lessons.lens.show import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours can be told apart by everybody; the markers and dashes say it again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v")
LONGEST_LABEL = 44
DASHES = ("-", "--", "-.", ":")

_BYTES = "KiB that only the graph keeps, after each event (no weights, no inputs)"


@dataclass(frozen=True)
class Chart:
    """A figure with the same in words, for those who do not see it."""

    figure: Figure
    text: str
    is_photo: bool = False  # a dark page turns the light of a drawing round, of a photo not

    @property
    def svg(self) -> str:
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True)
        return buffer.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        data = base64.b64encode(self.svg.encode()).decode()
        kind = 'class="gl-as-it-is" ' if self.is_photo else ""
        image = (
            f'<img {kind}src="data:image/svg+xml;base64,{data}" alt="{html.escape(self.text)}" '
            'style="max-width:100%;background:#fff;border-radius:6px;padding:6px">'
        )
        return {"text/html": image, "text/plain": self.text}


def _axes(width: float, height: float, **labels: str) -> tuple[Figure, Axes]:
    with installed_for("this figure"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set(**labels)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def image_grid(images: Tensor, title: str = "", columns: int = 12) -> Chart:
    """Gray images (n, 1, height, width) with values in [-1, 1], in rows of ``columns``."""
    if images.ndim != 4 or images.shape[1] != 1 or len(images) == 0:
        raise ValueError(
            f"image_grid() got shape {tuple(images.shape)}; expected (n, 1, height, width)"
        )
    images = images.detach().cpu()
    columns = min(columns, len(images))
    padded = torch.nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=0.0)
    missing = -len(images) % columns
    padded = torch.cat([padded, padded.new_zeros(missing, *padded.shape[1:])])
    rows = [torch.cat(list(row), dim=1) for row in padded.split(columns)]
    figure, axes = _axes(0.75 * columns, 0.75 * len(rows) + 0.3, title=title)
    axes.imshow(torch.cat(rows).numpy(), cmap="gray", vmin=-1, vmax=1)
    axes.set_axis_off()
    text = "{count} images. {title}".format(count=len(images), title=title)
    return Chart(figure, text, is_photo=True)


def held_bytes(record: Record) -> Chart:
    """What the graph alone keeps after each event, in KiB, with the peak marked."""
    events = [e for e in record.events if e.held.complete]
    if not events:
        raise ValueError("held_bytes() got a record in which no bytes could be counted")
    sizes = [e.held.activations for e in events]
    labels = [f"{e.index}  {_line_of(e, events)}" for e in events]
    places = range(len(events))  # two events may share a label, never a place
    figure, axes = _axes(9, 0.34 * len(events) + 1, xlabel=_BYTES)
    axes.barh(places, [size / 1024 for size in sizes], color=COLOURS[0])
    axes.set_yticks(places, labels)
    peak = max(places, key=lambda i: sizes[i])
    axes.annotate(
        "peak: {size:,.1f} KiB".format(size=sizes[peak] / 1024), (sizes[peak] / 1024, peak),
        xytext=(4, -3), textcoords="offset points", weight="bold",
    )  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(sizes) / 1024 or 1)
    rows = [f"{label}: {size / 1024:,.1f}" for label, size in zip(labels, sizes, strict=True)]
    return Chart(figure, "\n".join([_BYTES, *rows]))


def _line_of(event: Event, events: Sequence[Event]) -> str:
    """The line behind an event; where it runs two forwards, the call that is meant."""
    line = event.line
    shared = sum(e.kind == "forward" and e.line.text == line.text for e in events) > 1
    text = line.expression if event.kind == "forward" and shared else ""
    text = text or line.code
    return visible(" ".join(text.split()), LONGEST_LABEL)


def spread(groups: Mapping[str, Sequence[float]], ylabel: str, right: float | None = None) -> Chart:
    """Every value of every group as a point, the median as a bar, a line at ``right``."""
    figure, axes = _axes(1.35 * len(groups) + 1, 3.2, ylabel=ylabel)
    rows = []
    marks = zip(cycle(COLOURS), cycle(MARKERS))
    for x, ((name, values), (colour, marker)) in enumerate(
        zip(groups.items(), marks, strict=False)
    ):
        spots = [x + 0.25 * (i / max(1, len(values) - 1) - 0.5) for i in range(len(values))]
        axes.plot(spots, values, marker, color=colour, alpha=0.6, markersize=5)
        middle = median(values)  # of two in the middle, their mean
        axes.hlines(middle, x - 0.3, x + 0.3, color="#222", linewidth=2)
        text = "{name}: from {low:.2f} to {high:.2f}, median {mid:.2f}"
        rows.append(text.format(name=name, low=min(values), mid=middle, high=max(values)))
    if right is not None:
        axes.axhline(right, color="#555", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    return Chart(figure, "\n".join([ylabel, *rows]))


def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    mark: tuple[float, str] | None = None,
    dots: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Chart:
    """Lines over a common axis, each with its own colour, dash and label; zero is drawn.

    mark: a place on the x axis to point out, and what to call it. dots: label -> (x, y), drawn as
    points over the lines.
    """
    figure, axes = _axes(6.4, 3.4, xlabel=xlabel, ylabel=ylabel)
    looks = zip(cycle(COLOURS), cycle(DASHES))
    for (name, values), (colour, dash) in zip(lines.items(), looks, strict=False):
        axes.plot(x, values, dash, color=colour, label=name, linewidth=2)
    for (name, places), marker in zip((dots or {}).items(), cycle(MARKERS), strict=False):
        axes.plot(*zip(*places, strict=True), marker, color="#222", label=name, fillstyle="none")
    axes.axhline(0, color="#555", linewidth=0.8)
    if mark is not None:
        axes.axvline(mark[0], color="#555", linestyle=":", linewidth=1.2)
        axes.annotate(mark[1], (mark[0], 0), xytext=(4, 5), textcoords="offset points")
    axes.legend(frameon=False)
    ends = [f"{name}: {v[0]:.3g} → {v[-1]:.3g}" for name, v in lines.items()]
    if mark is not None:
        ends.append(f"{mark[1]} ({xlabel}: {mark[0]:.4g})")
    for name, places in (dots or {}).items():
        ends.append(f"{name}: " + ", ".join(f"{at:g}: {value:.3g}" for at, value in places))
    return Chart(figure, "\n".join([f"{ylabel} / {xlabel}", *ends]))
