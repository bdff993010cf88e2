"""Find who plays: the optimizers, the nets that own their parameters, and the names of all.

Names are those of the variables that hold a net or an optimizer in the frames of the running code:
``netG``, ``self.netG`` and ``nets["netG"]`` all give ``netG``.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record import held_parameters, held_twice
from gan_lessons.lens.watch.lone_players import lone_players
from gan_lessons.lens.watch.ownership import (
    REPLACED,
    Note,
    holders_of,
    never_held,
    ownership,
    replaced_nets,
)
from gan_lessons.lens.watch.variables import Variable, is_a, unique, users_frames, variables

NO_NAME = "optimizer of {net}"


@dataclass(frozen=True)
class Players:
    """``nets``: name -> module. ``optimizers``: name -> the optimizer that really steps."""

    nets: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    notes: tuple[Note, ...] = ()


def find_players(
    built: Mapping[Optimizer, str] | None = None, nets: Mapping[str, nn.Module] | None = None
) -> Players:
    """Look for players in the frames of the running code; to be called from below these frames.

    built: optimizers, each with the line that built it; those in variables, if left out.
    nets: name -> module; found by the parameters that the optimizers hold, if left out.
    """
    found = list(variables(users_frames()))
    if built is None:
        wrapped = {id(i) for v in found if is_a(v.value, Optimizer) for i in _inner(v.value)}
        mine = [v.value for v in found if is_a(v.value, Optimizer) and id(v.value) not in wrapped]
        built = dict.fromkeys(mine, "")
    held = holders_of(built)
    named = dict(nets) if nets is not None else _nets(found, held)
    modules = (
        [] if nets is not None else [(v.name, v.value) for v in found if is_a(v.value, nn.Module)]
    )
    plain = {id(v.value) for v in found if is_a(v.value, Tensor) and "[" not in v.path}
    mute = [o for o in built if not any(id(p) in plain for p in held_parameters(o))]
    replaced = list(replaced_nets(modules, mute, named, held.keys()))
    named |= {name: net for name, net, _ in replaced}
    lost = [optimizer for _, _, optimizer in replaced]
    if nets is None:
        tensors = [*_own_parameters(found), *found]
        named |= lone_players(tensors, [o for o in built if o not in lost], named)
    owned = {p for net in named.values() for p in net.parameters()}
    playing = {o: s for o, s in built.items() if o in lost or held_parameters(o) & owned}
    optimizers = _name_optimizers(playing, found, named)
    names = {id(o): name for name, o in optimizers.items()}
    notes = [Note(REPLACED.format(net=name, optimizer=names[id(o)])) for name, _, o in replaced]
    gone = {name for name, _, _ in replaced}
    rest = {name: net for name, net in named.items() if name not in gone}
    notes += ownership(rest, optimizers)
    if any(held_twice(optimizer) for optimizer in built):  # by a line that was copied, perhaps
        notes += never_held(_other_modules(found, named), held)
    return Players(named, optimizers, tuple(notes))


def _other_modules(
    found: Sequence[Variable], nets: Mapping[str, nn.Module]
) -> dict[str, nn.Module]:
    players = {id(net) for net in nets.values()}
    modules = [v for v in found if is_a(v.value, nn.Module) and id(v.value) not in players]
    return {v.path: v.value for v in modules}


# Nets ---------------------------------------------------------------------------------------------

_Holders = Mapping[Tensor, frozenset[int]]


def _nets(found: Sequence[Variable], held: _Holders) -> dict[str, nn.Module]:
    """The nets that own what the optimizers hold, each the largest that one set of them trains."""
    chosen = _chosen([v for v in found if is_a(v.value, nn.Module)], held)
    if held.keys() - {p for _, owned in chosen for p in owned}:
        modules = [o for o in gc.get_objects() if is_a(o, nn.Module)]
        parts = {id(child) for module in modules for child in module.children()}
        roots = [Variable(type(m).__name__, type(m).__name__, m) for m in modules]
        chosen = _chosen([v for v, _ in chosen] + [r for r in roots if id(r.value) not in parts],
                         held)  # fmt: skip
    compiled = {
        id(net): v.value for v in found if (net := internals.compiled_from(v.value)) is not None
    }
    named = unique([v for v, _ in chosen])
    return {name: compiled.get(id(net), net) for name, net in named.items()}


def _chosen(roots: Iterable[Variable], held: _Holders) -> list[tuple[Variable, set[Tensor]]]:
    chosen: list[tuple[Variable, set[Tensor]]] = []
    for root in roots:
        for part in _pure_parts(root, held):
            owned = {p for p in part.value.parameters() if p in held}
            if any(owned <= known for _, known in chosen):
                continue  # it has a name already, or is a part of what has
            inside = [known for _, known in chosen if known <= owned]
            if len(inside) > 1 and set().union(*inside) == owned:
                continue  # a wrapper around players that have names of their own
            chosen = [(v, known) for v, known in chosen if not known <= owned]
            chosen.append((part, owned))
    return chosen


def _pure_parts(variable: Variable, held: _Holders) -> list[Variable]:
    """The module itself where the same optimizers train all of it, else its largest such parts."""
    name, path, module = variable
    owned = {p for p in module.parameters() if p in held}
    if not owned:
        return []
    if _is_pure(module, held) and not _only_holds(module):
        return [variable]
    parts = []
    for key, child in module.named_children():
        label = f"{name}[{key}]" if key.isdigit() else key
        parts += _pure_parts(Variable(label, f"{path}.{key}", child), held)
    covered = {p for part in parts for p in part.value.parameters()}
    if _told_apart(parts, held):  # an agent, say; a weight of its own beside them is a player, too
        covered |= {*module.parameters(recurse=False)}
    return parts if owned <= covered and all(_is_pure(p.value, held) for p in parts) else [variable]


def _told_apart(parts: Sequence[Variable], held: _Holders) -> bool:
    """Are there two of these of which no optimizer holds both?"""
    holders = [frozenset[int]().union(*(held.get(p, ()) for p in v.value.parameters()))
               for v in parts]  # fmt: skip
    return any(a.isdisjoint(b) for a in holders for b in holders)


def _own_parameters(found: Sequence[Variable]) -> list[Variable]:
    """The parameters that modules hold beside their parts, by their names there."""
    modules = (v for v in found if is_a(v.value, nn.Module))
    return [Variable(name, f"{v.path}.{name}", p) for v in modules
            for name, p in v.value.named_parameters(recurse=False)]  # fmt: skip


def _is_pure(module: nn.Module, held: _Holders) -> bool:
    """One optimizer at least holds all of it; others may hold parts."""
    owners = [held[p] for p in module.parameters() if p in held]
    return bool(owners) and bool(frozenset.intersection(*owners))


def _only_holds(module: nn.Module) -> bool:
    """A ModuleDict, or a module without a forward of its own, is a place for nets, not a net."""
    return "forward" not in vars(module) and type(module).forward is nn.Module.forward


# Names --------------------------------------------------------------------------------------------


def _name_optimizers(
    built: Mapping[Optimizer, str], found: Sequence[Variable], nets: Mapping[str, nn.Module]
) -> dict[str, Optimizer]:
    """By the variable that holds it or its wrapper, by the line that built it, by its net."""
    variables: dict[int, Variable] = {}
    for v in (v for v in found if is_a(v.value, Optimizer)):
        for optimizer in [v.value, *_inner(v.value)]:
            if "[" not in v.name or id(optimizer) not in variables:
                variables.setdefault(id(optimizer), v)
    named = []
    for optimizer, line in built.items():
        held = held_parameters(optimizer)
        owners = [n for n, net in nets.items() if not held.isdisjoint(net.parameters())]
        text = assigned_name(line) or NO_NAME.format(net=" + ".join(owners) or "no net")
        v = variables.get(id(optimizer), Variable(text, text, optimizer))
        if v.name.startswith("_") or ("[" in v.name and assigned_name(line)):
            v = Variable(text, text, optimizer)
        named.append(v._replace(value=optimizer))
    return unique(named)


def assigned_name(line: str) -> str | None:
    """``opt_g`` for ``self.opt_g = Adam(...)``; None for a line that is no plain assignment."""
    try:
        statement = ast.parse(line).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return None
    target = statement.targets[0]
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else None


def _inner(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers that this one only wraps (accelerate, Lightning)."""
    return [o for o in vars(optimizer).values() if is_a(o, Optimizer)]
