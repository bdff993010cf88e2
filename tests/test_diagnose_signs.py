"""With which sign a term counts in a loss, and who learns from it, one condition at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, mse_loss, softplus

from gan_lessons import record
from gan_lessons.lens.diagnose import Finding
from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.diagnose.turned_round import signed_terms, turned_round
from tests.loops import LOOPS
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.loops.no_gradient_there import Multiplied
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


Sum = Callable[[Tensor, Tensor, Tensor], Tensor]
E, M, H = "BinaryCrossEntropyWithLogitsBackward0", "MseLossBackward0", "HuberLossBackward0"
SUMS: dict[str, tuple[Sum, dict[str, int]]] = {
    "alone": (lambda e, m, h: e, {E: 1}),
    "sum": (lambda e, m, h: e + m + h, {E: 1, M: 1, H: 1}),
    "difference": (lambda e, m, h: e - m, {E: 1, M: -1}),
    "difference of a difference": (lambda e, m, h: e - (m - h), {E: 1, M: -1, H: 1}),
    "minus": (lambda e, m, h: -e, {E: -1}),
    "minus a sum": (lambda e, m, h: -(e + m) + h, {E: -1, M: -1, H: 1}),
    "weighed": (lambda e, m, h: 0.5 * e - 2 * m, {E: 1, M: -1}),
    "a negative weight": (lambda e, m, h: -0.5 * e + m / -4, {E: -1, M: -1}),
    "no weight": (lambda e, m, h: 0.0 * e + m, {E: 0, M: 1}),
    "once with a minus": (lambda e, m, h: e + m - e, {E: 0, M: 1}),
    "twice": (lambda e, m, h: e + m + e, {E: 1, M: 1}),
    "mean": (lambda e, m, h: torch.stack([e, -m]).mean(), {E: 1, M: -1}),
    "product": (lambda e, m, h: e * m, {"MulBackward0": 1}),
    "quotient": (lambda e, m, h: -(e / m), {"DivBackward0": -1}),
    "something else": (lambda e, m, h: softplus(-e), {"SoftplusBackward0": 1}),
    "a vector of weights": (lambda e, m, h: (e * torch.tensor([1.0, 2.0])).sum(), {E: 0}),
    "a number taken off": (lambda e, m, h: e - 0.5, {"SubBackward0": 1}),
}


@pytest.mark.parametrize("name", SUMS)
def test_the_sign_of_each_term_of_a_loss(name: str) -> None:
    make, expected = SUMS[name]
    D = mlp(2, 1)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        one, two, three = D(real(0)), D(noise(0)), D(noise(1))
        numbers = torch.zeros(8, 1)
        make(bce(one, 1.0), mse_loss(two, numbers), huber_loss(three, numbers)).backward()
    story = Story(rec)
    found = signed_terms(story, story.calls_made[0])
    assert {rec.graph.nodes[key].op: sign for key, sign in found.items()} == expected


# Who learns from it -------------------------------------------------------------------------------

Terms = Callable[[Tensor, Tensor], Tensor]  # (the loss of the task, that of the domains) -> a loss


def reversed_at(
    terms: Terms,
    *,
    slowed: float = 1.0,
    above: float = 1.0,
    task: bool = True,
    optimizers: tuple[str, ...] = ("features", "domain"),
    before: Callable[[nn.Module, nn.Module], Tensor] | None = None,
) -> list[Finding]:
    """slowed: by what the gradient is multiplied above the features; above: above the head. before:
    a loss of a turn of all nets before. optimizers: who has one."""
    nets: dict[str, nn.Module] = {"features": mlp(2, 4), "domain": mlp(4, 1), "other": mlp(2, 1)}
    features, domain, other = nets.values()
    whole = sgd(*nets.values())
    held = {name: sgd(nets[name]) for name in optimizers}

    def turn(i: int) -> None:
        if before is not None:
            step(whole, before(features, domain))
        made = features(real(i))
        of_task = (made[:, :2] - real(i)).exp().mean() if task else other(real(i)).mean()
        verdict: Tensor = domain(Multiplied.apply(made, slowed))
        if above != 1.0:
            verdict = Multiplied.apply(verdict, above)
        loss = terms(of_task, bce(verdict, 1.0))
        for optimizer in held.values():
            optimizer.zero_grad()
        loss.backward()
        for optimizer in held.values():
            optimizer.step()

    found = told(nets, {**held, "whole": whole}, turn, 2)
    return [f for f in found if "counts negatively" in f.message]


@pytest.mark.parametrize("terms", [lambda t, d: t - d, lambda t, d: -0.5 * d + t])
def test_a_minus_is_told_wherever_it_stands_in_the_sum(terms: Terms) -> None:
    (one,) = reversed_at(terms)
    assert (one.code, one.severity, one.net) == ("reversed", "wrong", "domain")
    assert "0.bias, 0.weight, 2.bias and 1 more of domain learn" in one.message


def test_a_plus_or_a_weight_of_zero_is_none() -> None:
    assert reversed_at(lambda t, d: t + d) == []
    assert reversed_at(lambda t, d: t + 0.0 * d) == []


def test_features_that_learn_from_nothing_else_that_counts_positively_are_unlearned() -> None:
    assert reversed_at(lambda t, d: -t - d) == []
    assert reversed_at(lambda t, d: t - d, task=False) == []


def test_a_head_that_no_step_moves_there_does_not_learn_to_be_wrong() -> None:
    assert reversed_at(lambda t, d: t - d, optimizers=("features",)) == []


@pytest.mark.parametrize(("slowed", "times"), [(-1.0, 1), (0.5, 1), (2.0, 1), (0.0, 1)])
def test_a_gradient_that_is_turned_round_above_the_features_as_well(
    slowed: float, times: int
) -> None:
    """The head learns from the minus alone, whatever becomes of the gradient below it."""
    assert len(reversed_at(lambda t, d: t - d, slowed=slowed)) == times


@pytest.mark.parametrize(("above", "times"), [(0.5, 1), (-1.0, 0), (0.0, 0)])
def test_a_gradient_that_is_turned_round_or_stopped_above_the_head(
    above: float, times: int
) -> None:
    assert len(reversed_at(lambda t, d: t - d, above=above)) == times


def test_a_head_that_learns_rightly_beside_a_minus_of_the_features_is_left_alone() -> None:
    def rightly(features: nn.Module, domain: nn.Module) -> Tensor:
        made = features(noise(0))
        return bce(domain(made), 0.0) - 0.1 * made.square().mean()

    assert reversed_at(lambda t, d: t - d, before=rightly) == []


@pytest.mark.parametrize("first", [True, False])
def test_a_minus_beside_a_minus_of_the_features_alone_is_told(first: bool) -> None:
    features, domain = mlp(2, 4), mlp(4, 1)
    both = sgd(features, domain)

    def turn(i: int) -> None:
        made = features(real(i))
        task, near, far = made.exp().mean(), bce(made[:, :1], 1.0), bce(domain(made), 1.0)
        step(both, task - near - far if first else task - far - near)

    nets: dict[str, nn.Module] = {"features": features, "domain": domain}
    found = [f for f in told(nets, {"both": both}, turn) if "counts negatively" in f.message]
    assert [f.net for f in found] == ["domain"]


def test_a_head_that_two_step_wrongly_and_one_rightly_is_left_alone() -> None:
    features, domain = mlp(2, 4), mlp(4, 1)
    one, two, right = sgd(features, domain), sgd(features, domain), sgd(domain)

    def turn(i: int) -> None:
        for optimizer in (one, two):
            made = features(real(i))
            step(optimizer, made.exp().mean() - bce(domain(made), 1.0))
        step(right, bce(domain(features(real(i)).detach()), 1.0))

    nets: dict[str, nn.Module] = {"features": features, "domain": domain}
    optimizers = {"one": one, "two": two, "right": right}
    assert not [f for f in told(nets, optimizers, turn) if "counts negatively" in f.message]


def test_a_head_that_learns_rightly_in_another_turn_is_left_alone() -> None:
    def rightly(features: nn.Module, domain: nn.Module) -> Tensor:
        return bce(domain(features(noise(0))), 0.0)

    def of_the_features_alone(features: nn.Module, domain: nn.Module) -> Tensor:
        made: Tensor = features(noise(0))
        return made.square().mean()

    assert reversed_at(lambda t, d: t - d, before=rightly) == []
    assert len(reversed_at(lambda t, d: t - d, before=of_the_features_alone)) == 1


def test_after_an_error_and_where_steps_are_inside_a_backward_nothing_is_told() -> None:
    (one,) = (one for one in LOOPS if one.name == "a_minus_in_place_of_a_reversal")
    it = one.build(False)
    with record(it.nets, it.optimizers) as rec:
        for i in range(2):
            one.body(it, i)
    story = Story(rec)
    assert len([*turned_round(story)]) == 1
    story.failed = True
    assert [*turned_round(story)] == []
    story.failed, story.inside = False, {0}
    assert [*turned_round(story)] == []


# A function that turns nothing round --------------------------------------------------------------


def test_a_function_that_changes_nothing_is_told_to_who_goes_on_from_it_alone() -> None:
    """Another net takes the same features past that function."""
    features, domain, task = mlp(2, 4), mlp(4, 1), mlp(4, 1)
    nets: dict[str, nn.Module] = {"features": features, "domain": domain, "task": task}
    whole = sgd(*nets.values())

    def turn(i: int) -> None:
        made = features(real(i))
        beside = task(made).exp().mean()
        step(whole, bce(domain(Multiplied.apply(made, 1.0)), 1.0) + beside)

    found = [f for f in told(nets, {"whole": whole}, turn) if f.code == "reversed"]
    assert len(found) == 1
    assert "domain" in found[0].message
    assert "task" not in found[0].message
