"""One training step, line by line: what each line of its source did to gradients, graph, memory.

    rec = record_step(step_detach, gan, real, noise)
    for moment in rec.moments:
        print(rec.text(moment), moment.held)

The step runs for real under ``record``; between two of its lines the recorder looks around. Python
tells the lines (``sys.settrace``), for the step's own code only, so what a line calls runs at full
speed.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from gan_lessons.lens.events import GradState, Record
from gan_lessons.lens.graph import HeldBytes
from gan_lessons.lens.record import recording
from gan_lessons.lens.recorder import Recorder

if TYPE_CHECKING:
    from torch import Tensor

    from gan_lessons.gan import Gan


@dataclass(frozen=True)
class Moment:
    """One line of the step has run; how things stand right after it.

    ``line``, ``last_line``: first and last line of the statement, counted from 1 in the step's
    ``source``; of a compound statement (``with``, ``for``) its head alone.
    ``events``, ``built``: indices of the events, ids of the graph nodes, that it brought about.
    ``states``: graph node -> state, as in ``Event``. ``held``: bytes held by the graph.
    ``grads``: net -> parameter -> GradState. ``raised``: it ended in the exception of the step.
    """

    index: int
    line: int
    last_line: int
    events: tuple[int, ...]
    built: tuple[int, ...]
    states: Mapping[int, str]
    held: HeldBytes
    grads: Mapping[str, Mapping[str, GradState]]
    raised: bool = False


@dataclass
class StepRecord(Record):
    """A ``Record`` of one step, with a moment for each line that ran.

    ``source``: the step's own source, dedented; "" (and no moments) where Python cannot read it.
    ``before``: net -> parameter -> what its ``.grad`` held before the first line.
    ``result``: what the step returned. ``error``: the exception that ended it, or None.
    """

    source: str = ""
    name: str = ""
    moments: tuple[Moment, ...] = ()
    before: Mapping[str, Mapping[str, GradState]] = field(default_factory=dict)
    result: Any = None
    error: Exception | None = None

    def text(self, moment: Moment) -> str:
        """The statement that ran at ``moment``, as written, without its indentation."""
        if not moment.line:
            return ""
        lines = self.source.splitlines()[moment.line - 1 : moment.last_line]
        return textwrap.dedent("\n".join(lines)).strip()


def record_step(step: Callable[..., Any], gan: Gan, real: Tensor, noise: Tensor) -> StepRecord:
    """Run ``step(gan, real, noise)`` once, for real, and record it line by line.

    real, noise: (batch, ...). Mutates ``gan`` as the step does, and nothing else: a trace function
    that was set before (a debugger, a coverage tool) goes on hearing of every line.

    An exception that the step raises after its first event is kept in ``.error``, with the moment
    that raised it, for half a step is worth looking at. One that comes before (bad input, say), and
    everything that is no ``Exception`` (Ctrl-C), goes on to the caller.
    """
    if not callable(step):
        raise TypeError(
            f"record_step() got a step of type {type(step).__name__}; expected a function "
            "step(gan, real, noise), such as step_detach"
        )
    code, source = readable_source(step)
    watch = _Watch(code, _statements(source))
    recorder: Recorder[StepRecord] | None = None
    error: Exception | None = None
    result = None
    try:
        with recording(StepRecord, gan.nets, gan.optimizers) as recorder:
            watch.begin(recorder)
            with _tracing(watch):
                result = step(gan, real, noise)
    except Exception as caught:
        if recorder is None or all(e.kind == "error" for e in recorder.record.events):
            raise
        error = caught.with_traceback(None)  # its frames would keep the graph alive
    record = recorder.record
    record.source, record.name = source, getattr(step, "__name__", type(step).__name__)
    record.result, record.error, record.before = result, error, recorder.rows[0]
    record.moments = tuple(
        replace(m, grads=recorder.rows[row])
        for m, row in zip(watch.moments, watch.rows, strict=True)
    )
    return record


def readable_source(step: Callable[..., Any]) -> tuple[CodeType | None, str]:
    """The code object that runs when ``step`` is called, and its dedented source.

    Looks through decorators that name what they wrap, through methods, partials and objects with
    ``__call__``. (None or the code, "") where there is no source to read.
    """
    while isinstance(step, functools.partial):
        step = step.func
    step = inspect.unwrap(step)
    if not inspect.isroutine(step) and not isinstance(step, type):
        step = type(step).__call__
    step = getattr(step, "__func__", step)
    code = getattr(step, "__code__", None)
    if not isinstance(code, CodeType):
        return None, ""
    try:
        source = textwrap.dedent(inspect.getsource(code))
        ast.parse(source)
    except (OSError, TypeError, SyntaxError):  # SyntaxError: a lambda in the middle of a line
        return code, ""
    return code, source


def _statements(source: str) -> dict[int, tuple[int, int]]:
    """Line -> (first, last) line of the statement that it belongs to."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(ast.parse(source)):  # outer statements come first
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            last = node.end_lineno or node.lineno
            if isinstance(body := getattr(node, "body", None), list) and body:
                last = max(node.lineno, body[0].lineno - 1)
            found |= dict.fromkeys(range(node.lineno, last + 1), (node.lineno, last))
    return found


