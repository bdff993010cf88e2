"""All that the recorder knows of torch's insides, in one place: each private name with a line why.

Public torch says neither what a graph still holds, nor when a backward call begins, nor who calls
``zero_grad``. When a new version of torch breaks the record, this is the file to look at.
"""

from __future__ import annotations

import functools
import sys
import threading
import weakref
from collections import UserDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gan_lessons.lens.model import FREED, HELD, NOTHING, STALE, UNKNOWN
from gan_lessons.lens.record.torch_version import require_torch
from gan_lessons.lens.record.undo import Undo

require_torch(torch.__version__)

# Torch functions off: what we look at must not come back to our own mode, or to somebody else's.
without_torch_functions = torch._C.DisableTorchFunction
# One function leads into the engine, however `backward` or `grad` was imported.
ENGINE = (torch.autograd, "_engine_run_backward")
CLIPS = (torch.nn.utils.clip_grad, "_clip_grads_with_norm_")  # however it was imported
# Number of the backward that this thread of the engine works for, -1 for none.
graph_task = torch._C._current_graph_task_id
# The 2-norms of tensors of one device and dtype in one call, which is faster.
norms = torch._foreach_norm
# This thread's stack of TorchFunctionModes; only their ``with`` block is public.
function_modes = torch.overrides._get_current_function_mode_stack
pop_mode, push_mode = torch.overrides._pop_mode, torch.overrides._push_mode
# How a TorchFunctionMode is told that an attribute is read or written.
READS_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
FREEZES = torch.Tensor.requires_grad.__set__  # type: ignore[attr-defined]
READS_GRAD = torch.Tensor.grad.__get__  # type: ignore[union-attr]
WRITES_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]


def is_compiler_at_work() -> bool:
    """Is torch.compile tracing at this moment? It calls autograd for purposes of its own."""
    return torch._guards.TracingContext.try_get() is not None


def are_saved_tensors_hooked() -> bool:
    """Does somebody's hook pack what is saved now? To read it would run the hook that unpacks."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


def joined_processes() -> tuple[Any, int, int] | None:
    """(the store by which torch.distributed joined them, rank, how many); None for one alone."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    store, count = distributed.distributed_c10d._get_default_store, distributed.get_world_size()
    return (store(), distributed.get_rank(), count) if count > 1 else None


# Tensors ------------------------------------------------------------------------------------------


def grad_fn_of(tensor: Tensor) -> Any:
    """``tensor.grad_fn``; None where torch refuses to tell (some views made without gradients)."""
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def node_of(x: Any) -> Any:
    """The graph node of a tensor or ``GradientEdge``; None for what has no graph."""
    if not isinstance(x, Tensor):
        return x.node
    node = grad_fn_of(x)
    if node is None and x.requires_grad:
        return torch.autograd.graph.get_gradient_edge(x).node
    return node


def version_of(tensor: Tensor) -> int:
    """How often it was changed in place: autograd's own count. 0 for those that do not count."""
    return 0 if tensor.is_inference() else tensor._version


def storage_of(tensor: Tensor) -> tuple[int, int]:
    """(identity, bytes) of a tensor's storage; a tensor without one counts for itself."""
    try:
        storage = tensor.untyped_storage()
        return identity_of(storage), storage.nbytes()
    except (NotImplementedError, RuntimeError):  # sparse, functorch and fake tensors
        return id(tensor), tensor.numel() * tensor.element_size()


def identity_of(storage: torch.UntypedStorage) -> int:
    """The address of the storage, not of its bytes: two views have the same."""
    return storage._cdata


def is_memory_shared(tensor: Tensor) -> bool:
    """Do others hold its memory (a view, ``.data``, numpy), who may write there uncounted?"""
    try:
        storage = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return True
    # Two hold it always: the tensor and the name `storage`. What came from numpy has a fixed size.
    return not storage.resizable() or torch._C._storage_Use_Count(identity_of(storage)) > 2


def base_of(tensor: Tensor) -> Tensor | None:
    """The tensor of which it is a view."""
    return tensor._base if tensor._is_view() else None


def backward_hooks(of: nn.Module | Tensor) -> int:
    """How many hooks may change the gradient that comes here."""
    return len(of._backward_hooks or ()) + len(getattr(of, "_backward_pre_hooks", ()))


def weights_and_buffers(nets: Iterable[nn.Module]) -> list[Tensor]:
    """As ``parameters()`` and ``buffers()`` yield them, which spell out every name on the way."""
    found: list[Tensor | None] = []
    for module in (module for net in nets for module in net.modules()):
        found += [*module._parameters.values(), *module._buffers.values()]
    return [tensor for tensor in found if tensor is not None]


