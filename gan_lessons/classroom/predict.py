"""Predict, then run: questions asked before a cell runs, answered by what was measured.

    question = predict_received(["G", "D"], ["d_loss.backward()", "g_loss.backward()"])
    question                      # a small form; the learner clicks, or does not

    with record({"G": G, "D": D}) as rec:
        ...
    question.compare(rec)         # prediction and record side by side, here and in the form

No truth is written down: it comes from a record or another measured value. Who runs all cells at
once has predicted nothing and is shown what was measured. The widgets hold the only state and
nothing listens to them: a click runs no code of ours, whatever thread it lands in.
"""

from __future__ import annotations

import html
import itertools
import math
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from gan_lessons.classroom import words
from gan_lessons.classroom.forms import Asked, question_html
from gan_lessons.classroom.scoring import (
    Comparison,
    Item,
    bordered,
    check_fits,
    checked_tolerance,
    finite,
    number_text,
    plain,
    received_item,
)
from gan_lessons.lens.model import Record


def predict_received(
    nets: Mapping[str, object] | Iterable[str], calls: Iterable[str]
) -> ReceivedQuestion:
    """Ask whether each net receives gradient in each backward call of a step.

    nets: names as in ``record(nets)``; a mapping may add a title to each, ``{"G": "generator"}``.
    calls: the backward calls in order, as the learner reads them, ``"d_loss.backward()"``.
    ``.compare(rec)`` sets the answers beside a record. Raises TypeError or ValueError for names
    that are no texts, or for none at all.
    """
    names = _texts("nets", nets, distinct=True)
    given = nets if isinstance(nets, Mapping) else {}
    titles = {net: t if isinstance(t := given.get(net), str) else "" for net in names}
    return ReceivedQuestion(titles, _texts("calls", calls))


def predict_choice(question: str, options: Mapping[str, Any] | Iterable[str]) -> ChoiceQuestion:
    """Ask for one of several options. ``.compare(truth)`` tells which one was measured.

    options: texts, or text -> the value it stands for. Raises TypeError or ValueError for fewer
    than two options, or for two that stand for the same value.
    """
    labels = _texts("options", options, distinct=True)
    if len(labels) < 2:
        raise ValueError(f"a choice needs at least two options, got {len(labels)}")
    values = (
        dict(options) if isinstance(options, Mapping) else dict(zip(labels, labels, strict=True))
    )
    listed = list(values.values())
    if any(value in listed[:i] for i, value in enumerate(listed)):
        raise ValueError(f"two options stand for the same value: {listed}; join them into one")
    return ChoiceQuestion(question, values)


def predict_number(question: str, unit: str = "") -> NumberQuestion:
    """Ask for a number. ``.compare(value, tolerance)`` sets a measured one beside it."""
    return NumberQuestion(question, unit)


_numbers = itertools.count(1)


class Question:
    """A form in a notebook. ``inputs``: what is asked -> the widget that holds the prediction.

    A program answers as a click does: ``question.inputs[key].value = ...``. ``widget`` is the whole
    form. When a cell runs again, the forms that its earlier run asked are closed.
    """

    def __init__(self, prompt: str, inputs: Mapping[Any, Any], labels: Mapping[Any, str]) -> None:
        import ipywidgets  # here, so that the package can be imported without it

        self.prompt = prompt
        self.inputs = dict(inputs)
        self.comparison: Comparison | None = None
        self.name = f"q{next(_numbers)}"  # ties the comparison to the question in a page
        self._labels = dict(labels)
        self._verdicts = {key: ipywidgets.HTML() for key in self.inputs}
        self._summary = ipywidgets.HTML()
        title = ipywidgets.HTML(f"{_STYLE}<strong>{html.escape(prompt)}</strong>")
        self.widget = ipywidgets.VBox([title, self._form(), self._summary])
        self.widget.add_class("gl-question")
        _close_earlier_run(self)

    def predicted(self, key: Hashable) -> Any:
        """The prediction for ``key``, or None."""
        return self.inputs[key].value

    def close(self) -> None:
        """Take the form off the page and let go of its widgets."""
        _close(self.widget)

    def _form(self) -> Any:
        import ipywidgets

        pairs = [(self.inputs[key], self._verdicts[key]) for key in self.inputs]
        return ipywidgets.VBox([widget for pair in pairs for widget in pair])

    def _hint(self) -> str:
        """What can be answered."""
        raise NotImplementedError

    def _options(self) -> tuple[str, ...]:
        """The words for each answer that can be given; none for a number."""
        return ()

    def _answer(self, key: Hashable) -> str | None:
        """The prediction in words."""
        predicted = self.predicted(key)
        return None if predicted is None else str(predicted)

    def _settle(self, items: Mapping[Any, Item]) -> Comparison:
        self.comparison = Comparison(tuple(items.values()), self.name)
        for key, item in items.items():
            measured = words.MEASURED.format(measured=item.measured)
            lines = [item.verdict, measured, item.note] if item.note else [item.verdict, measured]
            body = "<br>".join(html.escape(line) for line in lines)
            self._verdicts[key].value = bordered(item.right, body)
        if len(items) > 1:
            self._summary.value = f"<strong>{html.escape(self.comparison.summary)}</strong>"
        return self.comparison

    def __repr__(self) -> str:
        if self.comparison is not None:
            return f"{self.prompt}\n{self.comparison}"
        lines = [f"{self.prompt} ({self._hint()})"]
        for key, label in self._labels.items():
            answer = self._answer(key) or words.OPEN
            lines.append(f"  {answer}" if label == self.prompt else f"  {label}: {answer}")
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        # The form for a live notebook, the HTML for a page that is exported from it.
        text = repr(self)
        if self.comparison is not None:
            page = f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'
        else:
            page = question_html(self.name, self.prompt, self._asked())
        return {**self.widget._repr_mimebundle_(), "text/html": page, "text/plain": text}

    def _asked(self) -> list[Asked]:
        unit = getattr(self, "unit", "")
        return [
            Asked(label, self._hint(), self._options(), unit, self._answer(key))
            for key, label in self._labels.items()
        ]


