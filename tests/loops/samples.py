"""What a player made is drawn, and the draw hands no gradient on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import mse_loss

from .kit import It, draw, loop, mlp, real, sgd
from .right import step

Codes = Callable[[Tensor], Tensor]


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


def with_its_divergence(it: It, i: int, enc: Codes, dec: Codes, drawn: bool) -> Tensor:
    """A variational autoencoder by ``torch.distributions``."""
    mean, log_std = enc(real(i)).chunk(2, 1)
    code = Normal(mean, log_std.exp())
    torch.manual_seed(i)
    z = code.sample() if drawn else code.rsample()
    kl = kl_divergence(code, Normal(torch.zeros_like(mean), torch.ones_like(mean))).mean()
    return mse_loss(dec(z), real(i)) + 0.1 * kl


def by_two_nets(it: It, who: str, i: int, drawn: bool = False) -> Tensor:
    enc, dec = it.nets.values()
    return with_its_divergence(it, i, enc, dec, drawn)


@loop(
    ("cut-off", "enc"),
    build=autoencoder,
    intended=by_two_nets,
    says="a draw in `z = .*code.sample\\(\\).* hands no gradient on to enc",
    advice="Draw it by rsample\\(\\)",
)
def a_code_that_is_sampled_without_a_gradient(it: It, i: int) -> None:
    step(it, "opt", by_two_nets(it, "opt", i, drawn=not it.fixed))


def in_one_module(fixed: bool) -> It:
    net = nn.ModuleDict({"enc": mlp(2, 4), "dec": mlp(2, 2)})
    return It(fixed=fixed, nets={"vae": net}, optimizers={"opt": sgd(net)})


def by_one_module(it: It, who: str, i: int, drawn: bool = False) -> Tensor:
    return with_its_divergence(it, i, it.nets["vae"]["enc"], it.nets["vae"]["dec"], drawn)


@loop(
    ("cut-off", "vae"),
    build=in_one_module,
    intended=by_one_module,
    says="a draw in `z = .*code.sample\\(\\).* hands no gradient on to vae",
    advice="Draw it by rsample\\(\\)",
)
def a_code_that_is_sampled_inside_one_module(it: It, i: int) -> None:
    step(it, "opt", by_one_module(it, "opt", i, drawn=not it.fixed))


@loop(build=in_one_module, intended=by_one_module)
def a_code_that_is_drawn_with_its_gradient(it: It, i: int) -> None:
    step(it, "opt", by_one_module(it, "opt", i))


def imitated(it: It, who: str, i: int) -> Tensor:
    """One backward for two nets that have nothing to tell each other: a policy that imitates, and a
    model of the world that learns what comes of its actions."""
    policy, model = it.nets.values()
    mean, log_std = policy(draw(i)).chunk(2, 1)
    actions = Normal(mean, log_std.exp())
    torch.manual_seed(i)
    found = model(torch.cat([draw(i), actions.sample()], 1))
    return mse_loss(found, draw(i, 1.0)[:, :1]) - actions.log_prob(draw(i, 3.0)[:, :1]).mean()


def policy_and_model(fixed: bool) -> It:
    nets = {"policy": mlp(2, 2), "model": mlp(3, 1)}
    return It(fixed=fixed, nets=nets, optimizers={"both": sgd(*nets.values())})


@loop(build=policy_and_model, intended=imitated)
def an_action_that_a_model_of_the_world_learns_from(it: It, i: int) -> None:
    step(it, "both", imitated(it, "both", i))


def scored(it: It, who: str, i: int) -> Tensor:
    """Its score (REINFORCE) hands on what the draw itself does not, beside a divergence."""
    enc, dec = it.nets.values()
    mean, log_std = enc(real(i)).chunk(2, 1)
    code = Normal(mean, log_std.exp())
    torch.manual_seed(i)
    z = code.sample()
    missed = (dec(z) - real(i)).square().mean(1, keepdim=True)
    kl = kl_divergence(code, Normal(torch.zeros_like(mean), torch.ones_like(mean))).mean()
    return missed.mean() + (code.log_prob(z) * missed.detach()).mean() + 0.1 * kl


@loop(build=autoencoder, intended=scored)
def a_code_whose_draw_is_scored(it: It, i: int) -> None:
    step(it, "opt", scored(it, "opt", i))
