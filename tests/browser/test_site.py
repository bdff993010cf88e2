"""The site, opened from disk with the network cut off: links, questions, contrast, both themes."""

import re
from functools import partial
from html import unescape
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from deck_browser import DeckBrowser

pytestmark = pytest.mark.browser


WIDTHS = ((1280, 800), (390, 844))


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
            if anchor.startswith("at="):  # no place, but a line: test_words_show_their_line
                continue
            if other not in pages or (anchor and anchor.lstrip("/") not in places[other]):
                broken.append(f"{path.name}: {link}")
    assert broken == []
    assert followed > 50
    assert outside  # links that a reader clicks may lead out; nothing is loaded from there


@pytest.mark.parametrize("lesson", ["07-dynamics", "10-many-processes"])
def test_what_was_trained_stays_small(built, lesson):
    """Moving pictures are frames in the file, and all of them travel with it."""
    files = [*built.rglob(f"{lesson}.html")]
    assert len(files) == 3  # the page, its slides, and the slides alone
    assert [f"{path}: {path.stat().st_size}" for path in files if path.stat().st_size > 2.5e6] == []


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


SIZE = "e => parseFloat(getComputedStyle(e).fontSize)"


def test_what_is_cut_off_says_so_and_code_is_not(site, offline):
    page = offline.open(site / "00-start-here.html")
    page.locator(".gl-lid").first.get_by_role("button").click()
    page.set_viewport_size({"width": 390, "height": 800})
    table = page.locator(".gl-table .box").first
    table.scroll_into_view_if_needed()
    page.locator(".gl-table .box[data-more][tabindex='0'][role=group]").first.wait_for()
    assert table.get_attribute("aria-label") == "Scrolls sideways: " + " ".join(
        table.locator("caption").inner_text().split()[:8]
    )
    arrow = "e => getComputedStyle(e, '::before').content.startsWith('\"→')"
    assert table.evaluate(arrow)
    table.focus()
    page.keyboard.press("End")  # it scrolls sideways alone
    table.evaluate("e => e.scrollTo({ left: e.scrollWidth, behavior: 'instant' })")
    page.locator(".gl-table .box:not([data-more])").first.wait_for()
    assert not table.evaluate(arrow)
    code = page.locator(".highlight pre")
    assert code.evaluate_all("all => all.filter(e => e.scrollWidth > e.clientWidth).length") == 0
    assert min(code.evaluate_all(f"all => all.map({SIZE})")) >= 14


@pytest.mark.parametrize("name", ["index", "02-strategy-1-retain-graph", "docs/your-loop", "api"])
def test_the_bar_of_a_phone_is_one_row(name, site, offline):
    page = offline.open(site / f"{name}.html")
    page.set_viewport_size({"width": 390, "height": 844})
    links = page.locator(".bar a:visible")
    assert links.count() >= 5
    tops = links.evaluate_all("all => all.map(a => Math.round(a.getBoundingClientRect().bottom))")
    assert max(tops) - min(tops) < 4


def test_what_a_lesson_is_about_has_the_width_of_a_phone(site, offline):
    page = offline.open(site / "00-start-here.html")
    page.set_viewport_size({"width": 390, "height": 844})
    about = page.locator(".table tr:has(td:first-child > a:only-child) > td:nth-child(3):visible")
    assert about.count() >= 12
    assert min(about.evaluate_all("all => all.map(cell => cell.offsetWidth)")) > 300
    links = page.locator(".table tbody td:first-child > a:visible")
    assert min(links.evaluate_all("all => all.map(a => a.offsetWidth)")) > 60


TOO_WIDE = """() => [...document.querySelectorAll('.output li')]
    .filter(item => item.scrollWidth > item.clientWidth + 1).map(item => item.textContent)"""


