"""What was measured of a step, and how it is shown: as a table, in a notebook as on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from gan_lessons.lens.cost.flops import FORWARD, Work
from gan_lessons.lens.diagnose import Flops, computed_in_vain
from gan_lessons.lens.model import HeldBytes, StepRecord
from gan_lessons.lens.show import GRADIENT, aligned, bytes_text, flops_text, visible


@dataclass(frozen=True)
class Seconds:
    """Wall-clock times of one step. ``low``, ``high``: a quarter of the runs lies outside each."""

    median: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        """``1.83 ms (1.80 to 1.92)``."""
        text = "{median} ms ({low} to {high})"
        median, low, high = (f"{1000 * s:.2f}" for s in (self.median, self.low, self.high))
        return text.format(median=median, low=low, high=high)


_STYLE = """
.gl-cost{font-size:14px;line-height:1.35;color:var(--jp-content-font-color1,inherit)}
.gl-cost .box{overflow-x:auto}
.gl-cost table{border-collapse:collapse;margin:0}
.gl-cost caption{caption-side:top;text-align:left;font-weight:600;padding:2px 0 6px}
.gl-cost.gl-cost table th,.gl-cost.gl-cost table td{padding:3px 8px;text-align:left;
border:1px solid var(--jp-border-color2,rgba(128,128,128,.35));font-weight:400;
font-variant-numeric:tabular-nums;vertical-align:bottom}
.gl-cost.gl-cost thead th{font-weight:600}
.gl-cost.gl-cost ul{list-style:none;margin:6px 0;padding:0}
"""


class Table:
    """Shows a title, rows of text (the first is the head) and notes below; the same everywhere."""

    def _shown(self) -> tuple[str, list[list[str]], Mapping[str, str]]:
        raise NotImplementedError

    def __str__(self) -> str:
        title, rows, notes = self._shown()
        below = "\n".join(f"{name}: {text}" for name, text in notes.items())
        return f"{title}\n\n{aligned(rows)}\n\n{below}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title, rows, notes = self._shown()
        head = "".join(f'<th scope="col">{escape(text)}</th>' for text in rows[0])
        body = ""
        for first, *others in rows[1:]:
            cells = "".join(f"<td>{escape(text)}</td>" for text in others)
            body += f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
        legend = "".join(
            f"<li><strong>{escape(k)}:</strong> {escape(v)}</li>" for k, v in notes.items()
        )
        return (
            f'<div class="gl-cost"><style>{_STYLE}</style><div class="box" tabindex="0"><table>'
            f"<caption>{escape(title)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div><ul>{legend}</ul></div>"
        )


STEP_TITLE = "What one step costs: {name}"
WORK_COLUMNS = ["work", "line", "FLOPs", "share", "its .grad"]
PLACE = {
    "forward": "{net} forward",
    "backward": "{net} backward, call {call}",
    "grad": "{net} autograd.grad, call {call}",
}
VAIN = "{symbol} written {word}"


@dataclass(frozen=True, repr=False)
class StepCost(Table):
    """The price of one step.

    ``work``: FLOPs by net, phase and call. ``record``: the step line by line, with the bytes that
    the graph held after every line and event; of another run, as everything here.
    ``peak_allocated``: bytes of all that was alive at once beyond weights, buffers, optimizer
    states and inputs: what the graph holds, gradients, temporaries (see ``peak_allocated``).
    ``seconds``: None where no time was taken.
    """

    name: str
    title: str
    work: tuple[Work, ...]
    record: StepRecord
    peak_allocated: int
    seconds: Seconds | None

    @property
    def flops(self) -> int:
        return sum(w.flops for w in self.work)

    def flops_of(
        self, net: str | None = None, phase: str | None = None, index: int | None = None
    ) -> int:
        """FLOPs of one net, of one phase (see ``Work``), of one call; None: of all."""
        return sum(
            w.flops
            for w in self.work
            if net in (None, w.net) and phase in (None, w.phase) and index in (None, w.index)
        )

    @property
    def flops_in_vain(self) -> Flops:
        """Of backward: computed for gradients that no step used, and for nothing else. Freezing
        and ``inputs=`` save them; ``gains`` tries that, and takes the time."""
        return computed_in_vain(self.record)

    @property
    def peak_held(self) -> HeldBytes:
        """The most that the graph alone kept for backward (no weights, no inputs)."""
        return self.record.peak

    @property
    def forwards(self) -> dict[str, int]:
        """Net -> how often it ran forward."""
        return self.record.forward_counts

    @property
    def backwards(self) -> dict[str, int]:
        """Net -> how many backward calls went through its graph."""
        return self.record.backward_counts

    def source(self, work: Work) -> str:
        """The line that did this work, as written; "" where it is not known."""
        if work.line is None:
            return ""
        return (work.phase == FORWARD and work.line.expression) or work.line.code

    def in_vain(self, work: Work) -> bool:
        """Did this backward call write gradients of this net, none of which a step ever used?"""
        calls = self.record.backward_calls if work.phase == "backward" else []
        return any(
            work.net in self.record.in_vain(call.index)
            and work.net not in self.record.used(call.index)
            for call in calls
            if (call.index, call.line) == (work.index, work.line)  # else that run went otherwise
        )

    def totals(self) -> list[str]:
        """In the order of ``COLUMNS``."""
        passes = [self.forwards, self.backwards]
        return [
            flops_text(self.flops),
            _share(self.flops_in_vain, self.flops),
            *(" · ".join(f"{visible(net)} {n}" for net, n in found.items()) for found in passes),
            bytes_text(self.peak_held),
            bytes_text(HeldBytes(self.peak_allocated)),
            "not timed" if self.seconds is None else str(self.seconds),
        ]

    def _shown(self) -> tuple[str, list[list[str]], Mapping[str, str]]:
        rows = [
            WORK_COLUMNS,
            *map(self._row, self.work),
            ["in all", "", flops_text(self.flops), "", ""],
        ]
        notes = dict(zip(COLUMNS[1:], self.totals(), strict=True))
        return STEP_TITLE.format(name=visible(self.title)), rows, notes

    def _row(self, work: Work) -> list[str]:
        net = "no net" if work.net is None else visible(work.net)
        call = "" if work.index is None else work.index
        place = PLACE[work.phase].format(net=net, call=call)
        source = visible(" ".join(self.source(work).split()), 70)
        symbol, word, _ = GRADIENT["vain"]
        vain = VAIN.format(symbol=symbol, word=word) if self.in_vain(work) else ""
        return [place, source, flops_text(work.flops), f"{work.flops / self.flops:.0%}", vain]


def _share(part: Flops, whole: int) -> str:
    """``12%``; ``≥`` where the graph does not tell of all of them."""
    return f"{'' if part.complete else '≥ '}{part.count / whole if whole else 0:.0%}"


COLUMNS = ["step", "FLOPs", "in vain", "forwards", "backwards through", "graph holds at most",
           "allocated at most", "time"]  # fmt: skip
MEANS = {
    "FLOPs": "of matrix products and convolutions, counted by torch; k, M, G: 10³, 10⁶, 10⁹",
    "in vain": "their share that backward spent on gradients which no step used, and on no other",
    "graph holds": "what it alone keeps for backward (no weights, no inputs)",
    "allocated": "that, gradients and temporaries; not weights, buffers, optimizer states, inputs",
    "time": "median of the runs, which took turns; in brackets the middle half of them",
}


class CostTable(Table, dict[str, StepCost]):
    """Name -> StepCost, shown as one table."""

    def __missing__(self, name: object) -> StepCost:
        raise KeyError(f"no step {name!r} here; there are {', '.join(self)}")

    def _shown(self) -> tuple[str, list[list[str]], Mapping[str, str]]:
        rows = ([visible(cost.title), *cost.totals()] for cost in self.values())
        return "What one step costs", [COLUMNS, *rows], MEANS
