"""Questions, answers and self-checks as HTML that a page without a kernel can bring to life.

Read without a script it is plain text: what is asked, what can be answered, what was measured.
The ``data-gl-`` attributes tell ``export/templates/questions.js`` which is which; their truth
comes from the run that the page shows.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_lessons.classroom import words


@dataclass(frozen=True)
class Asked:
    """One thing that is asked. ``options``: what can be answered; without any it is a number."""

    label: str
    hint: str
    options: tuple[str, ...] = ()
    unit: str = ""
    answer: str | None = None


def question_html(name: str, prompt: str, items: Sequence[Asked]) -> str:
    """A question as HTML; the comparison with the same ``name`` has its answers."""
    listed = "".join(_item(item, item.label == prompt) for item in items)
    return (
        f'<div class="gl-ask" data-gl-question="{_escaped(name)}">'
        f"<p><strong>{_escaped(prompt)}</strong></p><ul>{listed}</ul></div>"
    )


def _item(item: Asked, alone: bool) -> str:
    label = "" if alone else f'<span class="gl-label">{_escaped(item.label)}:</span> '
    given = f" {_escaped(words.CHOSEN)} {_escaped(item.answer)}" if item.answer else ""
    if item.options:
        kind = "choice"
        inside = " / ".join(f"<span data-gl-option>{_escaped(o)}</span>" for o in item.options)
    else:
        kind, inside = "number", _escaped(item.hint)
    return (
        f'<li data-gl-item data-gl-label="{_escaped(item.label)}">{label}<span data-gl-options='
        f'"{kind}" data-gl-unit="{_escaped(item.unit)}">{inside}</span>{given}</li>'
    )


def truth_attributes(truth: str, number: tuple[float, float] | None, unit: str) -> str:
    """Attributes of a row that say what was measured: an option, or (number, tolerance)."""
    if number is None:
        return f'data-gl-row data-gl-truth="{_escaped(truth)}"'
    value, tolerance = number
    return (
        f'data-gl-row data-gl-number="{value!r}" data-gl-tolerance="{tolerance!r}" '
        f'data-gl-unit="{_escaped(unit)}"'
    )


def check_attributes(state: str, kind: str | None, truth: Any, tolerance: float) -> str:
    """Attributes of a check: its state, and the measured value if a page may ask for it."""
    if kind is None:
        return f'data-gl-check="{state}"'
    plain = sorted(truth) if kind == "names" else truth
    told = json.dumps({"kind": kind, "truth": plain, "tolerance": tolerance})
    return f'data-gl-check="{state}" data-gl-truth="{_escaped(told)}"'


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
