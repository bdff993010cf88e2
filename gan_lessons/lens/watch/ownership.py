"""What can be told before any step: which optimizer holds which parameters, and which it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.lens.record import held_parameters

UNHELD = (
    "{net}: no optimizer holds {count} of its {all} trainable parameters ({names}); no step will "
    "move them."
)
TWICE = (
    "{optimizer} holds {count} parameters of {net} twice ({names}); each of its steps moves them "
    "twice."
)
UNHELD_PART = (
    "No optimizer holds the {count} trainable parameters of {part}; no step will move them."
)
SHARED = (
    "{optimizers} both hold {count} parameters of {net} ({names}); each of them moves these by "
    "whatever gradient it finds there."
)
REPLACED = (
    "{optimizer} holds parameters of just the shapes of those of {net}, and none of {net} itself. "
    "If {net} was replaced or copied after {optimizer} was built, it will not learn: build the "
    "optimizer after the net."
)


@dataclass(frozen=True)
class Note:
    """What ownership alone tells, before any step. What comes of it is for the record to show."""

    text: str


def holders_of(optimizers: Iterable[Optimizer]) -> dict[Tensor, frozenset[int]]:
    """Parameter -> the optimizers (by id) that hold it."""
    holders: dict[Tensor, frozenset[int]] = {}
    for optimizer in optimizers:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            holders[parameter] = holders.get(parameter, frozenset()) | {id(optimizer)}
    return holders


def replaced_nets(
    modules: Sequence[tuple[str, nn.Module]],
    optimizers: Iterable[Optimizer],
    nets: Mapping[str, nn.Module],
    learning: Set[Tensor],
) -> Iterator[tuple[str, nn.Module, Optimizer]]:
    """(name, net, optimizer) where the optimizer holds what has just the shapes of that net, and
    nobody owns it any more. ``learning``: what some optimizer holds; of such a net none is to
    be said that it does not learn."""
    owned = {p for net in nets.values() for p in net.parameters()}
    for optimizer in optimizers:
        held = held_parameters(optimizer)
        shapes = sorted(tuple(p.shape) for p in held)
        for name, module in modules if held and held.isdisjoint(owned) else ():
            own = [p for p in module.parameters() if p.requires_grad]
            if shapes == sorted(tuple(p.shape) for p in own) and learning.isdisjoint(own):
                yield name, module, optimizer
                break


def ownership(nets: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizer]) -> Iterator[Note]:
    """Parameters that no optimizer holds, one holds twice, or several hold."""
    counts = {
        name: Counter(p for group in optimizer.param_groups for p in group["params"])
        for name, optimizer in optimizers.items()
    }

    def those(net: str, wanted: Callable[[Tensor], bool]) -> dict[str, Any]:
        names = [k for k, p in nets[net].named_parameters() if wanted(p)]
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        return {"net": net, "count": len(names), "names": shown}

    for net, module in nets.items():
        trainable = sum(p.requires_grad for p in module.parameters())
        free = those(net, lambda p: p.requires_grad and not any(p in c for c in counts.values()))
        if 0 < free["count"] < trainable:
            yield Note(UNHELD.format(all=trainable, **free))
        for name, count in counts.items():
            twice = those(net, lambda p, count=count: count[p] > 1)  # type: ignore[misc]
            if twice["count"]:
                yield Note(TWICE.format(optimizer=name, **twice))
        both = those(net, lambda p: sum(p in c for c in counts.values()) > 1)
        if both["count"]:
            owners = [n for n, c in counts.items() if not c.keys().isdisjoint(module.parameters())]
            yield Note(SHARED.format(optimizers=" and ".join(owners), **both))


def unheld_parts(module: nn.Module, held: Collection[Tensor]) -> Iterator[tuple[str, nn.Module]]:
    """The largest parts of a module of which no optimizer holds anything, beside some that it
    does hold."""
    for name, child in module.named_children():
        own = [p for p in child.parameters() if p.requires_grad]
        if own and not any(p in held for p in own):
            yield name, child
        elif own:
            yield from ((f"{name}.{rest}", part) for rest, part in unheld_parts(child, held))


def never_held(modules: Mapping[str, nn.Module], held: Collection[Tensor]) -> Iterator[Note]:
    """What of these modules no optimizer holds, while it does hold other parts of them."""
    told = set[int]()
    for path, module in modules.items():
        if any(p in held for p in module.parameters()):
            for name, part in unheld_parts(module, held):
                if id(part) not in told:
                    told.add(id(part))
                    count = sum(p.requires_grad for p in part.parameters())
                    yield Note(UNHELD_PART.format(count=count, part=f"{path}.{name}"))
