"""Guards of ``diagnose``, one at a time: where values came from, and what happens now and then."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as by_logits

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose.opponents_loss import _made_by
from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import Record
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_one_guard import grave, told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


# Where values came from ---------------------------------------------------------------------------


@pytest.mark.parametrize("without_gradients", [False, True])
def test_what_was_cut_off_twice_still_comes_from_the_first_net(without_gradients: bool) -> None:
    G, E, D = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    od = sgd(D)
    with record({"G": G, "E": E, "D": D}, {"D": od}) as rec:
        if without_gradients:
            with torch.no_grad():
                made = G(noise(0))
        else:
            made = G(noise(0)).detach()
        said = E(made)
        step(od, bce(D(said.detach()), 0.0) + bce(D(real(0)), 1.0))
    story = Story(rec)
    fake, true = (f.index for f in rec.forwards if f.net == "D")
    assert [story.comes_from(fake, net) for net in "GED"] == [True, True, False]
    assert [story.comes_from(true, net) for net in "GED"] == [False, False, False]


def test_a_frozen_net_that_is_run_by_its_parts_is_known_by_what_its_operations_saved() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    D.requires_grad_(False)
    og = sgd(G)
    with record({"G": G, "D": D}, {"G": og}) as rec:
        x = G(noise(0))
        for part in D:
            x = part(x)
        step(og, x.mean())
    story = Story(rec)
    linear = [i for i, n in rec.graph.nodes.items() if n.op == "AddmmBackward0"]
    assert [story.owner[i] for i in linear] == ["G", "G", "D", "D"]


def test_the_parameters_behind_a_number() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    od = sgd(D)
    with record({"G": G, "D": D}, {"D": od}) as rec:
        step(od, D(G(noise(0))).mean())
    story, nodes = Story(rec), rec.graph.nodes
    (call,) = rec.backward_calls
    root = call.nodes[-1]
    for net in "GD":
        assert story.leaves_behind(root, net) == {
            i for i in call.nodes if nodes[i].is_leaf and nodes[i].net == net
        }
        assert len(story.leaves_behind(root, net)) == 4
    assert len(story.leaves_of(root)) == 8


# Why a step found nothing -------------------------------------------------------------------------


def test_a_later_iteration_knows_why_the_first_step_found_nothing() -> None:
    """What went into the first loss was made before the recording began."""
    G, D = mlp(2, 2), mlp(2, 1)
    og = sgd(G)
    with torch.no_grad():
        early = G(noise(0))

    def turn(i: int) -> None:
        with torch.no_grad():
            fake = G(noise(i)) if i else early
        og.zero_grad()
        bce(D(fake), 1.0).backward()
        og.step()

    (one,) = (f for f in told({"G": G, "D": D}, {"G": og}, turn) if f.net == "G")
    assert one.code == "cut-off"
    assert "no way" not in one.message
    assert len([seen for seen in one.evidence if "og.step()" in seen]) == 2


@pytest.mark.parametrize("left", ["before", "after", "of another net"])
def test_only_what_left_torch_before_the_backward_can_be_missing_in_it(left: str) -> None:
    G, D, H = mlp(2, 2), mlp(2, 1), mlp(2, 2)
    og = sgd(G)

    def turn(i: int) -> None:
        fake = (H if left == "of another net" else G)(noise(i))
        if left == "of another net":
            G(noise(i))
        values = fake.detach().numpy().copy() if left != "after" else noise(i).numpy()
        loss = bce(D(torch.from_numpy(values)), 1.0)
        og.zero_grad()
        loss.backward()
        if left == "after":
            G(noise(i)).detach().numpy()
        og.step()

    found = told({"G": G, "D": D, "H": H}, {"G": og}, turn, 1)
    found = [f for f in found if f.code == "cut-off"]
    assert found
    assert all(("left torch for NumPy" in f.message) is (left == "before") for f in found)


def two_judges_one_thawed(one_line: bool) -> set[tuple[str, str | None]]:
    """Both are frozen for a while; then one is thawed, and the loss has a term of each."""
    one, two, G = mlp(2, 1), mlp(2, 1), mlp(2, 2)
    both, og = sgd(one, two), sgd(G)

    def turn(i: int) -> None:
        if one_line:
            for net in (one, two):
                net.requires_grad_(False)
        else:
            one.requires_grad_(False)
            two.requires_grad_(False)
        step(og, bce(one(G(noise(i))), 1.0) + bce(two(G(noise(i))), 1.0))
        one.requires_grad_(True)
        step(both, bce(one(real(i)), 1.0) + bce(two(real(i)), 1.0))

    return grave(told({"one": one, "two": two, "G": G}, {"both": both, "G": og}, turn, 3))


def test_a_net_is_left_frozen_where_one_line_froze_both() -> None:
    assert two_judges_one_thawed(one_line=True) == {("cut-off", "two")}
    assert two_judges_one_thawed(one_line=False) == set()


# Now and then -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "is_told"), [((), False), ((1,), False), ((1, 3), True), ((0, 1, 2, 3), True)]
)
def test_a_half_is_thrown_away_if_it_is_more_than_once(
    times: tuple[int, ...], is_told: bool
) -> None:
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        bce(D(real(i)), 1.0).backward()
        if i in times:
            od.zero_grad()
        bce(D(noise(i)), 0.0).backward()
        od.step()

    assert (("thrown-away", "D") in grave(told({"D": D}, {"D": od}, turn, 4))) is is_told


def test_a_half_of_which_one_parameter_is_cleared_is_not_thrown_away() -> None:
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        bce(D(real(i)), 1.0).backward()
        next(D.parameters()).grad = None
        bce(D(noise(i)), 0.0).backward()
        od.step()

    assert grave(told({"D": D}, {"D": od}, turn, 3)) == set()


def several_heads(spare: bool) -> Record:
    """The loss of the first head is overwritten; ``spare``: another net has a part without use."""
    trunk, first, second = mlp(2, 4), mlp(4, 1), mlp(4, 1)
    D = nn.ModuleDict({"trunk": trunk, "first": first, "second": second})
    E = nn.ModuleDict({"used": mlp(2, 2), "unused": mlp(2, 2)})
    both = sgd(E, D) if spare else sgd(D)
    with record({"E": E, "D": D} if spare else {"D": D}, {"both": both}) as rec:
        for i in range(2):
            x = E["used"](real(i)) if spare else real(i)
            loss = by_logits(first(trunk(x)), torch.ones(8, 1))
            loss = by_logits(second(trunk(x)), torch.ones(8, 1))
            step(both, loss)
    return rec


@pytest.mark.parametrize("spare", [False, True])
def test_a_head_whose_loss_is_lost_is_told_beside_a_part_without_use(spare: bool) -> None:
    (one,) = (f for f in diagnose(several_heads(spare)).findings if f.severity == "wrong")
    assert (one.code, one.net) == ("never-walked", "D")
    assert ": 4 of its parameters never move" in one.message


def test_a_new_head_is_told_where_only_one_of_two_losses_uses_it() -> None:
    E, D = mlp(2, 2), nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 1))
    both = sgd(E, D)
    D[1] = nn.Linear(8, 1)

    def turn(i: int) -> None:
        both.zero_grad()
        (E(real(i)).square().mean() + D[0](noise(i)).square().mean()).backward()
        bce(D(real(i)), 1.0).backward()
        both.step()

    assert grave(told({"E": E, "D": D}, {"both": both}, turn)) == {("ownership", "D")}


# Who pulls which way ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_noise", "severity"), [(None, "wrong"), (1.0, "wrong"), (0.0, "waste")]
)
def test_a_judge_tells_a_player_from_all_else_only_if_all_else_is_drawn_the_other_way(
    of_noise: float | None, severity: str
) -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
        if of_noise is not None:
            loss = loss + bce(D(noise(i + 5)), of_noise)
        step(od, loss)
        step(og, bce(D(G(noise(i))), 0.0))

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn, 3)
    assert [(f.severity, f.net) for f in found if f.code == "pulled-alike"] == [(severity, "D")]


@pytest.mark.parametrize("other_way", [False, True])
def test_a_verdict_that_goes_both_ways_is_not_told_to_be_pulled_alike(other_way: bool) -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
        step(og, bce(D(G(noise(i))), 1.0 if other_way and i == 1 else 0.0))

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn, 3)
    assert (("pulled-alike", "D") in grave(found)) is not other_way


@pytest.mark.parametrize("opposed", [False, True])
def test_a_judge_that_steps_with_its_player_on_two_calls(opposed: bool) -> None:
    """Neither is kept from the other's call: one of the two tells the fake from what is real."""
    G, D = mlp(2, 2), mlp(2, 1)
    both = sgd(G, D)

    def turn(i: int) -> None:
        both.zero_grad()
        of_both = bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)
        of_both.backward()
        both.step()
        both.zero_grad()
        of_fake = bce(D(G(noise(i + 9))), 1.0 if opposed else 0.0)
        of_fake.backward()
        both.step()

    found = told({"G": G, "D": D}, {"both": both}, turn, 3)
    mine = [f for f in found if "the other way than" in f.message]
    assert [(f.severity, f.net) for f in mine] == [("wrong", "D")] * opposed
    for one in mine:
        theirs, own = one.message.split("the other way than")
        assert "`of_fake.backward()`" in theirs
        assert "`of_both.backward()`" in own


