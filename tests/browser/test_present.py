"""Live slides, with the settings of ``make present``: every slide is reached, and widgets work."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import nbformat
import pytest
from explorer_page import ExplorerPage
from lab_browser import LabBrowser, NotebookPage
from lab_server import LabServer
from need_chromium import require_chromium

from gan_lessons.classroom.export import slide_type

pytestmark = pytest.mark.browser

LESSON = "02-strategy-1-retain-graph.ipynb"
# Where we are: the active cell, the cells of its slide, and where on the screen the first begins.
WHERE = """
    const shown = panel.content.widgets.flatMap(
        (cell, i) => cell.node.classList.contains('jp-deck-mod-visible') ? [i] : []);
    return {active: panel.content.activeCellIndex, shown,
            top: panel.content.widgets[shown[0]].node.getBoundingClientRect().top};
"""
# What the keys run, as often as it moves: every place, from the first to the last, and those
# whose cell does not begin on the screen, or not soon.
WALK = """
    const places = [], unseen = [], begins = () => {
        const {top, height} = panel.content.activeCell.node.getBoundingClientRect();
        return top >= 0 && top + Math.min(height, 40) <= innerHeight;
    };
    for (let last = -1; last !== panel.content.activeCellIndex;) {
        last = panel.content.activeCellIndex;
        places.push(last);
        for (let frames = 0; !begins(); frames++) {
            if (frames === 100) { unseen.push(last); break; }
            await new Promise(requestAnimationFrame);
        }
        await app.commands.execute('deck:go', {direction: 'down', alternate: 'forward'});
    }
    return [places, unseen];
