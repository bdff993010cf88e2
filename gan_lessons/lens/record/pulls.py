"""Which way each backward call pulls what a net said: the sign of the gradient at its output."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Forward, Pull
from gan_lessons.lens.record.journal import Journal
from gan_lessons.lens.record.quarrels import Quarrels
from gan_lessons.lens.record.telling_numbers import LARGEST
from gan_lessons.lens.record.undo import Undo


class Pulls:
    """Writes ``record.pulls`` at the end of the recording, by hooks on the nodes that made the
    outputs. What was found waits on its device: to ask for each number would wait for a GPU."""

    def __init__(self, journal: Journal[Any], undo: Undo) -> None:
        self._journal, self._handles = journal, list[Any]()
        # call, forward, which output, least and most
        self._found: list[tuple[int, int, int, Tensor | None]] = []
        self.quarrels = Quarrels(journal, undo)
        undo.callback(self._tell)
        undo.callback(self._let_go)

    def watch(self, forward: Forward, outputs: Iterable[Tensor]) -> None:
        """``forward`` made these just now."""
        for number, tensor in enumerate(outputs):
            node = internals.grad_fn_of(tensor)
            if node is None or internals.is_leaf(node) or tensor.numel() > LARGEST:
                continue

            self.quarrels.watch(node, tensor.output_nr, forward.index, number)
            key = self._journal.graph.id_of(node)

            def note(
                grads: tuple[Tensor | None, ...],
                at: int = tensor.output_nr,
                f: int = forward.index,
                number: int = number,
                key: int = key,
            ) -> None:
                call = self._journal.inside
                if call is not None and call >= 0 and (grad := grads[at]) is not None:
                    self._found.append((call, f, number, _ends(grad)))
                    self.quarrels.arrive(key, at, grad)

            self._handles.append(node.register_prehook(note))

    def _let_go(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _tell(self) -> None:
        found, signs = self._found, _signs([ends for *_, ends in self._found])
        told = zip(found, signs, strict=True)
        pulls = [Pull(call, f, sign, number) for (call, f, number, _), sign in told]
        self._journal.record.pulls = pulls


def _ends(grad: Tensor) -> Tensor | None:
    """(2,): the least and the greatest number; None for what torch cannot compare (complex,
    sparse)."""
    try:
        with internals.without_torch_functions():
            return torch.stack(torch.aminmax(grad.detach()))
    except RuntimeError:
        return None


def _signs(ends: Sequence[Tensor | None]) -> list[int]:
    """1 or -1 where no number has the other sign, 0 for both signs and for zeros alone, and where
    there are no numbers to compare (those of ``_ends``, fake, on the meta device)."""
    signs, groups = [0] * len(ends), defaultdict[object, list[int]](list)
    for i, pair in enumerate(ends):
        if pair is not None:
            groups[type(pair), pair.device, pair.dtype].append(i)
    for group in groups.values():
        with suppress(RuntimeError), internals.without_torch_functions():
            pairs = torch.stack([pair for i in group if (pair := ends[i]) is not None]).tolist()
            for i, (least, most) in zip(group, pairs, strict=True):
                signs[i] = int(most > 0 and least >= 0) - int(least < 0 and most <= 0)
    return signs
