"""Every deck, opened from disk with the network cut off, as a teacher would go through it."""

import itertools
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import deck_browser
import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from deck_browser import DeckBrowser, fill, overflows, print_pdf, settle
from explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

LESSON = "02-strategy-1-retain-graph"


@pytest.fixture
def deck(built):
    return built / "slides" / f"{LESSON}.html"


def wait_until(frame, expression, seconds=20):
    """Not ``wait_for_function``: it asks again with eval, which the deck's own policy forbids."""
    end = time.monotonic() + seconds
    while not frame.evaluate(expression):
        assert time.monotonic() < end, f"{expression} did not come true"
        time.sleep(0.05)


def go_to(page, anchor):
    page.evaluate("name => { location.hash = '#/' + encodeURIComponent(name) }", anchor)
    wait_until(page, f"Reveal.getCurrentSlide().id === '{anchor}'")


# What is on the current slide, from top to bottom: groups asked and answered there, can it be seen?
SEEN = """() => {
    const sheet = Reveal.getCurrentSlide().querySelector('.sheet');
    const groups = (part, kind) =>
        [...part.querySelectorAll(`[data-gl-${kind}]`)].map(host => host.dataset.glGroup);
    // Beside a tall drawing the parts have no box of their own, but what is in them has one.
    const seen = part => [part, ...part.querySelectorAll('*')].some(
        one => one.checkVisibility({ opacityProperty: true, visibilityProperty: true }));
    const parts = [...sheet.querySelectorAll('.prose, .highlight, .outputs')]
        .filter(part => !part.parentElement.closest('.prose, .outputs'));
    return {
        id: Reveal.getCurrentSlide().id,
        more: Reveal.availableFragments().next,
        last: Reveal.isLastSlide(),
        section: Reveal.getIndices().h,
        entered: !Reveal.getCurrentSlide().querySelector('.fragment.visible'),
        empty: ![...parts, ...sheet.querySelectorAll('.waits')].some(seen),
        parts: parts.map(part => ({
            text: part.textContent.trim().slice(0, 40), seen: seen(part),
            output: part.matches('.outputs'),
            asks: groups(part, 'question'), answers: groups(part, 'answers'),
        })),
    };
}"""


# The groups that have a host of this kind, anywhere in the deck.
HOSTS = "kind => [...document.querySelectorAll(`[data-gl-${kind}]`)].map(h => h.dataset.glGroup)"


