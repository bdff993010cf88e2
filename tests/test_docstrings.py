"""Every public name is explained, and shown at work by an example that runs."""

import ast
import doctest
import inspect
import typing
from typing import Any

import pytest

import gan_lessons
from gan_lessons import classroom, train
from gan_lessons.lens import cost, diagnose, model, record, show, watch, whatif

FINDER = doctest.DocTestFinder(recurse=False)
FRONTS = (model, record, show, diagnose, watch, cost, whatif, train, classroom)
SHOWN: dict[str, Any] = {"gan_lessons": gan_lessons} | {
    name: thing
    for name in gan_lessons.__all__
    if inspect.isroutine(thing := getattr(gan_lessons, name)) or inspect.isclass(thing)
}
SHOWN |= {"train.train": train.train}


def examples(name):
    return [e for test in FINDER.find(SHOWN[name], name, globs={}) for e in test.examples]


@pytest.mark.parametrize("name", [name for name in SHOWN if examples(name)])
def test_its_example_runs(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in FINDER.find(SHOWN[name], name, globs={}):
        said: list[str] = []
        runner.run(test, out=said.append)
        assert runner.failures == 0, "".join(said)


def test_every_public_name_stands_in_an_example():
    used = {
        node.id if isinstance(node, ast.Name) else node.attr
        for name in SHOWN
        for example in examples(name)
        for node in ast.walk(ast.parse(example.source))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    # They are what a step, and STRATEGIES, give.
    unnamed = {"StepLosses", "Strategy"}
    assert all(examples(name) for name in unnamed)
    assert set(gan_lessons.__all__) - used == unnamed


@pytest.mark.parametrize("front", FRONTS, ids=lambda module: module.__name__)
def test_what_a_room_offers_is_explained(front):
    assert front.__doc__
    bare = [
        name
        for name in front.__all__
        if (inspect.isroutine(thing := getattr(front, name)) or inspect.isclass(thing))
        and not typing.get_origin(thing)
        and thing.__module__.startswith("gan_lessons")
        and not (thing.__doc__ or "").strip()
    ]
    assert bare == []
