"""Who plays in a step: calls of nets, losses, weights, and the ways between them.

The autograd graph with all that one call of a net built as one player. Nothing here knows a
strategy: players and ways are read off the record, whatever the step did.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from gan_lessons.lens.model import BackwardCall, Forward, Graph, StepRecord

Player = tuple[str, int | str]  # ("call", forward), ("loss", graph node) or ("net", name)
Way = tuple[Player, Player]  # the way of the data: from who made it to who takes it

# What a backward call brings over a way: to a step, to nobody, or only past it.
USED, VAIN, THROUGH, NOT = "u", "v", "t", "."
_RANK = {letter: place for place, letter in enumerate((USED, VAIN, THROUGH, NOT))}


@dataclass(frozen=True)
class Cast:
    """The players of one recorded step. ``cuts``: way -> how it was cut (``detach()``)."""

    record: StepRecord
    cuts: Mapping[Way, str] = field(default_factory=dict)

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """All that gradient can go back along, in the order in which the data went; then cuts."""
        open_ways = _ways(self.record.graph, self.record.graph.nodes)
        return tuple(dict.fromkeys([*sorted(open_ways, key=self._order), *self.cuts]))

    @property
    def losses(self) -> Mapping[int, str]:
        """Graph node -> name, of what a backward call started from."""
        return self.record.graph.outputs

    def _order(self, way: Way) -> tuple[tuple[int, int], tuple[int, int]]:
        (first, second) = ((_KINDS[kind], key if isinstance(key, int) else 0) for kind, key in way)
        return second, first

    @cached_property
    def walks(self) -> list[dict[Way, str]]:
        """For each backward call: way -> what the gradient that went back over it was good for."""
        calls = self.record.backward_calls
        return [{} if call.error else self._walk(call) for call in calls]

    def _walk(self, call: BackwardCall) -> dict[Way, str]:
        walked = _ways(self.record.graph, {*call.nodes})
        ends = dict.fromkeys(self.record.in_vain(call.index), VAIN)
        ends |= dict.fromkeys(self.record.used(call.index), USED)
        makers: dict[Player, set[Player]] = {}
        for maker, taker in walked:
            makers.setdefault(taker, set()).add(maker)

        def worth(player: Player) -> str:
            if player[0] == "net":
                return ends.get(str(player[1]), NOT)
            found = [worth(maker) for maker in makers.get(player, ())]
            return min([*found, THROUGH], key=_RANK.__getitem__)

        return {way: letter for way in walked if (letter := worth(way[0])) != NOT}

    def through(self, call: int, net: str) -> list[Forward]:
        """The forwards that the gradient of ``net`` passed in backward call ``call``."""
        takers: dict[Player, list[Player]] = {}
        for maker, taker in self.walks[call]:
            takers.setdefault(maker, []).append(taker)
        seen = _reached(("net", net), takers)
        return [f for f in self.record.forwards if ("call", f.index) in seen]


_KINDS = {"net": 0, "call": 1, "loss": 2}


_CUT_BETWEEN = (("call", "call"), ("call", "loss"))


def cast_of(record: StepRecord) -> Cast:
    """The players of a step, with the cuts between them."""
    graph = record.graph
    takers: dict[int, list[int]] = {}
    for i, node in graph.nodes.items():
        for k in node.inputs:
            takers.setdefault(k, []).append(i)
    makers = {i: node.inputs for i, node in graph.nodes.items()}
    cuts: dict[Way, str] = {}
    joined = [(cut.source, cut.target, cut.how) for cut in graph.cuts]
    for source, target, how in joined:
        for maker in _players_at(graph, source, makers):
            for taker in _players_at(graph, target, takers):
                _cut(cuts, (maker, taker), how)
    for forward, fed in graph.fed:
        for taker in _players_at(graph, fed, takers):
            _cut(cuts, (("call", forward), taker), "no_grad")
    return Cast(record, cuts)


def _cut(cuts: dict[Way, str], way: Way, how: str) -> None:
    """A way leads onward in time, and not into weights; what leads back to the same player is none.

    Values that only choose rows of an embedding are cut off there, and its weights take nothing."""
    if way[0] != way[1] and (way[0][0], way[1][0]) in _CUT_BETWEEN and _later(way):
        cuts.setdefault(way, how)


def _later(way: Way) -> bool:
    (first, a), (second, b) = way
    return not (first == second == "call" and isinstance(a, int) and isinstance(b, int) and a >= b)


def player_of(graph: Graph, i: int) -> Player | None:
    """Who a graph node belongs to; None for an operation on the way, such as a part of a loss."""
    node = graph.nodes[i]
    if node.is_leaf:
        return ("net", node.net) if node.net and node.parameter is not None else None
    if node.net is not None and node.forward is not None:
        return ("call", node.forward)
    return ("loss", i) if i in graph.outputs else None


def _ways(graph: Graph, within: Collection[int]) -> set[Way]:
    """The ways between players that lead over these graph nodes alone."""
    found: set[Way] = set()
    for i in within:
        taker = player_of(graph, i)
        if taker is not None:
            found |= {(maker, taker) for maker in _makers(graph, i, taker, within)}
        if i in graph.outputs and taker != ("loss", i) and taker is not None:
            found.add((taker, ("loss", i)))  # what a net made is itself walked backward from
    return {way for way in found if way[0] != way[1] and _later(way)}


def _makers(graph: Graph, i: int, own: Player, within: Collection[int]) -> Iterator[Player]:
    """Whose work goes into a node, seen through the operations that are nobody's."""
    waiting, seen = deque(graph.nodes[i].inputs), set[int]()
    while waiting:
        k = waiting.popleft()
        if k in seen or k not in within:
            continue
        seen.add(k)
        player = player_of(graph, k)
        if player is None:
            waiting.extend(graph.nodes[k].inputs)
        elif player != own:
            yield player


def _players_at(graph: Graph, i: int, onward: Mapping[int, Iterable[int]]) -> set[Player]:
    """The player of a node; of one that is nobody's, the nearest in the direction ``onward``."""
    waiting, seen, found = deque([i]), set[int](), set[Player]()
    while waiting:
        k = waiting.popleft()
        if k in seen or k not in graph.nodes:
            continue
        seen.add(k)
        player = player_of(graph, k)
        if player is None:
            waiting.extend(onward.get(k, ()))
        else:
            found.add(player)
    return found


def _reached(start: Player, takers: Mapping[Player, Iterable[Player]]) -> set[Player]:
    seen, waiting = {start}, deque([start])
    while waiting:
        for player in takers.get(waiting.popleft(), ()):
            if player not in seen:
                seen.add(player)
                waiting.append(player)
    return seen


# Names --------------------------------------------------------------------------------------------


def arguments(forward: Forward) -> str:
    """``fake`` for a call ``D(fake.detach())``; "" where the call is not known."""
    return _arguments(forward.line.expression)


@lru_cache(maxsize=256)
def _arguments(expression: str) -> str:
    try:
        call = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return ""
    if not isinstance(call, ast.Call):
        return ""
    return ", ".join(ast.unparse(_attached(a)) for a in call.args)


def _attached(node: ast.expr) -> ast.expr:
    cut = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    if cut and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value if node.func.attr == "detach" else node
    return node
