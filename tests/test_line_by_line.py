"""A step line by line: what its source is, which statement a line is of, who hears of it."""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from gan_lessons import data, record_step, step_detach, tiny_gan
from gan_lessons.lens.record import line_by_line, line_tracing
from tests.loops.kit import mlp, real

# Statements and sources ---------------------------------------------------------------------------

STATEMENTS = """\
def step(
    gan,
):
    with (
        one,
        two,
    ):
        a = f(
            1,
        )
    if a: b = 2
    try:
        c = 3
    except ValueError:
        d = 4
    for i in range(
        3,
    ):
        e = 5
"""


def test_which_statement_a_line_belongs_to() -> None:
    found = line_by_line._statements(STATEMENTS)
    assert dict(found) == {
        **dict.fromkeys((1, 2, 3), (1, 3)),
        **dict.fromkeys((4, 5, 6, 7), (4, 7)),
        **dict.fromkeys((8, 9, 10), (8, 10)),
        11: (11, 11),
        12: (12, 12),
        13: (13, 13),
        14: (14, 14),
        15: (15, 15),
        **dict.fromkeys((16, 17, 18), (16, 18)),
        19: (19, 19),
    }


class Step:
    def __call__(self, *args: Any) -> Any:
        return step_detach(*args)

    def method(self, *args: Any) -> Any:
        return step_detach(*args)

    @classmethod
    def of_class(cls, *args: Any) -> Any:
        return step_detach(*args)


@functools.wraps(step_detach)
def wrapped(*args: Any) -> Any:
    return step_detach(*args)


@pytest.mark.parametrize(
    ("step", "inner"),
    [
        (step_detach, step_detach),
        (wrapped, step_detach),
        (functools.partial(functools.partial(step_detach)), step_detach),
        (Step(), Step.__call__),
        (Step().method, Step.method),
        (Step.of_class, vars(Step)["of_class"].__func__),
        (Step, Step),
        (len, len),
    ],
)
def test_what_runs_when_a_step_is_called(step: Any, inner: Any) -> None:
    assert line_by_line.innermost(step) is inner


def test_a_step_without_source_has_none() -> None:
    assert line_by_line.readable_source(len) == (None, "")
    within = ("    step=lambda gan: gan)\n",)  # of a call that began before
    assert line_by_line._first_block(within) == ""


def test_a_file_that_was_written_anew_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "step_of_two_versions.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sources = ["def step(x):\n    return x + 1\n", "def step(x):\n    y = 2 * x\n    return y\n"]
    told = []
    for i, source in enumerate(sources):
        file.write_text(source)
        os.utime(file, (i, i))
        importlib.invalidate_caches()
        module = importlib.import_module(file.stem)
        module = importlib.reload(module)
        told.append(line_by_line.readable_source(module.step)[1])
    sys.modules.pop(file.stem)
    assert told == sources


def test_the_first_line_has_what_happened_first() -> None:
    net = mlp(2, 1)

    def step(x: Any) -> None:
        loss = net(x).mean()
        loss.backward()

    rec = record_step(step, args=(real(0),), nets={"D": net})
    first, second = rec.moments
    assert first.events == (0,)
    assert first.built[0] == 0
    assert second.events == (1,)
    assert not any(moment.raised for moment in rec.moments)


def test_an_instrument_beside_gets_the_gan_and_the_record() -> None:
    gan, given = tiny_gan(), list[Any]()

    def beside(*args: Any) -> Any:
        given.extend(args)
        return nullcontext(lambda: None)

    rec = record_step(step_detach, gan, data.ring(4), data.noise(4, (2,)), beside)
    assert given[0] is gan
    assert given[1] is rec


# Who hears ----------------------------------------------------------------------------------------


class Something:
    """It is seen whether it goes."""


def test_what_a_step_made_goes_with_the_step() -> None:
    """No frame is kept in a circle, which only the garbage collector finds."""
    net, seen = mlp(2, 1), list[Any]()

    def step(x: Any) -> None:
        local = Something()
        seen.append(weakref.ref(local))
        net(x).mean().backward()

    gc.collect()
    gc.disable()
    try:
        record_step(step, args=(real(0),), nets={"D": net})
        assert seen[0]() is None
    finally:
        gc.enable()


class Listener:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def wants(self, frame: Any) -> bool:
        return frame.f_code.co_name == "stepping"

    def hear(self, frame: Any, kind: str) -> None:
        self.heard.append(kind)


def stepping(inner: Callable[[], object]) -> None:
    inner()


def test_while_an_instrument_works_nothing_is_traced() -> None:
    traces = []

    @line_tracing.unheard
    def instrument() -> None:
        traces.append(sys.gettrace())

    before = sys.gettrace()
    with line_tracing.tracing(listener := Listener()):
        instrument()  # the frame was not found yet
        stepping(instrument)
        inside = sys.gettrace()
    assert sys.gettrace() is before
    assert listener.heard == ["line", "return"]
    assert traces[0] is inside
    assert traces[1] is (None if before is None else inside)
    assert inside is not None


def test_whoever_traced_before_hears_every_line_as_before() -> None:
    heard: list[tuple[str, str]] = []

    def local(frame: Any, kind: str, arg: Any) -> Any:
        heard.append((frame.f_code.co_name, kind))
        return local

    def instrument() -> None:
        pass

    before = sys.gettrace()
    sys.settrace(local)
    try:
        with line_tracing.tracing(listener := Listener()):
            stepping(line_tracing.unheard(instrument))
        assert sys.gettrace() is local
    finally:
        sys.settrace(before)
    assert listener.heard == ["line", "return"]
    assert [kind for name, kind in heard if name == "stepping"] == ["call", "line", "return"]
    assert [kind for name, kind in heard if name == "instrument"] == ["call", "line", "return"]


def test_an_instrument_beside_looks_after_each_line() -> None:
    looks = list[int]()
    batch = data.ring(4), data.noise(4, (2,))
    rec = record_step(
        step_detach, tiny_gan(), *batch, lambda *_: nullcontext(lambda: looks.append(1))
    )
    assert len(looks) == len(rec.moments) > 3


def test_a_step_of_a_gan_needs_one() -> None:
    with pytest.raises(TypeError, match=r"a Gan, such as tiny_gan\(\)"):
        record_step(lambda gan, real, noise: None, None, data.ring(4), data.noise(4, (2,)))
