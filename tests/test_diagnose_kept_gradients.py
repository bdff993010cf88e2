"""What shows that gradients were kept without a copy, one condition at a time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from gan_lessons.lens.diagnose import Finding
from gan_lessons.lens.diagnose.kept_by_reference import _factor, _is_held
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_one_guard import told


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


# By which factor ----------------------------------------------------------------------------------

Number = float | None


def factor(
    used: list[Number], before: list[Number], by_hand: str = "11", rewritten: str = "00"
) -> float | None:
    """used: the norms that D was stepped on with, by parameter; ``before``: as a call wrote them.
    by_hand, rewritten: which of them were (1)."""
    marks = zip(used, by_hand.ljust(9, "1"), rewritten.ljust(9, "0"), strict=False)
    states = {("D", str(i)): SimpleNamespace(value=v, by_hand=h == "1", rewritten=r == "1")
              for i, (v, h, r) in enumerate(marks)}  # fmt: skip
    states["G", "0"] = SimpleNamespace(value=7.0, by_hand=False, rewritten=False)
    wrote = {str(i): SimpleNamespace(value=value) for i, value in enumerate(before)}
    story: Any = SimpleNamespace(events={0: SimpleNamespace(grads={"D": wrote})})
    step: Any = SimpleNamespace(used=states)
    call: Any = SimpleNamespace(index=0, received={"D": (*wrote,)})
    return _factor(story, step, "D", call)


def test_what_was_put_there_by_hand_is_the_same_multiple_in_each_parameter() -> None:
    assert factor([2.5, 5.0], [1.0, 2.0]) == 2.5
    assert factor([2.0, 4.0002], [1.0, 2.0]) == 2.0
    assert factor([2.0, 4.2], [1.0, 2.0]) is None
    assert factor([2.0, 4.002], [1.0, 2.0]) is None


def test_of_norms_that_are_all_alike_or_not_known_nothing_follows() -> None:
    assert factor([2.0, 2.0], [1.0, 1.0]) is None
    assert factor([2.0, 2.0], [1.0, 1.0000000004]) is None
    assert factor([2.0, 4.0, None], [1.0, 2.0, 3.0]) is None
    assert factor([2.0, 4.0, 6.0], [1.0, 2.0, None]) is None
    assert factor([2.0, 4.0, 6.0], [1.0, 2.0, 0.0]) is None
    assert factor([2.0, 4.0, 6.0], [1.0, 2.0]) is None


def test_all_was_put_there_by_hand_or_all_was_doubled_where_it_lay() -> None:
    norms: tuple[list[Number], list[Number]] = [2.0, 4.0], [1.0, 2.0]
    assert factor(*norms, by_hand="10") is None
    assert factor(*norms, by_hand="00") is None
    assert factor(*norms, by_hand="00", rewritten="10") is None
    assert factor(*norms, by_hand="00", rewritten="11") == 2.0
    assert factor([2.00005, 4.0001], norms[1], by_hand="00", rewritten="11") == 2.00005
    assert factor([3.0, 6.0], norms[1], by_hand="00", rewritten="11") is None


def held(*states: tuple[bool, set[int]]) -> bool:
    row = {str(i): SimpleNamespace(held=one, sources=of) for i, (one, of) in enumerate(states)}
    event: Any = SimpleNamespace(grads={"D": row})
    call: Any = SimpleNamespace(index=3, received={"D": (*row,)})
    return _is_held(event, "D", call)


def test_a_gradient_is_gone_if_that_of_each_parameter_is_and_was_held() -> None:
    gone, lost, there, both = (True, {1}), (False, {1}), (True, {1, 3}), (False, {3})
    assert held(gone, gone)
    assert not any(held(gone, other) for other in (lost, there, both))
    assert not held(both, both)


# Which calls, and where they were cleared ---------------------------------------------------------

Turn = Callable[["Judge", Tensor, Tensor], None]


class Judge:
    """Two losses of what D says, and what was kept of their gradients."""

    def __init__(self) -> None:
        self.D, self.other = mlp(2, 1), mlp(2, 1)
        self.optimizer: optim.Optimizer = sgd(self.other, self.D)
        self.kept: list[list[Tensor]] = []

    def clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=False)

    def fill(self) -> None:
        for p in self.D.parameters():
            if p.grad is not None:
                p.grad.zero_()

    def backward(self, loss: Tensor) -> None:
        loss.backward(retain_graph=True, inputs=list(self.D.parameters()))
        self.kept.append([p.grad for p in self.D.parameters() if p.grad is not None])

    def put_together(self, *which: int) -> None:
        for p, *grads in zip(self.D.parameters(), *(self.kept[i] for i in which), strict=True):
            p.grad = 2 * sum(grads[1:], grads[0])

    def losses(self, i: int) -> tuple[Tensor, Tensor]:
        return bce(self.D(real(i)), 1.0), bce(self.D(noise(i)), 0.0)


def found(
    turn: Turn, losses: Callable[[Judge, int], tuple[Tensor, Tensor]] = Judge.losses
) -> list[Finding]:
    judge = Judge()

    def whole(i: int) -> None:
        one, two = losses(judge, i)
        of_other = judge.other(real(i)).square().mean()
        judge.clear()
        of_other.backward()
        turn(judge, one, two)
        judge.optimizer.step()

    nets: dict[str, nn.Module] = {"other": judge.other, "D": judge.D}
    findings = told(nets, {"both": judge.optimizer}, whole, 3)
    return [f for f in findings if "kept without a copy" in f.message]


def test_it_is_told_of_the_second_net_of_an_optimizer_too() -> None:
    def turn(judge: Judge, one: Tensor, two: Tensor) -> None:
        judge.backward(one)
        judge.fill()
        judge.backward(two)
        judge.put_together(-1, -2)

    (told_once,) = found(turn)
    assert (told_once.code, told_once.severity, told_once.net) == ("thrown-away", "wrong", "D")


@pytest.mark.parametrize("by_hand", [True, False])
def test_where_they_were_cleared_is_between_the_two_calls(by_hand: bool) -> None:
    """Something clears right before the first and right after it, once by hand."""

    def turn(judge: Judge, one: Tensor, two: Tensor) -> None:
        judge.fill() if not by_hand else judge.clear()
        judge.backward(one)
        judge.fill() if by_hand else judge.clear()
        judge.backward(two)
        judge.put_together(-1, -2)

    (told_once,) = found(turn)
    assert ("the same tensors were filled with zeros before" in told_once.message) is by_hand
    assert ("zero_grad(set_to_none=False)` filled the same" in told_once.message) is not by_hand


def test_losses_of_one_verdict_are_two_losses() -> None:
    def of_one_verdict(judge: Judge, i: int) -> tuple[Tensor, Tensor]:
        said = judge.D(real(i))
        return said.mean(), said.square().mean()

    def turn(judge: Judge, one: Tensor, two: Tensor) -> None:
        judge.backward(one)
        judge.fill()
        judge.backward(two)
        judge.put_together(-1, -2)

    assert len(found(turn, of_one_verdict)) == 1


def test_what_the_last_loss_holds_was_a_measure_whatever_came_between() -> None:
    def turn(judge: Judge, one: Tensor, two: Tensor) -> None:
        for loss in (one, two, one + two):
            judge.fill()
            judge.backward(loss)
        judge.put_together(-1)

    assert found(turn) == []


def test_a_net_without_a_gradient_beside_one_that_is_moved_by_hand_alone() -> None:
    """No backward call had a part in these steps: nothing can be said of where it was cut off."""
    moved, idle = mlp(2, 1), mlp(2, 1)
    both = sgd(moved, idle)

    def turn(i: int) -> None:
        for p in moved.parameters():
            p.grad = torch.ones_like(p)
        both.step()

    assert told({"moved": moved, "idle": idle}, {"both": both}, turn) == []
