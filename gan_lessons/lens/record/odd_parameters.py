"""Parameters that are not what they seem: two on one memory, of no net, of a part in eval mode."""

from __future__ import annotations

import gc
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from torch import Tensor, nn
from torch.optim import Optimizer

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.gradients import Names

Place = tuple[str, str]  # (net, parameter)
AS_MADE = 1  # the version of a parameter that its layer has initialized, and nobody has written to


def on_one_memory(names: Names) -> tuple[tuple[Place, ...], ...]:
    """Parameters, each an object of its own, that lie on the same memory."""
    found: dict[object, dict[int, Place]] = defaultdict(dict)
    for net, named in names.items():
        for name, p in named.items():
            if nn.parameter.is_lazy(p) or p.is_meta or not p.numel() or p.layout != _STRIDED:
                continue
            key = internals.storage_of(p)[0], p.storage_offset(), p.numel()
            found[key].setdefault(id(p), (net, name))
    return tuple(tuple(places.values()) for places in found.values() if len(places) > 1)


def of_no_net(names: Names, optimizers: Mapping[str, Optimizer]) -> dict[str, int]:
    """Optimizer -> how many parameters it holds that are of none of these nets, and hold nothing;
    those left out that hold none of these."""
    known = {p for named in names.values() for p in named.values()}
    found: dict[str, int] = {}
    for name, optimizer in optimizers.items():
        held: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
        idle = sum(p.grad is None and p not in known and p.requires_grad for p in held)
        if idle and not known.isdisjoint(held):
            found[name] = idle
    return found


def empty_groups(optimizers: Mapping[str, Optimizer]) -> dict[str, int]:
    """Optimizer -> how many of its groups hold nothing, of those that have such beside others."""
    rows = {name: [not group["params"] for group in o.param_groups]
            for name, o in optimizers.items()}  # fmt: skip
    return {name: sum(row) for name, row in rows.items() if any(row) and not all(row)}


def look_alikes(names: Names, optimizers: Mapping[str, Optimizer]) -> dict[str, str]:
    """Optimizer that holds none of these nets, and no gradient -> one of which nobody holds
    anything, and whose parameters have just the shapes of what it does hold."""
    held: dict[str, set[Tensor]] = {n: {p for group in o.param_groups for p in group["params"]}
                                    for n, o in optimizers.items()}  # fmt: skip
    known = {p for named in names.values() for p in named.values()}
    free = {net: [p for p in named.values() if p.requires_grad] for net, named in names.items()
            if not any(row & {*named.values()} for row in held.values())}  # fmt: skip
    found: dict[str, str] = {}
    for name, row in held.items():
        idle = row.isdisjoint(known) and all(p.grad is None for p in row)
        for net, mine in free.items() if idle else ():
            if mine and name not in found and net not in found.values():
                found |= {name: net} if _shapes(mine) == _shapes(row) else {}
    return found


def _shapes(parameters: Iterable[Tensor]) -> list[tuple[int, ...]]:
    """Sorted; those of lazy ones are not known yet."""
    made = (p for p in parameters if not nn.parameter.is_lazy(p))
    return sorted(tuple(p.shape) for p in made)


def in_training(parameters: Iterable[Tensor]) -> set[int]:
    """The ids of those that modules own, all of them in training mode."""
    wanted = {id(p) for p in parameters}
    modes: dict[int, set[bool]] = defaultdict(set)
    for module in (o for o in gc.get_objects() if issubclass(type(o), nn.Module)) if wanted else ():
        for p in internals.own_parameters(module).values():
            if id(p) in wanted:
                modes[id(p)].add(module.training)
    return {key for key, found in modes.items() if found == {True}}


def places_of(parameters: Iterable[Tensor]) -> dict[int, Place]:
    """The id of each that a module owns -> the class of the outermost module that it is in, and its
    name there."""
    wanted = {id(p) for p in parameters}
    modules = [o for o in gc.get_objects() if issubclass(type(o), nn.Module)] if wanted else []
    outer: dict[int, tuple[nn.Module, str]] = {}
    for module in modules:
        parts: Mapping[str, nn.Module | None] = vars(module).get(internals.PARTS, {})
        outer |= {id(part): (module, name) for name, part in parts.items()}
    found: dict[int, Place] = {}
    for module in modules:
        for name, p in internals.own_parameters(module).items():
            if id(p) in wanted:
                root, path = module, name
                while id(root) in outer and len(path) < _LONGEST:
                    root, inside = outer[id(root)]
                    path = f"{inside}.{path}"
                found.setdefault(id(p), (type(root).__name__, path))
    return found


