"""The explorer in a page that is opened from disk: no kernel, no network."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from explorer_page import ExplorerPage, backwards, differences

from gan_lessons import published
from gan_lessons.classroom import Together, explore

pytestmark = pytest.mark.browser


def test_every_moment_from_disk(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    data = wanted.data
    for number, key in enumerate(data["order"], 1):
        film = data["films"][key]
        explorer.press(str(number))
        explorer.every_line()
        explorer.press("Home")
        for moment in range(len(film["moments"])):
            assert differences(explorer.shown(), film, moment, data) == []
            page.keyboard.press("ArrowRight")
        explorer.open_operations()
        page.keyboard.press("Home")
        for moment in range(len(film["moments"])):
            shown = explorer.shown()
            assert len(shown.nodes) == len(film["nodes"])
            assert differences(shown, film, moment, data) == []
            page.keyboard.press("ArrowRight")
    assert page.errors == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []


def test_a_click_on_a_line_goes_there(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    film = wanted.data["films"]["retain_graph"]
    target = backwards(film)[1]
    explorer.every_line()
    page.locator(".code .line .text", has_text="g_loss.backward()").click()
    assert differences(explorer.shown(), film, target, wanted.data) == []
    page.locator(".memory span").nth(3).click()
    assert explorer.shown().bar == 3


def test_two_explorers_are_linked_by_phase(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.compare_with("generator_first")
    films = [wanted.data["films"][key] for key in ("retain_graph", "generator_first")]
    for phase in ("backward D", "backward G"):
        moments = [
            max(i for i, frame in enumerate(film["moments"]) if frame["phase"] == phase)
            for film in films
        ]
        explorer.go_to(moments[0])
        now = page.locator(".pane").nth(1).locator(".code [aria-current=step] .text")
        frame = films[1]["moments"][moments[1]]
        source = films[1]["source"][frame["line"] - 1 : frame["last"]]
        assert now.all_inner_texts() == [line.strip() for line in source]


def test_a_choice_at_the_start_stays_at_the_start(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.every_line()
    explorer.press("Home")
    for key in ("2", "3", "1"):
        explorer.press(key)
        assert explorer.shown().bar == 0


def test_an_error_has_a_way_to_its_line(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.press("2")
    explorer.try_out("Leave out .detach()")
    way = page.locator(".outcome").get_by_role("button", name="Go there")
    way.click()
    assert explorer.shown().caption.startswith("✗")
    assert way.count() == 0  # one is there
    explorer.press("ArrowLeft")
    assert way.is_visible()


def test_the_current_column_is_in_view(from_disk, wanted):
    page = from_disk(wanted.to_html())
    page.set_viewport_size({"width": 420, "height": 900})
    explorer = ExplorerPage(page.locator("section.explorer"))
    for keys in (["End", "ArrowLeft"], ["Home", *["ArrowRight"] * 5]):
        explorer.press(*keys)
        box = page.locator(".matrix").bounding_box()
        head = page.locator("thead [aria-current]").bounding_box()
        assert box is not None
        assert head is not None
        assert box["x"] - 1 <= head["x"]
        assert head["x"] + head["width"] <= box["x"] + box["width"] + 1


def test_one_page_follows_another_of_its_group(from_disk):
    first, second, stranger = explore(group="a"), explore(group="a"), explore(group="b")
    page = from_disk(*(e.to_html() for e in (first, second, stranger)))
    views = [ExplorerPage(page.locator("section.explorer").nth(i)) for i in range(3)]
    views[0].press("2", "End")
    assert [v.shown().strategy for v in views] == ["S2: detach"] * 2 + ["S1: retain the graph"]


def test_an_error_is_shown_at_the_line_that_raised(from_disk):
    failing = explore(published.retain_graph_as_printed)
    page = from_disk(failing.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.every_line()
    explorer.press("End")
    (film,) = failing.data["films"].values()
    assert differences(explorer.shown(), film, len(film["moments"]) - 1, failing.data) == []
    assert explorer.shown().lines == ["g_loss.backward()"]
    assert page.locator(".code .raised .text").all_inner_texts() == ["g_loss.backward()"]
    assert "has rewritten it since" in explorer.shown().caption


def test_what_if_shows_the_changed_line_and_what_became_of_it(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    for number, key in enumerate(wanted.data["order"], 1):
        explorer.press(str(number))
        explorer.every_line()
        for variant in wanted.data["variants"][key]:
            explorer.try_out(variant["title"])
            film = wanted.data["films"][key] | variant["film"]
            explorer.press("End")
            last = len(film["moments"]) - 1
            title = wanted.data["films"][key]["title"]
            expected = film | {"title": title}
            assert differences(explorer.shown(), expected, last, wanted.data) == []
            assert variant["outcome"]["message"] in page.locator(".outcome").inner_text()
            warns = variant["outcome"]["kind"] in ("error", "wrong")
            assert page.locator(".outcome.warns").count() == warns
            old = [edit["old"].strip() for edit in variant["edits"] if edit["old"] is not None]
            assert page.locator(".code .old .text").all_text_contents() == old
            new = [edit["new"].strip() for edit in variant["edits"] if edit["new"] is not None]
            assert page.locator(".code .new .text").all_text_contents() == new
            explorer.as_written()
    assert page.locator(".outcome").count() == 0
    assert page.errors == []


def test_pages_follow_the_strategy_of_their_explorer(from_disk):
    explorer = explore(what_if=False)
    views = Together(explorer, cost={key: f"page of {key}" for key in explorer.data["order"]})
    page = from_disk(views.to_html())
    shown = page.locator("[data-gl-page]:visible")
    assert shown.all_inner_texts() == ["page of retain_graph"]
    ExplorerPage(page.locator("section.explorer")).press("3")
    assert shown.all_inner_texts() == ["page of generator_first"]


def test_play_goes_on_by_itself_and_stops(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    page.get_by_role("button", name="Play").press("Enter")
    page.wait_for_function(
        "document.querySelector('[data-gl-view]').shadowRoot.querySelector('output')"
        ".textContent.startsWith('2 of')"
    )
    page.get_by_role("button", name="Pause").press("Enter")
    shown = explorer.shown().bar
    page.wait_for_timeout(2200)  # longer than a moment lasts
    assert explorer.shown().bar == shown


def test_norms_are_told_on_hover(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    film = wanted.data["films"]["retain_graph"]
    explorer.go_to(backwards(film)[0])
    column = next(i for i, c in enumerate(film["columns"]) if c["text"] == "backward call 0")
    rows = page.locator(".matrix tbody tr.whole").all()
    for row, told in zip(rows, film["rows"], strict=True):
        cell = row.locator("td").nth(column)
        cell.hover()
        assert f"norm {told['cells'][column][1]}" in page.locator(".info").inner_text()


def test_nodes_are_reached_by_the_keyboard(from_disk, wanted):
    page = from_disk(wanted.to_html())
    ExplorerPage(page.locator("section.explorer")).press("End", "z")
    page.locator(".graph g.node[tabindex='0']").focus()
    told = []
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        told.append(page.locator(".info").inner_text())
    assert len(set(told)) == 3
    assert all(told)


@pytest.mark.parametrize(
    ("background", "size", "keys"),
    [("#fff", 1280, "1"), ("#111", 1280, "2"), ("#fff", 400, "3"), ("#111", 640, "1")],
)
def test_accessibility(from_disk, wanted, background, size, keys):
    page = from_disk(wanted.to_html(), background=background)
    page.set_viewport_size({"width": size, "height": 720})
    explorer = ExplorerPage(page.locator("section.explorer"))
    moment = backwards(wanted.data["films"]["retain_graph"])[0]
    explorer.press(keys)
    explorer.go_to(moment)
    explorer.section.locator("summary").click()
    dark = "dark" in (explorer.section.get_attribute("class") or "").split()
    assert dark == (background == "#111")
    found = Axe().run(page)
    told = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found.response["violations"]]
    assert told == []
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0


def test_without_scripts_the_table_and_the_picture_stand_there(from_disk, wanted):
    page = from_disk(wanted.to_html(), java_script_enabled=False)
    page.get_by_role("table").first.wait_for()
    assert page.locator("img").count() == 1


def test_reduced_motion_is_respected(from_disk, wanted):
    page = from_disk(wanted.to_html(), reduced_motion="reduce")
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.go_to(backwards(wanted.data["films"]["retain_graph"])[0])
    assert "vain" in explorer.shown().ways
    back = page.locator(".back-vain .back").first
    assert back.evaluate("e => getComputedStyle(e).animationName") == "none"
    explorer.open_operations()
    assert explorer.shown().walked
    edge = page.locator(".edge.walked path").first
    assert edge.evaluate("e => getComputedStyle(e).animationName") == "none"


def test_two_beside_each_other_change_places(from_disk, wanted):
    page = from_disk(wanted.to_html())
    explorer = ExplorerPage(page.locator("section.explorer"))
    explorer.compare_with("detach")
    explorer.press("2")
    assert explorer.shown().strategy == wanted.data["films"]["detach"]["title"]
    assert page.get_by_label("Compare with").input_value() == "retain_graph"
    assert page.locator(".pane").count() == 2
