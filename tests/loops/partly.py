"""One player of several, or one term of several, learns nothing; each with right loops like it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn.functional import l1_loss, mse_loss

from .cut_off import with_content
from .kit import It, bce, loop, mlp, noise, pair, real, sgd, usual
from .right import step


def pairs(fixed: bool) -> It:
    nets = {"gen": mlp(2, 2), "first": mlp(2, 1), "second": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def both_pairs(it: It, who: str, i: int) -> Tensor:
    gen, *judges = it.nets.values()
    fake = gen(noise(i))
    if who == "gen":
        return bce(judges[0](fake), 1.0) + bce(judges[1](fake), 1.0)
    D = it.nets[who]
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


def toggle(nets: list[nn.Module], on: bool) -> None:
    for net in nets:
        for p in net.parameters():
            p.requires_grad = on


def judges_turn(it: It, i: int) -> None:
    fake = it.nets["gen"](noise(i)).detach()
    judges = [it.nets["first"], it.nets["second"]]
    optimizers: list[optim.Optimizer] = [it.optimizers["first"], it.optimizers["second"]]
    for optimizer in optimizers:
        optimizer.zero_grad()
    losses = [bce(D(real(i)), 1.0) + bce(D(fake), 0.0) for D in judges]
    (losses[0] + losses[1]).backward()
    for optimizer in optimizers:
        optimizer.step()


def generators_turn(it: It, i: int) -> None:
    it.optimizers["gen"].zero_grad()
    both_pairs(it, "gen", i).backward()
    it.optimizers["gen"].step()


@loop(
    ("cut-off", "second"),
    build=pairs,
    intended=both_pairs,
    says="while second was frozen \\(.*requires_grad = on`\\)",
    advice="Thaw second",
)
def one_judge_of_two_is_never_thawed(it: It, i: int) -> None:
    """One backward serves both, so that it reaches somebody."""
    first, second = it.nets["first"], it.nets["second"]
    toggle([first, second], False)
    generators_turn(it, i)
    toggle([first, second] if it.fixed else [first], True)
    judges_turn(it, i)


def with_a_frozen_judge(fixed: bool) -> It:
    it = pairs(fixed)
    it.nets["second"].requires_grad_(False)
    return it


@loop(
    ("cut-off", "second"),
    build=with_a_frozen_judge,
    intended=both_pairs,
    says="frozen \\(since before the recording\\)",
    advice="Thaw second",
)
def one_judge_of_two_was_frozen_before(it: It, i: int) -> None:
    if it.fixed:
        it.nets["second"].requires_grad_(True)
    judges_turn(it, i)
    generators_turn(it, i)


@loop(build=pairs, intended=both_pairs)
def both_judges_frozen_and_thawed(it: It, i: int) -> None:
    first, second = it.nets["first"], it.nets["second"]
    judges_turn(it, i)
    toggle([first, second], False)
    generators_turn(it, i)
    toggle([first, second], True)


@loop(build=pairs, intended=None)
def the_judges_take_turns(it: It, i: int) -> None:
    """Each second time one of them is frozen, and its step finds nothing."""
    first, second = it.nets["first"], it.nets["second"]
    toggle([first], i % 2 == 0)
    toggle([second], i % 2 == 1)
    judges_turn(it, i)
    toggle([first, second], False)
    generators_turn(it, i)


def judges_in_one_optimizer(fixed: bool) -> It:
    it = pairs(fixed)
    both = sgd(it.nets["first"], it.nets["second"])
    it.optimizers = {"judges": both, "gen": it.optimizers["gen"]}
    return it


def of_the_joint_judges(it: It, who: str, i: int) -> Tensor:
    if who == "gen":
        return both_pairs(it, who, i)
    return both_pairs(it, "first", i) + both_pairs(it, "second", i)


def joint_turn(it: It, i: int) -> None:
    fake = it.nets["gen"](noise(i)).detach()
    it.optimizers["judges"].zero_grad()
    judges = [it.nets["first"], it.nets["second"]]
    losses = [bce(D(real(i)), 1.0) + bce(D(fake), 0.0) for D in judges]
    (losses[0] + losses[1]).backward()
    it.optimizers["judges"].step()


@loop(
    ("cut-off", "second"),
    build=judges_in_one_optimizer,
    intended=of_the_joint_judges,
    says="stayed frozen, although judges holds it. `p.requires_grad = on` had frozen first",
    advice="Thaw second .* where first is thawed",
)
def one_judge_of_a_joint_optimizer_is_never_thawed(it: It, i: int) -> None:
    first, second = it.nets["first"], it.nets["second"]
    toggle([first, second], False)
    generators_turn(it, i)
    toggle([first, second] if it.fixed else [first], True)
    joint_turn(it, i)


@loop(build=judges_in_one_optimizer, intended=None)
def the_judges_of_a_joint_optimizer_take_turns(it: It, i: int) -> None:
    first, second = it.nets["first"], it.nets["second"]
    toggle([first], i % 2 == 0)
    toggle([second], i % 2 == 1)
    joint_turn(it, i)
    toggle([first, second], False)
    generators_turn(it, i)


def penalty(D: nn.Module, i: int, graph: bool = True) -> Tensor:
    x = real(i).requires_grad_(True)
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=graph)
    return (slope.norm(2, 1) - 1).square().mean()


def with_penalty(it: It, who: str, i: int) -> Tensor | None:
    loss = usual(it, who, i)
    return loss if who == "G" or loss is None else loss + 10 * penalty(it.nets["D"], i)


@loop(
    ("cut-off", "D"),
    intended=with_penalty,
    says="D learns nothing from the penalty .* a mere number",
    advice="Give create_graph=True to `\\(slope,\\)",
)
def a_penalty_that_is_a_mere_number(it: It, i: int) -> None:
    D = it.nets["D"]
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", (loss + 10 * penalty(D, i, graph=it.fixed)) / 2 * 2)
    generator_alone(it, i)


def generator_alone(it: It, i: int) -> None:
    loss = usual(it, "G", i)
    assert loss is not None
    step(it, "G", loss)


@loop(intended=with_penalty)
def a_penalty_with_its_graph_and_a_log_of_it(it: It, i: int) -> None:
    D = it.nets["D"]
    loss = with_penalty(it, "D", i)
    assert loss is not None
    it.kept.append(loss.detach() + penalty(D, i, graph=False))
    step(it, "D", loss)
    generator_alone(it, i)


def slope_of(D: Any, i: int) -> Tensor:
    x = real(i).requires_grad_(True)
    slope: Tensor = torch.autograd.grad(D(x).sum(), x, create_graph=True)[0]
    return slope


def to_one(slope: Tensor) -> Tensor:
    return 10 * (slope.norm(2, 1) - 1).square().mean()


def with_a_slope(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return -D(G(noise(i))).mean()
    return D(G(noise(i)).detach()).mean() - D(real(i)).mean() + to_one(slope_of(D, i))


def penalized(it: It, i: int, penalty: Callable[[Any], Tensor]) -> None:
    G, D = it.nets.values()
    step(it, "D", D(G(noise(i)).detach()).mean() - D(real(i)).mean() + penalty(D))
    step(it, "G", with_a_slope(it, "G", i))


@loop(
    ("cut-off", "D"),
    intended=with_a_slope,
    says="penalty .* of a gradient that has its graph .* cut off from it by detach\\(\\)",
    advice="Leave out detach\\(\\) there",
)
def a_penalty_on_a_detached_slope(it: It, i: int) -> None:
    penalized(it, i, lambda D: to_one(slope_of(D, i) if it.fixed else slope_of(D, i).detach()))


@loop(
    ("cut-off", "D"),
    intended=with_a_slope,
    says="penalty .* of a gradient that has its graph .* cut off from it by torch.no_grad",
    advice="Compute all of the penalty with gradients on",
)
def a_penalty_made_without_gradients(it: It, i: int) -> None:
    slope = slope_of(it.nets["D"], i)
    with torch.set_grad_enabled(it.fixed):
        penalty = to_one(slope)
    penalized(it, i, lambda D: penalty)


@loop(
    waste="cut-off",
    intended=with_a_slope,
    says="penalty .* cut off from it by detach\\(\\)",
    advice="Leave out detach\\(\\) there. If it is for a log",
)
def a_penalty_that_is_detached_as_a_whole(it: It, i: int) -> None:
    penalized(
        it, i, lambda D: to_one(slope_of(D, i)) if it.fixed else to_one(slope_of(D, i)).detach()
    )


@loop(
    ("never-walked", "D"),
    intended=with_a_slope,
    says="penalty on a gradient.* is added to the loss of .* when that is over in `total = ",
    advice="Add it to the loss before `loss.backward",
)
def a_penalty_that_is_added_after_the_backward(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    loss = D(G(noise(i)).detach()).mean() - D(real(i)).mean()
    if it.fixed:
        loss = loss + to_one(slope_of(D, i))
    loss.backward()
    if not it.fixed:
        total = loss + to_one(slope_of(D, i))
        it.kept.append(total.item())
    it.optimizers["D"].step()
    step(it, "G", with_a_slope(it, "G", i))


@loop(intended=with_a_slope)
def a_penalty_that_is_added_again_for_the_log(it: It, i: int) -> None:
    """It has a backward of its own, and is in the sum that is printed."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    loss = D(G(noise(i)).detach()).mean() - D(real(i)).mean()
    loss.backward()
    penalty = to_one(slope_of(D, i))
    penalty.backward()
    it.kept.append((loss + penalty).item())
    it.optimizers["D"].step()
    step(it, "G", with_a_slope(it, "G", i))


