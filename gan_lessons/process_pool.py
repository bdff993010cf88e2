"""Real processes that torch.distributed joins, for lessons and tests on one machine.

    with Processes(2) as both:
        both.run(function, argument)    # [what rank 0 returned, what rank 1 returned]

They stay alive between calls, since each start imports torch anew.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist

from gan_lessons import ranks

Result = TypeVar("Result")
LONGEST_WAIT = timedelta(minutes=3)  # for a process that does not come to a collective


class Processes:
    """`count` processes with gloo on the CPU and one thread each. Nothing of them is left at the
    end; what torch writes on their output goes nowhere. After the end `run` starts new ones."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"at least one process is needed, got {count}")
        self._count, self._pools = count, list[ProcessPoolExecutor]()

    def _start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        meeting = Path(self._folder.name, "meeting").as_uri()
        spawn = multiprocessing.get_context("spawn")  # not fork: threads and locks do not survive
        self._pools = [
            ProcessPoolExecutor(1, spawn, initializer=_join, initargs=(rank, self._count, meeting))
            for rank in range(self._count)
        ]

    def run(self, function: Callable[..., Result], *arguments: Any) -> list[Result]:
        """Call it in every process at once; its results, by rank.

        function: of a module, not of a notebook: the others must be able to import it. What one of
        them raises is raised here.
        """
        if not self._pools:
            self._start()
        waiting = [pool.submit(function, *arguments) for pool in self._pools]
        failed = [one for one in wait(waiting, return_when=FIRST_EXCEPTION).done if one.exception()]
        return [one.result() for one in failed[:1] or waiting]  # the others may wait for that one

    def close(self) -> None:
        """End the processes."""
        for pool in self._pools:
            pool.shutdown()
        if self._pools:
            self._folder.cleanup()
        self._pools = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _join(rank: int, count: int, meeting: str) -> None:
    with open(os.devnull, "w") as nowhere:
        for stream in (1, 2):  # gloo greets, DDP warns
            os.dup2(nowhere.fileno(), stream)
    os.environ["WORLD_SIZE"] = str(count)  # as torchrun would have it
    torch.set_num_threads(1)
    ranks.join(init_method=meeting, rank=rank, world_size=count, timeout=LONGEST_WAIT)
    atexit.register(dist.destroy_process_group)
