"""Set a prediction beside what was measured. No widgets here, and no truth but the measured one."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_lessons.classroom import words
from gan_lessons.classroom.forms import truth_attributes
from gan_lessons.lens.model import BackwardCall, Record

# JupyterLab's colours where there are any; the words beside them say the same.
BORDER = {
    True: "var(--jp-success-color1, #2e7d32)",
    False: "var(--jp-warn-color1, #e65100)",
    None: "var(--jp-border-color1, #888)",
}


@dataclass(frozen=True)
class Item:
    """One thing that was asked: what was predicted (None: nothing) and what was measured.

    ``right`` is None without a prediction. ``note`` tells more of what was measured, or is "".
    ``truth``: the option that was right, in its words; or ``number``: (value, tolerance), in
    ``unit``. With these a page can judge a prediction that is made in it.
    """

    label: str
    predicted: str | None
    measured: str
    right: bool | None
    note: str = ""
    truth: str = ""
    number: tuple[float, float] | None = None
    unit: str = ""

    @property
    def verdict(self) -> str:
        return " ".join(words.VERDICT[self.right])


@dataclass(frozen=True)
class Comparison:
    """Predictions beside measurements: a table in a notebook, lines of text elsewhere.

    ``question``: the name of the question that these are the answers to.
    """

    items: tuple[Item, ...]
    question: str = ""

    @property
    def score(self) -> int:
        """How many predictions were right."""
        return sum(item.right is True for item in self.items)

    @property
    def summary(self) -> str:
        asked, left_out = len(self.items), sum(item.right is None for item in self.items)
        if left_out == asked:
            return words.SCORE_NONE
        text = words.SCORE_OPEN if left_out else words.SCORE
        return text.format(score=self.score, asked=asked, open=left_out)

    def __str__(self) -> str:
        lines = [self.summary]
        for item in self.items:
            lines += [
                f"{item.label}: {item.verdict}",
                f"  {words.PREDICTED_TITLE}: {item.predicted or words.OPEN}",
                f"  {words.MEASURED_TITLE}: {item.measured}",
                *([f"  {item.note}"] if item.note else []),
            ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        titles = words.ITEM_TITLE, words.PREDICTED_TITLE, words.MEASURED_TITLE, words.VERDICT_TITLE
        head = "".join(f'<th scope="col" style="text-align: left">{title}</th>' for title in titles)
        rows = "".join(_row(item) for item in self.items)
        return (
            f'<div data-gl-answers="{html.escape(self.question)}">'
            f"<p><strong data-gl-summary>{html.escape(self.summary)}</strong></p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )


def _row(item: Item) -> str:
    note = f"<br><small>{html.escape(item.note)}</small>" if item.note else ""
    verdict = f"<span data-gl-verdict>{html.escape(item.verdict)}</span>"
    cells = [
        f"<span data-gl-predicted>{html.escape(item.predicted or words.OPEN)}</span>",
        f"<span data-gl-measured>{html.escape(item.measured)}</span>{note}",
        bordered(item.right, verdict),
    ]
    body = "".join(f'<td style="text-align: left">{cell}</td>' for cell in cells)
    label = html.escape(item.label)
    truth = truth_attributes(item.truth, item.number, item.unit)
    return f'<tr {truth}><th scope="row" style="text-align: left">{label}</th>{body}</tr>'


def bordered(right: bool | None, content: str) -> str:
    """HTML ``content`` behind a bar whose colour repeats what its words say."""
    style = f"border-left: 4px solid {BORDER[right]}; padding-left: 0.5em"
    return f'<div style="{style}">{content}</div>'


# Gradients ----------------------------------------------------------------------------------------


def received_item(record: Record, net: str, call: int, label: str, predicted: bool | None) -> Item:
    """Compare "does ``net`` receive gradient in backward call ``call``?" with the record.

    What the call did comes with it where that may surprise: where the prediction was wrong.
    """
    backward = record.backward_calls[call]
    received = bool(backward.received[net])
    right = None if predicted is None else predicted == received
    return Item(
        label,
        None if predicted is None else " ".join(words.RECEIVED[predicted]),
        f"{' '.join(words.RECEIVED[received])}: {received_text(record, net, call)}",
        right,
        _what_the_call_did(record, net, backward, label) if right is False else "",
        truth=" ".join(words.RECEIVED[received]),
    )


def received_text(record: Record, net: str, call: int) -> str:
    """``all 4 parameters``, ``none of its 4 parameters`` or ``2 of 4 parameters: a, b``."""
    names = record.backward_calls[call].received[net]
    total = len(record.parameters[net])
    if 0 < len(names) < total:
        listed = words.LIST.join(names)
        return words.RECEIVED_SOME.format(count=len(names), total=total, names=listed)
    if total == 1:
        return words.RECEIVED_ALL_ONE if names else words.RECEIVED_NONE_ONE
    return (words.RECEIVED_ALL if names else words.RECEIVED_NONE).format(total=total)


def _what_the_call_did(record: Record, net: str, call: BackwardCall, label: str) -> str:
    other = call.source not in label  # the learner has read something else than what ran
    parts = [words.AS_WRITTEN.format(source=call.source)] if other else []
    if call.error is not None:
        parts.append(words.CALL_RAISED.format(error=first_line(call.error)))
    elif call.received[net]:
        parts.append(_use(record, net, call))
    return " ".join(parts)


def _use(record: Record, net: str, call: BackwardCall) -> str:
    """Which optimizer steps used what the call wrote."""
    event = next(e for e in record.events if e.kind == "backward" and e.call == call.index)
    states = [event.grads[net][name] for name in call.received[net]]
    used = [state.used_by for state in states if state.used_by is not None]
    if not used:
        return words.USED_BY_NOBODY
    if len(used) < len(states):
        return words.USED_PARTLY.format(count=len(used), total=len(states))
    optimizers = dict.fromkeys(str(record.events[step].target) for step in used)
    return words.USED_BY.format(optimizer=words.LIST.join(optimizers))


def check_fits(record: Record, nets: Sequence[str], calls: int) -> None:
    """Raise TypeError or ValueError unless the record can answer for these nets and calls."""
    if not isinstance(record, Record):
        raise TypeError(
            f"compare() got {type(record).__name__}; expected the record: the name after "
            "`as` in `with record(...) as rec:`"
        )
    if not record.complete:
        raise ValueError("the recording is not over; compare after the `with record(...)` block")
    if unknown := [net for net in nets if net not in record.parameters]:
        raise ValueError(
            f"the question asks about {', '.join(unknown)}, the record holds "
            f"{', '.join(record.parameters)}; use the same names in record({{...}})"
        )
    if (made := len(record.backward_calls)) != calls:
        raised = [e.message for e in record.events if e.kind == "error" and e.message]
        why = f" The code raised {first_line(raised[-1])}." if raised else ""
        raise ValueError(
            f"the question asks about {calls} backward calls, the record holds {made}.{why} "
            "Record one training step, and ask about each of its backward calls"
        )


# Numbers ------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A tensor or array with one element as a Python number; all else as it is."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def finite(name: str, value: Any) -> float:
    """``value`` as a float. Raises TypeError for no number, ValueError for NaN or infinity."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} must be a number, got {type(number).__name__}")
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}; there is nothing to compare with")
    return float(number)


def checked_tolerance(tolerance: Any) -> float:
    """``tolerance`` as a float of at least 0. Raises TypeError or ValueError otherwise."""
    allowed = finite("tolerance", tolerance)
    if allowed < 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    return allowed


def number_text(number: float) -> str:
    """Whole numbers in full, others to four digits."""
    whole = float(number).is_integer() and abs(number) < 1e15
    return str(int(number)) if whole else f"{number:.4g}"


def first_line(text: str, longest: int = 120) -> str:
    """The first line, cut to ``longest`` characters: torch's errors go on and on."""
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