"""


@pytest.fixture(scope="module")
def stage(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabBrowser]:
    require_chromium()
    scratch, config = tmp_path_factory.mktemp("stage"), root / "tools" / "present"
    with (
        LabServer(root / "notebooks", scratch, config=config) as server,
        LabBrowser(server) as browser,
    ):
        yield browser


def opened(stage: LabBrowser, name: str) -> NotebookPage:
    """The notebook, not as slides: had they been on before, they would hide cells from a run."""
    page = stage.open(name)
    page._call("await app.commands.execute('deck:stop');", 30)
    return page


def start(page: NotebookPage, cell: int = 0) -> None:
    page._call(
        f"panel.content.activeCellIndex = {cell}; await app.commands.execute('deck:start');", 30
    )
    page.page.locator(".jp-Deck .jp-deck-mod-visible").first.wait_for()
    page._call("await app.commands.execute('notebook:enter-command-mode');", 30)
    page.page.wait_for_function("() => document.activeElement.matches('.jp-Cell')")


def finish(page: NotebookPage) -> None:
    """Its tab takes the next notebook, and jupyterlab-deck fails there if it is on."""
    page._call("await app.commands.execute('deck:stop');", 30)
    page.close()


def place(page: NotebookPage) -> dict[str, Any]:
    return dict(page._call(WHERE, 30))


def press(page: NotebookPage, *keys: str, at: int) -> dict[str, Any]:
    """Press the keys, and wait until cell ``at`` is the active one and has the focus."""
    for key in keys:
        page.page.keyboard.press(key)
    page.page.wait_for_function(
        "at => document.activeElement === document.querySelectorAll('.jp-Notebook .jp-Cell')[at]",
        arg=at,
    )
    found = place(page)
    assert found["active"] == at
    assert at in found["shown"]
    return found


def index_of(page: NotebookPage, text: str) -> int:
    return next(cell.index for cell in page.cells() if cell.source.startswith(text))


def on_slides(path: Path) -> list[int]:
    cells = nbformat.read(path, as_version=4).cells
    return [i for i, cell in enumerate(cells) if slide_type(cell) not in ("skip", "notes")]


def test_every_slide_of_every_lesson_is_reached_in_order(stage, notebook_path):
    page = opened(stage, notebook_path.name)
    start(page)
    assert page._call(WALK, 60) == [on_slides(notebook_path), []]
    assert page.page_errors == []
    finish(page)


def test_the_keys_go_on_and_back_and_show_no_notes(stage, root):
    path = root / "notebooks" / LESSON
    kinds = [slide_type(cell) for cell in nbformat.read(path, as_version=4).cells]
    places = on_slides(path)[:12]
    assert {"notes", "subslide"} < {kinds[i] for i in range(places[-1])}
    page = opened(stage, LESSON)
    page.run_to("question.compare(rec)")  # with outputs, and scrolled away from the first slide
    start(page)
    assert place(page)["top"] >= 0
    letters = page.page.locator(".jp-deck-mod-visible p").first
    assert letters.evaluate("p => getComputedStyle(p).fontSize") == "18px"  # 14px elsewhere
    visited = []
    for key, cell in zip(cycle(("Space", "ArrowRight", "ArrowDown", "PageDown", "j")), places[1:]):
        found = press(page, key, at=cell)
        assert found["top"] >= 0
        visited += found["shown"]
    # Back, at a section's start, leads to the start of the section before.
    for key in cycle(("Shift+Space", "ArrowLeft", "ArrowUp", "PageUp", "k")):
        before = place(page)["active"]
        if before == 0:
            break
        page.page.keyboard.press(key)
        page.page.wait_for_function(
            "was => !document.querySelectorAll('.jp-Notebook .jp-Cell')[was]"
            ".matches('.jp-mod-active') && document.activeElement.matches('.jp-Cell')",
            arg=before,
        )
        found = place(page)
        assert found["active"] < before
        visited += found["shown"]
    assert {kinds[i] for i in visited} <= {"slide", "subslide", "fragment", "-"}
    assert page.page_errors == []
    finish(page)


def test_a_class_predicts_runs_and_walks_the_step(stage):
    page = opened(stage, LESSON)
    page.run_to("step = STRATEGIES")
    question, compare = index_of(page, "question ="), index_of(page, "real, noise = data.batch")
    start(page, question)

    # The question is a code cell that has not run yet: Shift-Enter runs it, and stays.
    press(page, "Shift+Enter", at=question)
    buttons = page.page.locator(".jp-deck-mod-visible .ask .choice button")
    buttons.nth(7).wait_for()
    buttons.nth(0).focus()
    page.page.keyboard.press("Space")  # it answers, and is not the key of the next slide
    page.page.locator(".jp-deck-mod-visible .ask .choice button[aria-pressed=true]").wait_for()
    assert place(page)["active"] == question
    # The teacher's notes lie between; from a button, Page Down (a clicker) goes on all the same.
    press(page, "PageDown", at=compare - 1)
    press(page, "Space", "Shift+Enter", at=compare)
    page.cell("question.compare(rec)").get_by_text("as predicted, 3 not predicted").wait_for()
    finish(page)


def test_a_class_that_has_not_voted_sees_no_verdict(stage):
    """The notebook has run before the class comes in, as it does where it takes long."""
    page = opened(stage, "06-leaner-steps.ipynb")
    compare = 'refusal = ""'
    page.run_to(compare)
    at, question = index_of(page, compare), index_of(page, "mixing = with_batchnorm()")
    page.cell(compare).get_by_text("it raises").wait_for(state="attached")
    printed = page.cell(compare).locator(".jp-OutputArea-child").first
    assert "it raises" not in printed.inner_text()
    assert page.cell(compare).locator(".jp-OutputArea-child").count() == 2
    start(page, question)
    form = page.page.locator(".jp-deck-mod-visible [data-gl-view] .ask").first
    assert form.locator(".verdict:visible").count() == 0
    page._call(f"panel.content.activeCellIndex = {at};", 30)
    answers = page.cell(compare).locator(".answers")
    ask = page.cell(compare).get_by_role("button", name="Show what was measured")
    ask.wait_for()
    assert not answers.is_visible()
    assert not printed.is_visible()  # it would say the same
    page._call(f"panel.content.activeCellIndex = {question};", 30)
    form.get_by_role("button", name="it runs").focus()
    page.page.keyboard.press("2")  # a vote, and no heading of level 2
    form.get_by_text("Votes: 1").wait_for()
    assert index_of(page, "mixing = with_batchnorm()") == question
    page._call(f"panel.content.activeCellIndex = {at};", 30)
    answers.wait_for()
    assert printed.is_visible()
    assert answers.locator(".votes .count").all_inner_texts() == ["it runs: 0", "it raises: 1"]
    assert page.page_errors == []
    finish(page)


def test_the_keys_walk_the_moments_of_an_explorer_before_they_go_on(stage, root):
    page = opened(stage, LESSON)
    page.run_to("explore(")
    at = index_of(page, "explore(")
    start(page, at - 2)
    press(page, "Space", at=at - 1)
    press(page, "Space", at=at)
    explorer = ExplorerPage(page.page.locator(".jp-deck-mod-visible section.explorer").first)
    assert explorer.shown().count == "1 of 13"
    page.page.keyboard.press("Tab")  # from the cell into the explorer, which has keys of its own
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.page.keyboard.press(key)
    assert explorer.shown().count == "3 of 13"
    page.page.keyboard.press("PageDown")  # of a clicker
    assert explorer.shown().count == "4 of 13"
    assert place(page)["active"] == at
    press(page, "Escape", at=at)
    press(page, "Space", "ArrowRight", "ArrowDown", "j", "PageDown", "Shift+Space", at=at)
    assert explorer.shown().count == "8 of 13"
    press(page, *["Space"] * 5, at=at)
    assert explorer.shown().count == "13 of 13"
    for key, count in (("ArrowLeft", 12), ("ArrowUp", 11), ("k", 10), ("PageUp", 9)):
        press(page, key, at=at)
        assert explorer.shown().count == f"{count} of 13"
    press(page, *["Shift+Space"] * 8, at=at)
    assert explorer.shown().count == "1 of 13"
    press(page, "ArrowLeft", at=at - 1)
    press(page, *["Space"] * 13, at=at)
    assert explorer.shown().count == "13 of 13"
    places = on_slides(root / "notebooks" / LESSON)
    press(page, "Space", at=places[places.index(at) + 1])
    assert page.page_errors == []
    finish(page)