@dataclass
class Walk:
    """What was noted of a deck on one way through it: before the first step, at each of the steps
    that a teacher takes, and of each slide once all of it is shown."""

    total: int
    notes: list[str]
    asked: set[str]
    answered: set[str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    overflows: list[list[str]] = field(default_factory=list)
    filled: list[float] = field(default_factory=list)

    def wholes(self):
        """The last step on each slide."""
        return [step for step in self.steps if not step["more"]]


def walk_through(page):
    walk = Walk(
        total=page.evaluate("Reveal.getTotalSlides()"),
        notes=page.locator("aside.notes").all_text_contents(),
        asked=set(page.evaluate(HOSTS, "question")),
        answered=set(page.evaluate(HOSTS, "answers")),
    )
    while True:
        step = page.evaluate(SEEN)
        walk.steps.append(step)
        if step["entered"]:
            forms = page.locator("section.present section.present [data-gl-question] .verdict")
            step["verdicts"] = forms.all_inner_texts()
        if not step["more"]:
            settle(page)
            walk.overflows.append(overflows(page))
            walk.filled.append(fill(page))
            if step["last"]:
                return walk
        page.evaluate("Reveal.next()")


@pytest.fixture(scope="module")
def walks():
    return {}


@pytest.fixture
def walk(notebook_path, built, chromium, walks):
    """The walk through the lesson's deck. The first test that asks for it takes it."""
    if notebook_path not in walks:
        with DeckBrowser(chromium=chromium) as browser:
            page = browser.open(built / "slides" / f"{notebook_path.stem}.html")
            walks[notebook_path] = walk_through(page), browser.requests, browser.errors
    found, requests, errors = walks[notebook_path]
    assert requests == []
    assert errors == []
    return found


def test_every_slide_fits(walk):
    found = []
    slides = zip(walk.wholes(), walk.overflows, walk.filled, strict=True)
    for number, (whole, lines, part) in enumerate(slides, 1):
        name = whole["id"]
        found += [f"slide {number} (#{name}): {line}" for line in lines]
        if part < 0.5:
            found.append(f"slide {number} (#{name}) ends at {part:.0%} of its height")
    assert found == []
    assert len({step["id"] for step in walk.steps}) == len(walk.wholes()) == walk.total
    assert walk.total > 5


def given_away(seen, pending):
    """What can be seen though a question is not answered yet. ``pending``, group -> the section
    that asked, is kept up to date. A bet on the whole lesson counts for two sections."""
    found, covered = [], False
    for part in seen["parts"]:
        if part["seen"] and covered:
            found.append(f"{part['text']!r} stands below an answer that is still hidden")
        near = any(asked >= seen["section"] - 1 for asked in pending.values())
        if part["seen"] and seen["entered"] and near and part["output"] and not part["asks"]:
            found.append(f"{part['text']!r} comes between a question and its answer")
        covered = covered or bool(part["answers"] and not part["seen"])
        if part["seen"]:
            pending |= dict.fromkeys(part["asks"], seen["section"])
            for group in part["answers"]:
                pending.pop(group, None)
    return found


def test_nothing_is_seen_before_its_answer(walk):
    assert walk.asked == walk.answered
    pending: dict[str, int] = {}
    found: list[str] = []
    for seen in walk.steps:
        found += [f"#{seen['id']}: {line}" for line in given_away(seen, pending)]
        found += [f"#{seen['id']} comes empty"] if seen["empty"] else []
        if seen["entered"]:
            assert not any(seen["verdicts"])
    assert found == []
    assert pending == {}  # every answer was seen


def test_what_is_given_away_is_found(built, offline):
    page = offline.open(built / "slides" / "06-leaner-steps.html")
    page.evaluate(
        "document.querySelectorAll('.fragment').forEach(f => f.classList.remove('fragment'))"
    )
    page.evaluate("Reveal.sync()")
    seen = page.evaluate(SEEN)
    pending: dict[str, int] = {}
    found: list[str] = []
    while not page.evaluate("Reveal.isLastSlide()"):
        found += given_away(page.evaluate(SEEN), pending)
        page.evaluate("Reveal.next()")
    assert any("between a question and its answer" in line for line in found)
    part = {"text": "x", "output": True, "asks": [], "answers": []}
    hidden, shown = {**part, "seen": False, "answers": ["q"]}, {**part, "seen": True}
    below = given_away({**seen, "parts": [hidden, shown]}, {"q": 0})
    assert "'x' stands below an answer that is still hidden" in below


# The check itself: what it has to find, and that it names it.
SPOILS = {
    "px too low": '<p style="margin-top:700px">deep</p>',
    "px right of": '<div style="width:2000px">wide</div>',
    "at least 14 can be read": '<p style="font-size:9px">tiny</p>',
    "of its content": '<div style="height:30px;overflow:auto"><p style="height:90px">box</p></div>',
}


@pytest.mark.parametrize(("said", "spoil"), SPOILS.items(), ids=SPOILS)
def test_what_does_not_fit_is_found(said, spoil, deck, offline):
    page = offline.open(deck)
    go_to(page, "Computed-in-vain")
    assert overflows(page) == []
    page.locator("section.present section.present .sheet").evaluate(
        "(sheet, spoil) => sheet.insertAdjacentHTML('beforeend', spoil)", spoil
    )
    assert [line for line in overflows(page) if said in line]


@pytest.mark.parametrize(
    ("said", "spoil"),
    {
        **SPOILS,
        # By what was asked for: the deck may make the explorer a little smaller meanwhile.
        "at least 16 can be read": '<div class="code"><p style="font-size:15px">x = 1</p></div>',
    }.items(),
)
def test_what_does_not_fit_in_an_explorer_is_found(said, spoil, explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    assert overflows(page) == []
    page.locator("section.present .explorer").evaluate(
        "(section, spoil) => section.insertAdjacentHTML('beforeend', spoil)", spoil
    )
    assert [line for line in overflows(page) if said in line]


def test_keys_walk_through_all_slides(deck, offline):
    page = offline.open(deck)
    seen = []
    for _ in range(200):
        seen.append(page.evaluate("Reveal.getCurrentSlide().id"))
        if page.evaluate("Reveal.isLastSlide() && !Reveal.availableFragments().next"):
            break
        page.keyboard.press("ArrowRight")
    assert len(dict.fromkeys(seen)) == page.evaluate("Reveal.getTotalSlides()")
    page.keyboard.press("PageUp")  # a clicker's way back
    assert page.evaluate("Reveal.getCurrentSlide().id") in seen[:-1]


def test_a_prediction_is_judged_by_what_was_measured(deck, offline):
    page = offline.open(deck)
    go_to(page, "Predict")
    form = page.locator("section.present [data-gl-question]").first
    assert form.locator(".verdict").all_inner_texts() == [""] * 4
    # Rows G and D, two calls each. The first answer is wrong by what S1 does, the rest right.
    for i, answer in enumerate(["– no", "∇ yes", "∇ yes", "∇ yes"]):
        button = form.locator(".item").nth(i).get_by_role("button", name=answer)
        button.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
    assert page.evaluate("Reveal.getCurrentSlide().id") == "Predict"
    form.get_by_role("button", name="Show what was measured").press("Space")
    assert page.evaluate("Reveal.getCurrentSlide().id") == "Predict"
    verdicts = form.locator(".verdict").all_inner_texts()
    assert verdicts[0] == (
        "≠ not as predicted\nMeasured: ∇ yes: all 6 parameters\nNo optimizer step used it. "
        "Backward goes wherever the graph goes, and G made the fake in d_loss."
    )
    assert all(text.startswith("✓ as predicted") for text in verdicts[1:])
    assert overflows(page) == []

    page.keyboard.press("ArrowRight")
    hidden = page.locator("section.present [data-gl-answers]")
    assert not hidden.is_visible()  # until the next key
    page.keyboard.press("ArrowRight")
    assert hidden.is_visible()
    assert hidden.locator(".summary").inner_text() == "3 of 4 as predicted."
    first = hidden.locator(".answers tbody tr").first
    assert first.locator(".predicted").inner_text() == "– no"
    assert first.locator(".verdict").inner_text() == "≠ not as predicted"


def test_a_number_is_judged_too(built, offline):
    page = offline.open(built / "slides" / "01-autograd-in-five-moves.html")
    go_to(page, "Predict")
    form = page.locator("section.present [data-gl-question]").first
    entry = form.get_by_role("textbox")
    entry.press_sequentially("3")
    form.get_by_role("button", name="Show").click()
    assert form.locator(".verdict").inner_text().startswith("≠ not as predicted\nMeasured: 4")
    assert "Off by 1" in form.locator(".verdict").inner_text()
    entry.fill("nobody knows")
    assert "is not a number" in form.locator(".verdict").inner_text()
    entry.fill("4.0")
    assert form.locator(".verdict").inner_text().startswith("✓ as predicted")


# How wide the placeholder is, and the room for it, in pixels.
HINT_AND_FIELD = """entry => {
    const style = getComputedStyle(entry), pen = document.createElement("canvas").getContext("2d");
    pen.font = style.font;
    const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
    return [pen.measureText(entry.placeholder).width, entry.clientWidth - padding];
}"""


def test_an_exercise_that_asks_for_a_value_checks_it(deck, offline):
    page = offline.open(deck)
    go_to(page, "Exercise-1")
    entry = page.locator("section.present").get_by_role("textbox", name="Your answer")
    hint, field = entry.evaluate(HINT_AND_FIELD)
    assert 0 < hint <= field
    entry.fill('{"g_loss", "x"}')
    entry.press("Enter")
    verdict = page.locator("section.present .gl-check .verdict")
    assert verdict.inner_text() == (
        "≠ not yet\nRight: g_loss. Not among them: x. Still missing: 1."
    )
    entry.fill("d_loss, g_loss")
    entry.press("Enter")
    assert verdict.inner_text() == "✓ passed\nYour answer is what was measured."


# Light, dark, high contrast; a magnifying glass ---------------------------------------------------

LOOKS = """() => ({
    theme: document.documentElement.dataset.theme,
    paper: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    forms: [...new Set([...document.querySelectorAll('[data-gl-view]')].map(
        view => view.shadowRoot.querySelector('.ask, .explorer').classList.contains('dark')))],
    turned: [...new Set([...document.querySelectorAll('.output img:not(.gl-as-it-is)')].map(
        image => getComputedStyle(image).filter.includes('invert')))],
    photos: [...new Set([...document.querySelectorAll('.output img.gl-as-it-is')].map(
        image => getComputedStyle(image).filter))],
})"""


def forms_are(page, *, dark):
    """They look at the deck's light one frame after it has changed."""
    wait_until(page, f"({LOOKS})().forms.join() === '{str(dark).lower()}'")


def test_a_teachers_deck_starts_light_on_a_dark_screen(deck, chromium):
    with DeckBrowser(dark=True, chromium=chromium) as browser:
        assert browser.open(deck).evaluate(LOOKS)["theme"] == "light"  # a projector wants that


def test_the_light_is_a_key_and_a_button_and_remembered(deck, offline):
    page = offline.open(deck)
    light = page.evaluate(LOOKS)
    assert (light["theme"], light["paper"]) == ("light", "rgb(255, 255, 255)")
    assert light["forms"] == light["turned"] == [False]
    page.keyboard.press("t")
    forms_are(page, dark=True)
    dark = page.evaluate(LOOKS)
    assert dark["theme"] == "dark"
    assert sum(map(int, re.findall(r"\d+", dark["paper"])[:3])) < 120
    assert dark["forms"] == dark["turned"] == [True]  # a white chart would dazzle
    assert dark["photos"] == ["none"]  # white digits stay white
    again = offline.open(deck)
    assert again.evaluate("document.documentElement.dataset.theme") == "dark"
    assert offline.open(deck, "?print-pdf").evaluate(LOOKS)["theme"] == "light"
    again.mouse.move(300, 300)
    again.get_by_role("button", name="Dark (T)").click()
    bright = again.evaluate(LOOKS)
    assert (bright["theme"], bright["ink"]) == ("bright", "rgb(0, 0, 0)")
    again.keyboard.press("t")
    assert again.evaluate(LOOKS)["theme"] == "light"


@pytest.mark.parametrize("presses", range(3), ids=["light", "dark", "bright"])
def test_every_light_has_contrast(presses, deck, offline):
    page = offline.open(deck)
    for _ in range(presses):
        page.keyboard.press("t")
    for anchor in ("Predict", "Run,-and-compare", "Computed-in-vain", "The-step,-as-it-runs"):
        go_to(page, anchor)
        while page.evaluate("Reveal.availableFragments().next"):
            page.keyboard.press("ArrowRight")
        forms_are(page, dark=presses == 1)
        wait_until(page, "!document.getAnimations().some(a => a instanceof CSSTransition)")
        found = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
        assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found] == [], anchor


def test_a_button_magnifies_and_escape_ends_it(deck, offline):
    page = offline.open(deck)
    go_to(page, "Computed-in-vain")
    heading = page.locator("section.present section.present h3")
    before = heading.bounding_box()
    page.mouse.move(300, 300)
    page.get_by_role("button", name="Magnify").click()
    page.mouse.click(before["x"], before["y"])
    assert heading.bounding_box()["width"] == pytest.approx(2 * before["width"], rel=0.01)
    assert heading.bounding_box()["x"] == pytest.approx(before["x"], abs=1)  # it grows in its place
    page.keyboard.press("Escape")
    assert heading.bounding_box() == before
    assert not page.evaluate("Reveal.isOverview()")
    page.keyboard.press("m")
    assert heading.bounding_box()["width"] > before["width"]
    go_to(page, "Predict")  # another slide comes whole
    assert page.evaluate("document.querySelector('.reveal').style.transform") == ""


def test_the_speaker_view_opens_from_disk(deck, offline):
    page = offline.open(deck)
    with offline.context.expect_page() as opened:
        page.keyboard.press("s")
    notes = opened.value
    shown = notes.locator(".speaker-controls-notes .value")
    shown.get_by_text("Teacher, 35 minutes.").wait_for()
    go_to(page, "Predict")
    shown.get_by_text("Let the class vote by hand").wait_for()
    assert "<details>" not in shown.inner_html()
    # The two previews follow: what is shown, and what comes next.
    current, upcoming = notes.frames[1:]
    wait_until(current, "Reveal.getCurrentSlide().id === 'Predict'")
    wait_until(upcoming, "Reveal.getCurrentSlide().id === 'Run,-and-compare'")


def test_every_section_says_something_to_the_teacher(walk):
    assert any("minutes" in text for text in walk.notes)
    assert any(re.search(r"[Ww]rong answer", text) for text in walk.notes)


def test_print_has_every_slide(notebook_path, walk, built, tmp_path, offline):
    deck = built / "slides" / f"{notebook_path.stem}.html"
    pdf = tmp_path / "deck.pdf"
    print_pdf(offline, deck, pdf)
    explorers = deck.read_text(encoding="utf-8").count('<div class="gl-explorer')
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
    assert pages == walk.total + 2 * explorers  # each is shown at three moments
    assert [path.name for path in tmp_path.iterdir()] == ["deck.pdf"]


def test_print_shows_answers_and_tables(deck, offline):
    page = offline.open(deck, "?print-pdf")
    page.emulate_media(media="print")
    summary = page.locator("[data-gl-answers] .summary").first
    assert summary.is_visible()
    assert summary.inner_text() == "No prediction was made; this is what was measured."
    assert page.locator("[data-gl-answers] .answers tbody .measured").first.is_visible()
    assert page.locator(".gl-table table").first.is_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.sheet')].every(s => s.scrollHeight <= s.clientHeight + 1)"
    )


