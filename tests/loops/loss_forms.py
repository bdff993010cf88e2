"""Losses whose form gives the fault away, whatever their numbers; each with right loops like it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import binary_cross_entropy, cross_entropy, mse_loss

from .kit import It, bce, draw, loop, mlp, noise, real, sgd
from .right import step


def probabilities(fixed: bool) -> It:
    """D ends in a sigmoid."""
    G, D = mlp(2, 2), mlp(2, 1, nn.Sigmoid())
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


def of_probabilities(verdict: Tensor, target: float) -> Tensor:
    return binary_cross_entropy(verdict, torch.full_like(verdict, target))


def both(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return of_probabilities(D(fake), 1.0)
    return of_probabilities(D(real(i)), 1.0) + of_probabilities(D(fake.detach()), 0.0)


@loop(
    ("squashed-twice", "D"),
    ("squashed-twice", "G"),
    build=probabilities,
    intended=both,
    says="has been through a sigmoid already",
    advice="BCELoss for BCEWithLogitsLoss",
)
def a_loss_for_logits_on_probabilities(it: It, i: int) -> None:
    G, D = it.nets.values()
    of = of_probabilities if it.fixed else bce
    for who in "DG":
        it.optimizers[who].zero_grad()
        fake = G(noise(i))
        loss = of(D(fake), 1.0) if who == "G" else of(D(real(i)), 1.0) + of(D(fake.detach()), 0.0)
        loss.backward(inputs=list(it.nets[who].parameters()))
        it.optimizers[who].step()


class Gated(nn.Module):
    """A sigmoid inside, and logits at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.body, self.head = nn.Linear(2, 8), nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.gate(x).sigmoid() * self.body(x))
        return out


def gated(fixed: bool) -> It:
    G, D = mlp(2, 2, nn.Sigmoid()), Gated()
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


@loop(build=gated, intended=None)
def sigmoids_that_are_not_at_the_end(it: It, i: int) -> None:
    G, D = it.nets.values()
    for who in "DG":
        it.optimizers[who].zero_grad()
        fake = G(noise(i))
        loss = (
            bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
        )
        loss.backward(inputs=list(it.nets[who].parameters()))
        it.optimizers[who].step()


def actor_and_critic(fixed: bool) -> It:
    policy, value = mlp(2, 3), mlp(2, 1)
    return It(fixed=fixed, nets={"policy": policy, "value": value},
              optimizers={"both": sgd(policy, value)})  # fmt: skip


def losses(it: It, i: int, kept: bool) -> Tensor:
    """Of a policy and of the net that says how good it is. ``kept``: the weight has its graph."""
    policy, value = it.nets.values()
    logits = policy(real(i)).log_softmax(1)
    generator = torch.Generator().manual_seed(i)
    chosen = torch.multinomial(logits.exp(), 1, generator=generator)
    advantage = (chosen == 1).float() - value(real(i))
    weight = advantage if kept else advantage.detach()
    return -(logits.gather(1, chosen) * weight).mean() + advantage.square().mean()


def apart(it: It, who: str, i: int) -> Tensor:
    return losses(it, i, kept=False)


@loop(
    ("polluted", "value"),
    build=actor_and_critic,
    intended=apart,
    says="weighed by what value says in `return -\\(logits",
    advice="Detach the weight",
)
def an_advantage_that_teaches_the_critic(it: It, i: int) -> None:
    it.optimizers["both"].zero_grad()
    losses(it, i, kept=not it.fixed).backward()
    it.optimizers["both"].step()


@loop(build=actor_and_critic, intended=apart)
def an_advantage_that_is_a_number(it: It, i: int) -> None:
    it.optimizers["both"].zero_grad()
    losses(it, i, kept=False).backward()
    it.optimizers["both"].step()


def chosen_before(it: It, i: int, kept: bool) -> Tensor:
    """The same, where the choice was made without gradients, in a rollout."""
    policy, value = it.nets.values()
    with torch.no_grad():
        chances = policy(real(i)).softmax(1)
        generator = torch.Generator().manual_seed(i)
        chosen = torch.multinomial(chances, 1, generator=generator).T.reshape(-1)
    advantage = (chosen == 1).float() - value(real(i)).squeeze(1)
    weight = advantage if kept else advantage.detach()
    said = torch.distributions.Categorical(logits=policy(real(i))).log_prob(chosen)
    return -(said * weight).mean() + advantage.square().mean()


