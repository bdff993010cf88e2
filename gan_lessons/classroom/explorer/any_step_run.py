"""A step with arguments and nets of its own, run for the explorer.

Not on copies: it may reach its nets by name, or as attributes of a trainer. So it runs on the nets
themselves, and all that it moves is put back.
"""

from __future__ import annotations

from gan_lessons.classroom.explorer.film import Json, make_film
from gan_lessons.lens.cost import counting
from gan_lessons.lens.record import StepCall, record_step
from gan_lessons.lens.watch import state_kept
from gan_lessons.put_back import seeded
from gan_lessons.strategies import Strategy

NOTHING_SEEN = (
    "{step} ran, and none of the nets in nets= had a part in it ({names}); name the very nets and "
    "optimizers that it uses"
)


class AnyStepRun:
    """Recorded as it runs in training: after one step of the same, whose gradients are still in
    ``.grad``. A step that cannot run is recorded as it fails."""

    def __init__(self, strategy: Strategy, call: StepCall, seed: int) -> None:
        """Raises ValueError for a step that does nothing to its nets, and what the step raises
        before it has done anything."""
        self._strategy = strategy
        nets, optimizers = call.nets, call.optimizers
        self.is_small = True  # for what it has to try: nothing
        with seeded(seed, call.device), state_kept(nets.values(), optimizers.values()) as start:
            try:
                call()
            except Exception:  # noqa: BLE001 - it is recorded in a moment, and raises again
                start.put_back()
            self.record = record_step(call.step, args=call.args, nets=nets, optimizers=optimizers)
            if not self.record.forwards and all(e.kind != "step" for e in self.record.events):
                raise ValueError(NOTHING_SEEN.format(step=call.name, names=", ".join(nets)))
            self._flops: int | None = None
            if self.record.error is None:
                with counting(nets) as count:  # it must not see the recorder's norms
                    call()
                self._flops = sum(work.flops for work in count.work)

    def film(self) -> Json:
        return make_film(self.record, self._strategy.title, self._strategy.summary, self._flops)

    def variants(self, _: Json) -> list[Json]:
        """None: a changed step is tried on copies of a Gan."""
        return []