def test_a_page_asks_nobody_and_does_not_scroll_sideways(notebook_path, site, offline):
    page = offline.open(site / f"{notebook_path.stem}.html")
    lids = page.locator(".gl-lid:visible")
    for _ in range(page.locator(".gl-lid").count()):
        if lids.count():  # one question may be waited for in two places
            lids.first.get_by_role("button").click()
    assert page.locator(".gl-lid:visible, .gl-covered").count() == 0
    assert page.locator(".teacher").count() == 0
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(TOO_WIDE) == []


DRAW_ALL = "dispatchEvent(new Event('beforeprint'))"  # what waits until one comes near it
IN_BOTH = ["index", "00-start-here", "02-strategy-1-retain-graph", "slides/00-start-here"]
LOOKED_AT = [(name, dark) for name in IN_BOTH for dark in (False, True)]
LOOKED_AT += [("08-clinic", True), ("api", False), ("search", True), ("docs/your-loop", False)]


@pytest.mark.parametrize(("name", "dark"), LOOKED_AT)
def test_accessible(name, dark, site, chromium):
    with DeckBrowser(dark=dark, chromium=chromium) as browser:
        page = browser.open(site / f"{name}.html")
        page.evaluate(DRAW_ALL)
        results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
        assert results.violations_count == 0, results.generate_report()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        is_dark = sum(map(int, re.findall(r"\d+", paper)[:3])) < 3 * 128
        assert is_dark == dark  # decks of the site, too


def test_the_index_opens_with_an_explorer_that_moves(site, offline):
    path = site / "index.html"
    assert path.stat().st_size < 600_000
    page = offline.open(path)
    explorer = page.locator("[data-gl-explorer] .explorer")
    explorer.wait_for()
    caption = explorer.locator(".caption:not(.room)")
    now = explorer.locator("li[aria-current=step]")
    assert "ackward" not in caption.inner_text()  # that is what the reader is to guess
    assert explorer.locator(".totals").inner_text().count("G 0 · D 0") == 1
    for width, height in ((390, 844), (1280, 800)):
        page.set_viewport_size({"width": width, "height": height})
        place = explorer.bounding_box()
        assert place is not None
        assert place["y"] < 0.75 * height  # it shows in the first screen
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    number = now.get_attribute("value")
    assert caption.inner_text().startswith(f"Line {number}: ")
    invitation = page.locator(".invitation")
    assert invitation.inner_text().startswith("Here is one. Next comes d_loss.backward(")
    page.keyboard.press("ArrowRight")  # nothing has been chosen yet
    assert invitation.inner_text().startswith("The text under the buttons says")
    assert invitation.get_attribute("aria-live") == "polite"
    assert re.match(r"Line \d+: Backward from d_loss\.", caption.inner_text())
    assert now.get_attribute("value") != number
    assert caption.inner_text().startswith(f"Line {now.get_attribute('value')}: ")
    page.set_viewport_size({"width": 1280, "height": 720})
    for strategy in explorer.locator(".strategies button").all():
        strategy.click()
        explorer.press("End")
        ends = [explorer.locator(name).bounding_box() for name in (".body", ".totals", ".field")]
        frame, *inside = [box["y"] + box["height"] for box in ends if box]
        assert len(inside) == 2
        assert max(inside) < frame + 1
    pictures = page.locator(".card .window > div")
    assert pictures.count() == page.locator(".card").count()
    assert all(pictures.evaluate_all("all => all.map(e => e.firstElementChild?.offsetHeight > 20)"))
    for width in (390, 1280):  # a table of a card is not cut off at its side, and can be read
        page.set_viewport_size({"width": width, "height": 800})
        cells = page.locator(".card .window :is(th, td, pre):visible")
        assert min(cells.evaluate_all(f"all => all.map({SIZE})")) >= 12
        assert not any(pictures.evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)"))
    loaded = "all => all.map(image => image.decode().then(() => image.naturalWidth > 0))"
    images = page.locator(".card .window img")
    assert images.count() > 3
    assert all(images.evaluate_all(f"async all => Promise.all(({loaded})(all))"))


