"""Where values go that somebody's code made of the gradients of parameters: an attack's change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils.weak import TensorWeakRef

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.autograd_graph import LiveGraph
from gan_lessons.lens.record.gradient_reads import Place


class MadeOfGradients:
    """Writes ``graph.taught``. ``followed``: is there any such tensor?"""

    def __init__(self, graph: LiveGraph) -> None:
        self._graph = graph
        self._made: dict[int, tuple[TensorWeakRef, Place]] = {}

    @property
    def followed(self) -> bool:
        return bool(self._made)

    def read(self, place: Place | None, gradient: Any) -> None:
        """Somebody's own code read the ``.grad`` of the parameter at ``place``."""
        if place is not None and isinstance(gradient, Tensor):
            self._made[id(gradient)] = TensorWeakRef(gradient), place

    def went(self, taken: Iterable[Tensor], made: Iterable[Tensor]) -> None:
        """An operation took these tensors, and made those. A parameter that is moved by hand is no
        value that is made of a gradient."""
        entries = ((*self._made.get(id(tensor), (None, None)), tensor) for tensor in taken)
        places = [place for ref, place, tensor in entries
                  if place is not None and ref is not None and ref() is tensor]  # fmt: skip
        for tensor in made if places else ():
            node = internals.grad_fn_of(tensor)
            if node is not None:
                self._graph.taught.append((*places[0], self._graph.id_of(node)))
            elif not tensor.requires_grad:
                self._made[id(tensor)] = TensorWeakRef(tensor), places[0]

    def forget_the_dead(self) -> None:
        self._made = {key: one for key, one in self._made.items() if one[0]() is not None}
