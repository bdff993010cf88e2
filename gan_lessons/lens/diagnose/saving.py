"""What mending a finding of waste would save, read off the record: FLOPs, bytes; no time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gan_lessons.lens.diagnose.backward_flops import Flops, flops_for
from gan_lessons.lens.model import HELD, BackwardCall, HeldBytes, Record
from gan_lessons.lens.show import bytes_text, flops_text


@dataclass(frozen=True)
class Saving:
    """What would be saved each time that the line runs.

    ``flops``: of backward, as ``torch.utils.flop_counter`` counts. ``share``: of all FLOPs that the
    recorded backward calls compute; None where the graph does not tell all of them.
    ``complete``: there are no others than ``flops``. ``bytes``: of activations that could be let go
    of, at most.
    """

    flops: int = 0
    share: float | None = None
    complete: bool = True
    bytes: int = 0

    def __str__(self) -> str:
        text = "{flops} FLOPs each time, {share} of what all backward calls here compute."
        if self.share is None:
            text = (
                "{flops} FLOPs each time."
                if self.complete
                else "{flops} FLOPs each time, and what else the graph does not tell."
            )
        share = "less than 1%" if (self.share or 0) < 0.005 else f"{self.share:.0%}"
        told = [text.format(flops=flops_text(self.flops), share=share)] if self.flops else []
        if self.bytes:
            text = "Up to {bytes} of activations need not be kept."
            told.append(text.format(bytes=bytes_text(HeldBytes(self.bytes))))
        return " ".join(told)


def saved_if_not_for(
    record: Record, net: str, names: Mapping[int, Collection[str]], whole: Flops
) -> Saving:
    """If these parameters of ``net`` received nothing. names: backward call -> its parameters.
    whole: of all backward calls."""
    calls = record.backward_calls
    found = sum(
        (flops_for(record, calls[i], {(net, n) for n in row}) for i, row in names.items()), Flops()
    )
    known = found.count and found.complete and whole.complete
    share = found.count / whole.count if known else None
    return Saving(round(found.count / len(names)), share, found.complete)


def saved_if_freed(record: Record, calls: Collection[BackwardCall]) -> Saving:
    """If these calls had not retained their graph: the most that any of them kept for nothing."""
    return Saving(bytes=max(_kept(record, call) for call in calls))


def _kept(record: Record, call: BackwardCall) -> int:
    """Bytes that only the nodes of this call held when it was over."""
    end, walked = record.end_of(call.index), set(call.nodes)
    kept: dict[bool, int] = {True: 0, False: 0}  # within this call, outside
    for i, state in end.states.items():
        if state == HELD:
            saved = record.graph.saved.get(i, ())
            kept[i in walked] += sum(s.bytes for s in saved if s.what == "activation")
    return min(kept[True], end.held.activations) if kept[False] else end.held.activations


def computed_in_vain(record: Record) -> Flops:
    """What all backward calls computed for gradients that no step used, and for nothing else."""
    found = Flops()
    for call in (call for call in record.backward_calls if call.error is None):
        rows = record.in_vain(call.index).items()
        found += flops_for(record, call, {(net, name) for net, names in rows for name in names})
    return found
