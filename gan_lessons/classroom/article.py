"""The article that the course started from: its claims quoted, checked, and the score.

What it says, and what counts, stands in ``statements``.

    board = Scoreboard()
    board.claim("C1")                               # the quotation, and the conditions
    board.check("C1", [cut, kept], "8 gradients")   # what was measured
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gan_lessons.classroom.claims import CLAIMS
from gan_lessons.classroom.statements import ADDRESS, ARTICLE
from gan_lessons.classroom.tables import Table
from gan_lessons.classroom.templating import template

TITLES = {True: "✓ holds", None: "± in part", False: "✗ does not hold"}
FOR_OUR_NETS = "✓ holds for our nets"  # a comparison of sizes, wherever it was tried
VERDICTS = (TITLES[True], FOR_OUR_NETS, TITLES[None], TITLES[False])
SOME = "no verdict yet: {some} of its {all} conditions. Lesson 11 judges them all."
_CARD = template(
    '<div style="border-left: 4px solid #888; padding-left: 0.8em"><strong>{{ name }}</strong>: '
    "“{{ s.quote }}”<br><em>{{ s.where }}</em> · "
    '<a href="{{ address }}">the article</a><br>We shall say that it holds if<ul>'
    "{% for text in s.conditions %}<li>{{ text }}</li>{% endfor %}</ul></div>"
)
_CHECKED = template(
    '<div style="{{ bar(c.holds) }}"><strong>{{ c.name }} {{ c.title }}</strong>'
    '<ul style="list-style: none; padding-left: 0.5em">'
    "{% for text, met in c.found %}<li>{{ '✓' if met else '✗' }} {{ text }}</li>{% endfor %}</ul>"
    "{{ c.evidence }}</div>"
)
_BOARD = template(
    "<table><thead><tr><th>claim</th><th>in our words</th><th>verdict</th><th>measured</th></tr>"
    "</thead><tbody>\n{% for c in checked %}<tr><td>{{ c.name }}</td>"
    '<td style="text-align: left">{{ claims[c.name] }}</td>'
    '<td style="text-align: left; white-space: nowrap">{{ c.title }}</td>'
    '<td style="text-align: left">{{ c.evidence }}</td></tr>\n{% endfor %}</tbody></table>'
)


@dataclass(frozen=True)
class Card:
    """A claim before it is measured."""

    name: str

    def __repr__(self) -> str:
        said = ARTICLE[self.name]
        conditions = "\n".join(f"  - {text}" for text in said.conditions)
        return f"{self.name}: “{said.quote}” ({said.where})\nIt holds if\n{conditions}"

    def _repr_html_(self) -> str:
        return _CARD.render(name=self.name, s=ARTICLE[self.name], address=ADDRESS)


@dataclass(frozen=True)
class Checked:
    """A claim and what was measured: ``met``, for each condition True, False, or None where it was
    not measured; then there is no verdict."""

    name: str
    met: tuple[bool | None, ...]
    evidence: str

    @property
    def holds(self) -> bool | None:
        """True or False; None: in part, or not all of it measured."""
        return True if all(self.met) else None if None in self.met or any(self.met) else False

    @property
    def title(self) -> str:
        if None not in self.met:
            ours = self.holds and ARTICLE[self.name].compares
            return FOR_OUR_NETS if ours else TITLES[self.holds]
        return SOME.format(some=len(self.found), all=len(self.met))

    @property
    def found(self) -> list[tuple[str, bool]]:
        both = zip(ARTICLE[self.name].conditions, self.met, strict=True)
        return [(text, met) for text, met in both if met is not None]

    def __repr__(self) -> str:
        lines = [f"  {'✓' if met else '✗'} {text}" for text, met in self.found]
        return "\n".join([f"{self.name} {self.title}", *lines, f"  {self.evidence}"])

    def _repr_html_(self) -> str:
        return _CHECKED.render(c=self)


class Scoreboard:
    """Claims that were quoted, then checked, in that order. It shows itself as a table."""

    quoted: ClassVar[set[str]] = set()  # by any: a cell that makes a board anew undoes no reading

    def __init__(self) -> None:
        self.checked: dict[str, Checked] = {}

    def claim(self, name: str) -> Card:
        """Quote a claim, "C1" to "C22", with what counts. Raises KeyError for any other."""
        if name not in ARTICLE:
            raise KeyError(f"no claim {name!r}; known: {', '.join(ARTICLE)}")
        self.quoted.add(name)
        return Card(name)

    def check(self, name: str, met: Sequence[object], evidence: str) -> Checked:
        """What was measured for a claim that was quoted: a bool for each of its conditions.

        Raises ValueError for a claim that was not quoted before, or for another number of truth
        values, TypeError for one that is none.
        """
        self.checked[name] = self._measured(name, met, evidence, (bool,))
        return self.checked[name]

    def check_some(self, name: str, met: Mapping[int, object], evidence: str) -> Checked:
        """What was measured for some conditions, counted from 1: no verdict, and not kept. Raises
        as ``check``."""
        none: dict[int, object] = dict.fromkeys(range(1, len(ARTICLE[name].conditions) + 1))
        return self._measured(name, [*{**none, **met}.values()], evidence, (bool, type(None)))

    def _measured(
        self, name: str, met: Sequence[object], evidence: str, allowed: tuple[type, ...]
    ) -> Checked:
        if name not in self.quoted:
            raise ValueError(f"{name} is not quoted yet; run board.claim({name!r}) first")
        values = [v.item() if hasattr(v, "item") else v for v in met]
        wanted = len(ARTICLE[name].conditions)
        if len(values) != wanted:
            raise ValueError(f"{name} has {wanted} conditions, got {len(values)} truth values")
        if wrong := [v for v in values if not isinstance(v, allowed)]:
            raise TypeError(f"check() got {wrong[0]!r}; expected True or False, as measured")
        return Checked(name, tuple(None if v is None else bool(v) for v in values), evidence)

    @property
    def missing(self) -> list[str]:
        """Claims that nothing has been measured for."""
        return [name for name in ARTICLE if name not in self.checked]

    @property
    def _in_order(self) -> list[Checked]:
        return [self.checked[name] for name in ARTICLE if name in self.checked]

    def with_verdict(self, title: str) -> list[str]:
        """The claims that have this verdict, one of ``VERDICTS``. Raises ValueError for another."""
        if title not in VERDICTS:
            raise ValueError(f"no verdict {title!r}; known: {', '.join(VERDICTS)}")
        return [c.name for c in self._in_order if c.title == title]

    @property
    def score(self) -> tuple[int, ...]:
        """How many claims have each of the ``VERDICTS``, in their order."""
        return tuple(len(self.with_verdict(title)) for title in VERDICTS)

    def by_verdict(self) -> Table:
        """The same in rows: which claims hold, for our nets only, in part, or not."""
        rows = [(title, str(n), ", ".join(self.with_verdict(title)))
                for title, n in zip(VERDICTS, self.score, strict=True)]  # fmt: skip
        return Table(("verdict", "claims", "which"), rows)

    def __repr__(self) -> str:
        return "\n".join(f"{c.name:4} {c.title:20} {CLAIMS[c.name]}" for c in self._in_order)

    def _repr_html_(self) -> str:
        return _BOARD.render(checked=self._in_order, claims=CLAIMS)
