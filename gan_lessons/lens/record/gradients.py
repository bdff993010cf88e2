"""What every ``.grad`` holds and which backward calls went into it; which weights were rewritten."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from gan_lessons.lens.model import Event, GradState
from gan_lessons.lens.record import torch_patches as internals

Names: TypeAlias = Mapping[str, Mapping[str, nn.Parameter]]  # net -> name -> parameter
Grads: TypeAlias = dict[str, dict[str, GradState]]  # the same with what each .grad holds
Fingerprint: TypeAlias = tuple[float, float]  # 2-norm and sum


def by_net(names: Names, chosen: Collection[Tensor]) -> dict[str, tuple[str, ...]]:
    """net -> the names of its parameters that are among ``chosen``; nets without any left out."""
    found = {
        net: tuple([k for k, p in named.items() if p in chosen]) for net, named in names.items()
    }
    return {net: chosen_names for net, chosen_names in found.items() if chosen_names}


@dataclass(frozen=True, eq=False, slots=True)
class _Content:
    """One content of one ``.grad``. A ``chain`` starts when the gradient is cleared or replaced;
    every write to it is a new ``epoch`` of the same chain. ``watched``: others hold its memory, and
    may write to it where torch does not count it."""

    state: GradState
    chain: int
    epoch: int
    ref: Callable[[], Tensor | None]
    version: int
    fingerprint: Fingerprint
    storage: int
    watched: bool


_NOTHING = _Content(GradState(), -1, 0, lambda: None, 0, (math.nan, math.nan), 0, False)


class Ledger:
    """Follows ``.grad`` of the given parameters by identity and version, without holding it.

    A gradient that was stashed and put back is recognised (the same tensor, or a copy with the
    same norm and sum) and keeps its sources. Scaling in place (clipping, unscaling) keeps them too.

    Measuring is slow. So a gradient is measured when its version has moved, while others hold its
    memory or have asked for it (``.data``, ``.numpy()``), and before a step uses it (``closely``).
    """

    def __init__(self, names: Names) -> None:
        self._parameters = list(
            dict.fromkeys(p for named in names.values() for p in named.values())
        )
        column = {p: i for i, p in enumerate(self._parameters)}
        self._columns = {n: {k: column[p] for k, p in named.items()} for n, named in names.items()}
        self._now = [_NOTHING] * len(self._parameters)
        self._past: list[list[_Content]] = [[] for _ in self._parameters]
        self._exposed: set[int] = set()  # storages
        self._chains = 0
        self._rows: list[list[_Content]] = []  # what was written down
        self._told: list[Grads] = []  # the same by name
        self._begun = False
        self.observe()
        self._begun = True

    def exposed(self, tensor: Tensor) -> None:
        """From now on the memory of this tensor may be written to without torch counting it."""
        with internals.without_torch_functions():
            self._exposed.add(internals.storage_of(tensor)[0])

    def observe(
        self,
        call: int | None = None,
        received: Collection[Tensor] = (),
        *,
        closely: Collection[Tensor] = (),
    ) -> None:
        """Compare every ``.grad`` with what is known; ``received`` got theirs from ``call``."""
        found: dict[int, _Content] = {}
        doubtful: list[tuple[int, Tensor, int | None]] = []
        for i, parameter in enumerate(self._parameters):
            # A parameter that was computed (by a hypernetwork, say) is no leaf and has no gradient.
            grad, now = parameter.grad if parameter.is_leaf else None, self._now[i]
            if grad is None:
                if now is not _NOTHING:
                    found[i] = _NOTHING
            elif call is not None and parameter in received:
                doubtful.append((i, grad, call))
            elif (
                now.ref() is not grad
                or now.version != internals.version_of(grad)
                or now.watched
                or now.storage in self._exposed
                or (closely and parameter in closely)
            ):
                doubtful.append((i, grad, None))
        if doubtful:
            self._measure(doubtful, found)
        for i, content in found.items():
            if content is not self._now[i]:
                self._past[i].append(self._now[i])
                self._now[i] = content

    def _measure(
        self, doubtful: Sequence[tuple[int, Tensor, int | None]], found: dict[int, _Content]
    ) -> None:
        """Add to ``found`` what these gradients are: column, gradient, the call that wrote it."""
        copied = []
        fingerprints = measured([grad for _, grad, _ in doubtful])
        for (i, grad, call), fingerprint in zip(doubtful, fingerprints, strict=True):
            found[i], is_copy = self._content(i, grad, fingerprint, call)
            copied += [i] if is_copy else []
        # A copy is recognised by norm and sum. Where others were written by hand at the same time,
        # a small one may only look like an old one.
        if any(c.state.by_hand and c is not self._now[i] for i, c in found.items()):
            for i in copied:
                state = GradState(found[i].state.value, by_hand=True)
                found[i] = replace(found[i], state=state, chain=self._new_chain(), epoch=0)

    def _content(
        self, i: int, grad: Tensor, fingerprint: Fingerprint, call: int | None
    ) -> tuple[_Content, bool]:
        """What ``grad`` is, and whether it was recognised as the copy of an old content."""
        now, value, version = self._now[i], fingerprint[0], internals.version_of(grad)
        same, old = now.ref() is grad, None
        if call is None and same and now.version == version and alike(now.fingerprint, fingerprint):
            return now, False
        if call is None and not same:
            past = reversed(self._past[i])
            old = next(
                (c for c in past if c.state.value and alike(c.fingerprint, fingerprint)), None
            )
        if old is not None:
            state, chain, epoch = old.state, old.chain, old.epoch
        else:
            state = self._state(now.state, value, call, same)
            goes_on = call is not None or (same and value != 0.0)
            chain, epoch = now.chain, now.epoch + 1
            if not goes_on or now is _NOTHING:
                chain, epoch = self._new_chain(), 0
        watched = now.watched if same else internals.is_memory_shared(grad)
        storage, ref = internals.storage_of(grad)[0], weakref.ref(grad)
        content = _Content(state, chain, epoch, ref, version, fingerprint, storage, watched)
        return content, old is not None and old.ref() is not grad

    def _state(self, was: GradState, value: float, call: int | None, same: bool) -> GradState:
        if call is not None:
            return replace(was, value=value, sources=(*was.sources, call))
        if value == 0.0:
            return GradState(0.0)
        if same:  # rewritten in place by something other than backward
            return replace(was, value=value)
        return GradState(value, by_hand=self._begun, before=not self._begun)

    def _new_chain(self) -> int:
        self._chains += 1
        return self._chains

    def write_down(self) -> Grads:
        """The state of every parameter, as last observed; who used it is filled in at the end."""
        if not self._rows or self._now != self._rows[-1]:
            self._rows.append([*self._now])
            states = [content.state for content in self._now]
            self._told.append(
                {net: {k: states[i] for k, i in cs.items()} for net, cs in self._columns.items()}
            )
        return self._told[-1]

    def contents(self, parameters: Collection[Tensor]) -> list[_Content]:
        """What those of these parameters that are followed hold, as last observed."""
        return [self._now[i] for i, p in enumerate(self._parameters) if p in parameters]

    def settle(self, steps: Mapping[int, Sequence[_Content]]) -> None:
        """Say in all that was written down which step used it; ``steps``: event -> what it used."""
        used: dict[int, list[tuple[int, int]]] = {}  # chain -> (step event, epoch it saw)
        for event, contents in sorted(steps.items()):
            for content in contents:
                used.setdefault(content.chain, []).append((event, content.epoch))
        told: dict[int, GradState] = {}  # by identity: contents last as long as the rows
        for content in (content for row in self._rows for content in row):
            if content.state.is_gradient and id(content) not in told:
                after = (e for e, epoch in used.get(content.chain, ()) if epoch >= content.epoch)
                told[id(content)] = replace(content.state, used_by=next(after, None))
        for row, by_name in zip(self._rows, self._told, strict=True):
            for net, columns in self._columns.items():
                by_name[net] |= {
                    k: told[id(row[i])] for k, i in columns.items() if id(row[i]) in told
                }


class Weights:
    """Follows the parameters by torch's version counters, and at the end by value."""

    def __init__(self, names: Names) -> None:
        self._names = names
        parameters = list(dict.fromkeys(p for named in names.values() for p in named.values()))
        self._versions = {p: internals.version_of(p) for p in parameters}
        self._values = dict(zip(parameters, measured(parameters), strict=True))

    def moved(self, written: Iterable[Tensor] = ()) -> dict[str, tuple[str, ...]]:
        """net -> what was rewritten since the last call, and what is known to be ``written``."""
        versions = {p: internals.version_of(p) for p in self._versions}
        found = {p for p, version in versions.items() if version > self._versions[p]} | {*written}
        self._versions = versions
        return by_net(self._names, found) if found else {}

    def untold(self, events: Iterable[Event]) -> dict[str, tuple[str, ...]]:
        """net -> what was rewritten since the last call, or changed and no event tells of it."""
        late = self.moved()
        told = {(n, k) for event in events for n, names in event.moved.items() for k in names}
        unseen = {p for n, d in self._names.items() for k, p in d.items() if (n, k) not in told}
        now = zip(unseen, measured(list(unseen)), strict=True)
        changed = by_net(self._names, {p for p, value in now if not alike(self._values[p], value)})
        found = {
            net: tuple(
                k
                for k, p in named.items()
                if k in late.get(net, ()) or (k in changed.get(net, ()) and (net, k) not in told)
            )
            for net, named in self._names.items()
        }
        return {net: names for net, names in found.items() if names}


