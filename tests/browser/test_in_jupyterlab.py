"""Views in a real JupyterLab: the explorer, the cost lab, the training panel, questions.

One file, for to load a JupyterLab takes longer than what is looked at in it.
"""

from __future__ import annotations

import json
import re
import time

import pytest
from explorer_page import ExplorerPage, backwards, differences

from gan_lessons.classroom import cost_lab
from gan_lessons.lens.cost import flops_text

pytestmark = pytest.mark.browser


# The explorer -------------------------------------------------------------------------------------

MADE = "from gan_lessons.classroom.explorer import explore\n"
OWN = (
    MADE
    + """
def my_step(gan, real, noise):
    G, D, opt_g, opt_d, loss = gan.parts
    opt_g.zero_grad()
    pred = D(G(noise))
    g_loss = loss(pred, pred.detach() * 0 + 1)
    g_loss.backward()
    opt_g.step()
"""
)
LINKED = """
import ipywidgets
toggle = ipywidgets.ToggleButtons(options=["one", "two", "three"])
link = ipywidgets.jslink((toggle, "index"), (e, "index"))
toggle
"""


def test_a_linked_menu_drives_it_and_it_outlives_the_kernel(write_notebook, lab_on, wanted):
    write_notebook("linked.ipynb", MADE + "e = explore()\ne", LINKED.strip())
    unlinked = LINKED.replace("link =", "#")
    write_notebook("unlinked.ipynb", MADE + "e = explore()\ne", unlinked.strip())
    films = [wanted.data["films"][key] for key in wanted.data["order"]]
    with lab_on() as lab:
        for name, follows in (("linked.ipynb", True), ("unlinked.ipynb", False)):
            page = lab.open(name)
            page.run_all()
            assert page.problems() == []
            explorer = ExplorerPage(page.page.locator("section.explorer").first)
            page.click("button", "two")
            assert (explorer.shown().strategy == films[1]["title"]) is follows
            if not follows:
                page.close()
                continue
            page._call("await panel.sessionContext.shutdown();", 30)
            # The menu itself, with nobody to ask: the link is the browser's alone.
            page.click("button", "one")
            assert explorer.shown().strategy == films[0]["title"]
            explorer.choose(films[2]["title"])
            explorer.go_to(5)
            assert differences(explorer.shown(), films[2], 5, wanted.data) == []


WORDS = "from IPython.display import Markdown\nMarkdown('See [it](#at=opt_d.step()).')"


def test_words_above_show_their_line_keys_stay_inside_and_escape_gives_the_focus_back(
    write_notebook, lab_on
):
    write_notebook("keys.ipynb", WORDS, MADE + "explore()")
    with lab_on() as lab:
        page = lab.open("keys.ipynb")
        page.run_all()
        explorer = ExplorerPage(page.page.locator("section.explorer").first)
        page.page.get_by_role("link", name="it", exact=True).click()
        line = page.page.locator("section.explorer li[aria-current=step]")
        assert "opt_d.step()" in line.inner_text().replace("\u200b", "")
        explorer.press("b", "a", "x", "ArrowDown", "End")
        assert len(page.cells()) == 2
        page.page.keyboard.press("Escape")
        page.page.keyboard.press("b")  # now it is JupyterLab's: a new cell below
        page.page.wait_for_function("document.querySelectorAll('.jp-Notebook-cell').length === 3")


def test_nothing_is_too_small_or_cut_off_a_comparison_included(write_notebook, lab_on):
    write_notebook("sizes.ipynb", MADE + "explore()")
    with lab_on() as lab:
        page = lab.open("sizes.ipynb")
        page.run_all()
        explorer = ExplorerPage(page.page.locator("section.explorer").first)
        for beside in (None, "detach"):
            if beside:
                explorer.compare_with(beside)
            explorer.press("Home")
            for _ in range(13):
                assert explorer.too_small() + explorer.cut_off() == []
                explorer.press("ArrowRight")


def test_a_learners_own_step(write_notebook, lab_on):
    write_notebook("own.ipynb", OWN.strip(), "explore(my_step)")
    with lab_on() as lab:
        page = lab.open("own.ipynb")
        page.run_all()
        assert page.problems() == []
        explorer = ExplorerPage(page.page.locator("section.explorer").first)
        explorer.press("End", "ArrowLeft")
        shown = explorer.shown()
        assert shown.lines == ["g_loss.backward()"]
        assert "G gets its gradient." in shown.caption


SETTING = "/lab/api/settings/@jupyterlab/apputils-extension:notification"


