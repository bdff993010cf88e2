"""An explorer saved as one file, opened from disk: what its address asks for is shown."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from explorer_page import ExplorerPage

from gan_lessons.classroom import explore
from tests.test_any_step import BATCH, Translator

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(chromium, saved):
    """Return ``open(address)``: the page from disk. Afterwards it has asked for nothing."""
    contexts, wrong = [], []

    def open_at(address="", path=saved, **options):
        context = chromium.new_context(viewport={"width": 1280, "height": 720}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: wrong.extend(outside(r.url)))
        page.goto(path.as_uri() + address)
        page.locator("section.explorer").wait_for()
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert wrong == []


def outside(url):
    """The address, if it is none of a file or of what is in the page."""
    return [] if url.startswith(("file:", "data:")) else [url]


def lines_of(page):
    return ExplorerPage(page.locator("section.explorer")).shown().lines


def numbered(film):
    """The moments that have a number."""
    return [moment for moment in film["moments"] if not moment.get("silent")]


def test_its_keys_work_before_anything_is_clicked(opened):
    page = opened()
    first = page.locator("section.explorer output").first.inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "old => [...document.querySelectorAll('*')].find(e => e.shadowRoot).shadowRoot"
        ".querySelector('output').textContent !== old",
        arg=first,
    )
    assert page.locator("section.explorer output").first.inner_text().startswith("2 of")


def line_at(film, number):
    """What is marked at moment ``number``, counted from 1."""
    frame = numbered(film)[number - 1]
    return [line.strip() for line in film["source"][frame["line"] - 1 : frame["last"]]]


def whole(wanted, key, what_if=""):
    film = wanted.data["films"][key]
    found = [v["film"] for v in wanted.data["variants"][key] if v["key"] == what_if]
    return film | (found[0] if found else {})


def asked(address):
    return dict(part.split("=") for part in address.partition("#")[2].split("&"))


def test_without_an_address_it_stands_as_it_was_made(opened, wanted):
    page = opened()
    assert lines_of(page) == line_at(whole(wanted, wanted.strategy), 1)
    assert page.title() == "S1: retain the graph · S2: detach · S3: generator first"
    assert page.get_by_role("alert").all_inner_texts() == [""]


@pytest.mark.parametrize(
    ("key", "at", "what_if"),
    [("detach", 8, ""), ("retain_graph", 10, ""), ("generator_first", 3, ""),
     ("detach", 9, "no_zero_grad_g"), ("retain_graph", 1, "step_first")],
)  # fmt: skip
def test_the_address_chooses_strategy_moment_and_what_if(opened, wanted, key, at, what_if):
    page = opened(f"#strategy={key}&at={at}" + (f"&whatif={what_if}" if what_if else ""))
    film = whole(wanted, key, what_if)
    shown = ExplorerPage(page.locator("section.explorer")).shown()
    assert shown.strategy == wanted.data["films"][key]["title"]
    assert shown.lines == line_at(film, at)
    assert shown.count == f"{at} of {len(numbered(film))}"
    assert page.locator(".outcome").count() == bool(what_if)
    assert page.get_by_role("alert").inner_text() == ""


def test_the_address_goes_along_and_leads_back(opened, wanted):
    page = opened("#strategy=detach&at=5")
    ExplorerPage(page.locator("section.explorer")).press("ArrowRight", "3", "End")
    last = len(numbered(whole(wanted, "generator_first")))
    page.wait_for_url(re.compile(f"at={last}$"))
    assert asked(page.url) == {"strategy": "generator_first", "at": str(last)}
    again = opened("#" + page.url.partition("#")[2])
    assert lines_of(again) == lines_of(page)


def test_the_link_to_a_step_is_copied_and_shown_where_that_is_refused(opened, saved):
    page = opened("#strategy=detach&at=5", permissions=["clipboard-read", "clipboard-write"])
    ExplorerPage(page.locator("section.explorer")).press("ArrowRight")
    here = f"{saved.as_uri()}#strategy=detach&at=6"
    link, frame = page.locator(".copying button").all()
    link.click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == here
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(Error('no')); }")
    frame.click()
    shown = page.get_by_label("Copy this").input_value()
    assert f'src="{here.replace("&", "&amp;")}"' in shown
    assert shown.startswith("<iframe ")


def test_another_address_is_followed(opened, wanted):
    """As when a link beside the frame is clicked."""
    page = opened("#strategy=detach&at=5&whatif=no_zero_grad_d")
    page.evaluate("location.hash = '#strategy=retain_graph&at=9'")
    page.get_by_role("button", name="S1: retain the graph", pressed=True).wait_for()
    assert lines_of(page) == line_at(whole(wanted, "retain_graph"), 9)
    assert page.locator(".outcome").count() == 0


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("#strategy=detatch", "The address asks for strategy=detatch, which is not here; these "
         "are: retain_graph, detach, generator_first."),
        ("#strategy=detach&at=999", "The address asks for at=999; detach has moments 1 to"),
        ("#at=zero", "The address asks for at=zero; retain_graph has moments 1 to"),
        ("#at=0", "The address asks for at=0"),
        ("#strategy=detach&whatif=magic", "which detach does not have; these are there: no_detach"),
        ("#compare=retain_graph", "cannot stand beside retain_graph; these can: detach"),
        ("#step=3", "The address has step=, which this page does not know"),
        ("#strategy=<b>x</b>", "The address asks for strategy=<b>x</b>, which is not here"),
        ("#nonsense", "The address has nonsense=, which this page does not know"),
    ],
)  # fmt: skip
def test_what_an_address_cannot_have_is_said_in_a_sentence(opened, wanted, address, sentence):
    page = opened(address)
    told = page.get_by_role("alert").inner_text()
    assert sentence in told
    assert told.endswith(".")
    key = "detach" if "strategy=detach&" in address else "retain_graph"
    shown = ExplorerPage(page.locator("section.explorer")).shown()
    assert shown.strategy == wanted.data["films"][key]["title"]
    assert lines_of(page) == line_at(whole(wanted, key), 1)
    page.evaluate("location.hash = '#strategy=detach&at=2'")  # mended: the sentence goes
    page.locator(".address").wait_for(state="detached")


def test_a_name_that_every_object_has_is_no_strategy(opened):
    assert "which is not here" in opened("#strategy=constructor").get_by_role("alert").inner_text()


def test_in_a_frame_of_another_page(opened, wanted, saved, tmp_path):
    outer = tmp_path / "blog.html"
    outer.write_text(
        f'<!doctype html><html lang="en"><title>A blog</title><main><h1>Mine</h1>'
        f'<iframe title="explorer" width="900" height="600" '
        f'src="{saved.as_uri()}#strategy=generator_first&at=4"></iframe></main></html>'
    )
    context = opened().context  # its guards hold for every page of it
    page = context.new_page()
    page.goto(outer.as_uri())
    inside = ExplorerPage(page.frame_locator("iframe").locator("section.explorer"))
    film = whole(wanted, "generator_first")
    assert inside.shown().lines == line_at(film, 4)
    inside.press("ArrowRight")
    assert inside.shown().lines == line_at(film, 5)


def test_a_line_that_changes_nothing_goes_by_the_number_before_it(opened, wanted):
    page = opened("#strategy=detach&at=1")
    ExplorerPage(page.locator("section.explorer")).every_line()
    page.locator("section.explorer").focus()
    page.keyboard.press("End")
    film = whole(wanted, "detach")
    page.wait_for_url(re.compile(f"at={len(numbered(film))}$"))
    page.keyboard.press("Home")
    page.wait_for_url(re.compile("at=1$"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessibility(opened, scheme, width):
    page = opened("#strategy=detach&at=8&whatif=magic", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 720})
    classes = (page.locator("section.explorer").get_attribute("class") or "").split()
    assert ("dark" in classes) == (scheme == "dark")
    found = Axe().run(page)
    told = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found.response["violations"]]
    assert told == []
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_without_scripts_the_table_and_the_picture_stand_there(chromium, saved):
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(saved.as_uri())
        page.get_by_role("table").first.wait_for()
        assert page.locator("img").count() == 1
    finally:
        context.close()


def test_three_nets_fit_on_a_page(opened, tmp_path):
    """Two discriminators: nothing of the stage is cut off, and the matrix comes below it."""
    mine = Translator()
    path = explore(mine.step, args=BATCH.unbind(), **mine.own).save(tmp_path / "three-nets.html")
    page = opened("#at=4", path)
    hidden = page.locator(".stage").evaluate(
        "e => [e.scrollWidth - e.clientWidth, e.scrollHeight - e.clientHeight]"
    )
    assert max(hidden) <= 1
    stage, players, below = (
        page.locator(place).bounding_box() for place in (".stage", ".players", ".below")
    )
    assert players["y"] >= stage["y"]
    assert below["y"] >= stage["y"] + stage["height"]
    assert below["height"] > 100
    assert page.locator(".players .frame").count() == 3
