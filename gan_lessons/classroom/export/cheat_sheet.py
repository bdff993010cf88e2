"""The cheat sheet: one page, on a screen or on one sheet of A4, and nothing on it is typed in.

The strategies are recorded and their cost is counted, the errors are raised and mended, the ways to
freeze a player are run, whenever the page is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gan_lessons import data
from gan_lessons.classroom.export.markdown import Markdown, page_link
from gan_lessons.classroom.export.raised_errors import raised_errors
from gan_lessons.classroom.export.sheets import sheet
from gan_lessons.classroom.scoring import first_line
from gan_lessons.classroom.stuck import QUESTIONS
from gan_lessons.classroom.tables import Table
from gan_lessons.classroom.wild import freezing_rows, freezing_table
from gan_lessons.factories import dcgan, mlp_gan
from gan_lessons.lens.cost import cost_all, flops_text
from gan_lessons.lens.diagnose import diagnose
from gan_lessons.lens.model import HeldBytes, StepRecord
from gan_lessons.lens.show import GRADIENT, bytes_text
from gan_lessons.strategies import STRATEGIES, THREE

# Widths of the hidden layers of G and of D: equal, and with a heavy D.
EQUAL, HEAVY_D = (128, 128), (64, 512)
BATCH = 64
LONGEST_MESSAGE = 100  # characters: what is shown of an error's first line

KINDS = {
    "simultaneous": "both gradients belong to the weights as they were",
    "alternating": "the second player answers the first one's move",
}


@dataclass(frozen=True)
class Line:
    """A line of a step. ``received``: (net, symbol, word) for each net, of a backward."""

    code: str
    depth: int
    received: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Card:
    """One strategy: its lines, and what was found out about it: name -> text."""

    title: str
    lines: tuple[Line, ...]
    facts: dict[str, str]


def cards() -> list[Card]:
    """The three strategies, each run and counted on two pairs of nets. Takes about two seconds."""
    three = {key: STRATEGIES[key] for key in THREE}
    real, noise = data.batch(data.digits(), BATCH, seed=1), data.noise(BATCH, (32,), seed=2)
    equal, heavy = (
        cost_all(three, mlp_gan((1, 8, 8), 32, (g, g), (d, d), seed=0), real, noise, repeat=0)
        for g, d in (EQUAL, HEAVY_D)
    )
    first = {"equal": next(iter(equal.values())), "heavy": next(iter(heavy.values()))}
    made = []
    for key, cost in equal.items():
        facts = {
            "update": _update(cost.record),
            "FLOPs": _beside(cost.flops, first["equal"].flops),
            "FLOPs, heavy D": _beside(heavy[key].flops, first["heavy"].flops),
            "forwards": _counts(cost.forwards),
            "backwards through": _counts(cost.backwards),
            "graph holds": bytes_text(cost.peak_held),
            "allocated": bytes_text(HeldBytes(cost.peak_allocated)),
        }
        made.append(Card(three[key].title, tuple(_lines(cost.record)), facts))
    return made


def _lines(record: StepRecord) -> Iterator[Line]:
    """The lines at which something happened, and those that say how. The end of a ``with`` is a
    moment too, and no line."""
    seen: set[int] = set()
    for moment in record.moments:
        text = " ".join(record.text(moment).split("#")[0].split())
        happened = [record.events[i] for i in moment.events]
        if moment.line in seen or not (happened or text.startswith("with ")):
            continue
        seen.add(moment.line)
        calls = [e.call for e in happened if e.kind == "backward" and e.call is not None]
        received = tuple(_received(record, call) for call in calls)
        indent = re.match(r" *", record.source.splitlines()[moment.line - 1])
        depth = len(indent[0]) // 4 - 1 if indent else 0
        yield Line(text, depth, sum(received, ()))


def _received(record: StepRecord, call: int) -> tuple[tuple[str, str, str], ...]:
    """Of each net: used by a step, computed in vain, or nothing."""
    used, vain = record.used(call), record.in_vain(call)
    symbols = {True: ("✓", "used"), False: GRADIENT["vain"][:2], None: GRADIENT["none"][:2]}
    state = {
        net: True if net in used else False if net in vain else None for net in record.parameters
    }
    return tuple((net, *symbols[state[net]]) for net in sorted(state))


def _update(record: StepRecord) -> str:
    return next(code for code in diagnose(record).codes if code in KINDS)


def _beside(flops: int, first: int) -> str:
    """Beside its share of what the first strategy needs."""
    text = "{flops} ({share:.0%})"
    return text.format(flops=flops_text(flops), share=flops / first)


def _counts(passes: dict[str, int]) -> str:
    return ", ".join(f"{net} {n}" for net, n in sorted(passes.items()))


def freezing() -> dict[str, Table]:
    """Whose turn -> the table of lesson 09, of bytes and FLOPs the shares alone."""
    pair = dcgan(size=16, channels=1, noise_dim=8, width=8, seed=0)
    images, dice = data.noise(16, (1, 16, 16), seed=1).tanh(), data.noise(16, (8,), seed=2)
    tables = {who: freezing_table(who, freezing_rows(who, pair, images, dice)) for who in "GD"}
    return {who: Table(t.heads, [_shares(row) for row in t.rows]) for who, t in tables.items()}


def _shares(row: tuple[str, ...]) -> list[str]:
    """``224 KiB (100%)`` as ``100%``."""
    return [re.sub(r"^[\d.,]+ \w+ \((\d+%)\)$", r"\1", cell) for cell in row]


def cheat_sheet_page(*, home: str = "") -> str:
    """The cheat sheet as one HTML page. ``home``: address of the index, "" for no link."""
    return sheet(
        "cheat_sheet.html.j2",
        title="Cheat sheet: gradients in a GAN step",
        home=home,
        cards=cards(),
        kinds=KINDS,
        widths={"equal": EQUAL, "heavy": HEAVY_D},
        batch=BATCH,
        raised=raised_errors(),
        shortened=lambda text: first_line(text, LONGEST_MESSAGE),
        inline=Markdown(page_link, ids=False).inline,
        questions=[(q.text.format(net="G"), q.ending) for q in QUESTIONS],
        freezing=freezing(),
    )
