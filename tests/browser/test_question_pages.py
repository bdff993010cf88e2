"""Questions in a page that is opened from disk: judged there as they are judged in Python."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe

from gan_lessons import record, step_retain_graph, tiny_gan
from gan_lessons.classroom import check_value, predict_choice, predict_number, predict_received
from gan_lessons.classroom.page import module
from gan_lessons.classroom.question_view import UI
from gan_lessons.classroom.scoring import VERDICT, Item, Json, judged

pytestmark = pytest.mark.browser

CALLS = ["d_loss.backward(retain_graph=True)", "g_loss.backward()"]
NUMBERS = json.loads(Path(__file__).parents[1].joinpath("numbers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rec():
    gan = tiny_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step_retain_graph(gan, torch.rand(4, 2), torch.randn(4, 2))
    return rec


@pytest.fixture
def asked(rec):
    """A question as it was asked, its comparison without an answer, and the question to answer."""
    question = predict_received({"G": "generator", "D": "discriminator"}, CALLS)
    fragments = [question.to_html(), question.compare(rec).to_html()]
    return fragments, question


def call(page, name, *arguments):
    """What a function of the front end returns."""
    text = module("question.js").replace("export default {", f"return {{ {name}, ")
    return page.evaluate(f"all => (() => {{ {text} }})().{name}(...all)", list(arguments))


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def form_of(page):
    return page.locator("[data-gl-question]").first


def lines(item: Item) -> list[str]:
    """What the form shows below an answer, as Python has it."""
    verdict = [item.verdict, UI["measured"].format(measured=item.measured)]
    return [*verdict, item.note] if item.note else verdict


# As in Python -------------------------------------------------------------------------------------


def test_numbers_are_read_as_in_python(from_disk):
    page = from_disk("")
    found = {typed: call(page, "readNumber", typed, UI["number"]) for typed in NUMBERS}
    assert found == NUMBERS


TRUTHS: list[Json] = [
    {"option": "yes", "measured": "yes: all", "note": "Nobody used it."},
    {"option": "yes", "measured": "yes", "note": "Unused.", "if_wrong": [["no", "It is."]]},
    {"option": "yes", "measured": "yes", "note": "", "if_wrong": [["yes", "x"], ["no", "It is."]]},
    {"number": 4.0, "tolerance": 0.0, "unit": "", "measured": "4", "if_wrong": [[3.5, "Half."]]},
    {"option": "no", "measured": "no: none", "note": ""},
    *(
        {"number": number, "tolerance": tolerance, "unit": unit, "measured": "x"}
        for number, tolerance, unit in [(4.0, 0.0, ""), (3.5, 0.5, "ms"), (6815744.0, 1.0, "FLOPs")]
    ),
]
ANSWERS = [None, "", "yes", "no", "4", "3,5", " 4.0 ", "nobody knows", "6,815,744", "1/3", "3.3333"]


def test_answers_are_judged_as_in_python(from_disk):
    page = from_disk("")
    seen = set()
    for truth, answer in itertools.product(TRUTHS, ANSWERS):
        item = judged("x", answer, truth)
        found = call(page, "judged", answer, truth, UI)
        assert found == {"right": item.right, "note": item.note}, (answer, truth)
        seen.add(item.right)
    assert seen == {True, False, None}


@pytest.mark.parametrize(
    ("truth", "right", "wrong"),
    [
        ({"d_loss", "G.0"}, "{'G.0', 'd_loss'}", "d_loss"),
        (set(), "set()", "G"),
        (6815744, "6,815,744", "6,715,744"),
        (6815744, "6.81e6", "many"),  # three digits will do
        (0.25, "0,25", "0.26"),
        (True, "true", "False"),
        ("S1", "'S1'", "S2"),
    ],
)
def test_an_exercise_is_judged_by_what_its_solution_measured(from_disk, truth, right, wrong):
    check = check_value(truth, truth)
    page = from_disk(check._repr_mimebundle_()[0]["text/html"])
    measured = json.loads(page.locator("[data-gl-truth]").get_attribute("data-gl-truth"))
    assert call(page, "checked", right, measured) == [True, *check.messages]
    passed, told = call(page, "checked", wrong, measured)
    assert not passed
    assert told


def test_what_is_clicked_is_what_is_judged(from_disk, asked, rec):
    fragments, question = asked
    page = from_disk(*fragments)
    form, table = form_of(page), page.locator("[data-gl-answers]")
    assert texts(page, ".verdict:visible") == []
    assert "open" in (table.locator(".answers").get_attribute("class") or "").split()
    for place, answer in enumerate([False, None, True, True]):
        list(question.inputs.values())[place].value = answer
        if answer is not None:
            name = "∇ yes" if answer else "– no"
            form.locator(".item").nth(place).get_by_role("button", name=name).click()
    compared = question.compare(rec)
    form.get_by_role("button", name=UI["show"]).click()
    shown = [text.split("\n") for text in form.locator(".verdict").all_inner_texts()]
    assert shown == [lines(item) for item in compared.items]
    assert form.locator(".summary").inner_text() == compared.summary
    assert table.locator(".summary").inner_text() == compared.summary
    for row, item in zip(table.locator(".answers tbody tr").all(), compared.items, strict=True):
        assert row.locator("th").inner_text() == item.label
        assert row.locator(".predicted").inner_text() == (item.predicted or "?")
        measured = [item.measured, item.note] if item.note else [item.measured]
        assert row.locator(".measured").inner_text().split("\n") == measured
        assert row.locator(".verdict").inner_text() == item.verdict
    form.get_by_role("button", name=UI["hide"]).click()
    assert form.locator(".verdict:visible").count() == 0
    assert page.errors == []
    assert [url for url in page.asked if not url.startswith("file:")] == []


def test_a_number_with_thousands_is_right_in_the_page_too(from_disk):
    question = predict_number("How many FLOPs?", unit="FLOPs")
    page = from_disk(question.to_html(), question.compare(6815744).to_html())
    form = form_of(page)
    form.get_by_role("textbox").press_sequentially("6,815,744")
    form.get_by_role("button", name=UI["show"]).click()
    assert form.locator(".verdict strong").inner_text() == VERDICT[True]
    assert texts(page, ".answers .predicted") == ["6,815,744 FLOPs"]
    form.get_by_role("textbox").fill("6,815,743")
    assert form.locator(".verdict").inner_text().split("\n") == [
        VERDICT[False],
        "Measured: 6815744 FLOPs",
        "Off by 1 FLOPs.",
    ]


def test_two_questions_of_a_page_keep_apart(from_disk):
    first, second = (predict_choice(f"Which, {n}?", ["left", "right"]) for n in (1, 2))
    asked = [first.to_html(), second.to_html()]
    page = from_disk(*asked, first.compare("left").to_html(), second.compare("left").to_html())
    page.locator("[data-gl-question]").nth(1).get_by_role("button", name="right").click()
    assert texts(page, ".answers .verdict") == [VERDICT[None], VERDICT[False]]
    page.locator("[data-gl-question]").nth(0).get_by_role("button", name="left").click()
    assert texts(page, ".answers .verdict") == [VERDICT[True], VERDICT[False]]


def test_a_second_click_takes_an_answer_back(from_disk):
    question = predict_choice("Which?", ["left", "right"])
    page = from_disk(question.to_html(), question.compare("left").to_html())
    button = form_of(page).get_by_role("button", name="left")
    button.click()
    assert texts(page, "[data-gl-answers] .summary") == ["1 of 1 as predicted."]
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert texts(page, "[data-gl-answers] .summary") == [UI["score"]["none"]]


def test_predictions_made_before_the_export_are_there(from_disk, asked, rec):
    (form, _), question = asked
    question.inputs["G", 0].value = True
    page = from_disk(form, question.compare(rec).to_html())
    pressed = form_of(page).locator("[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["∇ yes"]
    assert texts(page, "[data-gl-answers] .summary") == ["1 of 4 as predicted, 3 not predicted."]


def reloaded(page):
    """The same page, loaded again in the same window."""
    page.reload()
    assert page.errors == []
    return page


def test_a_prediction_and_the_votes_survive_a_reload(from_disk, asked):
    fragments, _ = asked
    other = predict_number("How many calls?")
    fragments += [other.to_html(), other.compare(2).to_html()]
    slide = (
        '<div class="reveal"><section class="present">' + "".join(fragments) + "</section></div>"
    )
    page = from_disk(slide)
    form_of(page).get_by_role("button", name="– no").first.click()
    page.get_by_role("textbox").press_sequentially("3")
    form_of(page).get_by_role("button", name="– no").first.focus()
    for key in "1223":
        page.keyboard.press(key)
    before = texts(page, ".cast")
    assert before == ["Votes: 3", "Votes: 1", "", ""]
    page = reloaded(page)
    assert texts(page, "[aria-pressed=true]") == ["– no"]
    assert page.get_by_role("textbox").input_value() == "3"
    assert texts(page, ".cast") == before
    summaries = texts(page, "[data-gl-answers] .summary")
    assert summaries == ["0 of 4 as predicted, 3 not predicted.", "0 of 1 as predicted."]
    form_of(page).get_by_role("button", name="– no").first.click()  # taken back
    assert texts(reloaded(page), "[aria-pressed=true]") == []


REFUSED = "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('no') } })"


def test_a_page_from_disk_keeps_a_prediction_without_a_storage(from_disk, asked):
    """Chromium empties the storage of a page from disk in some reloads: a class lost its votes."""
    fragments, _ = asked
    page = from_disk(f"<script>{REFUSED}</script>", *fragments)
    form_of(page).get_by_role("button", name="– no").first.click()
    assert texts(page, "[aria-pressed=true]") == ["– no"]
    assert texts(reloaded(page), "[aria-pressed=true]") == ["– no"]
    form_of(page).get_by_role("button", name="– no").first.click()  # taken back
    assert texts(reloaded(page), "[aria-pressed=true]") == []


def test_where_nothing_may_be_kept_all_else_works(from_disk, asked):
    fragments, _ = asked
    page = from_disk(f"<script>{REFUSED}; window.name = 'frame'</script>", *fragments)
    form_of(page).get_by_role("button", name="– no").first.click()
    assert texts(page, "[aria-pressed=true]") == ["– no"]
    assert page.evaluate("window.name") == "frame"  # somebody else's name: not ours to write
    assert texts(reloaded(page), "[aria-pressed=true]") == []


def test_a_class_votes_by_keys_and_sees_bars_when_the_truth_is_shown(from_disk):
    first, second = (predict_choice(f"Which, {n}?", ["left", "right"]) for n in (1, 2))
    asked = [first.to_html(), second.to_html()]
    answers = [first.compare("left").to_html(), second.compare("right").to_html()]
    slide = (
        f'<section class="present">{"".join(asked)}</section><section>{"".join(answers)}</section>'
    )
    page = from_disk(f'<div class="reveal">{slide}</div>')
    form = form_of(page)
    for key in "1211345":  # 3 and 4 are the second question's, 5 is nobody's
        page.keyboard.press(key)
    assert texts(page, ".cast") == ["Votes: 4", "Votes: 2"]
    assert form.locator(".bar").count() == 0  # who votes sees no other vote
    form.get_by_role("button", name=UI["show"]).click()
    assert form.locator("button .count").all_inner_texts() == ["3", "1"]
    widths = form.locator("button .bar").evaluate_all("all => all.map(bar => bar.style.width)")
    assert widths == ["75%", "25%"]
    table = page.locator("[data-gl-answers] .answers").first
    assert table.locator(".votes .count").all_inner_texts() == ["left: 3", "right: 1"]
    assert not table.locator("td.predicted").is_visible()  # nobody has clicked
    form.get_by_role("button", name=UI["clear"]).click()
    assert texts(page, ".cast") == ["", "Votes: 2"]
    page.keyboard.press("0")
    assert texts(page, ".cast") == ["", ""]
    assert not table.locator("td.votes").is_visible()


def test_digits_are_no_votes_in_a_page_that_is_read(from_disk, asked):
    fragments, _ = asked
    page = from_disk(*fragments)
    form_of(page).get_by_role("button", name="– no").first.focus()
    page.keyboard.press("1")
    assert texts(page, ".cast") == [""] * 4
    assert texts(page, ".keys") == [""]


# For everybody ------------------------------------------------------------------------------------

HEARD = "document.body.addEventListener('keydown', e => (window.heard ??= []).push(e.key))"


def test_keys_that_are_not_ours_go_on_to_the_page(from_disk, asked):
    fragments, _ = asked
    number = predict_number("How many?")
    page = from_disk(*fragments, number.to_html())
    page.evaluate(HEARD)
    button = form_of(page).get_by_role("button", name="∇ yes").first
    for key in ("Enter", "Space", "ArrowRight", "PageDown", "n"):
        button.press(key)
    assert page.evaluate("heard") == ["ArrowRight", "PageDown", "n"]
    assert button.get_attribute("aria-pressed") == "false"  # Enter chose it, Space took it back
    field = page.get_by_role("textbox")
    for key in ("ArrowLeft", "n", "Shift+S", "3", "PageUp", "Control+b"):
        field.press(key)
    assert page.evaluate("heard.slice(3)") == ["PageUp", "Control", "b"]
    assert field.input_value() == "nS3"
    field.press("Escape")
    assert page.evaluate("heard.length") == 6
    assert page.evaluate("document.activeElement === document.body")


@pytest.mark.parametrize("background", ["#fff", "#111"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(from_disk, asked, background, width):
    fragments, _ = asked
    number = predict_number("How many?", unit="FLOPs")
    page = from_disk(
        *fragments, number.to_html(), number.compare(3).to_html(), background=background
    )
    page.set_viewport_size({"width": width, "height": 720})
    form = form_of(page)
    form.get_by_role("button", name="∇ yes").first.click()
    form.get_by_role("button", name="– no").last.click()
    for question in page.locator("[data-gl-question]").all():
        question.get_by_role("button", name=UI["show"]).click()
    dark = "dark" in (form.locator(".ask").get_attribute("class") or "").split()
    assert dark == (background == "#111")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found] == []
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_without_scripts_question_and_table_stand_there(from_disk, asked):
    fragments, _ = asked
    page = from_disk(*fragments, java_script_enabled=False)
    assert page.get_by_text("G in call 0, d_loss.backward(retain_graph=True): ∇ yes / – no").count()
    table = page.get_by_role("table")
    assert table.locator("tbody tr").count() == 4
    assert "∇ yes: all 4 parameters" in table.inner_text()


def test_a_choice_is_noted_where_it_was_made_and_moves_nothing(from_disk):
    question = predict_choice("Who receives?", {"D": ("D",), "both": ("G", "D")})
    page = from_disk(question.to_html(), "<p>Below.</p>", question.compare(("G", "D")).to_html())
    page.set_viewport_size({"width": 390, "height": 844})
    form, below = form_of(page), page.get_by_text("Below.")
    show, noted = form.locator(".show"), form.locator(".noted")
    fill = "e => getComputedStyle(e).backgroundColor"
    before, place = show.evaluate(fill), below.bounding_box()
    assert noted.inner_text() == ""
    form.get_by_role("button", name="both").click()
    assert noted.inner_text() == UI["noted"]
    assert noted.get_attribute("role") == "status"
    assert show.evaluate(fill) != before
    assert below.bounding_box() == place
    form.get_by_role("button", name="both").click()  # taken back
    assert (noted.inner_text(), show.evaluate(fill)) == ("", before)
    form.get_by_role("button", name="both").click()
    show.click()
    assert noted.inner_text() == ""
    assert form.locator(".verdict").inner_text().startswith("✓ as predicted")