def test_each_explorer_of_a_page_has_a_name_of_its_own(site, offline):
    page = offline.open(site / "05-compare.html")
    first = page.locator(".explorer").count()
    page.evaluate(DRAW_ALL)
    assert first < page.locator(".explorer").count()  # what is far below had waited
    names = page.locator(".explorer").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(names) > 1
    assert len({*names}) == len(names)
    assert all("S1: retain the graph" in name for name in names)


ASKED_EARLY = """
    window.early = 0;
    const computed = window.getComputedStyle;
    window.getComputedStyle = (...of) => {
        window.early += Boolean(document.currentScript); // a script that stands in the page runs
        return computed(...of);
    };
"""


def test_no_style_is_asked_for_while_a_page_is_read_in(site, chromium):
    """Each such question would have all that is there by then styled and laid out once more."""
    with DeckBrowser(chromium=chromium) as browser:
        browser.context.add_init_script(ASKED_EARLY)
        page = browser.open(site / "05-compare.html")
        assert page.locator("[data-gl-view]").count() > 3
        assert page.evaluate("early") == 0


def test_words_show_their_line(site, offline):
    """Every link to a line, in every page that has one, at both widths."""
    pages = [path for path in site.glob("*.html") if 'href="#at=' in path.read_text("utf-8")]
    assert len(pages) >= 3
    for path in pages:
        page = offline.open(path)
        for width, height in WIDTHS:
            page.set_viewport_size({"width": width, "height": height})
            for link in page.locator("a[href^='#at=']").all():
                for press in (link.click, partial(link.press, "Enter")):
                    page.evaluate("scrollTo(0, 0)")
                    link.scroll_into_view_if_needed()
                    page.locator(".explorer").wait_for()  # drawn where its words are in sight
                    press()
                    line = page.locator(".explorer li[aria-current=step]").inner_text()
                    text = unquote((link.get_attribute("href") or "").removeprefix("#at="))
                    assert text in line.replace("\u200b", "")
                    assert link.get_attribute("aria-current") == "true"
                    page.locator(".explorer").press("Home")
                    assert link.get_attribute("aria-current") is None
            if width > height:  # all of it is in sight at once
                place = page.locator(".explorer").bounding_box()
                assert place is not None
                assert place["height"] <= 720
                assert 0 <= place["x"] < place["x"] + place["width"] <= width


SHOWN_FIRST = """() => {
    const wanted = 'main .window > div > *, main img, [data-gl-question], [data-gl-explorer]';
    const boxes = [...document.querySelectorAll(wanted)].map(e => e.getBoundingClientRect());
    return boxes.some(box => box.height && box.top < 0.75 * innerHeight);
}"""
READ = "e => Math.round(e.getBoundingClientRect().width / parseFloat(getComputedStyle(e).fontSize))"


def test_a_lesson_starts_with_a_picture_and_is_a_column(notebook_path, site, offline):
    page = offline.open(site / f"{notebook_path.stem}.html")
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        page.reload()  # what a small screen folds is folded then
        assert page.evaluate(SHOWN_FIRST)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert max(page.locator(".prose > p").evaluate_all(f"all => all.map({READ})")) <= 38
    assert page.locator(".cell > .highlight").count() > 0
    assert page.locator("details.source[open]").count() == 0


# How light the ground of a figure is, in a page whose paper is dark: 0 to 255.
GROUND = """async image => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 40, height: 40 });
    const pen = canvas.getContext('2d');
    const { filter, backgroundColor } = getComputedStyle(image);
    pen.fillStyle = getComputedStyle(document.body).backgroundColor;
    pen.fillRect(0, 0, 40, 40);
    pen.filter = filter;
    pen.fillStyle = backgroundColor;
    pen.fillRect(0, 0, 40, 40);
    pen.drawImage(image, 0, 0, 40, 40);
    const corner = pen.getImageData(1, 1, 1, 1).data;
    return (corner[0] + corner[1] + corner[2]) / 3;
}"""


