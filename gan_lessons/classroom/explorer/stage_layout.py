"""Where the players stand: columns from what comes in to the losses, a frame around each net."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gan_lessons.classroom.explorer.players import Cast, Player, arguments
from gan_lessons.classroom.explorer.stage_sizes import (
    CLOSE,
    LANE,
    LETTER,
    SLIM,
    TEXT,
    WIDE,
    Box,
    Frame,
    Sizes,
)
from gan_lessons.classroom.explorer.stage_ways import edges, label, lanes, starts_in
from gan_lessons.lens import show

Json = dict[str, Any]
Places = dict[Player, Box]


def close_stage(cast: Cast) -> Json:
    """Boxes and paths for half of a slide, in the order of ``stage(cast)``: the rest is as it."""
    whole = stage(cast, CLOSE)
    return {
        "size": whole["size"],
        "frames": [frame["box"] for frame in whole["frames"]],
        "calls": [call["box"] for call in whole["calls"]],
        "titles": [call["title"] for call in whole["calls"]],
        "losses": [loss["box"] for loss in whole["losses"]],
        "edges": [{k: edge[k] for k in ("path", "at") if k in edge} for edge in whole["edges"]],
    }


def stage(cast: Cast, sizes: Sizes = WIDE) -> Json:
    """Boxes, paths and texts of a step's players; the same for every moment of it."""
    forwards = cast.record.forwards
    columns = columns_of(cast)
    titles = {f.index: title(cast, f.index) for f in forwards}
    frames = frames_of(cast, columns, titles, sizes)
    last = max([*columns.values(), 0])
    inputs = _inputs(cast) if sizes.labels else {}
    left = max((len(text) for f, text in inputs.items() if columns[f] == 0), default=0)
    x = sizes.edge + (left * SLIM + 26 if left else 0)
    for column in range(last + 1):
        _stack([f for c, f in frames if c == column], sizes)
    upright = _places(cast, frames, 0.0, sizes)  # how high all stand is known before the columns
    for column in range(last + 1):
        mine = [f for c, f in frames if c == column]
        for frame in mine:
            frame.x = x
        gap = _gap(cast, columns, column, inputs) if sizes.labels else 0.0
        x += max((frame.width for frame in mine), default=0.0)
        x += gap or _lanes_only(cast, columns, column, upright, sizes)
    return _drawn(cast, frames, _places(cast, frames, x, sizes), titles, inputs, columns, sizes)


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
    cast: Cast, columns: Mapping[int, int], titles: Mapping[int, str], sizes: Sizes = WIDE
) -> list[tuple[int, Frame]]:
    """(column, frame), a net that never ran in the first."""
    found: dict[tuple[int, str], Frame] = {}
    for forward in cast.record.forwards:
        key = (columns[forward.index], forward.net)
        frame = found.setdefault(key, Frame(forward.net, width=sizes.least, sizes=sizes))
        frame.calls.append(forward.index)
        wide = len(titles[forward.index]) * LETTER + sizes.beside
        frame.width = max(frame.width, wide + 2 * sizes.pad + sizes.rail)
    ran = {net for _, net in found}
    for net in cast.record.parameters:
        if net not in ran:
            found[0, net] = Frame(net, width=sizes.least, sizes=sizes)
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
    texts += [label(cast, way) for way in cast.ways if starts_in(way, columns, column)]
    ways = sum(starts_in(way, columns, column) for way in cast.ways)
    text = max((len(text) for text in texts), default=0) * SLIM
    between = WIDE.between
    return max(between, text + 34) + min(ways, 8) * LANE if text else between


def _lanes_only(
    cast: Cast, columns: Mapping[int, int], column: int, places: Places, sizes: Sizes
) -> float:
    """Room for the ways up and down, and for a cut before who takes."""
    mine = [way for way in cast.ways if starts_in(way, columns, column)]
    taken = {lane for (c, _), lane in lanes(cast, places, columns).items() if c == column}
    before = 2 * sizes.blades if any(way in cast.cuts for way in mine) else 22.0
    return max(sizes.between, sizes.lane + LANE * len(taken) + before)


def _stack(frames: list[Frame], sizes: Sizes) -> None:
    y = sizes.edge
    for frame in frames:
        frame.y = y
        y += frame.height + 16


def _places(cast: Cast, frames: Iterable[tuple[int, Frame]], x: float, sizes: Sizes) -> Places:
    """Of calls in their frames, and of losses at x."""
    places: Places = {}
    for _, frame in frames:
        y = frame.y + sizes.pad + sizes.bank
        for call in frame.calls:
            left = sizes.pad + sizes.rail
            places["call", call] = (frame.x + left, y, frame.width - left - sizes.pad, sizes.call)
            y += sizes.call + sizes.gap
    _losses(cast, places, x, sizes)
    return places


def _losses(cast: Cast, places: Places, x: float, sizes: Sizes) -> None:
    """Each at the height of what goes into it, none over another."""
    tall = sizes.loss
    wanted = []
    for node, name in cast.losses.items():
        makers = [maker for maker, taker in cast.ways if taker == ("loss", node)]
        middles = [places[m][1] + sizes.call / 2 for m in makers if m in places]
        middle = sum(middles) / len(middles) if middles else 0.0
        wanted.append((middle, node, name, middles))
    free = sizes.edge
    for middle, node, name, near in sorted(wanted):
        y = max(free, middle - tall / 2)
        y = next((m - tall / 2 for m in sorted(near) if 0 <= m - tall / 2 - y < 20), y)
        places["loss", node] = (x, y, loss_width(name, sizes), tall)
        free = y + tall + sizes.gap


def loss_width(name: str, sizes: Sizes = WIDE) -> float:
    least = 6 * LETTER + sizes.around
    return max(least, len(show.visible(name, 16)) * LETTER + sizes.around)


# Drawing ------------------------------------------------------------------------------------------


def _drawn(
    cast: Cast,
    frames: Iterable[tuple[int, Frame]],
    places: Places,
    titles: Mapping[int, str],
    inputs: Mapping[int, str],
    columns: Mapping[int, int],
    sizes: Sizes,
) -> Json:
    nets = [*cast.record.parameters]
    boxes = [f for _, f in frames]
    right = max([f.x + f.width for f in boxes] + [b[0] + b[2] for b in places.values()] + [0])
    low = max([f.y + f.height for f in boxes] + [b[1] + b[3] for b in places.values()] + [0])
    return {
        "size": [round(right + 3 * sizes.edge), round(low + 3 * sizes.edge)],
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
        "edges": edges(cast, boxes, places, columns, sizes),
    }  # fmt: skip


def _round(*numbers: float) -> list[float]:
    return [round(n, 1) for n in numbers]
