"""Players that are no net: parameters in no module, known by the variables that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.lens.record import LoneParameters
from gan_lessons.lens.watch.ownership import holders_of
from gan_lessons.lens.watch.variables import Variable, is_a, unique

UNNAMED = "tensors of {optimizer}"


def lone_players(
    found: Sequence[Variable], optimizers: Sequence[Optimizer], nets: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    """Parameters that are in no module; those that the same optimizers hold are one player.

    What no variable holds is left out, unless its optimizer holds nothing else.
    """
    owned = {p for net in nets.values() for p in net.parameters()}
    groups: dict[frozenset[int], list[Tensor]] = {}
    busy = set[int]()  # optimizers that hold a net
    for parameter, holders in holders_of(optimizers).items():
        if parameter in owned:
            busy |= holders
        elif parameter.is_leaf:
            groups.setdefault(holders, []).append(parameter)
    named = {id(v.value): v for v in found if is_a(v.value, Tensor)}
    players = list[Variable]()
    for holders, group in groups.items():
        known = [p for p in group if id(p) in named]
        holder = _holder(group, found) if len(group) > 1 else None
        variables = [named[id(p)] for p in known]
        if holder is not None and any("[" in v.path for v in variables):
            players.append(_held_by(holder, group))
        elif known:
            tensors = unique(variables)
            path = _joined([v.path for v in variables])
            players.append(Variable(_joined([*tensors]), path, LoneParameters(tensors)))
        elif not holders & busy:
            name = next((v.name for v in found if id(v.value) in holders), "an optimizer")
            name = UNNAMED.format(optimizer=name)
            tensors = {str(i): p for i, p in enumerate(group)}
            players.append(Variable(name, name, LoneParameters(tensors)))
    return unique(players)


def _holder(group: Sequence[Tensor], found: Sequence[Variable]) -> Variable | None:
    """The variable of a list or dict that holds them all, the first of them first."""
    for variable in found:
        keyed = _keyed(variable.value)
        if keyed and keyed[0][1] is group[0] and {*map(id, group)} <= {id(x) for _, x in keyed}:
            return variable
    return None


def _held_by(holder: Variable, group: Sequence[Tensor]) -> Variable:
    places = {id(x): f"{holder.name}[{key!r}]" for key, x in _keyed(holder.value)}
    return holder._replace(value=LoneParameters({places[id(p)]: p for p in group}))


def _keyed(value: Any) -> list[tuple[Any, Any]]:
    if is_a(value, dict):
        return list(value.items())
    return list(enumerate(value)) if is_a(value, (list, tuple)) else []


def _joined(names: Sequence[str]) -> str:
    return " + ".join(names[:3]) + (f" + {len(names) - 3} more" if len(names) > 3 else "")
