"""Where gradients and values went between nets: facts of the recorded graph that rules share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cached_property
from itertools import accumulate

from gan_lessons.lens.diagnose.quoting import Quotes
from gan_lessons.lens.model import FOLDABLE, BackwardCall, Cut, Event, Forward, Line, Record


class Flow(Quotes):
    """The graph of ``record``, retold by nets. ``events``: backward call -> how it ended."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        ends = (e for e in record.events if e.kind in ("backward", "error"))
        self.events: dict[int, Event] = {e.call: e for e in ends if e.call is not None}
        self._links: dict[int, frozenset[tuple[str, str]]] = {}
        self._made_from: dict[Cut, frozenset[str]] = {}

    @cached_property
    def during(self) -> dict[int, list[Forward]]:
        """Backward call -> the forwards that ran inside it (checkpoints recompute)."""
        found: dict[int, list[Forward]] = defaultdict(list)
        for forward in self.record.forwards:
            if forward.during is not None:
                found[forward.during].append(forward)
        return found

    @cached_property
    def owner(self) -> dict[int, str | None]:
        """Graph node -> the net that it is part of.

        A net that was run by parts, or by a method of its own, left no forward in the record: there
        a node goes by the parameters that it takes or saved.
        """
        nodes, saved = self.record.graph.nodes, self.record.graph.saved
        found: dict[int, str | None] = {}
        for key, node in nodes.items():
            taken = [nodes[i] for i in node.inputs if i in nodes]
            inside = [n.net for n in taken if n.is_leaf] + [
                found.get(n.id) for n in taken if n.op in FOLDABLE and n.net is None
            ]
            inside += [s.parameter[0] for s in saved.get(key, ()) if s.parameter]
            found[key] = node.net or next(filter(None, inside), None)
        return found

    @cached_property
    def behind(self) -> dict[int, frozenset[str]]:
        """Graph node -> the nets that a gradient at this node goes on to, its own included."""
        found: dict[int, frozenset[str]] = {}
        for key, node in sorted(self.record.graph.nodes.items()):
            nets = frozenset(n for n in [self.owner[key]] if n)
            found[key] = nets.union(*(found.get(i, frozenset()) for i in node.inputs))
        return found

    def links(self, call: BackwardCall) -> frozenset[tuple[str, str]]:
        """Pairs of nets (N, M): this call walked through N and on to M."""
        if call.index not in self._links:
            walked: dict[int, frozenset[str]] = {}
            pairs: set[tuple[str, str]] = set()
            for key in call.nodes:  # inputs come first
                node = self.record.graph.nodes[key]
                below = frozenset().union(*(walked.get(i, frozenset()) for i in node.inputs))
                if (net := self.owner[key]) is not None:
                    pairs |= {(net, other) for other in below if other != net}
                    below |= {net}
                walked[key] = below
            self._links[call.index] = frozenset(pairs)
        return self._links[call.index]

    def through(self, call: BackwardCall, net: str) -> set[int]:
        """The nodes of ``net``, parameters aside, that this call walked."""
        nodes = self.record.graph.nodes
        return {i for i in call.nodes if self.owner[i] == net and not nodes[i].is_leaf}

    def reached(self, root: int) -> set[int]:
        """The nodes to which a gradient at ``root`` would go on, itself included."""
        return self.reached_from([root])

    def reached_from(self, roots: Iterable[int]) -> set[int]:
        """The same from several."""
        nodes, seen = self.record.graph.nodes, {*roots}
        waiting = [*seen]
        while waiting:
            new = {i for i in nodes[waiting.pop()].inputs if i in nodes} - seen
            waiting += new
            seen |= new
        return seen

    def nodes_of(self, net: str, root: int) -> set[int]:
        """The nodes of ``net``, parameters aside, from which a gradient at ``root`` would go on."""
        nodes = self.record.graph.nodes
        return {i for i in self.reached(root) if self.owner[i] == net and not nodes[i].is_leaf}

    def cuts_before(self, call: BackwardCall, nets: Iterable[str]) -> list[Cut]:
        """Where the graph that this call walked was cut from what one of ``nets`` had made."""
        cuts = (cut for node in call.nodes for cut in self.cuts_into.get(node, ()))
        return [cut for cut in cuts if self.behind[cut.source] & {*nets}]

    def made_from(self, cut: Cut) -> frozenset[str]:
        """The nets that a value which was cut off had come through, earlier cuts included."""
        if cut not in self._made_from:
            self._made_from[cut] = frozenset()  # a value cannot come from itself
            nets = {*self.behind[cut.source]} | ({cut.through} if cut.through else set())
            nets |= {forward.net for forward in self.fed_into.get(cut.target, ())}
            for node in self.reached(cut.source):
                for earlier in self.cuts_into.get(node, ()):
                    nets |= self.made_from(earlier)
                nets |= {forward.net for forward in self.fed_into.get(node, ())}
            self._made_from[cut] = frozenset(nets)
        return self._made_from[cut]

    def met(self, cut: Cut, net: str) -> bool:
        """Did a value that was cut off come through ``net``, before or after it was cut? One that
        only stands beside what the net said, as a weight or in a sum, did not."""
        above = self.above(cut.target)
        return net in self.made_from(cut) or any(self.owner[key] == net for key in above)

    def above(self, key: int, within: Collection[int] | None = None) -> set[int]:
        """The nodes that this one went into, in the end, and itself. within: among these alone."""
        found, waiting = set[int](), [key]
        while waiting:
            key = waiting.pop()
            if key not in found and (within is None or key in within):
                found.add(key)
                waiting += self.takers.get(key, ())
        return found

    @cached_property
    def company(self) -> dict[str, frozenset[str]]:
        """Net -> the nets that have to do with it, itself included: what they made went into one
        graph, cut off or not, or one optimizer holds them."""
        groups = {frozenset(row) for row in self.record.holds.values()}
        for key, nets in self.behind.items():
            cuts = (self.made_from(cut) for cut in self.cuts_into.get(key, ()))
            fed = {forward.net for forward in self.fed_into.get(key, ())}
            groups.add(nets.union(fed, *cuts))
        found = {net: frozenset([net]) for net in self.record.parameters}
        for group in groups:
            joined = group.union(*(found.get(net, frozenset()) for net in group))
            found |= dict.fromkeys(joined, joined)
        return found

    def comes_from(self, forward: int, net: str) -> bool:
        """Did what ``net`` had made, cut off or made without gradients, go into this forward?"""
        built = self.built_by.get(forward, [])
        cuts = (cut for key in built for cut in self.cuts_into.get(key, ()))
        fed = (f for key in built for f in self.fed_into.get(key, ()))
        return any(net in self.made_from(cut) for cut in cuts) or any(f.net == net for f in fed)

    def lines_of(self, node: int) -> list[Line]:
        """The line that made this node outside the nets, and those that called it."""
        graph = self.record.graph
        return [*filter(None, [graph.lines.get(node)]), *graph.outer_lines.get(node, ())]

    def made_at(self, node: int, call: BackwardCall) -> Line | None:
        """Where the code that called this backward made the node, rather than in a helper."""
        lines = self.lines_of(node)
        near = [line for line in lines if line.function == call.line.function]
        helped = lines[1:] if lines and lines[0].code.startswith("return ") else lines
        return next(iter(near or helped or lines), None)

    def leaves_behind(self, root: int, net: str) -> set[int]:
        """The parameters of ``net`` to which a gradient at ``root`` would go on."""
        nodes = self.record.graph.nodes
        return {i for i in self.reached(root) if nodes[i].is_leaf and nodes[i].net == net}

    def leaves_of(self, root: int) -> frozenset[tuple[str, str]]:
        """(net, parameter) of all to which a gradient at ``root`` would go on."""
        nodes = (self.record.graph.nodes[i] for i in self.reached(root))
        return frozenset((n.net, n.parameter) for n in nodes if n.is_leaf and n.net and n.parameter)

    @cached_property
    def built_by(self) -> dict[int | None, list[int]]:
        """Forward -> the nodes that it left in the graph; None: those that no forward made."""
        found: dict[int | None, list[int]] = defaultdict(list)
        for key, node in self.record.graph.nodes.items():
            found[node.forward].append(key)
        return dict(found)

    @cached_property
    def takers(self) -> dict[int, list[int]]:
        """Graph node -> the nodes that took what it made."""
        found: dict[int, list[int]] = defaultdict(list)
        for key, node in self.record.graph.nodes.items():
            for taken in {*node.inputs}:
                found[taken].append(key)
        return dict(found)

    @cached_property
    def cuts_into(self) -> dict[int, list[Cut]]:
        """Graph node -> where the graph behind it was cut."""
        found: dict[int, list[Cut]] = defaultdict(list)
        for cut in self.record.graph.cuts:
            found[cut.target].append(cut)
        return found

    @cached_property
    def fed_into(self) -> dict[int, list[Forward]]:
        """Graph node -> the forwards without a graph whose output went into it."""
        found: dict[int, list[Forward]] = defaultdict(list)
        for forward, node in self.record.graph.fed:
            found[node].append(self.record.forwards[forward])
        return found

    @cached_property
    def last_walk(self) -> dict[int, int]:
        """Graph node -> the last event, a backward or an ``autograd.grad``, that walked it."""
        walks = [(e.index, e.nodes) for e in self.record.events if e.kind == "grad"]
        walks += [(self.events[c.index].index, c.nodes) for c in self.record.backward_calls
                  if c.index in self.events]  # fmt: skip
        return {node: event for event, nodes in sorted(walks) for node in nodes}

    @cached_property
    def walked_forwards(self) -> set[int | None]:
        """The forwards of whose graph something was walked."""
        nodes = self.record.graph.nodes
        return {nodes[i].forward for i in self.last_walk if i in nodes}

    @cached_property
    def _newest(self) -> list[int]:
        """For each event, the newest graph node that was there by then."""
        return list(accumulate((max(e.states, default=-1) for e in self.record.events), max))
