"""What a step does in the plane: the fakes, the gradient that arrives at them, D's judgement.

    watch = PlaneWatch(real)
    record = record_step(step, gan, real, noise, beside=watch)
    watch.field(record)                # plain JSON; None where the data are no points in the plane

The values are taken while the step runs; what D says of every place, and where the new weights of G
put the same noise, is computed afterwards on copies. See ``PlaneWatch.field`` for what is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gan_lessons.classroom.explorer.field_words import Pull, Seen, words
from gan_lessons.classroom.explorer.plane_run import Look, Made, PlaneRun, is_plane, named
from gan_lessons.gan import Gan
from gan_lessons.lens.cost import copied
from gan_lessons.lens.model import Moment, StepRecord
from gan_lessons.lens.record import undone

Json = dict[str, Any]

SMALL = 10_000  # weights and buffers of nets that are copied whenever they have changed
SHOWN = 64  # points of a batch that can be told apart
SIDE = 25  # places along each side of the grid on which D is asked
LEVELS = 89  # steps between the least and the most that D says
FIRST = 35  # the character of the least: from "#" on none is special in JSON or HTML
LETTERS = [chr(c) for c in range(FIRST, 127) if chr(c) not in "<\\"]
assert len(LETTERS) >= LEVELS + 1
PLACES = 4  # decimals of a coordinate
ASPECT = 1.4  # width of the box by its height
ARROW, MOVE = 0.2, 0.18  # of the width: the longest arrow and, about, the longest move, as drawn
RIM = 0.04  # of the width: an arrow begins so far from the middle of its fake
# So many times its move a fake of a changed step may go, back and on, and still be in the box.
REACH = (-1.0, 2.2)


class PlaneWatch:
    """An instrument to stand beside ``record_step``: it looks at values, and changes none.

    real: (batch, ...). It looks at nothing where these are no points in the plane, or where the
    nets have more than ``SMALL`` weights.
    """

    def __init__(self, real: Tensor) -> None:
        self._real = real.detach().clone() if is_plane(real) else None
        self._runs: list[PlaneRun] = []
        self._asked: Gan | None = None  # a copy that is asked, with the weights of any run
        self._answers: dict[tuple[bytes, bytes], Tensor] = {}  # changed steps ask much the same

    @contextmanager
    def __call__(self, gan: Gan, record: StepRecord) -> Iterator[Callable[[], None]]:
        if self._real is None or not _are_small(gan):
            yield lambda: None
            return
        run = PlaneRun(gan, record, self._real)
        self._runs.append(run)
        with undone() as undo:
            run.attach(undo)
            yield run.look

    def field(self, record: StepRecord, written: Json | None = None) -> Json | None:
        """What there is to see of a step that ran beside this, as JSON; None where it is nothing.

        written: that of the step as written, for a changed one: the same scales, and set beside it.

        Coordinates are whole numbers, to be divided by ``per``. ``box``: left, bottom, right, top.
        ``real``: points. ``clouds``: lists of points, of which moments tell the place. ``says``:
        the least and the most that D says on ``side`` by ``side`` places of the box; ``grids``:
        what it says there, row by row from the bottom, one of ``letters`` each, for each state of
        its weights. ``arrows``: -dL/dfake, to be multiplied by ``stretch``; ``zoom``: how much
        longer moves are drawn. ``moved``: how far each fake went in all.

        Of a moment, ``d``: its grid; ``fakes``: where G puts its noise now; ``from``: where the
        fakes were that the step goes on with, if that is elsewhere; ``judged``: what D looks at,
        "real" and "fakes"; ``pulls``: the gradients in G's ``.grad`` that no step has used yet,
        [cloud, arrows, is it new, is it in vain]; ``words``: what has happened; ``says``: what D
        says now.
        """
        run = next((run for run in self._runs if run.record is record), None)
        if run is None or self._real is None or not run.made or not run.is_plane:
            return None
        if not run.looks or len(run.looks) != len(record.moments):  # its lines are not known
            return None
        self._asked = self._asked or copied(run.gan)
        plane = _Plane(run, self._real, self._asked, self._answers)
        drawn = plane.is_finite() and plane.is_repeatable()
        return plane.as_json(written) if drawn else None


def _are_small(gan: Gan) -> bool:
    tensors = [t for net in gan.nets.values() for _, t in named(net)]
    dense = all(type(t) in (Tensor, nn.Parameter) and t.layout == torch.strided for t in tensors)
    return (
        dense and len({t.device for t in tensors}) == 1 and sum(t.numel() for t in tensors) <= SMALL
    )


class _Plane:
    """One run, looked at when it is over."""

    def __init__(
        self, run: PlaneRun, real: Tensor, gan: Gan, answers: dict[tuple[bytes, bytes], Tensor]
    ) -> None:
        self._run, self._real, self._gan, self._answers = run, real, gan, answers
        gan.discriminator.eval()  # what it says of a place must not depend on the others
        self._moments = run.record.moments
        self._pulls = run.pulls()
        self._clouds: list[Tensor] = []
        self._fakes = cache(self._fakes_by)  # a moment mostly asks what the one before has asked
        self._mean = cache(self._mean_of)
        self._rises = cache(self._rise_along)

    def is_finite(self) -> bool:
        """Has nothing become infinite or no number?"""
        run = self._run
        values = [*run.g.states, *run.d.states, self._real, *(made.fakes for made in run.made)]
        return all(
            bool(x.isfinite().all()) for x in (*values, *(p for _, p in self._pulls.values()))
        )

    def is_repeatable(self) -> bool:
        """Do the same noise and weights give the same fakes? Not with dropout in G."""
        found = (self._fakes(made, made.weights) for made in self._run.made)
        return all(map(torch.equal, found, [made.fakes for made in self._run.made]))

    def as_json(self, written: Json | None) -> Json:
        seen = [self._seen(m, look) for m, look in zip(self._moments, self._run.looks, strict=True)]
        told = words(self._run.record, seen, None if written is None else written["moved"])
        shown = [self._shown(one) | text for one, text in zip(seen, told, strict=True)]
        scales = self._scales(seen) if written is None else written
        arrows = [pull for _, pull in self._pulls.values()]
        return {
            **{name: scales[name] for name in _SCALES},
            "real": _whole(self._real),
            "clouds": [_whole(cloud) for cloud in self._clouds],
            "arrows": [_whole(arrow, PLACES + 2) for arrow in arrows],
            "grids": self._grids(scales),
            "moved": self._moved(seen),
            "moments": shown,
        }

    def _fakes_by(self, made: Made, weights: int) -> Tensor:
        """Where G puts the same noise with these weights."""
        return self._call(self._gan.generator, self._run.g.state(weights), made.noise)

    def _says(self, weights: int, points: Tensor) -> Tensor:
        """(n,) of n points, the output of D; the mean of several."""
        asked = _bytes(self._run.d.states[weights]), _bytes(points)
        if asked not in self._answers:
            self._answers[asked] = self._ask(weights, points)
        return self._answers[asked]

    def _ask(self, weights: int, points: Tensor) -> Tensor:
        says = self._call(self._gan.discriminator, self._run.d.state(weights), points)
        return says.flatten(1).mean(1) if says.ndim > 1 else says

    @staticmethod
    def _call(net: nn.Module, state: Mapping[str, Tensor], x: Tensor) -> Tensor:
        with torch.no_grad():
            out: Tensor = functional_call(net, dict(state), (x.clone(),))
        return out

    def _seen(self, moment: Moment, look: Look) -> Seen:
        says_real = self._mean(look.d, self._real)
        if look.made < 0:
            return Seen(moment, look.d, says_real, judged=look.judged)
        made = self._run.made[look.made]
        now = self._fakes(made, look.g)
        pulls = [pull for call in self._waiting(moment) if (pull := self._pull(call, moment, look))]
        return Seen(
            moment, look.d, says_real, made.fakes, now, look.g, self._mean(look.d, now),
            self._mean(look.d, made.fakes), tuple(pulls), look.judged,
        )  # fmt: skip

    def _mean_of(self, weights: int, points: Tensor) -> float:
        return float(self._says(weights, points).mean())

    def _waiting(self, moment: Moment) -> list[int]:
        """The backward calls whose gradient is in G's ``.grad`` and has not been used, or has just
        come."""
        events = self._run.record.events
        done = max(moment.events, default=-1)
        if not moment.events:
            before = (m for m in self._moments[: moment.index] if m.events)
            done = max((max(m.events) for m in before), default=-1)
        states = moment.grads.get("G", {}).values()
        held = {
            call
            for state in states
            if state.used_by is None or state.used_by > done
            for call in state.sources
        }
        new = {events[i].call for i in moment.events if events[i].kind in ("backward", "error")}
        return sorted(held | {call for call in new if call is not None})

    def _pull(self, call: int, moment: Moment, look: Look) -> Pull | None:
        if call not in self._pulls:
            return None
        record = self._run.record
        made, pull = self._pulls[call]
        at = self._run.made[made].fakes
        return Pull(
            call=call,
            loss=record.backward_calls[call].loss,
            at=at,
            arrows=pull,
            rises=self._rises(call, look.d),
            is_new=any(record.events[i].call == call for i in moment.events),
            in_vain="G" not in record.used(call),
        )

    def _rise_along(self, call: int, weights: int) -> float:
        """How much more real D finds the fakes so short a way along that D is straight on it."""
        made, pull = self._pulls[call]
        at = self._run.made[made].fakes
        along = pull * (1e-3 / float(pull.abs().max().clamp_min(1e-30)))
        return float(self._says(weights, at + along).mean()) - self._mean(weights, at)

    def _shown(self, seen: Seen) -> Json:
        found: Json = {"d": seen.d}
        if seen.fakes is not None and seen.now is not None:
            found["fakes"] = self._cloud(seen.now)
            if not torch.equal(seen.fakes, seen.now):
                found["from"] = self._cloud(seen.fakes)
        if seen.judged:
            found["judged"] = sorted(seen.judged)
        if seen.pulls:
            place = {call: i for i, call in enumerate(self._pulls)}
            found["pulls"] = [
                [self._cloud(p.at), place[p.call], int(p.is_new), int(p.in_vain)]
                for p in seen.pulls
            ]
        return found

    def _cloud(self, points: Tensor) -> int:
        for i, cloud in enumerate(self._clouds):
            if torch.equal(cloud, points):
                return i
        self._clouds.append(points)
        return len(self._clouds) - 1

    def _moved(self, seen: Sequence[Seen]) -> list[list[float]] | None:
        """How far each fake went in the whole step, if it got as far as a last fake."""
        last = seen[-1]
        if self._run.record.error is not None or last.fakes is None or last.now is None:
            return None
        moved: list[list[float]] = (last.now - last.fakes).tolist()
        return moved

    def _scales(self, seen: Sequence[Seen]) -> Json:
        """What a step as written and its changed ones have in common."""
        pairs = [(one.fakes, one.now) for one in seen
                 if one.fakes is not None and one.now is not None]  # fmt: skip
        used = [p.arrows for one in seen for p in one.pulls]
        longest = max((float(arrow.norm(dim=1).max()) for arrow in used), default=0.0)
        far = max(float((now - fakes).norm(dim=1).max()) for fakes, now in pairs)
        width = 2 * float(self._real.abs().max()) + 0.2
        zoom = _nice(width * MOVE / far) if far else 1
        reached = [fakes + k * zoom * (now - fakes) for fakes, now in pairs for k in REACH]
        drawn = width * (ARROW + RIM) / longest if longest else 0.0
        reached += [pull.at + drawn * pull.arrows for one in seen for pull in one.pulls]
        box = _box(torch.cat([self._real, *reached]), width)
        places = _places(box, self._real)
        says = torch.cat([self._says(d, places) for d in self._states()])
        says = says.nan_to_num()  # D may say what is too large even where its weights are not
        return {
            "per": 10**PLACES,
            "box": box,
            "side": SIDE,
            "letters": "".join(LETTERS[: LEVELS + 1]),
            "says": [round(float(says.min()), 4), round(float(says.max()), 4)],
            "stretch": (box[2] - box[0]) * ARROW / longest / 100 if longest else 1.0,
            "zoom": zoom,
        }

    def _states(self) -> range:
        """The states of D's weights."""
        return range(len(self._run.d.states))

    def _grids(self, scales: Json) -> list[str]:
        places = _places(scales["box"], self._real)
        return [self._grid(weights, places, scales) for weights in self._states()]

    def _grid(self, weights: int, places: Tensor, scales: Json) -> str:
        low, high = scales["says"]
        says = self._says(weights, places).nan_to_num().double()
        level = ((says - low) / max(high - low, 1e-9)).clamp(0, 1)
        return "".join(LETTERS[int(n)] for n in (level * LEVELS).round().tolist())


