"""Guards of ``diagnose``, one at a time: conditions that a sample of changes had found unheld."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_lessons.lens.diagnose import Finding
from tests.loops.directions import one_and_all_else
from tests.loops.kit import It, bce, draw, mlp, noise, pair, real, sgd
from tests.loops.wrong_judge import two_ways
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


# A step that finds no gradient from some iteration on ---------------------------------------------


def around(x: Tensor, y: Tensor) -> Tensor:
    """The value of y and the gradient of x."""
    return x + (y - x).detach()


CUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a straight-through hands on": around,
    "the graph was cut by argmax()": lambda x, y: x + y.argmax(1, keepdim=True),
    "the graph was cut by detach()": lambda x, y: x * y.detach(),
}


@pytest.mark.parametrize("says", CUTS)
def test_a_cut_that_comes_later_is_told_of_whoever_had_learned_before(says: str) -> None:
    encoder, codes, decoder = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    nets: dict[str, nn.Module] = {"encoder": encoder, "codes": codes, "decoder": decoder}
    optimizer = sgd(codes)

    def turn(i: int) -> None:
        x = encoder(noise(i))
        y = codes(x.detach())
        step(optimizer, bce(decoder(x + y if i == 0 else CUTS[says](x, y)), 1.0))

    (one,) = (f for f in told(nets, {"codes": optimizer}, turn, 3) if f.code == "cut-off")
    assert (one.severity, one.net) == ("wrong", "codes")
    assert says in one.message


# Which judge a term asks --------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", ["up", "down", "both ways at times"])
def test_a_judge_is_asked_in_place_of_one_whose_opponent_pulls_the_other_way_each_time(
    drawn: str,
) -> None:
    """The fakes of B go to the judge of A. What the makers want of the judge of B: ``drawn``."""
    it = two_ways(False)
    to_b, to_a, of_a, of_b = it.nets.values()
    weights = torch.tensor([[1.0], [-1.0]]).repeat(4, 1)

    def turn(i: int) -> None:
        a, b = real(i), draw(i, 4.0)
        said = of_b(to_b(a))
        of_makers = bce(said, 0.0 if drawn == "down" else 1.0)
        if drawn == "both ways at times" and i == 1:
            of_makers = (said * weights).mean()
        step(it.optimizers["makers"], bce(of_a(to_a(b)), 1.0) + of_makers)
        for who in ("of_a", "of_b"):
            it.optimizers[who].zero_grad()
        (bce(of_a(a), 1.0) + bce(of_a(to_a(b).detach()), 0.0)).backward()
        (bce(of_b(b), 1.0) + bce(of_a(to_b(a).detach()), 0.0)).backward()
        for who in ("of_a", "of_b"):
            it.optimizers[who].step()

    found = told(it.nets, it.optimizers, turn, 3)
    asked = [f.net for f in found if "Call of_b instead of of_a" in f.fix]
    assert asked == ["of_a"] * (drawn == "up")


# What is quoted of the first of several calls -----------------------------------------------------


@pytest.mark.parametrize("when", [0, 1])
@pytest.mark.parametrize("who", ["G", "D"])
def test_whom_to_name_in_a_call_is_who_wants_a_gradient_of_that_call(who: str, when: int) -> None:
    """One bias is frozen in one of two iterations; the advice is about the first."""
    it = pair(False)
    bias = it.nets[who][0].bias

    def turn(i: int) -> None:
        bias.requires_grad_(i != when)
        for optimizer in it.optimizers.values():
            optimizer.zero_grad()
        d_loss, _ = one_and_all_else(it, i)
        d_loss.backward()
        for optimizer in it.optimizers.values():
            optimizer.step()

    (one,) = (f for f in told(it.nets, it.optimizers, turn) if f.code == "pulled-alike")
    some = {name: name == who and when == 0 for name in "GD"}
    for name, part in some.items():
        assert (f"inputs=[p for p in {name}.parameters() if p.requires_grad]" in one.fix) is part
        assert (f"inputs=list({name}.parameters())" in one.fix) is not part


# A number of which nothing came -------------------------------------------------------------------


def about_lost_numbers(turn: Callable[[It, int], Tensor | None]) -> list[Finding]:
    it = pair(False)
    it.nets["fixed"] = mlp(2, 1)

    def whole(i: int) -> None:
        turn(it, i)
        G, D = it.nets["G"], it.nets["D"]
        step(it.optimizers["D"], bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
        step(it.optimizers["G"], bce(D(G(noise(i))), 1.0))

    found = told(it.nets, it.optimizers, whole, 3)
    return [f for f in found if "A number is made of what" in f.message]


def test_a_lost_number_is_told_of_trained_nets_whose_forward_serves_another_loss() -> None:
    def lost(it: It, i: int) -> None:
        said = it.nets["D"](real(i))
        said.square().mean()
        step(it.optimizers["D"], bce(said, 1.0))

    (one,) = about_lost_numbers(lost)
    assert (one.severity, one.net) == ("waste", "D")


def test_a_number_of_a_net_that_nobody_trains_is_no_term_that_was_lost() -> None:
    def lost(it: It, i: int) -> None:
        said = it.nets["fixed"](it.nets["G"](noise(i)).detach())
        said.square().mean()
        said.mean().backward()

    assert about_lost_numbers(lost) == []


def test_a_number_of_a_forward_that_nothing_walked_is_told_as_that() -> None:
    def lost(it: It, i: int) -> None:
        it.nets["D"](real(i)).square().mean()

    assert about_lost_numbers(lost) == []
