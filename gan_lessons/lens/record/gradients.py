"""What every ``.grad`` holds, of which backward calls, which step used it; what weights moved."""

from __future__ import annotations

import functools
import itertools
import math
import sys
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

import gan_lessons.torch_internals as internals
from gan_lessons.lens.model import Event, GradState

Names: TypeAlias = Mapping[str, Mapping[str, nn.Parameter]]  # net -> name -> parameter
Grads: TypeAlias = Mapping[str, Mapping[str, GradState]]  # the same with what each .grad holds
Fingerprint: TypeAlias = tuple[float, float]  # 2-norm and sum


def distinct(names: Names) -> list[nn.Parameter]:
    """Every parameter once: nets may share some."""
    return list(dict.fromkeys(p for named in names.values() for p in named.values()))


def by_net(names: Names, chosen: Collection[Tensor]) -> dict[str, tuple[str, ...]]:
    """net -> the names of its parameters that are among ``chosen``; nets without any left out."""
    found = {n: tuple([k for k, p in named.items() if p in chosen]) for n, named in names.items()}
    return {net: names for net, names in found.items() if names}


class Content(NamedTuple):
    """One content of one ``.grad``. A ``chain`` starts when the gradient is cleared or replaced;
    every write to it is a later ``epoch`` of the same chain, which has the number of its first.
    ``watched``: others hold its memory, and may write to it where torch does not count it."""

    state: GradState
    chain: int
    epoch: int
    ref: Callable[[], Tensor | None]
    version: int
    fingerprint: Fingerprint
    storage: int
    watched: bool


