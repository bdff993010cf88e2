"""Judge an answer by what was measured. No widgets here, and no truth but the measured one.

``static/question.js`` judges in the same way what is answered in a page without Python.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_lessons.lens.model import Record

Json = dict[str, Any]

# Does a net receive gradient? The symbols are those of the lens.
RECEIVED = {True: "∇ yes", False: "– no"}
# Is a prediction right? None: nothing was predicted.
VERDICT = {True: "✓ as predicted", False: "≠ not as predicted", None: "? not predicted"}
UNREADABLE = "'{text}' is not a number, so it was not counted."
OFF = "Off by {difference}; up to {tolerance} counts as predicted."
OFF_EXACT = "Off by {difference}."  # where nothing but the number itself counts


@dataclass(frozen=True)
class Item:
    """One thing that was asked, what was predicted (None: nothing that counts), and measured.

    ``right``: None without a prediction. ``note``: what there is to say beside the verdict, or "".
    """

    label: str
    predicted: str | None
    measured: str
    right: bool | None
    note: str

    @property
    def verdict(self) -> str:
        return VERDICT[self.right]


def judged(label: str, answer: str | None, truth: Json) -> Item:
    """Judge an answer, as it was chosen or typed.

    truth: ``measured``, in words, and what it is judged by: the right ``option``, with a ``note``
    for who chose another; or a ``number`` and its ``tolerance``, both in ``unit``. It may have
    ``if_wrong``: pairs of a wrong answer and a sentence for who gave it.
    """
    right, note = None, ""
    if answer and "option" in truth:
        right = answer == truth["option"]
        note = "" if right else " ".join(filter(None, (truth["note"], _to_who(answer, truth))))
    elif answer:
        right, note = _judged_number(answer, truth)
    told = None if right is None else in_unit(str(answer).strip(), truth.get("unit", ""))
    return Item(label, told, truth["measured"], right, note)


def _judged_number(answer: str, truth: Json) -> tuple[bool | None, str]:
    value, allowed = read_number(answer), truth["tolerance"]
    if value is None:
        return None, UNREADABLE.format(text=answer.strip())
    off = abs(value - truth["number"])
    difference, tolerance = (in_unit(number_text(n), truth["unit"]) for n in (off, allowed))
    text = (OFF if allowed else OFF_EXACT) if off else ""
    told = "" if off <= allowed else _to_who(value, truth)
    note = text.format(difference=difference, tolerance=tolerance)
    return off <= allowed, " ".join(filter(None, (note, told)))


def _to_who(answer: str | float, truth: Json) -> str:
    """What there is to say to who gave this wrong answer, or ""."""
    return next((told for wrong, told in truth.get("if_wrong", ()) if wrong == answer), "")


# Gradients ----------------------------------------------------------------------------------------


def received_truth(record: Record, net: str, call: int, shown: str) -> Json:
    """Does ``net`` receive gradient in backward call ``call``? As the record has it.

    shown: the line that the learner has read; the note says so if another one ran.
    """
    backward, note = record.backward_calls[call], []
    if backward.source not in shown:
        note.append("The line that ran: {source}".format(source=backward.source))
    if backward.error is not None:
        note.append("This call raised an error: {error}".format(error=first_line(backward.error)))
    elif backward.received[net]:
        note.append(_use(record, net, call))
    answer = RECEIVED[bool(backward.received[net])]
    measured = f"{answer}: {received_text(record, net, call)}"
    return {"option": answer, "measured": measured, "note": " ".join(note)}


def received_text(record: Record, net: str, call: int) -> str:
    """``all 4 parameters``, ``none of its 4 parameters`` or ``2 of 4 parameters: a, b``."""
    names, total = record.backward_calls[call].received[net], len(record.parameters[net])
    if 0 < len(names) < total:
        text = "{count} of {total} parameters: {names}"
    elif total == 1:
        text = "its only parameter" if names else "none, it has one parameter"
    else:
        text = "all {total} parameters" if names else "none of its {total} parameters"
    return text.format(count=len(names), total=total, names=", ".join(names))


def _use(record: Record, net: str, call: int) -> str:
    """Which optimizer steps used what the call wrote."""
    used, grads = record.used(call).get(net, ()), record.end_of(call).grads[net]
    if not used:
        return "No optimizer step used it."
    total = len(record.backward_calls[call].received[net])
    if len(used) < total:
        text = "{count} of {total} were used by an optimizer step."
        return text.format(count=len(used), total=total)
    steps = [grads[name].used_by for name in used]
    optimizers = dict.fromkeys(str(record.events[s].target) for s in steps if s is not None)
    return "The {optimizer} step used it.".format(optimizer=", ".join(optimizers))


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

# A number as people write it: 3.5 or 3,5, −2, 1e-3; and with its digits in groups of three, as in
# 6,815,744 or 6 815 744. JavaScript reads these patterns too, so that both accept the same.
_EXPONENT = r"(?:[eE][-+]?[0-9]+)?"
NUMBER = {
    "plain": rf"[-+]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+){_EXPONENT}",
    "grouped": r"[-+]?[1-9][0-9]{0,2}([,_ ])[0-9]{3}(?:\1[0-9]{3})*(?:(?!\1)[.,][0-9]+)?"
    + _EXPONENT,
}


def read_number(text: str) -> float | None:
    """The number that was typed; None if there is none, or it is not finite."""
    told = " ".join(text.replace("−", "-").split())
    grouped = re.fullmatch(NUMBER["grouped"], told)
    if not grouped and not re.fullmatch(NUMBER["plain"], told):
        return None
    number = float((told.replace(grouped[1], "") if grouped else told).replace(",", "."))
    return number if math.isfinite(number) else None


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
    shown = number if float(number).is_integer() else float(f"{number:.4g}")
    return f"{shown:.15g}"


def in_unit(number: str, unit: str) -> str:
    return f"{number} {unit}".strip()


def first_line(text: str, longest: int = 120) -> str:
    """The first line, cut to ``longest`` characters: torch's errors go on and on."""
    line = next(iter(text.strip().splitlines()), "")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
