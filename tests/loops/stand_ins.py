"""Something stands in for a parameter: a tensor that a net ran with, a number; right loops, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss, normalize

from .kit import It, loop, mlp, noise, real, sgd
from .right import step


def learner(fixed: bool) -> It:
    net = mlp(2, 2)
    return It(fixed=fixed, nets={"net": net}, optimizers={"meta": sgd(net)})


def adapted(it: It, who: str, i: int, cut: bool = False) -> Tensor:
    """What a net is worth after a step of its own on another task (MAML)."""
    net = it.nets["net"]
    params = dict(net.named_parameters())
    inner = mse_loss(functional_call(net, params, (noise(i),)), real(i))
    slopes = torch.autograd.grad(inner, list(params.values()), create_graph=not cut)
    for (name, p), slope in zip(params.items(), slopes, strict=True):
        moved = p - 0.1 * slope
        params[name] = moved.detach().requires_grad_() if cut else moved
    return mse_loss(functional_call(net, params, (noise(i + 9),)), real(i + 9))


@loop(
    ("cut-off", "net"),
    build=learner,
    intended=adapted,
    says="net ran with other tensors in place of its parameters, which detach\\(\\) had cut off "
    "from those in `params",
    advice="Make these tensors of the parameters of net with their graph: without detach",
)
def fast_weights_that_are_made_leaves(it: It, i: int) -> None:
    step(it, "meta", adapted(it, "meta", i, cut=not it.fixed))


@loop(build=learner, intended=adapted)
def fast_weights_with_their_graph(it: It, i: int) -> None:
    step(it, "meta", adapted(it, "meta", i))


class Pairs(nn.Module):
    """Two nets whose outputs are to be near each other, by a temperature that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = mlp(2, 4), mlp(2, 4)
        self.heat = nn.Parameter(torch.ones(()))

    def forward(self, i: int) -> tuple[Tensor, Tensor]:
        return normalize(self.image(noise(i)), dim=1), normalize(self.text(real(i)), dim=1)


def paired(fixed: bool) -> It:
    net = Pairs()
    return It(fixed=fixed, nets={"net": net}, optimizers={"opt": sgd(net)})


def contrast(it: It, who: str, i: int, as_number: bool = False) -> Tensor:
    net = it.nets["net"]
    one, two = net(i)
    heat = net.heat.exp().item() if as_number else net.heat.exp()
    return cross_entropy(heat * one @ two.t(), torch.arange(8))


@loop(
    ("cut-off", "net"),
    build=paired,
    intended=contrast,
    says="reached heat of net, .* .item\\(\\) in `heat = .* makes a Python number of it",
    advice="Leave out .item\\(\\) there",
)
def a_temperature_that_the_loss_reads_as_a_number(it: It, i: int) -> None:
    step(it, "opt", contrast(it, "opt", i, as_number=not it.fixed))


@loop(build=paired, intended=contrast)
def a_temperature_that_is_printed_and_computed_with(it: It, i: int) -> None:
    step(it, "opt", contrast(it, "opt", i))
    it.kept = [it.nets["net"].heat.exp().item()]


def without_heat(it: It, who: str, i: int) -> Tensor:
    one, two = it.nets["net"](i)
    return cross_entropy(one @ two.t(), torch.arange(8))


@loop(build=paired, intended=without_heat)
def a_temperature_that_is_only_printed(it: It, i: int) -> None:
    """It is held by the optimizer, and this phase does without it: that is noted, and no more."""
    step(it, "opt", without_heat(it, "opt", i))
    it.kept = [it.nets["net"].heat.exp().item()]