def test_jupyterlab_asks_nobody_for_news_or_updates_and_no_learner_whether_it_may(
    write_notebook, lab_on
):
    write_notebook("quiet.ipynb", "1")
    with lab_on() as lab:
        page = lab.open("quiet.ipynb")
        page.run_all()
        setting = page.page.evaluate(f"fetch({SETTING!r}).then((answer) => answer.json())")
        given = {name: entry["default"] for name, entry in setting["schema"]["properties"].items()}
        assert (given["fetchNews"], given["checkForUpdates"]) == ("false", False)
        assert json.loads(setting["raw"] or "{}") == {}  # nobody chose it: a learner who likes may
        assert page.page.locator(".Toastify__toast").count() == 0


# The cost lab: a linked menu drives it, and it drives the menu ------------------------------------

COST_LAB = """
from gan_lessons.classroom.cost_lab_widget import cost_lab
lab = cost_lab(widths=(16, 64, 256))
lab
"""
LINKED_LAB = """
import ipywidgets
toggle = ipywidgets.ToggleButtons(options=["one", "two", "three"])
link = ipywidgets.jslink((toggle, "index"), (lab, "index"))
toggle
"""


def test_a_linked_menu_drives_it_without_a_kernel(write_notebook, lab_on):
    write_notebook("lab.ipynb", COST_LAB.strip(), LINKED_LAB.strip())
    with lab_on() as browser:
        page = browser.open("lab.ipynb")
        page.run_all()
        assert page.problems() == []
        page._call("await panel.sessionContext.shutdown();", 30)
        section = page.page.locator("section.lab").first
        chosen = section.locator(".bars [aria-pressed=true]")
        page.click("button", "two")
        assert chosen.all_inner_texts() == ["S2: detach"]
        section.get_by_role("button", name="S3: generator first").click()
        toggles = page.page.locator("button.widget-toggle-button.mod-active")
        assert toggles.all_inner_texts() == ["three"]
        section.get_by_role("slider").nth(0).press("ArrowRight")
        wanted = cost_lab(widths=(256, 64)).flops("detach", 256, 64)
        number = section.locator(".bars .number").nth(1).inner_text()
        assert number == f"{flops_text(sum(wanted.values()))} · 1.00 ×"


# The training panel: start, switch, pause, the kernel's stop button -------------------------------

PANEL = """
from gan_lessons import data, step_detach, tiny_gan
from gan_lessons.classroom import training_panel
from gan_lessons.training import Training
gan = tiny_gan()
panel = training_panel(Training(gan, data.ring(200), step_detach))
panel
"""
ASKED = "print('steps', panel.training.steps, panel.training.step.__name__, panel.is_running)"
RATES = "print('rates', [o.param_groups[0]['lr'] for o in gan.optimizers.values()])"
TOLD = re.compile(r"(Training|Paused) after ([\d,]+) steps with (.+?)\. Loss")


class Panel:
    """The panel as a learner has it before them."""

    def __init__(self, page):
        self.page = page
        self.cell = page.cell("panel = training_panel")
        self.status = self.cell.locator("[role=status]")

    def click(self, name):
        self.page.click("button", name, within=self.cell)

    def told(self):
        """The state, the steps, the strategy."""
        found = TOLD.match(self.status.inner_text())
        return (found[1], int(found[2].replace(",", "")), found[3]) if found else ("", 0, "")

    def until(self, true, seconds=60):
        end = time.monotonic() + seconds
        while not true(self.told()):
            assert time.monotonic() < end, self.status.inner_text()
            self.page.page.wait_for_timeout(100)
        return self.told()


