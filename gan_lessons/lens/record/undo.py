"""What has to be undone at the end, so that nothing stays attached, also after an interrupt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gan_lessons.put_back import at_the_end


class Undo:
    """Steps that undo, run last first.

    Register a step *before* doing what it undoes: an interrupt that comes in between leaves nothing
    behind then. So a step may run in vain, and twice, for it is struck off when it is through.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def callback(self, step: Callable[[], object]) -> None:
        self._steps.append(step)

    def close(self) -> None:
        while self._steps:
            self._steps[-1]()
            self._steps.pop()


@contextmanager
def undone() -> Iterator[Undo]:
    """Undo at the end of the block, on every path."""
    undo = Undo()
    with at_the_end(undo.close):
        yield undo
