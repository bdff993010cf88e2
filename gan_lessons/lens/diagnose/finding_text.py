"""Findings as text and as HTML: those that one change mends stand together."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

from gan_lessons.lens.diagnose.story import Finding
from gan_lessons.lens.show import marked, visible

# severity -> symbol, word, colour of the bar on a page; in the order in which findings are told.
# Light and dark pages alike: the colour is only a bar, the symbol and the word say it.
SEVERITIES = {
    "error": ("✗", "raises", "#b00020"),
    "wrong": ("≠", "wrong gradient", "#b00020"),
    "waste": ("○", "waste", "#b35c00"),
    "info": ("·", "note", "#808080"),
}
WIDTH, LONGEST = 96, 1000
MOST_SEEN = 6  # lines of evidence that are shown at once: the first and the last of them
MOST_ALIKE = 3  # findings that are told in full, of those that one change mends

Group = Sequence[Finding]
Seen = Callable[[Group], list[str]]  # what is shown of the evidence, a line each


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one kind with the same advice together, and notes of one kind, each group where
    its first one stands."""
    groups: dict[object, list[Finding]] = {}
    for one in findings:
        together = one.fix or one.severity == "info"
        key = (one.severity, one.code, one.fix) if together else id(one)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def as_text(group: Group, seen: Seen) -> str:
    symbol, word, _ = SEVERITIES[group[0].severity]
    nets = " and ".join(_nets(group))
    head = f"{symbol} {word}: {group[0].code}" + (f" ({nets})" if nets else "")
    body = _messages(group)
    if group[0].fix:
        body.append(f"What to do: {group[0].fix}")
    if saves := _saves(group):
        body.append(f"What that saves: {saves}")
    lines = [_wrapped(visible(text, LONGEST)) for text in body]
    return "\n".join([head, *lines, *(f"  Seen: {visible(s, LONGEST)}" for s in seen(group))])


def as_item(text: str) -> str:
    """One line of a list, wrapped."""
    lines = textwrap.wrap(
        visible(text, LONGEST), WIDTH - 4, break_long_words=False, break_on_hyphens=False
    )
    return "  - " + "\n    ".join(lines)


def as_html(group: Group, seen: Seen) -> str:
    symbol, word, color = SEVERITIES[group[0].severity]
    nets = " and ".join(map(marked, _nets(group)))
    texts = "<br>".join(map(marked, _messages(group)))
    fix = f"<br><em>What to do:</em> {marked(group[0].fix)}" if group[0].fix else ""
    saves = _saves(group)
    fix += f"<br><em>What that saves:</em> {marked(saves)}" if saves else ""
    lines = "".join(f"<li>{marked(line)}</li>" for line in seen(group))
    return (
        f'<div style="border-left:4px solid {color};padding:.1em .8em;'
        f'margin:0 0 .8em"><strong>{symbol} {word}</strong>: <code>{group[0].code}</code>'
        f"{f' ({nets})' if nets else ''}<br>{texts}{fix}"
        f'<details><summary>Seen</summary><ul style="margin:0">{lines}</ul></details></div>'
    )


def evidence(group: Group) -> list[str]:
    """A line once, with the numbers of all its events."""
    told = {i: text for one in group for i, text in zip(one.events, one.evidence, strict=True)}
    events: dict[str, list[str]] = {}
    for number, text in sorted(told.items()):
        events.setdefault(text.removeprefix(f"event {number}, "), []).append(str(number))
    return few([_with_events(what, numbers) for what, numbers in events.items()])


def few(lines: list[str]) -> list[str]:
    """Of many lines the first and the last, and how many."""
    more, half = len(lines) - MOST_SEEN, MOST_SEEN // 2
    return [*lines[:half], f"{more} more", *lines[-half:]] if more > 0 else lines


def _nets(group: Group) -> list[str]:
    return list(dict.fromkeys(one.net for one in group if one.net))


def _messages(group: Group) -> list[str]:
    texts = list(dict.fromkeys(one.message for one in group))
    if len(texts) == 1:
        return texts
    more = ["{count} more like these.".format(count=len(texts) - MOST_ALIKE)]
    return [f"- {text}" for text in texts[:MOST_ALIKE] + more * (len(texts) > MOST_ALIKE)]


def _saves(group: Group) -> str:
    return " ".join(dict.fromkeys(str(one.saves) for one in group if one.saves is not None))


def _with_events(what: str, numbers: list[str]) -> str:
    """``event 4, line 9: ...``, or ``events 4, 13 and 22, line 9: ...``."""
    if len(numbers) == 1:
        return f"event {numbers[0]}, {what}"
    if len(numbers) <= MOST_SEEN:
        return f"events {', '.join(numbers[:-1])} and {numbers[-1]}, {what}"
    text = "events {first}, … {last} ({count} in all), {what}"
    return text.format(
        first=", ".join(numbers[:3]), last=numbers[-1], count=len(numbers), what=what
    )


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("\n".join(lines), "  ")
