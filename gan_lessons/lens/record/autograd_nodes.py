"""Walk the autograd nodes behind tensors, and tell whose each is.

Nothing here runs a backward pass or keeps a node alive. What a node still holds is read from its
saved tensors (see https://docs.pytorch.org/docs/stable/notes/autograd.html): a tensor is *held*;
"already been freed" is *freed*; "modified by an inplace operation" is *stale*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from gan_lessons.lens.model import FOLDABLE, FREED, HELD, NOTHING, STALE, UNKNOWN, Graph, Node
from gan_lessons.torch_internals import (
    SAVED,
    is_leaf,
    output_shape,
    saved_attributes,
    without_torch_functions,
)


def walk(roots: Iterable[Any], *, seen: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    """Yield every autograd node reachable from ``roots``, inputs before the nodes that use them.

    Iterative, so that a chain of thousands of operations is no problem. ``seen(node)`` may tell
    that a node (and all behind it) is already known. A node must not be freed meanwhile: the
    caller holds a tensor of the graph.
    """
    done: set[Any] = set()
    stack = [(root, False) for root in roots if root is not None]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in done and not (seen is not None and seen(node)):
            done.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n, _ in node.next_functions if n is not None)


def reachable(roots: Iterable[Any]) -> Iterable[Any]:
    """The same nodes, those that use others first as a rule, which is faster."""
    found: dict[Any, None] = {}
    waiting = [root for root in roots if root is not None]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting += [n for n, _ in node.next_functions if n is not None]
    return found


def read_saved(
    node: Any, names: Iterable[str] | None = None
) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """The node's state, the tensors it holds by name, and the attributes that may yet change.

    names: the third of the last time; None: the first time. Only for a node whose tensors were
    saved without saved-tensor hooks: reading runs the unpack hook otherwise, and with it whatever
    the hook does (checkpointing: a whole forward).
    """
    kind = node.__class__
    if hasattr(kind, "saved_tensors"):  # a custom autograd.Function: nobody can tell
        return UNKNOWN, {}, ()  # whether hooks were active when it saved
    state, tensors, alive = NOTHING, dict[str, Tensor](), []
    for name in tuple(saved_attributes(kind)) if names is None else names:
        try:
            value = getattr(node, name)
        except RuntimeError as error:
            state = STALE if "modified by an inplace operation" in str(error) else FREED
            alive.append(name)
            continue
        if value is None:  # no tensor was saved there, and none will be
            continue
        items = value if isinstance(value, (tuple, list)) else (value,)
        found = [(i, item) for i, item in enumerate(items) if isinstance(item, Tensor)]
        if not found and items:
            saved_attributes(kind).pop(name, None)  # numbers, as in all nodes of this kind
            continue
        alive.append(name)
        key = name.removeprefix(SAVED)
        tensors |= {key if len(items) == 1 else f"{key}[{i}]": item for i, item in found}
    return HELD if tensors and state == NOTHING else state, tensors, tuple(alive)


def can_be_read(node: Any, names: Iterable[str]) -> bool:
    """Is all that the node saved there still as it was? To ask is faster than to read."""
    try:
        for name in names:
            getattr(node, name)
    except RuntimeError:
        return False
    return True


def op_name(node: Any) -> str:
    """``AddmmBackward0`` and the like, without C++ namespaces."""
    return str(node.name()).rpartition("::")[-1]


def owners_of(names: Mapping[str, Mapping[str, Tensor]]) -> dict[int, tuple[str, str]]:
    """id of each parameter -> (net, name); one that nets share goes to the first of them. By id,
    for a tensor's hash is slow: the caller holds the parameters."""
    places = [(id(p), (net, name)) for net, named in names.items() for name, p in named.items()]
    return dict(reversed(places))


def owner_of(node: Any, owners: Mapping[int, tuple[str, str]]) -> tuple[str, str] | None:
    """(net, name) of the parameter whose gradient ``node`` accumulates, if it is one of those."""
    return owners.get(id(node.variable)) if is_leaf(node) else None


def snapshot(outputs: Mapping[str, Tensor], nets: Mapping[str, nn.Module]) -> Graph:
    """The graph behind living tensors, with no record of how it came to be.

    Owners are inferred: a node belongs to the net of the parameters it takes, and one without
    parameters to the net of the node before it. A cut leaves no trace in a graph, so none is told.
    """
    named = {net: dict(module.named_parameters()) for net, module in nets.items()}
    owners = owners_of(named)
    roots = {name: t.grad_fn for name, t in outputs.items() if t.grad_fn is not None}
    ids: dict[Any, int] = {}
    nodes: dict[int, Node] = {}
    states: dict[int, str] = {}
    with without_torch_functions():
        for node in walk(roots.values()):
            key = ids[node] = len(ids)
            inputs = tuple(ids[n] for n, _ in node.next_functions if n is not None)
            net, parameter = owner_of(node, owners) or (_inherited(nodes, inputs), None)
            nodes[key] = Node(key, op_name(node), net, parameter, output_shape(node), inputs)
            states[key] = read_saved(node)[0]
    return Graph(nodes, {ids[n]: name for name, n in roots.items()}, (), states, inferred=True)


def _inherited(nodes: Mapping[int, Node], inputs: tuple[int, ...]) -> str | None:
    """An operation's net: that of a parameter it takes (or a view of one), else its input's."""
    found = [nodes[i] for i in inputs if nodes[i].net is not None]
    direct = [n for n in found if _is_parameter(nodes, n)]
    return next((n.net for n in direct or found), None)


def _is_parameter(nodes: Mapping[int, Node], node: Node) -> bool:
    while node.parameter is None and len(node.inputs) == 1 and node.op in FOLDABLE:
        node = nodes[node.inputs[0]]
    return node.parameter is not None
