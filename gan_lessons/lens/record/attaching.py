"""Attach a listener to nets, parameters, optimizers or torch's functions, and let go again."""

from __future__ import annotations

import functools
import threading
import weakref
from collections import UserDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import gan_lessons.torch_internals as internals
from gan_lessons.lens.record.undo import Undo

_CHANGING = threading.RLock()  # recordings come and go in several threads
_around = weakref.WeakKeyDictionary[Callable[..., Any], list[Callable[..., Any]]]()


def replace_function(undo: Undo, owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Go around ``owner.name`` by ``around(original, ...)`` until undone, outside of those who came
    before. If somebody else replaces it meanwhile, theirs stays, and ours passes everything on."""
    wrapper: Any = None

    def put_back() -> None:
        with _CHANGING:
            arounds = [] if wrapper is None else _around[wrapper]
            if around in arounds:
                arounds.remove(around)
            if not arounds and getattr(owner, name) is wrapper:
                setattr(owner, name, wrapper.__wrapped__)

    undo.callback(put_back)
    with _CHANGING:
        now = getattr(owner, name)
        wrapper = now if now in _around else _wrapper(now)
        _around[wrapper].append(around)
        setattr(owner, name, wrapper)


def _wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    arounds: list[Callable[..., Any]] = []

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True  # IPython and pytest leave this frame out of a traceback
        call = original
        for around in tuple(arounds):
            call = functools.partial(around, call)
        return call(*args, **kwargs)

    _around[wrapper] = arounds
    return wrapper


def enter_mode(undo: Undo, mode: Any) -> None:
    """Put a ``TorchFunctionMode`` on this thread's stack until undone: from under others if need
    be, for blocks may end in any order, and its own ``__exit__`` takes the topmost off."""

    def leave() -> None:
        mode.ended = True
        stack = internals.function_modes()
        first = next((i for i, m in enumerate(stack) if getattr(m, "ended", False)), len(stack))
        for _ in stack[first:]:
            internals.pop_mode()
        for other in (m for m in stack[first:] if not getattr(m, "ended", False)):
            internals.push_mode(other)

    undo.callback(leave)
    mode.__enter__()


def watch_forwards(
    undo: Undo, net: nn.Module, before: Callable[..., None], after: Callable[..., None]
) -> None:
    """Call ``before(net, args, kwargs)`` and ``after(net, args, output)`` around each forward;
    ``output`` is None where it raised."""
    first, last = _NetHook(net, before), _NetHook(net, after)
    undo.callback(first.remove)
    undo.callback(last.remove)
    net.register_forward_pre_hook(first, with_kwargs=True)
    net.register_forward_hook(last, always_call=True)


class _NetHook:
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

    def remove(self) -> None:
        """Take it off the net, and its placeholder off every copy that was made meanwhile."""
        for net in (self._net, *(copy for ref in self._copies if (copy := ref()) is not None)):
            for hooks in internals.forward_hooks(net):
                _drop(self if net is self._net else _no_hook, *hooks)


def _no_hook(*_: Any) -> None:
    """Stands in a copy of a net where the original has a hook of ours."""


def _the_placeholder() -> Callable[..., None]:
    return _no_hook


def _drop(hook: Any, hooks: dict[int, Any], *extra: dict[int, Any]) -> None:
    # By what it is: an interrupt may have lost the handle that torch gave for it.
    for key in [k for k, found in list(hooks.items()) if found == hook]:
        for also in (*extra, hooks):
            also.pop(key, None)


def watch_gradient(undo: Undo, parameter: Any, written: Callable[[Tensor], None]) -> None:
    """Call ``written(parameter)`` whenever a backward has written to its ``.grad``."""
    undo.callback(lambda: _drop(written, internals.gradient_hooks(parameter)))
    parameter.register_post_accumulate_grad_hook(written)


class _OptimizerHooks(UserDict[int, Any]):
    """Takes the place of one of torch's two dicts of hooks on all optimizers, while we record.

    torch walks over its dict at every step of any thread, and raises if another thread adds a hook
    meanwhile. Whoever walks over this one gets a list of his own. What others add goes to torch's.
    """

    def __init__(self, name: str) -> None:
        self.data, self._name = getattr(internals.OPTIMIZER, name), name
        self._ours: dict[Callable[..., None], None] = {}

    def values(self) -> Any:
        return [*self.data.values(), *self._ours]

    def add(self, undo: Undo, hook: Callable[..., None]) -> None:
        undo.callback(lambda: self._change(self._ours.pop, hook))
        self._change(self._ours.setdefault, hook)

    def _change(self, change: Callable[..., None], hook: Callable[..., None]) -> None:
        with _CHANGING:
            change(hook, None)
            setattr(internals.OPTIMIZER, self._name, self if self._ours else self.data)


BEFORE_STEP, AFTER_STEP = map(_OptimizerHooks, internals.OPTIMIZER_HOOKS)