@torch.no_grad()
def measured(tensors: Sequence[Tensor]) -> list[Fingerprint]:
    """(2-norm, sum) of gradients or weights; NaN where there are no values to look at, and where
    torch has no norm: integers, float8, some sparse layouts. (Quantized nets have such weights.)"""
    found: list[Fingerprint] = [(math.nan, math.nan)] * len(tensors)
    groups: dict[object, list[int]] = {}  # measured in one go
    for i, tensor in enumerate(tensors):
        if not tensor.is_meta and not nn.parameter.is_lazy(tensor):
            kind = (type(tensor), tensor.device, tensor.dtype, tensor.layout)
            groups.setdefault(kind, []).append(i)
    for group in groups.values():
        try:
            wide = [_wide(tensors[i]) for i in group]
            values = torch.stack([*internals.norms(wide), *[t.sum().real for t in wide]]).tolist()
        except RuntimeError:
            if len(group) > 1:  # one may have none, and the others all the same
                for i in group:
                    (found[i],) = measured([tensors[i]])
            continue
        for i, norm, total in zip(group, values, values[len(group) :], strict=False):
            found[i] = (norm, total)
    return found


def _wide(tensor: Tensor) -> Tensor:
    """Dense, and of a dtype in which squares do not overflow at once."""
    dense = tensor.to_dense() if tensor.is_sparse else tensor
    return dense.float() if dense.dtype in (torch.float16, torch.bfloat16) else dense


def alike(a: Fingerprint | None, b: Fingerprint) -> bool:
    """Equal, where NaN equals NaN."""
    return a is not None and all(
        x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True)
    )