@loop(intended=None)
def a_penalty_with_a_backward_of_its_own(it: It, i: int) -> None:
    """And its value in the other sum, for what is printed."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    penalty = to_one(slope_of(D, i))
    penalty.backward()
    (D(G(noise(i)).detach()).mean() - D(real(i)).mean() + penalty.detach()).backward()
    it.optimizers["D"].step()
    step(it, "G", with_a_slope(it, "G", i))


@loop(intended=None)
def a_weight_from_the_ratio_of_two_gradients(it: It, i: int) -> None:
    """As autoencoders with a judge weigh their terms: the weight is a number on purpose."""
    G, D = it.nets.values()
    fake = G(noise(i))
    last = [*G.parameters()][-1]
    near, judged = l1_loss(fake, real(i)), bce(D(fake), 1.0)
    (one,) = torch.autograd.grad(near, last, retain_graph=True)
    (two,) = torch.autograd.grad(judged, last, retain_graph=True)
    weight = one.norm() / (two.norm() + 1e-4)
    step(it, "G", near + weight * judged)
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))


@loop(intended=None)
def an_attack_on_the_judge(it: It, i: int) -> None:
    """The gradient moves what goes into the net, and a target is moved by it: both count."""
    D = it.nets["D"]
    x = real(i).requires_grad_(True)
    (slope,) = torch.autograd.grad(bce(D(x), 1.0), x)
    moved = x.detach() + 0.1 * slope.sign()
    step(it, "D", bce(D(moved), 1.0) + (D(real(i)) - slope.norm(2, 1, True)).square().mean())
    fake = it.nets["G"](noise(i))
    (pull,) = torch.autograd.grad(bce(D(fake), 1.0), fake, retain_graph=True)
    step(it, "G", (fake + pull).square().mean())


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(2, 4, nn.Tanh()), nn.Linear(4, 1)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.features(x))
        return out


def with_features(fixed: bool) -> It:
    G, D = mlp(2, 2), Judge()
    optimizers = {"G": sgd(G), "D": sgd(D)}
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers=optimizers, kept=[])


def matched(it: It, who: str, i: int) -> Tensor | None:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "D":
        return usual(it, who, i)
    return bce(D(fake), 1.0) + 2 * l1_loss(D.features(fake), D.features(real(i)).detach())


@loop(
    ("cut-off", "G"),
    build=with_features,
    intended=matched,
    says="G learns nothing from it: the side of G was cut off by detach\\(\\) in `fm = ",
    advice="Leave out detach\\(\\) there, and detach the other side",
)
def features_matched_with_the_wrong_side_detached(it: It, i: int) -> None:
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    if it.fixed:
        fm = l1_loss(D.features(real(i)).detach(), D.features(fake))
    else:
        fm = l1_loss(D.features(real(i)), D.features(fake).detach())
    step(it, "G", bce(D(fake), 1.0) + 2 * fm)


def judge_alone(it: It, i: int) -> None:
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", loss)


@loop(build=with_features, intended=matched)
def features_matched_with_both_sides_in_the_graph(it: It, i: int) -> None:
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    step(it, "G", bce(D(fake), 1.0) + 2 * l1_loss(D.features(fake), D.features(real(i))))


@loop(build=with_features, intended=None)
def a_judge_that_is_to_be_steady(it: It, i: int) -> None:
    """What it says of fakes is a target for it, in its own turn; a baseline in the other's."""
    G, D = it.nets.values()
    fake = G(noise(i))
    steady = l1_loss(D.features(real(i)), D.features(fake).detach())
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0) + steady)
    verdict = D(fake)
    step(it, "G", bce(verdict, 1.0) + (verdict - verdict.detach().mean()).mean())


