"""One player of several, or one term of several, learns nothing; each with right loops like it."""

from __future__ import annotations

from torch import Tensor, nn, optim

from .kit import It, bce, loop, mlp, noise, real, sgd


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
