"""A loss of one judge asks another judge for one of its terms; and right loops with two judges."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from .kit import It, bce, draw, loop, mlp, noise, real, sgd
from .right import step


def two_ways(fixed: bool) -> It:
    nets = {"to_b": mlp(2, 2), "to_a": mlp(2, 2), "of_a": mlp(2, 1), "of_b": mlp(2, 1)}
    makers = sgd(nets["to_b"], nets["to_a"])
    judges = {name: sgd(nets[name]) for name in ("of_a", "of_b")}
    return It(fixed=fixed, nets=nets, optimizers={"makers": makers, **judges})


def squares(verdict: Tensor, label: float) -> Tensor:
    return mse_loss(verdict, torch.full_like(verdict, label))


def losses(
    it: It, who: str, i: int, to: Callable[[Tensor, float], Tensor], real_b: str, fake_b: str
) -> Tensor:
    """``real_b``, ``fake_b``: who judges those of B."""
    to_b, to_a, of_a, of_b = it.nets.values()
    a, b = real(i), draw(i, 4.0)
    fake_a, made_b = to_a(b), to_b(a)
    if who == "makers":
        cycle = l1_loss(to_a(made_b), a) + l1_loss(to_b(fake_a), b)
        return to(of_a(fake_a), 1.0) + to(of_b(made_b), 1.0) + cycle
    if who == "of_a":
        return to(of_a(a), 1.0) + to(of_a(fake_a.detach()), 0.0)
    return to(it.nets[real_b](b), 1.0) + to(it.nets[fake_b](made_b.detach()), 0.0)


def wanted(to: Callable[[Tensor, float], Tensor]) -> Callable[[It, str, int], Tensor]:
    return lambda it, who, i: losses(it, who, i, to, "of_b", "of_b")


def judges_together(
    it: It, i: int, to: Callable[[Tensor, float], Tensor], real_b: str, fake_b: str
) -> None:
    step(it, "makers", losses(it, "makers", i, to, real_b, fake_b))
    for who in ("of_a", "of_b"):
        it.optimizers[who].zero_grad()
    for who in ("of_a", "of_b"):
        losses(it, who, i, to, real_b, fake_b).backward()
    for who in ("of_a", "of_b"):
        it.optimizers[who].step()


@loop(
    ("polluted", "of_a"),
    build=two_ways,
    intended=wanted(squares),
    says="of_b sees nothing but what to_b made, and learns to say one thing",
    advice="Call of_b instead of of_a there",
    source="https://github.com/alokwhitewolf/Pytorch-Attention-Guided-CycleGAN/issues/7",
)
def the_real_samples_of_one_go_to_the_other_judge(it: It, i: int) -> None:
    judges_together(it, i, squares, "of_b" if it.fixed else "of_a", "of_b")


@loop(
    ("polluted", "of_a"),
    build=two_ways,
    intended=wanted(bce),
    says="of_b sees nothing that to_b made, and learns to say one thing of all it sees",
    advice="Call of_b instead of of_a there",
)
def the_fakes_of_one_go_to_the_other_judge(it: It, i: int) -> None:
    judges_together(it, i, bce, "of_b", "of_b" if it.fixed else "of_a")


@loop(build=two_ways, intended=wanted(squares))
def each_judge_sees_its_own(it: It, i: int) -> None:
    judges_together(it, i, squares, "of_b", "of_b")


@loop(build=two_ways, intended=wanted(bce))
def each_judge_sees_its_own_in_one_sum(it: It, i: int) -> None:
    step(it, "makers", losses(it, "makers", i, bce, "of_b", "of_b"))
    of_a, of_b = (losses(it, who, i, bce, "of_b", "of_b") for who in ("of_a", "of_b"))
    for who in ("of_a", "of_b"):
        it.optimizers[who].zero_grad()
    (of_a + of_b).backward()
    for who in ("of_a", "of_b"):
        it.optimizers[who].step()


def one_is_asked_as_well(it: It, who: str, i: int) -> Tensor:
    """The judge of A learns that samples of B are none of A: a third kind of what it sees."""
    found = losses(it, who, i, bce, "of_b", "of_b")
    return found + bce(it.nets["of_a"](noise(i)), 0.0) if who == "of_a" else found


@loop(build=two_ways, intended=one_is_asked_as_well)
def a_judge_that_sees_noise_as_well(it: It, i: int) -> None:
    for who in it.optimizers:
        step(it, who, one_is_asked_as_well(it, who, i))
