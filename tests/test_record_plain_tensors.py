"""Which tensors that stand in a net like parameters got a gradient that nobody wants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from gan_lessons import record


class Kept(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(2, 1)
        self.kept = torch.ones(3, 2, requires_grad=True)

    def forward(self) -> Tensor:
        made: Tensor = self.last(self.kept[:2])
        return made.sum()


def told(turn: Callable[[Kept], object], held: bool = False) -> dict[str, list[str]]:
    net = Kept()
    with record({"net": net}, {"opt": SGD([*net.parameters(), *[net.kept][:held]], lr=0.1)}) as rec:
        for _ in range(2):
            turn(net)
    return {name: [*row] for name, row in rec.plain.items()}


def learned(net: Kept) -> Tensor:
    loss = net()
    loss.backward(retain_graph=True)
    return loss


def asked_at_a_part(net: Kept) -> None:
    part = net.kept.reshape(2, 3).reshape(3, 2)
    loss = net.last(part).sum() + learned(net)
    torch.autograd.grad(loss, [part])


def asked_at_another(net: Kept) -> None:
    other = torch.ones(3, 2, requires_grad=True)
    part = net.last(other * 2)
    torch.autograd.grad(part.sum() + learned(net), [other, part])


def asked(net: Kept) -> None:
    loss = net()
    loss.backward(inputs=[*net.last.parameters()], retain_graph=True)
    net.kept.grad = torch.autograd.grad(loss, [net.kept])[0]


def changed(net: Kept) -> None:
    learned(net)
    with torch.no_grad():
        net.kept.mul_(0.5)


def used_without_a_gradient(net: Kept) -> None:
    net.last(net.kept.detach()).sum().backward()


@pytest.mark.parametrize(
    ("turn", "found"),
    [
        (learned, True),
        (asked_at_another, True),
        (asked_at_a_part, False),
        (asked, False),
        (lambda net: (learned(net), net.kept.grad.norm()), False),
        (changed, False),
        (used_without_a_gradient, False),
    ],
    ids=["learned", "asked at another", "at a part", "asked", "read", "changed", "unused"],
)
def test_a_tensor_whose_gradient_nobody_wants(turn: Callable[[Kept], object], found: bool) -> None:
    assert told(turn) == ({"net": ["kept"]} if found else {})


def test_one_that_an_optimizer_holds_is_wanted() -> None:
    assert told(learned, held=True) == {}
