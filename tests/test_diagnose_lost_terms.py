"""Terms and parameters of which nothing is learned, one condition at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn.functional import mse_loss

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Finding
from gan_lessons.lens.diagnose.cut_penalty import cut_penalty
from gan_lessons.lens.diagnose.kept_by_reference import kept_by_reference
from gan_lessons.lens.diagnose.no_gradient_there import _distance_at, _is_to_itself
from gan_lessons.lens.diagnose.story import Rule, Story
from gan_lessons.lens.diagnose.useless_gradients import stepped_again
from tests.loops import LOOPS
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.loops.ownership import InScales
from tests.loops.partly import slope_of, to_one
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


FAULTS: dict[str, Rule] = {
    "both_halves_kept_by_reference": kept_by_reference,
    "a_penalty_on_a_detached_slope": cut_penalty,
    "d_is_stepped_again_in_the_turn_of_g": stepped_again,
}


@pytest.mark.parametrize("name", FAULTS)
def test_after_an_error_and_where_steps_are_inside_a_backward_nothing_is_told(name: str) -> None:
    (one,) = (one for one in LOOPS if one.name == name)
    it, rule = one.build(False), FAULTS[name]
    with record(it.nets, it.optimizers) as rec:
        for i in range(3):
            one.body(it, i)
    story = Story(rec)
    assert [*rule(story)] != []
    story.failed = True
    assert [*rule(story)] == []
    story.failed, story.inside = False, {0}
    assert [*rule(story)] == []


# A distance to itself -----------------------------------------------------------------------------

Two = Callable[[Tensor, Tensor], Tensor]
DISTANCES: dict[str, tuple[Two, str | None]] = {
    "by torch": (mse_loss, "MseLossBackward0"),
    "its mean": (lambda x, y: mse_loss(x, y, reduction="none").mean(), "MseLossBackward0"),
    "its square": (lambda x, y: mse_loss(x, y).square(), "MseLossBackward0"),
    "by hand": (lambda x, y: (x - y).square().mean(), "SubBackward0"),
    "absolute": (lambda x, y: (x - y).abs().sum(), "SubBackward0"),
    "a difference": (lambda x, y: (x - y).mean(), None),
    "a square": (lambda x, y: x.square().mean(), None),
    "something else": (lambda x, y: bce(x, 1.0), None),
    "a number": (lambda x, y: x.mean(), None),
}


@pytest.mark.parametrize("name", DISTANCES)
def test_what_takes_both_sides_of_a_distance(name: str) -> None:
    make, op = DISTANCES[name]
    D = mlp(2, 1)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        make(D(real(0)), D(noise(0))).backward()
    story = Story(rec)
    (call,) = story.calls_made
    found = _distance_at(story, call.nodes[-1])
    assert (None if found is None else rec.graph.nodes[found].op) == op


def by_itself(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 1.0


SIDES: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], bool]] = {
    "itself": (lambda D, x: x, True),
    "its detached copy": (lambda D, x: x.detach(), True),
    "another verdict": (lambda D, x: D(noise(0)), False),
    "another one, detached": (lambda D, x: D(noise(0)).detach(), False),
    "given": (lambda D, x: torch.zeros(8, 1), False),
    "made without gradients": (lambda D, x: by_itself(x), False),
}


@pytest.mark.parametrize("other", SIDES)
def test_a_distance_is_to_itself_if_both_sides_are_one_tensor(other: str) -> None:
    make, itself = SIDES[other]
    D = mlp(2, 1)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        said = D(real(0))
        mse_loss(said, make(D, said)).backward()
    story = Story(rec)
    (call,) = story.calls_made
    assert _is_to_itself(story, call.nodes[-1]) is itself


# A penalty that is cut off ------------------------------------------------------------------------


def penalized(loss: Callable[[nn.Module, nn.Module, int], Tensor]) -> list[str | None]:
    """Of which nets it is told that a penalty was cut off; one optimizer for both."""
    D, E = mlp(2, 1), mlp(2, 1)
    both = sgd(D, E)

    def turn(i: int) -> None:
        step(both, D(real(i)).mean() + E(real(i)).mean() + loss(D, E, i))

    found = told({"D": D, "E": E}, {"both": both}, turn)
    return [f.net for f in found if "learns nothing from the penalty" in f.message]


def test_a_cut_penalty_is_told_of_the_nets_it_was_made_of() -> None:
    assert penalized(lambda D, E, i: to_one(slope_of(D, i).detach())) == ["D"]
    assert penalized(lambda D, E, i: to_one((slope_of(D, i) + slope_of(E, i)).detach())) == [
        "D",
        "E",
    ]


def test_a_line_that_cut_off_the_penalty_of_one_net_cut_off_that_of_the_next_as_well() -> None:
    def of_one_then_of_both(D: nn.Module, E: nn.Module, i: int) -> Tensor:
        slope = slope_of(D, i) if i == 0 else slope_of(D, i) + slope_of(E, i)
        return to_one(slope.detach())

    assert penalized(of_one_then_of_both) == ["D", "E"]


def test_a_penalty_of_two_slopes_of_which_one_is_walked_is_left_alone() -> None:
    def half(D: nn.Module, E: nn.Module, i: int) -> Tensor:
        one, two = slope_of(D, i), slope_of(E, i)
        return to_one(one) + to_one((one + two).detach())

    assert penalized(half) == []


# Modules in a plain list --------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
def test_each_net_that_keeps_modules_in_a_list_is_told_whoever_steps_beside_it(
    together: bool,
) -> None:
    """By one loss with a net that keeps none, or two such nets by a loss each."""
    nets: dict[str, nn.Module] = {"plain": mlp(2, 1), "one": InScales()}
    if not together:
        nets["two"] = InScales()
    optimizer = sgd(*nets.values())

    def turn(i: int) -> None:
        losses = [bce(net(real(i)), 1.0) for net in nets.values()]
        for loss in [losses[0] + losses[1]] if together else losses:
            step(optimizer, loss)

    found = told(nets, {"all": optimizer}, turn, 3)
    listed = {f.net for f in found if "is a plain list" in f.message}
    assert listed == {*nets} - {"plain"}


# Stepped on once more -----------------------------------------------------------------------------


def again(by_hand: bool = False, before: bool = False) -> list[Finding]:
    """before: another line also steps once more, once. by_hand: one net of two is moved, too."""
    D, E = mlp(2, 1), mlp(2, 1)
    both = sgd(D, E)

    def turn(i: int) -> None:
        both.zero_grad()
        (D(real(i)).exp().mean() + E(real(i)).exp().mean()).backward()
        both.step()
        if before and i == 0:
            both.step()
        both.step()
        if by_hand:
            with torch.no_grad():
                for p in E.parameters():
                    p.mul_(0.99)

    found = told({"D": D, "E": E}, {"both": both}, turn, 3)
    return [f for f in found if f.code == "counted-twice"]


def test_what_is_stepped_on_again_time_after_time_is_asked_about() -> None:
    assert len(again()) == 1
    assert len(again(before=True)) == 1
    assert again(by_hand=True) == []


# Who has to do with whom --------------------------------------------------------------------------


def straight(G: nn.Module) -> Tensor:
    made: Tensor = G(noise(0))
    return made


def without_gradients(G: nn.Module) -> Tensor:
    with torch.no_grad():
        return straight(G)


@pytest.mark.parametrize("make", [straight, lambda G: straight(G).detach(), without_gradients])
def test_nets_have_to_do_with_each_other_if_one_went_into_what_the_other_made(
    make: Callable[[nn.Module], Tensor],
) -> None:
    G, D, one, two, alone = mlp(2, 2), mlp(2, 1), mlp(2, 1), mlp(2, 1), mlp(2, 1)
    nets: dict[str, nn.Module] = {"G": G, "D": D, "one": one, "two": two, "alone": alone}
    optimizers: dict[str, optim.Optimizer] = {"G": sgd(G), "D": sgd(D), "both": sgd(one, two)}
    with record(nets, optimizers) as rec:
        bce(D(make(G)), 1.0).backward()
        alone(real(0)).mean().backward()
    company = Story(rec).company
    assert company == {
        "G": {"G", "D"}, "D": {"G", "D"}, "one": {"one", "two"}, "two": {"one", "two"},
        "alone": {"alone"},
    }  # fmt: skip


# What each optimizer stepped on -------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("how", ["by hand", "beside", "changed"])
def test_what_was_put_there_or_changed_by_hand_is_told_once_or_with_how_often(
    how: str, times: int
) -> None:
    """Of one parameter of four, where a backward wrote as well."""
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        if how != "by hand":
            bce(D(real(i)), 1.0).backward()
        for p in [*D.parameters()][: None if how == "by hand" else 1]:
            if how == "changed":
                assert p.grad is not None
                p.grad.mul_(0.5)
            else:
                p.grad = torch.ones_like(p)
        od.step()

    with record({"D": D}, {"D": od}) as rec:
        for i in range(times):
            turn(i)
    (line,) = diagnose(rec).stepped
    often = f" {times} times" if times > 1 else ""
    if how == "by hand":
        assert line == f"D moved D{often} by what was put into .grad by hand."
        return
    assert line.startswith(f"D moved D{often} by the gradient of ")
    says = {"beside": "Some of it was put into .grad by hand.",
            "changed": "Something that is no backward changed it in place."}  # fmt: skip
    assert [text in line for text in says.values()] == [how == x for x in says]
