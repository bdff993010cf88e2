"""Does this machine have what the lessons need? Says what is missing and how to get it."""

from __future__ import annotations

import html
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from gan_lessons.classroom import words
from gan_lessons.classroom.scoring import bordered
from gan_lessons.lens.show import graphviz_available

OLDEST_PYTHON = (3, 11)
_LEFT = 'style="text-align:left"'


@dataclass(frozen=True)
class Part:
    """One thing that the lessons need: ``found`` is its version, or None; ``advice`` if missing."""

    name: str
    use: str
    found: str | None
    advice: str


@dataclass(frozen=True)
class Environment:
    """All parts, shown as a table. ``ready``: nothing is missing."""

    parts: tuple[Part, ...]

    @property
    def ready(self) -> bool:
        return all(part.found is not None for part in self.parts)

    @property
    def summary(self) -> str:
        missing = [part.name for part in self.parts if part.found is None]
        if missing:
            return words.ENVIRONMENT_MISSING.format(names=words.LIST.join(missing))
        return words.ENVIRONMENT_READY

    def __repr__(self) -> str:
        width = max(len(part.name) for part in self.parts)
        rows = [f"  {_mark(p)} {p.name:{width}}  {p.found or p.advice}" for p in self.parts]
        return "\n".join([self.summary, *rows])

    def _repr_html_(self) -> str:
        rows = "".join(_row(part) for part in self.parts)
        titles = words.ENVIRONMENT_COLUMNS
        head = "".join(f'<th scope="col" {_LEFT}>{title}</th>' for title in titles)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return bordered(self.ready, f"<strong>{html.escape(self.summary)}</strong>{table}")


def check_environment() -> Environment:
    """Look for everything that the lessons need. Imports and changes nothing heavy."""
    parts = [_python()]
    for name, use in words.ENVIRONMENT_USES.items():
        advice = words.ENVIRONMENT_INSTALL.format(name=name)
        parts.append(Part(name, use, _version(name), advice))
    parts.append(
        Part(
            "Graphviz",
            words.ENVIRONMENT_GRAPHVIZ,
            words.ENVIRONMENT_FOUND if graphviz_available() else None,
            words.ENVIRONMENT_INSTALL.format(name="pygraphviz"),
        )
    )
    return Environment(tuple(parts))


def _python() -> Part:
    wanted = ".".join(map(str, OLDEST_PYTHON))
    found = platform.python_version() if sys.version_info >= OLDEST_PYTHON else None
    return Part(
        "Python", words.ENVIRONMENT_PYTHON, found, words.ENVIRONMENT_OLD.format(wanted=wanted)
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _mark(part: Part) -> str:
    return words.ENVIRONMENT_MARK[part.found is not None]


def _row(part: Part) -> str:
    cells = (part.use, f"{_mark(part)} {part.found or part.advice}")
    inside = "".join(f"<td {_LEFT}>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row" {_LEFT}>{html.escape(part.name)}</th>{inside}</tr>'
