"""Where the players stand: columns from what comes in to the losses, a frame around each net.

Sizes are CSS pixels at the scale of one, at which the smallest text is of ``TEXT`` pixels. Widths
of texts are reckoned, so that nothing has to be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gan_lessons.classroom.explorer.players import Cast, Player, Way, arguments
from gan_lessons.lens import show

Json = dict[str, Any]

TEXT = 18.5
LETTER = 0.602 * TEXT  # the width of one, in every monospace face that we name
SLIM = 0.54 * TEXT  # and in the others, on average
PAD, RAIL, GAP = 8.0, 22.0, 10.0
BANK, CALL, LOSS = 100.0, 60.0, 56.0  # heights: a net's weights, one of its calls, a loss
LEAST = 222.0  # what a bank has to say needs that
BETWEEN, LANE = 58.0, 12.0  # between columns, and from one way up or down to the next
ROUND = 9.0


@dataclass
class Frame:
    """A net in one column: its weights on top, its calls below."""

    net: str
    calls: list[int] = field(default_factory=list)
    width: float = LEAST
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        return PAD + BANK + len(self.calls) * (CALL + GAP) + (PAD - GAP if self.calls else 0)

    def covers(self, y: float) -> bool:
        return self.y <= y <= self.y + self.height


def stage(cast: Cast) -> Json:
    """Boxes, paths and texts of a step's players; the same for every moment of it."""
    forwards = cast.record.forwards
    columns = columns_of(cast)
    titles = {f.index: title(cast, f.index) for f in forwards}
    frames = frames_of(cast, columns, titles)
    last = max([*columns.values(), 0])
    inputs = _inputs(cast)
    left = max((len(text) for f, text in inputs.items() if columns[f] == 0), default=0)
    x = 2.0 + (left * SLIM + 26 if left else 0)
    places: dict[Player, tuple[float, float, float, float]] = {}
    for column in range(last + 1):
        mine = [f for f in frames if f[0] == column]
        _stack([f for _, f in mine], x)
        widest = max((f.width for _, f in mine), default=0.0)
        x += widest + _gap(cast, columns, column, inputs)
    for _, frame in frames:
        _place(frame, places)
    _losses(cast, places, x)
    return _drawn(cast, frames, places, titles, inputs, columns)


def title(cast: Cast, forward: int) -> str:
    """The call as it is written, where it is short enough for a box."""
    one = cast.record.forwards[forward]
    text = one.line.expression or show.group_title(one.net, one.index)
    return show.visible(text, 18)


def columns_of(cast: Cast) -> dict[int, int]:
    """Each call as far right as those that take what it made allow; the losses come after all."""
    takers: dict[int, list[int]] = {f.index: [] for f in cast.record.forwards}
    for (kind, maker), (other, taker) in cast.ways:
        if kind == other == "call" and isinstance(maker, int) and isinstance(taker, int):
            takers[maker].append(taker)
    back: dict[int, int] = {}
    for forward in sorted(takers, reverse=True):  # what takes comes later
        back[forward] = 1 + max((back[t] for t in takers[forward]), default=0)
    deepest = max(back.values(), default=1)
    return {forward: deepest - depth for forward, depth in back.items()}


def frames_of(
    cast: Cast, columns: Mapping[int, int], titles: Mapping[int, str]
) -> list[tuple[int, Frame]]:
    """(column, frame), a net that never ran in the first."""
    found: dict[tuple[int, str], Frame] = {}
    for forward in cast.record.forwards:
        key = (columns[forward.index], forward.net)
        frame = found.setdefault(key, Frame(forward.net))
        frame.calls.append(forward.index)
        wide = len(titles[forward.index]) * LETTER + 16
        frame.width = max(frame.width, wide + 2 * PAD + RAIL)
    ran = {net for _, net in found}
    for net in cast.record.parameters:
        if net not in ran:
            found[0, net] = Frame(net)
        for (_, name), frame in found.items():
            if name == net:
                frame.width = max(frame.width, len(show.visible(net, 16)) * 14 + 130)
    return [(column, frame) for (column, _), frame in sorted(found.items(), key=lambda f: f[0][0])]


def _inputs(cast: Cast) -> dict[int, str]:
    """Call -> what goes into it from outside (noise, real)."""
    fed = {taker for (kind, _), taker in cast.ways if kind == "call"}
    texts = {f.index: show.visible(arguments(f), 9) for f in cast.record.forwards}
    return {f: text for f, text in texts.items() if text and ("call", f) not in fed}


def _gap(cast: Cast, columns: Mapping[int, int], column: int, inputs: Mapping[int, str]) -> float:
    """Room for the ways, and for what is written on them."""
    texts = [text for f, text in inputs.items() if columns[f] == column + 1]
    texts += [label(cast, way) for way in cast.ways if _starts_in(way, columns, column)]
    lanes = sum(_starts_in(way, columns, column) for way in cast.ways)
    text = max((len(text) for text in texts), default=0) * SLIM
    return max(BETWEEN, text + 34) + min(lanes, 8) * LANE if text else BETWEEN


def _starts_in(way: Way, columns: Mapping[int, int], column: int) -> bool:
    (kind, maker), (other, _) = way
    return kind == "call" and other != "net" and columns.get(int(maker)) == column


