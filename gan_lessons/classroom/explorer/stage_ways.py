"""Where the ways between players lead: by lanes between columns, around what stands there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gan_lessons.classroom.explorer.players import Cast, Player, Way, arguments
from gan_lessons.classroom.explorer.stage_sizes import LANE, ROUND, Box, Frame, Sizes
from gan_lessons.lens import show

Json = dict[str, Any]


Columns = Mapping[int, int]
Places = Mapping[Player, Box]


def starts_in(way: Way, columns: Columns, column: int) -> bool:
    """It is a way of what a call in this column made."""
    (kind, maker), (other, _) = way
    return kind == "call" and other != "net" and columns.get(int(maker)) == column


def label(cast: Cast, way: Way) -> str:
    """What goes this way: ``fake``. Of a cut way, how it was cut stands below it."""
    (_, maker), (kind, taker) = way
    if kind != "call" or not isinstance(taker, int) or not isinstance(maker, int):
        return ""
    text = arguments(cast.record.forwards[taker])
    return text if text.isidentifier() and len(text) <= 9 else ""


def lanes(cast: Cast, places: Places, columns: Columns) -> dict[tuple[int, object], int]:
    """(column, what goes there) -> its lane, from 1 on: to one loss all go in one, and what goes
    straight to its neighbour needs none."""
    found: dict[tuple[int, object], int] = {}
    used: dict[int, int] = {}
    for way in cast.ways:
        maker, taker = way
        if maker[0] == "net":
            continue
        column = _column(maker, columns)
        key = (column, taker if taker[0] == "loss" else way)
        if key not in found and not _straight(way, places, columns):
            used[column] = used.get(column, 0) + 1
            found[key] = used[column]
    return found


def _column(maker: Player, columns: Columns) -> int:
    return columns[int(maker[1])] if maker[0] == "call" else 0


def _straight(way: Way, places: Places, columns: Columns) -> bool:
    maker, taker = way
    next_one = columns[int(taker[1])] if taker[0] == "call" else max([*columns.values(), 0]) + 1
    (_, y, _, tall), (_, to_y, _, to_tall) = places[maker], places[taker]
    level = abs(y + tall / 2 - to_y - to_tall / 2) < 1
    return level and next_one == _column(maker, columns) + 1


def edges(
    cast: Cast, frames: list[Frame], places: Places, columns: Columns, sizes: Sizes
) -> list[Json]:
    """One for each way, in their order. Upward and downward each has a lane of its own."""
    own = lanes(cast, places, columns)
    pad, rail = sizes.pad, sizes.rail
    found = []
    order: dict[str, list[Any]] = {
        "net": [*cast.record.parameters],
        "call": [f.index for f in cast.record.forwards],
        "loss": [*cast.losses],
    }
    for way in cast.ways:
        maker, taker = way
        ends: list[list[Any]] = [[kind, order[kind].index(key)] for kind, key in way]
        if maker[0] == "net":
            path = _rail(frames, places, maker, taker, sizes)
            found.append({"path": path, "ends": ends, "weights": ends[0][1] + 1})
            continue
        key = (_column(maker, columns), taker if taker[0] == "loss" else way)
        start, end = places[maker], places[taker]
        lane = _right_of(frames, start) + sizes.lane + LANE * own.get(key, 1)
        told: Json = {"path": _bent(start, end, lane, frames), "ends": ends}
        text = label(cast, way)
        y = end[1] + end[3] / 2
        if text:
            above = 17 if way in cast.cuts else 9
            told["label"] = [round(end[0] - pad - rail - 6), round(y - above), text]
        if way in cast.cuts:
            told["cut"] = show.visible(cast.cuts[way], 12)
            told["at"] = [round(end[0] - pad - rail - sizes.blades), round(y)]
        found.append(told)
    return found


def _right_of(frames: Iterable[Frame], box: Box) -> float:
    inside = (f for f in frames if f.x <= box[0] <= f.x + f.width and f.y <= box[1])
    return max((f.x + f.width for f in inside), default=box[0] + box[2])


def _bent(start: Box, end: Box, lane: float, frames: Iterable[Frame] = ()) -> str:
    """From the right side of one box to the left side of the other, by a lane up or down; where
    a frame stands in between, through the nearest gap above or below it."""
    x, y = start[0] + start[2], start[1] + start[3] / 2
    to_x, to_y = end[0], end[1] + end[3] / 2
    between = [f for f in frames if lane < f.x and f.x + f.width < to_x]
    points = [(x, y), (lane, y), (lane, to_y), (to_x, to_y)]
    if any(f.covers(to_y) for f in between):
        gaps = [f.y + f.height + 6 for f in between]
        free = [gap for gap in gaps if not any(f.covers(gap) for f in between)]
        gap = min(free, key=lambda gap: abs(gap - to_y))
        near = to_x - 2 * LANE
        points[2:3] = [(lane, gap), (near, gap), (near, to_y)]
    elif abs(y - to_y) < 1:
        return f"M{x:g},{y:g}H{to_x:g}"
    return rounded(points)


def rounded(points: list[tuple[float, float]]) -> str:
    """A path along these, level and upright in turn."""
    found = "M{:g},{:g}".format(*points[0])
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        (from_x, from_y), (to_x, to_y) = _from((x, y), before), _from((x, y), after)
        found += f"H{from_x:g}" if before[1] == y else f"V{from_y:g}"
        found += f"Q{x:g},{y:g} {to_x:g},{to_y:g}"
    x, y = points[-1]
    return f"{found}H{x:g}" if points[-2][1] == y else f"{found}V{y:g}"


def _from(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """So far from a corner as it is rounded."""
    away = [
        max(-ROUND, min(ROUND, (there - here) / 2))
        for here, there in zip(corner, other, strict=True)
    ]
    return corner[0] + away[0], corner[1] + away[1]


def _rail(frames: Iterable[Frame], places: Places, net: Player, taker: Player, sizes: Sizes) -> str:
    """Within a frame: from the weights on top down to a call. To a loss: out of the frame."""
    x, y, width, height = places[taker]
    own = [f for f in frames if f.net == net[1]]
    for frame in own:
        if taker[0] == "call" and frame.x <= x <= frame.x + frame.width:
            rail = frame.x + sizes.pad + sizes.rail / 2 - 2
            top, turn = frame.y + sizes.bar, y + 16
            return (
                f"M{rail:g},{top:g}V{turn - ROUND:g}"
                f"Q{rail:g},{turn:g} {rail + ROUND:g},{turn:g}H{x:g}"
            )
    frame = own[0]
    start = (frame.x, frame.y + 30, frame.width, 40.0)
    return _bent(start, (x, y, width, height), frame.x + frame.width + 14)
