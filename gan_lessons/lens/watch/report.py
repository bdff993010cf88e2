"""What was seen of a loop, for people (text, HTML) and for programs (JSON, an assertion)."""

from __future__ import annotations

import html
import json
import linecache
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from gan_lessons.lens.diagnose import Diagnosis, Finding, diagnose, evidence, few
from gan_lessons.lens.model import Event, Record
from gan_lessons.lens.record import held_parameters
from gan_lessons.lens.show import draw_graph, event_text, visible
from gan_lessons.lens.watch.finding_players import Players
from gan_lessons.lens.watch.ownership import Note

VERSION = 1  # of the JSON report

WATCHED = "gan-lessons watched {count} {iterations} of {players}."
NO_WHOLE_ONE = "gan-lessons watched {players}; no iteration was complete."
NEVER_STEPPED = "{optimizers} never stepped, in the whole script."
BY_HAND = "{optimizers} never stepped, in the whole script; what it holds was moved by hand."
ITERATIONS = ("iteration", "iterations")
PLAYER = "{net} ({count} parameters, {optimizers})"
IN_NONE = "in no optimizer"
AND = " and "
NOTHING = "No step and no backward call was seen: nothing can be said about this loop."
NOTE = "Note: {text}"
TITLE = "gan-lessons diagnose {script}"
HEADINGS = {"code": "The lines that were watched", "table": "Gradients", "graph": "Graph"}


