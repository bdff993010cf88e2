"""The graph while it lives: its nodes named, their states read, the bytes they hold counted.

Nodes are tagged through ``grad_fn.metadata``, tensors are held weakly: to follow a graph must not
keep it alive.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import (
    FREED,
    HELD,
    NOTHING,
    STALE,
    UNKNOWN,
    Cut,
    Forward,
    Graph,
    HeldBytes,
    Line,
    Node,
    Saved,
)
from gan_lessons.lens.record.autograd_nodes import (
    can_be_read,
    op_name,
    owner_of,
    owners_of,
    reachable,
    read_saved,
    walk,
)
from gan_lessons.lens.record.gradients import Fingerprint, alike, measured
from gan_lessons.lens.record.odd_parameters import AS_MADE, Place, in_training, places_of
from gan_lessons.lens.record.source_lines import NOWHERE

_numbers = itertools.count()
_Kind = tuple[str, tuple[str, str] | None]  # ``Saved.what``, and the parameter if it is a known one


@dataclass(slots=True)
class _Tag:
    """What is known of one node. The node keeps it, so that it goes with the node.

    ``hooked``: its tensors went through saved-tensor hooks: never read them. ``attributes``: those
    worth reading again, None before the first time. ``kept``: storage -> bytes, when last read.
    """

    id: int
    hooked: bool
    state: str = NOTHING
    attributes: tuple[str, ...] | None = None
    kept: dict[int, int] = field(default_factory=dict)


class LiveGraph:
    """All nodes that were seen, and what can be read from those that live.

    ``running``: the forwards under way, innermost last; a new node belongs to the net that runs.
    ``memory_moved``: some tensor's memory may be another since the last look (``x.data = y``).
    """

    def __init__(
        self, nets: Mapping[str, nn.Module], names: Mapping[str, Mapping[str, nn.Parameter]]
    ) -> None:
        self._nets, self._owners = nets, owners_of(names)
        self._parameters = [p for named in names.values() for p in named.values()]
        self._key = f"gan_lessons.{next(_numbers)}"
        self._leaves: dict[int, int] = {}  # id of a parameter -> its node
        self.outputs: list[TensorWeakRef] = []  # tensors with a graph, perhaps still alive
        self.inputs: list[TensorWeakRef] = []  # what came into a net from outside
        self.storages: dict[int, _Kind] = {}  # of weights and buffers
        self.memory_moved = True
        self.running: list[Forward] = []
        self.nodes: dict[int, Node] = {}
        self.cuts: dict[tuple[int, int], Cut] = {}
        self.slopes: dict[tuple[int, int], Cut] = {}
        self.left: list[tuple[int, str, Line]] = []
        self.numbers: list[tuple[int, str, Line]] = []
        self.numbered, self.taught = list[tuple[int, int]](), list[tuple[str, str, int]]()
        self.fed: dict[tuple[int, int], None] = {}
        self.lines: dict[int, Line] = {}  # of nodes that no net made
        self.outer_lines: dict[int, tuple[Line, ...]] = {}
        self.cancelled, self.judged, self.anew = set[int](), set[int](), set[int]()
        self.zeros, self.curved, self.asked, self.read = (set[int]() for _ in range(4))
        self.checkpoint: Line | None = None  # of one that runs now, and will build no graph
        self._checkpointed: dict[tuple[str, str], Line] = {}
        numbers = (dict[int, float]() for _ in range(4))
        self.constants, self.factors, self.labels, self.passes = numbers
        self.pairs, self.targets = dict[int, int](), dict[int, frozenset[str]]()
        self.written: dict[int, Line] = {}  # node that made a tensor -> what wrote into it since
        self.names, self.held = dict[int, str](), set[int]()  # ids of what some optimizer holds
        self._strangers: dict[int, int] = {}  # node of a parameter of no net -> its number
        # id -> such one, its version and what was measured of it
        self._strange: dict[int, tuple[TensorWeakRef, int, list[Fingerprint]]] = {}
        self._inputs: dict[int, tuple[TensorWeakRef, set[int]]] = {}  # id of a leaf -> its nodes
        self.ungraded: set[int] = set()  # ids of parameters that an operation without a graph took
        self._fresh, self._places = frozenset[int](), dict[int, Place]()
        self._frozen: dict[int, Line] = {}  # id of a parameter -> where last frozen or thawed
        self.saves: dict[int, set[tuple[str, str]]] = {}  # node -> parameters that it saved
        self._saved: dict[int, tuple[Saved, ...]] = {}

    # What happens -----------------------------------------------------------------------------

    def tag(self, root: Any) -> list[Any]:
        """Name the nodes behind ``root`` that have no name yet; they belong to who runs now."""
        if self._is_known(root):
            return []
        forward = self.running[-1] if self.running else None
        hooked = internals.are_saved_tensors_hooked()
        behind = [n for n, _ in root.next_functions if n is not None and not self._is_known(n)]
        new = [*walk(behind, seen=self._is_known), root]
        for node in new:
            key, net, parameter, index = len(self.nodes), None, None, None
            # torch rebuilds a parameter's AccumulateGrad with each graph: it goes by the parameter.
            if (owner := owner_of(node, self._owners)) is not None:
                self._leaves[id(node.variable)] = key
                net, parameter = owner
            else:
                node.metadata[self._key] = _Tag(key, hooked)
                # A leaf is nobody's, also inside a net.
                if internals.is_leaf(node):
                    self._meet(key, node.variable)
                elif forward is not None:
                    net, index = forward.net, forward.index
            inputs = tuple([self.id_of(n) for n, _ in node.next_functions if n is not None])
            shape = internals.output_shape(node)
            self.nodes[key] = Node(key, op_name(node), net, parameter, shape, inputs, index)
        return new

    def _meet(self, key: int, variable: Tensor) -> None:
        """``variable`` is a leaf of no net: an input, or a parameter that nobody registered."""
        if isinstance(variable, nn.Parameter):
            if id(variable) not in self._strange:
                met = TensorWeakRef(variable), internals.version_of(variable), measured([variable])
                self._strange[id(variable)] = met
            self._strangers[key] = id(variable)
            return
        ref, keys = self._inputs.get(id(variable), (None, set[int]()))
        known = ref is not None and ref() is variable
        self._inputs[id(variable)] = TensorWeakRef(variable), {*keys, key} if known else {key}

    def leaves_of(self, tensor: Tensor) -> set[int]:
        """The leaves of an input, one for each graph."""
        ref, keys = self._inputs.get(id(tensor), (None, set[int]()))
        return keys if ref is not None and ref() is tensor else set()

    def gradient_read(self, tensor: Tensor) -> int | None:
        """Somebody read the ``.grad`` of ``tensor``. Its last leaf, if it is an input."""
        self.asked |= (keys := self.leaves_of(tensor))
        return max(keys, default=None)

    def place_of(self, parameter: Tensor) -> tuple[str, str] | None:
        return self._owners.get(id(parameter))

    def ran_in_checkpoint(self, taken: Iterable[Any]) -> None:
        """Parameters that want a gradient were used where no graph is built."""
        wanting = (p for p in taken if isinstance(p, nn.Parameter) and p.requires_grad)
        for place in (self._owners[id(p)] for p in wanting if id(p) in self._owners):
            if self.checkpoint is not None:
                self._checkpointed.setdefault(place, self.checkpoint)

    def settle_strangers(self) -> None:
        """Keep those that no optimizer holds, that hold gradient, and that nothing has moved."""
        alive = ((key, ref(), *then) for key, (ref, *then) in self._strange.items())
        left = {
            key
            for key, p, version, value in alive
            if p is not None
            and p.grad is not None
            and internals.version_of(p) == version
            and alike(measured([p])[0], value[0])  # or moved through .data
        } - self.held
        versions = {key: self._strange[key][1] for key in left - self.ungraded}
        new = [self._strange[key][0]() for key, version in versions.items() if version == AS_MADE]
        self._fresh = frozenset(in_training([p for p in new if p is not None]))
        kept = (self._strange[key][0]() for key in left)
        self._places = places_of([p for p in kept if p is not None])
        for node, key in list(self._strangers.items()):
            if key not in left:
                del self._strangers[node]

    def let_go(self) -> None:
        """Take the tags off whatever still lives."""
        for node in reachable(self._live_roots()):
            node.metadata.pop(self._key, None)

    # What is known ----------------------------------------------------------------------------

    def graph(self) -> Graph:
        """All that was built so far, without states; its nodes are added to while we record."""
        return Graph(
            self.nodes,
            self.names,
            tuple(self.cuts.values()),
            saved=self._saved,
            read=frozenset(self.read),
            left=tuple(self.left),
            numbers=tuple(self.numbers),
            numbered=tuple(self.numbered),
            taught=tuple(self.taught),
            fed=tuple(self.fed),
            lines=self.lines,
            outer_lines=self.outer_lines,
            slopes=tuple(self.slopes.values()),
            strangers=self._strangers,
            fresh=self._fresh,
            places=self._places,
            cancelled=frozenset(self.cancelled),
            asked=frozenset(self.asked),
            anew=frozenset(self.anew),
            checkpointed=tuple((*place, line) for place, line in self._checkpointed.items()),
            judged=frozenset(self.judged),
            zeros=frozenset(self.zeros),
            curved=frozenset(self.curved),
            constants=self.constants,
            factors=self.factors,
            labels=self.labels,
            passes=self.passes,
            pairs=self.pairs,
            targets=self.targets,
        )

    def freezes(self, tensor: Tensor, line: Line) -> None:
        """``requires_grad`` of a tensor was set."""
        if id(tensor) in self._owners:
            self._frozen[id(tensor)] = line

    def frozen_in(self, net: str) -> Line | None:
        """Where this net was frozen; None if one of its parameters trains, or it has none."""
        parameters = list(self._nets[net].parameters())
        if not parameters or any(p.requires_grad for p in parameters):
            return None
        return self._frozen.get(id(parameters[-1]), NOWHERE)

    def frozen_nets(self) -> list[str]:
        """Nets of which no parameter trains."""
        nets = self._nets.items()
        return [n for n, net in nets if not any(p.requires_grad for p in net.parameters())]

    def reach(self, roots: Iterable[Any], inputs: Iterable[Any] = ()) -> tuple[int, ...]:
        """Ids of the nodes that a backward from ``roots`` walks, all or only those on the way
        to the nodes ``inputs``."""
        wanted, targets = set(), set(inputs)
        everything = list(walk(roots))
        for node in everything if targets else ():  # inputs come first, so one pass is enough
            if node in targets or any(n in wanted for n, _ in node.next_functions):
                wanted.add(node)
        return tuple([self.id_of(n) for n in everything if not targets or n in wanted])

    def look(self, roots: Iterable[Any] = ()) -> tuple[dict[int, str], HeldBytes]:
        """State of every living node, and the bytes they hold. Passive: runs no hook."""
        if self.memory_moved or not self.storages:
            self.storages = self._storages_of_weights()
        given, self.inputs = _living(self.inputs)
        inputs = {internals.storage_of(tensor)[0] for tensor in given}
        states: dict[int, str] = {}
        kept: dict[int, int] = {}
        moved = self.memory_moved
        for node in reachable([*self._live_roots(), *roots]):
            tag = node.metadata.get(self._key)
            if tag is None:
                number = self.id_of(node)  # which tags it, unless it is a parameter's
                if (tag := node.metadata.get(self._key)) is None:
                    states[number] = NOTHING
                    continue
            names = tag.attributes  # () for what was freed, or saved nothing: that stays as it is
            if names != () and (moved or tag.state != HELD or not can_be_read(node, names)):
                self._read(node, tag, inputs)
            states[tag.id] = tag.state
            if tag.kept:
                kept.update(tag.kept)
        self.memory_moved = False
        return states, self._bytes_by_kind(kept, inputs, UNKNOWN not in states.values())

    def _storages_of_weights(self) -> dict[int, _Kind]:
        found: dict[int, _Kind] = {}
        for t in (*internals.weights_and_buffers(self._nets.values()), *self._parameters):
            owner = self._owners.get(id(t))  # None for parameters that are new, too
            what = "parameter" if owner or isinstance(t, nn.Parameter) else "buffer"
            found[internals.storage_of(t)[0]] = what, owner
        return found

    def _kind(self, storage: int, inputs: set[int]) -> _Kind:
        """Who holds a storage that was saved; "activation": nobody but the graph."""
        return self.storages.get(storage) or ("input" if storage in inputs else "activation", None)

    def _read(self, node: Any, tag: _Tag, inputs: set[int]) -> None:
        """Bring a tag up to date."""
        if tag.hooked and internals.saved_attributes(node.__class__):
            tag.state, tag.attributes = UNKNOWN, ()
            return
        tag.state, tensors, tag.attributes = read_saved(node, tag.attributes)
        kept: dict[int, int] = {}
        saved: list[Saved] = []
        for name, tensor in tensors.items():
            storage, size = internals.storage_of(tensor)
            (what, owner), kept[storage] = self._kind(storage, inputs), size
            saved.append(Saved(name, tuple(tensor.shape), size, what, owner))
            if owner:
                self.saves.setdefault(tag.id, set()).add(owner)
        if tag.state == FREED:  # for good
            tag.attributes = ()
        # What is stale cannot be read any more, but is held all the same.
        tag.kept = tag.kept | kept if tag.state == STALE else kept
        if saved:
            self._saved.setdefault(tag.id, tuple(saved))

    def _bytes_by_kind(
        self, kept: Mapping[int, int], inputs: set[int], complete: bool
    ) -> HeldBytes:
        found = dict.fromkeys(("activation", "parameter", "buffer", "input"), 0)
        for storage, size in kept.items():
            found[self._kind(storage, inputs)[0]] += size
        of_nets = found["parameter"] + found["buffer"]
        return HeldBytes(found["activation"], of_nets, found["input"], complete)

    # Names of nodes ---------------------------------------------------------------------------

    def id_of(self, node: Any) -> int:
        """The number by which the record calls this node."""
        tag = node.metadata.get(self._key)
        if tag is not None:
            return tag.id
        if internals.is_leaf(node) and (key := self._leaves.get(id(node.variable))) is not None:
            return key
        self.tag(node)  # built out of our sight, inside a backward for instance
        return self.id_of(node)

    def _is_known(self, node: Any) -> bool:
        return self._key in node.metadata or (
            internals.is_leaf(node) and id(node.variable) in self._leaves
        )

    def _live_roots(self) -> list[Any]:
        living, self.outputs = _living(self.outputs)
        return [internals.grad_fn_of(tensor) for tensor in living]


def _living(refs: list[TensorWeakRef]) -> tuple[list[Tensor], list[TensorWeakRef]]:
    found = [(tensor, ref) for ref in refs if (tensor := ref()) is not None]
    return [tensor for tensor, _ in found], [ref for _, ref in found]
