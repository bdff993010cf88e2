"""Read an explorer in a page: what is marked, said and drawn at this moment, and drive it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator

_READ = r"""
section => {
    const pane = section.querySelector('.pane');
    const texts = selector => Array.from(pane.querySelectorAll(selector), e => e.textContent);
    const edges = kind => Array.from(
        pane.querySelectorAll(`.graph [data-edge]${kind}`), e => e.dataset.edge).sort();
    return {
        strategy: section.querySelector('.strategies [aria-pressed=true]').textContent,
        count: section.querySelector('output').textContent,
        lines: texts('.code [aria-current=step] .text'),
        caption: pane.querySelector('.caption').textContent,
        columns: Array.from(pane.querySelectorAll('thead [aria-current=step]'),
            head => Array.from(head.querySelectorAll('span'), part => part.textContent)),
        opened: pane.classList.contains('opened'),
        nodes: Array.from(pane.querySelectorAll('.graph [data-node]')).sort(
            (a, b) => a.dataset.node - b.dataset.node).map(g => ({
            classes: (g.getAttribute('class') ?? '').split(' '),
            label: g.getAttribute('aria-label'),
            text: g.querySelector('text').textContent,
        })),
        ran: texts('.code .ran:not(.blank) .text'),
        players: Array.from(pane.querySelectorAll('.players .call'), g => ({
            classes: g.getAttribute('class').split(' '),
            text: Array.from(g.querySelectorAll('.title, .state'), t => t.textContent),
        })),
        banks: Array.from(pane.querySelectorAll('.players .frame'), g => ({
            classes: g.getAttribute('class').split(' '),
            text: Array.from(g.querySelectorAll('text'), t => t.textContent),
        })),
        ways: Array.from(pane.querySelectorAll('.players .way'),
            g => (/back-(\w+)/.exec(g.getAttribute('class')) ?? [])[1] ?? ''),
        totals: texts('.totals div:not([hidden]) dd'),
        walked: edges('.walked'),
        edges: edges(':not(.absent)'),
        cells: Array.from(pane.querySelectorAll('tbody tr:not(.part, .keeps)'),
            row => Array.from(row.querySelectorAll('td'),
                cell => cell.querySelector('b')?.textContent ?? '')),
        kept: texts('tbody .keeps td'),
        bar: Array.from(pane.querySelectorAll('.memory span'))
            .findIndex(bar => bar.classList.contains('now')),
    };
}
"""


# Every text that is seen, with its size in pixels of the screen, and what is cut off.
_LOOKS = r"""
section => {
    const texts = [], cut = [], frame = section.getBoundingClientRect();
    const zoom = frame.width / section.offsetWidth;
    const name = e => `${e.localName}.${e.getAttribute('class') ?? ''} `
        + `"${e.textContent.trim().slice(0, 40)}"`;
    const within = (e, box, outer, what) => {
        if (outer && (box.left < outer.left - 1 || box.right > outer.right + 1
            || box.top < outer.top - 1 || box.bottom > outer.bottom + 1))
            cut.push(`${name(e)} leaves ${what}`);
    };
    for (const e of section.querySelectorAll('*')) {
        const box = e.getBoundingClientRect(), style = getComputedStyle(e);
        if (!box.width || !box.height || !e.checkVisibility({visibilityProperty: true})) continue;
        const svg = e.ownerSVGElement, matrix = svg?.getScreenCTM();
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        const where = e.closest('.players') ? 'stage' : e.closest('.code .text') ? 'code' : 'other';
        const scale = svg ? Math.hypot(matrix.a, matrix.b) : zoom;
        if (own) texts.push([where, name(e), parseFloat(style.fontSize) * scale]);
        if (!svg && e.scrollWidth > e.clientWidth + 2
            && /auto|scroll|hidden|clip/.test(style.overflowX))
            cut.push(`${name(e)} hides ${e.scrollWidth - e.clientWidth} px of its width`);
        const code = e.closest('.code');  // may be scrolled up and down
        if (!code || e === code) within(e, box, frame, 'the explorer');
        else if (box.right > code.getBoundingClientRect().right) cut.push(`${name(e)} is cut`);
        if (own) within(e, box, e.closest('.players')?.getBoundingClientRect(), 'the stage');
        const bar = e.matches('.holds') && e.parentElement.querySelector('.bar');
        if (bar) within(e, box, bar.getBoundingClientRect(), 'its bar');
        within(e, box, e.closest('.tables')?.parentElement.getBoundingClientRect(), 'its place');
    }
    return {texts, cut};
}
"""


@dataclass(frozen=True)
class Shown:
    """What one explorer shows now, read from its page."""

    strategy: str
    count: str
    lines: list[str]
    caption: str
    columns: list[list[str]]
    opened: bool
    nodes: list[dict[str, Any]]
    ran: list[str]
    players: list[dict[str, Any]]
    banks: list[dict[str, Any]]
    ways: list[str]
    totals: list[str]
    walked: list[str]
    edges: list[str]
    cells: list[list[str]]
    kept: list[str]
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

    def too_small(self, other: float = 14, code: float = 16, stage: float = 18) -> list[str]:
        """Every text that is smaller on the screen than that many pixels."""
        least = {"other": other, "code": code, "stage": stage}
        return [
            f"{name}: {size:.1f} px"
            for where, name, size in self.section.evaluate(_LOOKS)["texts"]
            if size < least[where] - 0.01
        ]

    def cut_off(self) -> list[str]:
        """What does not fit: out of the explorer, the stage, or a box that would have to scroll."""
        found: list[str] = self.section.evaluate(_LOOKS)["cut"]
        return found

    def every_line(self, on: bool = True) -> None:
        """Stop at silent lines too, or not."""
        self.section.get_by_label("every line").set_checked(on)

    def go_to(self, moment: int) -> None:
        """By the keyboard: to the first line, then on, at every line."""
        self.every_line()
        self.press("Home", *["ArrowRight"] * moment)

    def open_operations(self) -> None:
        if not self.shown().opened:
            self.press("z")

    def try_out(self, title: str) -> None:
        """Choose a what-if at the gutter of its line."""
        for button in self.section.locator(".code button.if").all():
            titles = (button.get_attribute("aria-label") or "").partition(": ")[2].split(" · ")
            if title in titles:
                if not button.is_visible():  # on a phone, far from the current line
                    self.section.locator(".code .rest >> visible=true").click()
                button.click()
                self.section.locator(".menu").get_by_role("button", name=title).click()
                return
        raise AssertionError(f"no line offers {title!r}")

    def compare_with(self, key: str) -> None:
        """Set this strategy beside the one that is shown."""
        if "two" not in (self.section.get_attribute("class") or "").split():
            self.section.get_by_role("button", name="Compare").click()
        self.section.get_by_label("Compare with").select_option(key)

    def as_written(self) -> None:
        self.section.locator(".outcome").get_by_role("button", name="As written again").click()


def backwards(film: dict[str, Any]) -> list[int]:
    """The moments of the backward calls."""
    return [i for i, frame in enumerate(film["moments"]) if "backward" in frame]


def expected(film: dict[str, Any], moment: int, data: dict[str, Any]) -> dict[str, Any]:
    """What has to be shown at every line, from the film alone, under the names of ``Shown``."""
    frame = film["moments"][moment]
    source = [line.strip() for line in film["source"]]
    reached = [c["moment"] <= moment for c in film["columns"]]
    ran = {f["line"] for f in film["moments"][:moment]} - {*range(frame["line"], frame["last"] + 1)}
    walk = frame["stage"].get("walk", "." * len(film["stage"]["edges"]))
    words = {"u": "used", "v": "vain", "t": "through", ".": ""}
    flops = film["totals"]["flops"]
    end = moment == len(film["moments"]) - 1
    each = [
        " · ".join(f"{net} {n}" for net, n in zip(film["nets"], frame["sofar"][key], strict=True))
        for key in ("forwards", "backwards")
    ]
    return {
        "ran": [source[line - 1] for line in sorted(ran)],
        "strategy": film["title"],
        "count": f"{moment + 1} of {len(film['moments'])}",
        "lines": source[frame["line"] - 1 : frame["last"]],
        "caption": _said(frame),
        "columns": [[c["verb"], c["whose"]] for c in film["columns"] if c["moment"] == moment],
        "ways": [words[letter] for letter in walk],
        "cells": [
            [
                _cell(cell, data) if there else ""
                for cell, there in zip(row["cells"], reached, strict=True)
            ]
            for row in film["rows"]
        ],
        "kept": [
            column["held"] if there else ""
            for column, there in zip(film["columns"], reached, strict=True)
        ],
        "totals": [
            *each, *([f"{flops:,}"] if end and flops is not None else []),
            _vain(frame["sofar"]), "{peakText}, line {peakLine}".format(**frame["sofar"]),
        ],
        "bar": moment,
    }  # fmt: skip


def _vain(sofar: dict[str, Any]) -> str:
    text = "{vain} of {received} parameter gradients"
    if sofar["summed"]:
        text = "{vain}, summed {summed} of {received} gradients"
    return text.format(**sofar)


def _said(frame: dict[str, Any]) -> str:
    """The caption, after the number of the line where it is known."""
    mark = "✗ " if frame.get("raised") else ""
    line = f"Line {frame['line']}: " if frame["line"] > 0 else ""
    return mark + line + str(frame["caption"]).replace("`", "")


def _cell(cell: list[Any], data: dict[str, Any]) -> str:
    return str(data["kinds"][cell[0]][0]) + (data["used"] if cell[4] else "") + " ↧" * cell[5]


def in_the_graph(film: dict[str, Any], moment: int, data: dict[str, Any]) -> dict[str, Any]:
    """What the operations have to show once they are open."""
    frame = film["moments"][moment]
    call = film["calls"][frame["backward"]] if "backward" in frame else None
    states = []
    for node, state in zip(film["nodes"], frame["states"], strict=True):
        if node.get("parameters"):
            states.append(data["kinds"][frame["grads"][node["parameters"][0]]][3])
        else:
            states.append(data["states"][state][3])
    arrived = [] if call is None else [i for i, node in enumerate(film["nodes"])
               if set(node.get("parameters", [])) & set(call["received"])]  # fmt: skip
    there = {
        n["id"] for n, state in zip(film["nodes"], frame["states"], strict=True) if state != "."
    }
    walked = set() if call is None else set(call["nodes"])
    return {
        "edges": sorted(e["id"] for e in film["edges"] if {*e["ends"]} <= there),
        "walked": sorted(
            e["id"] for e in film["edges"] if {*e["ends"]} <= there & walked and "cut" not in e
        ),
        "states": states,
        "arrived": arrived,
    }


def differences(shown: Shown, film: dict[str, Any], moment: int, data: dict[str, Any]) -> list[str]:
    """One line for each thing that is not shown as the film has it; none if all is right."""
    wanted = expected(film, moment, data)
    graph = in_the_graph(film, moment, data) if shown.nodes else {}
    states, arrived = graph.pop("states", None), graph.pop("arrived", None)
    found = [
        f"{name}: {getattr(shown, name)!r} instead of {value!r}"
        for name, value in (wanted | graph).items()
        if getattr(shown, name) != value
    ]
    found += [
        f"{forward}: {call['text']} instead of {text}"
        for forward, call, text in zip(
            film["forwards"], shown.players, _calls(film, moment), strict=True
        )
        if call["text"] != text
    ]
    if not graph:
        return found
    classes = [node["classes"] for node in shown.nodes]
    found += [
        f"node {i}: {c} without {s}"
        for i, (c, s) in enumerate(zip(classes, states or [], strict=True))
        if s not in c
    ]
    marked = [i for i, c in enumerate(classes) if "received" in c]
    if marked != arrived:
        found.append(f"gradient arrives at {marked} instead of {arrived}")
    return found


KEEPS = {
    "h": "■ held",
    "f": "□ freed",
    "s": "⚠ stale",
    "o": "(⚠ stale)",
    "n": "no graph",
    "u": "? unknown",
}


def _calls(film: dict[str, Any], moment: int) -> list[list[str]]:
    """What stands in the box of each call."""
    stage = film["moments"][moment]["stage"]
    found = []
    for i, (call, letter) in enumerate(zip(film["stage"]["calls"], stage["calls"], strict=True)):
        version = film["versions"][i]
        old = "old " if version < stage["versions"][call["net"]] else ""
        words = "⚠ mixed" if i in stage.get("old", []) else KEEPS.get(letter, "")
        found.append([call["title"], "" if letter == "." else f"{old}v{version}  {words}"])
    return found
