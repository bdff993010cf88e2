"""What a record tells of somebody's loop, in one row: the order, the cut, the update, the waste."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gan_lessons.classroom.tables import Table
from gan_lessons.classroom.wild.loops import WILD, WildLoop
from gan_lessons.data import noise, ring
from gan_lessons.lens.diagnose import diagnose
from gan_lessons.lens.model import BackwardCall, Record
from gan_lessons.lens.record import record

ITERATIONS = 2
HEADS = ("loop", "order", "between D's loss and G", "strategy", "update", "in vain", "findings")


@dataclass(frozen=True)
class Reading:
    """One loop, from its record.

    ``order``: optimizers in the order of their first steps. ``cut``: what keeps the loss of the
    judges out of G. ``strategy``: "S1", "S2", "S3", or why it is none of them. ``update``:
    "simultaneous", "alternating", or "" where that is not told.
    ``in_vain``: net -> gradients of parameters that no step used, in one iteration; None for a loop
    that raised: none were counted. ``grave``: codes of errors, of wrong gradients, and of losses
    that went nowhere.
    """

    order: tuple[str, ...]
    cut: str
    strategy: str
    update: str
    in_vain: Mapping[str, float] | None
    grave: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        vain = ", ".join(f"{net}: {count:g}" for net, count in (self.in_vain or {}).items())
        order, grave = " → ".join(self.order), ", ".join(self.grave) or "–"
        kind = self.strategy, self.update or "–"
        none = "nothing" if self.in_vain is not None else "not counted: it raises"
        return order, self.cut, *kind, vain or none, grave


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
    grave = [
        f.code for f in found.findings
        if f.severity in ("error", "wrong") or f.code == "never-walked"
    ]  # fmt: skip
    order = tuple(dict.fromkeys(str(e.target) for e in rec.events if e.kind == "step"))
    return Reading(
        order=order,
        cut=_cut(rec),
        strategy=_strategy(rec),
        update=update[0] if update else "",
        in_vain=None if raised else vain,
        grave=tuple(dict.fromkeys(grave)),
    )


def _strategy(rec: Record) -> str:
    """S1: one forward of a judge serves both losses. S2, S3: the judges get a fake that is cut off,
    and G learns from the same one; who steps first tells the two apart."""
    stepped = [str(e.target) for e in rec.events if e.kind == "step"]
    first = {name: stepped.index(name) for name in stepped}
    of_d = _first_calls(rec, "D")
    of_g = _first_calls(rec, "G") or [rec.backward_calls[-1]]  # one that raised never steps
    makers = {f.index for f in rec.forwards if f.net.startswith("G")}
    walked_d, walked_g = ({f for call in calls for f in call.forwards} for calls in (of_d, of_g))
    if (walked_d & walked_g) - makers:
        return "S1"
    nodes = {node for call in of_d for node in call.nodes}
    sources = [cut.source for cut in rec.graph.cuts if cut.target in nodes]
    cut_off = {rec.graph.nodes[node].forward for node in _behind(rec, sources)}
    fed = {forward for forward, node in rec.graph.fed if node in nodes}
    if cut_off & walked_g & makers:
        return "S2" if first["D"] < first["G"] else "S3"
    made = (cut_off | fed | walked_d) & makers
    return "none: two fakes" if made else "none: D learns from no fake"


def _behind(rec: Record, nodes: list[int]) -> set[int]:
    """These nodes of the graph, and all that they were computed from."""
    seen: set[int] = set()
    while nodes:
        seen.add(node := nodes.pop())
        nodes += [i for i in rec.graph.nodes[node].inputs if i not in seen]
    return seen


def _first_calls(rec: Record, optimizer: str) -> list[BackwardCall]:
    """The backward calls that the first step of this optimizer used."""
    step = next((e for e in rec.events if (e.kind, e.target) == ("step", optimizer)), None)
    states = rec.consumed(step).values() if step else ()
    return [rec.backward_calls[i] for i in sorted({i for s in states for i in s.sources})]


def _cut(rec: Record) -> str:
    """What keeps what the judges learn from out of the net that made it."""
    calls = _first_calls(rec, "D")
    if any(names for call in calls for net, names in call.received.items() if net[0] == "G"):
        return "nothing"
    nodes = {node for call in calls for node in call.nodes}
    makers = {f.index for f in rec.forwards if f.net.startswith("G")}
    if any(forward in makers and node in nodes for forward, node in rec.graph.fed):
        return "made without gradients"
    cuts = [c.how for c in rec.graph.cuts if c.target in nodes]
    return cuts[0] if cuts else "–"