def test_start_switch_pause_and_stop(write_notebook, lab_on):
    write_notebook("panel.ipynb", PANEL.strip(), ASKED, RATES)
    with lab_on() as lab:
        page = lab.open("panel.ipynb")
        page.run_to("panel = training_panel")
        panel = Panel(page)
        panel.status.get_by_text("Not begun").wait_for()

        panel.click("Start")
        panel.until(lambda told: told[0] == "Training" and told[1] > 5)
        assert panel.cell.locator("img").first.evaluate("image => image.naturalWidth") > 300
        page.run_to("print('steps'")  # a cell runs while it trains
        asked = page.cells()[-2]
        assert "step_detach True" in asked.outputs[0]["text"]
        panel.until(lambda told: told[0] == "Training" and told[1] > 50)  # and after it

        panel.cell.get_by_role("combobox").select_option("S3: generator first")
        panel.until(lambda told: told[0] == "Training" and told[2] == "S3: generator first")

        panel.cell.get_by_role("slider").first.press("ArrowRight")  # from the keyboard
        page.run_to("print('rates'")
        rates = page.cells()[-1].outputs[0]["text"].partition("[")[2].strip().strip("]").split(", ")
        assert float(rates[0]) > 0.1 == float(rates[1])

        panel.click("Pause")
        _, steps, _ = panel.until(lambda told: told[0] == "Paused")
        panel.click("One step")
        assert panel.until(lambda told: told[1] > steps and told[0] == "Paused")[1] == steps + 1

        panel.click("Start")
        panel.until(lambda told: told[0] == "Training" and told[1] > steps + 5)
        page.page.locator('[data-jp-item-name="interrupt"] jp-button').first.click()
        _, stopped, _ = panel.until(lambda told: told[0] == "Paused")
        page.page.wait_for_timeout(500)
        assert panel.told() == ("Paused", stopped, "S3: generator first")
        panel.click("One step")  # the kernel lives
        panel.until(lambda told: told[1] == stopped + 1)
        assert page.problems() == []


# Lesson 02: answer, run, and find the verdict where the answer was given --------------------------

QUESTION, COMPARE = "question = predict_received(", "question.compare(rec)"


def test_answers_are_compared_with_the_record(lab):
    page = lab.open("02-strategy-1-retain-graph.ipynb")
    try:
        page.run_to(QUESTION)
        cell = page.cell(QUESTION)
        assert cell.get_by_text("Measured").count() == 0

        # Rows G and D, two calls each. The first answer is wrong by what S1 does, the rest right.
        answers = ["– no", "∇ yes", "∇ yes", "∇ yes"]
        groups = cell.locator(".ask .choice")
        assert groups.count() == len(answers)
        for i, answer in enumerate(answers):
            groups.nth(i).get_by_role("button", name=answer).press("Enter")
        # JupyterLab keeps a change back until the kernel has taken the one before.
        end = time.monotonic() + 60
        while page.evaluated("all(question.answers)") != "True":
            assert time.monotonic() < end, page.evaluated("question.answers")
            page.page.wait_for_timeout(100)

        page.run_to(COMPARE)
        cell.get_by_text("3 of 4 as predicted.").wait_for()
        assert page.cell(COMPARE).get_by_text("3 of 4 as predicted.").count() == 1
        # The kernel knows too what was clicked: these words are Python's.
        (told,) = (c.outputs[0]["data"]["text/plain"] for c in page.cells() if COMPARE in c.source)
        assert "".join(told).startswith("3 of 4 as predicted.\nG in call 0, d_loss.backward(")

        # Whoever answers after "Run All" is judged at once, in both places.
        groups.nth(0).get_by_role("button", name="∇ yes").press("Space")
        cell.get_by_text("4 of 4 as predicted.").wait_for()
        page.cell(COMPARE).get_by_text("4 of 4 as predicted.").wait_for()
        assert page.errors() == []
        assert page.page_errors == []
    finally:
        page.close()


# Lesson 05: the explorer, and the one menu that drives three views --------------------------------


def test_lesson_05_shows_what_was_recorded_and_one_menu_drives_all(lab, wanted):
    page = lab.open("05-compare.ipynb")
    try:
        page.run_to("explore(")
        explorer = ExplorerPage(page.page.locator("section.explorer").first)
        data = wanted.data
        for key in data["order"]:
            film = data["films"][key]
            explorer.choose(film["title"])
            for moment in [0, *backwards(film), len(film["moments"]) - 1]:
                explorer.go_to(moment)
                assert differences(explorer.shown(), film, moment, data) == []

        page.run_to("Together(")
        cell = page.cell("Together(explorer")
        explorer = ExplorerPage(cell.locator("section.explorer"))
        for key in ("generator_first", "detach", "retain_graph"):
            title = wanted.data["films"][key]["title"]
            menu = cell.locator(".widget-toggle-buttons")
            menu.get_by_role("button", name=title, exact=True).press("Enter")
            assert explorer.shown().strategy == title
            cell.get_by_text(f"What one step costs: {title}").wait_for()
            figures = cell.locator(".widget-html img:visible")
            assert figures.count() == 1
            first_line = {"generator_first": "opt_g.zero_grad()"}.get(key, "fake = G(noise)")
            assert f"0  {first_line}" in (figures.get_attribute("alt") or "")
        assert page.page_errors == []
        assert lab.outside_requests == []
    finally:
        page.close()
