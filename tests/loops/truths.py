"""A player that helps its judge, and is drawn to a truth as well; each with makers of marks, which
stay near the picture that they got, and want their mark to be seen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, l1_loss, mse_loss

from .kit import It, bce, draw, loop, mlp, real, sgd

Losses = Callable[[It, str, int, bool], Tensor]


def turns(it: It, i: int, of: Losses) -> None:
    for who in it.optimizers:
        it.optimizers[who].zero_grad()
        of(it, who, i, it.fixed).backward(inputs=list(it.nets[who].parameters()))
        it.optimizers[who].step()


def as_intended(of: Losses) -> Callable[[It, str, int], Tensor]:
    return lambda it, who, i: of(it, who, i, True)


def label(fixed: bool) -> float:
    return 1.0 if fixed else 0.0


def built(fixed: bool, make: Callable[[], nn.Module], judged: int) -> It:
    nets = {"D": mlp(judged, 1), "G": make()}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def picture(i: int) -> Tensor:
    return draw(i, 1.0)


def translated(it: It, who: str, i: int, fixed: bool) -> Tensor:
    D, G = it.nets.values()
    fake = G(picture(i))
    if who == "G":
        return bce(D(fake), label(fixed)) + 10 * l1_loss(fake, real(i))
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


TOLD = {
    "says": "both lower what D says of the output of G, and D says more of all else",
    "advice": "the loss of G has the wrong sign or the wrong label",
}


@loop(
    ("pulled-alike", "D"),
    build=partial(built, make=lambda: mlp(2, 2), judged=2),
    intended=as_intended(translated),
    source="https://github.com/wangle53/CSA-CDGAN/issues/3",
    **TOLD,
)
def told_to_look_false_beside_a_distance_to_the_truth(it: It, i: int) -> None:
    turns(it, i, translated)


def in_pairs(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """The judge sees what was asked for as well; the distance is a square."""
    D, G = it.nets.values()
    given = picture(i)
    fake = G(given)
    if who == "G":
        return bce(D(torch.cat([given, fake], 1)), label(fixed)) + (fake - real(i)).pow(2).mean()
    true, false = (torch.cat([given, x], 1) for x in (real(i), fake.detach()))
    return 0.5 * (bce(D(true), 1.0) + bce(D(false), 0.0))


@loop(
    ("pulled-alike", "D"),
    build=partial(built, make=lambda: mlp(2, 2), judged=4),
    intended=as_intended(in_pairs),
    **TOLD,
)
def told_to_look_false_in_pairs(it: It, i: int) -> None:
    turns(it, i, in_pairs)


def drawn_as_a_mask(it: It, who: str, i: int, fixed: bool) -> Tensor:
    D, G = it.nets.values()
    mask, drawn = (real(i) > 2.0).float(), G(picture(i))
    if who == "G":
        return bce(D(drawn), label(fixed)) + binary_cross_entropy(drawn, mask)
    return bce(D(mask), 1.0) + bce(D(drawn.detach()), 0.0)


@loop(
    ("pulled-alike", "D"),
    build=partial(built, make=lambda: mlp(2, 2, nn.Sigmoid()), judged=2),
    intended=as_intended(drawn_as_a_mask),
    **TOLD,
)
def a_mask_that_is_to_look_false(it: It, i: int) -> None:
    turns(it, i, drawn_as_a_mask)


@loop(
    build=partial(built, make=lambda: mlp(2, 2), judged=4),
    intended=as_intended(in_pairs),
)
def told_to_look_true_in_pairs(it: It, i: int) -> None:
    it.fixed = True
    turns(it, i, in_pairs)


class Marker(nn.Module):
    """Adds a mark to what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.body(x)


def marked(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """Of both: the mark is to be seen."""
    D, G = it.nets.values()
    clean = real(i)
    made = G(clean)
    if who == "G":
        return bce(D(made), 1.0) + 10 * mse_loss(made, clean)
    return bce(D(made.detach()), 1.0) + bce(D(clean), 0.0)


@loop(build=partial(built, make=Marker, judged=2), intended=as_intended(marked))
def a_mark_in_the_picture_that_it_got(it: It, i: int) -> None:
    turns(it, i, marked)


def with_a_message(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """Picture and message are put together before they go in."""
    D, G = it.nets.values()
    clean = real(i)
    made = G(torch.cat([clean, draw(i)], 1))
    if who == "G":
        return bce(D(made), 1.0) + 10 * l1_loss(made, clean)
    return bce(D(made.detach()), 1.0) + bce(D(clean), 0.0)


@loop(build=partial(built, make=lambda: mlp(4, 2), judged=2), intended=as_intended(with_a_message))
def a_mark_with_a_message(it: It, i: int) -> None:
    turns(it, i, with_a_message)


def with_a_frame(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """Only a part of the picture is marked, and goes in."""
    D, G = it.nets.values()
    whole = torch.cat([real(i), draw(i, 3.0)])
    made = G(whole[:8])
    if who == "G":
        return bce(D(made), 1.0) + 10 * l1_loss(made, whole[:8])
    return bce(D(made.detach()), 1.0) + bce(D(whole), 0.0)


@loop(build=partial(built, make=lambda: mlp(2, 2), judged=2), intended=as_intended(with_a_frame))
def a_mark_in_a_part_of_the_picture(it: It, i: int) -> None:
    turns(it, i, with_a_frame)


def by_two_nets(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """An encoder gets the picture, and a decoder makes the marked one of the code."""
    D, G, E = it.nets.values()
    clean = real(i)
    made = G(E(clean))
    if who == "D":
        return bce(D(made.detach()), 1.0) + bce(D(clean), 0.0)
    return bce(D(made), 1.0) + 10 * l1_loss(made, clean)


def maker_of_two(fixed: bool) -> It:
    nets = {"D": mlp(2, 1), "G": mlp(3, 2), "E": mlp(2, 3)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


@loop(build=maker_of_two, intended=as_intended(by_two_nets))
def a_mark_that_a_decoder_makes(it: It, i: int) -> None:
    turns(it, i, by_two_nets)


def next_to_a_frozen_copy(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """What its maker stays near to is what it made before: that is no truth."""
    D, G = it.nets.values()
    with torch.no_grad():
        before = G(real(i))
    made = G(draw(i))
    if who == "G":
        return bce(D(made), 1.0) + 10 * mse_loss(made, before)
    return bce(D(made.detach()), 1.0) + bce(D(real(i)), 0.0)


@loop(
    build=partial(built, make=lambda: mlp(2, 2), judged=2),
    intended=as_intended(next_to_a_frozen_copy),
)
def a_mark_near_what_was_made_before(it: It, i: int) -> None:
    turns(it, i, next_to_a_frozen_copy)