class _Watch:
    """Hears which line of the step runs next, and looks around before it does."""

    def __init__(self, code: CodeType | None, statements: Mapping[int, tuple[int, int]]) -> None:
        self.moments: list[Moment] = []
        self.rows: list[int] = []  # moment -> row of the ledger
        self._statements = statements
        self._code = code if statements else None
        self._frame: FrameType | None = None
        self._now: tuple[int, int] | None = None  # the statement that is running
        self._raised = False

    def begin(self, recorder: Recorder[StepRecord]) -> None:
        self._recorder = recorder
        recorder.ledger.write_down()  # row 0: before the first line
        self._seen = (0, 0)  # events and nodes that earlier moments have told of

    def wants(self, frame: FrameType) -> bool:
        """Is this the step's own frame? (A step that calls itself is one step.)"""
        return frame.f_code is self._code and self._frame is None and not self.moments

    def hear(self, frame: FrameType, kind: str) -> None:
        self._frame = frame
        if kind == "exception":
            self._raised = True  # until it is caught: then another line runs
        elif kind == "line":
            line = frame.f_lineno - frame.f_code.co_firstlineno + 1
            statement = self._statements.get(line, (line, line))
            if statement != self._now:
                self._close()
                self._now = statement
            self._raised = False
        elif kind == "return":
            self._close(ended=True)
            self._now = self._frame = None

    def _close(self, ended: bool = False) -> None:
        """The statement that was running is over."""
        if self._now is None:
            return
        recorder = self._recorder
        row, states, held = recorder.glance()
        events, nodes = len(recorder.record.events), len(recorder.trace.nodes)
        moment = Moment(
            index=len(self.moments),
            line=self._now[0],
            last_line=self._now[1],
            events=tuple(range(self._seen[0], events)),
            built=tuple(range(self._seen[1], nodes)),
            states=states,
            held=held,
            grads={},
            raised=ended and self._raised,
        )
        self.moments.append(moment)
        self.rows.append(row)
        self._seen = (events, nodes)


@contextmanager
def _tracing(watch: _Watch) -> Iterator[None]:
    """Trace the step's own frame; whoever traced before hears everything, as before."""
    outer = sys.gettrace()
    mine: dict[FrameType, Any] = {}

    def local(frame: FrameType, kind: Any, arg: Any) -> Any:
        if (inner := mine.get(frame)) is not None:
            mine[frame] = inner(frame, kind, arg)
        watch.hear(frame, kind)
        return local

    def everywhere(frame: FrameType, kind: Any, arg: Any) -> Any:
        inner = outer(frame, kind, arg) if outer is not None else None
        if not watch.wants(frame):
            return inner
        mine[frame] = inner
        watch.hear(frame, kind)
        return local

    sys.settrace(everywhere)
    try:
        yield
    finally:
        sys.settrace(outer)
        mine.clear()