def label(cast: Cast, way: Way) -> str:
    """What goes this way: ``fake``. Of a cut way, how it was cut stands below it."""
    (_, maker), (kind, taker) = way
    if kind != "call" or not isinstance(taker, int) or not isinstance(maker, int):
        return ""
    text = arguments(cast.record.forwards[taker])
    return text if text.isidentifier() and len(text) <= 9 else ""


def _stack(frames: list[Frame], x: float) -> None:
    y = 2.0
    for frame in frames:
        frame.x, frame.y = x, y
        y += frame.height + 16


def _place(frame: Frame, places: dict[Player, tuple[float, float, float, float]]) -> None:
    y = frame.y + PAD + BANK
    for call in frame.calls:
        width = frame.width - 2 * PAD - RAIL
        places["call", call] = (frame.x + PAD + RAIL, y, width, CALL)
        y += CALL + GAP


def _losses(cast: Cast, places: dict[Player, tuple[float, float, float, float]], x: float) -> None:
    """Each at the height of what goes into it, none over another."""
    wanted = []
    for node, name in cast.losses.items():
        makers = [maker for maker, taker in cast.ways if taker == ("loss", node)]
        middles = [places[m][1] + CALL / 2 for m in makers if m in places]
        middle = sum(middles) / len(middles) if middles else 0.0
        wanted.append((middle, node, name, middles))
    free = 2.0
    for middle, node, name, near in sorted(wanted):
        width = loss_width(name)
        y = max(free, middle - LOSS / 2)
        y = next((m - LOSS / 2 for m in sorted(near) if 0 <= m - LOSS / 2 - y < 20), y)
        places["loss", node] = (x, y, width, LOSS)
        free = y + LOSS + GAP


def loss_width(name: str) -> float:
    return max(92.0, len(show.visible(name, 16)) * LETTER + 26)


# Drawing ------------------------------------------------------------------------------------------

Box = tuple[float, float, float, float]


def _drawn(
    cast: Cast,
    frames: Iterable[tuple[int, Frame]],
    places: Mapping[Player, Box],
    titles: Mapping[int, str],
    inputs: Mapping[int, str],
    columns: Mapping[int, int],
) -> Json:
    nets = [*cast.record.parameters]
    boxes = [f for _, f in frames]
    edges = _edges(cast, boxes, places, columns)
    right = max([f.x + f.width for f in boxes] + [b[0] + b[2] for b in places.values()] + [0])
    low = max([f.y + f.height for f in boxes] + [b[1] + b[3] for b in places.values()] + [0])
    return {
        "size": [round(right + 6), round(low + 6)],
        "text": TEXT,
        "frames": [
            {"net": nets.index(f.net), "box": _round(f.x, f.y, f.width, f.height)} for f in boxes
        ],
        "calls": [
            {"net": nets.index(f.net), "box": _round(*places["call", f.index]),
             "title": titles[f.index], "input": inputs.get(f.index, "")}
            for f in cast.record.forwards
        ],
        "losses": [
            {"name": show.visible(name, 16), "box": _round(*places["loss", node])}
            for node, name in cast.losses.items()
        ],
        "edges": edges,
    }  # fmt: skip


def _edges(
    cast: Cast, frames: list[Frame], places: Mapping[Player, Box], columns: Mapping[int, int]
) -> list[Json]:
    """One for each way, in their order. Upward and downward each has a lane of its own."""
    lanes: dict[tuple[str, object], float] = {}
    used: dict[int, int] = {}
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
            path = _rail(frames, places, maker, taker)
            found.append({"path": path, "ends": ends, "weights": ends[0][1] + 1})
            continue
        column = columns[int(maker[1])] if maker[0] == "call" else 0
        key = (taker[0], taker if taker[0] == "loss" else way)
        if key not in lanes:
            used[column] = used.get(column, 0) + 1
            lanes[key] = 16 + LANE * used[column]
        start, end = places[maker], places[taker]
        lane = _right_of(frames, start) + lanes[key]
        told: Json = {"path": _bent(start, end, lane, frames), "ends": ends}
        text = label(cast, way)
        y = end[1] + end[3] / 2
        if text:
            above = 17 if way in cast.cuts else 9
            told["label"] = [round(end[0] - PAD - RAIL - 6), round(y - above), text]
        if way in cast.cuts:
            told["cut"] = show.visible(cast.cuts[way], 12)
            told["at"] = [round(end[0] - PAD - RAIL - 24), round(y)]
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


def _rail(frames: Iterable[Frame], places: Mapping[Player, Box], net: Player, taker: Player) -> str:
    """Within a frame: from the weights on top down to a call. To a loss: out of the frame."""
    x, y, width, height = places[taker]
    own = [f for f in frames if f.net == net[1]]
    for frame in own:
        if taker[0] == "call" and frame.x <= x <= frame.x + frame.width:
            rail, top, turn = frame.x + PAD + RAIL / 2 - 2, frame.y + 74, y + 16
            return (
                f"M{rail:g},{top:g}V{turn - ROUND:g}"
                f"Q{rail:g},{turn:g} {rail + ROUND:g},{turn:g}H{x:g}"
            )
    frame = own[0]
    start = (frame.x, frame.y + 30, frame.width, 40.0)
    return _bent(start, (x, y, width, height), frame.x + frame.width + 14)


def _round(*numbers: float) -> list[float]:
    return [round(n, 1) for n in numbers]
