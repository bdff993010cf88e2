"""Read an explorer in a page: what is marked, said and drawn at this moment, and drive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator

_READ = """
section => {
    const pane = section.querySelector('.pane');
    const texts = selector => Array.from(pane.querySelectorAll(selector), e => e.textContent);
    const edges = kind => Array.from(
        pane.querySelectorAll(`.graph [data-edge]${kind}`), e => e.dataset.edge).sort();
    return {
        strategy: section.querySelector('.strategies [aria-pressed=true]').textContent,
        count: section.querySelector('output').textContent,
        lines: texts('.code [aria-current=step]'),
        caption: pane.querySelector('.caption').textContent,
        columns: texts('thead [aria-current=step]'),
        nodes: Array.from(pane.querySelectorAll('.graph [data-node]')).sort(
            (a, b) => a.dataset.node - b.dataset.node).map(g => ({
            classes: (g.getAttribute('class') ?? '').split(' '),
            label: g.getAttribute('aria-label'),
            text: g.querySelector('text').textContent,
        })),
        ran: texts('.code .ran'),
        walked: edges('.walked'),
        edges: edges(':not(.absent)'),
        cells: Array.from(pane.querySelectorAll('tbody tr'),
            row => Array.from(row.querySelectorAll('td'), cell => cell.textContent)),
        bar: Array.from(pane.querySelectorAll('.memory span'))
            .findIndex(bar => bar.classList.contains('now')),
    };
}
"""


@dataclass(frozen=True)
class Shown:
    """What one explorer shows now, read from its page."""

    strategy: str
    count: str
    lines: list[str]
    caption: str
    columns: list[str]
    nodes: list[dict[str, Any]]
    ran: list[str]
    walked: list[str]
    edges: list[str]
    cells: list[list[str]]
    bar: int


class ExplorerPage:
    """One explorer; ``section`` is its outermost element inside the shadow root."""

    def __init__(self, section: Locator) -> None:
        self.section = section
        section.wait_for()

    def shown(self) -> Shown:
        return Shown(**self.section.evaluate(_READ))

    def choose(self, title: str) -> None:
        self.section.get_by_role("button", name=title, exact=True).click()

    def press(self, *keys: str) -> None:
        """Press keys with the focus on the explorer itself."""
        self.section.focus()
        for key in keys:
            self.section.page.keyboard.press(key)

    def go_to(self, moment: int) -> None:
        """By the keyboard: to the first line, then on."""
        self.press("Home", *["ArrowRight"] * moment)


def backwards(film: dict[str, Any]) -> list[int]:
    """The moments of the backward calls."""
    return [i for i, frame in enumerate(film["moments"]) if "backward" in frame]


def expected(film: dict[str, Any], moment: int, data: dict[str, Any]) -> dict[str, Any]:
    """What has to be shown, from the film alone, under the names of ``Shown``."""
    frame = film["moments"][moment]
    reached = {c for f in film["moments"][: moment + 1] for c in f["columns"]}
    call = film["calls"][frame["backward"]] if "backward" in frame else None
    nodes = []
    for node, state in zip(film["nodes"], frame["states"], strict=True):
        if node.get("parameters"):
            nodes.append(data["kinds"][frame["grads"][node["parameters"][0]]][3])
        else:
            nodes.append(data["states"][state][3])
    arrived = [] if call is None else [i for i, node in enumerate(film["nodes"])
               if set(node.get("parameters", [])) & set(call["received"])]  # fmt: skip
    there = {
        n["id"] for n, state in zip(film["nodes"], frame["states"], strict=True) if state != "."
    }
    walked = set() if call is None else set(call["nodes"])
    ran = {f["line"] for f in film["moments"][:moment]} - {*range(frame["line"], frame["last"] + 1)}
    return {
        "ran": [film["source"][line - 1] for line in sorted(ran)],
        "edges": sorted(e["id"] for e in film["edges"] if {*e["ends"]} <= there),
        "walked": sorted(
            e["id"] for e in film["edges"] if {*e["ends"]} <= there & walked and "cut" not in e
        ),
        "strategy": film["title"],
        "count": f"{moment + 1} of {len(film['moments'])}",
        "lines": film["source"][frame["line"] - 1 : frame["last"]],
        "caption": ("✗ " if frame.get("raised") else "") + frame["caption"].replace("`", ""),
        "columns": [c["text"] for c in film["columns"] if c["event"] in frame["columns"]],
        "states": nodes,
        "arrived": arrived,
        "cells": [
            [
                _cell(cell, data) if column["event"] in reached else ""
                for cell, column in zip(row["cells"], film["columns"], strict=True)
            ]
            for row in film["rows"]
        ],
        "bar": moment,
    }


def _cell(cell: list[Any], data: dict[str, Any]) -> str:
    return str(data["kinds"][cell[0]][0]) + (data["used"] if cell[4] else "")


def differences(shown: Shown, film: dict[str, Any], moment: int, data: dict[str, Any]) -> list[str]:
    """One line for each thing that is not shown as the film has it; none if all is right."""
    wanted = expected(film, moment, data)
    states, arrived = wanted.pop("states"), wanted.pop("arrived")
    found = [
        f"{name}: {getattr(shown, name)!r} instead of {value!r}"
        for name, value in wanted.items()
        if getattr(shown, name) != value
    ]
    classes = [node["classes"] for node in shown.nodes]
    found += [
        f"node {i}: {c} without {s}"
        for i, (c, s) in enumerate(zip(classes, states, strict=True))
        if s not in c
    ]
    marked = [i for i, c in enumerate(classes) if "received" in c]
    if marked != arrived:
        found.append(f"gradient arrives at {marked} instead of {arrived}")
    return found