_SCALES = ("per", "box", "side", "letters", "says", "stretch", "zoom")


def _box(points: Tensor, width: float) -> list[float]:
    """Left, bottom, right, top around all of these, with air and of the shape that is drawn."""
    low, high = points.min(0).values, points.max(0).values
    middle, size = (low + high) / 2, (high - low) * 1.12
    half = max(width, float(size[0]), float(size[1]) * ASPECT) / 2
    x, y = middle.tolist()
    box = [x - half, y - half / ASPECT, x + half, y + half / ASPECT]
    return [round(edge, 4) for edge in box]


def _places(box: Sequence[float], like: Tensor) -> Tensor:
    """(SIDE * SIDE, 2) places of the box, row by row from the bottom."""
    left, bottom, right, top = box
    line = torch.linspace(0, 1, SIDE)
    y, x = torch.meshgrid(line, line, indexing="ij")
    across, up = left + (right - left) * x.flatten(), bottom + (top - bottom) * y.flatten()
    return torch.stack([across, up], 1).to(like)


def _nice(factor: float) -> int:
    """The largest of 1, 2, 3, 5, 10, 15, 20, 30 ... that is no more than it; 1 for less."""
    steps = (1, 1.5, 2, 3, 5)
    found = [int(n * 10**k) for k in range(6) for n in steps if n * 10**k <= factor]
    return max(found, default=1)


def _bytes(values: Tensor) -> bytes:
    found: bytes = values.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return found


def _whole(points: Tensor, places: int = PLACES) -> list[list[int]]:
    whole = (points[:SHOWN].double().nan_to_num() * 10**places).round().long()
    found: list[list[int]] = whole.tolist()
    return found
