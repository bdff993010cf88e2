"""The site, opened from disk with the network cut off: links, questions, contrast, both themes."""

import re
from html import unescape
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from deck_browser import DeckBrowser

pytestmark = pytest.mark.browser


@pytest.fixture
def site(built):
    return built / "site"


def test_every_link_leads_somewhere(site):
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 3
    places = {
        path: set(map(unescape, re.findall(r'\bid="([^"]*)"', pages[path]))) for path in pages
    }
    broken, outside, followed = [], set(), 0
    for path, page in pages.items():
        markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
        for link in re.findall(r'<a\b[^>]*?\bhref="([^"]*)"', markup):
            if link.startswith("https://"):
                outside.add(link)
                continue
            target, _, anchor = unquote(unescape(link)).partition("#")
            other = (path.parent / target).resolve() if target else path
            followed += 1
            if other not in pages or (anchor and anchor.lstrip("/") not in places[other]):
                broken.append(f"{path.name}: {link}")
    assert broken == []
    assert followed > 50
    assert outside  # links that a reader clicks may lead out; nothing is loaded from there


def test_the_index_lists_every_lesson(root, site, offline):
    page = offline.open(site / "index.html")
    names = [path.stem for path in sorted((root / "notebooks").glob("*.ipynb"))]
    cards = page.locator(".card")
    assert cards.count() == len(names)
    for i, name in enumerate(names):
        links = cards.nth(i).locator(".ways a")
        assert links.nth(0).get_attribute("href") == f"{name}.html"
        assert links.nth(1).get_attribute("href") == f"slides/{name}.html"
        assert (site / "slides" / f"{name}.html").is_file()


def test_a_page_asks_nobody_and_does_not_scroll_sideways(notebook_path, site, offline):
    page = offline.open(site / f"{notebook_path.stem}.html")
    for lid in page.locator(".gl-lid").all():
        lid.get_by_role("button").click()
        assert not lid.is_visible()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    "name", ["index", "00-start-here", "02-strategy-1-retain-graph", "slides/00-start-here"]
)
def test_accessible(name, dark, site, chromium):
    with DeckBrowser(dark=dark, chromium=chromium) as browser:
        page = browser.open(site / f"{name}.html")
        results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
        assert results.violations_count == 0, results.generate_report()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        is_dark = sum(map(int, re.findall(r"\d+", paper)[:3])) < 3 * 128
        assert is_dark == (dark and not name.startswith("slides/"))  # a projector wants light


def test_the_answer_waits_below_the_question(site, offline):
    page = offline.open(site / "02-strategy-1-retain-graph.html")
    answers = page.locator("[data-gl-answers]").first
    assert not answers.is_visible()
    page.emulate_media(media="print")  # on paper nobody can ask for it
    assert answers.is_visible()
    assert not page.locator(".gl-lid").first.is_visible()
    page.emulate_media(media="screen")
    form = page.locator("[data-gl-question]").first
    form.locator(".item").nth(0).get_by_role("button", name="∇ yes").click()
    page.locator(".gl-lid").first.get_by_role("button").click()
    assert answers.is_visible()
    assert answers.locator(".summary").inner_text() == ("1 of 4 as predicted, 3 not predicted.")


def test_without_javascript_the_answer_is_there(site, chromium):
    with DeckBrowser(script=False, chromium=chromium) as browser:
        page = browser.open(site / "02-strategy-1-retain-graph.html")
        assert page.locator("[data-gl-answers]").first.is_visible()
        assert page.locator("[data-gl-question]").first.get_by_text("∇ yes").first.is_visible()
        assert browser.requests == []
