"""One module that holds all players: its parts are told apart by the optimizers that move them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import permutations, takewhile
from typing import TypeVar

from gan_lessons.lens.model import BackwardCall, Event, Graph, Record

Content = TypeVar("Content")
Places = dict[tuple[str, str], tuple[str, str]]  # (net, parameter) -> (part, parameter in it)


def by_parts(record: Record) -> Record:
    """The same record, where a net whose submodules have optimizers of their own is several nets.

    The net itself stays, without parameters: its forwards ran through whatever part.
    """
    places = _places(record)
    if not places:
        return record
    return replace(
        record,
        parameters=_moved(record.parameters, places),
        holds={name: _named(held, places) for name, held in record.holds.items()},
        twice={name: _named(held, places) for name, held in record.twice.items()},
        moved=_named(record.moved, places),
        apart=_named(record.apart, places),
        evaluated=_named(record.evaluated, places),
        as_made=_named(record.as_made, places),
        thawed=_moved(record.thawed, places),
        aliased=tuple(tuple(places.get(p, p) for p in one) for one in record.aliased),
        events=[_event(event, places) for event in record.events],
        backward_calls=[_call(call, places) for call in record.backward_calls],
        graph=_graph(record.graph, places),
        scalings=[replace(s, nets=_named(s.nets, places)) for s in record.scalings],
    )


def _places(record: Record) -> Places:
    places: Places = {}
    for net, parameters in record.parameters.items():
        shares = [held[net] for held in record.holds.values() if net in held]
        prefixes = [_prefix(names) for names in shares]
        nested = any(a.startswith(b) for a, b in permutations(prefixes, 2))
        if len(shares) < 2 or nested:
            continue  # one player, or not told apart by submodules: matrices and biases, say
        for prefix in prefixes:
            for name in (n for n in parameters if n.startswith(prefix)):
                part = f"{net}.{prefix}".removesuffix(".")
                places[net, name] = part, name.removeprefix(prefix)
    return places


def _prefix(names: Iterable[str]) -> str:
    """The submodule that all of these are in: "generator." for "generator.0.bias" and the like."""
    paths = zip(*(name.split(".")[:-1] for name in names), strict=False)
    common = takewhile(lambda words: len({*words}) == 1, paths)
    return "".join(f"{words[0]}." for words in common)


def _moved(
    by_net: Mapping[str, Mapping[str, Content]], places: Places
) -> dict[str, dict[str, Content]]:
    found: dict[str, dict[str, Content]] = {net: {} for net in by_net}
    for net, row in by_net.items():
        for name, content in row.items():
            part, short = places.get((net, name), (net, name))
            found.setdefault(part, {})[short] = content
    return found


def _named(by_net: Mapping[str, tuple[str, ...]], places: Places) -> dict[str, tuple[str, ...]]:
    rows = _moved({net: dict.fromkeys(names) for net, names in by_net.items()}, places)
    return {net: tuple(row) for net, row in rows.items() if row}


def _event(event: Event, places: Places) -> Event:
    return replace(
        event,
        grads=_moved(event.grads, places),
        moved=_named(event.moved, places),
        holds=_named(event.holds, places),
        frozen=_frozen(event, places),
    )


def _frozen(event: Event, places: Places) -> tuple[str, ...]:
    whole = {net: event.holds[net] for net in event.frozen}
    return tuple(_named(whole, places))


def _call(call: BackwardCall, places: Places) -> BackwardCall:
    return replace(call, received=_named(call.received, places))


def _graph(graph: Graph, places: Places) -> Graph:
    """A node without a parameter belongs to no part by itself: it goes by what it takes."""
    whole = {net for net, _ in places}
    nodes = dict(graph.nodes)
    for key, node in nodes.items():
        if node.net in whole:
            part = places.get((node.net or "", node.parameter or ""), (None, None))
            nodes[key] = replace(node, net=part[0], parameter=part[1])
    saved = {
        key: tuple(
            replace(s, parameter=places.get(s.parameter, s.parameter)) if s.parameter else s
            for s in tensors
        )
        for key, tensors in graph.saved.items()
    }
    checkpointed = tuple((*places.get((n, k), (n, k)), line) for n, k, line in graph.checkpointed)
    return replace(graph, nodes=nodes, saved=saved, checkpointed=checkpointed)
