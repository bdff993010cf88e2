"""Does this machine have what the lessons need? Says what is missing and how to get it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from gan_lessons.classroom.templating import template
from gan_lessons.lens.show import graphviz_available

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


def ready() -> None:
    """Print what a lesson would miss here and how to get it; nothing if all is there.

    The first cell of every lesson calls it. Pictures of graphs are not asked for: without Graphviz
    a graph is shown in words.
    """
    if missing := [name for name in _USES if _version(name) is None]:
        text = (
            "Missing: {names}. To have all that the lessons use, run this in a cell, then restart "
            'the kernel:\n%pip install "gan-lessons[lessons]"'
        )
        print(text.format(names=", ".join(missing)))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