@pytest.mark.parametrize("name", ["02-strategy-1-retain-graph", "07-dynamics", "index"])
def test_no_figure_is_white_in_the_dark(name, site, chromium):
    with DeckBrowser(dark=True, chromium=chromium) as browser:
        page = browser.open(site / f"{name}.html")
        figures = page.locator("img:not(.gl-as-it-is), .window img")
        assert figures.count() > 3
        for figure in figures.all():
            assert figure.evaluate(GROUND) < 60, figure.get_attribute("alt")
        around = page.locator(".output figure > div").evaluate_all(
            "all => [...new Set(all.map(e => getComputedStyle(e).backgroundColor))]"
        )
        assert around in ([], ["rgba(0, 0, 0, 0)"])


@pytest.mark.parametrize("name", ["api", "search", "docs/your-loop", "docs/benchmarks"])
def test_a_document_does_not_scroll_sideways(name, site, offline):
    page = offline.open(site / f"{name}.html")
    for width, height in WIDTHS:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_search_finds_a_section_and_its_address_finds_it_again(site, offline):
    page = offline.open(site / "search.html")
    page.get_by_role("searchbox").press_sequentially("retain graph freed")
    first = page.locator("#results a").first
    assert ".html#" in (first.get_attribute("href") or "")
    assert page.locator("#count").inner_text().endswith("sections")
    found = page.locator("#results a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    again = offline.open(site / "search.html", page.evaluate("location.hash"))
    assert (
        again.locator("#results a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
        == found
    )
    for words, page_of in (("assert_sound", "api.html"), ("torch_index", "docs/")):
        again.get_by_role("searchbox").fill(words)
        assert any(
            page_of in a
            for a in again.locator("#results a").evaluate_all("all => all.map(a => a.href)")
        )
    shown = again.locator("#results li").filter(
        has_text="torch_index"
    )  # what was found is in sight
    assert shown.locator("mark").count() >= shown.count() > 0
    again.get_by_role("searchbox").fill("xyzzy")
    assert again.locator("#results a").count() == 0


def test_a_heading_links_to_itself(site, offline):
    page = offline.open(site / "00-start-here.html")
    link = page.locator("h2 .permalink").nth(1)
    link.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("decodeURIComponent(location.hash)") == "#Run,-and-compare"


FILLED = "button => getComputedStyle(button).backgroundColor"


def test_the_answer_waits_below_the_question(site, offline):
    page = offline.open(site / "02-strategy-1-retain-graph.html")
    answers = page.locator("[data-gl-answers]").first
    assert not answers.is_visible()
    page.emulate_media(media="print")  # on paper nobody can ask for it
    assert answers.is_visible()
    assert not page.locator(".gl-lid").first.is_visible()
    page.emulate_media(media="screen")
    form = page.locator("[data-gl-question]").first
    lid = page.locator(".gl-lid").first.get_by_role("button")
    assert lid.evaluate(FILLED) == "rgba(0, 0, 0, 0)"  # to skip is the quieter thing
    assert lid.inner_text() == "Skip, and show what happened"
    form.locator(".item").nth(0).get_by_role("button", name="∇ yes").click()
    assert lid.inner_text() == "I have predicted: show what happened"
    assert lid.evaluate(FILLED) != "rgba(0, 0, 0, 0)"
    page.locator(".gl-lid").first.get_by_role("button").click()
    assert answers.is_visible()
    assert answers.locator(".summary").inner_text() == ("1 of 4 as predicted, 3 not predicted.")
    assert page.locator(".gl-lid").first.is_hidden()
    form.get_by_role("button", name="Hide it again").click()
    assert not answers.is_visible()


def test_without_javascript_the_answer_is_there(site, chromium):
    with DeckBrowser(script=False, chromium=chromium) as browser:
        page = browser.open(site / "02-strategy-1-retain-graph.html")
        assert page.locator("[data-gl-answers]").first.is_visible()
        assert page.locator("[data-gl-question]").first.get_by_text("∇ yes").first.is_visible()
        assert browser.requests == []
