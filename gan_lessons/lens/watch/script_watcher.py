"""Watch whatever script runs in this process: who plays, when an iteration begins and ends.

An iteration is over when each optimizer has stepped at least once since the one before. So several
critic steps, accumulation, and steps that a GradScaler skips are all part of one iteration.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import (
    Undo,
    caller_line,
    held_parameters,
    look_into,
    record,
    replace_function,
    trainers,
)
from gan_lessons.lens.show import visible
from gan_lessons.lens.watch.finding_players import Players, find_players
from gan_lessons.lens.watch.ownership import Note
from gan_lessons.lens.watch.report import AND, NOTE, Report

EVENTS = 400  # of a recording in which some optimizer does not step; the next may have twice that
ABSENT = "{optimizers} took no step while it was watched."
INSIDE = (
    "`{line}` runs the whole loop, which is inside {packages}: the lines told here are those of "
    "the package."
)


class ScriptWatcher:
    """``with ScriptWatcher(...)``: everything that trains inside is found and watched, once.

    iterations: how many are watched, after ``after`` of them went by unwatched.
    say:        gets what is known before the first step, as text.
    report:     gets the ``Report`` once, and whether the script is still running; what it raises
                then goes through the script. ``told``: the notes that were said before.
    """

    def __init__(
        self,
        iterations: int,
        after: int,
        say: Callable[[str], None],
        report: Callable[[Report, bool], None],
    ) -> None:
        self._iterations, self._skip, self._say, self._report = iterations, after, say, report
        self.built: WeakKeyDictionary[Optimizer, str] = WeakKeyDictionary()  # and by which line
        self._sites: WeakKeyDictionary[Optimizer, tuple[str, int]] = WeakKeyDictionary()
        self._anew: set[tuple[str, int]] = set()  # where some were built in this recording
        self._here = os.getpid(), threading.get_ident()
        self._hooks, self._recording = Undo(), ExitStack()
        self._record: Record | None = None
        self._players = Players({}, {})
        self._stepped: set[int] = set()  # optimizers (by id) since the iteration began
        self._moved: WeakSet[Optimizer] = WeakSet()  # all that ever stepped
        self._done = 0  # iterations, of this recording
        self._limit = EVENTS
        self._awaited: set[int] = set()  # optimizers of which one must step before we begin again
        self._spare: Report | None = None  # of a recording in which not all took part
        self._inside: tuple[Note, ...] = ()  # that the loop is in a package, whose lines are told
        self._busy = self._over = False
        self.told: set[Note] = set()

    def __enter__(self) -> ScriptWatcher:
        try:
            replace_function(self._hooks, Optimizer, "__init__", self._around_init)
            self._hooks.callback(register_module_forward_pre_hook(self._before_forward).remove)
            self._hooks.callback(register_optimizer_step_post_hook(self._after_step).remove)
        except BaseException:
            self._hooks.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The script is over, by itself or by ``error``."""
        report = None
        try:
            if self._record is not None:
                raised = error is not None and not isinstance(error, SystemExit)
                report = self._close(*((kind, error, trace) if raised else (None, None, None)))
        finally:
            self._hooks.close()
        if self._over or isinstance(error, KeyboardInterrupt):
            return
        if self._spare is not None and (
            report is None
            or report.iterations < self._spare.iterations
            or not (report.seen or report.players.notes)
        ):
            report = self._spare
        if report is not None:
            self._over = True
            absent = [n for n, o in report.players.optimizers.items() if o not in self._moved]
            idle = () if error is not None and not isinstance(error, SystemExit) else tuple(absent)
            self._report(replace(report, idle=idle), False)

    # What torch tells -------------------------------------------------------------------------

    @property
    def _mine(self) -> bool:
        """Not a DataLoader's worker, another thread, or something that our own work called."""
        here = self._here == (os.getpid(), threading.get_ident())
        return here and not self._busy and not self._over

    def _around_init(
        self, original: Callable[..., Any], new: Optimizer, *args: Any, **options: Any
    ) -> None:
        original(new, *args, **options)
        if self._mine:
            line = caller_line()
            self.built[new], self._sites[new] = line.text, (line.file, line.number)
            self._anew.add(self._sites[new])
            if self._record is not None and self._done == 0:
                self._close()  # there is one more player than was thought

    def _all_built_anew(self) -> bool:
        """The next fold of a cross-validation begins, say: with nets of its own, too."""
        return {self._sites.get(o) for o in self._players.optimizers.values()} <= self._anew

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not self._mine or torch.compiler.is_compiling():
            return
        if id(optimizer) in self._awaited:
            self._awaited.clear()
        self._stepped.add(id(optimizer))
        self._moved.add(optimizer)
        playing = self.built.keys() if self._record is None else self._players.optimizers.values()
        if {id(o) for o in playing} <= self._stepped:
            self._stepped.clear()
            self._done += 1
            if self._record is None:
                self._skip -= 1

    def _before_forward(self, module: nn.Module, args: Any) -> None:
        """The one place where recording begins and ends: between two forwards."""
        if torch.compiler.is_compiling() or not self._mine:
            return
        if self._record is None and self._anew:
            gc.collect()  # the players of an earlier round, say, are gone, and may wait for this
            self._anew.clear()
        if self._awaited or self._skip > 0:
            return
        self._busy = True
        try:
            if self._record is not None and self._done == 1 and not self._inside:
                self._look_inside(self._record)
            if self._record is None:
                self._begin(module, args)
            elif self._done >= self._iterations or (self._done and self._all_built_anew()):
                self._finish(self._close())
            elif len(self._record.events) >= self._limit:
                self._look_at_the_absent(self._close())
        finally:
            self._busy = False

    # Recording --------------------------------------------------------------------------------

    def _begin(self, module: nn.Module, args: Any) -> None:
        held = {p for optimizer in self.built for p in held_parameters(optimizer)}
        other = held.isdisjoint(module.parameters())
        # A whole iteration without any of them: nothing trains but parameters of no module.
        if not torch.is_grad_enabled() or (other and self._skip >= 0):
            return
        players = find_players(dict(self.built))
        self._players = replace(players, notes=(*players.notes, *self._inside))
        if not players.nets:
            return
        for note in players.notes:  # (where the loop is comes with the lines, if they are told)
            if note not in self.told:
                self.told.add(note)
                self._say(NOTE.format(text=note.text))
        hooks = internals.pre_hooks(module)
        known = {*hooks}
        recording = record(self._players.nets, self._players.optimizers)
        self._record = self._recording.enter_context(recording)
        self._stepped.clear()
        self._done = 0
        # torch has already listed the hooks of the forward that is beginning: ours come by hand.
        for key in hooks.keys() - known:
            hooks[key](module, args, {})

    def _close(self, *error: Any) -> Report:
        """End the recording, with the exception that ended it (type, value, traceback), if any."""
        recorded, players, self._record = self._record, self._players, None
        assert recorded is not None
        self._recording.__exit__(*(error or (None, None, None)))
        self._players = Players({}, {})  # keep nothing of the script's alive
        return Report(recorded, players, self._done)

    def _finish(self, report: Report) -> None:
        self._hooks.close()
        self._over = True
        self._report(report, True)

    def _look_inside(self, watched: Record) -> None:
        """All that happened came from one line, which runs a package's trainer? Then it tells
        nothing: begin again, and tell the trainer's own lines."""
        places = {(event.line.file, event.line.number) for event in watched.events}
        if len(places) == 1 and (folders := trainers()):
            names = AND.join(os.path.basename(folder.rstrip(os.sep)) for folder in folders)
            line = visible(" ".join(watched.events[0].line.code.split()), 80)
            self._spare = self._close()
            self._inside = (Note(INSIDE.format(line=line, packages=names)),)
            look_into(folders, self._hooks)

    def _look_at_the_absent(self, report: Report) -> None:
        """So much has happened, and some optimizer has not stepped often enough."""
        stepped = {e.target for e in report.record.events if e.kind == "step"}
        absent = {n: o for n, o in report.players.optimizers.items() if n not in stepped}
        if absent:
            note = Note(ABSENT.format(optimizers=AND.join(absent)))
            players = replace(report.players, notes=(*report.players.notes, note))
            report = replace(report, players=players)
        if not absent or len(stepped) > 1 or not report.diagnosis.sound:
            self._finish(report)
            return
        # One player alone, and nothing wrong: it trains before the others do.
        self._spare, self._limit = self._spare or report, 2 * self._limit
        self._awaited = {id(o) for o in absent.values()}
