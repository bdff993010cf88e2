"""Opponents that pull one verdict the same way; each with right loops like it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import relu

from .kit import It, bce, loop, noise, real

Losses = Callable[[It, str, int, bool], Tensor]


def turns(it: It, i: int, of: Losses) -> None:
    for who in "DG":
        it.optimizers[who].zero_grad()
        of(it, who, i, it.fixed).backward(inputs=list(it.nets[who].parameters()))
        it.optimizers[who].step()


def labels(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return bce(D(G(noise(i))), 1.0 if fixed else 0.0)
    return bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)


def scores(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """Of a critic: how much more it says of real samples is to be large, and not small."""
    G, D = it.nets.values()
    if who == "G":
        return -D(G(noise(i))).mean()
    gap = D(real(i)).mean() - D(G(noise(i)).detach()).mean()
    return -gap if fixed else gap


def margins(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return -D(G(noise(i))).mean()
    of_real = D(real(i))
    return (
        relu(1 - of_real if fixed else 1 + of_real).mean()
        + relu(1 + D(G(noise(i)).detach())).mean()
    )


def squares(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """A distance to a label pulls either way, by what the verdict is."""
    G, D = it.nets.values()
    if who == "G":
        return (D(G(noise(i))) - 1).square().mean()
    return (D(real(i)) - 1).square().mean() + D(G(noise(i)).detach()).square().mean()


def as_intended(of: Losses) -> Callable[[It, str, int], Tensor]:
    return lambda it, who, i: of(it, who, i, True)


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(labels),
    says="both lower what D says of the output of G",
    advice="the wrong label",
)
def a_generator_that_is_told_to_look_false(it: It, i: int) -> None:
    turns(it, i, labels)


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(scores),
    says="both raise what D says of the output of G",
    advice="the wrong sign",
)
def a_critic_that_helps(it: It, i: int) -> None:
    turns(it, i, scores)


@loop(
    waste="pulled-alike",
    intended=as_intended(margins),
    says="lowers what D says of the output of G, and what it says of all else as well",
    advice="the wrong sign",
)
def a_judge_that_calls_everything_false(it: It, i: int) -> None:
    turns(it, i, margins)


def right_turns(it: It, i: int, of: Losses) -> None:
    it.fixed = True
    turns(it, i, of)


@loop(intended=as_intended(labels))
def opponents_by_labels(it: It, i: int) -> None:
    right_turns(it, i, labels)


@loop(intended=as_intended(margins))
def opponents_by_margins(it: It, i: int) -> None:
    right_turns(it, i, margins)


@loop(intended=as_intended(squares))
def opponents_by_squares(it: It, i: int) -> None:
    right_turns(it, i, squares)


def agreeing(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """Partners: D is to know the output of G from itself turned round, and G is to help it."""
    G, D = it.nets.values()
    made = G(noise(i)) if who == "G" else G(noise(i)).detach()
    return bce(D(made), 1.0) + bce(D(-made), 0.0)


@loop(intended=as_intended(agreeing))
def partners_that_tell_one_thing_from_another(it: It, i: int) -> None:
    right_turns(it, i, agreeing)
