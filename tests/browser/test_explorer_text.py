"""Words of the text around an explorer that show one of its lines, in a plain page."""

from __future__ import annotations

import pytest
from explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

BACKWARD, STEP = "d_loss.backward", "opt_d.step()"
TEXT = (
    f'<p><a href="#at={BACKWARD}">who receives</a> and <a href="#at={STEP}"><code>it</code></a></p>'
)


def opened(from_disk, wanted, **options):
    """A page with words above the explorer, which is drawn; and what each moment is at."""
    page = from_disk(TEXT, wanted.to_html(), **options)
    line = page.locator(".explorer li[aria-current=step]")
    return page, lambda: line.inner_text().replace("\u200b", "")


def test_words_show_their_line_while_the_pointer_is_on_them(from_disk, wanted):
    page, line = opened(from_disk, wanted)
    before = line()
    links = page.locator("p a")
    links.nth(0).hover()
    assert BACKWARD in line()
    assert links.nth(0).get_attribute("aria-current") == "true"
    links.nth(1).locator("code").hover()
    assert STEP in line()
    assert links.nth(0).get_attribute("aria-current") is None
    page.mouse.move(1, 700)
    assert line() == before
    assert page.errors == []


def test_the_focus_shows_it_too_and_enter_or_a_click_stays_there(from_disk, wanted):
    page, line = opened(from_disk, wanted)
    before = line()
    page.locator("p a").nth(0).focus()
    assert BACKWARD in line()
    page.keyboard.press("Tab")
    assert STEP in line()
    page.evaluate("document.activeElement.blur()")
    assert line() == before
    page.locator("p a").nth(1).press("Enter")
    assert page.evaluate("location.hash") == ""
    page.evaluate("document.activeElement.blur()")
    assert STEP in line()
    said = page.locator(".caption[aria-live=polite]").inner_text()  # a screen reader reads this out
    assert "D moves: its 4 parameters" in said
    page.locator("p a").nth(0).click()
    page.mouse.move(1, 700)
    assert BACKWARD in line()


def test_what_the_explorer_comes_to_is_marked_in_the_text(from_disk, wanted):
    page, line = opened(from_disk, wanted)
    explorer = page.locator("section.explorer")
    marked = page.locator("a[aria-current=true]")
    seen = []
    explorer.press("Home")
    for _ in range(page.evaluate("document.querySelector('[data-gl-explorer]').explorerMoments")):
        seen += [(text, line()) for text in marked.all_inner_texts()]
        page.keyboard.press("ArrowRight")
    assert [text for text, _ in seen] == ["who receives", "it"]
    assert all(want in at for want, (_, at) in zip((BACKWARD, STEP), seen, strict=True))


def test_a_line_that_was_taken_out_is_shown_as_written_again(from_disk, wanted):
    text = '<p><a href="#at=opt_d.zero_grad()">it is cleared</a></p>'
    page = from_disk(text, wanted.to_html())
    ExplorerPage(page.locator("section.explorer")).try_out("Leave out opt_d.zero_grad()")
    page.locator(".outcome").wait_for()
    page.locator("p a").hover()
    assert page.locator(".outcome").count() == 1  # only to look at it changes no step
    page.locator("p a").click()
    assert page.locator(".outcome").count() == 0
    assert "opt_d.zero_grad()" in page.locator(".explorer li[aria-current=step]").inner_text()


def test_words_move_the_explorer_below_them_and_no_other(from_disk, wanted):
    first, second = wanted.fragment("one"), wanted.fragment("two")
    page = from_disk(first, TEXT, second)
    lines = page.locator(".explorer li[aria-current=step]")
    before = lines.nth(0).inner_text()
    page.locator("p a").nth(1).click()
    assert lines.nth(0).inner_text() == before
    assert STEP in lines.nth(1).inner_text().replace("\u200b", "")
