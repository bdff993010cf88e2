"""Costs as tables, in a notebook and on a terminal. Both say the same."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gan_lessons.lens.model import HeldBytes
from gan_lessons.lens.show import bytes_text, visible
from gan_lessons.lens.show import symbols as words

if TYPE_CHECKING:
    from gan_lessons.lens.cost.flops import Work
    from gan_lessons.lens.cost.measure import Seconds, StepCost


def flops_text(flops: float) -> str:
    """``304.3 M``: FLOPs in thousands (k), millions (M) or thousand millions (G)."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if flops >= size:
            return f"{flops / size:.1f} {letter}"
    return f"{flops:.0f}"


def seconds_text(seconds: Seconds | None) -> str:
    """``1.83 ms (1.80 to 1.92)``."""
    if seconds is None:
        return words.COST_UNTIMED
    median, low, high = (f"{1000 * s:.2f}" for s in (seconds.median, seconds.low, seconds.high))
    return words.COST_TIME.format(median=median, low=low, high=high)


def passes_text(passes: Mapping[str, int]) -> str:
    """``G 1 · D 3``."""
    return " · ".join(f"{visible(net)} {count}" for net, count in passes.items())


# One step -----------------------------------------------------------------------------------------


def step_text(cost: StepCost) -> str:
    lines = [_step_title(cost), "", _aligned(_work_rows(cost)), ""]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in _totals(cost))])


def step_page(cost: StepCost) -> str:
    totals = "".join(
        f"<li><b>{html.escape(name)}</b> {html.escape(value)}</li>" for name, value in _totals(cost)
    )
    return _page(_table(_work_rows(cost), _step_title(cost)) + f"<ul>{totals}</ul>")


def _step_title(cost: StepCost) -> str:
    return words.COST_STEP_TITLE.format(name=visible(cost.title))


def _work_rows(cost: StepCost) -> list[list[str]]:
    rows = [list(words.COST_WORK_COLUMNS)]
    for work in cost.work:
        share = f"{work.flops / cost.flops:.0%}"
        source = visible(" ".join(cost.source(work).split()), 70)
        symbol, word, _ = words.GRADIENT["vain"]
        vain = words.COST_VAIN.format(symbol=symbol, word=word) if cost.in_vain(work) else ""
        rows.append([_place(work), source, flops_text(work.flops), share, vain])
    return [*rows, [words.COST_ALL, "", flops_text(cost.flops), "", ""]]


def _place(work: Work) -> str:
    net = words.COST_NO_NET if work.net is None else visible(work.net)
    call = "" if work.index is None else work.index
    return words.COST_PLACE[work.phase].format(net=net, call=call).strip()


def _totals(cost: StepCost) -> list[tuple[str, str]]:
    values = _values(cost)
    return list(zip(words.COST_COLUMNS[1:], values, strict=True))


def _values(cost: StepCost) -> list[str]:
    return [
        flops_text(cost.flops),
        passes_text(cost.forwards),
        passes_text(cost.backwards),
        bytes_text(cost.peak_held),
        bytes_text(HeldBytes(cost.peak_allocated)),
        seconds_text(cost.seconds),
    ]


# Several ------------------------------------------------------------------------------------------


def costs_text(costs: Mapping[str, StepCost]) -> str:
    rows = [list(words.COST_COLUMNS), *_cost_rows(costs)]
    return "\n".join([words.COST_TITLE, "", _aligned(rows), "", *words.COST_MEANS])


def costs_page(costs: Mapping[str, StepCost]) -> str:
    legend = "".join(f"<li>{html.escape(text)}</li>" for text in words.COST_MEANS)
    rows = [list(words.COST_COLUMNS), *_cost_rows(costs)]
    return _page(_table(rows, words.COST_TITLE) + f"<ul>{legend}</ul>")


def _cost_rows(costs: Mapping[str, StepCost]) -> list[list[str]]:
    return [[visible(cost.title), *_values(cost)] for cost in costs.values()]


# Rows ---------------------------------------------------------------------------------------------


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _table(rows: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in rows[0])
    body = ""
    for first, *others in rows[1:]:
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in others)
        body += f'<tr><th scope="row">{html.escape(first)}</th>{cells}</tr>'
    return (
        f'<div class="box" tabindex="0"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


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


def _page(inside: str) -> str:
    return f'<div class="gl-cost"><style>{_STYLE}</style>{inside}</div>'