@loop(build=with_features, intended=None)
def one_backward_with_a_stop_for_each_side(it: It, i: int) -> None:
    """Each side follows the other, which stands still: both learn from this one call."""
    G, D = it.nets.values()
    fake = G(noise(i))
    one, two = D.features(real(i)), D.features(fake)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    (l1_loss(one, two.detach()) + l1_loss(one.detach(), two) + bce(D(fake), 1.0)).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def apart(it: It, who: str, i: int) -> Tensor | None:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "D":
        return usual(it, who, i)
    return -D(fake.clamp(-5, 5)).mean() - 0.1 * (fake[:4] - fake[4:]).abs().mean()


@loop(
    intended=apart,
    waste="cut-off",
    says="teaches nobody, and what G made left torch for NumPy in `rows = ",
    advice="stay in torch",
)
def one_term_of_two_through_numpy(it: It, i: int) -> None:
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    if it.fixed:
        rows = fake.clamp(-5, 5)
    else:
        rows = torch.from_numpy(np.clip(fake.detach().numpy(), -5, 5))
    step(it, "G", -D(rows).mean() - 0.1 * (fake[:4] - fake[4:]).abs().mean())


@loop(
    intended=apart,
    waste="cut-off",
    says="left torch for NumPy in `rows = .* and in `it.kept",
    advice="stay in torch",
)
def one_term_through_numpy_and_a_log_of_it(it: It, i: int) -> None:
    """Which of the two came back is not known: both are named."""
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    rows = torch.from_numpy(np.clip(fake.detach().numpy(), -5, 5))
    it.kept.append(fake.detach().numpy().mean())
    rows = fake.clamp(-5, 5) if it.fixed else rows
    step(it, "G", -D(rows).mean() - 0.1 * (fake[:4] - fake[4:]).abs().mean())


def within(it: It, who: str, i: int) -> Tensor | None:
    G, D = it.nets.values()
    fake = G(noise(i)).tanh()
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return -D(fake).mean() - 0.1 * (fake[:4] - fake[4:]).abs().mean()


@loop(
    intended=within,
    waste="cut-off",
    says="teaches nobody, and what G made left torch for NumPy in `rows = ",
    advice="stay in torch",
)
def one_term_through_numpy_after_an_operation(it: It, i: int) -> None:
    G, D = it.nets.values()
    loss = within(it, "D", i)
    assert loss is not None
    step(it, "D", loss)
    fake = G(noise(i)).tanh()
    rows = fake if it.fixed else torch.from_numpy(fake.detach().numpy().copy())
    step(it, "G", -D(rows).mean() - 0.1 * (fake[:4] - fake[4:]).abs().mean())


@loop(intended=None)
def plotted_beside_a_term_that_is_a_constant(it: It, i: int) -> None:
    """The whole distance between real and fake as the loss of G: one half of it is for nobody."""
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    it.kept.append(fake.detach().numpy().copy())
    step(it, "G", D(real(i)).square().mean() - D(fake).mean())


