"""The cheat sheet says what a record, a counter and torch itself say."""

from html import unescape

import pytest
from bs4 import BeautifulSoup

from gan_lessons.classroom.export.cheat_sheet import KINDS, cards, cheat_sheet_page
from gan_lessons.classroom.export.raised_errors import MISTAKES, raised_errors
from gan_lessons.classroom.stuck import QUESTIONS
from gan_lessons.classroom.wild import WAYS
from gan_lessons.strategies import STRATEGIES, THREE


@pytest.fixture(scope="module")
def raised():
    return {one.mistake.loop.__name__: one for one in raised_errors()}


@pytest.fixture(scope="module")
def three():
    return cards()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_raises_and_the_fix_mends_it(name, raised):
    assert raised[name].message
    assert raised[name].again is None


def test_the_errors_of_a_graph_are_those_that_diagnose_knows(raised):
    codes = {name: one.code for name, one in raised.items() if one.code}
    assert codes == {
        "not_detached": "second-backward",
        "stepped_in_between": "inplace-after-retain",
        "nothing_to_follow": "no-graph",
    }


def test_cards_tell_who_receives_in_each_backward(three):
    found = {}
    for key, card in zip(THREE, three, strict=True):
        assert card.title == STRATEGIES[key].title
        received = [line.received for line in card.lines if line.received]
        found[key] = [{net: symbol for net, symbol, _ in one} for one in received]
        assert card.facts["update"] == ("alternating" if key == "detach" else "simultaneous")
        assert card.facts["update"] in KINDS
        assert len({line.code for line in card.lines}) >= len(card.lines) - 1  # no line twice
    assert found == {
        "retain_graph": [{"D": "✓", "G": "○"}, {"D": "○", "G": "✓"}],
        "detach": [{"D": "✓", "G": "–"}, {"D": "○", "G": "✓"}],
        "generator_first": [{"D": "○", "G": "✓"}, {"D": "✓", "G": "–"}],
    }


def test_the_page_holds_all_of_it(raised, three):
    page = BeautifulSoup(cheat_sheet_page(home="index.html"), "html.parser")
    text = unescape(page.get_text(" "))
    assert [cell.get_text() for cell in page.select(".freezing tbody th")] == list(WAYS)
    told = page.select(".errors tbody th")
    for cell, one in zip(told, raised.values(), strict=True):
        assert one.message.startswith(cell.get_text().rstrip("…"))
    for card in three:
        assert all(fact in text for fact in card.facts.values())
    assert len(page.select("ol li")) == len(QUESTIONS)
    assert [link["href"] for link in page.select("nav a")] == ["index.html"]
