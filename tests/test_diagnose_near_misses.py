"""Loops that lack one thing of a fault, or have one beside it: what is said, and of whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Finding
from tests.loops.kit import bce, draw, mlp, noise, real, sgd
from tests.loops.no_gradient_there import Multiplied
from tests.test_diagnose_one_guard import grave, told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def of_code(findings: list[Finding], code: str) -> list[Finding]:
    return [one for one in findings if one.code == code]


# Nothing arrives ----------------------------------------------------------------------------------


def test_a_step_that_found_gradients_from_before_counts_as_fed() -> None:
    """It is the first thing that is recorded; a later one that finds nothing may be left out."""
    D = mlp(2, 1)
    od = sgd(D)
    bce(D(real(0)), 1.0).backward()
    with record({"D": D}, {"D": od}) as rec:
        od.step()
        od.zero_grad()
        od.step()
    told_of_it = diagnose(rec)
    assert of_code(told_of_it.findings, "cut-off") == []
    assert told_of_it.stepped == ("D moved D by what .grad held from before the recording.",)


@pytest.mark.parametrize("the_target", ["is made", "is of a net that is named", "is judged"])
def test_where_a_detached_copy_went_is_told_though_the_recording_began_late(
    the_target: str,
) -> None:
    """In its first graph, what the target made before it began seems to be made of the copy."""
    critic, target, judge = mlp(2, 1), mlp(2, 1), mlp(1, 1)
    optimizer = sgd(critic)
    nets: dict[str, nn.Module] = {"critic": critic}
    if the_target == "is of a net that is named":
        nets["target"] = target

    def loss_of(i: int, goal: Tensor) -> Tensor:
        value = critic(noise(i)).detach()
        return mse_loss(judge(value) if the_target == "is judged" else value, goal)

    goal = target(real(0))
    with record(nets, {"critic": optimizer}) as rec:
        for i in range(3):
            step(optimizer, loss_of(i, goal if i == 0 else target(real(i))))
    (one,) = of_code(diagnose(rec).findings, "cut-off")
    assert one.net == "critic"
    assert ("call the other net once more" in one.fix) is (the_target == "is judged")
    assert ("The other side of it has a graph" in one.fix) is (the_target != "is judged")


def test_an_average_among_the_parameters_of_an_optimizer_is_not_kept_out() -> None:
    online, average = mlp(2, 2), mlp(2, 2)
    both = sgd(online, average)

    def turn(i: int) -> None:
        step(both, mse_loss(online(noise(i)), average(real(i)).detach()))
        with torch.no_grad():
            for p, q in zip(average.parameters(), online.parameters(), strict=True):
                p.lerp_(q, 0.1)

    nets: dict[str, nn.Module] = {"online": online, "average": average}
    assert of_code(told(nets, {"both": both}, turn, 3), "cut-off") == []


# Who holds what -----------------------------------------------------------------------------------


def test_a_frozen_random_head_was_not_forgotten() -> None:
    body, head = mlp(2, 4), mlp(4, 2).requires_grad_(False)
    net = nn.Sequential(body, head)
    opt = sgd(body)
    found = told({"net": net}, {"opt": opt}, lambda i: step(opt, mse_loss(net(noise(i)), real(i))))
    assert of_code(found, "ownership") == []


@pytest.mark.parametrize("frozen", [False, True])
def test_of_two_nets_in_no_optimizer_the_one_that_a_loss_is_for_is_told(frozen: bool) -> None:
    """The first in the alphabet is only passed through."""
    D, fixed, zed = mlp(2, 2), mlp(2, 1), mlp(2, 1)
    od = sgd(D)
    fixed.requires_grad_(not frozen)

    def turn(i: int) -> None:
        step(od, bce(fixed(D(real(i))), 1.0))
        bce(zed(real(i)), 1.0).backward()

    found = told({"D": D, "a fixed one": fixed, "zed": zed}, {"D": od}, turn)
    assert [one.net for one in of_code(found, "ownership")] == ["zed"]


def test_beside_an_optimizer_of_no_net_the_calls_that_somebody_used_are_not_told() -> None:
    D, judge = mlp(2, 2), mlp(2, 1)
    od, other = sgd(D), sgd(mlp(2, 2))

    def turn(i: int) -> None:
        passed = bce(judge(D(real(i))), 1.0)
        step(od, passed)
        alone = bce(judge(noise(i)), 0.0)
        alone.backward()
        other.step()

    found = told({"D": D, "judge": judge}, {"D": od, "other": other}, turn)
    (one,) = of_code(found, "ownership")
    assert one.message.startswith("`alone.backward()` computed gradients for judge")


def test_of_two_nets_on_one_memory_the_first_is_named() -> None:
    a, b = mlp(2, 1), mlp(2, 1)
    shared = a[0].weight
    assert isinstance(shared, Tensor)
    b[0].weight = nn.Parameter(shared.data)
    both = sgd(a, b)
    found = told(
        {"a": a, "b": b}, {"both": both},
        lambda i: step(both, bce(a(real(i)), 1.0) + bce(b(noise(i)), 0.0)),
    )  # fmt: skip
    (one,) = of_code(found, "ownership")
    assert (one.severity, one.net) == ("wrong", "a")


def test_fixed_nets_on_one_memory_hide_no_others_that_are_on_one() -> None:
    first, second = mlp(2, 1).requires_grad_(False), mlp(2, 1).requires_grad_(False)
    a, b = mlp(2, 1), mlp(2, 1)
    for one, other in ((first, second), (a, b)):
        weight = one[0].weight
        assert isinstance(weight, Tensor)
        other[0].weight = nn.Parameter(weight.data, requires_grad=weight.requires_grad)
    both = sgd(a, b)
    found = told(
        {"first": first, "second": second, "a": a, "b": b}, {"both": both},
        lambda i: step(both, bce(a(real(i)) * first(real(i)), 1.0) + bce(b(real(i)), 0.0)),
    )  # fmt: skip
    assert [one.net for one in of_code(found, "ownership")] == ["a"]


# Whose gradient -----------------------------------------------------------------------------------


def test_a_head_whose_own_loss_was_cleared_beside_another_is_not_told_to_follow_it() -> None:
    """The losses of both are summed; neither is behind the other."""
    a, b = mlp(2, 1), mlp(2, 1)
    oa, ob = sgd(a), sgd(b)

    def turn(i: int) -> None:
        bce(a(noise(i)), 0.0).backward()
        oa.zero_grad()
        ob.zero_grad()
        (bce(a(real(i)), 1.0) + bce(b(real(i)), 1.0)).backward()
        oa.step()
        ob.step()

    found = told({"a": a, "b": b}, {"a": oa, "b": ob}, turn)
    assert of_code(found, "polluted") == []


def test_a_closure_of_two_losses_that_never_clears_adds_up() -> None:
    """The weights are moved between its evaluations, not between the two losses."""
    D = mlp(2, 1)
    od = torch.optim.LBFGS(D.parameters(), lr=0.05, max_iter=2)

    def turn(i: int) -> None:
        def closure() -> Tensor:
            one, two = bce(D(real(i)), 1.0), bce(D(noise(i)), 0.0)
            one.backward()
            two.backward()
            return one + two

        od.zero_grad()
        od.step(closure)

    found = told({"D": D}, {"D": od}, turn)
    assert grave(found) == {("polluted", "D")}
    assert "evaluates its closure again and again" in of_code(found, "polluted")[0].message


@pytest.mark.parametrize("past_it", ["nobody", "one that learns", "one that is fixed"])
def test_a_function_that_does_nothing_is_between_the_judge_and_those_behind_it(
    past_it: str,
) -> None:
    """Not between the judge and whoever it takes from without that function."""
    G, E, D = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    both = sgd(G, D, *([E] if past_it == "one that learns" else []))

    def turn(i: int) -> None:
        made: Tensor = Multiplied.apply(G(noise(i)), 1.0)
        if past_it != "nobody":
            made = made + E(real(i))
        step(both, (D(made) - 1).square().mean())

    nets: dict[str, nn.Module] = {"G": G, "E": E, "D": D}
    (one,) = of_code(told(nets, {"both": both}, turn), "reversed")
    assert (one.severity, one.net) == ("waste", "G")
    assert "hands on what goes from G into D" in one.message


def bent(verdict: Tensor) -> Tensor:
    return torch.nn.functional.softplus(verdict).mean()


WEIGHED: dict[str, tuple[bool, Callable[[Tensor], Tensor]]] = {
    "v - 2 v": (True, lambda v: v.mean() - 2 * v.mean()),
    "2 v - v/3": (True, lambda v: 2 * v.mean() - v.mean() / 3),
    "bent v - 2 v": (False, lambda v: bent(v) - 2 * v.mean()),
    "-2 v + bent v": (False, lambda v: -2 * v.mean() + bent(v)),
    "v - 2 bent v": (False, lambda v: v.mean() - 2 * bent(v)),
    "-2 bent v + v": (False, lambda v: -2 * bent(v) + v.mean()),
}


@pytest.mark.parametrize("how", WEIGHED)
def test_a_number_and_its_negative_are_one_number_that_was_only_scaled(how: str) -> None:
    is_one_number, loss = WEIGHED[how]
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        og.zero_grad()
        od.zero_grad()
        loss(D(G(noise(i)))).backward()
        og.step()
        od.step()

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn)
    assert any("added and subtracted" in one.message for one in found) is is_one_number


@pytest.mark.parametrize("of_both", [False, True])
def test_what_is_walked_again_from_below_was_a_measure(of_both: bool) -> None:
    """Two heads on one body: the second loss walks the body of the first once more."""
    body, one, two = mlp(2, 4), mlp(4, 1), mlp(4, 1)
    net = nn.ModuleList([body, one, two])
    opt = sgd(net)

    def turn(i: int) -> None:
        h = body(real(i))
        opt.zero_grad()
        bce(one(h), 1.0).backward(retain_graph=True)
        opt.zero_grad()
        loss = bce(two(h if of_both else body(noise(i))), 0.0)
        (loss + bce(one(body(noise(i))), 0.0)).backward()
        opt.step()

    found = of_code(told({"net": net}, {"opt": opt}, turn), "thrown-away")
    assert len(found) == (not of_both)


# The form of a loss -------------------------------------------------------------------------------

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pow": lambda a, b: (a - b).pow(2).mean(),
    "square": lambda a, b: (a - b).square().mean(),
    "abs": lambda a, b: (a - b).abs().sum(),
    "mse": mse_loss,
    "the other way round": lambda a, b: mse_loss(b, a),
    "no distance": lambda a, b: (a * b).mean(),
    "only a difference": lambda a, b: (a - b).mean(),
}


@pytest.mark.parametrize("how", DISTANCES)
def test_a_target_of_its_own_making_is_told_in_whatever_distance(how: str) -> None:
    q = mlp(2, 1)
    opt = sgd(q)

    def turn(i: int) -> None:
        step(opt, DISTANCES[how](q(noise(i)), 1.0 + 0.9 * q(real(i))))

    found = of_code(told({"q": q}, {"q": opt}, turn), "moving-target")
    assert len(found) == (how not in ("no distance", "only a difference"))


@pytest.mark.parametrize("distance", [True, False])
def test_a_weight_has_a_loss_of_its_own_if_a_distance_beside_it_draws_it(distance: bool) -> None:
    """In one iteration: no other call tells."""
    policy, value = mlp(2, 3), mlp(2, 1)
    both = sgd(policy, value)

    def turn(i: int) -> None:
        logits = policy(real(i)).log_softmax(1)
        picked = logits.gather(1, torch.multinomial(logits.exp(), 1))
        said = value(noise(i))
        own = mse_loss(said, torch.ones_like(said)) if distance else said.exp().mean()
        step(both, own - (picked * (1 - value(real(i)))).mean())

    found = told({"policy": policy, "value": value}, {"both": both}, turn, 1)
    assert (("polluted", "value") in grave(found)) is distance


def test_a_softmax_before_cross_entropy_is_told_with_the_line_of_that_loss() -> None:
    """And through a change of shape; other lines are in the same backward."""
    D = mlp(2, 3, nn.Softmax(1))
    od = sgd(D)
    labels = torch.arange(8) % 3

    def turn(i: int) -> None:
        small = D(noise(i)).square().mean()
        classes = cross_entropy(D(real(i)).reshape(8, 3), labels)
        total = classes + small
        step(od, total)

    (one,) = of_code(told({"D": D}, {"D": od}, turn), "squashed-twice")
    assert "in `classes = cross_entropy(D(real(i)).reshape(8, 3), labels)` takes" in one.message


@pytest.mark.parametrize("unknown", [False, True])
def test_a_form_that_is_not_known_in_one_of_two_forwards_is_not_told(unknown: bool) -> None:
    """What was made without gradients may have been through anything."""
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        judged = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
        if unknown:
            with torch.no_grad():
                fake = G(draw(i, 0.5)).tanh()
            judged = judged + bce(D(fake), 0.0)
        step(od, judged)
        step(og, bce(D(G(noise(i)).tanh()), 1.0))

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn)
    assert len(of_code(found, "other-form")) == (not unknown)


SUMS: dict[str, tuple[bool, Callable[[Tensor, Tensor], Tensor]]] = {
    "x + (y - x)": (True, lambda x, y: x + (y - x)),
    "(y - x) + x": (True, lambda x, y: (y - x) + x),
    "x - (x - y)": (True, lambda x, y: x - (x - y)),
    "x + (x - y)": (False, lambda x, y: x + (x - y)),
    "x - (y - x)": (False, lambda x, y: x - (y - x)),
    "(x - y) - x": (True, lambda x, y: (x - y) - x),
    "(y - x) - x": (False, lambda x, y: (y - x) - x),
}


@pytest.mark.parametrize("how", SUMS)
def test_a_straight_through_without_its_detach_in_each_order(how: str) -> None:
    enc, book, dec = mlp(2, 2), nn.Embedding(4, 2), mlp(2, 2)
    opt = sgd(enc, book, dec)
    undone, sum_of = SUMS[how]

    def turn(i: int) -> None:
        x = enc(real(i))
        y = book(torch.cdist(x, book.weight).argmin(1))
        step(opt, mse_loss(dec(sum_of(x, y)), real(i)) + mse_loss(y, x.detach()))

    found = of_code(told({"enc": enc, "book": book, "dec": dec}, {"opt": opt}, turn), "cancelled")
    assert {one.net for one in found} == ({"enc"} if undone else set())


# What is kept -------------------------------------------------------------------------------------


def test_a_longer_way_in_each_iteration_is_no_graph_that_is_kept() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        step(od, bce(D(real(i)), 1.0) + bce(D(noise(i)), 0.0))
        x = noise(i)
        for _ in range(i + 1):
            x = G(x)
        step(og, bce(D(x), 1.0))

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn, 4)
    assert of_code(found, "memory-growth") == []


@pytest.mark.parametrize("asked", ["each", "the first", "none"])
def test_to_ask_for_an_input_alone_is_advised_where_each_call_was_for_one(asked: str) -> None:
    """Of one line; where the gradient of the input is not read, its loss may be one to learn."""
    D = mlp(2, 1)

    def turn(i: int) -> None:
        x = real(i).requires_grad_()
        D.zero_grad()
        bce(D(x), 0.0).backward()
        if asked == "each" or (asked == "the first" and i == 0):
            assert x.grad is not None

    (one,) = of_code(told({"D": D}, {}, turn), "in-vain")
    assert ("ask for that alone" in one.fix) is (asked == "each")
