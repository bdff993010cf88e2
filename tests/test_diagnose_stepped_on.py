"""What each optimizer stepped on, as it is told of a sound loop: one thing at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan_lessons import diagnose, record
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def stepped(nets: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer],
            turn: Callable[[int], None], times: int = 2) -> tuple[str, ...]:  # fmt: skip
    with record(nets, optimizers) as rec:
        for i in range(times):
            turn(i)
    return diagnose(rec).stepped


@pytest.mark.parametrize(("kinds", "more"), [(7, None), (8, None), (9, 1), (11, 3)])
def test_eight_kinds_of_step_are_shown_and_the_others_counted(kinds: int, more: int | None) -> None:
    nets = {f"D{k}": mlp(2, 1) for k in range(kinds)}
    optimizers = {name: sgd(net) for name, net in nets.items()}

    def turn(i: int) -> None:
        for name, net in nets.items():
            step(optimizers[name], bce(net(real(i)), 1.0))

    lines = stepped({**nets}, {**optimizers}, turn)
    assert len(lines) == (kinds if more is None else 9)
    assert lines[-1].startswith(
        f"D{kinds - 1} moved" if more is None else f"Kinds of step that are not shown: {more}."
    )


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("losses", [0, 1, 2])
def test_how_often_by_how_many_losses(losses: int, times: int) -> None:
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        if losses > 0:
            bce(D(real(i)), 1.0).backward()
        if losses > 1:
            bce(D(noise(i)), 0.0).backward()
        if losses == 0:
            for p in D.parameters():
                p.grad = torch.ones_like(p)
        od.step()

    (line,) = stepped({"D": D}, {"D": od}, turn, times)
    often = "" if times == 1 else f" {times} times"
    by = ["what was put into .grad by hand", "the gradient of ", "the sum of the gradients of "]
    assert line.startswith(f"D moved D{often} by {by[losses]}")
    assert line.count(" and ") == (losses > 1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("how", ["put", "one put", "changed", "one changed", ""])
def test_what_no_backward_wrote_is_said_of_any_parameter(how: str, scaled: bool) -> None:
    D = mlp(2, 1)
    od = sgd(D)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, enabled=scaled)

    def turn(i: int) -> None:
        od.zero_grad()
        scaler.scale(bce(D(real(i)), 1.0)).backward()
        scaler.unscale_(od)
        for p in [*D.parameters()][: 1 if "one" in how else 9]:
            if "put" in how:
                p.grad = torch.ones_like(p)
            elif "changed" in how:
                assert p.grad is not None
                p.grad.mul_(0.5)
        scaler.step(od)
        scaler.update()

    (line,) = stepped({"D": D}, {"D": od}, turn)
    assert ("Some of it was put into .grad by hand." in line) is (how == "one put")
    assert ("is no backward changed it in place." in line) is ("changed" in how and not scaled)


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_whose_weights_the_gradient_came_through(trained: bool, late: bool) -> None:
    """And how new they were: those of two judges, one of which nobody trains."""
    G, D, fixed = mlp(2, 2), mlp(2, 1), mlp(2, 1)
    og, od = sgd(G), sgd(D, *([fixed] if trained else []))

    def turn(i: int) -> None:
        fake = G(noise(i))
        g_loss = bce(D(fake), 1.0) + bce(fixed(fake), 1.0)
        if late:
            og.zero_grad()
            g_loss.backward(inputs=[*G.parameters()])
        judged = bce(D(fake.detach()), 0.0) + bce(D(real(i)), 1.0)
        step(od, judged + bce(fixed(fake.detach()), 0.0) + bce(fixed(real(i)), 1.0))
        if not late:
            g_loss = bce(D(fake), 1.0) + bce(fixed(fake), 1.0)
            og.zero_grad()
            g_loss.backward(inputs=[*G.parameters()])
        og.step()

    nets: dict[str, nn.Module] = {"G": G, "D": D, "fixed": fixed}
    told = " ".join(stepped(nets, {"G": og, "D": od}, turn))
    seen = "before its last step" if late else "at that moment"
    assert f"It came through D as it was {seen}." in told
    by_nobody = "It came through fixed, which nobody trains."
    assert (by_nobody in told) is not trained
    assert (f"It came through fixed as it was {seen}." in told) is trained


def test_what_is_cut_off_is_told_of_those_that_train_and_have_no_way() -> None:
    G, D, E, other = mlp(2, 2), mlp(2, 1), mlp(2, 2), mlp(2, 2)
    og, od, oe = sgd(G), sgd(D), sgd(E)

    def turn(i: int) -> None:
        fakes = bce(D(G(noise(i)).detach()), 0.0) + bce(D(other(noise(i)).detach()), 0.0)
        fakes = fakes + bce(D(E(noise(i))), 0.0)
        step(oe, E(noise(i)).square().mean())
        od.zero_grad()
        fakes.backward(inputs=[*D.parameters()])
        od.step()
        step(og, bce(D(G(noise(i))), 1.0))

    nets: dict[str, nn.Module] = {"G": G, "D": D, "E": E, "other": other}
    told = stepped(nets, {"G": og, "D": od, "E": oe}, turn)
    assert [line for line in told if "What G made was cut off." in line] == [told[1]]
    assert not any("What E" in line or "other made" in line for line in told)


def test_of_two_losses_the_older_weights_are_told() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    og, od = sgd(G), sgd(D)

    def turn(i: int) -> None:
        og.zero_grad()
        bce(D(G(noise(i))), 1.0).backward(inputs=[*G.parameters()])
        step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
        bce(D(G(real(i))), 1.0).backward(inputs=[*G.parameters()])
        og.step()

    told = " ".join(stepped({"G": G, "D": D}, {"G": og, "D": od}, turn))
    assert "It came through D as it was before its last step." in told
    assert "at that moment" not in told
