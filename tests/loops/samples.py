"""What a player made is drawn, and the draw hands no gradient on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import mse_loss

from .kit import It, draw, loop, mlp, real, sgd
from .right import step


def actor_and_critic(fixed: bool) -> It:
    nets = {"actor": mlp(2, 2), "critic": mlp(3, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


def soft(it: It, who: str, i: int, drawn: bool = False) -> Tensor:
    """The critic learns the worth of other actions; the actor follows it, and its entropy."""
    actor, critic = it.nets.values()
    if who == "critic":
        return mse_loss(critic(torch.cat([draw(i), draw(i, 1.0)[:, :1]], 1)), draw(i, 3.0)[:, :1])
    mean, log_std = actor(draw(i)).chunk(2, 1)
    policy = Normal(mean, log_std.exp())
    torch.manual_seed(i)
    action = policy.sample() if drawn else policy.rsample()
    worth = critic(torch.cat([draw(i), action], 1))
    return (0.2 * policy.log_prob(action) - worth).mean()


@loop(
    ("cut-off", "actor"),
    build=actor_and_critic,
    intended=soft,
    says="the term that comes from critic is a constant for actor. .*policy.sample\\(\\)",
    advice="Draw it by rsample\\(\\)",
)
def an_action_that_is_sampled_without_a_gradient(it: It, i: int) -> None:
    for who in it.optimizers:
        step(it, who, soft(it, who, i, drawn=not it.fixed))


@loop(build=actor_and_critic, intended=soft)
def an_action_that_is_sampled_with_its_gradient(it: It, i: int) -> None:
    for who in it.optimizers:
        step(it, who, soft(it, who, i))


@loop(build=actor_and_critic, intended=None)
def an_action_that_is_scored(it: It, i: int) -> None:
    """REINFORCE: the log-probability of the draw, weighed by its worth as a number."""
    actor, critic = it.nets.values()
    step(it, "critic", soft(it, "critic", i))
    mean, log_std = actor(draw(i)).chunk(2, 1)
    policy = Normal(mean, log_std.exp())
    action = policy.sample()
    with torch.no_grad():
        worth = critic(torch.cat([draw(i), action], 1))
    step(it, "actor", -(policy.log_prob(action) * worth).mean())


def autoencoder(fixed: bool) -> It:
    nets = {"enc": mlp(2, 4), "dec": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(*nets.values())})


def variational(it: It, who: str, i: int, drawn: bool = False) -> Tensor:
    enc, dec = it.nets.values()
    mean, log_variance = enc(real(i)).chunk(2, 1)
    std = (log_variance / 2).exp()
    torch.manual_seed(i)
    code = torch.normal(mean, std) if drawn else mean + std * torch.randn_like(std)
    divergence = (mean.square() + log_variance.exp() - log_variance).mean()
    return mse_loss(dec(code), real(i)) + divergence


@loop(
    ("flat", "enc"),
    build=autoencoder,
    intended=variational,
    says="a term comes from enc through normal\\(\\) in `code = .* alone, whose slope is zero",
    advice="mean \\+ std \\* torch.randn_like",
)
def a_code_that_torch_draws(it: It, i: int) -> None:
    step(it, "opt", variational(it, "opt", i, drawn=not it.fixed))


@loop(build=autoencoder, intended=variational)
def a_code_that_is_made_of_noise(it: It, i: int) -> None:
    step(it, "opt", variational(it, "opt", i))


@loop(build=actor_and_critic, intended=None)
def a_draw_that_is_scored_with_its_graph(it: It, i: int) -> None:
    """torch.normal hands zeros on; its log-probability in another term is what teaches."""
    actor, critic = it.nets.values()
    step(it, "critic", soft(it, "critic", i))
    mean, log_std = actor(draw(i)).chunk(2, 1)
    action = torch.normal(mean, log_std.exp())
    worth = critic(torch.cat([draw(i), action], 1))
    score = (Normal(mean, log_std.exp()).log_prob(action) * worth.detach()).mean()
    step(it, "actor", -(score + worth.mean()))
