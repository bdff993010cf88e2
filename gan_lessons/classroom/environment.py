"""Does this machine have what the lessons need? Says what is missing and how to get it."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import invalidate_caches
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from gan_lessons.classroom.templating import template
from gan_lessons.lens.show import graphviz_available

if TYPE_CHECKING:  # not in the core; a notebook's kernel has it
    from packaging.requirements import Requirement

OLDEST_PYTHON = (3, 11)
# Package -> what the lessons use it for.
_USES = {
    "torch": "the nets, and autograd",
    "torchviz": "the layout of the graphs",
    "graphviz": "the layout of the graphs",
    "scikit-learn": "the handwritten digits",
    "matplotlib": "charts and images",
    "ipywidgets": "the predictions you click",
    "anywidget": "the explorer",
    "tqdm": "progress bars",
}
_INSTALL = "not found: run `make lab`, or `%pip install {name}` in a cell"
_SHOWN = template("""\
<div style="{{ bar(found.ready) }}"><strong>{{ found.summary }}</strong><table><thead><tr>
{% for title in titles %}<th scope="col" style="text-align: left">{{ title }}</th>{% endfor %}
</tr></thead><tbody>
{% for part in found.parts %}<tr><th scope="row" style="text-align: left">{{ part.name }}</th>
<td style="text-align: left">{{ part.use }}</td>
<td style="text-align: left">{{ part.told }}</td></tr>
{% endfor %}
</tbody></table></div>""")


@dataclass(frozen=True)
class Part:
    """One thing that the lessons need: ``found`` is its version, or None; ``advice`` if missing."""

    name: str
    use: str
    found: str | None
    advice: str

    @property
    def told(self) -> str:
        return f"✗ {self.advice}" if self.found is None else f"✓ {self.found}"


@dataclass(frozen=True)
class Environment:
    """All parts, shown as a table. ``ready``: nothing is missing."""

    parts: tuple[Part, ...]

    @property
    def ready(self) -> bool:
        return all(part.found is not None for part in self.parts)

    @property
    def summary(self) -> str:
        missing = ", ".join(part.name for part in self.parts if part.found is None)
        if missing:
            return "Missing: {names}. The table says how to get it.".format(names=missing)
        return "Everything is here."

    def __repr__(self) -> str:
        width = max(len(part.name) for part in self.parts)
        rows = [f"  {p.told[0]} {p.name:{width}}  {p.told[2:]}" for p in self.parts]
        return "\n".join([self.summary, *rows])

    def _repr_html_(self) -> str:
        return _SHOWN.render(found=self, titles=("part", "used for", "found"))


def check_environment() -> Environment:
    """Look for everything that the lessons need. Imports and changes nothing heavy."""
    python = platform.python_version() if sys.version_info >= OLDEST_PYTHON else None
    too_old = "too old: Python {wanted} or newer is needed; then `make lab`"
    advice = too_old.format(wanted=".".join(map(str, OLDEST_PYTHON)))
    parts = [Part("Python", "running the lessons", python, advice)]
    parts += [Part(n, use, _version(n), _INSTALL.format(name=n)) for n, use in _USES.items()]
    use = "pictures of graphs (without it, the same in words)"
    found = "found" if graphviz_available() else None
    parts.append(Part("Graphviz", use, found, _INSTALL.format(name="pygraphviz")))
    return Environment(tuple(parts))


def ready(install: bool = False) -> None:
    """Print what a lesson would miss here and how to get it; nothing if all is there.

    The first cell of every lesson calls it. Pictures of graphs are not asked for: without Graphviz
    a graph is shown in words.

    install: on Colab and Kaggle, where a notebook begins with nothing of ours, pip brings what is
    missing first. What is installed stays as it is, for the kernel has begun to use it.
    """
    if install:
        _install_missing()
    if missing := [name for name in _USES if _version(name) is None]:
        text = (
            "Missing: {names}. To have all that the lessons use, run this in a cell, then restart "
            'the kernel:\n%pip install "gan-lessons[lessons]"'
        )
        print(text.format(names=", ".join(missing)))
    text = (
        "{name} {found} is installed here, and the lessons were made for {name}{range}. It was "
        "left as it is. If a cell fails: run this in a cell, then restart the kernel:\n"
        '%pip install "{name}{range}"'
    )
    for asked in _asked("gan-lessons", "lessons"):
        found = _version(asked.name)
        if found is not None and not asked.specifier.contains(found, prereleases=True):
            print(text.format(name=asked.name, found=found, range=asked.specifier))


def _install_missing() -> None:
    """Install what the lessons ask for and is not there, then what that asks for, and so on.

    Each without its dependencies: pip by itself would replace an installed package where another
    version fits better.
    """
    asked = list(_asked("gan-lessons", "lessons"))
    while missing := {ask.name: f"{ask.name}{ask.specifier}" for ask in asked if not _there(ask)}:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        if subprocess.run([*pip, *missing.values()], check=False).returncode:
            return  # pip has said why; what is missing is told next
        invalidate_caches()
        asked = [more for name in missing for more in _asked(name)]


def _asked(package: str, extra: str = "") -> Iterator[Requirement]:
    """What an installed package (with this extra) asks for on this machine; of ours, all extras."""
    from packaging.requirements import Requirement

    for line in _requires(package):
        asked = Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate({"extra": extra}):
            continue
        if asked.name == package:  # an extra that includes another one
            for included in asked.extras:
                yield from _asked(package, included)
        else:
            yield asked


def _requires(package: str) -> Iterable[str]:
    try:
        return requires(package) or ()
    except PackageNotFoundError:  # ours, on a path and not installed
        return ()


def _there(asked: Requirement) -> bool:
    return _version(asked.name) is not None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
