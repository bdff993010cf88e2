"""Every deck, opened from disk with the network cut off, as a teacher would go through it."""

import itertools
import re
import subprocess
import sys
import time

import deck_browser
import nbformat
import pytest
from deck_browser import DeckBrowser, overflows, print_pdf, slides
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


def test_every_slide_fits(notebook_path, built, offline):
    page = offline.open(built / "slides" / f"{notebook_path.stem}.html")
    found, visited = [], 0
    for number, name in slides(page):
        visited = number
        found += [f"slide {number} (#{name}): {line}" for line in overflows(page)]
    assert found == []
    assert visited == page.evaluate("Reveal.getTotalSlides()")
    assert visited > 5


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
        entered: !Reveal.getCurrentSlide().querySelector('.fragment.visible'),
        empty: ![...parts, ...sheet.querySelectorAll('.waits')].some(seen),
        parts: parts.map(part => ({
            text: part.textContent.trim().slice(0, 40), seen: seen(part),
            output: part.matches('.outputs'),
            asks: groups(part, 'question'), answers: groups(part, 'answers'),
        })),
    };
}"""


def given_away(seen, pending):
    """What can be seen though a question is not answered yet. ``pending`` is kept up to date."""
    found, covered = [], False
    for part in seen["parts"]:
        if part["seen"] and covered:
            found.append(f"{part['text']!r} stands below an answer that is still hidden")
        if part["seen"] and seen["entered"] and pending and part["output"] and not part["asks"]:
            found.append(f"{part['text']!r} comes between a question and its answer")
        covered = covered or bool(part["answers"] and not part["seen"])
        if part["seen"]:
            pending.update(part["asks"])
            pending.difference_update(part["answers"])
    return found


def test_nothing_is_seen_before_its_answer(notebook_path, built, offline):
    page = offline.open(built / "slides" / f"{notebook_path.stem}.html")
    hosts = (
        "kind => [...document.querySelectorAll(`[data-gl-${kind}]`)].map(h => h.dataset.glGroup)"
    )
    asked, answered = (set(page.evaluate(hosts, kind)) for kind in ("question", "answers"))
    assert asked == answered
    pending: set[str] = set()
    found: list[str] = []
    while True:
        seen = page.evaluate(SEEN)
        where = page.evaluate("Reveal.getCurrentSlide().id")
        found += [f"#{where}: {line}" for line in given_away(seen, pending)]
        found += [f"#{where} comes empty"] if seen["empty"] else []
        if seen["entered"]:
            forms = page.locator("section.present section.present [data-gl-question] .verdict")
            assert not any(forms.all_inner_texts())
        if page.evaluate("Reveal.isLastSlide() && !Reveal.availableFragments().next"):
            break
        page.evaluate("Reveal.next()")
    assert found == []
    assert pending == set()  # every answer was seen


def test_what_is_given_away_is_found(built, offline):
    page = offline.open(built / "slides" / "06-leaner-steps.html")
    page.evaluate(
        "document.querySelectorAll('.fragment').forEach(f => f.classList.remove('fragment'))"
    )
    page.evaluate("Reveal.sync()")
    seen = page.evaluate(SEEN)
    pending: set[str] = set()
    found: list[str] = []
    while not page.evaluate("Reveal.isLastSlide()"):
        found += given_away(page.evaluate(SEEN), pending)
        page.evaluate("Reveal.next()")
    assert any("between a question and its answer" in line for line in found)
    part = {"text": "x", "output": True, "asks": [], "answers": []}
    hidden, shown = {**part, "seen": False, "answers": ["q"]}, {**part, "seen": True}
    below = given_away({**seen, "parts": [hidden, shown]}, {"q"})
    assert "'x' stands below an answer that is still hidden" in below


# The check itself: what it has to find, and that it names it.
SPOILS = {
    "px too low": '<p style="margin-top:700px">deep</p>',
    "px right of": '<div style="width:2000px">wide</div>',
    "text of 9.0 px": '<p style="font-size:9px">tiny</p>',
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
        "≠ not as predicted\nMeasured: ∇ yes: all 6 parameters\nNo optimizer step used it."
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


def test_every_section_says_something_to_the_teacher(notebook_path, built, offline):
    page = offline.open(built / "slides" / f"{notebook_path.stem}.html")
    notes = page.locator("aside.notes").all_text_contents()
    assert any("minutes" in text for text in notes)
    assert any(re.search(r"[Ww]rong answer", text) for text in notes)


def test_print_has_every_slide(notebook_path, built, tmp_path, offline):
    deck = built / "slides" / f"{notebook_path.stem}.html"
    total = offline.open(deck).evaluate("Reveal.getTotalSlides()")
    pdf = tmp_path / "deck.pdf"
    print_pdf(offline, deck, pdf)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes())) == total
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


def test_the_explorer_steps_and_the_slide_stays(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    number = page.evaluate("Reveal.getSlidePastCount()")
    assert number == 1
    assert overflows(page) == []
    explorer = ExplorerPage(page.locator("section.present .explorer").last)
    start = explorer.shown()
    explorer.press("ArrowRight", "ArrowRight", "ArrowRight")
    moved = explorer.shown()
    assert moved.count.split(" of ")[0] == str(int(start.count.split(" of ")[0]) + 3)
    assert moved.lines != start.lines
    explorer.choose("S2: detach")
    assert explorer.shown().strategy == "S2: detach"
    assert explorer.shown().ran != moved.ran
    assert page.evaluate("Reveal.getSlidePastCount()") == number
    # Escape gives the keys back to the slides; a clicker's Page Down would need no Escape.
    explorer.press("Escape")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getSlidePastCount()") == number + 1
    page.keyboard.press("PageUp")
    explorer.section.focus()
    page.keyboard.press("PageDown")
    assert page.evaluate("Reveal.getSlidePastCount()") == number + 1


def test_an_explorer_that_grows_still_fits(explorer_deck, offline):
    page = offline.open(explorer_deck)
    page.keyboard.press("ArrowRight")
    section = page.locator("section.present .explorer").last
    section.get_by_label("Compare with").select_option(index=1)
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
