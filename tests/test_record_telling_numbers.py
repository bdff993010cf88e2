"""Numbers and shapes that give a mistake away, as facts of a record; what an optimizer holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import record
from gan_lessons.lens.model import Graph

X = torch.linspace(-1, 1, 8).reshape(4, 2)


class Turned(torch.autograd.Function):
    """Hands its input on, and its gradient back times -2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -2 * grad


class Doubled(Turned):
    """Does not hand it on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x


def graph_of(loss: Callable[[Tensor], Tensor]) -> Graph:
    """The graph of ``loss`` of what a net made: (4, 1)."""
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    with record({"D": net}) as rec:
        loss(net(X)).backward()
    return rec.graph


def test_a_function_that_hands_its_input_on_is_known_by_its_factor() -> None:
    def of(function: type[torch.autograd.Function]) -> dict[str, float]:
        graph = graph_of(lambda made: function.apply(made).square().mean())
        return {graph.nodes[key].op: factor for key, factor in graph.passes.items()}

    assert of(Turned) == {"TurnedBackward": pytest.approx(-2)}
    assert of(Doubled) == {}


def test_a_number_that_is_made_anew_is_known_and_a_zero_is_what_a_sum_begins_with() -> None:
    def beside(number: float) -> int:
        leaf = torch.tensor(number, requires_grad=True)
        return len(graph_of(lambda made: made.mean() + leaf).anew)

    assert (beside(2.0), beside(0.0)) == (1, 0)


def test_a_column_that_meets_a_row() -> None:
    row = torch.arange(4.0)
    assert list(graph_of(lambda made: (made - row).square().mean()).pairs.values()) == [4]
    assert graph_of(lambda made: (made - row[:, None]).square().mean()).pairs == {}
    assert graph_of(lambda made: (made.view(4, 1) - row).mean()).pairs == {}  # it was meant


def test_a_difference_of_zeros_and_a_number_that_was_added() -> None:
    def ops(graph: Graph) -> list[str]:
        return [graph.nodes[key].op for key in graph.cancelled]

    assert ops(graph_of(lambda made: (made - made).mean())) == ["SubBackward0"]
    assert ops(graph_of(lambda made: (made - 2 * made).mean())) == []
    assert ops(graph_of(lambda made: (made - made.detach()).mean())) == []  # one side alone
    assert list(graph_of(lambda made: made.mean() + 0.25).constants.values()) == [0.25]
    assert list(graph_of(lambda made: made.mean() - 0.5).constants.values()) == [0.5]
    assert graph_of(lambda made: (made + 0.25).mean()).constants == {}  # of many numbers


def test_one_number_that_is_zero_and_by_what_one_is_multiplied() -> None:
    def ops(graph: Graph) -> list[str]:
        return [graph.nodes[key].op for key in graph.zeros]

    assert ops(graph_of(lambda made: (made - made.detach()).abs().mean())) == ["MeanBackward0"]
    assert ops(graph_of(lambda made: nn.functional.mse_loss(made, made))) == ["MseLossBackward0"]
    assert ops(graph_of(lambda made: nn.functional.mse_loss(made, 2 * made))) == []
    assert list(graph_of(lambda made: -0.5 * made.mean()).factors.values()) == [-0.5]
    assert list(graph_of(lambda made: made.mean() / torch.tensor(4.0)).factors.values()) == [4.0]
    assert graph_of(lambda made: (2 * made).mean()).factors == {}  # of many numbers


@pytest.mark.parametrize("graph", [True, False])
def test_a_gradient_with_a_graph_is_known(graph: bool) -> None:
    net, x = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), X.clone().requires_grad_(True)
    with record({"D": net}) as rec:
        (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=graph)
    assert slope.requires_grad is graph
    assert bool(rec.graph.curved) is graph


@pytest.mark.parametrize("held", [True, False])
def test_what_took_weights_that_no_optimizer_holds_is_known(held: bool) -> None:
    net, fixed = nn.Linear(2, 2), nn.Linear(2, 1)
    both = [*net.parameters(), *(fixed.parameters() if held else ())]
    with record({"D": net}, {"D": torch.optim.SGD(both, 0.1)}) as rec:
        fixed(net(X)).sum().backward()
    assert {rec.graph.nodes[key].op for key in rec.graph.judged} == (
        set() if held else {"AddmmBackward0"}
    )


@pytest.mark.parametrize("how", ["nobody holds it", "held", "moved by hand"])
def test_a_parameter_of_no_net_is_a_stranger_until_somebody_moves_it(how: str) -> None:
    net, scale = nn.Linear(2, 1), nn.Parameter(torch.ones(1))
    held = [*net.parameters()] + ([scale] if how == "held" else [])
    with record({"D": net}, {"D": torch.optim.SGD(held, 0.1)}) as rec:
        (net(X) * scale).mean().backward()
        if how == "moved by hand":
            scale.data.mul_(2)
    assert len(rec.graph.strangers) == (how == "nobody holds it")