_NOTHING = Content(GradState(), -1, 0, lambda: None, 0, (math.nan, math.nan), 0, False)


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
        self._past: list[list[Content]] = [[] for _ in self._parameters]
        self._grads: Grads | None = None
        self._uses: dict[int, list[tuple[int, int]]] = {}  # chain -> (step event, epoch it saw)
        self._exposed: set[int] = set()  # storages
        self._epochs = itertools.count()
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
        clearing: bool = False,
    ) -> None:
        """Compare every ``.grad`` with what is known; ``received`` got theirs from ``call``.
        ``clearing``: a ``zero_grad`` has just run."""
        self._clearing = clearing
        self._held = set[int]()  # columns
        found: dict[int, Content] = {}
        doubtful: list[tuple[int, Tensor, int | None]] = []
        for i, parameter in enumerate(self._parameters):
            # A parameter that was computed (by a hypernetwork, say) is no leaf and has no gradient.
            grad, now = parameter.grad if parameter.is_leaf else None, self._now[i]
            if grad is None:
                if now is not _NOTHING:
                    found[i] = _NOTHING
                continue
            as_it_was = now.ref() is grad and now.version == internals.version_of(grad)
            if not as_it_was and _references(parameter) > _alone() + 1:  # ``grad``, here
                self._held.add(i)
            if not as_it_was and parameter in received:
                doubtful.append((i, grad, call))
            elif (
                not as_it_was or now.watched or now.storage in self._exposed or parameter in closely
            ):
                doubtful.append((i, grad, None))
        if doubtful:
            self._measure(doubtful, found)
        for i, content in found.items():
            if content is not self._now[i]:
                self._past[i].append(self._now[i])
                self._now[i], self._grads = content, None

    def _measure(
        self, doubtful: Sequence[tuple[int, Tensor, int | None]], found: dict[int, Content]
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
                epoch = next(self._epochs)
                found[i] = found[i]._replace(state=state, chain=epoch, epoch=epoch)

    def _content(
        self, i: int, grad: Tensor, fingerprint: Fingerprint, call: int | None
    ) -> tuple[Content, bool]:
        """What ``grad`` is, and whether it was recognised as the copy of an old content."""
        now, value, version = self._now[i], fingerprint[0], internals.version_of(grad)
        same = now.ref() is grad
        if call is None and same and now.version == version and alike(now.fingerprint, fingerprint):
            return now, False
        past = reversed(self._past[i] if call is None and not same else [])
        known = (c for c in past if alike(c.fingerprint, fingerprint))
        old = next((c for c in known if c.state.value or c.ref() is grad), None)
        if old is not None:
            state, chain, epoch = old.state, old.chain, old.epoch
        else:
            state = self._state(now.state, value, call, same, i in self._held)
            epoch = next(self._epochs)
            goes_on = now is not _NOTHING and state.is_gradient and (same or call is not None)
            chain = now.chain if goes_on else epoch
        watched = now.watched if same else internals.is_memory_shared(grad)
        storage, ref = internals.storage_of(grad)[0], weakref.ref(grad)
        content = Content(state, chain, epoch, ref, version, fingerprint, storage, watched)
        return content, old is not None and old.ref() is not grad

    def _state(
        self, was: GradState, value: float, call: int | None, same: bool, held: bool
    ) -> GradState:
        if call is not None:
            before = was.sources[:-1] if was.sources[-1:] == (call,) else was.sources
            return replace(was, value=value, sources=(*before, call))
        still_zeros = was.value == 0.0 and was.is_gradient and not self._clearing  # clipped, say
        if value == 0.0 and not (same and still_zeros):
            return GradState(0.0, held=same and was.is_gradient and held)
        if same:  # rewritten in place by something other than backward
            return replace(was, value=value, rewritten=was.rewritten + 1)
        return GradState(value, by_hand=self._begun, before=not self._begun)

    def contents(self, parameters: Collection[Tensor]) -> list[Content]:
        """What those of these parameters that are followed hold, as last observed."""
        return [self._now[i] for i, p in enumerate(self._parameters) if p in parameters]

    def written_by(self, call: int) -> set[Tensor]:
        """The parameters whose ``.grad`` was last written by this call, as last observed."""
        pairs = zip(self._parameters, self._now, strict=True)
        return {p for p, now in pairs if now.state.sources[-1:] == (call,)}

    def grads(self) -> Grads:
        """What every ``.grad`` holds, as last observed, by name."""
        if self._grads is None:
            states = [content.state for content in self._now]
            self._grads = {
                n: {k: states[i] for k, i in c.items()} for n, c in self._columns.items()
            }
        return self._grads

    def used(self, event: int, contents: Iterable[Content]) -> None:
        """The step of that event consumed these."""
        for content in contents:
            self._uses.setdefault(content.chain, []).append((event, content.epoch))

    def settle(self) -> None:
        """All is over: say in every state that was told which step used it."""
        for content in itertools.chain(self._now, *self._past):
            uses = sorted(self._uses.get(content.chain, ()))
            used_by = next((event for event, epoch in uses if epoch >= content.epoch), None)
            if content.state.is_gradient:
                object.__setattr__(content.state, "used_by", used_by)  # known only now


def _references(parameter: Tensor) -> int:
    return sys.getrefcount(parameter.grad)


@functools.cache
def _alone() -> int:
    """The references to a ``.grad`` that nobody but its parameter holds."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.grad = torch.zeros(1)
    return _references(parameter)


class Weights:
    """Follows the parameters by torch's version counters, and at the end by value.

    ``written``: what is known to be rewritten, whatever the counters say."""

    def __init__(self, names: Names) -> None:
        self._names, self.written = names, set[Tensor]()
        parameters = distinct(names)
        self._versions = {p: internals.version_of(p) for p in parameters}
        self._values = dict(zip(parameters, measured(parameters), strict=True))

    def moved(self) -> dict[str, tuple[str, ...]]:
        """net -> what was rewritten since the last call."""
        found, self.written = self.written, set()
        for parameter, before in self._versions.items():
            if (version := internals.version_of(parameter)) > before:
                self._versions[parameter] = version
                found.add(parameter)
        return by_net(self._names, found) if found else {}

    def since_the_beginning(self) -> tuple[list[tuple[str, str]], list[Fingerprint]]:
        """(net, name) of every parameter, each once, and what was measured of it then."""
        places = {p: (net, name) for net, d in self._names.items() for name, p in d.items()}
        return [places[p] for p in self._values], [*self._values.values()]

    def measured_now(self, among: Collection[Tensor] | None = None) -> list[Fingerprint]:
        """The same of what they hold now, all or some."""
        return measured([p for p in self._values if among is None or p in among])

    def untold(self, events: Iterable[Event]) -> dict[str, tuple[str, ...]]:
        """net -> what was rewritten since the last call, or changed and no event tells of it."""
        told = {self._names[n][k] for e in events for n, names in e.moved.items() for k in names}
        late = {self._names[n][k] for n, names in self.moved().items() for k in names}
        rest = [p for p in self._values if p not in told]
        values = zip(rest, measured(rest), strict=True)
        changed = {p for p, value in values if not alike(self._values[p], value)}
        return by_net(self._names, late | changed)


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
            wide = [_wide(tensors[i].detach()) for i in group]
            values = torch.stack([*internals.norms(wide), *[t.sum().real for t in wide]]).tolist()
        except RuntimeError:
            for i in group if len(group) > 1 else ():  # one may have no norm, and others all right
                (found[i],) = measured([tensors[i]])
            continue
        for i, norm, total in zip(group, values, values[len(group) :], strict=False):
            found[i] = (norm, total)
    return found


def _wide(tensor: Tensor) -> Tensor:
    """Dense, and of a dtype in which squares do not overflow at once."""
    dense = tensor.to_dense() if tensor.is_sparse else tensor
    return dense.float() if dense.dtype in (torch.float16, torch.bfloat16) else dense


def alike(a: Fingerprint, b: Fingerprint) -> bool:
    """Equal, where NaN equals NaN."""
    return all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True))
