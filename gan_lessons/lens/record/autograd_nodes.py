"""Walk the autograd nodes behind tensors and read what each saved and still holds.

Nothing here runs a backward pass or keeps a node alive. The state of a node is read from its
``_saved_*`` attributes (see https://docs.pytorch.org/docs/stable/notes/autograd.html):
a tensor is *held*; "already been freed" is *freed*; "modified by an inplace operation" is *stale*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_lessons.lens.model import FOLDABLE, FREED, HELD, NOTHING, STALE, UNKNOWN, Graph, Node


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


def op_name(node: Any) -> str:
    """``AddmmBackward0`` and the like, without C++ namespaces."""
    return str(node.name()).rsplit("::", 1)[-1]


def output_shape(node: Any) -> tuple[int, ...] | None:
    """Shape of what the node made in the forward pass, if torch tells."""
    if hasattr(node, "variable"):
        return tuple(node.variable.shape)
    metadata = getattr(node, "_input_metadata", None)  # the gradient that comes *in*
    return tuple(int(n) for n in metadata[0].shape) if metadata else None


_saved_names: dict[type, tuple[str, ...]] = {}


def saved_attributes(node: Any) -> tuple[str, ...]:
    """Names under which this kind of node keeps what it saved; told without reading any."""
    kind = type(node)
    if kind not in _saved_names:
        names = (n for n in dir(kind) if n.startswith("_saved_") and "_sym_" not in n)
        _saved_names[kind] = tuple(names)
    return _saved_names[kind]


def read_saved(node: Any) -> tuple[str, dict[str, Tensor]]:
    """The node's state and the tensors it holds, by name.

    Only for a node whose tensors were saved without saved-tensor hooks: reading runs the
    unpack hook otherwise, and with it whatever the hook does (checkpointing: a whole forward).
    """
    state, tensors = NOTHING, {}
    if hasattr(type(node), "saved_tensors"):  # a custom autograd.Function: nobody can tell
        return UNKNOWN, {}  # whether hooks were active when it saved
    for name in saved_attributes(node):
        try:
            value = getattr(node, name)
        except RuntimeError as error:
            state = STALE if "modified by an inplace operation" in str(error) else FREED
            continue
        values = value if isinstance(value, (tuple, list)) else (value,)
        for i, item in enumerate(values):
            if isinstance(item, Tensor):
                key = name.removeprefix("_saved_")
                tensors[key if len(values) == 1 else f"{key}[{i}]"] = item
    if tensors and state == NOTHING:
        state = HELD
    return state, tensors


def storage_of(tensor: Tensor) -> tuple[int, int]:
    """(identity, bytes) of a tensor's storage; a tensor without one counts for itself."""
    try:
        storage = tensor.untyped_storage()
        return storage._cdata, storage.nbytes()
    except (NotImplementedError, RuntimeError):  # sparse, functorch and fake tensors
        return id(tensor), tensor.numel() * tensor.element_size()


def parameter_names(nets: Mapping[str, nn.Module]) -> dict[Tensor, tuple[str, str]]:
    """Each parameter -> (net, name); a parameter that nets share goes to the first of them."""
    owners: dict[Tensor, tuple[str, str]] = {}
    for net, module in nets.items():
        for name, parameter in module.named_parameters():
            owners.setdefault(parameter, (net, name))
    return owners


def owner_of(node: Any, owners: Mapping[Tensor, tuple[str, str]]) -> tuple[str, str] | None:
    """(net, name) of the parameter whose gradient ``node`` accumulates, if it is one of those."""
    variable: Tensor | None = getattr(node, "variable", None)
    return None if variable is None else owners.get(variable)


def snapshot(outputs: Mapping[str, Tensor], nets: Mapping[str, nn.Module]) -> Graph:
    """The graph behind living tensors, with no record of how it came to be.

    Owners are inferred: a node belongs to the net of the parameters it takes, and one without
    parameters to the net of the node before it. A cut leaves no trace in a graph, so none is told.
    """
    owners = parameter_names(nets)
    roots = {name: t.grad_fn for name, t in outputs.items() if t.grad_fn is not None}
    ids: dict[Any, int] = {}
    nodes: dict[int, Node] = {}
    states: dict[int, str] = {}
    with torch._C.DisableTorchFunction():
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
    return (direct or found or [Node(-1, "")])[0].net


def _is_parameter(nodes: Mapping[int, Node], node: Node) -> bool:
    while node.parameter is None and len(node.inputs) == 1 and node.op in FOLDABLE:
        node = nodes[node.inputs[0]]
    return node.parameter is not None