def test_the_output_that_a_judge_got_whole() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    with record({"G": G, "D": D}, {"G": sgd(G), "D": sgd(D)}) as rec:
        fake = G(noise(0))
        scaled = (2 * fake + 1).clone()
        parts = D(fake), D(scaled), D(fake[:4]), D(real(0)), D(G(noise(1))), D(fake.detach())
        sum(said.sum() for said in parts).backward()
    story = Story(rec)
    whole, changed, part, true, other, cut = (
        _made_by(story, f.index, "G") for f in rec.forwards if f.net == "D"
    )
    assert whole == changed
    assert len(whole) == len(other) == 1
    assert whole != other
    assert part == true == cut == set()
    assert {story.owner[i] for i in whole | other} == {"G"}


def test_a_net_in_no_optimizer_is_told_beside_one_that_is_moved_by_hand() -> None:
    fine, one, two = mlp(2, 1), mlp(2, 1), mlp(2, 1)
    optimizer = sgd(fine)

    def turn(i: int) -> None:
        for net in (one, fine, two):
            net.zero_grad()
            bce(net(real(i)), 1.0).backward()
        optimizer.step()
        for p in two.parameters():
            assert p.grad is not None
            p.data -= 0.1 * p.grad

    found = told({"one": one, "fine": fine, "two": two}, {"fine": optimizer}, turn)
    assert grave(found) == {("ownership", "one")}


def test_a_reversal_that_is_none_between_two_nets_is_told_at_each_of_them() -> None:
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: object, *grads: torch.Tensor) -> torch.Tensor:
            return grads[0]

    G, H, D = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    all_ = sgd(G, H, D)

    def turn(i: int) -> None:
        for net in (G, H):
            said = D(Reverse.apply(net(noise(i))))
            step(all_, bce(said, 1.0) + net(real(i)).square().mean())

    found = told({"G": G, "H": H, "D": D}, {"all": all_}, turn)
    assert grave(found) == {("reversed", "G"), ("reversed", "H")}


def test_a_gradient_is_finite_if_that_of_each_parameter_is() -> None:
    first, last = nn.Linear(2, 4), nn.Linear(4, 1)
    D = nn.Sequential(first, last)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        (D(real(0)).mean() + last.bias.sum() * float("inf")).backward()
        D(real(1)).mean().backward(inputs=[first.weight])
        D.zero_grad()
        D(real(2)).mean().backward()
    story = Story(rec)
    assert [story.finite_after("D", [call]) for call in range(3)] == [False, False, True]
    assert not story.finite_after("D", [0, 2])
