"""The explorer by keyboard, and by the page around it."""

from __future__ import annotations

import pytest
from explorer_page import ExplorerPage, backwards

from gan_lessons.classroom import explore

pytestmark = pytest.mark.browser


def loud(film):
    """The moments with an effect."""
    return [i for i, moment in enumerate(film["moments"]) if "silent" not in moment]


def test_it_starts_at_something_and_skips_what_changes_nothing(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    film = wanted.data["films"]["retain_graph"]
    stops = loud(film)
    assert len(stops) < len(film["moments"])
    seen = []
    for place in range(len(stops)):
        shown = explorer.shown()
        assert shown.count == f"{place + 1} of {len(stops)}"
        seen.append(shown.bar)
        explorer.press("ArrowRight")
    assert seen == stops
    for moment in reversed(stops[:-1]):
        explorer.press("ArrowLeft")
        assert explorer.shown().bar == moment


def test_a_click_goes_to_a_silent_line_and_next_goes_on_from_there(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    film = wanted.data["films"]["retain_graph"]
    page.locator(".code .line .text", has_text="ones, zeros").click()
    here = explorer.shown().bar
    assert here not in loud(film)
    explorer.press("ArrowLeft")
    assert explorer.shown().bar == max(i for i in loud(film) if i < here)
    page.locator(".code .line .text", has_text="ones, zeros").click()
    explorer.press("ArrowRight")
    assert explorer.shown().bar == min(i for i in loud(film) if i > here)


def test_only_the_keys_that_it_uses_are_kept_from_the_page(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    page.evaluate(
        "window.heard = []; document.addEventListener('keydown', e => window.heard.push(e.key))"
    )
    explorer.press("b", ".", "o", "s", "f", "PageDown", "PageUp")
    assert page.evaluate("window.heard") == ["b", ".", "o", "s", "f", "PageDown", "PageUp"]
    explorer.press("ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "Home", "End", "1", "z", "z")
    assert len(page.evaluate("window.heard")) == 7


def test_a_net_opens_into_its_operations_and_closes(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.go_to(backwards(wanted.data["films"]["retain_graph"])[0])
    assert explorer.shown().nodes == []  # drawn when it is wanted
    frame = page.locator(".players .frame").last
    assert "gradient arrives that a step will use" in (frame.get_attribute("aria-label") or "")
    frame.focus()
    page.keyboard.press("Enter")
    assert explorer.shown().opened
    assert "Addmm" in page.locator(".graph").inner_text()
    page.keyboard.press("Escape")
    assert not explorer.shown().opened
    page.locator(".players .call").first.click()
    assert explorer.shown().opened
    page.get_by_role("button", name="Close").click()
    assert not explorer.shown().opened


def test_a_line_is_struck_out_by_the_keyboard(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    page.get_by_role("button", name="What if: Leave out opt_d.zero_grad()").press("Enter")
    page.locator(".menu").get_by_role("button", name="Leave out opt_d.zero_grad()").press("Enter")
    assert page.locator(".code del").all_text_contents() == ["opt_d.zero_grad()"]
    assert page.locator(".outcome").inner_text().startswith("≠ Silently wrong")
    page.get_by_role("button", name="As written again").first.press("Enter")
    assert page.locator(".code del").count() == 0
    explorer.press("3")
    page.get_by_role("button", name="Freeze D while G learns").press("Enter")
    page.locator(".menu").get_by_role("button", name="Freeze D while G learns").press("Enter")
    assert page.locator(".outcome.calm").count() == 1
    assert page.errors == []


def test_a_question_mark_offers_what_it_can_change_and_changes_nothing_itself(from_disk, wanted):
    page = from_disk(wanted.to_html())
    ExplorerPage(page.locator("section.explorer")).press("2")
    offered = {}
    for button in page.locator(".code button.if").all():
        assert button.get_attribute("aria-expanded") == "false"
        button.click()
        assert button.get_attribute("aria-expanded") == "true"
        name = button.get_attribute("aria-label") or ""
        offered[name] = page.locator(".menu button").all_inner_texts()
        assert name == "What if: " + " · ".join(offered[name])
        assert page.locator(".outcome").count() == 0
    assert [len(titles) for titles in offered.values()] == [1, 1, 1, 1, 2]
    assert page.locator(".menu").count() == 1  # the one before it has closed
    button.click()
    assert page.locator(".menu").count() == 0
    button.click()
    page.locator(".transport .next").focus()
    assert page.locator(".menu").count() == 0
    assert page.errors == []


def test_what_is_offered_covers_no_line(from_disk, wanted):
    page = from_disk(f'<div style="width:1256px">{wanted.to_html()}</div>')
    explorer = ExplorerPage(page.locator("section.explorer"))
    for number in ("1", "2", "3"):
        explorer.press(number)
        for button in page.locator(".code button.if").all():
            button.click()
            menu = page.locator(".menu").bounding_box()
            texts = [text.bounding_box() for text in page.locator(".code .line .text").all()]
            assert menu is not None
            seen = [box for box in texts if box is not None]
            assert len(seen) > 10
            top, bottom = menu["y"], menu["y"] + menu["height"]
            assert [b for b in seen if b["y"] < bottom - 1 and top + 1 < b["y"] + b["height"]] == []
            button.click()


def test_as_written_again_the_same_line_is_looked_at(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.press("2")
    explorer.try_out("Leave out .detach()")
    page.locator(".outcome").get_by_role("button", name="Go there").click()
    lines = explorer.shown().lines
    explorer.as_written()
    assert explorer.shown().lines == lines == ["g_loss.backward()"]
    explorer.try_out("Leave out opt_d.zero_grad()")
    assert explorer.shown().lines == lines  # far from the line that is changed, too
    explorer.press("ArrowLeft")
    lines = explorer.shown().lines
    explorer.as_written()
    assert explorer.shown().lines == lines
    page.locator(".code .line .text", has_text="opt_d.zero_grad()").click()
    explorer.try_out("Leave out opt_d.zero_grad()")  # the line itself: what runs in its place
    assert explorer.shown().lines[0].startswith("pred_fake, pred_real")
    explorer.as_written()
    assert explorer.shown().lines == ["opt_d.zero_grad()"]


def test_the_symbols_do_not_cover_what_they_explain(from_disk, wanted):
    page = from_disk(f'<div style="width:1256px">{wanted.to_html()}</div>')
    ExplorerPage(page.locator("section.explorer"))
    page.locator(".legend summary").click()
    panel = page.locator(".legend > div").bounding_box()
    assert panel is not None
    for name in (".transport", ".caption", ".players", ".matrix", ".field"):
        box = page.locator(f"{name} >> visible=true").first.bounding_box()
        assert box is not None
        beside = box["x"] >= panel["x"] + panel["width"]
        assert beside or box["y"] + box["height"] <= panel["y"], name


def test_the_head_of_a_column_leads_to_its_moment(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    film = wanted.data["films"]["retain_graph"]
    for i in (len(film["columns"]) - 1, 1):
        page.locator("thead button").nth(i).press("Enter")
        assert explorer.shown().bar == film["columns"][i]["moment"]
        root = "document.querySelector('[data-gl-view]').shadowRoot"
        assert page.evaluate(f"{root}.activeElement.closest('th') !== null")
    page.keyboard.press("ArrowRight")  # and from there one walks on
    assert explorer.shown().bar > film["columns"][1]["moment"]


def test_the_head_unfolds_where_it_runs_and_folds_again(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    head = page.locator(".code .line").first
    assert not head.is_visible()
    explorer.every_line()
    explorer.press("Home")
    assert head.is_visible()
    explorer.press("End")
    assert not head.is_visible()
    page.locator(".code .folder").click()
    explorer.press("Home", "End")
    assert head.is_visible()


def test_the_page_can_ask_and_drive(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    page.evaluate(
        "window.told = []; document.addEventListener('explorer:moment',"
        " e => window.told.push([e.detail.index, e.detail.count, e.detail.moment]))"
    )
    stops = loud(wanted.data["films"]["retain_graph"])
    root = "document.querySelector('[data-gl-explorer]')"
    assert page.evaluate(f"{root}.explorerMoments") == len(stops)
    page.evaluate(f"{root}.goTo(3)")
    assert explorer.shown().bar == stops[3]
    assert page.evaluate(f"{root}.explorerMoment") == 3
    page.evaluate(f"{root}.goTo(99)")
    last = len(stops) - 1
    assert page.evaluate("window.told") == [
        [3, len(stops), stops[3]], [last, len(stops), stops[last]]
    ]  # fmt: skip


def test_a_row_unfolds_where_parameters_differ(from_disk):
    def my_step(gan, real, noise):
        first = next(iter(gan.discriminator.parameters()))
        gan.discriminator(real).mean().backward(inputs=[first])
        gan.optimizer_d.step()

    page = from_disk(explore(my_step, what_if=False).to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.press("End")
    parts = page.locator(".matrix tr.part")
    assert [part.is_visible() for part in parts.all()] == [False, False]
    page.get_by_role("button", name="Unfold the parameters of D").press("Enter")
    assert [part.is_visible() for part in parts.all()] == [True, True]
    assert page.locator(".matrix tr.whole td.mixed").count() > 0
