"""Where one backward call pulls a verdict two opposite ways.

What its losses bring there is heard one by one: at the output itself only their sum is to be seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Quarrel
from gan_lessons.lens.record.autograd_nodes import walk
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.undo import Undo

MOST = 8  # forwards of one net in one backward call that are compared with one another
LEAST = 4  # numbers in a verdict: through three a line goes by chance

Place = tuple[int, int]  # graph node, which of its outputs


class _Arrived(NamedTuple):
    """A gradient that came to what ``forward`` gave, at ``place``, by the node ``through``."""

    place: Place
    forward: int
    number: int
    through: int
    grad: Tensor


class Quarrels:
    """Writes ``record.quarrels``. Gradients are kept until their backward call is over."""

    def __init__(self, journal: Journal[Any], undo: Undo) -> None:
        self._journal = journal
        self._given: dict[Place, tuple[int, int]] = {}  # output of a net -> its forward, which
        self._arrived: list[_Arrived] = []
        self._handles: list[Any] = []
        self._found: list[tuple[Quarrel, Tensor]] = []
        undo.callback(self._tell)
        undo.callback(self._let_go)

    def watch(self, node: Any, at: int, forward: int, number: int) -> None:
        """Output ``at`` of this node is what ``forward`` gave, as its output ``number``."""
        self._given[self._journal.graph.id_of(node), at] = forward, number

    def begin(self, roots: Iterable[Any]) -> None:
        """A backward begins: hear what comes to each output from those that used it."""
        self._let_go()  # of what an interrupt has left of the last beginning
        users = self._users(roots) if self._given else {}
        for place in self._given.keys() & users.keys():
            for at in _forks(place, users):
                for key, node, i in users[at]:
                    self._hear(node, i, at, self._given[place], key)

    def arrive(self, node: int, at: int, grad: Tensor) -> None:
        """All that came to output ``at`` of a node that a forward gave."""
        self._arrived.append(_Arrived((node, at), *self._given[node, at], node, grad))

    def end(self, call: int) -> None:
        """A backward is over."""
        groups = defaultdict[object, dict[Place, list[_Arrived]]](lambda: defaultdict(list))
        forwards = self._journal.record.forwards
        for one in self._arrived:
            groups[forwards[one.forward].net, one.number, one.grad.shape][one.place].append(one)
        for places in groups.values():
            # To a fork several come; to an output their sum, by the node that made it.
            whole = [one for here in places.values() for one in here if one.through == one.place[0]]
            pairs = [*combinations(whole, 2)] if len(whole) <= MOST else []
            for here in places.values():
                pairs += combinations([o for o in here if o.through != o.place[0]], 2)
            for one, two in pairs:
                if (flag := _opposed(one.grad, two.grad)) is not None:
                    through = (one.through, two.through)
                    self._found.append((Quarrel(call, (one.forward, two.forward), through), flag))
        self._let_go()

    def _users(self, roots: Iterable[Any]) -> dict[Place, list[tuple[int, Any, int]]]:
        """What the loss is made of: place -> the nodes outside the nets that took it, and as which
        of their inputs."""
        graph = self._journal.graph
        found = defaultdict[Place, list[tuple[int, Any, int]]](list)

        def of_a_net(node: Any) -> bool:
            return internals.is_leaf(node) or graph.nodes[graph.id_of(node)].forward is not None

        for node in walk(roots, seen=of_a_net):
            key = graph.id_of(node)
            for i, (taken, at) in enumerate(node.next_functions):
                if taken is not None and not internals.is_leaf(taken):
                    found[graph.id_of(taken), at].append((key, node, i))
        return found

    def _hear(self, node: Any, i: int, place: Place, given: tuple[int, int], key: int) -> None:
        def note(grads: tuple[Tensor | None, ...], _: Any) -> None:
            if (grad := grads[i]) is not None:
                self._arrived.append(_Arrived(place, *given, key, grad))

        self._handles.append(node.register_hook(note))

    def _let_go(self) -> None:
        self._arrived = []
        while self._handles:
            self._handles.pop().remove()

    def _tell(self) -> None:
        """To ask for each number at once would wait for a GPU."""
        groups = defaultdict[object, list[tuple[Quarrel, Tensor]]](list)
        for one, flag in self._found:
            groups[flag.device].append((one, flag))
        for group in groups.values():
            with suppress(RuntimeError), internals.without_torch_functions():
                flags = torch.stack([flag for _, flag in group]).tolist()
                told = zip(group, flags, strict=True)
                quarrels = [
                    replace(one, scaled=same) for (one, _), (is_one, same) in told if is_one
                ]
                self._journal.record.quarrels += quarrels


def _forks(place: Place, users: dict[Place, list[tuple[int, Any, int]]]) -> Iterator[Place]:
    """Where what was made of one output alone, step by step, was first used more than once."""
    waiting = [place]
    while waiting:
        taken = users[(here := waiting.pop())]
        if len(taken) != 1:
            yield here
        elif sum(n is not None for n, _ in taken[0][1].next_functions) == 1:
            waiting += [p for p in users if p[0] == taken[0][0]]


def _opposed(one: Tensor, two: Tensor) -> Tensor | None:
    """(2,): do these pull opposite ways, and is one the other, scaled? One up and the other down
    wherever both pull; or each towards a number of its own, which shows where one gradient is the
    other, scaled and shifted (two distances, two labels). None for what torch cannot compare."""
    try:
        with internals.without_torch_functions(), torch.no_grad():
            a, b = (x.detach().flatten().float() for x in (one, two))
            apart = ((a >= 0) & (b <= 0)).all() | ((a <= 0) & (b >= 0)).all()
            scaled = _scaled(a, b)
            return torch.stack([(apart & (a * b < 0).any()) | _shifted(a, b) | scaled, scaled])
    except RuntimeError:
        return None


def _scaled(a: Tensor, b: Tensor) -> Tensor:
    """Two gradients of one loss, with opposite signs. (Two means always look like that.)"""
    slope = (a @ b) / (a @ a)
    rest, spread = (b - slope * a).abs().max(), (a - a.mean()).abs().max()
    same = (slope < 0) & (rest < 0.001 * b.abs().max()) & (spread > 0.001 * a.abs().max())
    return same & (a.numel() >= LEAST)


def _shifted(a: Tensor, b: Tensor) -> Tensor:
    x, y = a - a.mean(), b - b.mean()
    slope = (x @ y) / (x @ x)
    level, rest = (b - slope * a).mean().abs(), (y - slope * x).abs().max()
    spread = (x.abs().max() > 0.001 * a.abs().max()) & (y.abs().max() > 0.001 * b.abs().max())
    same = (slope > 0) & (rest < 0.001 * y.abs().max()) & (level > 0.01 * b.abs().max())
    return spread & same & (a.numel() >= LEAST)