@loop(intended=None)
def both_learn_from_what_came_back_from_numpy(it: It, i: int) -> None:
    G, D = it.nets.values()
    action = G(noise(i))
    answer = torch.from_numpy(action.detach().numpy().copy()).sum(1, keepdim=True)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    ((D(real(i)) - answer).square().mean() + (action.square().sum(1) * 0.1).mean()).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(
    ("never-walked", "G"),
    intended=with_content,
    says="A number that is another one each time is added .* G learns nothing from it",
    advice="Add the tensor itself, without .item\\(\\)",
)
def a_term_that_was_made_a_number_for_the_log(it: It, i: int) -> None:
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    adversarial = bce(D(fake), 1.0)
    log = {"adv": adversarial if it.fixed else adversarial.item()}
    step(it, "G", l1_loss(fake, real(i)) + log["adv"])


@loop(
    ("never-walked", "G"),
    intended=with_content,
    says="A number that is another one each time is added .* G learns nothing from it",
    advice="without .item\\(\\), float\\(\\) or .detach\\(\\) on its way into the sum",
    source="https://github.com/guopengf/FL-MRCM/issues/10",
)
def a_term_that_was_detached_and_made_a_number(it: It, i: int) -> None:
    G, D = it.nets.values()
    judge_alone(it, i)
    fake = G(noise(i))
    adversarial = bce(D(fake), 1.0)
    number = adversarial if it.fixed else adversarial.detach().item()
    step(it, "G", l1_loss(fake, real(i)) + number)


def actor_and_critic(fixed: bool) -> It:
    actor, critic = mlp(2, 2), mlp(4, 1)
    nets = {"actor": actor, "critic": critic, "target": copy.deepcopy(critic)}
    nets["target"].requires_grad_(False)
    optimizers = {"actor": sgd(actor), "critic": sgd(critic)}
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


def bootstrapped(it: It, i: int) -> Tensor:
    value = it.nets["target"](torch.cat([noise(i + 7), it.nets["actor"](noise(i + 7))], 1))
    answer: Tensor = noise(i).sum(1, keepdim=True) + 0.9 * value
    return answer


def temporal_difference(it: It, i: int, answer: Tensor) -> Tensor:
    return mse_loss(it.nets["critic"](torch.cat([noise(i), real(i)], 1)), answer)


def actor_critic(it: It, who: str, i: int) -> Tensor:
    if who == "critic":
        return temporal_difference(it, i, bootstrapped(it, i).detach())
    actor, critic, _ = it.nets.values()
    value: Tensor = critic(torch.cat([noise(i), actor(noise(i))], 1))
    return -value.mean()


@loop(
    ("polluted", "actor"),
    build=actor_and_critic,
    intended=actor_critic,
    says="is another player's: critic learned from it too",
    advice="Clear the gradients of actor",
)
def a_target_network_leads_to_the_actor(it: It, i: int) -> None:
    """The target of the critic has a gradient, and the actor was cleared before it."""
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    critic_loss = temporal_difference(it, i, bootstrapped(it, i))
    critic_loss.backward()
    it.optimizers["critic"].step()
    if it.fixed:
        it.optimizers["actor"].zero_grad()
    actor_loss = actor_critic(it, "actor", i)
    actor_loss.backward()
    it.optimizers["actor"].step()


@loop(build=actor_and_critic, intended=actor_critic)
def a_target_network_with_a_detach(it: It, i: int) -> None:
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    for who in ("critic", "actor"):
        actor_critic(it, who, i).backward()
        it.optimizers[who].step()


@loop(build=actor_and_critic, intended=actor_critic)
def a_target_network_that_leads_to_an_actor_cleared_in_time(it: It, i: int) -> None:
    step(it, "critic", temporal_difference(it, i, bootstrapped(it, i)))
    step(it, "actor", actor_critic(it, "actor", i))


@loop(build=actor_and_critic, intended=None)
def an_average_of_the_judge_judges_too(it: It, i: int) -> None:
    """One loss for both, and it goes through the copy on purpose."""
    actor, critic, target = it.nets.values()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    pair = torch.cat([noise(i), actor(noise(i))], 1)
    loss = (critic(pair) - target(pair)).square().mean() + critic(pair.detach()).mean()
    loss.backward()
    for optimizer in it.optimizers.values():
        optimizer.step()
    with torch.no_grad():
        for mean, now in zip(target.parameters(), critic.parameters(), strict=True):
            mean.lerp_(now, 0.1)


class Committee(nn.Module):
    def __init__(self, registered: bool) -> None:
        super().__init__()
        members = [mlp(2, 3) for _ in range(2)]
        self.members = nn.ModuleList(members) if registered else members
        self.vote = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.vote(torch.cat([member(x) for member in self.members], 1))
        return out


def with_a_committee(fixed: bool) -> It:
    G, D = mlp(2, 2), Committee(fixed)
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


@loop(
    ("ownership", "D"),
    build=with_a_committee,
    intended=lambda it, who, i: usual(it, who, i) if it.fixed else None,
    says="for 8 parameters inside D that are not among its parameters, for members is a plain list",
    advice="nn.ModuleList",
)
def a_judge_made_of_nets_in_a_plain_list(it: It, i: int) -> None:
    judge_alone(it, i)
    generator_alone(it, i)


def with_latents(fixed: bool) -> It:
    it = pair(fixed)
    it.latents = nn.Parameter(noise(0))
    it.optimizers["G"].add_param_group({"params": [it.latents]})
    it.weight = nn.Parameter(torch.zeros(()))
    it.own = optim.SGD([it.weight], lr=0.1)
    return it


@loop(build=with_latents, intended=None)
def parameters_of_no_net_that_optimizers_hold(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.own.zero_grad()
    step(it, "G", bce(D(G(it.latents)), 1.0) * it.weight.exp() - it.weight)
    it.own.step()
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))


