"""A training step, the arguments that it has, and the nets that it trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from gan_lessons.arguments import refuse, require, require_callable, why_not
from gan_lessons.gan import Gan
from gan_lessons.lens.record.recording import check_names


@dataclass(frozen=True)
class StepCall:
    """``step(*args)``, and by name what it trains: the things themselves, no copies."""

    step: Callable[..., Any]
    args: tuple[Any, ...]
    nets: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    def __call__(self) -> Any:
        return self.step(*self.args)

    @property
    def name(self) -> str:
        return getattr(self.step, "__name__", type(self.step).__name__)

    @property
    def device(self) -> torch.device:
        """Of the first parameter; the CPU where there is none."""
        found = (p.device for net in self.nets.values() for p in net.parameters())
        return next(found, torch.device("cpu"))


def of_gan(step: Callable[..., Any], gan: Gan, real: Any, noise: Any) -> StepCall:
    """``step(gan, real, noise)``."""
    return StepCall(step, (gan, real, noise), gan.nets, gan.optimizers)


def is_own_call(args: Any, nets: Any, optimizers: Any) -> bool:
    """Was a step given with arguments and nets of its own, in place of a Gan and a batch?"""
    return not (args is None and nets is None and optimizers is None)


def step_call(
    function: str, step: Any, gan_and_batch: tuple[Any, Any, Any], args: Any, nets: Any, opts: Any
) -> StepCall:
    """The call that was asked for, in one form or the other, once it is known to fit.

    function: whose arguments they are, for what is said. gan_and_batch: gan, real and noise.
    Raises TypeError, ValueError for what is no step, no Gan, no nets, or does not fit the step.
    """
    require_callable(function, "a function that runs one training step", step=step)
    if not is_own_call(args, nets, opts):
        gan = gan_and_batch[0]
        require(
            function, Gan, "a Gan, such as tiny_gan(), or nets=, optimizers= and args=", gan=gan
        )
        call = of_gan(step, *gan_and_batch)
    else:
        if any(part is not None for part in gan_and_batch):
            raise TypeError(BOTH.format(function=function))
        check_names(nets, {} if opts is None else opts, function)
        args = () if args is None else args
        if isinstance(args, (str, bytes)) or not isinstance(args, Sequence):
            raise refuse(function, "args", args, "a tuple of what the step takes, such as (batch,)")
        call = StepCall(step, tuple(args), nets, {} if opts is None else opts)
    _check_fit(function, call)
    return call


BOTH = (
    "{function}() got a Gan or a batch, and args=, nets= or optimizers= too; give gan, real and "
    "noise for step(gan, real, noise), or nets=, optimizers= and args= for any other step"
)
DOES_NOT_FIT = (
    "{function}() cannot call {step}{signature} with ({given}): {why}. Give what the step takes as "
    "args=(...), and what it trains as nets={{...}} and optimizers={{...}}"
)


def _check_fit(function: str, call: StepCall) -> None:
    if not (why := why_not(call.step, call.args)):
        return
    given = ", ".join(type(arg).__name__ for arg in call.args)
    signature = inspect.signature(call.step)
    raise TypeError(
        DOES_NOT_FIT.format(
            function=function, step=call.name, signature=signature, given=given, why=why
        )
    )