class ReceivedQuestion(Question):
    """Does each net receive gradient in each backward call? ``inputs``: (net, call) -> widget."""

    def __init__(self, nets: Mapping[str, str], calls: Sequence[str]) -> None:
        self.nets, self.calls = dict(nets), tuple(calls)
        keys = [(net, call) for call in range(len(calls)) for net in nets]
        labels = {
            (net, call): words.RECEIVED_ITEM.format(net=net, number=call, source=calls[call])
            for net, call in keys
        }
        inputs = {(net, call): _yes_no(net, call) for net, call in keys}
        super().__init__(words.RECEIVED_PROMPT, inputs, labels)

    def compare(self, record: Record) -> Comparison:
        """Set the predictions beside a complete ``record``, here and in the form.

        Raises TypeError or ValueError where the record cannot answer: another number of backward
        calls, a net that was not recorded, or a recording that is not over.
        """
        check_fits(record, list(self.nets), len(self.calls))
        return self._settle(
            {
                (net, call): received_item(record, net, call, label, self.predicted((net, call)))
                for (net, call), label in self._labels.items()
            }
        )

    def _answer(self, key: Hashable) -> str | None:
        predicted = self.predicted(key)
        return None if predicted is None else " ".join(words.RECEIVED[predicted])

    def _options(self) -> tuple[str, ...]:
        return tuple(" ".join(text) for text in words.RECEIVED.values())

    def _hint(self) -> str:
        return " / ".join(self._options())

    def _form(self) -> Any:
        import ipywidgets

        cells = [ipywidgets.HTML(html.escape(words.RECEIVED_NET))]
        for call, source in enumerate(self.calls):
            name = html.escape(words.RECEIVED_CALL.format(number=call))
            cells.append(ipywidgets.HTML(f"{name}<br><code>{html.escape(source)}</code>"))
        for net, title in self.nets.items():
            text = f"<strong>{html.escape(net)}</strong> {html.escape(title)}"
            cells.append(ipywidgets.HTML(text))
            for call in range(len(self.calls)):
                pair = [self.inputs[net, call], self._verdicts[net, call]]
                cells.append(ipywidgets.VBox(pair))
        columns = f"max-content repeat({len(self.calls)}, minmax(13em, max-content))"
        layout = ipywidgets.Layout(grid_template_columns=columns, grid_gap="4px 24px")
        return ipywidgets.GridBox(cells, layout=layout)


class ChoiceQuestion(Question):
    """One of several options, each standing for a value that can be measured."""

    def __init__(self, question: str, options: Mapping[str, Any]) -> None:
        import ipywidgets

        self.options = dict(options)
        choice = ipywidgets.ToggleButtons(options=list(options), value=None)
        choice.style.button_width = "auto"
        super().__init__(question, {question: choice}, {question: question})

    def compare(self, truth: Any) -> Comparison:
        """Set the prediction beside ``truth``: a measured value, or a function that measures it.

        Raises ValueError if it is the value of none of the options.
        """
        value = plain(truth() if callable(truth) else truth)
        measured = next((label for label, option in self.options.items() if option == value), None)
        if measured is None:
            raise ValueError(
                f"{value!r} was measured, which is none of the options "
                f"{list(self.options.values())}; offer it as an option too"
            )
        answer = self.predicted(self.prompt)
        right = None if answer is None else answer == measured
        item = Item(self.prompt, answer, measured, right, truth=measured)
        return self._settle({self.prompt: item})

    def _options(self) -> tuple[str, ...]:
        return tuple(self.options)

    def _hint(self) -> str:
        return " / ".join(self.options)


