"""The same players for a narrow screen: a band for each net, and below them the losses.

In a band the net's weights stand to the left of its calls. What a call made goes down to who takes
it by lanes at the right. Who plays, and in which order, is decided in ``stage_layout``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gan_lessons.classroom.explorer.players import Cast, Player, Way
from gan_lessons.classroom.explorer.stage_layout import columns_of, frames_of, loss_width, title
from gan_lessons.classroom.explorer.stage_sizes import LANE, LETTER, WIDE, Frame
from gan_lessons.classroom.explorer.stage_ways import rounded
from gan_lessons.lens import show

Json = dict[str, Any]

CALL, GAP, LOSS, PAD = WIDE.call, WIDE.gap, WIDE.loss, WIDE.pad
# As wide, the text of 18.5 is drawn with more than 14 pixels on a phone of 390, and with 18 in half
# of a notebook that stands beside the file browser on a screen of 1280.
WIDTH = 412.0
RAIL = 24.0  # between weights and calls, for the way from one to the other
BANK = 118.0  # the least width of what a net says of its weights
HEAD, LINE = 32.0, 24.0  # its name and version, on one line or on two
SAYS = 90.0  # the height of what stands below that
BAR = 43.0  # the middle of the bar of .grad below the head
IN, OUT = 18.0, 42.0  # where a call takes, and where it gives: below its upper edge


@dataclass(frozen=True)
class _Bands:
    """What is where from top to bottom: places of calls and losses, and each way's lane."""

    frames: list[Frame]
    head: float
    tops: Mapping[Player, float]
    rows: list[list[Player]]
    lanes: Mapping[object, int]


def narrow_stage(cast: Cast) -> Json:
    """Boxes and paths in the order of ``stage(cast)``, and the titles that fit: the rest is as
    there. head: from a frame's upper edge to below the name of its net."""
    columns = columns_of(cast)
    titles = {f.index: title(cast, f.index) for f in cast.record.forwards}
    frames = [frame for _, frame in frames_of(cast, columns, titles)]
    bands = _bands(cast, frames)
    first = LANE + (18 if cast.cuts else 6)
    margin = first + LANE * max([0, *bands.lanes.values()]) + 4
    wide = WIDTH - margin
    call = max([len(text) for text in titles.values()] + [14]) * LETTER + 12
    call = round(min(call, wide - 2 * PAD - RAIL - BANK))
    places = _places(cast, bands, wide, call)
    heights = [_height(frame, bands.head) for frame in frames]
    low = max(
        [f.y + height for f, height in zip(frames, heights, strict=True)]
        + [y + h for _, y, _, h in places.values()]
    )
    return {
        "size": [round(WIDTH), round(low + 4)],
        "head": bands.head,
        "bank": round(wide - 2 * PAD - RAIL - call, 1),
        "frames": [_box(2, f.y, wide, height) for f, height in zip(frames, heights, strict=True)],
        "calls": [_box(*places["call", f.index]) for f in cast.record.forwards],
        "titles": [show.visible(text, int((call - 8) / LETTER)) for text in titles.values()],
        "losses": [_box(*places["loss", node]) for node in cast.losses],
        "edges": [_edge(cast, way, bands, places, 2 + wide + first) for way in cast.ways],
    }


def _bands(cast: Cast, frames: list[Frame]) -> _Bands:
    """Frames get their places from top to bottom here."""
    longest = max([len(show.visible(f.net, 16)) for f in frames], default=0)
    head = HEAD if longest <= 3 else HEAD + LINE
    tops: dict[Player, float] = {}
    y = 2.0
    for frame in frames:
        calls = len(frame.calls) * (CALL + GAP) - GAP
        frame.y = y
        height = _height(frame, head)
        for i, one in enumerate(frame.calls):
            tops["call", one] = y + (height - calls) / 2 + i * (CALL + GAP)
        y += height + 16
    rows = _rows(cast)
    for row in rows:
        y += 6 + 9 * len(row)
        tops |= dict.fromkeys(row, y)
        y += LOSS + GAP
    lanes = _lanes(cast, frames, tops)
    rows = [sorted(row, key=lambda loss: lanes.get(loss, 0)) for row in rows]
    return _Bands(frames, head, tops, rows, lanes)


