"""Data in which nothing stands twice is the same data."""

from __future__ import annotations

import json
import math

import pytest

from gan_lessons.classroom import explore
from gan_lessons.classroom.repeats import LEAST, again, once

LONG, LONGER = "a long enough text", ["and a list", "of several", "parts"]


@pytest.fixture(scope="module")
def data():
    return explore().data


def through_json(data):
    told, repeats = json.loads(json.dumps(once(data)))
    return again(told, repeats)


@pytest.mark.parametrize(
    "value",
    [
        None, 3, "x", LONG, [], {}, [[], {}, []],
        [LONG, LONG, {"a": LONG}],
        {"a": LONGER, "b": [LONGER, {"c": LONGER}], "c": [*LONGER, LONG]},
        [[1.0] * 9, [1] * 9, [True] * 9, [1] * 9, [True] * 9, [1.0] * 9, ["1"] * 9],
        [{"$": 0, "long enough": 1}, {"$": 0, "long enough": 1}, {"$$": LONG}, LONG],
        [{"one": 1, "other": 2}, {"other": 2, "one": 1}] * 2,
    ],
)  # fmt: skip
def test_it_comes_back_as_it_was(value):
    assert json.dumps(through_json(value)) == json.dumps(value)


def test_what_is_no_number_comes_back_too():
    (back, *_), *_ = through_json([[math.nan, math.inf, -math.inf, 0.1]] * 2)
    assert math.isnan(back)


def test_what_recurs_stands_once_and_after_what_it_needs():
    told, (mark, values) = once([LONG, [LONG, *LONGER], [LONG, *LONGER]])
    assert values == [LONG, [{mark: 0}, *LONGER]]
    assert told == [{mark: 0}, {mark: 1}, {mark: 1}]
    assert once([1, "short", "short"]) == ([1, "short", "short"], ("$", []))


def test_an_explorer_comes_back_and_holds_nothing_twice(data):
    assert json.dumps(through_json(data)) == json.dumps(data)
    told, (_, values) = once(data)
    found = [json.dumps(one) for whole in (told, values) for one in inside(whole)]
    long = [text for text in found if len(text) > LEAST + 10]
    assert len(long) > 500
    assert len(long) == len({*long})
    assert len(json.dumps([told, values])) < 0.6 * len(json.dumps(data))


def inside(value):
    """A value, and all that is in it."""
    yield value
    for one in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from inside(one)