class NumberQuestion(Question):
    """A number, typed in; ``unit`` is shown beside it."""

    def __init__(self, question: str, unit: str = "") -> None:
        import ipywidgets

        self.unit = unit
        entry = ipywidgets.Text(
            description=self._hint(),
            style={"description_width": "initial"},
        )
        super().__init__(question, {question: entry}, {question: question})

    def predicted(self, key: Hashable) -> float | None:
        """The number that was typed in; None if there is none, or it cannot be read."""
        try:
            number = float(self.inputs[key].value.replace("−", "-"))
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    def compare(self, value: Any, tolerance: float = 0.0) -> Comparison:
        """Set the prediction beside ``value``: a measured number, or a function that measures it.

        It is right if it is off by ``tolerance`` at most; both are in ``unit``.
        Raises TypeError for what is no number, ValueError for one that is not finite.
        """
        truth = finite("value", value() if callable(value) else value)
        allowed = checked_tolerance(tolerance)
        answer = self.predicted(self.prompt)
        right = None if answer is None else abs(answer - truth) <= allowed
        note = self._note(answer, truth, allowed)
        item = Item(
            self.prompt,
            self._answer(self.prompt),
            self._in_unit(truth),
            right,
            note,
            number=(truth, allowed),
            unit=self.unit,
        )
        return self._settle({self.prompt: item})

    def _hint(self) -> str:
        return (words.NUMBER_IN if self.unit else words.NUMBER).format(unit=self.unit)

    def _note(self, answer: float | None, truth: float, allowed: float) -> str:
        if answer is None:
            text = self.inputs[self.prompt].value.strip()
            return words.NUMBER_UNREADABLE.format(text=text) if text else ""
        off = abs(answer - truth)
        values = {"difference": self._in_unit(off), "tolerance": self._in_unit(allowed)}
        return words.NUMBER_OFF.format(**values) if off else ""

    def _answer(self, key: Hashable) -> str | None:
        answer = self.predicted(key)
        return None if answer is None else self._in_unit(answer)

    def _in_unit(self, number: float) -> str:
        return words.NUMBER_WITH_UNIT.format(number=number_text(number), unit=self.unit).strip()


# Widgets ------------------------------------------------------------------------------------------

# JupyterLab gives the chosen button another shade only, so it gets a symbol too. What stands behind
# the slash is for screen readers; a browser that does not know it keeps the value before.
_STYLE = f"""<style>
.gl-question .jupyter-button.mod-active {{ font-weight: 600; }}
.gl-question .jupyter-button.mod-active::before {{
  content: "{words.CHOSEN} "; content: "{words.CHOSEN} " / "{words.CHOSEN_MEANS} "; }}
.gl-question .jupyter-button:focus-visible {{
  outline: 2px solid var(--jp-brand-color1, Highlight); outline-offset: -2px; }}
.gl-question .widget-html-content {{ line-height: 1.4; }}
</style>"""


def _yes_no(net: str, call: int) -> Any:
    """Two buttons, none of them chosen; each says in full what it stands for."""
    import ipywidgets

    buttons = ipywidgets.ToggleButtons(
        options=[(" ".join(text), received) for received, text in words.RECEIVED.items()],
        value=None,
        tooltips=[words.RECEIVED_TOOLTIP[r].format(net=net, number=call) for r in words.RECEIVED],
    )
    buttons.style.button_width = "6em"
    return buttons


def _close(widget: Any) -> None:
    """Close a widget with all that it is made of; ipywidgets closes the outermost alone."""
    for child in getattr(widget, "children", ()):
        _close(child)
    for part in (widget.layout, getattr(widget, "style", None), widget):
        if part is not None:
            part.close()


# cell id -> (the run that asked, what it asked). ipywidgets keeps every widget until it is closed,
# and so would a learner who runs a cell again and again.
_asked: dict[str, tuple[str, list[Question]]] = {}


def _close_earlier_run(question: Question) -> None:
    cell, run = _running_cell()
    if cell is None:
        return  # no notebook, or a front end that does not name its cells
    earlier, questions = _asked.get(cell, (run, []))
    if earlier != run:
        for old in questions:
            old.close()
        questions = []
    _asked[cell] = (run, [*questions, question])


def _running_cell() -> tuple[str | None, str]:
    """(id of the notebook cell that is running, id of this run of it)."""
    if "IPython" not in sys.modules:
        return None, ""
    parent_of = getattr(sys.modules["IPython"].get_ipython(), "get_parent", None)
    parent = parent_of() if parent_of is not None else None
    if not parent:
        return None, ""
    return parent.get("metadata", {}).get("cellId"), str(parent["header"]["msg_id"])


# Arguments ----------------------------------------------------------------------------------------


def _texts(what: str, given: Iterable[str], *, distinct: bool = False) -> list[str]:
    """A list of texts. Raises TypeError for anything else, ValueError if it is empty."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"{what} must be a list of texts, got {given!r}; put it into a list")
    texts = list(given)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise TypeError(f"{what} must be texts, got {wrong[0]!r}")
    if not texts:
        raise ValueError(f"{what} is empty; name at least one")
    if distinct and len(set(texts)) < len(texts):
        raise ValueError(f"{what} names something twice: {texts}; leave one of them out")
    return texts
