"""Do all processes of one training hold the same weights? Asked once, when a recording ends.

Not by a collective: one process may record alone, and the others would never come. Each puts what
it measured into the store that torch.distributed itself has joined them by. The first process looks
at all others, and these at the first.
"""

from __future__ import annotations

import itertools
import json
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.gradients import Fingerprint, alike

SOON = timedelta(seconds=1)  # for the others to have begun a recording, when ours is over
WAIT = timedelta(seconds=10)  # for those who have begun one to end it
Names = list[tuple[str, str]]  # (net, parameter)
_recordings = itertools.count()
_given_up = weakref.WeakSet[Any]()  # stores of processes that did not answer: they record nothing


def begun() -> str | None:
    """Tell the others that a recording begins. Its key in the store; None for one process alone."""
    found = internals.joined_processes()
    if found is None or found[0] in _given_up:
        return None
    store, rank, _ = found
    key = f"gan_lessons/recording/{next(_recordings)}/"
    store.set(f"{key}{rank}/begun", "")
    return key


def drifted(
    key: str | None,
    names: Names,
    before: list[Fingerprint],
    now: Callable[[], list[Fingerprint]],
    steps: list[str | None],
) -> tuple[int, dict[str, tuple[str, ...]]]:
    """(processes, net -> parameters that were equal in all of them, and are no longer).

    key: what ``begun`` gave. names: of the parameters. before: what was measured of each when the
    recording began; now(): what is measured of each when it ends. steps: the optimizers that
    stepped meanwhile. (1, {}) for
    one process, where others recorded other steps, and where they do not answer in time: they
    record nothing, and from then on nobody is waited for. Who records alone waits for ``SOON``.
    """
    found = internals.joined_processes()
    if found is None or key is None or found[0] in _given_up:
        return 1, {}
    store, rank, processes = found
    mine = [before, now()]
    others = range(1, processes) if rank == 0 else [0]
    apart: set[int] = set()
    try:
        store.wait([f"{key}{other}/begun" for other in others], SOON)
        store.set(f"{key}{rank}", json.dumps([names, steps, *mine]))
        store.wait([f"{key}{other}" for other in others], WAIT)
        for other in others:
            their_names, their_steps, *theirs = json.loads(store.get(f"{key}{other}"))
            if (list(map(tuple, their_names)), their_steps) != (names, steps):
                return 1, {}  # it records something else, or more of it
            apart |= {i for i in range(len(names)) if _parted(mine, theirs, i)}
    except RuntimeError:  # torch's DistError: nobody came, or the store is gone
        _given_up.add(store)
        return 1, {}
    return processes, _by_net([names[i] for i in sorted(apart)])


def _parted(mine: list[list[Fingerprint]], theirs: list[list[Fingerprint]], i: int) -> bool:
    (before, now), (their_before, their_now) = mine, theirs
    return alike(before[i], their_before[i]) and not alike(now[i], their_now[i])


def _by_net(names: Names) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for net, name in names:
        found.setdefault(net, []).append(name)
    return {net: tuple(row) for net, row in found.items()}