def batchnorm_updates(net: nn.Module) -> int:
    """How often a BatchNorm of this net has updated its running statistics: the most of any."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    counters = [m.num_batches_tracked for m in norms if m.num_batches_tracked is not None]
    return max((int(count) for count in counters if not count.is_meta), default=0)


# Graph nodes --------------------------------------------------------------------------------------


def is_leaf(node: Any) -> bool:
    """AccumulateGrad, at a parameter or another tensor that collects gradient."""
    return hasattr(node, "variable")


def output_shape(node: Any) -> tuple[int, ...] | None:
    """Shape of what the node made in the forward pass, if torch tells."""
    if is_leaf(node):
        return tuple(node.variable.shape)
    metadata = getattr(node, "_input_metadata", None)  # of the gradient that comes *in*
    return tuple(map(int, metadata[0].shape)) if metadata else None


@functools.cache
def saved_attributes(kind: Any) -> dict[str, None]:
    """Names under which nodes of this kind keep what they saved; told without reading any."""
    return dict.fromkeys(n for n in dir(kind) if n.startswith("_saved_") and "_sym_" not in n)


def read_saved(
    node: Any, names: Iterable[str] | None = None
) -> tuple[str, dict[str, Tensor], tuple[str, ...]]:
    """The node's state, the tensors it holds by name, and the attributes that may yet change.

    names: the third of the last time; None: the first time. Only for a node whose tensors were
    saved without saved-tensor hooks: reading runs the unpack hook otherwise, and with it whatever
    the hook does (checkpointing: a whole forward).
    """
    kind = node.__class__
    if hasattr(kind, "saved_tensors"):  # a custom autograd.Function: nobody can tell
        return UNKNOWN, {}, ()  # whether hooks were active when it saved
    state, tensors, alive = NOTHING, dict[str, Tensor](), []
    for name in tuple(saved_attributes(kind)) if names is None else names:
        try:
            value = getattr(node, name)
        except RuntimeError as error:
            state = STALE if "modified by an inplace operation" in str(error) else FREED
            alive.append(name)
            continue
        if value is None:  # no tensor was saved there, and none will be
            continue
        items = value if isinstance(value, (tuple, list)) else (value,)
        found = [(i, item) for i, item in enumerate(items) if isinstance(item, Tensor)]
        if not found and items:
            saved_attributes(kind).pop(name, None)  # numbers, as in all nodes of this kind
            continue
        alive.append(name)
        key = name.removeprefix("_saved_")
        tensors |= {key if len(items) == 1 else f"{key}[{i}]": item for i, item in found}
    return HELD if tensors and state == NOTHING else state, tensors, tuple(alive)


def can_be_read(node: Any, names: Iterable[str]) -> bool:
    """Is all that the node saved there still as it was? To ask is faster than to read."""
    try:
        for name in names:
            getattr(node, name)
    except RuntimeError:
        return False
    return True


# Attach, and let go -------------------------------------------------------------------------------

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
        stack = function_modes()
        first = next((i for i, m in enumerate(stack) if getattr(m, "ended", False)), len(stack))
        for _ in stack[first:]:
            pop_mode()
        for other in (m for m in stack[first:] if not getattr(m, "ended", False)):
            push_mode(other)

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
            for hooks in (net._forward_hooks, net._forward_pre_hooks):
                extra = (net._forward_hooks_always_called, net._forward_pre_hooks_with_kwargs)
                _drop(self if net is self._net else _no_hook, hooks, *extra)


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
    undo.callback(lambda: _drop(written, parameter._post_accumulate_grad_hooks or {}))
    parameter.register_post_accumulate_grad_hook(written)


class _OptimizerHooks(UserDict[int, Any]):
    """Takes the place of one of torch's two dicts of hooks on all optimizers, while we record.

    torch walks over its dict at every step of any thread, and raises if another thread adds a hook
    meanwhile. Whoever walks over this one gets a list of his own. What others add goes to torch's.
    """

    def __init__(self, name: str) -> None:
        self.data, self._name = getattr(_OPTIMIZER, name), name
        self._ours: dict[Callable[..., None], None] = {}

    def values(self) -> Any:
        return [*self.data.values(), *self._ours]

    def add(self, undo: Undo, hook: Callable[..., None]) -> None:
        undo.callback(lambda: self._change(self._ours.pop, hook))
        self._change(self._ours.setdefault, hook)

    def _change(self, change: Callable[..., None], hook: Callable[..., None]) -> None:
        with _CHANGING:
            change(hook, None)
            setattr(_OPTIMIZER, self._name, self if self._ours else self.data)


_OPTIMIZER = sys.modules["torch.optim.optimizer"]  # torch.optim hides its own submodule
BEFORE_STEP = _OptimizerHooks("_global_optimizer_pre_hooks")
AFTER_STEP = _OptimizerHooks("_global_optimizer_post_hooks")