@loop(build=with_latents, intended=None)
def parameters_of_no_net_that_are_moved_by_hand(it: It, i: int) -> None:
    G, D = it.nets.values()
    step(it, "G", bce(D(G(noise(i))), 1.0) * it.weight.exp() - it.weight)
    with torch.no_grad():
        it.weight -= 0.1 * it.weight.grad
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))


def with_a_fixed_net(fixed: bool) -> It:
    it = pair(fixed)
    it.features = mlp(2, 4).requires_grad_(False)
    return it


def of_content(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return bce(D(fake), 1.0) + mse_loss(it.features(fake), it.features(real(i)))


def turns_by_content(it: It, i: int, gradients: bool) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    fake = G(noise(i))
    (bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)).backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    with torch.no_grad():
        wanted = it.features(real(i))
    with torch.set_grad_enabled(gradients):
        content = mse_loss(it.features(fake), wanted)
    (bce(D(fake), 1.0) + content).backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    build=with_a_fixed_net,
    intended=of_content,
    says="computed under torch.no_grad in `content = .*, through the weights of a fixed net",
    advice="requires_grad_\\(False\\), not by torch.no_grad",
)
def the_features_of_a_fixed_net_without_gradients(it: It, i: int) -> None:
    turns_by_content(it, i, gradients=it.fixed)


@loop(build=with_a_fixed_net, intended=of_content)
def only_the_wanted_features_without_gradients(it: It, i: int) -> None:
    turns_by_content(it, i, gradients=True)


