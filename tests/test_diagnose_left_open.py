"""Guards of ``diagnose``, one at a time: conditions that a sample of changes had found unheld."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Diagnosis, Finding
from gan_lessons.lens.diagnose.backward_flops import backward_flops
from tests.loops.directions import one_and_all_else
from tests.loops.kit import It, bce, draw, mlp, noise, pair, real, sgd
from tests.loops.wrong_judge import two_ways
from tests.test_diagnose_one_guard import grave, told
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


# A straight-through, and what is compared after it ------------------------------------------------


@pytest.mark.parametrize("compared", ["what comes out", "something else"])
def test_a_distance_teaches_the_wrong_side_if_it_is_made_of_what_comes_out(compared: str) -> None:
    """Both distances are to what the straight-through goes around to, detached."""
    encoder, codes, decoder, other = mlp(2, 2), mlp(2, 2), mlp(2, 1), mlp(2, 2)
    nets: dict[str, nn.Module] = {
        "encoder": encoder, "codes": codes, "decoder": decoder, "other": other,
    }  # fmt: skip
    optimizer = sgd(codes)

    def turn(i: int) -> None:
        x = encoder(noise(i))
        out = around(x, codes(x.detach()))
        side = out if compared == "what comes out" else other(real(i))
        step(optimizer, bce(decoder(out), 1.0) + mse_loss(side, x.detach()))

    (one,) = (f for f in told(nets, {"codes": optimizer}, turn, 3) if f.code == "cut-off")
    assert one.net == "codes"
    assert ("the distance to that other" in one.message) is (compared == "what comes out")


# A log-probability that is weighed ----------------------------------------------------------------


@pytest.mark.parametrize("picked", [True, False])
def test_a_log_probability_is_weighed_where_the_policy_chose_what_is_picked(picked: bool) -> None:
    """Else what the policy said without gradients may be anything, and is only multiplied."""
    policy, value = mlp(2, 3), mlp(2, 1)
    both = sgd(policy, value)

    def turn(i: int) -> None:
        logits = policy(real(i)).log_softmax(1)
        with torch.no_grad():
            before = policy(real(i))
        if picked:
            part = logits.gather(1, before.topk(1).indices)
        else:
            part = (logits * before).sum(1, keepdim=True)
        own = (value(noise(i)) - 1).square().mean()
        step(both, own - (part * (1 - value(real(i)))).mean())

    found = told({"policy": policy, "value": value}, {"both": both}, turn)
    assert (("polluted", "value") in grave(found)) is picked


# Shown, counted, forgotten, thrown away -----------------------------------------------------------


def test_what_was_stepped_on_is_shown_of_a_sound_loop_that_stepped() -> None:
    D = mlp(2, 1)
    od = sgd(D)
    with record({"D": D}, {"D": od}) as rec:
        pass
    nothing = diagnose(rec)
    with record({"D": D}, {"D": od}) as rec:
        step(od, bce(D(real(0)), 1.0))
    sound = diagnose(rec)
    with record({"D": D}, {"D": od}) as rec:
        for i in range(2):
            bce(D(real(i)), 1.0)
            step(od, D(real(i)).detach().requires_grad_(True).mean())
    unsound = diagnose(rec)
    assert (nothing.sound, sound.sound, unsound.sound) == (True, True, False)
    for said in (Diagnosis.__str__, Diagnosis._repr_html_):
        shown = ["What each optimizer stepped on" in said(one) for one in (nothing, sound, unsound)]
        assert shown == [False, True, False]


def test_of_a_convolution_of_which_nothing_is_known_the_work_is_not_known() -> None:
    net = nn.Conv2d(1, 2, 3)
    with record({"net": net}) as rec:
        net(torch.randn(2, 1, 8, 8)).sum().backward()
    (call,) = rec.backward_calls
    assert backward_flops(rec, call).complete
    unknown = replace(rec, graph=replace(rec.graph, saved={}))
    assert not backward_flops(unknown, call).complete


class TakenTwice(nn.Module):
    """A part that takes what the rest made, and, before or after that, what came in."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order
        self.enc, self.mid, self.dec = mlp(2, 3), nn.Linear(3, 3), mlp(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        given, made = nn.functional.pad(x, (0, 1)), self.enc(x)
        taken = {"given": given, "made": made}
        parts = [self.mid(taken[name]) for name in self.order.split()]
        out: Tensor = self.dec(sum(parts[1:], parts[0]))
        return out


@pytest.mark.parametrize("order", ["made", "made made", "given made", "made given"])
def test_a_part_is_above_the_rest_if_all_that_it_takes_was_made_there(order: str) -> None:
    net = TakenTwice(order)
    optimizer = sgd(net.enc, net.dec)
    found = told(
        {"net": net}, {"opt": optimizer},
        lambda i: step(optimizer, mse_loss(net(real(i)), real(i))), 3,
    )  # fmt: skip
    assert ("They take what the rest of net made" in " ".join(f.message for f in found)) is (
        "given" not in order
    )


@pytest.mark.parametrize("when", [(), (1,), (1, 2)])
def test_what_is_cleared_once_in_a_while_was_not_thrown_away(when: tuple[int, ...]) -> None:
    """The same loss is stepped on else: a turn may be left out now and then."""
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        bce(D(real(i)), 1.0).backward()
        if i in when:
            od.zero_grad()
        bce(D(noise(i)), 0.0).backward()
        od.step()

    found = [f for f in told({"D": D}, {"D": od}, turn, 4) if f.code == "thrown-away"]
    assert len(found) == (len(when) > 1)
