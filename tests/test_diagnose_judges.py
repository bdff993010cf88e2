"""Guards of ``diagnose``, one at a time: which judge a term asks, and what that judge sees."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from gan_lessons import record
from gan_lessons.lens.diagnose import Finding
from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.diagnose.ways import Way, by_call, pulls_at
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.loops.wrong_judge import losses, squares, two_ways
from tests.test_diagnose_one_guard import grave, told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("of_each", [True, False])
def test_another_judge_takes_the_place_of_one_only_if_an_optimizer_of_its_own_moves_it(
    of_each: bool,
) -> None:
    """Two that one optimizer moves by one sum may be parts of one judge."""
    it = two_ways(False)
    nets = it.nets
    judges = (
        [sgd(nets["of_a"]), sgd(nets["of_b"])] if of_each else [sgd(nets["of_a"], nets["of_b"])]
    )
    optimizers = {"makers": it.optimizers["makers"], **dict(zip("ab", judges, strict=False))}
    lost = partial(losses, to=squares, real_b="of_a", fake_b="of_b")

    def turn(i: int) -> None:
        step(it.optimizers["makers"], lost(it, "makers", i))
        for judge in judges:
            judge.zero_grad()
        for who in ("of_a", "of_b"):
            lost(it, who, i).backward()
        for judge in judges:
            judge.step()

    found = told(nets, optimizers, turn, 3)
    asked = [f.net for f in found if "Call of_b instead of of_a" in f.fix]
    assert asked == ["of_a"] * of_each


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_what_a_fake_without_gradients_went_through_is_not_known(kept: bool, last: bool) -> None:
    """D sees it through tanh in both turns, G's last layer or not; no graph was kept of that."""
    G, D = mlp(2, 2, nn.Tanh() if last else None), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def fake(i: int) -> Tensor:
        made: Tensor = G(noise(i))
        return made if last else made.tanh()

    def turn(i: int) -> None:
        with torch.set_grad_enabled(kept):
            seen = fake(i)
        step(od, bce(D(torch.tanh(real(i))), 1.0) + bce(D(seen.detach() if kept else seen), 0.0))
        step(og, bce(D(fake(i)), 1.0))

    assert grave(told({"G": G, "D": D}, {"G": og, "D": od}, turn, 3)) == set()


@pytest.mark.parametrize("also", [False, True])
def test_where_a_distance_draws_is_known_if_nothing_else_is_made_of_the_verdict(also: bool) -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)
    nets: dict[str, nn.Module] = {"G": G, "D": D}
    optimizers = {"G": og, "D": od}

    def turn(i: int) -> None:
        step(od, squares(D(real(i)), 1.0) + squares(D(G(noise(i)).detach()), 0.0))
        said = D(G(noise(i)))
        loss = squares(said, 0.0)
        if also:
            loss = loss + 9 * bce(said, 1.0)
        step(og, loss)

    with record(nets, optimizers) as rec:
        turn(0)
    ways = by_call(pulls_at(Story(rec), "G", "D", "G"))
    assert [*ways.values()] == [None if also else Way("label", 0.0)]
    assert (("pulled-alike", "D") in grave(told(nets, optimizers, turn, 3))) is not also


def with_a_term_of_the_judge(added: bool) -> list[Finding]:
    """G follows a distance and what D says of ``real``. added: D's verdict on G, a number."""
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
        fake = G(noise(i))
        loss = l1_loss(fake, real(i))
        if added:
            loss = loss + bce(D(fake), 1.0).detach()
        loss = loss + bce(D(real(i + 7)), 0.5)
        step(og, loss)

    return told({"G": G, "D": D}, {"G": og, "D": od}, turn, 3)


def test_a_judge_of_something_else_is_not_told_where_its_verdict_was_added_as_a_number() -> None:
    (one,) = (f for f in with_a_term_of_the_judge(added=False) if f.code == "cut-off")
    assert "D judges there what G had no part in" in one.message
    (one,) = (f for f in with_a_term_of_the_judge(added=True) if f.code == "cut-off")
    assert "had no part in" not in one.message


@pytest.mark.parametrize("made", ["before", "while it ran", "after"])
def test_what_was_made_once_the_judge_had_begun_did_not_come_back_into_what_it_judges(
    made: str,
) -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def leaves(i: int) -> Tensor:
        fake: Tensor = G(noise(i))
        fake.detach().numpy()
        return fake

    def turn(i: int) -> None:
        step(od, bce(D(real(i)), 1.0) + bce(D(noise(i)), 0.0))
        if made == "before":
            fake = leaves(i)
        hidden = D[1](D[0](real(i + 7)))
        if made == "while it ran":
            fake = leaves(i)
        said = D[2](hidden)
        if made == "after":
            fake = leaves(i)
        step(og, l1_loss(fake, real(i)) + bce(said, 1.0))

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn, 3)
    assert any("left torch for NumPy" in f.message for f in found) is (made == "before")