def as_made(names: Names, held: Collection[int]) -> dict[str, tuple[str, ...]]:
    """Net -> its parameters that train, that no optimizer holds (ids), and that nobody wrote to
    since they were initialized: loaded they would have been written to again."""
    found = {net: tuple(k for k, p in named.items() if id(p) not in held and _is_as_made(p))
             for net, named in names.items()}  # fmt: skip
    return {net: row for net, row in found.items() if row}


def _is_as_made(parameter: Tensor) -> bool:
    """Not so a lazy one, which is not made yet."""
    lazy = nn.parameter.is_lazy(parameter)
    return not lazy and parameter.requires_grad and internals.version_of(parameter) == AS_MADE


def frozen_in_vain(net: nn.Module) -> str:
    """What was set to False on a module, or on a parameter under another name than torch's, as if
    that froze it: ``backbone.requires_grad``, ``0.weight.require_grad``. "" for nothing."""
    for path, part in net.named_modules():
        if vars(part).get("requires_grad") is False and any(
            p.requires_grad for p in part.parameters()
        ):
            return f"{path}.requires_grad".removeprefix(".")
    for name, p in net.named_parameters():
        for word, value in vars(p).items():
            if value is False and p.requires_grad and _MISSPELT.fullmatch(word):
                return f"{name}.{word}"
    return ""


_MISSPELT = re.compile(r"_?requi?[re]{0,3}[sd]?_?grads?", re.IGNORECASE)


def hooks_of(net: nn.Module, parameters: Iterable[Tensor]) -> int:
    """How many hooks change what backward brings: on the parameters, and on the modules."""
    on: list[nn.Module | Tensor] = [*net.modules(), *parameters]
    return sum(map(internals.backward_hooks, on))


def in_eval_mode(nets: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Net -> parameters of its parts that are in eval mode, while the net itself is not."""
    found = {
        net: tuple(
            f"{path}.{name}"
            for path, part in module.named_modules()
            if module.training and not part.training
            for name, _ in part.named_parameters(recurse=False)
        )
        for net, module in nets.items()
    }
    return {net: names for net, names in found.items() if names}


def in_plain_lists(nets: Mapping[str, nn.Module]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Net -> attribute that is a list or dict of several modules or parameters -> the numbers (as
    in ``Graph.strangers``) of all that is in it: torch registers none of them."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for net, module in nets.items():
        for path, part in module.named_modules():
            for name, value in vars(part).items():
                if name not in _OWN and len(inside := _parameters_in(value)) > 1:
                    place = f"{path}.{name}" if path else name
                    numbers = tuple(id(p) for one in inside for p in one)
                    found.setdefault(net, {})[place] = numbers
    return found


def come_later(nets: Mapping[str, nn.Module], names: Names) -> dict[str, dict[str, int]]:
    """Net -> parameters that it has by now and did not have before, each with its number (as in
    ``Graph.strangers``): a part that its first forward built, a block by which it grew."""
    known = {id(p) for named in names.values() for p in named.values()}
    found = {
        net: {name: id(p) for name, p in module.named_parameters() if id(p) not in known}
        for net, module in nets.items()
    }
    return {net: row for net, row in found.items() if row}


def plain_tensors(nets: Mapping[str, nn.Module]) -> Iterator[tuple[str, str, Tensor]]:
    """(net, attribute, tensor) of leaves that want a gradient and are no parameters, so that torch
    registers none of them."""
    for net, module in nets.items():
        for path, part in module.named_modules():
            for name, value in vars(part).items():
                many = [*value.values()] if isinstance(value, dict) else [value]
                many = [*value] if isinstance(value, (list, tuple)) else many
                for one in many if name not in _OWN else ():
                    if type(one) is Tensor and one.is_leaf and one.requires_grad:
                        yield net, f"{path}.{name}".removeprefix("."), one


def _parameters_in(value: object) -> list[list[nn.Parameter]]:
    """Of each module or parameter in a list, tuple or dict."""
    if not isinstance(value, (dict, list, tuple)):
        return []
    items = [*(value.values() if isinstance(value, dict) else value)]
    modules = [[*m.parameters()] for m in items if isinstance(m, nn.Module)]
    return modules + [[p] for p in items if isinstance(p, nn.Parameter)]


_LONGEST = 200  # characters of a name; modules may be inside each other, in a circle
_OWN = frozenset(vars(nn.Module()))
_STRIDED = Tensor().layout
