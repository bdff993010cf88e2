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
import linecache
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from gan_lessons.arguments import require
from gan_lessons.gan import Gan
from gan_lessons.lens.model import Moment, StepRecord
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.line_tracing import tracing
from gan_lessons.lens.record.recording import recording
from gan_lessons.lens.record.step_arguments import StepCall, step_call
from gan_lessons.torch_internals import without_torch_functions
from gan_lessons.torch_modes import torch_modes_kept

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

# An instrument that looks at the same run: entered with the GAN and the record, which is being
# filled in, and left when the step is over. What it yields is called after each line.
Beside = Callable[["Gan", StepRecord], AbstractContextManager[Callable[[], object]]]


def record_step(
    step: Callable[..., Any],
    gan: Gan | None = None,
    real: Tensor | None = None,
    noise: Tensor | None = None,
    beside: Beside | None = None,
    *,
    args: Sequence[Any] | None = None,
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
) -> StepRecord:
    """Run ``step(gan, real, noise)`` once, for real, and record it line by line.

    real, noise: (batch, ...). Mutates ``gan`` as the step does, and nothing else: a trace function
    that was set before (a debugger, a coverage tool) goes on hearing of every line.
    beside: an instrument for values, which a record does not hold; it must change nothing either.

    Any other step, ``step(*args)``, on any nets: ``args=(...)``, ``nets={name: module}`` and
    ``optimizers={name: optimizer}`` in place of ``gan``, ``real`` and ``noise``.

    An exception that the step raises after its first event is kept in ``.error``, with the moment
    that raised it, for half a step is worth looking at. One that comes before (bad input, say), and
    everything that is no ``Exception`` (Ctrl-C), goes on to the caller. Raises TypeError where the
    arguments do not fit the step.

    >>> from gan_lessons import data, record_step, step_detach, tiny_gan
    >>> rec = record_step(step_detach, tiny_gan(), data.ring(4), data.noise(4, (2,)))
    >>> rec.text(rec.moments[-2])
    'opt_g.step()'
    """
    call = step_call("record_step", step, (gan, real, noise), args, nets, optimizers)
    if beside is None:
        return _recorded(call, lambda _: nullcontext(_nothing))
    require("record_step", Gan, "a Gan, which beside= looks at", gan=gan)
    return _recorded(call, functools.partial(beside, call.args[0]))


@torch_modes_kept()
def _recorded(
    call: StepCall, beside: Callable[[StepRecord], AbstractContextManager[Callable[[], object]]]
) -> StepRecord:
    code, source = readable_source(call.step)
    watch = _Watch(code, _statements(source))
    journal: Journal[StepRecord] | None = None
    error: Exception | None = None
    result = None
    try:
        with (
            recording(StepRecord, call.nets, call.optimizers) as journal,
            beside(journal.record) as look,
        ):
            watch.begin(journal, look)
            with tracing(watch):
                result = call()
    except Exception as caught:
        if journal is None or all(e.kind == "error" for e in journal.record.events):
            raise
        error = caught.with_traceback(None)  # its frames would keep the graph alive
    record = journal.record
    record.source, record.name = source, call.name
    record.result, record.error, record.before = result, error, watch.before
    record.moments = watch.told(None if error is None else len(record.events) - 1)
    return record


def _nothing() -> None:
    """What is called after each line where no instrument stands beside."""


def readable_source(step: Callable[..., Any]) -> tuple[CodeType | None, str]:
    """The code object that runs when ``step`` is called, and its dedented source.

    (None or the code, "") where there is no source to read.
    """
    code = getattr(innermost(step), "__code__", None)
    if not isinstance(code, CodeType):
        return None, ""
    # As inspect.getsource does, but for its search through every module that is loaded.
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    return code, _first_block(tuple(lines))


@functools.lru_cache(maxsize=64)  # a step is recorded again and again, changed in one line or not
def _first_block(lines: tuple[str, ...]) -> str:
    """The function that begins there, dedented; "" for a lambda in the middle of a line."""
    try:
        source = textwrap.dedent("".join(inspect.getblock(lines)))
        ast.parse(source)
    except SyntaxError:
        return ""
    return source


def innermost(step: Callable[..., Any]) -> Any:
    """The plain function that runs when ``step`` is called: looks through decorators that name
    what they wrap, through methods, partials and objects with ``__call__``."""
    while isinstance(step, functools.partial):
        step = step.func
    step = inspect.unwrap(step)
    if not inspect.isroutine(step) and not isinstance(step, type):
        step = type(step).__call__
    return getattr(step, "__func__", step)


@functools.lru_cache(maxsize=64)
def _statements(source: str) -> Mapping[int, tuple[int, int]]:
    """Line -> (first, last) line of the statement that it belongs to."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(ast.parse(source)):  # outer statements come first
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            last = node.end_lineno or node.lineno
            if body := getattr(node, "body", None):
                last = max(node.lineno, body[0].lineno - 1)
            found |= dict.fromkeys(range(node.lineno, last + 1), (node.lineno, last))
    return found


class _Watch:
    """Hears which line of the step runs next, and looks around before it does."""

    def __init__(self, code: CodeType | None, statements: Mapping[int, tuple[int, int]]) -> None:
        self.moments: list[Moment] = []
        self._statements = statements
        self._code = code if statements else None
        self._frame: FrameType | None = None
        self._now: tuple[int, int] | None = None  # the statement that is running
        self._raised = False

    def begin(self, journal: Journal[StepRecord], look: Callable[[], object]) -> None:
        self._journal, self._look = journal, look
        self.before, *_ = journal.glance()
        self._seen = (0, 0)  # events and nodes that earlier moments have told of

    def told(self, error: int | None) -> tuple[Moment, ...]:
        """All moments; ``error``: the last event, which an exception that ended the step made."""
        # On its way out an exception passes the end of every ``with``: a line that runs after it.
        return tuple(replace(m, raised=True) if error in m.events else m for m in self.moments)

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
        journal = self._journal
        grads, states, held = journal.glance()
        events, nodes = len(journal.record.events), len(journal.graph.nodes)
        moment = Moment(
            index=len(self.moments),
            line=self._now[0],
            last_line=self._now[1],
            events=tuple(range(self._seen[0], events)),
            built=tuple(range(self._seen[1], nodes)),
            states=states,
            held=held,
            grads=grads,
            raised=ended and self._raised,
        )
        self.moments.append(moment)
        self._seen = (events, nodes)
        with without_torch_functions():
            self._look()
