"""Parameters that are in no module: a weight that is learned, a latent code that is optimized."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, optim
from torch.nn.functional import mse_loss

from .kit import It, draw, loop, mlp, noise, real, sgd


def weighed(fixed: bool) -> It:
    """An actor whose entropy has a weight that is learned."""
    actor, log_alpha = mlp(2, 2), torch.zeros((), requires_grad=True)
    optimizers = {"actor": sgd(actor), "alpha": optim.SGD([log_alpha], lr=0.05)}
    return It(fixed=fixed, nets={"actor": actor, "log_alpha": log_alpha}, optimizers=optimizers)


def of_actor(it: It, i: int) -> Tensor:
    made = it.nets["actor"](noise(i))
    return made.square().mean() - it.nets["log_alpha"].exp() * made.tanh().mean()


def of_weight(it: It, i: int) -> Tensor:
    made = it.nets["actor"](noise(i)).detach()
    loss: Tensor = (it.nets["log_alpha"].exp() * (made.tanh() + 2)).mean()
    return loss


def weighed_rightly(it: It, who: str, i: int) -> Tensor:
    return of_actor(it, i) if who == "actor" else of_weight(it, i)


def actor_first(it: It, i: int, clear: bool) -> None:
    it.optimizers["actor"].zero_grad()
    of_actor(it, i).backward()
    it.optimizers["actor"].step()
    if clear:
        it.optimizers["alpha"].zero_grad()
    of_weight(it, i).backward()
    it.optimizers["alpha"].step()
    it.optimizers["alpha"].zero_grad()


@loop(
    ("polluted", "log_alpha"),
    build=weighed,
    intended=weighed_rightly,
    says="another player's: actor learned from it too",
    advice="Clear the gradients of log_alpha",
)
def a_learned_weight_that_the_loss_of_the_actor_moves(it: It, i: int) -> None:
    actor_first(it, i, clear=it.fixed)


@loop(build=weighed, intended=weighed_rightly)
def a_learned_weight_that_is_cleared_in_time(it: It, i: int) -> None:
    actor_first(it, i, clear=True)


@loop(build=weighed, intended=None)
def a_learned_weight_of_two_losses(it: It, i: int) -> None:
    """Both are meant for it: they are summed, and all step after that."""
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    of_actor(it, i).backward()
    of_weight(it, i).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(
    ("cut-off", "log_alpha"),
    build=weighed,
    intended=weighed_rightly,
    says="has no way to log_alpha",
    advice="from the very tensor that this optimizer holds",
)
def a_learned_weight_that_is_detached(it: It, i: int) -> None:
    it.optimizers["alpha"].zero_grad()
    if it.fixed:
        of_weight(it, i).backward()
    else:
        weight = it.nets["log_alpha"].detach().requires_grad_()
        (weight.exp() * (it.nets["actor"](noise(i)).detach().tanh() + 2)).mean().backward()
    it.optimizers["alpha"].step()


def inverted(fixed: bool) -> It:
    """A latent code is sought from which a fixed G makes what is given."""
    G, z = mlp(2, 2).requires_grad_(False), noise(0).requires_grad_()
    return It(fixed=fixed, nets={"z": z}, optimizers={"z": optim.SGD([z], lr=0.05)}, G=G, z=z)


def of_code(it: It, who: str, i: int) -> Tensor:
    return mse_loss(it.G(it.nets["z"]), real(0))


def seek(it: It, i: int, replaced: bool) -> None:
    it.optimizers["z"].zero_grad()
    mse_loss(it.G(it.z), real(0)).backward()
    it.optimizers["z"].step()
    if replaced:
        it.z = it.z.detach().clamp(-3, 3).requires_grad_()
    else:
        with torch.no_grad():
            it.z.clamp_(-3, 3)


@loop(
    ("cut-off", "z"),
    build=inverted,
    intended=of_code,
    says="has no way to z",
    advice="one that the variable was given later",
)
def a_latent_code_that_is_replaced(it: It, i: int) -> None:
    seek(it, i, replaced=not it.fixed)


@loop(build=inverted, intended=of_code)
def a_latent_code_that_is_clamped_in_place(it: It, i: int) -> None:
    seek(it, i, replaced=False)


def of_two_codes(fixed: bool) -> It:
    """A code for each sample, learned beside G; the batch takes some of them."""
    G, codes = mlp(2, 2), [draw(k, n=1).requires_grad_() for k in range(4)]
    return It(fixed=fixed, nets={"G": G, **{f"z{k}": z for k, z in enumerate(codes)}}, codes=codes,
              optimizers={"G": sgd(G), "codes": optim.SGD(codes, lr=0.05)})  # fmt: skip


@loop(build=of_two_codes, intended=None)
def codes_of_samples_that_take_turns(it: It, i: int) -> None:
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    batch = torch.cat([it.codes[i % 4], it.codes[(i + 1) % 4]])
    mse_loss(it.nets["G"](batch), real(0)[:2]).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def of_soft_actor(fixed: bool) -> It:
    it = weighed(fixed)
    it.nets["critic"] = mlp(2, 1)
    it.optimizers["critic"] = sgd(it.nets["critic"])
    return it


def in_one_sum(it: It, i: int) -> Tensor:
    """The weight is detached in the term of the actor, beside what the critic says."""
    made = it.nets["actor"](noise(i))
    weight, entropy = it.nets["log_alpha"].exp(), made.tanh().sum(1, keepdim=True)
    of_actor = (weight.detach() * entropy - it.nets["critic"](made)).mean()
    loss: Tensor = of_actor + (weight * (entropy.detach() + 2)).mean()
    return loss


@loop(
    build=of_soft_actor,
    intended=None,
    source="https://github.com/mani-skill/ManiSkill/issues/899",
)
def a_detached_weight_beside_a_verdict(it: It, i: int) -> None:
    """Actor and weight learn from one sum, and step on it together; the critic judges no weight."""
    it.optimizers["critic"].zero_grad()
    mse_loss(it.nets["critic"](real(i)), noise(i)[:, :1]).backward()
    it.optimizers["critic"].step()
    for name in ("actor", "alpha"):
        it.optimizers[name].zero_grad()
    in_one_sum(it, i).backward()
    for name in ("actor", "alpha"):
        it.optimizers[name].step()


def of_soft_policy(fixed: bool) -> It:
    it = weighed(fixed)
    it.then = {}
    return it


def of_entropy(it: It, i: int, detached: bool) -> Tensor:
    entropy = it.nets["actor"](noise(i)).tanh().sum(1, keepdim=True)
    weight = it.nets["log_alpha"].exp()
    mine = entropy.detach() if detached else entropy
    loss: Tensor = (weight.detach() * entropy + 0.1 * entropy.square()).mean()
    return loss - (weight * (mine + 2)).mean()


def of_entropy_rightly(it: It, who: str, i: int) -> Tensor:
    nets = {**it.nets, **(it.then if who == "alpha" else {})}  # the actor has moved since
    return of_entropy(It(nets=nets), i, detached=True)


def both_step(it: It, loss: Tensor) -> None:
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    loss.backward()
    it.then = {"actor": copy.deepcopy(it.nets["actor"])}
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(
    ("polluted", "actor"),
    build=of_soft_policy,
    intended=of_entropy_rightly,
    says="log_alpha weighs the same twice: detached in .* The second teaches actor as well",
    advice="^Detach the other factor of the second",
    source="https://github.com/mani-skill/ManiSkill/issues/899",
)
def the_loss_of_a_weight_that_the_actor_follows(it: It, i: int) -> None:
    both_step(it, of_entropy(it, i, detached=it.fixed))


@loop(build=of_soft_policy, intended=of_entropy_rightly)
def the_loss_of_a_weight_that_is_its_own(it: It, i: int) -> None:
    both_step(it, of_entropy(it, i, detached=True))


def of_weight_alone(it: It, made: Tensor, detached: bool) -> Tensor:
    mine = made.detach() if detached else made
    return -(it.nets["log_alpha"].exp() * (mine + 2)).mean()


def of_actor_weighed(it: It, made: Tensor, weight: float | Tensor) -> Tensor:
    loss: Tensor = (weight * made + 0.1 * made.square()).mean()
    return loss


def of_two_losses(it: It, who: str, i: int) -> Tensor:
    actor = it.then.get("actor", it.nets["actor"]) if who == "alpha" else it.nets["actor"]
    made = actor(noise(i)).tanh().sum(1, keepdim=True)
    if who == "alpha":
        return of_weight_alone(it, made, detached=True)
    return of_actor_weighed(it, made, it.nets["log_alpha"].exp().detach())


def by_two_losses(it: It, i: int, as_number: bool, detached: bool) -> None:
    weight = it.nets["log_alpha"].exp()
    made = it.nets["actor"](noise(i)).tanh().sum(1, keepdim=True)
    actor_loss = of_actor_weighed(it, made, weight.item() if as_number else weight.detach())
    alpha_loss = of_weight_alone(it, made, detached)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    actor_loss.backward(retain_graph=not detached)
    alpha_loss.backward()
    it.then = {"actor": copy.deepcopy(it.nets["actor"])}
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(
    ("polluted", "actor"),
    build=of_soft_policy,
    intended=of_two_losses,
    says="Both weigh the same by log_alpha: the first by its mere value in `.* The other teaches "
    "actor as well",
    advice="Detach what log_alpha weighs there, in the loss of `alpha_loss.backward",
    source="https://github.com/mani-skill/ManiSkill/issues/899",
)
def the_loss_of_a_weight_is_left_in_the_actor(it: It, i: int) -> None:
    by_two_losses(it, i, as_number=True, detached=it.fixed)


@loop(
    ("polluted", "actor"),
    build=of_soft_policy,
    intended=of_two_losses,
    says="Both weigh the same by log_alpha: the first by its mere value in `",
    advice="Detach what log_alpha weighs there",
)
def the_loss_of_a_weight_that_was_detached_is_left_in_the_actor(it: It, i: int) -> None:
    by_two_losses(it, i, as_number=False, detached=it.fixed)


@loop(build=of_soft_policy, intended=of_two_losses)
def two_losses_of_a_weight_and_its_actor(it: It, i: int) -> None:
    by_two_losses(it, i, as_number=True, detached=True)


def bound(it: It, who: str, i: int) -> Tensor:
    """A multiplier that rises while what it weighs is above its bound; the actor lowers both."""
    actor = it.then.get("actor", it.nets["actor"]) if who == "alpha" else it.nets["actor"]
    made = actor(noise(i)).tanh().square().mean()
    weighed: Tensor = it.nets["log_alpha"].exp() * (made - 0.1)
    return -weighed if who == "alpha" else made.sin() + weighed


@loop(build=of_soft_policy, intended=bound)
def a_multiplier_that_weighs_the_bound_of_its_actor(it: It, i: int) -> None:
    """Two calls, and the actor follows both: the second is the one term that keeps the bound."""
    made = it.nets["actor"](noise(i)).tanh().square().mean()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    made.sin().backward(retain_graph=True)
    (it.nets["log_alpha"].exp() * (made - 0.1)).backward()
    it.nets["log_alpha"].grad.neg_()
    it.then = {"actor": copy.deepcopy(it.nets["actor"])}
    for optimizer in it.optimizers.values():
        optimizer.step()
