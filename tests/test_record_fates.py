"""What becomes of a value that no gradient follows: what it met, who judged it, where it went."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_lessons import record
from gan_lessons.lens.model import Cut
from tests.loops.kit import mlp, noise, real, sgd


@pytest.fixture
def nets() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"G": mlp(2, 2), "D": mlp(2, 1)}


@pytest.mark.parametrize("turned", [False, True])
def test_what_was_cut_off_counts_before_what_is_a_slope(nets, turned: bool) -> None:
    with record(nets) as rec:
        x = real(0).requires_grad_()
        (slope,) = torch.autograd.grad(nets["D"](x).sum(), x)
        cut = nets["G"](noise(0)).detach()
        both = slope + cut if turned else cut + slope
        nets["D"](both).mean().backward()
    assert [c.how for c in rec.graph.cuts] == ["detach()"]
    assert rec.graph.slopes == ()


def test_a_slope_alone_is_no_cut(nets) -> None:
    with record(nets) as rec:
        x = real(0).requires_grad_()
        (slope,) = torch.autograd.grad(nets["D"](x).sum(), x)
        nets["D"](2 * slope).mean().backward()
        slope.numpy()
    assert rec.graph.cuts == ()
    assert [c.how for c in rec.graph.slopes] == ["autograd.grad"]
    assert rec.graph.left == ()


def judged(nets: dict[str, Any], weight: Tensor, held: bool) -> list[Cut]:
    optimizers = {"other": torch.optim.SGD([weight], 0.1)} if held else {"od": sgd(nets["D"])}
    with record(nets, optimizers) as rec:
        cut = F.linear(nets["G"](noise(0)).detach(), weight)
        nets["D"](2 * cut).mean().backward()
    return [*rec.graph.cuts]


def test_weights_that_nobody_trains_judge_what_was_cut_off(nets) -> None:
    weight = nn.Parameter(torch.ones(2, 2), requires_grad=False)
    assert [c.judged for c in judged(nets, weight, held=False)] == [True]
    assert [c.judged for c in judged(nets, weight, held=True)] == [False]
    assert [c.judged for c in judged(nets, torch.ones(2, 2, requires_grad=False), held=False)] == [
        False
    ]


def test_what_a_frozen_net_makes_of_it_is_its_own_affair(nets) -> None:
    nets["E"] = mlp(2, 2).requires_grad_(False)
    with record(nets, {"od": sgd(nets["D"])}) as rec:
        nets["D"](torch.tanh(nets["E"](nets["G"](noise(0)).detach()))).mean().backward()
    (cut,) = rec.graph.cuts
    assert (cut.judged, cut.since) == (False, ("tanh",))


def test_a_number_that_a_net_reads_inside_is_told_of_the_net() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            made = self.linear(x)
            return made / made.abs().max().item() + float(x.sum())

    net = Reading()
    with record({"D": net}) as rec:
        made = net(real(0))
        made.sum().item()
        made.mean().backward()
    assert [how for _, how, _ in rec.graph.numbers] == [".item()"]


def test_a_view_that_was_made_without_gradients_is_cut_off(nets) -> None:
    with record(nets) as rec:
        fake = nets["G"](noise(0))
        with torch.no_grad():
            view = fake.view(8, 2)
        nets["D"](view.detach()).mean()
        (view * nets["D"](real(0))).mean().backward()
    assert "torch.no_grad" in {c.how for c in rec.graph.cuts}


def test_a_parameter_that_is_read_without_gradients_is_not_cut_off(nets) -> None:
    """Torch gives it out as it is: whoever goes on from it has its gradient."""
    D = nets["D"]
    with record(nets, {"od": sgd(D)}) as rec:
        with torch.no_grad():
            nn.utils.parameters_to_vector(D.parameters())
            D[0].weight.mul_(1.0)
        D(real(0)).mean().backward()
    assert rec.graph.cuts == ()


def test_where_a_value_that_was_cut_off_leaves_for_numpy(nets) -> None:
    with record(nets) as rec:
        fake = nets["G"](noise(0))
        fake.detach().numpy()
        fake.detach().exp().numpy()
        noise(0).numpy()
    assert [how for _, how, _ in rec.graph.left] == ["NumPy", "NumPy"]
    assert {rec.graph.nodes[key].net for key, _, _ in rec.graph.left} == {"G"}


def test_what_is_read_off_a_value_that_was_cut_off_has_its_past(nets) -> None:
    with record(nets) as rec:
        cut = nets["G"](noise(0)).detach()
        (cut.mT @ nets["D"](real(0))).mean().backward()
    assert [(c.how, rec.graph.nodes[c.target].op) for c in rec.graph.cuts] == [
        ("detach()", "MmBackward0")
    ]
    with record(nets) as rec:
        with torch.no_grad():
            made = nets["G"](noise(0))
        (made.mT @ nets["D"](real(0))).mean().backward()
    assert {rec.graph.nodes[key].op for _, key in rec.graph.fed} == {"MmBackward0"}
