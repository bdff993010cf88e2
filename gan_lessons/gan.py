"""A GAN as five plain parts, and the checks that refuse bad input before anything is changed."""

from __future__ import annotations

import cmath
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gan_lessons.losses import bce_with_logits

Loss = Callable[[Tensor, Tensor], Tensor]


class StepLosses(NamedTuple):
    """What one training step returns: two detached 0-d tensors, in nats with the default loss.

    Both were computed before the weights that they move were changed.
    """

    d_loss: Tensor
    g_loss: Tensor


class ShapedModule(nn.Module):
    """A net that knows the shapes of one sample at its input and output (no batch dimension).

    `Gan` reads them, so that a wrong shape is refused before any BatchNorm buffer moves.
    """

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int]) -> None:
        super().__init__()
        for shape in (in_shape, out_shape):
            if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
                raise ValueError(
                    f"the shape of one sample must be whole numbers of at least 1, got {shape}"
                )
        self.in_shape = tuple(in_shape)
        self.out_shape = tuple(out_shape)


@dataclass(eq=False)
class Gan:
    """Two nets, their optimizers and a loss: all that a training step needs.

    generator:     any nn.Module, noise (batch, ...) -> fake (batch, ...)
    discriminator: any nn.Module, sample (batch, ...) -> prediction, usually (batch, 1)
    optimizer_g:   holds the generator's parameters; optimizer_d the discriminator's
    loss:          loss(prediction, target) -> 0-d mean over the batch. The default, `nn.BCELoss`,
                   expects probabilities; use `losses.bce_with_logits` for a net that ends in logits

    Raises TypeError or ValueError where the parts do not fit together.
    """

    generator: nn.Module
    discriminator: nn.Module
    optimizer_g: Optimizer
    optimizer_d: Optimizer
    loss: Loss = field(default_factory=nn.BCELoss)

    def __post_init__(self) -> None:
        for name, kind in _EXPECTED_TYPES.items():
            _require_type(name, getattr(self, name), kind)
        if not callable(self.loss):
            raise TypeError(f"loss must be callable, got {type(self.loss).__name__}")
        self._weight_g = _first_parameter("generator", self.generator)
        self._weight_d = _first_parameter("discriminator", self.discriminator)
        self._check_optimizers()
        self._check_fit()
        self._check_loss()

    @classmethod
    def with_adam(
        cls, generator: nn.Module, discriminator: nn.Module, loss: Loss, lr: float = 2e-4
    ) -> Gan:
        """The usual optimizers of GAN papers: Adam with betas (0.5, 0.999) for both players."""
        opt_g, opt_d = (
            Adam(net.parameters(), lr, betas=(0.5, 0.999)) for net in (generator, discriminator)
        )
        return cls(generator, discriminator, opt_g, opt_d, loss)

    @property
    def parts(self) -> tuple[nn.Module, nn.Module, Optimizer, Optimizer, Loss]:
        """For one line at the top of a step: G, D, opt_g, opt_d, loss = gan.parts."""
        return self.generator, self.discriminator, self.optimizer_g, self.optimizer_d, self.loss

    @property
    def nets(self) -> dict[str, nn.Module]:
        """By the names that the lessons use: record(gan.nets, gan.optimizers)."""
        return {"G": self.generator, "D": self.discriminator}

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """By the same names as `nets`."""
        return {"G": self.optimizer_g, "D": self.optimizer_d}

    def check(self, real: Tensor, noise: Tensor) -> None:
        """Refuse a batch that cannot be trained on. Changes nothing.

        real: (batch, ...), noise: (batch, ...), both on the device and of the dtype of the nets.
        Raises TypeError for what is not a tensor, ValueError for an empty batch, batch sizes that
        differ, NaN or infinite values, a foreign device or dtype, and (where the nets know their
        shapes, as ours do) a wrong shape. On a GPU it waits for `real` and `noise`, once.
        """
        _check_batch("real", real, "discriminator", self.discriminator, self._weight_d)
        _check_batch("noise", noise, "generator", self.generator, self._weight_g)
        if real.shape[0] != noise.shape[0]:
            raise ValueError(
                f"real and noise must have the same batch size, got {real.shape[0]} and "
                f"{noise.shape[0]}; draw the noise with len(real) rows"
            )
        if real.is_meta:  # no values to look at
            return
        # One sum is cheap, and not finite if any value is not. A sum can overflow though:
        # look closely before refusing.
        if not cmath.isfinite((real.sum() + noise.sum()).item()):
            require_finite("real", real)
            require_finite("noise", noise)

    def _check_optimizers(self) -> None:
        nets = {"g": _ids(self.generator.parameters()), "d": _ids(self.discriminator.parameters())}
        held = {"g": _ids(_held(self.optimizer_g)), "d": _ids(_held(self.optimizer_d))}
        full = {"g": "generator", "d": "discriminator"}
        for me, other in (("g", "d"), ("d", "g")):
            if held[me] & nets[me]:
                continue
            if held[me] & nets[other]:
                raise ValueError(
                    f"optimizer_{me} holds parameters of the {full[other]} and none of the "
                    f"{full[me]}; were optimizer_g and optimizer_d swapped?"
                )
            raise ValueError(
                f"optimizer_{me} holds none of the {full[me]}'s parameters; build it from "
                f"{full[me]}.parameters() of the very net that you pass"
            )
        if held["g"] & held["d"]:
            raise ValueError(
                f"{len(held['g'] & held['d'])} parameters are held by both optimizers; one .grad "
                "cannot serve two players, so give each optimizer its own parameters"
            )
        for name in ("optimizer_g", "optimizer_d"):
            closure = inspect.signature(type(getattr(self, name)).step).parameters.get("closure")
            if closure is not None and closure.default is closure.empty:
                raise ValueError(
                    f"{name} is {type(getattr(self, name)).__name__}, whose step() must be given "
                    "the loss again; use one that steps on the gradients alone, such as Adam"
                )

    def _check_fit(self) -> None:
        for what in ("device", "dtype"):
            g, d = (
                {str(getattr(p, what)) for p in net.parameters()}
                for net in (self.generator, self.discriminator)
            )
            if g != d:
                raise ValueError(
                    f"generator and discriminator must share one {what}, got {', '.join(sorted(g))}"
                    f" and {', '.join(sorted(d))}; move one with .to(...) before the optimizers"
                    " are built"
                )
        made = getattr(self.generator, "out_shape", None)
        seen = getattr(self.discriminator, "in_shape", None)
        if _shaped(self.generator) and _shaped(self.discriminator) and made != seen:
            raise ValueError(
                f"generator makes samples of shape {made}, discriminator expects {seen}; "
                "give both the same sample shape"
            )

    def _check_loss(self) -> None:
        with torch.enable_grad():
            prediction = self._weight_d.new_full((2, 1), 0.5).requires_grad_()
            value = self.loss(prediction, torch.ones_like(prediction))
        if not isinstance(value, Tensor):
            raise TypeError(f"loss must return a tensor, got {type(value).__name__}")
        if value.ndim != 0:
            raise ValueError(
                f"loss must return one number (a 0-d tensor) per batch, got shape "
                f"{tuple(value.shape)}; use reduction='mean'"
            )
        if not value.requires_grad:
            raise ValueError("loss returns a tensor without grad_fn; do not detach it")
        logits = (
            getattr(self.discriminator, "logits", None) if _shaped(self.discriminator) else None
        )
        wants_probabilities = isinstance(self.loss, nn.BCELoss)
        wants_logits = self.loss is bce_with_logits or isinstance(self.loss, nn.BCEWithLogitsLoss)
        if (logits is True and wants_probabilities) or (logits is False and wants_logits):
            made, wanted = ("logits", "probabilities") if logits else ("probabilities", "logits")
            raise ValueError(
                f"the discriminator returns {made}, the loss expects {wanted}; use "
                f"{'losses.bce_with_logits' if logits else 'nn.BCELoss()'} or build the "
                f"discriminator with logits={not logits}"
            )


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device`; afterwards they are where they were.

    Not by torch.manual_seed, which would reseed every GPU for good.
    """
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield


_EXPECTED_TYPES: dict[str, type] = {
    "generator": nn.Module,
    "discriminator": nn.Module,
    "optimizer_g": Optimizer,
    "optimizer_d": Optimizer,
}


def require_finite(name: str, batch: Tensor) -> None:
    """Raise ValueError, with the first place, if `batch` holds NaN or an infinite value."""
    wrong = ~batch.isfinite()
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"{name} holds {int(wrong.sum())} values that are NaN or infinite, the first at index "
            f"{place}; clean the data before training"
        )


def _require_type(name: str, value: Any, kind: type) -> None:
    if isinstance(value, kind):
        return
    hint = "; pass an instance, not the class" if isinstance(value, type) else ""
    got = value.__name__ if isinstance(value, type) else type(value).__name__
    raise TypeError(f"{name} must be a {kind.__module__}.{kind.__name__}, got {got}{hint}")


def _first_parameter(name: str, net: nn.Module) -> nn.Parameter:
    parameter = next(net.parameters(), None)
    if parameter is None:
        raise ValueError(f"{name} has no parameters, so there is nothing to train")
    return parameter


def _check_batch(
    name: str, batch: Tensor, net_name: str, net: nn.Module, parameter: nn.Parameter
) -> None:
    if not isinstance(batch, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(batch).__name__}")
    shape = tuple(batch.shape)
    if not shape or shape[0] == 0:
        raise ValueError(f"{name} must hold at least one sample, (batch, ...), got shape {shape}")
    if isinstance(net, ShapedModule) and shape[1:] != net.in_shape:
        wanted = ", ".join(map(str, ("batch", *net.in_shape)))
        raise ValueError(f"{name} has shape {shape}, the {net_name} expects ({wanted})")
    if batch.device != parameter.device:
        raise ValueError(
            f"{name} is on {batch.device}, the {net_name} on {parameter.device}; "
            f"call {name}.to({str(parameter.device)!r})"
        )
    if batch.dtype != parameter.dtype and not _looks_up(net, batch):
        raise ValueError(
            f"{name} is {batch.dtype}, the {net_name} {parameter.dtype}; "
            f"call {name}.to({parameter.dtype})"
        )


def _looks_up(net: nn.Module, batch: Tensor) -> bool:
    """Whole numbers are right for a net that looks them up in a table."""
    tables = (nn.Embedding, nn.EmbeddingBag)
    return not batch.is_floating_point() and any(isinstance(m, tables) for m in net.modules())


def _shaped(net: nn.Module) -> bool:
    return isinstance(net, ShapedModule)


def _held(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _ids(tensors: Any) -> set[int]:
    return {id(t) for t in tensors}
