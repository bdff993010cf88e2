"""A net that runs in a checkpoint, which builds no graph; right ones that do, or need none."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

from .kit import It, loop, mlp, noise, real, sgd
from .right import step

SOURCE = "https://github.com/locuslab/open-unlearning/issues/178"


def adapted(fixed: bool) -> It:
    """An adapter that learns, behind what stands still; and a head."""
    nets = {"adapter": mlp(2, 3), "head": mlp(3, 2)}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(*nets.values())})


def of_both(it: It, who: str, i: int) -> Tensor:
    return mse_loss(it.nets["head"](it.nets["adapter"](noise(i))), real(i))


def in_checkpoint(it: It, x: Tensor, reentrant: bool) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that no gradient will come
        made: Tensor = checkpoint(it.nets["adapter"], x, use_reentrant=reentrant)
    return made


@loop(
    ("cut-off", "adapter"),
    build=adapted,
    intended=of_both,
    says="they ran in a checkpoint in `made: .* no input of it wanted a gradient",
    advice="^Give it use_reentrant=False",
    source=SOURCE,
)
def a_checkpoint_of_what_wants_no_gradient(it: It, i: int) -> None:
    made = in_checkpoint(it, noise(i), reentrant=not it.fixed)
    step(it, "opt", mse_loss(it.nets["head"](made), real(i)))


@loop(build=adapted, intended=of_both)
def a_checkpoint_of_what_wants_a_gradient(it: It, i: int) -> None:
    made = in_checkpoint(it, noise(i).requires_grad_(), reentrant=True)
    step(it, "opt", mse_loss(it.nets["head"](made), real(i)))


def with_a_frozen_trunk(fixed: bool) -> It:
    it = adapted(fixed)
    it.nets["adapter"].requires_grad_(False)
    return it


@loop(build=with_a_frozen_trunk, intended=None)
def a_checkpoint_of_a_frozen_trunk(it: It, i: int) -> None:
    """It saves nothing, and harms nobody."""
    made = in_checkpoint(it, noise(i), reentrant=True)
    step(it, "opt", mse_loss(it.nets["head"](made), real(i)))


@loop(build=adapted, intended=of_both)
def a_checkpoint_in_an_evaluation(it: It, i: int) -> None:
    step(it, "opt", of_both(it, "opt", i))
    with torch.no_grad():
        it.nets["head"](in_checkpoint(it, noise(i), reentrant=True)).mean().item()
