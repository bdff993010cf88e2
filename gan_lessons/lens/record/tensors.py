"""What torch tells of tensors, nodes and optimizers, where asking needs some care."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


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


def held_parameters(optimizer: Optimizer) -> set[Tensor]:
    """All that its groups hold now: groups may be added while it lives."""
    return {p for group in optimizer.param_groups for p in group["params"]}


def version_of(tensor: Tensor) -> int:
    """How often it was changed in place; 0 for those that do not count (inference, lazy)."""
    uncounted = nn.parameter.is_lazy(tensor) or tensor.is_inference()
    return 0 if uncounted else tensor._version


def shape_of(parameter: Tensor) -> tuple[int, ...]:
    """() for a lazy parameter that has no shape yet."""
    return () if nn.parameter.is_lazy(parameter) else tuple(parameter.shape)


def batchnorm_updates(net: nn.Module) -> int:
    """How often a BatchNorm of this net has updated its running statistics: the most of any."""
    counters = [
        m.num_batches_tracked
        for m in net.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.num_batches_tracked is not None
    ]
    return max((int(count) for count in counters if not count.is_meta), default=0)