def _height(frame: Frame, head: float) -> float:
    return max(head + SAYS, 2 * PAD + len(frame.calls) * (CALL + GAP) - GAP)


def _rows(cast: Cast) -> list[list[Player]]:
    """As many losses beside each other as there is room for."""
    rows: list[list[Player]] = []
    left = 0.0
    for node, name in cast.losses.items():
        width = loss_width(name) + GAP
        if left < width:
            rows.append([])
            left = WIDTH - 60
        rows[-1].append(("loss", node))
        left -= width
    return rows


def _lanes(cast: Cast, frames: Iterable[Frame], tops: Mapping[Player, float]) -> dict[object, int]:
    """Way, or the loss to which several lead -> the first lane that is free from its upper to its
    lower end."""
    ends: dict[object, tuple[float, float]] = {}
    for way in cast.ways:
        if _frame_around(way, frames):
            continue
        above, below = _heights(way, frames, tops)
        key = _lane_of(way)
        others = ends.get(key, (above, below))
        ends[key] = min(above, others[0]), max(below, others[1])
    free: list[float] = []
    found = {}
    for key, (above, below) in sorted(ends.items(), key=lambda e: e[1]):
        lane = next((i for i, end in enumerate(free) if end < above), len(free))
        free[lane : lane + 1] = [below]
        found[key] = lane
    return found


def _frame_around(way: Way, frames: Iterable[Frame]) -> Frame | None:
    """The frame in which both are: a net's weights, and one of its calls."""
    (kind, net), (other, call) = way
    both = (f for f in frames if f.net == net and call in f.calls)
    return next(both, None) if (kind, other) == ("net", "call") else None


def _lane_of(way: Way) -> object:
    return way[1] if way[1][0] == "loss" else way


def _heights(
    way: Way, frames: Iterable[Frame], tops: Mapping[Player, float]
) -> tuple[float, float]:
    maker, taker = way
    start = (
        next((f.y for f in frames if f.net == maker[1]), 0.0) if maker[0] == "net" else tops[maker]
    )
    return start + OUT, tops[taker] + (IN if taker[0] == "call" else 0)


def _places(
    cast: Cast, bands: _Bands, wide: float, call: float
) -> dict[Player, tuple[float, float, float, float]]:
    found = {
        player: (2 + wide - PAD - call, y, call, CALL)
        for player, y in bands.tops.items()
        if player[0] == "call"
    }
    for row in bands.rows:
        right = 2 + wide
        for player in reversed(row):
            width = loss_width(cast.losses[int(player[1])])
            found[player] = (round(right - width), bands.tops[player], width, LOSS)
            right -= width + GAP
    return found


def _edge(
    cast: Cast,
    way: Way,
    bands: _Bands,
    places: Mapping[Player, tuple[float, float, float, float]],
    first: float,
) -> Json:
    """first: the lane that is next to the frames."""
    maker, taker = way
    x, y, width, _ = places[taker]
    if frame := _frame_around(way, bands.frames):
        return {"path": _rail(frame.y + bands.head + BAR, places[taker])}
    above, below = _heights(way, bands.frames, bands.tops)
    lane = first + LANE * bands.lanes[_lane_of(way)]
    start = places[maker][0] + places[maker][2] if maker[0] != "net" else first - LANE
    points = [(start, above), (lane, above)]
    if taker[0] == "call":
        points += [(lane, below), (x + width, below)]
        told: Json = {"path": rounded(points)}
        if way in cast.cuts:
            told["at"] = [round(x + width + PAD + 14), round(below), -14]
        return told
    row = next(row for row in bands.rows if taker in row)
    run = y - 9 * (len(row) - row.index(taker)) - 2
    return {"path": rounded([*points, (lane, run), (x + width / 2, run), (x + width / 2, y)])}


def _rail(bar: float, call: tuple[float, float, float, float]) -> str:
    """From a net's weights, at the height ``bar``, to a call beside them."""
    x, y, _, height = call
    return rounded([(x - RAIL, bar), (x - 12, bar), (x - 12, y + height / 2), (x, y + height / 2)])


def _box(*numbers: float) -> list[float]:
    return [round(n, 1) for n in numbers]
