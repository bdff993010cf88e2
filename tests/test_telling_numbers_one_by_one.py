"""Which numbers of an operation are looked at, and which say nothing, one rule at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, l1_loss, mse_loss, smooth_l1_loss

from gan_lessons import record
from gan_lessons.lens.model import Graph
from gan_lessons.lens.record import telling_numbers as telling
from gan_lessons.lens.record.telling_numbers import LARGEST
from tests.test_record_telling_numbers import Turned

X = torch.linspace(-1, 1, 8).reshape(4, 2)
META, COMPLEX = torch.ones(4, device="meta"), torch.ones(4, dtype=torch.cfloat)


def made(rows: int = 4) -> Tensor:
    return torch.ones(rows, 1, requires_grad=True) * 1


PAIRS: dict[str, tuple[Callable[[], Any], int | None]] = {
    "column and row": (lambda: (made(), torch.ones(4)), 4),
    "row and column": (lambda: (torch.ones(4), made()), 4),
    "two": (lambda: (made(2), torch.ones(2)), 2),
    "one": (lambda: (made(1), torch.ones(1)), None),
    "beside words": (lambda: ("mean", made(), 3.0, torch.ones(4)), 4),
    "a third": (lambda: (made(), torch.ones(4), torch.ones(4, 1, 1)), 4),
    "of two columns": (lambda: (made() * torch.ones(2), torch.ones(4)), None),
    "of another length": (lambda: (made(), torch.ones(3)), None),
    "two columns": (lambda: (made(), torch.ones(4, 1)), None),
    "one tensor": (lambda: (made(),), None),
    "a learned row": (lambda: (made(), torch.ones(4, requires_grad=True)), None),
    "a row with a graph": (lambda: (made(), torch.ones(4, requires_grad=True) * 1), 4),
    "meant": (lambda: (made().flatten()[:, None], torch.ones(4)), None),
    "meant, without a graph": (lambda: (torch.ones(4)[:, None], torch.ones(4)), None),
    "without a graph": (lambda: (torch.ones(4, 1), torch.ones(4)), 4),
}


@pytest.mark.parametrize("case", PAIRS)
def test_a_column_and_a_row_make_all_pairs(case: str) -> None:
    given, expected = PAIRS[case]
    assert telling._all_pairs(given()) == expected


NUMBERS: dict[str, tuple[Callable[[], Any], float | None]] = {
    "a number": (lambda: (made(), 0.9), 0.9),
    "an integer": (lambda: (made(), 1), 1.0),
    "before": (lambda: (2.0, made()), 2.0),
    "a truth value": (lambda: (made(), True), None),
    "a word": (lambda: (made(), "mean"), None),
    "full of one": (lambda: (made(), torch.full((4, 1), 0.5)), 0.5),
    "one number in a tensor": (lambda: (made(), torch.tensor(0.5)), 0.5),
    "of several": (lambda: (made(), torch.arange(4.0)), None),
    "of none": (lambda: (made(), torch.ones(0)), None),
    "just small enough": (lambda: (made(), torch.ones(LARGEST)), 1.0),
    "too large": (lambda: (made(), torch.ones(LARGEST + 1)), None),
    "of two that learn": (lambda: (made(), made()), None),
    "of two that do not": (lambda: (torch.ones(1), 3.0), None),
    "a third": (lambda: (made(), 0.5, 0.25), 0.5),
    "on the meta device": (lambda: (made(), META), None),
    "complex": (lambda: (made(), COMPLEX), None),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_the_one_number_beside_what_learns(case: str) -> None:
    given, expected = NUMBERS[case]
    assert telling._one_number(given()) == expected


def test_zeros_alone_are_zero() -> None:
    told = [telling._is_zero(t) for t in (torch.zeros(2), torch.zeros(1), torch.tensor([0.0, 1.0]))]
    assert told == [True, True, False]
    assert not telling._is_zero(torch.zeros(0))
    assert telling._is_zero(META) is False


def test_what_is_the_same_in_shape_kind_and_numbers() -> None:
    one = torch.ones(4)
    assert telling._is_same(one, one.clone())
    assert not telling._is_same(one, torch.ones(4, 1))
    assert not telling._is_same(one, torch.ones(4, dtype=torch.float64))
    assert not telling._is_same(one, 2 * one)
    assert telling._is_same(META, META) is False


def test_a_whole_view_has_the_shape_of_what_it_views() -> None:
    x = torch.ones(4)
    assert telling._is_whole_view(x.view_as(x))
    assert not telling._is_whole_view(x[:2])
    assert not telling._is_whole_view(x)


@pytest.mark.parametrize(
    ("arrived", "got", "factor"),
    [
        ([1.0, 2.0], [3.0, 6.0], 3.0),
        ([1.0, 2.0], [-0.5, -1.0], -0.5),
        ([1.0, 2.0], [0.0, 0.0], 0.0),
        ([1.0, 2.0], [2.0, 1.0], None),
        ([1.0, 2.0], [1.0, 2.001], pytest.approx(1.0, rel=1e-3)),  # rounding of another kind
        ([1.0, 2.0], [1.0, 2.1], None),
        ([0.0, 0.0], [0.0, 0.0], None),
        ([1.0, 2.0], [1.0], None),
        (None, [1.0], None),
        ([1.0], None, None),
    ],
)
def test_by_what_a_gradient_was_multiplied(arrived: Any, got: Any, factor: Any) -> None:
    given = [None if row is None else torch.tensor(row) for row in (arrived, got)]
    assert telling._factor(*given) == factor


def test_no_factor_where_there_are_no_numbers() -> None:
    assert telling._factor(META, META) is None


def graph_of(loss: Callable[[Tensor], Tensor], net: nn.Module | None = None) -> Graph:
    torch.manual_seed(0)
    net = net or nn.Linear(2, 1)
    with record({"D": net}) as rec:
        loss(net(X)).backward()
    return rec.graph


HALF, MANY = torch.full((4, 1), 0.5), torch.arange(4.0)[:, None]
LABELS: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "square": (lambda v: ((v - 1.0) ** 2).mean(), [1.0]),
    "square, named": (lambda v: (v - 0.5).square().mean(), [0.5]),
    "to a square, as said": (lambda v: (v - 0.5).pow(2).mean(), [0.5]),
    "a cube": (lambda v: ((v - 1.0) ** 3).mean(), []),
    "turned": (lambda v: ((0.25 - v) ** 2).mean(), [0.25]),
    "added": (lambda v: ((v + 0.25) ** 2).mean(), [-0.25]),
    "absolute": (lambda v: (v - 2.0).abs().mean(), [2.0]),
    "towards zero": (lambda v: v.square().mean(), [0.0]),
    "absolute, towards zero": (lambda v: v.abs().mean(), [0.0]),
    "mse": (lambda v: mse_loss(v, HALF), [0.5]),
    "smooth": (lambda v: smooth_l1_loss(v, HALF), [0.5]),
    "huber": (lambda v: huber_loss(v, HALF), [0.5]),
    "towards many": (lambda v: mse_loss(v, MANY), []),
    "a square towards many": (lambda v: ((v - MANY) ** 2).mean(), []),
    "many turned": (lambda v: ((MANY - v) ** 2).mean(), []),
    "absolute, towards many": (lambda v: (v - MANY).abs().mean(), []),
    "inside": (lambda v: l1_loss(v, MANY, reduction="none").mean(), []),
    "between two that learn": (lambda v: mse_loss(v, 2 * v), []),
    "a difference of two that learn": (lambda v: (v - v.exp()).square().mean(), [0.0]),
    "another operation": (lambda v: v.exp().mean(), []),
}


@pytest.mark.parametrize("case", LABELS)
def test_towards_which_number_a_distance_draws(case: str) -> None:
    loss, expected = LABELS[case]
    assert [*graph_of(loss).labels.values()] == expected


CONSTANTS: dict[str, tuple[Callable[[Tensor], Tensor], list[float]]] = {
    "added": (lambda v: v.mean() + 0.25, [0.25]),
    "taken off": (lambda v: v.mean() - 0.25, [0.25]),
    "an integer": (lambda v: v.mean() + 1, []),
    "another loss": (lambda v: v.mean() + v.square().mean(), []),
    "to many": (lambda v: (v + 0.25).mean(), []),
    "times": (lambda v: v.mean() * 0.25, []),
}


@pytest.mark.parametrize("case", CONSTANTS)
def test_a_number_that_was_added_to_a_loss(case: str) -> None:
    loss, expected = CONSTANTS[case]
    assert [*graph_of(loss).constants.values()] == expected


@pytest.mark.parametrize(
    ("loss", "count"),
    [
        (lambda v: (v - torch.ones(4)).mean(), 1),
        (lambda v: (v * torch.ones(4)).mean(), 1),
        (lambda v: (v + torch.ones(4)).mean(), 0),  # a bias, say
        (lambda v: v.flatten().sub(torch.ones(4)).mean(), 0),
    ],
)
def test_operations_of_which_both_sides_should_have_one_shape(loss: Any, count: int) -> None:
    assert [*graph_of(loss).pairs.values()] == [4] * count


class Inside(nn.Module):
    """All of that within a net: its own affair."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = self.linear(x)
        zeros = made - made
        return (made - 1.0).square() + zeros + (made - torch.ones(4)).mean() + (made.mean() + 0.25)


def test_what_a_net_does_inside_is_its_own_affair() -> None:
    graph = graph_of(lambda v: v.exp().mean(), Inside())
    told = (graph.labels, graph.constants, graph.pairs, {*graph.cancelled})
    assert told == ({}, {}, {}, set())


@pytest.mark.parametrize("turned", [True, False])
def test_a_function_of_somebody_s_own_is_followed_inside_a_net_too(turned: bool) -> None:
    class Net(Inside):
        def forward(self, x: Tensor) -> Tensor:
            made = self.linear(x)
            return (Turned.apply(made) if turned else made.exp()) * 1.0

    graph = graph_of(lambda v: v.square().mean(), Net())
    assert [*graph.passes.values()] == ([pytest.approx(-2)] if turned else [])
