"""Lesson 05 as a learner works it: the explorer, and the one menu that drives three views."""

from __future__ import annotations

import pytest
from explorer_page import ExplorerPage, backwards, differences

pytestmark = pytest.mark.browser

LESSON = "05-compare.ipynb"


def test_lesson_05_shows_what_was_recorded(lab, wanted):
    page = lab.open(LESSON)
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
        assert page.page_errors == []
        assert lab.outside_requests == []
    finally:
        page.close()


def test_one_menu_drives_explorer_costs_and_figure(lab, wanted):
    page = lab.open(LESSON)
    try:
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
    finally:
        page.close()
