"""The cost lab in a page that is opened from disk: what it shows is what was counted."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from gan_lessons.classroom import cost_lab, explore
from gan_lessons.lens.cost import flops_text

pytestmark = pytest.mark.browser

WIDTHS = (16, 64, 256)


@pytest.fixture(scope="module")
def made():
    return cost_lab(widths=WIDTHS, group="a")


def shown_numbers(page):
    return page.locator(".bars .number").all_inner_texts()


def wanted_numbers(lab, g, d):
    totals = [sum(lab.flops(key, g, d).values()) for key in lab.data["order"]]
    return [f"{flops_text(total)} · {total / totals[2]:.2f} ×" for total in totals]


def test_the_sliders_move_the_bars_by_keyboard(from_disk, made):
    page = from_disk(made.to_html())
    sliders = page.get_by_role("slider")
    assert shown_numbers(page) == wanted_numbers(made, 64, 64)
    sliders.nth(0).press("ArrowLeft")
    assert shown_numbers(page) == wanted_numbers(made, 16, 64)
    sliders.nth(1).press("End")
    assert shown_numbers(page) == wanted_numbers(made, 16, 256)
    assert (
        "G 16 wide, D 256 wide: S1: retain the graph needs the fewest"
        in page.locator(".told").inner_text()
    )
    assert page.locator("td.now").inner_text() == wanted_numbers(made, 16, 256)[0].split()[3]
    assert page.errors == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []


def test_bars_are_as_long_as_the_counts(from_disk, made):
    page = from_disk(made.to_html())
    page.locator(".map td", has_text="1.").first.click()
    page.emulate_media(reduced_motion="reduce")
    g, d = (WIDTHS[int(page.get_by_role("slider").nth(i).input_value())] for i in (0, 1))
    counted = {key: list(made.flops(key, g, d).values()) for key in made.data["order"]}
    most = max(map(sum, counted.values()))
    for row, parts in enumerate(counted.values()):
        bar = page.locator(".bars .bar").nth(row)
        styles = bar.locator(".part").evaluate_all("all => all.map(e => parseFloat(e.style.width))")
        assert styles == pytest.approx([100 * n / most for n in parts], rel=1e-4)


def test_a_strategy_is_chosen_and_its_formula_told(from_disk, made):
    page = from_disk(made.to_html())
    page.get_by_role("button", name="S1: retain the graph").click()
    total = sum(made.flops("retain_graph", 64, 64).values())
    told = page.locator(".detail").inner_text()
    assert f"5 F_G − 2 I_G + 8 F_D − I_D = {total:,} FLOPs" in told
    chosen = page.locator(".bars [aria-pressed=true]").all_inner_texts()
    assert chosen == ["S1: retain the graph"]


def test_it_follows_the_explorer_of_its_group(from_disk, made):
    page = from_disk(explore(group="a", what_if=False).to_html(), made.to_html())
    page.locator("section.explorer").get_by_role("button", name="S2: detach").click()
    chosen = page.locator("section.lab .bars [aria-pressed=true]").all_inner_texts()
    assert chosen == ["S2: detach"]
    page.locator("section.lab").get_by_role("button", name="S3: generator first").click()
    pressed = page.locator("section.explorer .strategies [aria-pressed=true]").all_inner_texts()
    assert pressed == ["S3: generator first"]
    assert page.errors == []


@pytest.mark.parametrize("background", ["#fff", "#111"])
def test_axe_finds_nothing(from_disk, made, background):
    page = from_disk(made.to_html(), background=background)
    page.get_by_role("button", name="S1: retain the graph").click()
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found] == []
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_without_scripts_the_table_stands_there(from_disk, made):
    page = from_disk(made.to_html(), java_script_enabled=False)
    assert page.get_by_role("table").count() == 1
    total = flops_text(sum(made.flops("retain_graph", 64, 64).values()))
    assert total in page.get_by_role("table").inner_text()
