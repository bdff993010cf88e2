"""Parameters that were frozen when the recording began, and thawed once, at one line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from torch import Tensor

from gan_lessons.lens.model import Line


class Thawing:
    """``switched`` hears, before it happens, that the ``requires_grad`` of a tensor is set."""

    def __init__(self) -> None:
        self._were: dict[int, list[tuple[bool, Line]]] = defaultdict(list)

    def switched(self, tensor: Tensor, line: Line) -> None:
        self._were[id(tensor)].append((tensor.requires_grad, line))

    def once(
        self, names: Mapping[str, Mapping[str, Tensor]], held: Collection[int]
    ) -> dict[str, dict[str, Line]]:
        """Net -> parameter that no optimizer holds -> the line that thawed it, the only one that
        switched it at all. Not where that line thawed, in this net, what an optimizer holds: that
        is a net which was frozen as a whole, with parts that may be meant to stand still."""
        found: dict[str, dict[str, Line]] = {}
        for net, named in names.items():
            were = {name: self._were.get(id(p), []) for name, p in named.items()}
            thaws = [(line, id(named[name]) in held) for name, row in were.items()
                     for was, line in row if not was]  # fmt: skip
            whole = {line for line, moves in thaws if moves}
            row = {name: row[0][1] for name, row in were.items()
                   if len(row) == 1 and not row[0][0] and named[name].requires_grad
                   and id(named[name]) not in held and row[0][1] not in whole}  # fmt: skip
            found |= {net: row} if row else {}
        return found