def test_without_javascript_all_is_there(notebook_path, built, chromium):
    with DeckBrowser(script=False, chromium=chromium) as browser:
        page = browser.open(built / "slides" / f"{notebook_path.stem}.html")
        total = page.locator(".slides > section > section").count()
        assert total > 5
        for part in page.locator(".sheet, [data-gl-question], [data-gl-answers], img").all():
            assert part.is_visible()
        boxes = page.locator(".sheet").evaluate_all(
            "all => all.map(sheet => sheet.getBoundingClientRect()).map(r => [r.top, r.bottom])"
        )
        assert all(above[1] <= below[0] + 1 for above, below in itertools.pairwise(boxes))
        assert page.evaluate("document.documentElement.scrollWidth") <= deck_browser.SIZE["width"]
        assert browser.requests == []
        assert browser.errors == []


# An explorer in a deck ----------------------------------------------------------------------------

EXPLORER = "from gan_lessons.classroom.explorer import explore\n\nexplore()"


@pytest.fixture(scope="module")
def explorer_deck(tmp_path_factory):
    """A deck of three slides, the explorer on the second; built as lessons are."""
    folder = tmp_path_factory.mktemp("explorer")
    shown = [{"slideshow": {"slide_type": "slide"}}, {"slideshow": {"slide_type": "slide"}}]
    cells = [
        nbformat.v4.new_markdown_cell("# Before", metadata=shown[0]),
        nbformat.v4.new_code_cell(EXPLORER, metadata=shown[1]),
        nbformat.v4.new_markdown_cell("# After", metadata=shown[0]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "90-explorer.ipynb")
    command = [sys.executable, "-m", "gan_lessons.classroom.export.build", "slides"]
    where = ["--notebooks", str(folder), "--build", str(folder)]
    subprocess.run([*command, *where], check=True, capture_output=True, timeout=300)
    return folder / "slides" / "90-explorer.html"


HOST = "Reveal.getCurrentSlide().querySelector('[data-gl-explorer]')"


def moment(page):
    """(Number of the slide, moment of its explorer or None)."""
    return tuple(page.evaluate(f"[Reveal.getSlidePastCount(), {HOST}?.explorerMoment ?? null]"))


def test_a_clicker_walks_all_moments_and_back(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    count = page.evaluate(f"{HOST}.explorerMoments")
    assert count > 5
    way = [(0, None), *((1, k) for k in range(count)), (2, None)]
    page.keyboard.press("PageUp")
    for steps, keys in (
        (way, ("PageDown", "Space", "ArrowRight")),
        (way[::-1], ("PageUp", "ArrowLeft")),
    ):
        assert moment(page) == steps[0]
        for key, place in zip(itertools.cycle(keys), steps[1:]):
            page.keyboard.press(key)
            assert moment(page) == place, key


def test_the_slide_goes_on_from_where_the_explorer_was_moved_to(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    explorer = ExplorerPage(page.locator("section.present .explorer").last)
    explorer.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert moment(page) == (1, 3)
    page.keyboard.press("PageDown")  # a clicker needs no Escape
    assert moment(page) == (1, 4)
    explorer.choose("S2: detach")  # another strategy has other moments
    assert explorer.shown().strategy == "S2: detach"
    count = page.evaluate(f"{HOST}.explorerMoments")
    explorer.press("End")
    assert moment(page) == (1, count - 1)
    page.keyboard.press("PageUp")
    assert moment(page) == (1, count - 2)
    explorer.press("Home")
    page.keyboard.press("PageUp")
    assert moment(page)[0] == 0


def test_an_explorer_with_the_focus_leaves_the_deck_its_keys(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    explorer = ExplorerPage(page.locator("section.present .explorer").last)
    for key, state in (("b", "isPaused"), (".", "isPaused"), ("o", "isOverview")):
        explorer.press(key)
        assert page.evaluate(f"Reveal.{state}()"), key
        page.keyboard.press(key)
        assert not page.evaluate(f"Reveal.{state}()"), key
    explorer.press("f")
    wait_until(page, "document.fullscreenElement !== null")
    page.evaluate("document.exitFullscreen()")
    with offline.context.expect_page() as opened:
        explorer.press("s")
    opened.value.locator(".speaker-controls-notes").wait_for(state="attached")
    assert moment(page) == (1, 0)


def test_paper_shows_the_moments_that_matter(explorer_deck, offline, tmp_path):
    total = offline.open(explorer_deck).evaluate("Reveal.getTotalSlides()")
    page = offline.open(explorer_deck, "?print-pdf")
    captions = [*filter(None, page.locator(".pdf-page .explorer .caption").all_inner_texts())]
    lines = page.locator(".pdf-page .explorer .code [aria-current=step]").all_inner_texts()
    assert len(captions) == len({*captions}) == 3
    for line, call in zip(
        lines, ("d_loss.backward(", "g_loss.backward(", "opt_g.step("), strict=True
    ):
        assert call in line
    print_pdf(offline, explorer_deck, tmp_path / "deck.pdf")
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "deck.pdf").read_bytes())
    assert len(pages) == total + 2


def test_an_explorer_before_a_question_keeps_the_totals_to_itself(built, offline):
    page = offline.open(built / "slides" / "05-compare.html")
    host = page.locator(".slide-no-totals [data-gl-explorer]")
    page.evaluate(
        "host => Reveal.slide(...Object.values(Reveal.getIndices(host.closest('section'))))",
        host.element_handle(),
    )
    ExplorerPage(host.locator(".explorer")).press("End")
    assert host.locator(".matrix, .stage").first.is_visible()
    assert not host.locator(".totals").is_visible()
    assert "FLOPs" not in host.locator(".explorer").inner_text()


def test_an_explorer_that_grows_still_fits(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    section = page.locator("section.present .explorer").last
    section.get_by_role("button", name="Compare").click()
    wait_until(page, "document.querySelector('section.present .sheet.wide').scrollHeight <= 721")


def test_the_explorer_without_javascript_is_its_first_picture(explorer_deck, chromium):
    with DeckBrowser(script=False, chromium=chromium) as browser:
        page = browser.open(explorer_deck)
        host = page.locator("[data-gl-explorer]")
        assert host.locator("img").first.is_visible()
        assert host.locator("table").first.is_visible()


def test_an_explorer_beside_too_much_is_found(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    page.locator("section.present section.present .sheet").evaluate(
        "sheet => sheet.insertAdjacentHTML('afterbegin', '<div style=\"height:160px\">x</div>')"
    )
    page.evaluate("glFit(Reveal.getCurrentSlide())")
    assert [line for line in overflows(page) if "needs a slide of its own" in line]
