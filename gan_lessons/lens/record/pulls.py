"""Which way each backward call pulls what a net said: the sign of the gradient at its output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from gan_lessons.lens.model import Forward, Pull
from gan_lessons.lens.record import torch_internals as internals
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.telling_numbers import LARGEST
from gan_lessons.lens.record.undo import Undo


class Pulls:
    """Writes ``record.pulls``, by hooks on the nodes that made the outputs."""

    def __init__(self, journal: Journal[Any], undo: Undo) -> None:
        self._journal, self._handles = journal, list[Any]()
        undo.callback(self._let_go)

    def watch(self, forward: Forward, outputs: Iterable[Tensor]) -> None:
        """``forward`` made these just now."""
        for tensor in outputs:
            node = internals.grad_fn_of(tensor)
            if node is None or internals.is_leaf(node) or tensor.numel() > LARGEST:
                continue

            def note(
                grads: tuple[Tensor | None, ...], at: int = tensor.output_nr, f: int = forward.index
            ) -> None:
                call = self._journal.inside
                if call is not None and call >= 0 and (grad := grads[at]) is not None:
                    self._journal.record.pulls.append(Pull(call, f, _sign(grad)))

            self._handles.append(node.register_prehook(note))

    def _let_go(self) -> None:
        while self._handles:
            self._handles.pop().remove()


def _sign(grad: Tensor) -> int:
    """1 or -1 where no number has the other sign, 0 for both signs and for zeros alone, and where
    there are no numbers to compare (complex, sparse, fake, on the meta device)."""
    try:
        with internals.without_torch_functions():
            least, most = (x.item() for x in torch.aminmax(grad.detach()))
    except RuntimeError:  # what torch cannot compare, or has no numbers for
        return 0
    return int(most > 0 and least >= 0) - int(least < 0 and most <= 0)