@loop(
    ("polluted", "value"),
    build=actor_and_critic,
    intended=lambda it, who, i: chosen_before(it, i, False),
    says="weighed by what value says in `return -\\(said",
    advice="Detach the weight",
)
def an_advantage_of_a_rollout_that_teaches_the_critic(it: It, i: int) -> None:
    it.optimizers["both"].zero_grad()
    chosen_before(it, i, kept=not it.fixed).backward()
    it.optimizers["both"].step()


@loop(build=actor_and_critic, intended=lambda it, who, i: chosen_before(it, i, False))
def an_advantage_of_a_rollout_that_is_a_number(it: It, i: int) -> None:
    it.optimizers["both"].zero_grad()
    chosen_before(it, i, False).backward()
    it.optimizers["both"].step()


@loop(build=actor_and_critic, intended=None)
def a_weight_that_is_learned(it: It, i: int) -> None:
    """What a net says of its own certainty weighs the error of another: meant so."""
    net, doubt = it.nets.values()
    it.optimizers["both"].zero_grad()
    log_scale = doubt(real(i))
    error = (net(real(i)) - 1.0).square().sum(1, keepdim=True)
    (error * (-log_scale).exp() + log_scale).mean().backward()
    it.optimizers["both"].step()


def values(fixed: bool) -> It:
    q = mlp(2, 1)
    return It(fixed=fixed, nets={"q": q}, optimizers={"q": sgd(q)})


def bootstrapped(it: It, i: int, kept: bool) -> Tensor:
    q = it.nets["q"]
    target = 1.0 + 0.9 * q(noise(i))
    return mse_loss(q(real(i)), target if kept else target.detach())


def to_a_fixed_target(it: It, who: str, i: int) -> Tensor:
    return bootstrapped(it, i, kept=False)


@loop(
    waste="moving-target",
    build=values,
    intended=to_a_fixed_target,
    says="a target that q has made itself in `target = 1.0",
    advice="under torch.no_grad",
)
def a_target_that_the_net_made_itself(it: It, i: int) -> None:
    it.optimizers["q"].zero_grad()
    bootstrapped(it, i, kept=not it.fixed).backward()
    it.optimizers["q"].step()


@loop(build=values, intended=to_a_fixed_target)
def a_target_that_stands_still(it: It, i: int) -> None:
    it.optimizers["q"].zero_grad()
    bootstrapped(it, i, kept=False).backward()
    it.optimizers["q"].step()


@loop(build=values, intended=None)
def two_views_that_are_to_agree(it: It, i: int) -> None:
    q = it.nets["q"]
    it.optimizers["q"].zero_grad()
    mse_loss(q(real(i)), q(real(i) + 0.1)).backward()
    it.optimizers["q"].step()


# What a judge says of it is the weight of what a player made --------------------------------------


