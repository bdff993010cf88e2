"""Which weights were rewritten, and when: by torch's version counters, and at the end by value."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor, nn

from gan_lessons.lens.model import Event
from gan_lessons.lens.record.gradients import alike, measured
from gan_lessons.lens.record.tensors import version_of


class Weights:
    """Follows the parameters of ``names`` (net -> name -> parameter). Holds no copy of them."""

    def __init__(self, names: Mapping[str, Mapping[str, nn.Parameter]]) -> None:
        self._names = names
        parameters = {p for named in names.values() for p in named.values()}
        self._versions = {p: version_of(p) for p in parameters}
        self._values = {p: _value(p) for p in parameters}  # norm and sum, as they were at first

    def moved(self, written: Collection[Tensor] = ()) -> dict[str, tuple[str, ...]]:
        """net -> what was rewritten since the last call, and what is known to be ``written``."""
        found = {p for p, before in self._versions.items() if version_of(p) > before} | {*written}
        self._versions = {p: version_of(p) for p in self._versions}
        return self._named(found)

    def untold(self, events: Iterable[Event]) -> dict[str, tuple[str, ...]]:
        """net -> what was rewritten since the last call, or changed and no event tells of it."""
        late = self.moved()
        changed = self._named({p for p, v in self._values.items() if not alike(v, _value(p))})
        told = {(n, k) for event in events for n, names in event.moved.items() for k in names}
        unseen = {net: {k for k in names if (net, k) not in told} for net, names in changed.items()}
        found = {
            net: tuple(k for k in named if k in unseen.get(net, ()) or k in late.get(net, ()))
            for net, named in self._names.items()
        }
        return {net: names for net, names in found.items() if names}

    def _named(self, parameters: Collection[Tensor]) -> dict[str, tuple[str, ...]]:
        found = {
            net: tuple(k for k, p in named.items() if p in parameters)
            for net, named in self._names.items()
        }
        return {net: names for net, names in found.items() if names}


def _value(parameter: Tensor) -> tuple[float, float]:
    """(norm, sum), or NaN (alike to itself) for what torch computes no norm of: integers, float8,
    some sparse layouts. Quantized nets have such weights, and move them by no gradient."""
    try:
        return measured(parameter)
    except (RuntimeError, NotImplementedError):
        return math.nan, math.nan
