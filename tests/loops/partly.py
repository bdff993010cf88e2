"""One player of several, or one term of several, learns nothing; each with right loops like it."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import l1_loss

from .kit import It, bce, loop, mlp, noise, real, sgd, usual
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
