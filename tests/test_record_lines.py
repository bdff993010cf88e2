"""Whose line is running: past torch, libraries and instruments."""

from __future__ import annotations

import functools
import linecache
import os
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from gan_lessons.lens.model import Line
from gan_lessons.lens.record import source_lines
from gan_lessons.lens.record.source_lines import NOWHERE, caller_line, outer_lines, raising_line

STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
PURELIB = sysconfig.get_paths()["purelib"] + os.sep


@pytest.mark.parametrize(
    ("file", "installed", "stdlib"),
    [
        (__file__, False, False),
        (STDLIB + "json/__init__.py", True, True),
        (STDLIB + "site-packages/x/y.py", True, False),
        (STDLIB + "dist-packages/x/y.py", True, False),
        (PURELIB + "x/y.py", True, False),
        ("/elsewhere/lib/site-packages/x.py", True, False),
        ("/elsewhere/lib/dist-packages/x.py", True, False),
        ("/elsewhere/site-packages-of-mine/x.py", False, False),
        ("<frozen importlib._bootstrap>", True, True),
        ("<stdin>", False, False),
        (source_lines._STUDIED + "gan_lessons/steps.py", False, False),
    ],
)
def test_whose_a_file_is(file: str, installed: bool, stdlib: bool) -> None:
    assert source_lines.is_installed(file) is installed
    assert source_lines.is_stdlib(file) is stdlib


def told(line: Line) -> str:
    return line.expression or line.text


def test_who_asks_is_told_its_own_line() -> None:
    line = caller_line()
    assert (line.text, line.function) == (
        "line = caller_line()",
        "test_who_asks_is_told_its_own_line",
    )
    assert line.expression == "caller_line()"


def first() -> tuple[Line, ...]:
    return outer_lines()


def second() -> tuple[Line, ...]:
    return first()


def third() -> tuple[Line, ...]:
    return second()


def test_the_three_callers_of_a_line_are_told_the_nearest_first() -> None:
    assert [told(line) for line in third()] == ["first()", "second()", "third()"]
    deeper = (lambda: third())()
    assert [told(line) for line in deeper] == ["first()", "second()", "third()"]


def through(folder: str, source: str, **names: Any) -> dict[str, Any]:
    """What ``source`` defines, as if its file lay in that folder."""
    space = {"__name__": "somewhere", **names}
    exec(compile(source, folder + "x.py", "exec"), space)
    return space


def alone(run: Callable[[], Any]) -> Any:
    """In a thread, where whoever started the tests is not among the callers."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


LIBRARY = "def run(f):\n    return f()\n"


def test_a_library_between_is_passed_over_unless_all_is_installed() -> None:
    run = through(PURELIB, LIBRARY)["run"]
    assert told(run(caller_line)) == "run(caller_line)"
    assert alone(lambda: run(outer_lines)) == ()
    assert [told(line) for line in alone(lambda: run(first))] == ["run(first)"]


def test_where_all_is_installed_the_innermost_that_is_not_torch_s_is_told() -> None:
    ask = through(PURELIB, "def ask():\n    return caller_line()\n", caller_line=caller_line)["ask"]
    run = through(PURELIB, LIBRARY)["run"]
    assert alone(functools.partial(run, ask)).function == "ask"


def test_an_instrument_that_runs_the_code_ends_its_callers() -> None:
    run = through(source_lines._OURS, LIBRARY)["run"]
    assert [told(line) for line in run(first)] == []
    assert [told(line) for line in run(second)] == ["first()"]


def failing() -> None:
    raise ZeroDivisionError


def test_an_error_is_told_at_the_innermost_line_of_somebody_s_own() -> None:
    run = through(PURELIB, LIBRARY + "def fail(_):\n    raise ZeroDivisionError\n")
    for call, function in (
        (lambda: run["run"](failing), "failing"),
        (lambda: run["fail"](failing), "<lambda>"),
    ):
        with pytest.raises(ZeroDivisionError) as caught:
            call()
        assert raising_line(caught.value.__traceback__).function == function
    with pytest.raises(ZeroDivisionError) as caught:
        run["fail"](failing)
    inner = caught.value.__traceback__
    assert inner is not None
    assert raising_line(inner.tb_next).function == "fail"  # all of it is a library's
    assert raising_line(None) is NOWHERE


def frame(source: str, positions: list[tuple[int | None, ...]], name: str = "made up") -> Any:
    """A frame whose code has these positions, in a file with that source."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    code = SimpleNamespace(co_positions=lambda: iter(positions), co_filename=name, co_name="f")
    return SimpleNamespace(f_code=code, f_globals={})


SOURCE = "a = 1\nb = g(ä, h(x))\nc = [\n    d,\n]\n"


@pytest.mark.parametrize(
    ("positions", "instruction", "text", "number", "expression"),
    [
        ([(1, 1, 0, 5)], 0, "a = 1", 1, "a = 1"),
        ([(1, 1, 0, 5)], -1, "a = 1", 1, "a = 1"),  # it has not begun
        ([(1, 1, 0, 5), (2, 2, 10, 14)], 2, "b = g(ä, h(x))", 2, "h(x)"),
        ([(1, 1, 0, 5), (2, 2, 10, 14)], 3, "b = g(ä, h(x))", 2, "h(x)"),
        ([(3, 5, 4, 1)], 0, "c = [\n    d,\n]", 3, ""),
        ([(3, None, None, None)], 0, "c = [", 3, ""),
        ([(1, 1, None, None)], 0, "a = 1", 1, ""),
        ([(1, 1, 0, None)], 0, "a = 1", 1, ""),
        ([(2, 2, 4, 7)], 0, "b = g(ä, h(x))", 2, "g(\N{REPLACEMENT CHARACTER}"),
        ([(1, 1, 0, 5), (2, 2, 10, 14), (None, None, None, None)], 4, "b = g(ä, h(x))", 2, "h(x)"),
        ([(None, None, None, None), (1, 1, 0, 5)], 0, "", 0, ""),
        ([(1, 1, 0, 5)], 8, "a = 1", 1, "a = 1"),  # past the end: what ran last
    ],
)
def test_the_line_of_an_instruction(
    positions: Any, instruction: int, text: str, number: int, expression: str
) -> None:
    line = source_lines._read_line(frame(SOURCE, positions), instruction)
    assert line == Line(text, "made up", number, "f", expression)


def test_lines_are_kept_and_not_for_ever() -> None:
    code = SimpleNamespace(**vars(frame(SOURCE, [(1, 1, 0, 5)]).f_code))
    made: Any = SimpleNamespace(f_code=code, f_globals={})
    source_lines._known.clear()
    line = source_lines._line(made, 0)
    assert source_lines._line(made, 0) is line
    for i in range(1, 1001):
        source_lines._line(made, i)
    assert len(source_lines._known) == 1001
    source_lines._line(made, 1001)
    assert len(source_lines._known) == 1
    assert source_lines._line(made, 0) == line


def test_whether_a_library_asked_torch() -> None:
    ask: Callable[[], bool] = lambda: source_lines.is_engines(line)  # noqa: E731
    line = caller_line()
    assert not ask()
    library = through(PURELIB, "def run(f, line):\n    return f(line)\n")["run"]
    assert library(source_lines.is_engines, line)
    ours = through(source_lines._OURS, "def run(f, line):\n    return f(line)\n")["run"]
    assert not ours(source_lines.is_engines, line)
    assert not source_lines.is_engines(line)
