"""The training panel in a real JupyterLab: start, switch, pause, the kernel's stop button."""

from __future__ import annotations

import re
import time

import pytest

pytestmark = pytest.mark.browser

MADE = """
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
    write_notebook("panel.ipynb", MADE.strip(), ASKED, RATES)
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
