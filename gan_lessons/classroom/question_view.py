"""How a question and its answers are shown: the front end in JupyterLab and pages, and its words.

``static/question.js`` draws it in JupyterLab and in exported pages, where it also judges what is
answered, as ``scoring`` does here.
"""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets

from gan_lessons.classroom import scoring
from gan_lessons.classroom.page import PageWidget, module, running_cell
from gan_lessons.classroom.scoring import Item, Json, judged
from gan_lessons.classroom.templating import template

OPEN = "?"  # stands where nothing was predicted
# What the front end says. Names in braces are filled in there.
UI: Json = {
    "open": OPEN,
    "verdict": dict(zip(("true", "false", "null"), scoring.VERDICT.values(), strict=True)),
    "unreadable": scoring.UNREADABLE,
    "off": scoring.OFF,
    "offExact": scoring.OFF_EXACT,
    "number": scoring.NUMBER,
    "titles": ["Asked", "You predicted", "Measured", "Verdict"],
    "measured": "Measured: {measured}",
    "score": {
        "all": "{score} of {asked} as predicted.",
        "some": "{score} of {asked} as predicted, {open} not predicted.",
        "none": "No prediction was made; this is what was measured.",
    },
    "noted": "✓ Noted.",
    "show": "Show what was measured",
    "hide": "Hide it again",
    "hidden": "What was measured is here. Predict first, or show it at once.",
    "class": "The class",
    "cast": "Votes: {count}",
    "keys": "Keys {first} to {last} count votes, 0 starts again.",
    "clear": "Start again from 0",
}

_TABLE = template("""\
<p><strong>{{ comparison.summary }}</strong></p>
<div style="overflow-x: auto"><table style="text-align: left"><thead><tr>
{% for title in titles %}<th scope="col" style="text-align: left">{{ title }}</th>{% endfor %}
</tr></thead><tbody>
{% for item in comparison.items %}
<tr><th scope="row" style="text-align: left">{{ item.label }}</th>
<td style="text-align: left">{{ item.predicted or open }}</td>
<td style="text-align: left">{{ item.measured }}
{% if item.note %}<br><small>{{ item.note }}</small>{% endif %}</td>
<td style="text-align: left"><div style="{{ bar(item.right) }}">{{ item.verdict }}</div></td></tr>
{% endfor %}
</tbody></table></div>""")


class QuestionView(PageWidget):
    """What a question and its comparison share; the front end keeps it alike in both.

    answers: for each item the text that was chosen or typed, or None. votes: for each item the
    votes of a class, option -> count. measured: the truth of each item, see ``scoring.judged``;
    empty before the comparison. shown: does the form show it?
    Where a notebook cell runs again, what its earlier run made is closed.
    """

    state = ("answers", "votes", "measured", "shown")
    kept = ("answers", "votes")
    _esm = module("question.js", css="question.css")
    answers = traitlets.List(traitlets.Unicode(allow_none=True)).tag(sync=True)
    votes = traitlets.List(traitlets.Dict()).tag(sync=True)
    measured = traitlets.List(traitlets.Dict()).tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)

    def __init__(self, group: str, **traits: Any) -> None:
        super().__init__(group, **traits)
        _close_earlier_run(self)

    def close(self) -> None:
        """Take it off the page and let go of its widgets."""
        self.layout.close()
        super().close()


class Comparison(QuestionView):
    """Predictions beside measurements: a table in a notebook, lines of text elsewhere.

    What is answered afterwards is judged too.
    """

    kind = "answers"

    def __init__(self, question: QuestionView) -> None:
        alike = {name: getattr(question, name) for name in self.state}
        super().__init__(question.group, data=question.data | {"table": True}, **alike)
        linked = ("answers", "votes", "shown")
        self._links = [ipywidgets.jslink((question, name), (self, name)) for name in linked]

    @property
    def items(self) -> tuple[Item, ...]:
        parts = zip(self.data["items"], self.answers, self.measured, strict=True)
        return tuple(judged(asked["label"], answer, truth) for asked, answer, truth in parts)

    @property
    def score(self) -> int:
        """How many predictions were right."""
        return sum(item.right is True for item in self.items)

    @property
    def summary(self) -> str:
        asked, left_out = len(self.items), sum(item.right is None for item in self.items)
        kind = "none" if left_out == asked else "some" if left_out else "all"
        return str(UI["score"][kind].format(score=self.score, asked=asked, open=left_out))

    def __repr__(self) -> str:
        lines = [self.summary]
        _, predicted, measured, _ = UI["titles"]
        for item in self.items:
            lines += [
                f"{item.label}: {item.verdict}",
                f"  {predicted}: {item.predicted or OPEN}",
                f"  {measured}: {item.measured}",
                *([f"  {item.note}"] if item.note else []),
            ]
        return "\n".join(lines)

    def still(self) -> str:
        """The table."""
        return _TABLE.render(comparison=self, titles=UI["titles"], open=OPEN)

    def close(self) -> None:
        """Take it off the page and let go of its widgets."""
        for link in self._links:
            link.close()
        super().close()


# cell id -> (the run that made them, views). ipywidgets keeps every widget until it is closed, and
# so would a learner who runs a cell again and again.
_made: dict[str, tuple[str, list[QuestionView]]] = {}


def _close_earlier_run(view: QuestionView) -> None:
    cell, run = running_cell()
    if cell is None:
        return  # no notebook, or a front end that does not name its cells
    earlier, views = _made.get(cell, (run, []))
    if earlier != run:
        for old in views:
            old.close()
        views = []
    _made[cell] = (run, [*views, view])