def scene_and_score(fixed: bool) -> It:
    nets = {"scene": mlp(2, 2), "score": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def distilled(it: It, who: str, i: int, detach: bool = True) -> Tensor:
    """The score learns the noise in what the scene gives; how far it is from what it should be is
    the gradient of the scene."""
    scene, score = it.nets.values() if who == "score" else (it.nets["scene"], it.then["score"])
    made = (it.then["scene"] if who == "score" else scene)(noise(i))
    weight = draw(i, 6.0) - score(made + 0.1 * draw(i, 7.0))
    of_score = mse_loss(score(made.detach() + draw(i, 8.0)), draw(i, 8.0))
    of_scene = (made * (weight.detach() if detach else weight)).sum() / len(made)
    return {"scene": of_scene, "score": of_score}.get(who, of_scene + of_score)


@loop(
    waste="polluted",
    build=scene_and_score,
    intended=distilled,
    says="what scene made is multiplied by what score says of it.*kept from scene",
    advice="detach it in that product",
    source="https://github.com/threestudio-project/threestudio/issues/181",
)
def a_score_that_weighs_with_its_graph(it: It, i: int) -> None:
    it.then = copy.deepcopy(it.nets)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    now = It(nets=it.nets, then=it.nets)
    distilled(now, "", i, detach=it.fixed).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def let_through(it: It, who: str, i: int) -> Tensor:
    """One loss, and the gate learns from nothing else."""
    trunk, gate = (it.nets[n] if who in (n, "") else it.then[n] for n in ("scene", "score"))
    made = trunk(noise(i))
    return mse_loss(made * torch.sigmoid(gate(made)), real(i))


@loop(build=scene_and_score, intended=let_through)
def a_gate_that_learns_what_it_lets_through(it: It, i: int) -> None:
    it.then = copy.deepcopy(it.nets)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    let_through(it, "", i).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def with_an_average(fixed: bool) -> It:
    query, key = mlp(2, 3), mlp(2, 3)
    optimizer = sgd(query) if fixed else sgd(query, key)
    return It(fixed=fixed, nets={"query": query, "key": key}, optimizers={"opt": optimizer})


def contrast(it: It, who: str, i: int, still: bool = True) -> Tensor:
    """Each sample is to know itself among all others, by what the average says of them."""
    query, key = it.nets.values()
    with torch.set_grad_enabled(not still):
        keys = key(draw(i, 0.1))
    return cross_entropy(query(draw(i)) @ keys.T, torch.arange(8))


def contrasted(it: It, i: int, still: bool) -> None:
    it.optimizers["opt"].zero_grad()
    contrast(it, "opt", i, still).backward()
    it.optimizers["opt"].step()
    query, key = it.nets.values()
    with torch.no_grad():
        for p, mean in zip(query.parameters(), key.parameters(), strict=True):
            mean.mul_(0.9).add_(p, alpha=0.1)


@loop(
    ("moving-target", "key"),
    build=with_an_average,
    intended=contrast,
    says="all of key is rewritten by hand beside that, as query is not",
    advice="Leave the parameters of key out of opt",
)
def an_average_that_learns_as_well(it: It, i: int) -> None:
    contrasted(it, i, still=it.fixed)


@loop(build=lambda fixed: with_an_average(True), intended=contrast)
def an_average_that_stands_still(it: It, i: int) -> None:
    contrasted(it, i, still=True)


@loop(build=with_an_average, intended=None)
def two_critics_that_are_both_clamped(it: It, i: int) -> None:
    it.optimizers["opt"].zero_grad()
    contrast(it, "opt", i, still=False).backward()
    it.optimizers["opt"].step()
    with torch.no_grad():
        for p in (p for net in it.nets.values() for p in net.parameters()):
            p.clamp_(-0.1, 0.1)


def by_its_critic(it: It, who: str, i: int) -> Tensor:
    value, critic = it.nets.values()
    said = critic(real(i))
    return mse_loss(value(real(i)), said) if who == "value" else mse_loss(said, noise(i)[:, :1])


def with_a_critic(fixed: bool) -> It:
    nets = {"value": mlp(2, 1), "critic": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


@loop(build=with_a_critic, intended=by_its_critic)
def a_value_that_learns_what_its_critic_says(it: It, i: int) -> None:
    """No detach; what that leaves in the critic is cleared before its own turn. No teacher is drawn
    to a student here: the critic learns nothing from this."""
    for who in ("value", "critic"):
        step(it, who, by_its_critic(it, who, i))


def of_one_module(fixed: bool) -> It:
    model = nn.ModuleDict({"query": mlp(2, 3), "key": mlp(2, 3)})
    parameters = model["query"].parameters() if fixed else model.parameters()
    return It(fixed=fixed, nets={"model": model},
              optimizers={"opt": optim.SGD(parameters, lr=0.05)})  # fmt: skip


def within(it: It, who: str, i: int) -> Tensor:
    return contrast(It(nets=dict(it.nets["model"].items())), who, i)


@loop(
    ("moving-target", "model"),
    build=of_one_module,
    intended=within,
    says="all of model.key is rewritten by hand beside that, as model.query is not",
    advice="Leave the parameters of model.key out of opt, and run model.key under",
)
def an_average_inside_a_module_that_learns_as_well(it: It, i: int) -> None:
    nets = dict(it.nets["model"].items())
    contrasted(It(nets=nets, optimizers=it.optimizers), i, still=it.fixed)


@loop(build=of_one_module, intended=None)
def a_layer_of_two_is_normalized_by_hand(it: It, i: int) -> None:
    """Both learn, and have one shape."""
    query, key = it.nets["model"].values()
    it.optimizers["opt"].zero_grad()
    contrast(It(nets={"query": query, "key": key}), "opt", i, still=False).backward()
    it.optimizers["opt"].step()
    with torch.no_grad():
        for p in key[2].parameters():
            p.div_(p.norm())
