"""Nothing grows: 1,000 records, 500 explorers, 200 drawings, and all that they hold is let go of.

    python -m tests.stress.memory                  # the full size
    python -m tests.stress.memory --cases 20       # 20 of each

Of each kind half as many are made first, for caches and the allocator's arenas to fill. Then memory
is looked at, all are made, and memory is looked at again: objects that Python tracks, bytes of the
process, hooks of torch, figures of matplotlib, comms of widgets.
"""

from __future__ import annotations

import ctypes
import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comm
import matplotlib.pyplot as plt

from gan_lessons import data, draw_graph, explore, record, step_detach, tiny_gan
from gan_lessons.lens.model import Record
from tests.stress import report
from tests.stress.interrupts import KEPT, left

SIZES = {"records": 1000, "explorers": 500, "drawings": 200}
BYTES = 4_000_000  # more than this is no noise of the allocator
OBJECTS = 200


def recorded() -> Record:
    gan = KEPT["memory"] = tiny_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, data.ring(4), data.noise(4, (2,)))
    str(rec)
    return rec


def explored() -> None:
    shown = explore("detach", what_if=False)
    shown.to_html()
    shown.close()


def drawn() -> None:
    draw_graph(record=recorded())._repr_html_()


KINDS: dict[str, Callable[[], Any]] = {
    "records": recorded, "explorers": explored, "drawings": drawn,
}  # fmt: skip


def resident() -> int:
    """Bytes of this process that something holds; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)  # what was freed goes back to the system
    return int(status.read_text().split()[1]) * 4096


def grown(kind: str, count: int, end: float) -> tuple[int, int, int]:
    """(how many were made, objects more, bytes more), after half as many that are not counted."""
    make = KINDS[kind]
    for _ in range(max(count // 2, 3)):
        make()
    gc.collect()
    objects, bytes_, made = len(gc.get_objects()), resident(), 0
    while made < count and time.monotonic() < end:
        make()
        made += 1
    gc.collect()
    return made, len(gc.get_objects()) - objects, resident() - bytes_


def alive_after(end: Callable[[Any], object]) -> bool:
    """Is an explorer still there, once ``end`` was called and nobody names it any more?"""
    shown = explore("detach", what_if=False)
    kept = weakref.ref(shown)
    end(shown)
    del shown
    gc.collect()
    return kept() is not None


def main() -> None:
    parser = report.arguments(__doc__, cases=0)
    options = parser.parse_args()
    end, bad, told = time.monotonic() + options.seconds, list[str](), list[str]()
    recorded()
    before = left()
    for kind, size in SIZES.items():
        count, objects, bytes_ = grown(kind, options.cases or size, end)
        told.append(f"{count} {kind}: {objects:+d} objects, {bytes_ / 1e6:+.1f} MB")
        if objects > OBJECTS or bytes_ > BYTES:
            bad.append(f"{kind} grow")
    if left() != before:
        bad.append(f"left behind: {left()} was {before}")
    if plt.get_fignums():
        bad.append(f"{len(plt.get_fignums())} figures are open")
    if comms := len(comm.get_comm_manager().comms):
        bad.append(f"{comms} comms are open")
    bad += [f"an explorer outlives {how}" for how, do in ENDS.items() if alive_after(do)]
    print(*told, *bad, sep="\n")
    text = "{told}; hooks, figures and comms left: {left}; accidents: {bad}"
    report.told("memory", text.format(told="; ".join(told), left=comms, bad=len(bad)), len(bad))


ENDS: dict[str, Callable[[Any], object]] = {
    "close()": lambda shown: shown.close(),
    "del": lambda shown: None,
}


if __name__ == "__main__":
    main()
