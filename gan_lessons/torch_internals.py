"""All that this package knows of torch's insides, in one place: each private name with a line why.

Public torch says neither what a graph still holds, nor when a backward call begins, nor who calls
``zero_grad``. When a new version of torch breaks the record, this is the file to look at.
``published`` alone has another, on purpose: there it is shown what that name does.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection, Iterable
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.utils import _python_dispatch as dispatch
from torch.utils._device import DeviceContext as DeviceContext  # of ``with torch.device(...)``

from gan_lessons.torch_version import require_torch

require_torch(torch.__version__)

# Torch functions off: what we look at must not come back to our own mode, or to somebody else's.
without_torch_functions = torch._C.DisableTorchFunction
# One function leads into the engine, however `backward` or `grad` was imported.
ENGINE = (torch.autograd, "_engine_run_backward")
CLIPS = (torch.nn.utils.clip_grad, "_clip_grads_with_norm_")  # however it was imported
# What runs a part of a net without a graph, to run it again in the backward (use_reentrant=True).
CHECKPOINTS = (torch.utils.checkpoint.CheckpointFunction, "apply")
# Number of the backward that this thread of the engine works for, -1 for none.
graph_task = torch._C._current_graph_task_id
# The 2-norms of tensors of one device and dtype in one call, which is faster.
norms = torch._foreach_norm
# This thread's stack of TorchFunctionModes; only their ``with`` block is public.
function_modes = torch.overrides._get_current_function_mode_stack
pop_mode, push_mode = torch.overrides._pop_mode, torch.overrides._push_mode
# The same of its TorchDispatchModes, which stand below, and see what a backward calls.
TorchDispatchMode = dispatch.TorchDispatchMode
dispatch_modes, pop_dispatch_mode = dispatch._get_current_dispatch_mode_stack, dispatch._pop_mode
# By these names torch.compile is told that one of them is on.
_FLAGS = [k for k, v in vars(dispatch).items() if k.startswith("_is_in") and v in (0, 1)]
# Under this name a module keeps its parts; for who reads attributes and runs no code.
PARTS = "_modules"
# How a TorchFunctionMode is told that an attribute is read or written.
READS_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]
FREEZES = torch.Tensor.requires_grad.__set__  # type: ignore[attr-defined]
READS_GRAD = torch.Tensor.grad.__get__  # type: ignore[union-attr]
WRITES_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]


def is_compiler_at_work() -> bool:
    """Is torch.compile tracing at this moment? It calls autograd for purposes of its own."""
    return torch._guards.TracingContext.try_get() is not None


def is_compiler_loaded() -> bool:
    """Before that nobody compiles."""
    return "torch._dynamo" in sys.modules


def dispatch_flags() -> dict[str, Any]:
    """What torch.compile is told of dispatch modes at this moment."""
    return {name: getattr(dispatch, name) for name in _FLAGS}


def put_back_dispatch_flags(flags: dict[str, Any]) -> None:
    vars(dispatch).update(flags)


def packet_of(operation: Any) -> Any:
    """The operation without its overload: ``aten.add`` of ``aten.add.Tensor``."""
    return operation._overloadpacket


@functools.cache  # there are as many as torch has operations, which it keeps itself
def is_one_kernel(operation: Any) -> bool:
    """An operation that is not made of others, which might be counted."""
    return isinstance(operation, torch._ops.OpOverload) and not operation._can_decompose()


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


def is_capturing(tensor: Tensor) -> bool:
    """Can no number of it be read, because a CUDA graph is captured?"""
    return bool(tensor.is_cuda and torch.cuda.is_current_stream_capturing())


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


def sparse_parts(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Places and values of a COO tensor; public names want one in which each place is once."""
    return tensor._indices(), tensor._values()


# Modules ------------------------------------------------------------------------------------------


def backward_hooks(of: nn.Module | Tensor) -> int:
    """How many hooks may change the gradient that comes here."""
    return len(of._backward_hooks or ()) + len(getattr(of, "_backward_pre_hooks", ()))


def forward_hooks(net: nn.Module) -> list[tuple[dict[int, Any], ...]]:
    """Where a net keeps its hooks: those after a forward, those before, each with what goes by
    the same numbers."""
    also = net._forward_hooks_always_called, net._forward_pre_hooks_with_kwargs
    return [(net._forward_hooks, *also), (net._forward_pre_hooks, *also)]


def pre_hooks(net: nn.Module) -> dict[int, Any]:
    """Those that run before its forward, by their numbers."""
    return net._forward_pre_hooks


def gradient_hooks(parameter: Any) -> dict[int, Any]:
    """Where a parameter keeps the hooks that run when its ``.grad`` was written."""
    return parameter._post_accumulate_grad_hooks or {}


# torch.optim hides its own submodule. Under these names it has the hooks on all optimizers.
OPTIMIZER = sys.modules["torch.optim.optimizer"]
OPTIMIZER_HOOKS = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")


def buffers_of(module: nn.Module) -> dict[str, Tensor | None]:
    """Its own, to read and to write."""
    return module._buffers


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor | None]]:
    """Names and tensors of its own: a tied one under each of its names."""
    return [*module._parameters.items(), *module._buffers.items()]


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Of one whose class forgot ``super().__init__()``, which a traceback may keep alive: none."""
    found: dict[str, nn.Parameter | None] = vars(module).get("_parameters", {})
    return found


def parts_of(module: nn.Module) -> Collection[nn.Module | None]:
    """As ``children()``, in half its time."""
    return module._modules.values()


def compiled_from(module: Any) -> nn.Module | None:
    """The module that torch.compile was given for this one; None for one that it did not make."""
    is_compiled = type(module).__name__ == "OptimizedModule"
    return module._orig_mod if is_compiled else None


def is_compiled(module: nn.Module) -> bool:
    """By torch.compile, or by its own ``compile()``."""
    return module._compiled_call_impl is not None or hasattr(module, "_orig_mod")


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


SAVED = "_saved_"  # so the names begin under which a node keeps what backward needs


@functools.cache
def saved_attributes(kind: Any) -> dict[str, None]:
    """Names under which nodes of this kind keep what they saved; told without reading any."""
    return dict.fromkeys(n for n in dir(kind) if n.startswith(SAVED) and "_sym_" not in n)


def function_class(node: Any) -> type | None:
    """The ``autograd.Function`` whose node it is; None for torch's own kinds."""
    return getattr(type(node), "_forward_cls", None)
