"""The cheat sheet and the handout: on a screen in both themes, and on sheets of A4."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from deck_browser import DeckBrowser, print_pdf

from gan_lessons.classroom.export.cheat_sheet import cheat_sheet_page
from gan_lessons.classroom.export.embed_page import embed_page, write_explorer
from gan_lessons.classroom.export.sheets import sheet

pytestmark = pytest.mark.browser


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


@pytest.fixture(scope="module")
def beside_the_lessons(tmp_path_factory):
    """The pages of the site that are no lessons, as its build writes them."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "cheat-sheet.html").write_text(cheat_sheet_page(home="index.html"), encoding="utf-8")
    page = embed_page(write_explorer(folder), home="index.html")
    (folder / "embed.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def cheat_sheet(beside_the_lessons):
    return beside_the_lessons / "cheat-sheet.html"


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


def test_a_page_shows_how_an_explorer_is_embedded(beside_the_lessons, chromium):
    with DeckBrowser(chromium=chromium) as browser:
        inside = browser.open(
            beside_the_lessons / "explorer.html", "#strategy=generator_first&at=2"
        )
        inside.close()  # so that the browser knows the file, and asks for nothing else
        page = browser.open(beside_the_lessons / "embed.html")
        shown = page.frame_locator("iframe").locator("section.explorer output").first
        shown.wait_for()
        assert shown.inner_text().startswith("8 of")
        snippet = page.locator("pre code").first.inner_text()
        assert 'src="explorer.html#strategy=detach&amp;at=8"' in snippet
        results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
        assert results.violations_count == 0, results.generate_report()
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        _, _, example = page.locator("code.example").inner_text().partition("#")
        page.goto(f"{(beside_the_lessons / 'explorer.html').as_uri()}#{example}")
        page.locator("section.explorer .outcome").wait_for()
        assert page.get_by_role("alert").inner_text() == ""
        assert browser.requests == browser.errors == []


def test_cards_and_plan_on_paper(offline, tmp_path):
    cards = [(letter, ["00"]) for letter in "ABCDEFGH"]
    page = sheet("vote_cards.html.j2", title="Cards", home="", sheets=[cards[:4], cards[4:]])
    (tmp_path / "cards.html").write_text(page, encoding="utf-8")
    print_pdf(offline, tmp_path / "cards.html", tmp_path / "cards.pdf")
    assert pages_of(tmp_path / "cards.pdf") == 2
