"""Predict, then run: questions asked before a cell runs, answered by what was measured.

    question = predict_received(["G", "D"], ["d_loss.backward()", "g_loss.backward()"])
    question                      # a small form; the learner clicks, or does not

    with record({"G": G, "D": D}) as rec:
        ...
    question.compare(rec)         # prediction and record side by side, here and in the form

No truth is written down: it comes from a record or another measured value. Who runs all cells at
once has predicted nothing and is shown what was measured; the form itself waits to be asked.

``if_wrong=`` gives a wrong answer a sentence of its own: what to look at, for who thought so.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from gan_lessons.classroom import scoring
from gan_lessons.classroom.question_view import OPEN, UI, Comparison, QuestionView
from gan_lessons.classroom.scoring import RECEIVED, Json
from gan_lessons.classroom.templating import template
from gan_lessons.lens.model import Record

_FORM = template("""\
<p><strong>{{ prompt }}</strong></p>
<ul>
{% for item in items %}
<li>{% if item.label != prompt %}{{ item.label }}: {% endif %}
{{ item.hint }}{% if answers[loop.index0] %} ◉ {{ answers[loop.index0] }}{% endif %}</li>
{% endfor %}
</ul>""")
_numbers = itertools.count(1)


class Question(QuestionView):
    """A form. ``inputs``: what is asked -> where it is answered.

    A program answers as a click does: ``question.inputs[key].value = ...``.
    """

    kind = "question"

    def __init__(
        self,
        prompt: str,
        asked: Mapping[Any, Json],
        options: Mapping[str, Any],
        if_wrong: Mapping[Any, Sequence[tuple[Any, str]]],
        **layout: Any,
    ) -> None:
        """asked: what is asked -> what is shown of it. if_wrong: for some of these, pairs of a
        wrong answer (as the form has it) and a sentence."""
        shown = {"prompt": prompt, "items": list(asked.values()), "ui": UI, **layout}
        group = f"question-{next(_numbers)}"  # ties the comparison to it in a page
        none = {"answers": [None] * len(asked), "votes": [{} for _ in asked]}
        super().__init__(group, data=shown, **none)
        self._if_wrong = [[list(pair) for pair in if_wrong.get(key, ())] for key in asked]
        self.prompt = prompt
        self.inputs = {key: Input(self, place, options) for place, key in enumerate(asked)}
        self.comparison: Comparison | None = None

    def predicted(self, key: Hashable) -> Any:
        """The prediction for ``key``, or None."""
        return self.inputs[key].value

    def still(self) -> str:
        """What is asked, and what could be answered; and how it compares, once that is known."""
        compared = "" if self.comparison is None else self.comparison.still()
        return _FORM.render(self.data, answers=self.answers) + compared

    def _settle(self, *measured: Json) -> Comparison:
        wrong = zip(measured, self._if_wrong, strict=True)
        self.measured = [truth | ({"if_wrong": told} if told else {}) for truth, told in wrong]
        # A class that has not answered yet still sees the form: it shows the truth when asked to.
        self.shown = self.shown or any(self.answers) or any(self.votes)
        self.comparison = Comparison(self)
        return self.comparison

    def __repr__(self) -> str:
        if self.comparison is not None:
            return f"{self.prompt}\n{self.comparison}"
        items = self.data["items"]
        lines = [f"{self.prompt} ({items[0]['hint']})"]
        for item, answer in zip(items, self.answers, strict=True):
            told = scoring.in_unit(answer, item["unit"]) if answer else OPEN
            lines.append(f"  {item['label']}: {told}" if len(items) > 1 else f"  {told}")
        return "\n".join(lines)


class Input:
    """Where one thing is answered. ``options``: text -> value; without any, the text counts."""

    def __init__(self, question: Question, place: int, options: Mapping[str, Any]) -> None:
        self._question, self._place, self._options = question, place, options

    @property
    def value(self) -> Any:
        text = self._question.answers[self._place]
        return text if text is None else self._options.get(text, text)

    @value.setter
    def value(self, value: Any) -> None:
        texts = {stands_for: text for text, stands_for in self._options.items()}
        if texts and value not in (*texts, None):
            raise ValueError(f"{value!r} is no answer here; choose among {list(texts)}, or None")
        answers = list(self._question.answers)
        answers[self._place] = texts.get(value, value)
        self._question.answers = answers


class ReceivedQuestion(Question):
    """Ask whether each net receives gradient in each backward call of a step.

    nets: names as in ``record(nets)``; a mapping may add a title to each, ``{"G": "generator"}``.
    calls: the backward calls in order, as the learner reads them, ``"d_loss.backward()"``.
    if_wrong: (net, number of the call) -> a sentence for who is wrong there.
    ``inputs``: (net, number of the call) -> an Input, True for "receives". Raises TypeError or
    ValueError for names that are no texts, for none at all, or a sentence for what is not asked.
    """

    def __init__(
        self,
        nets: Mapping[str, object] | Iterable[str],
        calls: Iterable[str],
        *,
        if_wrong: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        names, self.calls = _texts("nets", nets, distinct=True), _texts("calls", calls)
        given = nets if isinstance(nets, Mapping) else {}
        self.nets = {net: t if isinstance(t := given.get(net), str) else "" for net in names}
        label, number = "{net} in call {number}, {source}", "call {number}"
        asked = {
            (net, call): _item(label.format(net=net, number=call, source=source), RECEIVED.values())
            for call, source in enumerate(self.calls)
            for net in names
        }
        rows = [[number.format(number=call), source] for call, source in enumerate(self.calls)]
        told = _known("if_wrong", if_wrong, asked)
        super().__init__(
            "Predict: does this net receive gradient in this backward call?",
            asked,
            {text: received for received, text in RECEIVED.items()},
            {key: [(text, told[key]) for text in RECEIVED.values()] for key in told},
            grid={"columns": list(self.nets.items()), "rows": rows},
        )

    def compare(self, record: Record) -> Comparison:
        """Set the predictions beside a complete ``record``, here and in the form.

        Raises TypeError or ValueError where the record cannot answer: another number of backward
        calls, a net that was not recorded, or a recording that is not over.
        """
        scoring.check_fits(record, list(self.nets), len(self.calls))
        truth = scoring.received_truth
        return self._settle(*(truth(record, net, n, self.calls[n]) for net, n in self.inputs))


class ChoiceQuestion(Question):
    """Ask for one of several options, each standing for a value that can be measured.

    options: texts, or text -> the value it stands for. if_wrong: text of an option -> a sentence
    for who chose it and is wrong. Raises TypeError or ValueError for fewer than two options, for
    two that stand for the same value, or a sentence for what is no option.
    """

    def __init__(
        self,
        question: str,
        options: Mapping[str, Any] | Iterable[str],
        *,
        if_wrong: Mapping[str, str] | None = None,
    ) -> None:
        texts = _texts("options", options, distinct=True)
        if len(texts) < 2:
            raise ValueError(f"a choice needs at least two options, got {len(texts)}")
        same = dict(zip(texts, texts, strict=True))
        self.options = dict(options) if isinstance(options, Mapping) else same
        values = list(self.options.values())
        if any(value in values[:i] for i, value in enumerate(values)):
            raise ValueError(f"two options stand for the same value: {values}; join them into one")
        told = list(_known("if_wrong", if_wrong, same).items())
        super().__init__(question, {question: _item(question, texts)}, same, {question: told})

    def compare(self, truth: Any) -> Comparison:
        """Set the prediction beside ``truth``: a measured value, or a function that measures it.

        Raises ValueError if it is the value of none of the options.
        """
        value = scoring.plain(truth() if callable(truth) else truth)
        measured = next((text for text, option in self.options.items() if option == value), None)
        if measured is None:
            raise ValueError(
                f"{value!r} was measured, which is none of the options "
                f"{list(self.options.values())}; offer it as an option too"
            )
        return self._settle({"option": measured, "measured": measured, "note": ""})


class NumberQuestion(Question):
    """Ask for a number; ``unit`` is shown beside it.

    if_wrong: a number -> a sentence for who gave it and is wrong. Raises TypeError or ValueError
    for what is no finite number there.
    """

    def __init__(
        self, question: str, unit: str = "", *, if_wrong: Mapping[float, str] | None = None
    ) -> None:
        self.unit = unit
        hint = "a number, in {unit}".format(unit=unit) if unit else "a number"
        told = [(scoring.finite("if_wrong", n), text) for n, text in (if_wrong or {}).items()]
        asked = {question: _item(question, hint=hint, unit=unit)}
        super().__init__(question, asked, {}, {question: told})

    def predicted(self, key: Hashable) -> float | None:
        """The number that was typed in; None if there is none, or it cannot be read."""
        return scoring.read_number(self.inputs[key].value or "")

    def compare(self, value: Any, tolerance: float = 0.0) -> Comparison:
        """Set the prediction beside ``value``: a measured number, or a function that measures it.

        It is right if it is off by ``tolerance`` at most; both are in ``unit``.
        Raises TypeError for what is no number, ValueError for one that is not finite.
        """
        truth = scoring.finite("value", value() if callable(value) else value)
        allowed = scoring.checked_tolerance(tolerance)
        told = scoring.in_unit(scoring.number_text(truth), self.unit)
        return self._settle(
            {"number": truth, "tolerance": allowed, "unit": self.unit, "measured": told}
        )


predict_received, predict_choice, predict_number = ReceivedQuestion, ChoiceQuestion, NumberQuestion


def _item(label: str, options: Iterable[str] = (), hint: str = "", unit: str = "") -> Json:
    texts = list(options)
    return {"label": label, "hint": hint or " / ".join(texts), "options": texts, "unit": unit}


def _known(what: str, given: Mapping[Any, str] | None, asked: Iterable[Any]) -> dict[Any, str]:
    """``given`` as a dict. Raises ValueError for a key that is not among ``asked``."""
    keys = list(asked)
    if unknown := [key for key in given or {} if key not in keys]:
        raise ValueError(f"{what} names {unknown[0]!r}, which is not asked; choose among {keys}")
    return dict(given or {})


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
