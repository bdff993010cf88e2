"""Python tells the lines of one frame, the step's. To be told of any slows down all that runs.

So nothing is told while an instrument is at work (``unheard``): its own lines are nobody's, and
neither are those of what it calls for the step.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, Protocol, TypeVar

_Given, _Made = ParamSpec("_Given"), TypeVar("_Made")


class Listener(Protocol):
    """Who wants to hear the lines of a frame, once it is there."""

    def wants(self, frame: FrameType) -> bool: ...

    def hear(self, frame: FrameType, kind: str) -> None: ...


class _Tracer:
    """``everywhere`` is what Python is given. outer: whoever traced before, who hears all."""

    def __init__(self, listener: Listener, outer: Any) -> None:
        self._listener, self._outer = listener, outer
        self._inner: dict[FrameType, Any] = {}  # the step's frame -> what `outer` hears it by

    def everywhere(self, frame: FrameType, kind: Any, arg: Any) -> Any:
        inner = self._outer(frame, kind, arg) if self._outer is not None else None
        if not self._listener.wants(frame):
            return inner
        self._inner[frame] = inner
        return self._local

    def _local(self, frame: FrameType, kind: Any, arg: Any) -> Any:
        if (inner := self._inner.get(frame)) is not None:
            self._inner[frame] = inner(frame, kind, arg)
        self._listener.hear(frame, kind)
        return self._local

    @property
    def may_rest(self) -> bool:
        """Has the frame been found, and does nobody else listen?"""
        return self._outer is None and bool(self._inner)

    def clear(self) -> None:
        self._inner.clear()


@contextmanager
def tracing(listener: Listener) -> Iterator[None]:
    """Trace the frame it wants; whoever traced before hears everything, as before."""
    outer = sys.gettrace()
    tracer = _Tracer(listener, outer)
    try:
        sys.settrace(tracer.everywhere)
        yield
    finally:
        sys.settrace(outer)
        tracer.clear()


def unheard(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """The same, during which this thread is not traced for us. (With a debugger or a coverage tool
    about, or one that comes meanwhile, it is.)"""

    @functools.wraps(function)
    def quietly(*args: _Given.args, **kwargs: _Given.kwargs) -> _Made:
        __tracebackhide__ = True
        trace = sys.gettrace()
        tracer = None if trace is None else getattr(trace, "__self__", None)
        if not isinstance(tracer, _Tracer) or not tracer.may_rest:
            return function(*args, **kwargs)
        try:
            sys.settrace(None)
            return function(*args, **kwargs)
        finally:
            if sys.gettrace() is None:
                sys.settrace(trace)

    return quietly
