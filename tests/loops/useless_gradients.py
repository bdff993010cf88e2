"""Gradients without a slope, between all pairs, counted twice, not finite; each with right loops
like it."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from .kit import It, bce, loop, noise, real, usual
from .right import step


def of_steps(it: It, i: int, how: str) -> Tensor:
    """G makes multiples of a half."""
    G, D = it.nets.values()
    fake = G(noise(i))
    whole = (2 * fake).round() / 2
    return bce(D(whole if how == "flat" else fake + (whole - fake).detach()), 1.0)


def in_steps(it: It, who: str, i: int) -> Tensor | None:
    return of_steps(it, i, "straight") if who == "G" else usual(it, who, i)


def turns_in_steps(it: It, i: int, how: str) -> None:
    loss = usual(it, "D", i)
    assert loss is not None
    step(it, "D", loss)
    step(it, "G", of_steps(it, i, how))


@loop(("flat", "G"), intended=in_steps, says="through round\\(\\) in `whole = .* alone",
      advice="let the gradient go past it")  # fmt: skip
def a_rounded_fake(it: It, i: int) -> None:
    turns_in_steps(it, i, "straight" if it.fixed else "flat")


@loop(intended=in_steps)
def a_rounded_fake_with_a_straight_gradient(it: It, i: int) -> None:
    turns_in_steps(it, i, "straight")


def squares(it: It, who: str, i: int, row: bool = False) -> Tensor:
    G, D = it.nets.values()
    ones = torch.ones(8) if row else torch.ones(8, 1)
    if who == "G":
        return (D(G(noise(i))) - ones).square().mean()
    return (D(real(i)) - ones).square().mean() + mse_loss(D(G(noise(i)).detach()), 0 * ones)


def labels_of_each(it: It, who: str, i: int, row: bool = False) -> Tensor:
    """Targets that differ from sample to sample: then the pairs are not the samples."""
    G, D = it.nets.values()
    labels = real(i)[:, 0] if row else real(i)[:, :1]
    if who == "G":
        return (D(G(noise(i))) - labels).square().mean()
    return (D(real(i)) - labels).square().mean()


@loop(("broadcast", "D"), ("broadcast", "G"), intended=labels_of_each,
      says="shapes \\(8, 1\\) and \\(8,\\) meet in `return ", advice="the same shape")  # fmt: skip
def a_column_and_a_row(it: It, i: int) -> None:
    for who in "DG":
        step(it, who, labels_of_each(it, who, i, row=not it.fixed))


@loop(intended=squares)
def two_columns(it: It, i: int) -> None:
    for who in "DG":
        step(it, who, squares(it, who, i))


@loop(intended=None)
def all_pairs_on_purpose(it: It, i: int) -> None:
    G, D = it.nets.values()
    told = D(G(noise(i))).squeeze(1)
    step(it, "G", -(told[:, None] - told).square().mean())


def counted(it: It, i: int, twice: bool) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    of_real = bce(D(real(i)), 1.0)
    of_fake = bce(D(G(noise(i)).detach()), 0.0)
    of_real.backward(retain_graph=twice)
    (of_real + of_fake if twice else of_fake).backward()
    it.optimizers["D"].step()


@loop(("counted-twice", "D"), intended=usual, says="goes through the loss of the first",
      advice="on the sum alone")  # fmt: skip
def one_half_counted_twice(it: It, i: int) -> None:
    counted(it, i, twice=not it.fixed)


@loop(intended=usual)
def each_half_counted_once(it: It, i: int) -> None:
    counted(it, i, twice=False)


@loop(waste="counted-twice", says="moved D once more by the gradient of .* had used it",
      advice="If not, leave out `it.optimizers")  # fmt: skip
def d_is_stepped_again_in_the_turn_of_g(it: It, i: int) -> None:
    """Told as a note, with a question: optimistic descent looks ahead like that."""
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    it.optimizers["G"].zero_grad()
    bce(D(fake), 1.0).backward(inputs=[*G.parameters()])
    it.optimizers["G"].step()
    if not it.fixed:
        it.optimizers["D"].step()


def of_root(it: It, i: int) -> Tensor:
    """Its slope is made of the root itself, so that a penalty on it leads through the root."""
    return (mse_loss(it.nets["G"](noise(i)), real(i)) + 1e-6).sqrt()


def with_a_penalty(it: It, who: str, i: int) -> Tensor:
    loss = of_root(it, i)
    slopes = torch.autograd.grad(loss, [*it.nets["G"].parameters()], create_graph=True)
    return loss + sum(slope.square().sum() for slope in slopes)


@loop(intended=with_a_penalty)
def a_penalty_on_the_gradients_themselves(it: It, i: int) -> None:
    it.optimizers["G"].zero_grad()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the cycle that is broken below
        of_root(it, i).backward(create_graph=True)
    sum(p.grad.square().sum() for p in it.nets["G"].parameters()).backward()
    it.optimizers["G"].step()
    for p in it.nets["G"].parameters():
        p.grad = None


def of_length(it: It, i: int, safe: bool) -> Tensor:
    """The length of what G moved: zero for a sample that it left as it was."""
    G, D = it.nets.values()
    moved = G(noise(i)) * torch.arange(8).clamp(max=1)[:, None]
    length = (moved.square().sum(1) + (1e-12 if safe else 0.0)).sqrt()
    return bce(D(moved), 1.0) + length.mean()


@loop(("not-finite", "G"), intended=lambda it, who, i: of_length(it, i, safe=True),
      says="not finite \\(NaN", advice="add a small number inside")  # fmt: skip
def the_root_of_zero(it: It, i: int) -> None:
    step(it, "G", of_length(it, i, safe=it.fixed))


@loop(intended=lambda it, who, i: of_length(it, i, safe=True))
def the_root_of_almost_zero(it: It, i: int) -> None:
    step(it, "G", of_length(it, i, safe=True))
