"""Whose gradients somebody's own code computed with, and when; and modules that reverse by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from gan_lessons import diagnose, record

PLACES = [("net", "weight")]


def seen(between: Callable[[nn.Linear, SGD], object]) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the events after a backward say was computed with ``between`` it and a zero_grad."""
    net = nn.Linear(2, 1)
    optimizer = SGD(net.parameters(), lr=0.1)
    with record({"net": net}, {"opt": optimizer}) as rec:
        net(torch.ones(1, 2)).sum().backward()
        between(net, optimizer)
        optimizer.zero_grad()
        net(torch.ones(1, 2)).sum().backward()
    return [(e.kind, [*e.computed_with]) for e in rec.events if e.computed_with]


@pytest.mark.parametrize(
    "between",
    [
        lambda net, _: net.weight.grad.norm(),
        lambda net, _: net.weight.grad * 2,
        lambda net, _: net.weight.grad.detach().clone(),
        lambda net, _: net.weight.grad.data.clone(),
        lambda net, _: torch.linalg.vector_norm(net.weight.grad),
        lambda net, _: torch.ones(1, 2) * net.weight.grad,
    ],
    ids=["norm", "times", "detach", "data", "function", "second factor"],
)
def test_what_is_computed_with_is_told_with_the_next_event(
    between: Callable[[nn.Linear, SGD], object],
) -> None:
    assert seen(between) == [("zero_grad", PLACES)]


@pytest.mark.parametrize(
    "between",
    [
        lambda net, _: net.weight.grad is None,
        lambda net, _: net.weight.grad.shape,
        lambda net, _: net.weight.grad.zero_(),
        lambda net, _: net.weight.grad.data.zero_(),
        lambda net, _: net.weight.grad.detach_().zero_(),
        lambda net, _: clip_grad_norm_(net.parameters(), 1.0),
        lambda _, optimizer: optimizer.step(),
        lambda _, optimizer: optimizer.step(lambda: torch.zeros(())),
        lambda net, optimizer: (net.weight.grad is None, optimizer.step()),
        lambda net, optimizer: (net.weight.grad is None, optimizer.step(lambda: torch.zeros(()))),
        lambda net, _: net.weight.norm(),
    ],
    ids=[
        "None",
        "shape",
        "zero",
        "data",
        "detach",
        "clip",
        "step",
        "closure",
        "None, then step",
        "None, then closure",
        "weight",
    ],
)
def test_what_is_only_looked_at_or_cleared_or_torchs_own_work_is_not(
    between: Callable[[nn.Linear, SGD], object],
) -> None:
    assert seen(between) == []


def test_what_is_kept_over_another_event_is_told_when_it_is_computed_with() -> None:
    def between(net: nn.Linear, _: SGD) -> None:
        kept = net.weight.grad
        net(torch.ones(1, 2))
        assert kept is not None
        kept.norm()

    assert seen(between) == [("zero_grad", PLACES)]


class Reversal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x

    def backward(self, grad: Tensor) -> Tensor:
        return -grad


class Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return -grad


class ReversalByFunction(Reversal):
    def forward(self, x: Tensor) -> Tensor:
        turned: Tensor = Turned.apply(x)
        return turned


class ReversalThatLearns(Reversal):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


class Plain(Reversal):
    """No name of a reversal: somebody's backward pass by hand, say."""


@pytest.mark.parametrize(
    ("kind", "used", "found"),
    [
        (Reversal, True, {"net": "1"}),
        (Reversal, False, {}),
        (ReversalByFunction, True, {}),
        (ReversalThatLearns, True, {}),
        (Plain, True, {}),
    ],
)
def test_a_module_that_is_to_reverse(
    kind: type[Reversal], used: bool, found: dict[str, str]
) -> None:
    """Not used: with an input that has no graph, there is nothing to turn round."""
    net = nn.Sequential(nn.Linear(2, 2).requires_grad_(used), kind(), nn.Linear(2, 1))
    with record({"net": net}, {"opt": SGD(net.parameters(), lr=0.1)}) as rec:
        net(torch.ones(1, 2)).sum().backward()
    assert rec.unreversed == found
    assert not net[1]._forward_hooks
    assert not net[1]._forward_pre_hooks


def test_a_module_that_is_to_reverse_is_told_of_a_net_that_a_backward_walked() -> None:
    net, other = nn.Sequential(nn.Linear(2, 2), Reversal()), nn.Linear(2, 1)
    optimizers = {"opt": SGD([*net.parameters(), *other.parameters()], lr=0.1)}
    for walked, told in ((net, True), (other, False)):
        with record({"net": net, "other": other}, optimizers) as rec:
            made = {id(n): n(torch.ones(1, 2)) for n in (net, other)}
            made[id(walked)].sum().backward()
            optimizers["opt"].step()
        assert rec.unreversed == {"net": "1"}
        assert ("reversed" in diagnose(rec).codes) is told


@pytest.mark.parametrize("used", [False, True])
def test_who_stepped_on_it_is_not_to_be_cleared_after_it(used: bool) -> None:
    """One loss of two players, of which one was cleared before its step."""
    one, two = nn.Linear(2, 2), nn.Linear(2, 1)
    opt_one, opt_two = SGD(one.parameters(), lr=0.1), SGD(two.parameters(), lr=0.1)
    with record({"one": one, "two": two}, {"one": opt_one, "two": opt_two}) as rec:
        for _ in range(2):
            opt_two.zero_grad()
            two(one(torch.ones(1, 2))).sum().backward()
            if used:
                opt_two.step()
            opt_one.zero_grad()
            opt_one.step()
    told = next(f for f in diagnose(rec).findings if (f.code, f.net) == ("cut-off", "one"))
    assert told.fix.startswith("Clear before backward, not between backward and step.")
    assert ("writes into two as well" in told.fix) is not used
