"""One or two plain sentences for what is seen in the plane at a moment of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_lessons.lens.model import Moment, StepRecord

ALIKE = 0.05  # moves that differ by less than this part are as long as each other, in words


@dataclass(frozen=True)
class Pull:
    """Gradient that came to the fakes ``at`` (batch, 2) from one backward call.

    ``arrows``: -dL/dfake. ``rises``: by how much D finds fakes more real a very short way along.
    ``is_new``: it comes at this moment; else it waits in G's ``.grad``.
    """

    call: int
    loss: str
    at: Tensor
    arrows: Tensor
    rises: float
    is_new: bool
    in_vain: bool


@dataclass(frozen=True)
class Seen:
    """The plane after one line. ``d``, ``g``: which state of the weights of D and of G.

    ``fakes``: that the step goes on with; ``now``: where G puts the same noise (None: G has not run
    yet). ``says_...``: what D says of real points, of ``now``, of ``fakes``, on average.
    ``judged``: what D has looked at: "real", "fakes".
    """

    moment: Moment
    d: int
    says_real: float
    fakes: Tensor | None = None
    now: Tensor | None = None
    g: int = 0
    says_now: float = 0.0
    says_fakes: float = 0.0
    pulls: tuple[Pull, ...] = ()
    judged: frozenset[str] = frozenset()


def words(
    record: StepRecord, seen: Sequence[Seen], written: Sequence[Sequence[float]] | None
) -> list[dict[str, str]]:
    """For each moment, ``words``: what happened, and ``says``: how D judges.

    written: how far each fake goes in the unchanged step, for a changed one.
    """
    found = []
    before: Seen | None = None
    for one in seen:
        happened = " ".join(_happened(record, before, one, written))
        found.append({"words": happened, "says": _stands(one)})
        before = one
    return found


def _stands(one: Seen) -> str:
    if one.now is None:
        return "D gives the real points {real}.".format(real=_said(one.says_real))
    text = "D gives the real points {real}, the fakes {fake}."
    return text.format(real=_said(one.says_real), fake=_said(one.says_now))


def _happened(
    record: StepRecord,
    before: Seen | None,
    one: Seen,
    written: Sequence[Sequence[float]] | None,
) -> Iterator[str]:
    if one.fakes is not None and (before is None or before.fakes is not one.fakes):
        yield "G has made {n} fakes.".format(n=len(one.fakes))
    if one.judged:
        yield _judged(one)
    for pull in one.pulls:
        if pull.is_new:
            yield _pulled(pull)
    steps = {record.events[i].target for i in one.moment.events if record.events[i].kind == "step"}
    if before is not None and before.now is not None and one.now is not None:
        if before.fakes is one.fakes and before.g != one.g:
            yield from _moved(before.now, one, written)
        elif "G" in steps:
            yield "G's optimizer has stepped, and the fakes stand still."
    if before is not None and before.d != one.d:
        yield "D has moved: the shading is its new judgement."


def _judged(one: Seen) -> str:
    if "fakes" not in one.judged:
        return "D looks at the real points."
    assert one.fakes is not None
    assert one.now is not None
    if not torch.equal(one.fakes, one.now):
        return "D looks at the old fakes: G has moved on."
    if "real" in one.judged:
        return "D looks at the fakes and at the real points."
    return "D looks at the fakes."


def _pulled(pull: Pull) -> str:
    loss = f"`{pull.loss}`" if pull.loss else f"Backward call {pull.call}"
    if not bool(pull.arrows.any()):
        return "{loss} pulls at no fake: the gradient is zero.".format(loss=loss)
    texts = {
        (True, False): "{loss} pulls the fakes uphill, to where D says real.",
        (False, False): "{loss} pulls the fakes downhill, to where D says fake.",
        (True, True): "{loss} pulls the fakes uphill, but in vain: no step will use it.",
        (False, True): "{loss} pulls the fakes downhill, but in vain: no step will use it.",
    }
    return texts[pull.rises > 0, pull.in_vain].format(loss=loss)


def _moved(before: Tensor, one: Seen, written: Sequence[Sequence[float]] | None) -> Iterator[str]:
    assert one.now is not None
    far = float((one.now - before).norm(dim=1).mean())
    up = "The fakes moved {far}, uphill: D gives them {now}, not {old} as before."
    down = "The fakes moved {far}, downhill: D gives them {now}, not {old} as before."
    text = up if one.says_now > one.says_fakes else down
    old, now = _said(one.says_fakes), _said(one.says_now)
    yield text.format(far=f"{far:.3f}", now=now, old=old)
    if written is not None:
        yield from _beside_written(one.now - before, torch.tensor(written).to(before))


def _beside_written(moved: Tensor, written: Tensor) -> Iterator[str]:
    """How a move of each fake (batch, 2) compares with that of the step as written."""
    if moved.shape != written.shape or not bool(written.any()):
        return
    along = float((moved * written).sum() / written.norm() ** 2)
    if along < 0:
        yield "In the step as written they move the other way."
    elif abs(along - 1) > ALIKE:
        yield "That is {ratio} times as far as in the step as written.".format(ratio=f"{along:.2f}")
    else:
        yield "In the step as written they move as far."


def _said(value: float) -> str:
    return f"{value:.3f}"
