"""Questions to predict: scored against records, shown in forms, closed again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from ipywidgets.widgets.widget import _instances as living_widgets
from torch import nn

from gan_lessons import STRATEGIES, published, step_retain_graph, tiny_gan
from gan_lessons.classroom import predict_choice, predict_number, predict_received, question_view
from gan_lessons.classroom.scoring import read_number
from gan_lessons.lens.record import record

NOTHING = "No prediction was made; this is what was measured."
CALLS = ["d_loss.backward(retain_graph=True)", "g_loss.backward()"]


def record_of(step):
    gan = tiny_gan()
    nets = {"G": gan.generator, "D": gan.discriminator}
    with record(nets, {"opt_g": gan.optimizer_g, "opt_d": gan.optimizer_d}) as rec:
        step(gan, torch.rand(4, 2), torch.randn(4, 2))
    return rec


@pytest.fixture
def rec():
    return record_of(step_retain_graph)


@pytest.fixture
def question():
    asked = predict_received({"G": "generator", "D": "discriminator"}, CALLS)
    yield asked
    asked.close()


def verdicts(question):
    """What the form has to show beside each answer, once it was compared."""
    if not question.measured:
        return [""] * len(question.inputs)
    return [f"{i.verdict} Measured: {i.measured} {i.note}" for i in question.comparison.items]


# Who receives? ------------------------------------------------------------------------------------


def test_run_all_without_an_answer_shows_what_was_measured(question, rec):
    comparison = question.compare(rec)
    assert comparison.score == 0
    assert comparison.summary == NOTHING
    assert [item.predicted for item in comparison.items] == [None] * 4
    assert {item.measured for item in comparison.items} == {"∇ yes: all 4 parameters"}
    assert NOTHING in str(comparison)
    assert NOTHING in comparison.to_html()


# Known from the code of the steps: whom the first and the second backward call reach.
REACHED = {
    "retain_graph": {("G", 0): True, ("D", 0): True, ("G", 1): True, ("D", 1): True},
    "detach": {("G", 0): False, ("D", 0): True, ("G", 1): True, ("D", 1): True},
    "generator_first": {("G", 0): True, ("D", 0): True, ("G", 1): False, ("D", 1): True},
}


@pytest.mark.parametrize("name", REACHED)
def test_scores_against_the_record(name, question):
    rec = record_of(STRATEGIES[name].step)
    for key, truth in REACHED[name].items():
        question.inputs[key].value = truth
    assert question.compare(rec).score == 4
    for key, truth in REACHED[name].items():
        question.inputs[key].value = not truth
    assert question.compare(rec).score == 0


def test_some_answers_left_out(question, rec):
    question.inputs["G", 0].value = False
    question.inputs["D", 1].value = True
    comparison = question.compare(rec)
    assert comparison.summary == "1 of 4 as predicted, 2 not predicted."
    assert [item.right for item in comparison.items] == [False, None, None, True]


def test_wrong_cells_tell_what_became_of_the_gradient(question, rec):
    question.inputs["G", 0].value = False
    question.inputs["G", 1].value = False
    items = question.compare(rec).items
    notes = [item.note for item in items]
    assert notes == ["No optimizer step used it.", "", "The opt_g step used it.", ""]


def test_the_form_shows_the_comparison_where_the_learner_answered(question, rec):
    assert verdicts(question) == [""] * 4
    question.inputs["G", 0].value = False
    question.compare(rec)
    assert "≠ not as predicted" in verdicts(question)[0]
    assert "Measured: ∇ yes: all 4 parameters" in verdicts(question)[0]
    question.inputs["G", 0].value = True  # after "Run All": answer, compare again
    question.compare(rec)
    assert "✓ as predicted" in verdicts(question)[0]
    assert "1 of 4 as predicted, 3 not predicted." in question.still()
    assert question.shown


def test_names_the_parameters_where_only_some_receive():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with record({"net": net}) as rec:
        net(torch.ones(1, 2)).sum().backward(inputs=[net[0].bias, net[1].bias])
    (item,) = predict_received(["net"], ["backward"]).compare(rec).items
    assert item.measured == "∇ yes: 2 of 4 parameters: 0.bias, 1.bias"


def test_any_number_of_nets_and_calls():
    nets = {name: nn.Linear(1, 1, bias=False) for name in "ABC"}
    with record(nets) as rec:
        for net in nets.values():
            net(torch.ones(1, 1)).sum().backward()
    asked = predict_received(nets, ["first", "second", "third"])
    for net, call in asked.inputs:
        asked.inputs[net, call].value = "ABC".index(net) == call
    comparison = asked.compare(rec)
    assert comparison.score == 9
    assert {i.measured.partition(": ")[2] for i in comparison.items} == {
        "its only parameter",
        "none, it has one parameter",
    }


def test_tells_the_line_that_ran_if_the_question_showed_another(rec):
    asked = predict_received(["G", "D"], ["first", "second"])
    asked.inputs["D", 1].value = False
    note = asked.compare(rec).items[3].note
    assert note == "The line that ran: g_loss.backward() No optimizer step used it."


def test_a_record_with_another_number_of_calls(question):
    with record({"G": nn.Linear(1, 1), "D": nn.Linear(1, 1)}) as empty:
        pass
    with pytest.raises(ValueError, match="asks about 2 backward calls, the record holds 0"):
        question.compare(empty)
    assert verdicts(question) == [""] * 4


def test_a_record_that_ends_in_an_error():
    asked = predict_received(["G", "D"], ["d_loss.backward()"])
    gan = tiny_gan()
    nets = {"G": gan.generator, "D": gan.discriminator}
    with pytest.raises(RuntimeError), record(nets) as rec:
        published.detach_as_printed(gan, torch.rand(4, 2), torch.randn(4, 2))
    with pytest.raises(ValueError, match=r"holds 2\. The code raised RuntimeError: Trying to"):
        asked.compare(rec)


def test_a_record_that_cannot_answer(question, rec):
    with pytest.raises(ValueError, match="asks about H, the record holds G, D"):
        predict_received(["G", "H"], CALLS).compare(rec)
    rec.complete = False
    with pytest.raises(ValueError, match="not over"):
        question.compare(rec)
    with pytest.raises(TypeError, match="expected the record"):
        question.compare({"G": True})


@pytest.mark.parametrize(
    ("nets", "calls", "error"),
    [
        ("G", CALLS, TypeError),
        (["G"], "backward", TypeError),
        (["G"], [1], TypeError),
        (["G"], None, TypeError),
        ([], CALLS, ValueError),
        (["G"], [], ValueError),
        (["G", "G"], CALLS, ValueError),
    ],
)
def test_refuses_bad_arguments(nets, calls, error):
    with pytest.raises(error, match=r"nets|calls"):
        predict_received(nets, calls)


def test_reads_well_without_a_front_end(question, rec):
    question.inputs["D", 0].value = True
    assert repr(question).splitlines() == [
        "Predict: does this net receive gradient in this backward call? (∇ yes / – no)",
        "  G in call 0, d_loss.backward(retain_graph=True): ?",
        "  D in call 0, d_loss.backward(retain_graph=True): ∇ yes",
        "  G in call 1, g_loss.backward(): ?",
        "  D in call 1, g_loss.backward(): ?",
    ]
    comparison = question.compare(rec)
    assert repr(question).endswith(str(comparison))
    bundle, _ = question._repr_mimebundle_(include=None, exclude=None)
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == repr(question)
    assert "1 of 4 as predicted, 3 not predicted." in bundle["text/html"]


def test_names_are_no_markup():
    net = nn.Linear(1, 1)
    with record({"<b>": net}) as rec:
        net(torch.ones(1, 1)).sum().backward()
    asked = predict_received(["<b>"], ["<i>"])
    asked.inputs["<b>", 0].value = False
    asked_for = asked.to_html()
    shown = asked_for + asked.compare(rec).to_html() + asked._repr_mimebundle_()[0]["text/html"]
    assert "<b>" not in shown
    assert "<i>" not in shown


def test_running_a_cell_again_closes_what_it_asked_before(monkeypatch):
    before = len(living_widgets)
    monkeypatch.setattr(question_view, "_made", {})
    monkeypatch.setattr(question_view, "running_cell", lambda: ("cell", "first run"))
    predict_received(["G"], CALLS)
    predict_number("How many?").compare(3)
    both = len(living_widgets)
    monkeypatch.setattr(question_view, "running_cell", lambda: ("other cell", "second run"))
    other = predict_choice("Which?", ["G", "D"])
    with_other = len(living_widgets)
    assert before < both < with_other
    for run in ("third run", "fourth run"):
        monkeypatch.setattr(question_view, "running_cell", lambda run=run: ("cell", run))
        predict_received(["G"], CALLS)
        predict_number("How many?").compare(3)
        assert len(living_widgets) == with_other
    for made in question_view._made["cell"][1]:
        made.close()
    other.close()
    assert len(living_widgets) == before


# A choice, a number -------------------------------------------------------------------------------


def test_choice():
    asked = predict_choice("Which costs more?", {"S1": 1.0, "S3": 2.0, "the same": 0.0})
    assert repr(asked) == "Which costs more? (S1 / S3 / the same)\n  ?"
    assert asked.compare(2.0).summary == NOTHING
    (widget,) = asked.inputs.values()
    widget.value = "S3"
    assert asked.compare(lambda: torch.tensor(2.0)).score == 1
    comparison = asked.compare(1.0)
    assert (comparison.score, comparison.items[0].measured) == (0, "S1")
    with pytest.raises(ValueError, match="none of the options"):
        asked.compare(3.0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["G"], ValueError),
        ([], ValueError),
        (["G", "G"], ValueError),
        ({"one": 1, "uno": 1}, ValueError),
        ("GD", TypeError),
        ([1, 2], TypeError),
    ],
)
def test_choice_refuses_bad_options(options, error):
    with pytest.raises(error):
        predict_choice("Which?", options)


@pytest.mark.parametrize(
    ("typed", "right"),
    [("3", True), (" 3.1 ", True), ("2.875", True), ("3.2", False), ("−3", False), ("1e400", None)],
)
def test_number(typed, right):
    asked = predict_number("How long?", unit="ms")
    assert repr(asked) == "How long? (a number, in ms)\n  ?"
    asked.inputs["How long?"].value = typed
    (item,) = asked.compare(lambda: torch.tensor(3.0), tolerance=0.125).items
    assert item.right is right
    assert item.measured == "3 ms"


# Typed, and the number that it is; null: it is none. The front end is held to the same list.
NUMBERS = json.loads(Path(__file__).with_name("numbers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("typed", "number"), NUMBERS.items())
def test_numbers_are_read_as_people_write_them(typed, number):
    assert read_number(typed) == number
    asked = predict_number("How many?")
    (entry,) = asked.inputs.values()
    entry.value = typed
    assert asked.predicted("How many?") == number
    right = None if number is None else True
    assert asked.compare(number or 0).items[0].right is right


def test_off_by_says_what_would_have_counted():
    asked = predict_number("How long?", unit="ms")
    asked.inputs["How long?"].value = "3"
    assert asked.compare(4, 0.5).items[0].note == "Off by 1 ms; up to 0.5 ms counts as predicted."
    assert asked.compare(4).items[0].note == "Off by 1 ms."


# A sentence for a wrong answer --------------------------------------------------------------------


def test_a_wrong_choice_gets_its_own_sentence():
    said = {"S1": "S1 runs D once less.", "S3": "S3 runs the same lines as S2."}
    asked = predict_choice("Which costs least?", ["S1", "S2", "S3"], if_wrong=said)
    (entry,) = asked.inputs.values()
    notes: dict[str | None, str] = {}
    for answer in ("S1", "S2", "S3", None):
        entry.value = answer
        notes[answer] = asked.compare("S2").items[0].note
    assert notes == said | {"S2": "", None: ""}
    entry.value = "S3"
    assert said["S3"] in asked.compare("S2").to_html()
    assert asked.compare("S3").items[0].note == ""  # what is right is not reproached


def test_a_wrong_number_gets_its_own_sentence():
    asked = predict_number("a.grad?", if_wrong={3: "b + 1: both ways count."})
    (entry,) = asked.inputs.values()
    entry.value = "3,0"
    assert asked.compare(4).items[0].note == "Off by 1. b + 1: both ways count."
    assert asked.compare(3).items[0].note == ""
    entry.value = "2"
    assert asked.compare(4).items[0].note == "Off by 2."


def test_who_is_wrong_about_a_net_gets_the_sentence_of_that_call(rec):
    asked = predict_received(["G", "D"], CALLS, if_wrong={("G", 0): "A loss belongs to nobody."})
    for answer, note in (
        (False, "No optimizer step used it. A loss belongs to nobody."),
        (True, ""),
    ):
        asked.inputs["G", 0].value = answer
        assert asked.compare(rec).items[0].note == note


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: predict_choice("Which?", ["G", "D"], if_wrong={"H": "no"}), ValueError),
        (lambda: predict_received(["G"], CALLS, if_wrong={("D", 0): "no"}), ValueError),
        (lambda: predict_number("How many?", if_wrong={True: "no"}), TypeError),
        (lambda: predict_number("How many?", if_wrong={math.inf: "no"}), ValueError),
    ],
)
def test_a_sentence_for_what_is_not_asked_is_refused(ask, error):
    with pytest.raises(error, match="if_wrong"):
        ask()


def test_the_form_waits_for_who_has_predicted_nothing(question, rec):
    question.compare(rec)
    assert not question.shown
    question.inputs["G", 0].value = True
    question.compare(rec)
    assert question.shown


def test_what_a_class_voted_is_known_here(question, rec):
    """The front end sends the counts; the comparison starts from them."""
    question.set_state({"votes": [{"∇ yes": 2, "– no": 1}, {}, {}, {}]})
    comparison = question.compare(rec)
    assert question.shown
    assert comparison.votes[0] == {"∇ yes": 2, "– no": 1}
    assert comparison.summary == NOTHING  # a vote of the class is nobody's prediction


def test_an_answer_that_cannot_be_given_is_refused(question):
    with pytest.raises(ValueError, match="is no answer here"):
        question.inputs["G", 0].value = "perhaps"
    question.inputs["G", 0].value = True
    question.inputs["G", 0].value = None
    assert question.predicted(("G", 0)) is None


def test_what_was_clicked_is_known_here(question):
    """The front end sends the texts of the buttons; this is how they arrive."""
    question.set_state({"answers": ["– no", None, "∇ yes", None]})
    assert [question.predicted(key) for key in question.inputs] == [False, None, True, None]


def test_number_that_cannot_be_read_is_no_prediction():
    asked = predict_number("How many?")
    assert asked.compare(4).items[0].note == ""
    asked.inputs["How many?"].value = "four"
    comparison = asked.compare(4)
    assert comparison.summary == NOTHING
    assert comparison.items[0].note == "'four' is not a number, so it was not counted."
    asked.inputs["How many?"].value = "<b>4"
    assert "<b>" not in asked.compare(4).to_html() + asked.to_html()


@pytest.mark.parametrize(
    ("value", "tolerance", "error"),
    [
        ("3", 0, TypeError),
        (math.nan, 0, ValueError),
        (3, -1, ValueError),
        (3, math.inf, ValueError),
    ],
)
def test_number_needs_a_measurement(value, tolerance, error):
    with pytest.raises(error):
        predict_number("How many?").compare(value, tolerance)
