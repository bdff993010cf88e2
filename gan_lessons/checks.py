"""What is refused: parts of a GAN that do not fit together, and batches that cannot be trained on.

Every check says what came, what was expected and what to do. None changes anything.
"""

from __future__ import annotations

import cmath
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons.losses import bce_with_logits
from gan_lessons.models import ShapedModule

Loss = Callable[[Tensor, Tensor], Tensor]


# The parts of a GAN -------------------------------------------------------------------------------


def check_types(G: Any, D: Any, opt_g: Any, opt_d: Any, loss: Any) -> None:
    """Raise TypeError unless these are two nets, two optimizers and something to call."""
    parts = {"generator": G, "discriminator": D, "optimizer_g": opt_g, "optimizer_d": opt_d}
    kinds = (nn.Module, nn.Module, Optimizer, Optimizer)
    for (name, value), kind in zip(parts.items(), kinds, strict=True):
        if isinstance(value, kind):
            continue
        said = "{name} must be a {kind}, got {got}"
        if isinstance(value, type):
            said = "{name} must be a {kind}, got {got}; pass an instance, not the class"
        got = (value if isinstance(value, type) else type(value)).__name__
        full_kind = f"{kind.__module__}.{kind.__name__}"
        raise TypeError(said.format(name=name, kind=full_kind, got=got))
    if not callable(loss) or isinstance(loss, type):
        got = loss.__name__ if isinstance(loss, type) else type(loss).__name__
        raise TypeError("loss must be callable, such as nn.BCELoss(), got {got}".format(got=got))


def first_parameter(name: str, net: nn.Module) -> nn.Parameter:
    """The first parameter of `net`. Raises ValueError where there is none."""
    parameter = next(net.parameters(), None)
    if parameter is None:
        raise ValueError("{net} has no parameters, so there is nothing to train".format(net=name))
    return parameter


def check_optimizers(G: nn.Module, D: nn.Module, opt_g: Optimizer, opt_d: Optimizer) -> None:
    """Raise ValueError unless each optimizer moves its own net, alone, by gradients alone."""
    nets = {"g": _ids(G.parameters()), "d": _ids(D.parameters())}
    held = {name: _held(opt) for name, opt in (("g", opt_g), ("d", opt_d))}
    full = {"g": "generator", "d": "discriminator"}
    for me, other in (("g", "d"), ("d", "g")):
        if held[me] & nets[me]:
            continue
        if held[me] & nets[other]:
            raise ValueError(
                "{optimizer} holds parameters of the {other} and none of the {net}; were "
                "optimizer_g and optimizer_d swapped?".format(
                    optimizer=f"optimizer_{me}", net=full[me], other=full[other]
                )
            )
        raise ValueError(
            "{optimizer} holds none of the {net}'s parameters; build it from {net}.parameters() of "
            "the very net that you pass".format(optimizer=f"optimizer_{me}", net=full[me])
        )
    if shared := len(held["g"] & held["d"]):
        raise ValueError(
            "{n} parameters are held by both optimizers; one .grad cannot serve two players, so "
            "give each optimizer its own parameters".format(n=shared)
        )
    for name, optimizer in (("optimizer_g", opt_g), ("optimizer_d", opt_d)):
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            raise ValueError(
                "{name} is {kind}, whose step() must be given the loss again; use one that steps "
                "on the gradients alone, such as Adam".format(
                    name=name, kind=type(optimizer).__name__
                )
            )


def check_nets(G: nn.Module, D: nn.Module) -> None:
    """Raise ValueError unless both nets share device, dtype and (where known) sample shape."""
    for what in ("device", "dtype"):
        g, d = ({str(getattr(p, what)) for p in net.parameters()} for net in (G, D))
        if g != d:
            raise ValueError(
                "generator and discriminator must share one {what}, got {g} and {d}; move one with "
                ".to(...) before the optimizers are built".format(
                    what=what, g=", ".join(sorted(g)), d=", ".join(sorted(d))
                )
            )
    if isinstance(G, ShapedModule) and isinstance(D, ShapedModule) and G.out_shape != D.in_shape:
        raise ValueError(
            "generator makes samples of shape {made}, discriminator expects {expected}; give both "
            "the same sample shape".format(made=G.out_shape, expected=D.in_shape)
        )