@dataclass(frozen=True)
class Report:
    """A record, who played in it, and over how many whole iterations.

    only: the findings to tell; all of them, if None. script: what ran, for the title.
    idle: optimizers that never stepped, from the beginning of the script to its end.
    """

    record: Record
    players: Players
    iterations: int
    only: tuple[Finding, ...] | None = None
    script: str = ""
    idle: tuple[str, ...] = ()

    @cached_property
    def diagnosis(self) -> Diagnosis:
        return diagnose(self.record) if self.only is None else Diagnosis(list(self.only))

    def keys(self) -> dict[tuple[Any, ...], Finding]:
        """The findings by code, net and lines: one that is known is found again by these."""
        found = self.diagnosis.findings
        return {(f.code, f.net, *sorted(self.places(f))): f for f in found}

    def without(self, known: Collection[tuple[Any, ...]]) -> Report:
        """The same, less the findings whose keys are ``known``."""
        return replace(self, only=tuple(f for k, f in self.keys().items() if k not in known))

    @property
    def seen(self) -> bool:
        """Did anything happen that a diagnosis could be about?"""
        return any(e.kind in ("backward", "step", "error") for e in self.record.events)

    @property
    def status(self) -> int:
        """1: an error or a wrong gradient. 2: nothing was seen, or no step of an optimizer in the
        whole script, and nothing else moved what it holds. 0: neither."""
        if not self.diagnosis.sound:
            return 1
        return 0 if self.seen and all(map(self._is_moved_by_hand, self.idle)) else 2

    def _is_moved_by_hand(self, optimizer: str) -> bool:
        """Was all that this one holds rewritten, though no optimizer that steps holds it? So a
        target net follows, that was built with an optimizer as its original was."""
        rec = self.record
        moved = {net for row in [rec.moved, *(e.moved for e in rec.events)] for net in row}
        moved -= {net for name, row in rec.holds.items() if name not in self.idle for net in row}
        mine = rec.holds.get(optimizer, {}).keys()
        return bool(mine) and mine <= moved

    # For people -------------------------------------------------------------------------------

    def text(self, told: Collection[Note] = ()) -> str:
        """All of it, less the notes that were told before."""
        notes = (note for note in self.players.notes if note not in told)
        blocks = [self._watched(), *(NOTE.format(text=note.text) for note in notes)]
        by_hand = [name for name in self.idle if self._is_moved_by_hand(name)]
        idle = [name for name in self.idle if name not in by_hand]
        blocks += [NEVER_STEPPED.format(optimizers=AND.join(idle))] if idle else []
        blocks += [BY_HAND.format(optimizers=name) for name in by_hand]
        blocks.append(self.diagnosis.text(self._lines) if self.seen else NOTHING)
        return "\n\n".join(blocks)

    def _watched(self) -> str:
        told = []
        for net, module in self.players.nets.items():
            own = set(module.parameters())
            holders = [
                n for n, o in self.players.optimizers.items() if held_parameters(o) & own
            ]  # the names of those that train it
            named = AND.join(holders) or IN_NONE
            told.append(PLAYER.format(net=visible(net), count=len(own), optimizers=named))
        text, word = WATCHED if self.iterations else NO_WHOLE_ONE, ITERATIONS[self.iterations != 1]
        return text.format(count=self.iterations, iterations=word, players=", ".join(told))

    def places(self, finding: Finding) -> list[tuple[str, int, str]]:
        """(file, line, source) of what a finding is about, each once: the user's own code."""
        lines = [self.record.events[i].line for i in finding.events]
        return list(dict.fromkeys((x.file, x.number, x.code) for x in lines if x.number))

    def _lines(self, findings: Sequence[Finding]) -> list[str]:
        """The user's own lines, as a terminal or an editor opens them, and how often they ran."""
        events = {i for one in findings for i in one.events}
        lines = [line for i in sorted(events) if (line := self.record.events[i].line).number]
        ran = Counter((line.file, line.number, line.code) for line in lines)
        rows = (
            f"{shown(file)}:{number}: {visible(' '.join(code.split()), 80)}"
            + (f" ({count} times)" if count > 1 else "")
            for (file, number, code), count in ran.items()
        )
        return few([*rows]) or evidence(findings)

    # For programs -----------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain data: ``findings`` with their places, ``status``, ``nets``, ``notes``."""
        findings = [
            asdict(f)
            | {"where": [{"file": a, "line": b, "source": c} for a, b, c in self.places(f)]}
            for f in self.diagnosis.findings
        ]
        return {
            "version": VERSION,
            "script": self.script,
            "status": self.status,
            "iterations": self.iterations,
            "nets": {n: type(net).__name__ for n, net in self.players.nets.items()},
            "optimizers": {n: type(o).__name__ for n, o in self.players.optimizers.items()},
            "idle": list(self.idle),
            "notes": [asdict(note) for note in self.players.notes],
            "findings": findings,
        }

    def save_html(self, path: str) -> None:
        """One page without scripts: diagnosis, watched lines, gradient table, graph."""
        notes = "".join(
            f"<p>{html.escape(NOTE.format(text=n.text))}</p>" for n in self.players.notes
        )
        parts = {"code": self._code(), "table": self.record.table()._repr_html_()}
        if self.record.graph.nodes:
            parts["graph"] = draw_graph(record=self.record)._repr_html_()
        body = "".join(f"<h2>{HEADINGS[key]}</h2>{part}" for key, part in parts.items() if part)
        title = html.escape(TITLE.format(script=self.script).strip())
        page = (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            "<style>:root{color-scheme:light dark}body{font-family:sans-serif;margin:1.5em auto;"
            "max-width:75em;padding:0 1em}pre{overflow-x:auto}</style></head><body>"
            f"<h1>{title}</h1><p>{html.escape(self._watched())}</p>{notes}"
            f"{self.diagnosis._repr_html_()}{body}</body></html>\n"
        )
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)

    def _code(self) -> str:
        """Each stretch of source in which something happened, its events beside the lines."""
        told: dict[tuple[str, str], dict[int, list[Event]]] = {}
        for event in self.record.events:
            if event.line.number:
                place = told.setdefault((event.line.file, event.line.function), {})
                place.setdefault(event.line.number, []).append(event)
        return "".join(_listing(file, lines) for (file, _), lines in told.items())


def save_json(data: dict[str, Any], path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.write("\n")


def _listing(file: str, told: dict[int, list[Event]]) -> str:
    rows = []
    for number in range(max(min(told) - 2, 1), max(told) + 3):
        source = linecache.getline(file, number).rstrip()
        happened = ", ".join(dict.fromkeys(event_text(e) for e in told.get(number, ())))
        text = f"{number:5} {html.escape(source)}"
        note = f"   <i>&larr; {html.escape(visible(happened, 100))}</i>"
        rows.append(f"<b>{text}</b>{note}" if happened else text)
    return f"<figure><figcaption>{html.escape(shown(file))}</figcaption><pre>" + (
        "\n".join(rows) + "</pre></figure>"
    )


def shown(file: str) -> str:
    """A path as one would type it here."""
    try:
        near = os.path.relpath(file)
    except ValueError:  # another drive
        return file
    return file if near.startswith("..") else near
