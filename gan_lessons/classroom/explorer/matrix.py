"""The explorer's matrix: what the ``.grad`` of each net holds, event by event.

A row is a net. Where its parameters differ it has rows of its own for those that are alike.
Columns are events, and the lines that put gradients aside or bring them back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_lessons.classroom.explorer.stage_moments import StagedRecord
from gan_lessons.lens import show
from gan_lessons.lens.model import Event, GradState, StepRecord

Json = dict[str, Any]
Grads = Mapping[str, Mapping[str, GradState]]

ASIDE, BACK = "↧", "↥"  # gradients are put aside, and brought back

_MOVES = {
    ASIDE: "gradients of {nets} put aside",
    BACK: "gradients of {nets} brought back",
}


@dataclass(frozen=True)
class Column:
    """``event``, or what a line without one did (``verb``) to the gradients of ``nets``.

    ``done``: the last event by its end, -1 for none."""

    moment: int
    done: int
    grads: Grads
    before: Grads
    held: str
    event: Event | None = None
    verb: str = ""
    nets: tuple[str, ...] = ()


def matrix(staged: StagedRecord, letters: Mapping[str, str]) -> Json:
    """Heads, and a row for each net: cells are [kind, norm, the backward calls that are in it, was
    it changed, has a step used it by then, is a gradient of it kept aside]. letters: kind -> its
    letter."""
    columns = _columns(staged)
    rows = [_row(staged, net, columns, letters) for net in staged.record.parameters]
    return {"columns": [_head(staged, column) for column in columns], "rows": rows}


def _columns(staged: StagedRecord) -> list[Column]:
    shown = {event.index for event in show.GradientTable(staged.record).columns}
    found: list[Column] = []
    before: Grads = staged.record.before
    done = -1
    for moment in staged.moments:
        for event in (staged.record.events[i] for i in moment.events):
            if event.index in shown:
                held = show.bytes_text(event.held)
                found.append(Column(moment.index, event.index, event.grads, before, held, event))
            before, done = event.grads, event.index
        if not moment.events:
            gone, back = _set_aside(staged, moment.index)
            held = show.bytes_text(moment.held)
            for verb, nets in ((ASIDE, gone), (BACK, back)):
                if nets:
                    grads = moment.grads
                    found.append(Column(moment.index, done, grads, before, held, None, verb, nets))
        before = moment.grads
    return found


def _set_aside(staged: StagedRecord, moment: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nets whose gradients this line put aside, and those whose gradients it brought back."""
    now, was = staged.aside[moment], staged.aside[moment - 1] if moment else {}
    gone = tuple(n for n, names in now.items() if {*names} - {*was.get(n, ())})
    return gone, tuple(n for n, names in was.items() if {*names} - {*now.get(n, ())})


def _head(staged: StagedRecord, column: Column) -> Json:
    record, event = staged.record, column.event
    if event is None:
        verb, whose = column.verb, ", ".join(map(show.visible, column.nets))
        text = _MOVES[verb].format(nets=whose)
    else:
        verb, whose = _heading(record, event)
        text = show.event_text(event)
    source = event.line.text if event else record.text(staged.moments[column.moment])
    return {
        "moment": column.moment, "verb": verb, "whose": whose, "text": text, "held": column.held,
        "source": show.visible(source, 80),
    }  # fmt: skip


def _heading(record: StepRecord, event: Event) -> tuple[str, str]:
    """Two short lines: what was done, to whom."""
    if event.kind == "backward" and event.call is not None:
        return "back", _root(record, event.call)
    verbs = {"zero_grad": "zero", "step": "step", "grad": "grad", "error": "error"}
    return verbs.get(event.kind, event.kind), show.visible(event.target or "", 10)


def _root(record: StepRecord, call: int) -> str:
    """What the call started from: ``d_loss``."""
    loss = record.backward_calls[call].loss
    return show.visible(loss, 8) if loss.isidentifier() else f"call {call}"


def _row(
    staged: StagedRecord, net: str, columns: Sequence[Column], letters: Mapping[str, str]
) -> Json:
    names = staged.record.parameters[net]
    stories = {name: [_cell(staged, c, net, name, letters) for c in columns] for name in names}
    groups: dict[str, list[str]] = {}
    for name, cells in stories.items():
        alike = repr([[cell[0], *cell[2:]] for cell in cells])
        groups.setdefault(alike, []).append(name)
    whole = [_joint([cells[i] for cells in stories.values()], letters) for i in range(len(columns))]
    told: Json = {"net": show.visible(net), "count": len(names), "cells": whole}
    if len(groups) > 1:
        told["parts"] = [_part(group, stories, letters) for group in groups.values()]
    for cell in [*whole, *(c for part in told.get("parts", []) for c in part["cells"])]:
        cell[1] = "" if cell[1] is None else show.norm_text(cell[1])
    return told


def _part(
    names: Sequence[str], stories: Mapping[str, list[list[Any]]], letters: Mapping[str, str]
) -> Json:
    """Parameters of a net with the same story."""
    columns = zip(*(stories[name] for name in names), strict=True)
    cells = [_joint(column, letters) for column in columns]
    return {"name": ", ".join(map(show.visible, names)), "cells": cells}


def _cell(
    staged: StagedRecord, column: Column, net: str, name: str, letters: Mapping[str, str]
) -> list[Any]:
    state = column.grads.get(net, {}).get(name, GradState())
    was = column.before.get(net, {}).get(name, GradState())
    kind = staged.kind(net, name, state)
    used = show.is_used(state, column.done)
    changed = (state.value, state.sources) != (was.value, was.sources)
    norm = None if kind in ("none", "zero") else state.value
    earlier = ["before"] if state.before and state.sources else []
    aside = name in staged.aside[column.moment].get(net, ())
    return [letters[kind], norm, [*earlier, *state.sources], int(changed), int(used), int(aside)]


def _joint(cells: Sequence[list[Any]], letters: Mapping[str, str]) -> list[Any]:
    """Of several parameters: their joint norm, and a kind of its own where they differ."""
    if not cells:
        return [letters["none"], None, [], 0, 0, 0]
    kinds = {cell[0] for cell in cells}
    norms = [cell[1] for cell in cells if cell[1] is not None]
    sources = list(dict.fromkeys(s for cell in cells for s in cell[2]))
    norm = sum(n * n for n in norms) ** 0.5 if norms else None
    changed, used, aside = (int(any(cell[i] for cell in cells)) for i in (3, 4, 5))
    return [
        kinds.pop() if len(kinds) == 1 else letters["mixed"],
        norm,
        sources,
        changed,
        used,
        aside,
    ]
