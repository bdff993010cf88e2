"""The cheat sheet and the handout: on a screen in both themes, and on sheets of A4."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from deck_browser import DeckBrowser, print_pdf

from gan_lessons.classroom.export.cheat_sheet import cheat_sheet_page

pytestmark = pytest.mark.browser


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


@pytest.fixture(scope="module")
def cheat_sheet(tmp_path_factory):
    path = tmp_path_factory.mktemp("sheet") / "cheat-sheet.html"
    path.write_text(cheat_sheet_page(), encoding="utf-8")
    return path


def test_the_cheat_sheet_is_one_sheet_of_paper(cheat_sheet, offline, tmp_path):
    print_pdf(offline, cheat_sheet, tmp_path / "sheet.pdf")
    assert pages_of(tmp_path / "sheet.pdf") == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_cheat_sheet_on_a_screen(dark, cheat_sheet, chromium):
    with DeckBrowser(dark=dark, chromium=chromium) as browser:
        page = browser.open(cheat_sheet)
        results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
        assert results.violations_count == 0, results.generate_report()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 3 * 128) == dark
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert browser.requests == browser.errors == []
