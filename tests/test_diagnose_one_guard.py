"""More guards of ``diagnose``, one at a time: what somebody's loop has beside what is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Finding
from gan_lessons.lens.diagnose.parts import by_parts
from gan_lessons.lens.model import Record
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.loops.right import domains
from tests.test_diagnose_real_code import codes, step

Turn = Callable[[int], None]


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def told(nets: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer],
         turn: Turn, times: int = 2) -> list[Finding]:  # fmt: skip
    with record(nets, optimizers) as rec:
        for i in range(times):
            turn(i)
    return diagnose(rec).findings


def grave(findings: list[Finding]) -> set[tuple[str, str | None]]:
    return {(f.code, f.net) for f in findings if f.severity in ("error", "wrong")}


def test_a_reversal_counts_beside_an_untrained_copy_of_the_features_too() -> None:
    """An average of the weights has the form of the features, and nothing to do with the judge."""
    it = domains(False)
    features, labels, domain = it.nets.values()
    with record({**it.nets, "average": mlp(2, 4)}, it.optimizers) as rec:
        for i in range(2):
            for optimizer in it.optimizers.values():
                optimizer.zero_grad()
            bce(domain(features(real(i)).detach()), 1.0).backward()
            x = features(noise(i))
            (labels(x).square().mean() + bce(domain(x), 0.0)).backward()
            for optimizer in it.optimizers.values():
                optimizer.step()
    assert codes(diagnose(rec), "wrong") == []


# Clipping, scaling --------------------------------------------------------------------------------

ORDERS = {  # Z zero_grad, B backward, C clip, S step -> is it told that something is not clipped?
    "ZBCS": False, "ZCBS": True, "ZBSC": True, "ZCBCS": False, "ZBBCS": False, "ZCBBCS": False,
    "ZCBCBS": True, "ZBCBSC": True, "ZBBSC": True, "ZBCSC": False, "BSC": False, "ZBCBCS": False,
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_clipped_is_what_was_clipped_after_the_last_backward_and_before_the_step(
    order: str,
) -> None:
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        for part in order:
            if part == "Z":
                od.zero_grad()
            elif part == "B":
                bce(D(real(i)), 1.0).backward()
            elif part == "C":
                clip_grad_norm_(D.parameters(), 0.05)
            else:
                od.step()

    assert (("unclipped", "D") in grave(told({"D": D}, {"D": od}, turn, 3))) is ORDERS[order]


def scaler_of_two() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=2.0)


def test_the_scale_that_was_taken_off_one_net_is_still_on_the_other() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od, scaler = sgd(G), sgd(D), scaler_of_two()

    def turn(i: int) -> None:
        od.zero_grad()
        scaler.scale(bce(D(real(i)), 1.0)).backward()
        og.zero_grad()
        scaler.scale(G(noise(i)).square().mean()).backward()
        scaler.step(od)
        og.step()
        scaler.update()

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn)
    assert grave(found) == {("still-scaled", "G")}
    assert "`scaler.step(og)` instead of" in found[0].fix


def test_one_net_of_two_was_unscaled_by_hand() -> None:
    one, two = mlp(2, 1), mlp(2, 1)
    both, scaler = sgd(one, two), scaler_of_two()

    def turn(i: int) -> None:
        both.zero_grad()
        (one(real(i)) * two(real(i))).mean().backward()
        scaler.scale((one(noise(i)) * two(noise(i))).mean()).backward()
        for p in list(one.parameters())[:1]:
            assert p.grad is not None
            p.grad.mul_(0.5)
        both.step()

    found = told({"one": one, "two": two}, {"both": both}, turn)
    assert ("still-scaled", "two") in grave(found)
    assert ("still-scaled", "one") not in grave(found)


# Flat, broadcast, counted twice -------------------------------------------------------------------


def test_a_net_whose_own_factor_has_a_slope_learns_beside_one_that_has_none() -> None:
    a, b, fixed = mlp(2, 1), mlp(2, 1), mlp(2, 1)
    both = sgd(a, b)

    def turn(i: int) -> None:
        x = real(i)
        loss = ((a(x) + fixed(x)).round() * b(x)).mean()
        step(both, loss + (a(noise(i)) - 1).square().mean())

    found = told({"a": a, "b": b, "fixed": fixed}, {"both": both}, turn)
    assert {f.net for f in found if f.code == "flat"} == {"a"}


@pytest.mark.parametrize("code", ["flat", "broadcast"])
def test_of_one_line_each_net_is_told_when_it_comes(code: str) -> None:
    a, b = mlp(2, 1), mlp(2, 1)
    both = sgd(a, b)

    def turn(i: int) -> None:
        said = a(real(i)) if i == 0 else a(real(i)) * b(real(i))
        x = said.round() if code == "flat" else said - real(i)[:, 0]
        step(both, x.square().mean() + b(noise(i)).square().mean())

    found = told({"a": a, "b": b}, {"both": both}, turn)
    assert {f.net for f in found if f.code == code} == {"a", "b"}


def test_a_loss_counts_twice_whatever_else_was_sent_backward_before() -> None:
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        (D(noise(i)).square().mean() / 2).backward()
        one = bce(D(real(i)), 1.0)
        one.backward(retain_graph=True)
        (one + bce(D(noise(i)), 0.0)).backward()
        od.step()

    found = told({"D": D}, {"D": od}, turn)
    assert grave(found) == {("counted-twice", "D")}


# The form of a loss -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "severity"), [((False, False), "wrong"), ((False, True), "waste")]
)
def test_a_teacher_is_asleep_if_it_ran_in_eval_mode_each_time(
    modes: tuple[bool, bool], severity: str
) -> None:
    teacher, student = mlp(2, 3), mlp(2, 3)
    both = sgd(teacher, student)

    def turn(i: int) -> None:
        teacher.train(modes[i])
        wanted = teacher(real(i))
        teacher.train()
        own = student(real(i)).square().mean() * student(noise(i)).mean()
        step(both, own + mse_loss(student(real(i)), wanted))

    found = told({"teacher": teacher, "student": student}, {"both": both}, turn)
    assert {(f.severity, f.net) for f in found if f.code == "moving-target"} == {
        (severity, "teacher")
    }


def test_a_teacher_of_which_a_part_is_in_eval_mode_may_follow() -> None:
    teacher = nn.Sequential(mlp(2, 3), mlp(3, 3))
    student = mlp(2, 3)
    both = sgd(teacher, student)
    teacher[1].eval()

    def turn(i: int) -> None:
        own = student(real(i)).square().mean() * student(noise(i)).mean()
        step(both, own + mse_loss(student(real(i)), teacher(real(i))))

    found = told({"teacher": teacher, "student": student}, {"both": both}, turn)
    (one,) = (f for f in found if f.code == "moving-target")
    assert (one.severity, one.net) == ("waste", "teacher")
    assert "8 parameters of teacher (0.0.bias, ...)" in one.message


def test_a_weight_that_learned_in_a_call_of_its_own_is_told_too() -> None:
    policy, value = mlp(2, 3), mlp(2, 1)
    both = sgd(policy, value)

    def turn(i: int) -> None:
        step(both, (value(real(i)) - 1).exp().mean() + policy(noise(i)).exp().mean())
        logits = policy(real(i)).log_softmax(1)
        chosen = torch.multinomial(logits.exp(), 1)
        step(both, -(logits.gather(1, chosen) * (1 - value(real(i)))).mean())

    found = told({"policy": policy, "value": value}, {"both": both}, turn)
    assert grave(found) == {("polluted", "value")}


@pytest.mark.parametrize("together", [False, True])
def test_a_judge_that_weighs_is_told_where_both_have_an_optimizer(together: bool) -> None:
    G, D = mlp(2, 1), mlp(1, 1)
    optimizers = {"GD": sgd(G, D)} if together else {"G": sgd(G), "D": sgd(D)}

    def turn(i: int) -> None:
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        fake = G(noise(i))
        ((fake * D(fake)).mean() + bce(D(fake.detach()), 0.0)).backward()
        for optimizer in optimizers.values():
            optimizer.step()

    found = told({"G": G, "D": D}, dict(optimizers), turn)
    assert [f.net for f in found if "is multiplied by what" in f.message] == ["D"] * (not together)


def test_a_sigmoid_before_logits_is_told_of_whoever_learns_there() -> None:
    G, D = mlp(2, 2), mlp(2, 1, nn.Sigmoid())
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        step(od, bce(D(real(i)).flatten(), 1.0) + bce(D(G(noise(i))), 0.0))
        step(og, (G(noise(i)) - 1).square().mean())

    found = told({"G": G, "D": D}, {"G": og, "D": od}, turn)
    assert grave(found) == {("squashed-twice", "D")}


# Who pollutes whom, and where to clear ------------------------------------------------------------


def test_the_clearing_that_is_missing_is_between_the_last_and_the_first() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        og.zero_grad()
        bce(D(G(noise(i))), 1.0).backward()
        weighed = bce(D(G(noise(i + 9))), 1.0) / 2
        weighed.backward()
        og.step()
        of_real = bce(D(real(i)), 1.0)
        of_real.backward()
        bce(D(G(noise(i)).detach()), 0.0).backward()
        od.step()
        od.zero_grad()

    (one,) = (f for f in told({"G": G, "D": D}, {"G": og, "D": od}, turn) if f.code == "polluted")
    assert one.net == "D"
    assert "between `weighed.backward()` and `of_real.backward()`" in one.fix


@pytest.mark.parametrize("by_hand", ["", "of another net", "one parameter"])
def test_two_optimizers_of_one_net_take_turns_at_what_was_not_cleared(by_hand: str) -> None:
    D, other = mlp(2, 1), mlp(2, 1)
    one, two = sgd(D), sgd(D, other)

    def turn(i: int) -> None:
        one.zero_grad()
        two.zero_grad()
        bce(D(real(i)), 1.0).backward()
        one.step()
        first = bce(D(noise(i)), 0.0) + other(real(i)).mean()
        first.backward()
        D(real(i)).square().mean().backward()
        changed = other if by_hand == "of another net" else D
        for p in [*changed.parameters()][:1] if by_hand else ():
            assert p.grad is not None
            p.grad.mul_(0.5)
        two.step()

    found = told({"D": D, "other": other}, {"one": one, "two": two}, turn)
    mine = [f for f in found if f.code == "polluted"]
    assert [f.net for f in mine] == ["D"] * (by_hand != "one parameter")
    assert all("between `one.step()` and `first.backward()`" in f.fix for f in mine)


# One module that holds all ------------------------------------------------------------------------


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.make, self.judge = mlp(2, 2), mlp(2, 1)

    def forward(self, x: Tensor, judged: bool) -> Tensor:
        said: Tensor = self.judge(x) if judged else self.make(x)
        return said


def recorded_pair(clip: bool = True) -> Record:
    pair = Pair()
    og, od = sgd(pair.make), sgd(pair.judge)
    with record({"pair": pair}, {"G": og, "D": od}) as rec:
        for i in range(2):
            step(od, bce(pair(real(i), True), 1.0) + bce(pair(noise(i), True), 0.0))
            og.zero_grad()
            bce(pair(pair(noise(i), False), True), 1.0).backward()
            if clip:
                clip_grad_norm_(pair.make.parameters(), 0.1)
            og.step()
    return rec


def test_a_module_of_two_players_is_told_apart_in_all_that_is_recorded() -> None:
    rec = recorded_pair()
    rec = replace(rec, apart={"pair": ("judge.0.weight",)}, evaluated={"pair": ("make.0.bias",)},
                  aliased=((("pair", "make.0.bias"), ("pair", "judge.0.bias")),),
                  twice={"G": {"pair": ("make.0.bias",)}},
                  moved={"pair": ("judge.2.bias",)})  # fmt: skip
    parts = by_parts(rec)
    assert {*parts.parameters} == {"pair", "pair.make", "pair.judge"}
    assert parts.parameters["pair"] == {}
    assert {name: [*held] for name, held in parts.holds.items()} == {
        "G": ["pair.make"], "D": ["pair.judge"],
    }  # fmt: skip
    assert [[*s.nets] for s in parts.scalings] == [["pair.make"]] * 2
    assert parts.apart == {"pair.judge": ("0.weight",)}
    assert parts.evaluated == {"pair.make": ("0.bias",)}
    assert parts.aliased == ((("pair.make", "0.bias"), ("pair.judge", "0.bias")),)
    assert parts.twice == {"G": {"pair.make": ("0.bias",)}}
    assert parts.moved == {"pair.judge": ("2.bias",)}
    saved = {s.parameter for row in parts.graph.saved.values() for s in row if s.parameter}
    assert saved
    assert {net for net, _ in saved} <= {"pair.make", "pair.judge"}
    assert {e.target: [*e.holds] for e in parts.events if e.kind == "step"} == {
        "G": ["pair.make"], "D": ["pair.judge"],
    }  # fmt: skip


def test_a_module_by_an_optimizer_for_all_and_one_for_a_part_is_one_player() -> None:
    pair = Pair()
    whole, part, own = sgd(pair), sgd(pair.judge), sgd(pair.make)
    with record({"pair": pair}, {"whole": whole, "part": part, "own": own}) as rec:
        step(whole, bce(pair(real(0), True), 1.0))
    assert by_parts(rec) is rec
