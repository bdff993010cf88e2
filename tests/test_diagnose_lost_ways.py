"""Ways for a gradient that were lost in one term of a loss, and terms that only look like them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import huber_loss, mse_loss, smooth_l1_loss

from gan_lessons.lens.diagnose import Finding
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_near_misses import of_code
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


# A distance that is cut off number by number ------------------------------------------------------

Apart = Callable[[Tensor, Tensor], Tensor]
APART: dict[str, tuple[bool, Apart]] = {
    "abs": (True, lambda a, b: (a - b).abs().detach().mean()),
    "data": (True, lambda a, b: (a - b).abs().data.mean()),
    "pow": (True, lambda a, b: (a - b).pow(2).detach().sum()),
    "mse": (True, lambda a, b: mse_loss(a, b, reduction="none").detach().mean()),
    "smooth l1": (True, lambda a, b: smooth_l1_loss(a, b, reduction="none").detach().mean()),
    "huber": (True, lambda a, b: huber_loss(a, b, reduction="none").detach().mean()),
    "one number": (False, lambda a, b: mse_loss(a, b).detach()),
    "abs of what is no difference": (False, lambda a, b: (a * b).abs().detach().mean()),
    "exp of a difference": (False, lambda a, b: (a - b).exp().detach().mean()),
    "mse taken from itself": (
        False,
        lambda a, b: taken_from_itself(mse_loss(a, b, reduction="none")),
    ),
    "mse from its like": (
        False,
        lambda a, b: (
            mse_loss(a, b, reduction="none") - mse_loss(a, b, reduction="none").detach()
        ).mean(),
    ),
    "another of one difference": (False, lambda a, b: of_one_difference(a - b)),
    "it weighs another": (
        False,
        lambda a, b: (mse_loss(a, b, reduction="none").detach() * a.exp()).mean(),
    ),
    "taken from itself": (False, lambda a, b: taken_from_itself((a - b).abs())),
    "a weight of the difference": (False, lambda a, b: ((a - b).abs().detach() * (a - b)).mean()),
    "numbers": (False, lambda a, b: torch.tensor((a - b).abs().tolist()).mean()),
    "one side": (False, lambda a, b: (a - b.detach()).abs().mean()),
}


def taken_from_itself(apart: Tensor) -> Tensor:
    return (apart - apart.detach()).mean()


def of_one_difference(d: Tensor) -> Tensor:
    return (d.square() - d.abs().detach()).mean()


@pytest.mark.parametrize("how", APART)
def test_a_distance_is_cut_off_in_each_form(how: str) -> None:
    cut, distance = APART[how]
    G, D = mlp(2, 2), mlp(2, 1)
    og = sgd(G)

    def turn(i: int) -> None:
        fake = G(noise(i))
        step(og, bce(D(fake), 1.0) + distance(fake, G(real(i)) + real(i)))

    found = of_code(told({"G": G, "D": D}, {"G": og}, turn), "cut-off")
    assert bool([f for f in found if "is a distance to the output" in f.message]) is cut


# A draw without a gradient ------------------------------------------------------------------------


def draws(order: str) -> list[Finding]:
    """A code that enc and spread make the mean and the width of, by letters: s, it is drawn by
    sample(); n, by sample_n(); r, by rsample(). k, the divergence counts; t, it is only the mean of
    another net's; l, what was drawn is scored; d, by itself; o, of enc alone the optimizer learns.
    g, the divergence is made of something else."""
    enc, spread, dec, other = mlp(2, 2), mlp(2, 2), mlp(2, 2), mlp(2, 2)
    opt = sgd(enc, dec, other) if "o" in order else sgd(enc, spread, dec, other)

    def turn(i: int) -> None:
        code = Normal(enc(real(i)), spread(real(i)).exp())
        plain = Normal(torch.zeros(8, 2), torch.ones(8, 2))
        if "n" in order:
            z = code.sample((1,))[0]
        else:
            z = code.rsample() if "r" in order else code.sample()
        loss = mse_loss(dec(z), real(i))
        if "k" in order:
            kl = kl_divergence(code, plain).mean()
            loss = loss + 0.1 * kl
        if "g" in order:
            kl = kl_divergence(Normal(other(real(i)), 1.0), plain).mean()
            loss = loss + 0.1 * kl
        if "t" in order:
            loss = loss + (enc(real(i)) - other(real(i))).square().mean()
        if "l" in order:
            loss = loss - code.log_prob(z).mean()
        step(opt, loss)

    nets: dict[str, nn.Module] = {"enc": enc, "spread": spread, "dec": dec, "other": other}
    found = of_code(told(nets, {"opt": opt}, turn), "cut-off")
    return [f for f in found if "a draw in" in f.message]


@pytest.mark.parametrize("order", ["sk", "nk", "rk", "s", "sg", "st", "skl", "sko", "skg", "skt"])
def test_a_draw_is_told_where_its_divergence_teaches_who_made_it(order: str) -> None:
    found = draws(order)
    is_told = "k" in order and order not in ("rk", "skl")
    assert [f.net for f in found] == ["enc"] * is_told


# A penalty on a gradient --------------------------------------------------------------------------


def penalty(D: nn.Module, i: int, graph: bool = True) -> Tensor:
    x = real(i).requires_grad_()
    (slope,) = torch.autograd.grad(D(x).square().sum(), x, create_graph=graph)
    return (slope.norm(2, 1) - 1).square()


Loss = Callable[[nn.Module, int], Tensor]
PENALTIES: dict[str, tuple[str, Loss]] = {
    "in the sum": ("", lambda D, i: penalty(D, i).mean()),
    "detached": ("waste", lambda D, i: penalty(D, i).mean().detach()),
    "detached before its mean": ("wrong", lambda D, i: penalty(D, i).detach().mean()),
    "without a graph": ("", lambda D, i: penalty(D, i, graph=False).mean()),
    "twice": ("", lambda D, i: (lambda p: p + 2 * p.detach())(penalty(D, i).mean())),
    "a weight": ("", lambda D, i: penalty(D, i).mean().detach() * D(real(i)).mean()),
    "two of one line": (
        "waste", lambda D, i: sum((penalty(D, i + k).mean().detach() for k in range(2)),
                                  torch.zeros(())),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", PENALTIES)
def test_a_penalty_with_its_graph_that_counts_as_a_number(how: str) -> None:
    severity, more = PENALTIES[how]
    D, G = mlp(2, 1), mlp(2, 2)
    both = sgd(D, G)

    def turn(i: int) -> None:
        step(both, bce(D(real(i)), 1.0) + G(noise(i)).square().mean() + more(D, i))

    found = of_code(told({"D": D, "G": G}, {"both": both}, turn), "cut-off")
    found = [f for f in found if "that has its graph" in f.message]
    assert [(f.net, f.severity) for f in found] == ([("D", severity)] if severity else [])


@pytest.mark.parametrize("order", ["b+", "b+b", "+b", "bw+", "b+w", "b+2", "bn+", "b+-"])
def test_a_penalty_that_is_added_too_late(order: str) -> None:
    """b: backward of the loss. +: the penalty is added to it; n: one without its graph is. w: the
    penalty is walked by itself. 2: another is added. -: what was added is taken off."""
    D = mlp(2, 1)
    od = sgd(D)

    def turn(i: int) -> None:
        od.zero_grad()
        loss = bce(D(real(i)), 1.0)
        more = penalty(D, i, graph="n" not in order).mean()
        for letter in order:
            if letter == "b":
                loss.backward(retain_graph=True)
            elif letter == "+":
                loss = loss + more
            elif letter == "2":
                loss = loss + penalty(D, i + 1).mean()
            elif letter == "-":
                loss = loss - more
            elif letter == "w":
                more.backward(retain_graph=True)
        od.step()

    found = of_code(told({"D": D}, {"D": od}, turn), "never-walked")
    late = [f for f in found if "is added to the loss of" in f.message]
    assert [f.net for f in late] == ["D"] * {"b+": 1, "b+2": 1, "b+-": 1}.get(order, 0)
