"""Differences of the same, numbers that are added, gradients reversed in the wrong place or not at
all; each with right loops like it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from .kit import It, bce, loop, mlp, noise, real, sgd
from .right import step


def with_a_policy(fixed: bool) -> It:
    policy = mlp(2, 3)
    return It(fixed=fixed, nets={"policy": policy}, optimizers={"policy": sgd(policy)})


def of_ratio(it: It, i: int, kept: bool) -> Tensor:
    policy = it.nets["policy"]
    now = policy(real(i)).log_softmax(1)[:, 0]
    old = policy(real(i)).log_softmax(1)[:, 0]
    ratio = (now - (old if kept else old.detach())).exp()
    return -(ratio * noise(i)[:, 0]).mean() + now.exp().square().mean()


@loop(
    ("cancelled", "policy"),
    build=with_a_policy,
    intended=lambda it, who, i: of_ratio(it, i, kept=False),
    says="Both sides of the difference in `ratio = ",
    advice="Detach the side that is to stand still",
)
def a_ratio_of_the_same_policy(it: It, i: int) -> None:
    step(it, "policy", of_ratio(it, i, kept=not it.fixed))


@loop(build=with_a_policy, intended=lambda it, who, i: of_ratio(it, i, kept=False))
def a_ratio_to_the_old_policy(it: It, i: int) -> None:
    step(it, "policy", of_ratio(it, i, kept=False))


@loop(build=with_a_policy, intended=None)
def what_one_policy_says_of_two_states(it: It, i: int) -> None:
    policy = it.nets["policy"]
    step(it, "policy", (policy(real(i)) - policy(noise(i))).exp().mean())


def of_entropy(it: It, i: int, as_number: bool) -> Tensor:
    policy = it.nets["policy"]
    logs = policy(real(i)).log_softmax(1)
    entropy = -(policy(real(i)).softmax(1) * logs.detach()).sum(1).mean()
    return -(logs[:, 0] * noise(i)[:, 0]).mean() - (entropy.item() if as_number else entropy)


@loop(
    ("never-walked", "policy"),
    build=with_a_policy,
    intended=lambda it, who, i: of_entropy(it, i, as_number=False),
    says="only read as a number; .* another one each time is added",
    advice="Add the tensor itself",
)
def an_entropy_that_is_subtracted_as_a_number(it: It, i: int) -> None:
    step(it, "policy", of_entropy(it, i, as_number=not it.fixed))


@loop(build=with_a_policy, intended=lambda it, who, i: of_entropy(it, i, as_number=False))
def an_entropy_that_is_subtracted(it: It, i: int) -> None:
    step(it, "policy", of_entropy(it, i, as_number=False))


def cycled(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return bce(D(fake), 1.0) + l1_loss(fake, real(i)) + mse_loss(D(fake), D(real(i)).detach())


@loop(("cancelled", "G"), intended=cycled, says="The distance in `near = l1_loss.* is that of what "
      "G made to itself", advice="which of the two names there is to be another one")  # fmt: skip
def the_distance_of_a_fake_to_its_own_copy(it: It, i: int) -> None:
    G, D = it.nets.values()
    step(it, "D", cycled(it, "D", i))
    fake = G(noise(i))
    near = l1_loss(fake, real(i) if it.fixed else fake.detach())
    step(it, "G", bce(D(fake), 1.0) + near + mse_loss(D(fake), D(real(i)).detach()))


@loop(("cancelled", "G"), intended=cycled,
      says="The distance in `alike = mse_loss.* is that of what G made to itself",
      advice="which of the two names there is to be another one")  # fmt: skip
def the_distance_of_a_verdict_to_itself(it: It, i: int) -> None:
    G, D = it.nets.values()
    step(it, "D", cycled(it, "D", i))
    fake = G(noise(i))
    said = D(fake)
    alike = mse_loss(said, D(real(i)).detach() if it.fixed else said)
    step(it, "G", bce(said, 1.0) + l1_loss(fake, real(i)) + alike)


def halves_alike(it: It, who: str, i: int) -> Tensor:
    """Two halves of one output are of one operation, and not the same."""
    G, D = it.nets.values()
    one, two = G(noise(i)).chunk(2)
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(one.detach()), 0.0)
    return bce(D(one), 1.0) + mse_loss(one, two.detach()) + mse_loss(two, one.detach())


@loop(intended=halves_alike)
def two_halves_of_one_output(it: It, i: int) -> None:
    for who in "DG":
        step(it, who, halves_alike(it, who, i))


def with_two_losses(fixed: bool) -> It:
    G, D = mlp(2, 2), mlp(2, 1)
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)}, log={})


def of_both(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    return bce(D(G(noise(i))), 1.0) + mse_loss(G(real(i)), real(i))


@loop(
    ("never-walked", "G"),
    build=with_two_losses,
    intended=of_both,
    says="only read as a number; .* another one each time is added",
    advice="Add the tensor itself",
)
def a_number_from_the_log_in_the_sum(it: It, i: int) -> None:
    G, D = it.nets.values()
    content = mse_loss(G(real(i)), real(i))
    it.log["content"] = content if it.fixed else content.item()
    del content
    total = bce(D(G(noise(i))), 1.0) + it.log["content"]
    it.optimizers["G"].zero_grad()
    total.backward(inputs=list(G.parameters()))
    it.optimizers["G"].step()
    it.log.clear()


@loop(build=with_two_losses, intended=of_both)
def a_number_for_the_log_and_a_margin_in_the_sum(it: It, i: int) -> None:
    G, D = it.nets.values()
    content = mse_loss(G(real(i)), real(i))
    total = bce(D(G(noise(i))), 1.0) + content + 0.5
    it.log["content"] = content.item()
    it.optimizers["G"].zero_grad()
    total.backward(inputs=list(G.parameters()))
    it.optimizers["G"].step()


class Multiplied(torch.autograd.Function):
    """Hands values on as they are, and multiplies the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class Rounded(torch.autograd.Function):
    """Not the same values: its gradient is that of a straight line, as is meant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def domains(fixed: bool) -> It:
    features, domain = mlp(2, 4), mlp(4, 1)
    return It(fixed=fixed, nets={"features": features, "domain": domain},
              optimizers={"both": sgd(features, domain)})  # fmt: skip


def of_domain(it: It, i: int, inside: float, outside: float) -> Tensor:
    features, domain = it.nets.values()
    told = [bce(domain(Multiplied.apply(features(x), inside)), label)
            for x, label in ((real(i), 1.0), (noise(i), 0.0))]  # fmt: skip
    task = mse_loss(features(real(i))[:, :2], real(i))
    return task + Multiplied.apply(told[0] + told[1], outside)


def reversed_rightly(it: It, who: str, i: int) -> Tensor:
    return of_domain(it, i, -1.0, 1.0)


@loop(
    ("reversed", "domain"),
    build=domains,
    intended=reversed_rightly,
    says="reverses the gradient of a whole loss",
    advice="Reverse between domain and what it judges",
)
def a_reversal_of_the_whole_loss(it: It, i: int) -> None:
    signs = (-1.0, 1.0) if it.fixed else (1.0, -1.0)
    step(it, "both", of_domain(it, i, *signs))


@loop(
    waste="reversed",
    build=domains,
    intended=reversed_rightly,
    says="and its gradient as well: in .* it changes nothing",
    advice="lacks the minus",
)
def a_reversal_without_its_minus(it: It, i: int) -> None:
    step(it, "both", of_domain(it, i, -1.0 if it.fixed else 1.0, 1.0))


@loop(build=domains, intended=reversed_rightly)
def a_reversal_where_it_belongs(it: It, i: int) -> None:
    step(it, "both", of_domain(it, i, -1.0, 1.0))


@loop(build=domains, intended=None)
def features_that_learn_slowly(it: It, i: int) -> None:
    step(it, "both", of_domain(it, i, 0.1, 1.0))


@loop(build=domains, intended=None)
def rounded_with_the_gradient_of_a_line(it: It, i: int) -> None:
    features, domain = it.nets.values()
    made = Rounded.apply(features(real(i)))
    step(it, "both", bce(domain(made), 1.0))


def with_a_critic(fixed: bool) -> It:
    actor, critic = mlp(2, 2), mlp(2, 1)
    return It(fixed=fixed, nets={"actor": actor, "critic": critic},
              optimizers={"actor": sgd(actor), "critic": sgd(critic)})  # fmt: skip


def of_each_sample(it: It, i: int, gradients: bool) -> Tensor:
    actor, critic = it.nets.values()
    made = actor(noise(i))
    with torch.set_grad_enabled(gradients):
        worth = critic(made)
    return (0.1 * made.square().sum(1, keepdim=True) - worth).mean()


def actor_or_critic(it: It, who: str, i: int) -> Tensor:
    if who == "actor":
        return of_each_sample(it, i, gradients=True)
    return mse_loss(it.nets["critic"](real(i)), noise(i)[:, :1])


@loop(
    ("cut-off", "actor"),
    build=with_a_critic,
    intended=actor_or_critic,
    says="the term that comes from critic is a constant for actor",
    advice="with gradients on",
)
def the_worth_of_each_sample_without_gradients(it: It, i: int) -> None:
    step(it, "critic", actor_or_critic(it, "critic", i))
    step(it, "actor", of_each_sample(it, i, gradients=it.fixed))


@loop(build=with_a_critic, intended=None)
def a_baseline_without_gradients_weighs_each_sample(it: It, i: int) -> None:
    """What the critic says of it is subtracted from a reward, and weighs: a number is right."""
    actor, critic = it.nets.values()
    step(it, "critic", actor_or_critic(it, "critic", i))
    made = actor(noise(i))
    with torch.no_grad():
        worth = 1.0 - critic(made)
    step(it, "actor", (made.square().sum(1, keepdim=True) * worth).mean())


def task_and_domain(it: It, i: int, inside: float, weight: float) -> Tensor:
    features, domain = it.nets.values()
    made = Multiplied.apply(features(torch.cat([real(i), noise(i)])), inside)
    labels = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    of_domains = binary_cross_entropy_with_logits(domain(made), labels)
    return mse_loss(features(real(i))[:, :2], real(i)) + weight * of_domains


def half_reversed(it: It, who: str, i: int) -> Tensor:
    return task_and_domain(it, i, inside=-1.0, weight=0.5)


@loop(
    ("reversed", "domain"),
    build=domains,
    intended=half_reversed,
    says="a cross entropy in `of_domains = .* counts negatively, and .* learn from it alone",
    advice="a gradient reversal there, and a plus in the sum",
    source="https://github.com/CuthbertCai/pytorch_DANN/issues/13",
)
def a_minus_in_place_of_a_reversal(it: It, i: int) -> None:
    how = (-1.0, 0.5) if it.fixed else (1.0, -0.5)
    step(it, "both", task_and_domain(it, i, *how))


def each_domain(it: It, i: int, inside: float, weight: float) -> Tensor:
    """A cross entropy of the samples of each domain."""
    features, domain = it.nets.values()
    source, target = (Multiplied.apply(features(x), inside) for x in (real(i), noise(i)))
    of_domains = bce(domain(source), 1.0) + bce(domain(target), 0.0)
    return mse_loss(features(real(i))[:, :2], real(i)) + weight * of_domains


@loop(
    ("reversed", "domain"),
    build=domains,
    intended=lambda it, who, i: each_domain(it, i, -1.0, 1.0),
    says="a cross entropy in .* counts negatively, and .* of domain learn from it alone",
    advice="a gradient reversal there, and a plus in the sum",
    source="https://github.com/CuthbertCai/pytorch_DANN/issues/13",
)
def a_minus_before_the_losses_of_both_domains(it: It, i: int) -> None:
    how = (-1.0, 1.0) if it.fixed else (1.0, -1.0)
    step(it, "both", each_domain(it, i, *how))


@loop(build=domains, intended=half_reversed)
def a_plus_after_a_reversal(it: It, i: int) -> None:
    step(it, "both", task_and_domain(it, i, -1.0, 0.5))


def domains_apart(fixed: bool) -> It:
    it = domains(fixed)
    it.optimizers = {name: sgd(net) for name, net in it.nets.items()}
    return it


@loop(build=domains_apart, intended=half_reversed)
def a_minus_for_the_features_alone(it: It, i: int) -> None:
    """The head has a turn and an optimizer of its own."""
    it.optimizers["features"].zero_grad()
    task_and_domain(it, i, 1.0, -0.5).backward()
    it.optimizers["features"].step()
    it.optimizers["domain"].zero_grad()
    task_and_domain(it, i, 1.0, 0.5).backward()
    it.optimizers["domain"].step()


@loop(build=domains, intended=None)
def a_minus_and_a_head_that_also_learns_rightly(it: It, i: int) -> None:
    """One optimizer for both turns."""
    step(it, "both", task_and_domain(it, i, 1.0, 0.5))
    it.optimizers["both"].zero_grad()
    loss = task_and_domain(it, i, 1.0, -0.5)
    loss.backward()
    it.optimizers["both"].step()


@loop(build=domains, intended=None)
def to_unlearn_what_a_head_says(it: It, i: int) -> None:
    """Gradient ascent, and nothing beside it."""
    features, domain = it.nets.values()
    step(it, "both", -bce(domain(features(real(i))), 1.0))


@loop(
    ("reversed", "domain"),
    build=domains,
    intended=half_reversed,
    says="learn from it alone: they learn to be wrong, and what is below them .* helps them",
    advice="^Make it a plus in the sum",
)
def a_minus_beside_a_reversal(it: It, i: int) -> None:
    step(it, "both", task_and_domain(it, i, -1.0, 0.5 if it.fixed else -0.5))


def a_head_of_two(fixed: bool) -> It:
    """The optimizer of the features was made of all parameters of the model, the head's too."""
    it = domains(fixed)
    features, domain = it.nets.values()
    main = sgd(features) if fixed else sgd(features, domain)
    it.optimizers = {"main": main, "domain": sgd(domain)}
    return it


def to_fool_the_head(it: It, who: str, i: int) -> Tensor:
    if who == "main":  # of the head, nothing
        it = It(nets={**it.nets, "domain": copy.deepcopy(it.nets["domain"])})
        return task_and_domain(it, i, 1.0, -0.5)
    with torch.no_grad():
        made = it.nets["features"](torch.cat([real(i), noise(i)]))
    labels = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    return binary_cross_entropy_with_logits(it.nets["domain"](made), labels)


@loop(
    ("reversed", "domain"),
    build=a_head_of_two,
    intended=to_fool_the_head,
    says="they learn to be wrong, though domain steps them on the positive one",
    advice="^Leave these parameters out of main: domain is there for them",
)
def a_head_that_both_optimizers_step(it: It, i: int) -> None:
    step(it, "domain", to_fool_the_head(it, "domain", i))
    step(it, "main", task_and_domain(it, i, 1.0, -0.5))