def check_loss(loss: Loss, D: nn.Module, like: Tensor) -> None:
    """Raise TypeError or ValueError unless `loss` gives one differentiable number and fits D.

    like: a tensor of D's device and dtype.
    """
    with torch.enable_grad():
        # not like.new_full: a lazy net's parameter has a device and a dtype, and no more yet
        prediction = torch.full((2, 1), 0.5, device=like.device, dtype=like.dtype).requires_grad_()
        try:
            value = loss(prediction, torch.ones_like(prediction))
        except TypeError as error:
            raise TypeError(
                "loss must take a prediction and a target, (batch, 1) each: {why}".format(why=error)
            ) from error
    if not isinstance(value, Tensor):
        raise TypeError("loss must return a tensor, got {got}".format(got=type(value).__name__))
    if value.ndim != 0:
        raise ValueError(
            "loss must return one number (a 0-d tensor) per batch, got shape {shape}; use "
            "reduction='mean'".format(shape=tuple(value.shape))
        )
    if not value.requires_grad:
        raise ValueError("loss returns a tensor without grad_fn; do not detach it")
    logits = getattr(D, "logits", None) if isinstance(D, ShapedModule) else None
    wants_logits = loss is bce_with_logits or isinstance(loss, nn.BCEWithLogitsLoss)
    if (logits is True and isinstance(loss, nn.BCELoss)) or (logits is False and wants_logits):
        raise ValueError(
            "the discriminator returns logits, the loss expects probabilities; use "
            "losses.bce_with_logits or build the discriminator with logits=False"
            if logits
            else "the discriminator returns probabilities, the loss expects logits; use "
            "nn.BCELoss() or build the discriminator with logits=True"
        )


# A batch ------------------------------------------------------------------------------------------


def check_batch(
    name: str, batch: Tensor, net_name: str, net: nn.Module, parameter: nn.Parameter
) -> None:
    """Raise TypeError or ValueError unless `batch` has samples of a form that suits `net`."""
    if not isinstance(batch, Tensor):
        raise TypeError(
            "{name} must be a tensor, got {got}".format(name=name, got=type(batch).__name__)
        )
    shape = tuple(batch.shape)
    if not shape or shape[0] == 0:
        raise ValueError(
            "{name} must hold at least one sample, (batch, ...), got shape {shape}".format(
                name=name, shape=shape
            )
        )
    if isinstance(net, ShapedModule) and shape[1:] != net.in_shape:
        raise ValueError(
            "{name} has shape {shape}, the {net} expects ({wanted})".format(
                name=name,
                shape=shape,
                net=net_name,
                wanted=", ".join(map(str, ("batch", *net.in_shape))),
            )
        )
    if batch.device != parameter.device:
        raise ValueError(
            "{name} is on {here}, the {net} on {there}; call {name}.to('{there}')".format(
                name=name, net=net_name, here=batch.device, there=parameter.device
            )
        )
    if batch.dtype != parameter.dtype and not _looks_up(net, batch):
        raise ValueError(
            "{name} is {found}, the {net} {wanted}; call {name}.to({wanted})".format(
                name=name, net=net_name, found=batch.dtype, wanted=parameter.dtype
            )
        )


def check_values(real: Tensor, noise: Tensor) -> None:
    """Raise ValueError unless the batches are as long as each other, and every number is finite."""
    if real.shape[0] != noise.shape[0]:
        raise ValueError(
            "real and noise must have the same batch size, got {real} and {noise}; draw the noise "
            "with len(real) rows".format(real=real.shape[0], noise=noise.shape[0])
        )
    if real.is_meta or (real.is_cuda and torch.cuda.is_current_stream_capturing()):
        return  # there are no values to look at
    # One sum is cheap, and not finite if any value is not. A sum can overflow though:
    # look closely before refusing.
    if not cmath.isfinite((real.sum() + noise.sum()).item()):
        check_finite("real", real)
        check_finite("noise", noise)


def check_finite(name: str, batch: Tensor) -> None:
    """Raise ValueError, with the first place, if `batch` holds NaN or an infinite value."""
    wrong = ~batch.isfinite()
    if wrong.any():
        raise ValueError(
            "{name} holds {n} values that are NaN or infinite, the first at index {place}; clean "
            "the data before training".format(
                name=name, n=int(wrong.sum()), place=tuple(wrong.nonzero()[0].tolist())
            )
        )


def _looks_up(net: nn.Module, batch: Tensor) -> bool:
    """Whole numbers are right for a net that looks them up in a table."""
    tables = (nn.Embedding, nn.EmbeddingBag)
    return not batch.is_floating_point() and any(isinstance(m, tables) for m in net.modules())


def _held(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _ids(tensors: Iterable[Tensor]) -> set[int]:
    return {id(t) for t in tensors}
