"""Watch a loop without naming anything, with one changed line.

for batch in watched(loader, iterations=2):     # the one changed line
    ...                                         # your loop, as it is
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from itertools import chain, islice
from types import CodeType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn
from torch.optim import Optimizer

from gan_lessons.arguments import require_callable, require_whole
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import record
from gan_lessons.lens.watch.finding_players import Players, find_players
from gan_lessons.lens.watch.ownership import Note
from gan_lessons.lens.watch.report import NOTE, Report
from gan_lessons.lens.watch.variables import loop_frame

Batch = TypeVar("Batch")

NOBODY = (
    "{caller} found no optimizer, with the nets that own its parameters, in the variables of the "
    "code that called it. Name them: watch(nets={{...}}, optimizers={{...}})."
)


@contextmanager
def watch(
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
) -> Iterator[Record]:
    """``record`` that finds nets and optimizers by itself, and names them as your variables do.

    nets, optimizers: name -> module, name -> optimizer; what is left out is looked for in the
    variables of the running functions and what these hold (``self.netG``, ``nets["G"]``).

    Yields the ``Record``. What ownership alone tells (a parameter in no optimizer, in two, twice
    in one, of a net that was replaced) comes as a warning before the block runs. Mutates nothing.

    Raises ValueError where there is nobody to watch, and what ``record`` raises for bad input.

    >>> from gan_lessons import data, step_detach, tiny_gan, watch
    >>> my_gan = tiny_gan()
    >>> with watch() as rec:
    ...     losses = step_detach(my_gan, data.ring(4), data.noise(4, (2,)))
    >>> sorted(rec.holds)
    ['optimizer_d', 'optimizer_g']
    """
    players = _players("watch()", nets, optimizers)
    for note in players.notes:
        warnings.warn(note.text, stacklevel=3)
    with record(players.nets, players.optimizers) as rec:
        yield rec


def _players(
    caller: str,
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
) -> Players:
    for what, given, kind in (("nets", nets, nn.Module), ("optimizers", optimizers, Optimizer)):
        if given is not None and (
            not isinstance(given, Mapping) or not all(isinstance(v, kind) for v in given.values())
        ):
            raise TypeError(
                f"{caller} got {what} of type {type(given).__name__}; expected a dict of names "
                f"with a {kind.__module__}.{kind.__name__} each, or nothing at all"
            )
    built = None if optimizers is None else dict.fromkeys(optimizers.values(), "")
    found = find_players(built, nets)
    if not found.nets or (not found.optimizers and nets is None):
        raise ValueError(NOBODY.format(caller=caller))
    named = found.optimizers if optimizers is None else dict(optimizers)
    return Players(found.nets, named, found.notes)


class Told:
    """What was told of one loop, over all of its epochs: findings and notes are told once."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._findings, self._notes = tell, set[tuple[Any, ...]](), set[Note]()
        self.batches = self._reports = 0

    def before(self, players: Players) -> None:
        """What ownership tells comes before the first step."""
        for note in (note for note in players.notes if note not in self._notes):
            self._notes.add(note)
            self._tell(NOTE.format(text=note.text))

    def report(self, rec: Record, players: Players, iterations: int) -> None:
        report = Report(rec, players, iterations)
        new = report.without(self._findings)
        if not self._reports or new.diagnosis.findings:
            self._tell(new.text(self._notes))
        self._findings |= report.keys().keys()
        self._reports += 1


# optimizer -> the loops over it that were watched, each by its code (kept, so that no other can
# take its identity). A cell that is run again has new code, and is watched again.
_loops: WeakKeyDictionary[Optimizer, list[tuple[CodeType, int, Told]]] = WeakKeyDictionary()


class watched(Generic[Batch]):
    """Iterate over ``loader`` and watch the loop that does: ``for batch in watched(loader):``.

    loader:      any iterable. iterations: how many batches are watched; a report follows. A loop
                 that runs once per epoch is reported in the first one only.
    every:       watch again after so many batches, and report only what is new. 0: never.
    tell:        gets the report as text; ``print`` if left out.

    The batches after the watched ones come at full speed. Leaving the loop early, by ``break`` or
    by an exception, reports what was seen. Mutates nothing. ``.record`` is the last record.

    Raises TypeError for what is not iterable, ValueError for numbers that make no sense and,
    where iteration begins, if there is nobody to watch.

    >>> from gan_lessons import data, step_detach, tiny_gan, watched
    >>> my_gan = tiny_gan()
    >>> for real in watched([data.ring(4), data.ring(4)], tell=lambda text: print(text[:34])):
    ...     losses = step_detach(my_gan, real, data.noise(4, (2,)))
    gan-lessons watched 2 iterations o
    """

    def __init__(
        self,
        loader: Iterable[Batch],
        iterations: int = 2,
        *,
        every: int = 0,
        tell: Callable[[str], None] = print,
    ) -> None:
        if not isinstance(loader, Iterable) or getattr(loader, "ndim", None) == 0:
            raise TypeError(
                f"watched() got a loader of type {type(loader).__name__}; expected something to "
                "iterate over: for batch in watched(loader)"
            )
        require_whole("watched", iterations=iterations, every=every)
        require_callable("watched", "a function of the text to tell", 1, tell=tell)
        if iterations < 1 or (every and every < iterations):
            raise ValueError(
                f"watched() got iterations={iterations}, every={every}; expected iterations of at "
                "least 1, and every of at least as many, or 0"
            )
        self._loader, self._iterations, self._every, self._tell = loader, iterations, every, tell
        self.record: Record | None = None

    def __len__(self) -> int:
        if not isinstance(self._loader, Sized):
            raise TypeError(f"object of type {type(self._loader).__name__!r} has no len()")
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        loop = loop_frame()
        return self._batches(loop.f_code, loop.f_lineno)

    def _batches(self, code: CodeType, line: int) -> Iterator[Batch]:
        batches = iter(self._loader)
        told: Told | None = None
        for batch in batches:
            if told is None:
                told = _told(_players("watched()"), code, line, self._tell)
            if told.batches % self._every == 0 if self._every else told.batches == 0:
                mine = chain([batch], islice(batches, self._iterations - 1))
                yield from self._watch(mine, told)
            else:
                told.batches += 1
                yield batch

    def _watch(self, batches: Iterable[Batch], told: Told) -> Iterator[Batch]:
        """Record while these batches last. Then, or when the loop ends early, comes the report."""
        players, seen = _players("watched()"), 0
        told.before(players)
        rec: Record | None = None
        try:
            with record(players.nets, players.optimizers) as rec:
                self.record = rec
                with suppress(GeneratorExit):  # the loop was left: no error of its own
                    for batch in batches:
                        told.batches, seen = told.batches + 1, seen + 1
                        yield batch
        finally:
            if rec is not None and rec.complete:  # else an interrupt came before its end
                told.report(rec, players, seen)


def _told(players: Players, code: CodeType, line: int, tell: Callable[[str], None]) -> Told:
    loops = _loops.setdefault(next(iter(players.optimizers.values())), [])
    for known, number, told in loops:
        if known is code and number == line:
            return told
    loops.append((code, line, Told(tell)))
    return loops[-1][2]
