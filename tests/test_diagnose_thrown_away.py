"""What is cleared before any step used it, in each order of what may happen meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_lessons.lens.diagnose import Finding
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_near_misses import of_code
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


class Loop:
    """A judge and another net, each with an optimizer; what may happen, by a letter."""

    def __init__(self) -> None:
        self.D, self.other = mlp(2, 1), mlp(2, 1)
        self.od, self.oo = sgd(self.D), sgd(self.other)
        self.kept: list[Tensor] = []
        self.happens: dict[str, Callable[[int], object]] = {
            "Z": lambda i: self.od.zero_grad(),
            "S": lambda i: self.od.step(),
            "r": self.on_real,
            "f": self.on_fake,
            "x": self.on_both,
            "a": self.attacked,
            "w": lambda i: torch.autograd.grad(self.kept[-1], [*self.D.parameters()]),
            "c": self.cleared_in_part,
            "v": lambda i: self.D(real(i)),
            "N": self.looked_at,
            "M": self.moved,
            "H": self.halved,
            "o": lambda i: step(self.oo, self.other(real(i)).mean()),
        }

    def on_real(self, i: int) -> None:
        loss = bce(self.D(real(i)), 1.0)
        loss.backward(retain_graph=True)
        self.kept.append(loss)

    def on_fake(self, i: int) -> None:
        bce(self.D(noise(i)), 0.0).backward()

    def on_both(self, i: int) -> None:
        (bce(self.D(noise(i)), 0.0) + self.kept[-1]).backward()

    def attacked(self, i: int) -> None:
        x = real(i).requires_grad_()
        bce(self.D(x), 1.0).backward()
        assert x.grad is not None

    def cleared_in_part(self, i: int) -> None:
        next(self.D.parameters()).grad = None

    def looked_at(self, i: int) -> None:
        for p in self.D.parameters():
            if p.grad is not None:
                p.grad.norm()

    def moved(self, i: int) -> None:
        with torch.no_grad():
            for p in self.D.parameters():
                p.mul_(0.99)

    def halved(self, i: int) -> None:
        for p in self.D.parameters():
            if p.grad is not None:
                p.grad *= 0.5


def thrown_away(order: str, times: int = 2) -> list[Finding]:
    loop = Loop()

    def turn(i: int) -> None:
        for letter in order:
            loop.happens[letter](i)

    nets: dict[str, nn.Module] = {"D": loop.D, "other": loop.other}
    found = told(nets, {"D": loop.od, "other": loop.oo}, turn, times)
    return of_code(found, "thrown-away")


@pytest.mark.parametrize(
    ("order", "times"),
    [
        ("ZrZfS", 1), ("ZrfS", 0), ("rZfSZ", 1), ("rZrS", 1), ("ZfZrS", 1),
        ("ZrZS", 0), ("ZrZ", 0), ("rfZS", 0), ("ZrSZfS", 0), ("ZrZfZfS", 2), ("rSZrZfS", 1),
        ("ZrZfSo", 1), ("oZrZfS", 1), ("ZroZfS", 0), ("ZrZofS", 1), ("ZrZfoS", 1),
        ("ZrNZfS", 0), ("ZrZNfS", 1), ("ZNrZfS", 1), ("ZrZfNS", 1),
        ("ZrMZfS", 0), ("ZrZMfS", 0), ("ZMrZfS", 1), ("ZrZfMS", 1), ("ZrZfSM", 1),
        ("ZrHZfS", 0), ("ZrZfHS", 0), ("ZHrZfS", 1),
        ("ZrwZfS", 0), ("ZrZwfS", 0), ("ZrZfwS", 0), ("ZrZxS", 0),
        ("ZrcvZfS", 1), ("ZrvcvZfS", 1), ("ZrZfZS", 0), ("ZrZfcS", 1), ("ZacfZrZfS", 2),
        ("ZaZfS", 0), ("ZaZrZfS", 1), ("ZrZaS", 1),
    ],
)  # fmt: skip
def test_what_is_thrown_away_in_each_order(order: str, times: int) -> None:
    assert len(thrown_away(order)) == times


@pytest.mark.parametrize(("order", "times"), [("ZrZfS", 1), ("ZrZrS", 0), ("ZrZfSZrS", 0)])
def test_once_it_is_told_of_what_is_never_used(order: str, times: int) -> None:
    assert len(thrown_away(order, 1)) == times
    assert len(thrown_away(order, 3)) == 1


# Through another player ---------------------------------------------------------------------------


def verdicts(order: str, trained: bool = True, joint: bool = False) -> list[Finding]:
    """z, c: the gradients of G are cleared, or one of them. s: G steps. m, v: backward of a
    distance, of a verdict by D. d: the turn of D. joint: the optimizer of G holds D as well."""
    G, D, E = mlp(2, 2), mlp(2, 1), mlp(2, 2)
    og, od = sgd(G, D) if joint else sgd(G), sgd(D if trained else E)

    def turn(i: int) -> None:
        for letter in order:
            if letter == "z":
                og.zero_grad()
            elif letter == "s":
                og.step()
            elif letter == "m":
                (G(noise(i)) - real(i)).square().mean().backward()
            elif letter == "v":
                bce(D(G(noise(i))), 1.0).backward()
            elif letter == "c":
                next(G.parameters()).grad = None
            elif letter == "d":
                step(od, bce((D if trained else E)(real(i)), 1.0))

    nets: dict[str, nn.Module] = {"G": G, "D": D, "E": E}
    return of_code(told(nets, {"G": og, "D": od}, turn, 3), "thrown-away")


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(
    "order", ["zmsvd", "zmvsd", "zmszvd", "zmsvds", "zmsdv", "zvzmsd", "zvdms", "zmscvd"]
)
def test_a_step_that_comes_before_the_verdict_in_each_order(
    order: str, trained: bool, joint: bool
) -> None:
    found = verdicts(order, trained, joint)
    early = [f for f in found if "comes before that call" in f.message]
    assert bool(early) is (order == "zmsvd" and trained and not joint)
    assert bool(found) is (order in ("zmsdv", "zvzmsd") or bool(early))
