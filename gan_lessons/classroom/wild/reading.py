"""What a record tells of somebody's loop, in one row: the order, the cut, the update, the waste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gan_lessons.classroom.tables import Table
from gan_lessons.classroom.wild.loops import WILD, WildLoop
from gan_lessons.data import noise, ring
from gan_lessons.lens.diagnose import diagnose
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import record

ITERATIONS = 2
HEADS = ("loop", "order", "between D's loss and G", "update", "in vain", "BatchNorm", "findings")


@dataclass(frozen=True)
class Reading:
    """One loop, from its record.

    ``order``: optimizers in the order of their first steps. ``cut``: what keeps the loss of the
    judges out of G. ``update``: "simultaneous", "alternating", or "" where that is not told.
    ``in_vain``: net -> gradients of parameters that no step used, in one iteration. ``norms``: net
    -> how often an iteration moves its running statistics. ``grave``: codes of errors, of wrong
    gradients, and of losses that went nowhere.
    """

    order: tuple[str, ...]
    cut: str
    update: str
    in_vain: Mapping[str, float]
    norms: Mapping[str, float]
    grave: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        vain = ", ".join(f"{net}: {count:g}" for net, count in self.in_vain.items())
        norms = ", ".join(f"{net}: {count:g}" for net, count in self.norms.items())
        order = ", then ".join(self.order)
        grave = ", ".join(self.grave)
        return order, self.cut, self.update or "–", vain or "nothing", norms or "–", grave or "–"


def table_of(readings: Mapping[str, Reading]) -> Table:
    """One row for each loop; a loop of ``WILD`` is named by its title."""
    rows = [(WILD[n].title if n in WILD else n, *r.cells) for n, r in readings.items()]
    return Table(HEADS, rows)


def recorded(loop: WildLoop, iterations: int = ITERATIONS, batch: int = 8) -> Record:
    """Run the loop from its start, and watch. An error of its graph ends the recording, and goes no
    further: the record explains it."""
    cast = loop.cast()
    rec = None
    try:
        with record(cast.nets, cast.optimizers) as rec:
            for i in range(iterations):
                loop.iterate(cast, ring(batch, seed=i), noise(batch, (2,), seed=i))
    except RuntimeError:
        if rec is None or rec.explanation is None:
            raise
    assert rec is not None
    return rec


def read(rec: Record, iterations: int = ITERATIONS) -> Reading:
    """Read one row off a record of so many iterations."""
    found = diagnose(rec)
    update = [code for code in found.codes if code in ("simultaneous", "alternating")]
    vain: dict[str, float] = {}
    for call in rec.backward_calls:
        for net, names in rec.in_vain(call.index).items() if call.error is None else ():
            vain[net] = vain.get(net, 0) + len(names) / iterations
    raised = any(event.kind == "error" for event in rec.events)
    norms = {net: count / iterations for net, count in rec.batchnorm.items() if count}
    grave = [
        f.code for f in found.findings
        if f.severity in ("error", "wrong") or f.code == "never-walked"
    ]  # fmt: skip
    order = tuple(dict.fromkeys(str(e.target) for e in rec.events if e.kind == "step"))
    return Reading(
        order=order,
        cut=_cut(rec),
        update=update[0] if update else "",
        in_vain={} if raised else vain,
        norms={} if raised else norms,
        grave=tuple(dict.fromkeys(grave)),
    )


def _cut(rec: Record) -> str:
    """What keeps what the judges learn from out of the net that made it."""
    ends = {e.target: e for e in reversed(rec.events) if e.kind == "step"}
    judges = next(e for name, e in ends.items() if name in ("D", "d"))
    walked = {call for state in rec.consumed(judges).values() for call in state.sources}
    reached = {n for c in walked for n in rec.backward_calls[c].received if n.startswith("G")
               and rec.backward_calls[c].received[n]}  # fmt: skip
    if reached:
        return "nothing"
    nodes = {node for c in walked for node in rec.backward_calls[c].nodes}
    makers = {f.index for f in rec.forwards if f.net.startswith("G")}
    if any(forward in makers and node in nodes for forward, node in rec.graph.fed):
        return "made without gradients"
    cuts = [c.how for c in rec.graph.cuts if c.target in nodes]
    return cuts[0] if cuts else "–"
