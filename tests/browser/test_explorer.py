"""The explorer in a real JupyterLab: what it shows is what was recorded."""

from __future__ import annotations

import pytest
from explorer_page import ExplorerPage, differences

pytestmark = pytest.mark.browser

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


def test_keys_stay_inside_and_escape_gives_the_focus_back(write_notebook, lab_on):
    write_notebook("keys.ipynb", MADE + "explore()", "1 + 1")
    with lab_on() as lab:
        page = lab.open("keys.ipynb")
        page.run_all()
        explorer = ExplorerPage(page.page.locator("section.explorer").first)
        explorer.press("b", "a", "x", "ArrowDown", "End")
        assert len(page.cells()) == 2
        page.page.keyboard.press("Escape")
        page.page.keyboard.press("b")  # now it is JupyterLab's: a new cell below
        page.page.wait_for_function("document.querySelectorAll('.jp-Notebook-cell').length === 3")


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
