"""What a loss compares a net's output with: had some net been given that, or was it the truth?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.autograd_nodes import op_name
from gan_lessons.lens.record.telling_numbers import DISTANCES
from gan_lessons.lens.record.values import Values

COMPARES = (*DISTANCES, "BinaryCrossEntropy", "NllLossBackward", "SubBackward", "RsubBackward")
SAMPLE = 8  # numbers of a target that are looked for
LARGEST = 1 << 22  # numbers of an input in which they are looked for


class Targets:
    """Writes ``targets`` of ``graph``: what is compared with a tensor that has no graph -> the nets
    that had been given that tensor, or its numbers among others (a picture and a message, say), or
    had made it."""

    def __init__(self, graph: LiveGraph) -> None:
        self._graph = graph
        self._known: dict[str, dict[int, TensorWeakRef]] = {}  # by id: some come time and again

    def known(self, net: str, tensors: Iterable[Tensor]) -> None:
        """These go into ``net``, or come out of it without a graph."""
        living = {key: ref for key, ref in self._known.get(net, {}).items() if ref() is not None}
        self._known[net] = living | {id(tensor): TensorWeakRef(tensor) for tensor in tensors}

    def look(self, new: Iterable[Any], given: Any, values: Values) -> None:
        """An operation outside the nets took ``given`` and built ``new`` nodes. What was cut from a
        graph is nobody's truth."""
        nodes = [node for node in new if op_name(node).startswith(COMPARES)]
        if not nodes:
            return
        sides = [x for x in given[:2] if isinstance(x, Tensor)]
        target = [x for x in sides if not x.requires_grad and x.numel() > 1]
        if len(sides) < 2 or len(target) != 1 or values.recognise(target[0]) is not None:
            return
        sample = _sample(target[0])
        if sample is not None:
            nets = {net for net, refs in self._known.items()
                    if _is_in(refs.values(), target[0], sample)}  # fmt: skip
            self._graph.targets[self._graph.id_of(nodes[0])] = frozenset(nets)


def _sample(target: Tensor) -> Tensor | None:
    """Some numbers of it. None where they are all one (a label), or cannot be read."""
    if internals.is_capturing(target):
        return None
    try:
        sample = target.flatten()[:: max(1, target.numel() // SAMPLE)][:SAMPLE]
        return None if bool((sample == sample[0]).all().item()) else sample
    except RuntimeError:  # fake, or on the meta device
        return None


def _is_in(refs: Iterable[TensorWeakRef], target: Tensor, sample: Tensor) -> bool:
    """Was it, or numbers of it, in one of these? Also where that would take long to find out."""
    memory = internals.storage_of(target)[0]
    for tensor in (one for ref in refs if (one := ref()) is not None):
        if internals.storage_of(tensor)[0] == memory:
            return True
        if _has(tensor, sample, target.numel()):
            return True
    return False


def _has(tensor: Tensor, sample: Tensor, least: int) -> bool:
    """Are these numbers in it? Not in one of less than ``least``."""
    try:
        if tensor.numel() < least or tensor.dtype != sample.dtype:
            return False
        if tensor.numel() > LARGEST:
            return True
        with torch.no_grad():
            numbers = tensor.flatten()[:, None]
            return bool((numbers == sample.to(tensor.device)).any(0).all().item())
    except RuntimeError:  # fake, on the meta device, or of a layout that torch cannot compare
        return False
