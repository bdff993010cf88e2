"""The cost lab in a real JupyterLab: a linked menu drives it, and it drives the menu."""

from __future__ import annotations

import pytest

from gan_lessons.classroom import cost_lab
from gan_lessons.lens.cost import flops_text

pytestmark = pytest.mark.browser

MADE = """
from gan_lessons.classroom.cost_lab_widget import cost_lab
lab = cost_lab(widths=(16, 64, 256))
lab
"""
LINKED = """
import ipywidgets
toggle = ipywidgets.ToggleButtons(options=["one", "two", "three"])
link = ipywidgets.jslink((toggle, "index"), (lab, "index"))
toggle
"""


def test_a_linked_menu_drives_it_without_a_kernel(write_notebook, lab_on):
    write_notebook("lab.ipynb", MADE.strip(), LINKED.strip())
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
