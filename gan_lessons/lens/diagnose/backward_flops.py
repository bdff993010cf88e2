"""FLOPs of backward calls, read off the recorded graph: how many, and how many of them in vain.

They are counted as ``torch.utils.flop_counter`` counts: matrix products and convolutions, two FLOPs
for a multiplication with its addition. A node computes one gradient for each of its inputs, so what
is saved where nobody wants a gradient any more is told edge by edge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gan_lessons.lens.model import BackwardCall, Graph, Node, Record

# Operation -> the matrices that it multiplies, by the names under which it saves them. Each is
# saved where the gradient of the other is wanted.
_PRODUCTS = {
    "AddmmBackward0": ("mat1", "mat2"),
    "MmBackward0": ("self", "mat2"),
    "BmmBackward0": ("self", "mat2"),
    "BaddbmmBackward0": ("batch1", "batch2"),
}
_CONVOLUTION = "ConvolutionBackward0"
# What computes much, and of which the graph does not tell how much: attention, recurrent nets,
# convolutions differentiated twice, compiled nets, and whatever Function of one's own (no number).
_UNTOLD = re.compile(r"Attention|Convolution|Conv\d|Rnn|Linear|Scaled|Compiled|Backward$")


@dataclass(frozen=True)
class Flops:
    """``count``: those that are known. ``complete``: there are no others."""

    count: int = 0
    complete: bool = True

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.count + other.count, self.complete and other.complete)


_UNKNOWN = Flops(0, complete=False)


def backward_flops(record: Record, call: BackwardCall) -> Flops:
    """All that this call computed."""
    walked = set(call.nodes)
    return sum((_flops(record.graph, i, walked) for i in call.nodes), Flops())


def flops_for(record: Record, call: BackwardCall, leaves: Collection[tuple[str, str]]) -> Flops:
    """What this call computed for these parameters, as (net, name), and for no others: what it
    would not compute if they were frozen or left out of ``inputs=``."""
    nodes = record.graph.nodes
    found, unwanted = Flops(), set[int]()
    for i in call.nodes:  # inputs come first
        node = nodes[i]
        if node.is_leaf:
            unwanted |= {i} if (node.net, node.parameter) in leaves else set()
            continue
        inputs = {k for k in node.inputs if k in nodes}
        if inputs and inputs <= unwanted:
            unwanted.add(i)
        found += _flops(record.graph, i, inputs & unwanted)
    return found


def _flops(graph: Graph, key: int, wanted: Collection[int]) -> Flops:
    """What a node computes for those of its inputs that are in ``wanted``."""
    node = graph.nodes[key]
    if not any(i in wanted for i in node.inputs):
        return Flops()
    if node.op in _PRODUCTS:
        return _of_product(graph, node, wanted)
    if node.op == _CONVOLUTION:
        return _of_convolution(graph, node, wanted)
    return _UNKNOWN if _UNTOLD.search(node.op) else Flops()


def _of_product(graph: Graph, node: Node, wanted: Collection[int]) -> Flops:
    saved = _saved(graph, node)
    left, right = (saved.get(name) for name in _PRODUCTS[node.op])
    inner = left[-1] if left else right[-2] if right else None
    if inner is None or node.shape is None:  # it was out of sight, or nothing but a bias trains
        shapes = (graph.nodes[i].shape or () for i in node.inputs if i in wanted)
        return Flops() if all(len(shape) == 1 for shape in shapes) else _UNKNOWN
    matrices = node.inputs[-sum(shape is not None for shape in (left, right)) :]  # a bias is first
    return Flops(2 * math.prod(node.shape) * inner * sum(i in wanted for i in matrices))


def _of_convolution(graph: Graph, node: Node, wanted: Collection[int]) -> Flops:
    saved, out = _saved(graph, node), node.shape
    given, weight = saved.get("input"), saved.get("weight")
    if given is None or weight is None or out is None:
        return _UNKNOWN
    # torch saves whether it is transposed as a number, which a record does not hold. One that is
    # has the weights the other way round; where that does not tell, it makes images larger.
    transposed = weight[0] != out[1] or (
        weight[0] == given[1] and math.prod(out[2:]) > math.prod(given[2:])
    )
    places = out[0] * math.prod((given if transposed else out)[2:])
    for_input = 2 * places * math.prod(weight)
    for_weight = 2 * places * math.prod(weight[2:]) * given[1] * out[1]  # groups: as torch counts
    count = 0
    for i in (i for i in node.inputs if i in wanted):
        shape = graph.nodes[i].shape
        both = shape == given == weight and i != node.inputs[0]
        count += for_weight if both or (shape == weight != given) else 0
        count += for_input if shape == given and not both else 0
    return Flops(count)


def _saved(graph: Graph, node: Node) -> Mapping[str, tuple[int, ...]]:
    return {saved.name: saved.shape for saved in graph.saved.get(node.id, ())}
