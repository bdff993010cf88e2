"""The same for Lightning's Trainer: ``Trainer(callbacks=[lightning_callback()])``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from gan_lessons.lens.model import Record
from gan_lessons.lens.record import record
from gan_lessons.lens.watch.finding_players import find_players
from gan_lessons.lens.watch.watching import Told


def lightning_callback(iterations: int = 2, tell: Callable[[str], None] = print) -> Any:
    """Make a Lightning ``Callback`` that watches the first training batches, and reports.

    iterations: how many batches. tell: gets the report as text, on the first rank only. The record
    is in ``.record`` afterwards. Mutates nothing of the trainer or the module.

    Raises ImportError where neither ``lightning`` nor ``pytorch_lightning`` is installed.
    """
    base: Any = _lightning().Callback

    class WatchGradients(base):
        def __init__(self) -> None:
            self.record: Record | None = None
            self._left, self._stack = iterations, ExitStack()

        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if self.record is not None:
                return
            players = find_players(dict.fromkeys(trainer.optimizers, ""))
            loud = tell if trainer.is_global_zero else (lambda _: None)
            self._stack.callback(lambda: Told(loud).report(rec, players, iterations - self._left))
            rec = self._stack.enter_context(record(players.nets, players.optimizers))
            self.record = rec

        def on_train_batch_end(self, *_: Any) -> None:
            self._left -= 1
            if self._left == 0:
                self._stack.close()

        def on_exception(self, trainer: Any, module: Any, error: BaseException) -> None:
            self._stack.__exit__(type(error), error, error.__traceback__)

        def teardown(self, *_: Any, **__: Any) -> None:
            self._stack.close()

    return WatchGradients()


def _lightning() -> Any:
    """Whichever of the two packages is in use: a Trainer of one refuses callbacks of the other."""
    names = ("lightning.pytorch", "pytorch_lightning")
    for name in sorted(names, key=lambda name: name not in sys.modules):
        try:
            return import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name not in (name, name.split(".")[0]):
                raise
    raise ImportError("lightning_callback() needs Lightning: pip install lightning")
