"""Replace a function for a while, and put it back, with care for compilers and copies."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def patched(owner: Any, name: str, around: Callable[..., Any]) -> Iterator[None]:
    """Replace a function by ``around(original, ...)`` for a while."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True  # IPython and pytest leave this frame out of a traceback
        return around(original, *args, **kwargs)

    live[wrapper] = original

    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        # If somebody patched over us meanwhile, theirs stays and ours passes everything through.
        # If that was a recording which ended before this one, it goes now.
        ended[wrapper] = live.pop(wrapper)
        while (now := getattr(owner, name)) in ended:
            setattr(owner, name, ended.pop(now))


def defining_class(kind: type, name: str) -> type:
    """The class in which a method is defined."""
    return next(c for c in kind.__mro__ if name in vars(c))


live: dict[Callable[..., Any], Any] = {}  # wrapper -> what it stands for
ended: dict[Callable[..., Any], Any] = {}  # the same, waiting under a wrapper that is still live


class NetHook:
    """A forward hook on one net that neither a compiled net nor a copy of the net takes along."""

    def __init__(self, net: nn.Module, call: Callable[..., None]) -> None:
        self._net, self._call = net, call
        self._copies: list[weakref.ref[nn.Module]] = []

    def __call__(self, module: nn.Module, *args: Any) -> None:
        if not torch.compiler.is_compiling():
            self._call(module, *args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        copy = memo.get(id(self._net))  # being filled at this moment
        if copy is not None:
            self._copies.append(weakref.ref(copy))
        return _no_hook

    def __reduce__(self) -> Any:
        return _the_placeholder, ()

    def forget_copies(self) -> None:
        """Take the placeholder off every copy of the net that was made meanwhile."""
        for copy in (c for ref in self._copies if (c := ref()) is not None):
            for hooks in (copy._forward_hooks, copy._forward_pre_hooks):
                for key in [k for k, hook in hooks.items() if hook is _no_hook]:
                    del hooks[key]
                    copy._forward_hooks_always_called.pop(key, None)


def _no_hook(*_: Any) -> None:
    """Stands in a copy of a net where the original has a ``NetHook``."""


def _the_placeholder() -> Callable[..., None]:
    return _no_hook


def is_compiler_at_work() -> bool:
    """Is torch.compile tracing at this moment? It calls autograd for purposes of its own."""
    return torch._guards.TracingContext.try_get() is not None