@loop(
    waste="cut-off",
    intended=with_content,
    says="computed under torch.no_grad in `content = .*, and G learns",
    advice="If it is for a log, leave it out of the loss",
)
def a_difference_without_gradients(it: It, i: int) -> None:
    """No loss function: it may be there for what is printed."""
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    with torch.set_grad_enabled(it.fixed):
        content = (fake - real(i)).abs().mean()
    step(it, "G", bce(D(fake), 1.0) + content)


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="computed under torch.no_grad in `content = .*, and G learns",
    advice="compute it with gradients on",
)
def a_distance_without_gradients(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    with torch.set_grad_enabled(it.fixed):
        content = l1_loss(fake, real(i))
    step(it, "G", bce(D(fake), 1.0) + content)


class Weighed(nn.Module):
    """A judge whose verdict has a temperature that it learns. ``number``: how it is read."""

    def __init__(self, number: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self.number = mlp(2, 1), number
        self.heat = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        heat = self.number(self.heat)
        out: Tensor = self.body(x) * heat
        return out


def judged_by_weight(fixed: bool, number: Callable[[Tensor], Any]) -> It:
    it = pair(fixed)
    it.nets["D"] = Weighed((lambda heat: heat.exp()) if fixed else number)
    it.optimizers["D"] = sgd(it.nets["D"])
    return it


def of_weighed(it: It, who: str, i: int) -> Tensor | None:
    G, D = it.nets.values()
    if who == "G":
        return None
    was, D.number = D.number, lambda heat: heat.exp()
    loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    D.number = was
    return loss


def of_weighed_by_hand(it: It, who: str, i: int) -> Tensor | None:
    return of_weighed(it, who, i) if who == "D" else bce(it.nets["D"](it.nets["G"](noise(i))), 1.0)


def judged_turns(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    step(it, "G", bce(D(fake), 1.0))


def weighed_turns(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    with torch.no_grad():
        D.heat.clamp_(0.0, 2.0)
    step(it, "G", bce(D(fake), 1.0))


@loop(
    ("cut-off", "D"),
    build=lambda fixed: judged_by_weight(fixed, lambda heat: heat.exp().item()),
    intended=of_weighed,
    says="reached heat of D, .* .item\\(\\) in .* makes a Python number",
    advice="Leave out .item\\(\\) there",
)
def a_temperature_that_is_read_as_a_number(it: It, i: int) -> None:
    weighed_turns(it, i)


@loop(
    ("cut-off", "D"),
    build=lambda fixed: judged_by_weight(fixed, lambda heat: heat.item() + 1.0),
    intended=None,
    says=".item\\(\\) in .* makes a Python number",
    advice="Leave out .item\\(\\) there",
)
def a_temperature_that_is_read_directly(it: It, i: int) -> None:
    weighed_turns(it, i)


@loop(
    ("cut-off", "D"),
    build=lambda fixed: judged_by_weight(fixed, lambda heat: heat.data.exp()),
    intended=of_weighed_by_hand,
    says="reached heat of D, .* .data in .* cuts it off where the forward reads it",
    advice="Leave out .data there",
)
def a_temperature_that_is_read_by_data(it: It, i: int) -> None:
    judged_turns(it, i)


@loop(build=lambda fixed: judged_by_weight(False, lambda heat: heat.detach().exp()), intended=None)
def a_temperature_that_is_moved_by_hand(it: It, i: int) -> None:
    """No loss is to reach it."""
    judged_turns(it, i)
    with torch.no_grad():
        it.nets["D"].heat.mul_(0.99)


def logged(heat: Tensor) -> Tensor:
    assert heat.detach().item() > 0
    return heat.exp()


@loop(build=lambda fixed: judged_by_weight(False, logged), intended=None)
def a_temperature_of_which_a_copy_is_logged(it: It, i: int) -> None:
    judged_turns(it, i)


def looked_at(heat: Tensor) -> Tensor:
    assert heat.exp().item() > 0
    return heat.exp()


@loop(build=lambda fixed: judged_by_weight(False, looked_at), intended=of_weighed)
def a_temperature_that_is_looked_at(it: It, i: int) -> None:
    weighed_turns(it, i)


def cut_after_the_judge(it: It, i: int, after: bool) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    verdict = D(fake).detach() if after else D(fake.detach())
    step(it, "D", bce(D(real(i)), 1.0) + bce(verdict, 0.0))
    it.optimizers["G"].zero_grad()
    bce(D(fake), 1.0).backward(inputs=list(G.parameters()))
    it.optimizers["G"].step()


@loop(
    ("cut-off", "D"),
    says="what D said of the output of G was cut off by detach\\(\\) in `verdict = .*, after D",
    advice="call D again, on the detached output of G",
)
def the_verdict_is_detached_and_not_the_fake(it: It, i: int) -> None:
    cut_after_the_judge(it, i, after=not it.fixed)


@loop()
def the_fake_is_detached_and_not_the_verdict(it: It, i: int) -> None:
    cut_after_the_judge(it, i, after=False)


@loop(
    ("cut-off", "G"),
    build=with_a_fixed_net,
    intended=of_content,
    says="of what detach\\(\\) had cut off in `content = .*, through the weights of a fixed net",
    advice="make it of the output of G itself, without detach",
)
def the_features_of_a_fixed_net_on_a_detached_fake(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    content = mse_loss(it.features(fake if it.fixed else fake.detach()), it.features(real(i)))
    step(it, "G", bce(D(fake), 1.0) + content)


def hooked(it: It, x: Tensor, cut: bool) -> Tensor:
    """The features that a hook keeps while the fixed net runs."""
    kept = list[Tensor]()
    handle = it.features[0].register_forward_hook(
        lambda part, given, out: kept.append(out.clone().detach() if cut else out)
    )
    it.features(x)
    handle.remove()
    return kept[0]


def of_hooked(it: It, who: str, i: int, cut: bool = False) -> Tensor:
    G, D = it.nets["G"], it.nets["D"]
    fake = G(noise(i))
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return bce(D(fake), 1.0) + mse_loss(hooked(it, fake, cut), hooked(it, real(i), cut=True))


@loop(
    ("cut-off", "G"),
    build=with_a_fixed_net,
    intended=of_hooked,
    says="what detach\\(\\) had cut off in .*through the weights of a fixed net, and G learns",
    advice="make it of the output of G itself, without detach",
    source="https://github.com/myscience/open-genie/issues/6",
)
def the_features_of_a_fixed_net_detached_in_a_hook(it: It, i: int) -> None:
    step(it, "D", of_hooked(it, "D", i))
    step(it, "G", of_hooked(it, "G", i, cut=not it.fixed))


def with_a_named_fixed_net(fixed: bool) -> It:
    it = with_a_fixed_net(fixed)
    it.nets["features"] = it.features
    return it


@loop(
    ("cut-off", "G"),
    build=with_a_named_fixed_net,
    intended=of_hooked,
    says="through the weights of a fixed net, and G learns nothing",
    advice="make it of the output of G itself, without detach",
)
def the_features_of_a_named_fixed_net_detached_in_a_hook(it: It, i: int) -> None:
    step(it, "D", of_hooked(it, "D", i))
    step(it, "G", of_hooked(it, "G", i, cut=not it.fixed))


@loop(build=with_a_fixed_net, intended=of_hooked)
def only_the_wanted_features_detached_in_a_hook(it: It, i: int) -> None:
    for who in "DG":
        step(it, who, of_hooked(it, who, i))


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="made of what detach\\(\\) had cut off in `content = .*, and G learns nothing",
    advice="make it of the output of G itself, without detach",
)
def a_distance_of_a_detached_fake(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    content = l1_loss(fake if it.fixed else fake.detach(), real(i))
    step(it, "G", bce(D(fake), 1.0) + content)


@loop()
def a_distance_that_is_added_for_the_log(it: It, i: int) -> None:
    """It was detached when it was made, so that only what is printed knows of it."""
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    step(it, "G", bce(D(fake), 1.0) + l1_loss(fake, real(i)).detach())


@loop(
    ("cut-off", "G"),
    intended=lambda it, who, i: features_again(it, i) if who == "G" else usual(it, who, i),
    says="a constant: it was made of what detach\\(\\) had cut off in `features = ",
    advice="make it of the output of G itself, without detach",
)
def features_of_the_turn_of_d_in_that_of_g(it: It, i: int) -> None:
    """G learns through D from its verdict, and not from what is called features here."""
    G, D = it.nets.values()
    fake = G(noise(i))
    of_fake, of_real = D(fake.detach()), D(real(i))
    step(it, "D", bce(of_real, 1.0) + bce(of_fake, 0.0))
    if it.fixed:
        return step(it, "G", features_again(it, i))
    features = mse_loss(of_fake.detach(), of_real.detach())
    return step(it, "G", bce(D(fake), 1.0) + features)


def features_again(it: It, i: int) -> Tensor:
    D, fake = it.nets["D"], it.nets["G"](noise(i))
    return bce(D(fake), 1.0) + mse_loss(D(fake), D(real(i)).detach())


def with_appearance(fixed: bool) -> It:
    """A generator of noise and of a code of how things look, which another optimizer trains."""
    nets = {"gen": mlp(4, 2), "look": mlp(2, 2), "dis": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


def of_appearance(it: It, who: str, i: int) -> Tensor:
    gen, look, dis = it.nets.values()
    code = look(real(i))
    fake = gen(torch.cat([noise(i), code.detach()], 1))
    if who == "dis":
        return bce(dis(real(i)), 1.0) + bce(dis(fake.detach()), 0.0)
    return bce(dis(fake), 1.0) + mse_loss(code, noise(i))


@loop(build=with_appearance, intended=of_appearance)
def a_code_with_a_loss_of_its_own_is_kept_from_the_judge(it: It, i: int) -> None:
    """Told as a note, with a question: a forgotten detach looks the same."""
    step(it, "dis", of_appearance(it, "dis", i))
    gradients = [it.optimizers["gen"], it.optimizers["look"]]
    for optimizer in gradients:
        optimizer.zero_grad()
    of_appearance(it, "gen", i).backward()
    for optimizer in gradients:
        optimizer.step()


def autoencoder_and_judge(fixed: bool) -> It:
    nets = {"enc": mlp(2, 2), "dec": mlp(2, 2), "dis": mlp(2, 1)}
    both = sgd(nets["enc"], nets["dec"])
    return It(fixed=fixed, nets=nets, optimizers={"both": both, "dis": sgd(nets["dis"])})


def decoded(it: It, who: str, i: int) -> Tensor:
    enc, dec, dis = it.nets.values()
    code = enc(real(i))
    fake = dec(code.detach())
    if who == "dis":
        return bce(dis(real(i)), 1.0) + bce(dis(fake.detach()), 0.0)
    return bce(dis(fake), 1.0) + mse_loss(dec(code), real(i))


@loop(build=autoencoder_and_judge, intended=decoded)
def an_encoder_that_is_kept_from_the_judge_in_one_term_of_two(it: It, i: int) -> None:
    """A VAE-GAN: what the judge says shapes the decoder alone. One optimizer for both."""
    step(it, "dis", decoded(it, "dis", i))
    step(it, "both", decoded(it, "both", i))


def with_the_judge(nets: dict[str, Any], i: int, cut: bool) -> Tensor:
    gen, look, dis = nets.values()
    code = look(real(i))
    fake = gen(torch.cat([noise(i), code.detach() if cut else code], 1))
    return bce(dis(fake), 1.0) + mse_loss(code, noise(i))


def of_appearance_that_is_judged(it: It, who: str, i: int) -> Tensor:
    if who == "dis":
        return of_appearance(it, who, i)
    return with_the_judge({**it.then, who: it.nets[who]}, i, cut=False)


@loop(
    waste="cut-off",
    build=with_appearance,
    intended=of_appearance_that_is_judged,
    says="what look made goes to gen cut off by detach.*and dis judges what gen made of it",
    advice="If look should learn from dis, too, hand on what look made with its graph",
)
def a_code_that_the_judge_should_teach_too(it: It, i: int) -> None:
    step(it, "dis", of_appearance(it, "dis", i))
    gradients = [it.optimizers["gen"], it.optimizers["look"]]
    for optimizer in gradients:
        optimizer.zero_grad()
    with_the_judge(it.nets, i, cut=not it.fixed).backward()
    it.then = copy.deepcopy(it.nets)
    for optimizer in gradients:
        optimizer.step()


def judged(it: It, who: str, i: int, cut: bool = False) -> Tensor:
    enc, dec, dis = it.nets.values()
    code = enc(real(i))
    fake = dec(code.detach() if cut else code)
    if who == "dis":
        return bce(dis(real(i)), 1.0) + bce(dis(fake.detach()), 0.0)
    return bce(dis(fake), 1.0) + mse_loss(code, noise(i))


@loop(
    ("cut-off", "enc"),
    build=autoencoder_and_judge,
    intended=judged,
    says="the term that comes from dis is a constant for enc",
    advice="with no detach\\(\\)",
)
def an_encoder_in_one_optimizer_that_no_judge_reaches(it: It, i: int) -> None:
    """It only learns to be near the noise."""
    step(it, "dis", judged(it, "dis", i))
    step(it, "both", judged(it, "both", i, cut=not it.fixed))


def put_together(it: It, i: int, how: str) -> Tensor:
    """What G is to match, of two layers of D, beside what D says."""
    G, D = it.nets.values()
    fake = G(noise(i))
    terms = [torch.mean(torch.abs(D[:k](fake) - D[:k](real(i)).detach())) for k in (1, 2)]
    terms += [mse_loss(fake, real(i))]
    matched: Callable[..., Tensor] = getattr(torch, how)
    return bce(D(fake), 1.0) + 2 * matched(terms).sum()


def matched_and_judged(it: It, who: str, i: int) -> Tensor | None:
    return put_together(it, i, "stack") if who == "G" else usual(it, who, i)


def turns_that_match(it: It, i: int, how: str) -> None:
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", loss)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of numbers that are read off a graph
        step(it, "G", put_together(it, i, how))


ANEW = {
    "intended": matched_and_judged,
    "advice": "by torch.stack\\(...\\), or add them up",
    "source": "https://github.com/laekov/fastmoe/issues/49",
}


@loop(("cut-off", "G"), says="torch.tensor\\(\\) made it anew of mere numbers", **ANEW)
def terms_that_are_made_a_new_tensor(it: It, i: int) -> None:
    turns_that_match(it, i, "stack" if it.fixed else "tensor")


@loop(("cut-off", "G"), says="torch.as_tensor\\(\\) made it anew of mere numbers", **ANEW)
def terms_that_are_made_a_tensor_by_another_name(it: It, i: int) -> None:
    turns_that_match(it, i, "stack" if it.fixed else "as_tensor")


@loop(intended=matched_and_judged)
def terms_that_are_stacked_and_summed(it: It, i: int) -> None:
    turns_that_match(it, i, "stack")


@loop(intended=usual)
def losses_made_a_new_tensor_for_the_log(it: It, i: int) -> None:
    """And as weights, and to tell how far a loss is from what it was."""
    G, D = it.nets.values()
    d_loss = usual(it, "D", i)
    assert d_loss is not None
    step(it, "D", d_loss)
    g_loss = bce(D(G(noise(i))), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        it.kept.append(torch.tensor([d_loss, g_loss]).sum())
        shares = torch.tensor([g_loss, g_loss]).softmax(0)
        value = torch.tensor(g_loss)
    step(it, "G", 2 * shares[0] * (g_loss - value))


def with_kept_parameters(fixed: bool) -> It:
    """The parameters of the critic are kept, to freeze and thaw them: a generator is used up."""
    nets = {"enc": mlp(2, 2), "critic": mlp(2, 1), "actor": mlp(2, 2)}
    optimizers = {"q": sgd(nets["enc"], nets["critic"]), "actor": sgd(nets["actor"])}
    kept = nets["critic"].parameters()
    return It(fixed=fixed, nets=nets, optimizers=optimizers, kept=list(kept) if fixed else kept)


def of_actor_or_critic(it: It, who: str, i: int) -> Tensor:
    enc, critic, actor = it.nets.values()
    z = enc(noise(i))
    if who == "q":
        return mse_loss(critic(z), real(i)[:, :1])
    worth: Tensor = critic(actor(z.detach()))
    return -worth.mean()


@loop(
    ("cut-off", "critic"),
    build=with_kept_parameters,
    intended=of_actor_or_critic,
    says="`p.requires_grad = False` had frozen it for .*, and it was never thawed again",
    advice="Thaw critic .*make it anew, or a list of it",
    source="https://github.com/openai/spinningup/pull/320",
)
def a_critic_thawed_by_a_generator_that_is_used_up(it: It, i: int) -> None:
    step(it, "q", of_actor_or_critic(it, "q", i))
    for p in it.kept:
        p.requires_grad = False
    step(it, "actor", of_actor_or_critic(it, "actor", i))
    for p in it.kept:
        p.requires_grad = True


@loop(build=with_kept_parameters, intended=None)
def a_critic_that_stands_still_after_a_warm_up(it: It, i: int) -> None:
    """Frozen for good before a turn of its own, in which the encoder learns on."""
    if i == 1:
        it.nets["critic"].requires_grad_(False)
    step(it, "q", of_actor_or_critic(it, "q", i))
    step(it, "actor", of_actor_or_critic(it, "actor", i))


@loop(build=with_kept_parameters, intended=None)
def an_encoder_that_learns_twice_through_a_frozen_critic(it: It, i: int) -> None:
    """It is thawed for its own turn, once in each iteration."""
    critic = it.nets["critic"]
    critic.requires_grad_(True)
    step(it, "q", of_actor_or_critic(it, "q", i))
    critic.requires_grad_(False)
    step(it, "actor", of_actor_or_critic(it, "actor", i))
    for _ in range(2):
        step(it, "q", of_actor_or_critic(it, "q", i))


def features_apart(it: It, i: int, cut: str = "target") -> Tensor:
    """What D says of the fake, and how far two layers of D are from what they make of real ones."""
    G, D = it.nets.values()
    fake, total = G(noise(i)), torch.zeros(())
    for k in (1, 2):
        if cut == "difference":
            total = total + torch.mean(torch.abs(D[:k](fake) - D[:k](real(i))).detach())
        else:
            total = total + torch.mean(torch.abs(D[:k](fake) - D[:k](real(i)).detach()))
    return bce(D(fake), 1.0) + 2 * total


@loop(
    ("cut-off", "G"),
    intended=lambda it, who, i: features_apart(it, i) if who == "G" else usual(it, who, i),
    says="a distance to the output of G, and a constant: detach\\(\\) in `total = ",
    advice="move detach\\(\\) to the target",
    source="https://github.com/yuval-reshef/StreamVC/issues/3",
)
def a_difference_of_features_that_is_cut_off(it: It, i: int) -> None:
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", loss)
    step(it, "G", features_apart(it, i, "target" if it.fixed else "difference"))


def distances(it: It, who: str, i: int) -> Tensor | None:
    fake = it.nets["G"](noise(i))
    apart = (fake - real(i)).abs()
    return bce(it.nets["D"](fake), 1.0) + apart.mean() if who == "G" else usual(it, who, i)


@loop(
    ("cut-off", "G"),
    intended=distances,
    says="a distance to the output of G, and a constant",
    advice="move detach\\(\\) to the target",
)
def a_distance_that_is_cut_off_before_its_mean(it: It, i: int) -> None:
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", loss)
    fake, wanted = it.nets["G"](noise(i)), real(i)
    apart = (fake - wanted.detach()).abs() if it.fixed else (fake - wanted).abs().detach()
    step(it, "G", bce(it.nets["D"](fake), 1.0) + apart.mean())


@loop(intended=distances)
def a_distance_that_is_taken_from_itself(it: It, i: int) -> None:
    """Its value is zero, and its gradient that of the distance; the other one weighs samples."""
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", loss)
    fake = it.nets["G"](noise(i))
    apart = (fake - real(i)).abs()
    weight = 1 + 0 * (fake - real(i)).abs().detach()
    zero = weight * apart - apart.detach()
    step(it, "G", bce(it.nets["D"](fake), 1.0) + zero.mean())
