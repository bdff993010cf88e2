"""A judge that sees the fake in one form in its own turn, in another in G's; and right ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softmax

from .kit import It, bce, loop, mlp, noise, pair, real, sgd, usual
from .right import step

Form = Callable[[Tensor], Tensor]


def as_it_is(x: Tensor) -> Tensor:
    return x


def column_by_column(x: Tensor) -> Tensor:
    """A number, and the chances of two classes."""
    return torch.cat([torch.tanh(x[:, :1]), softmax(x[:, 1:], 1)], 1)


def of_both(
    it: It, who: str, i: int, of_d: Form = as_it_is, of_g: Form = as_it_is, late: bool = False
) -> Tensor:
    """``late``: the fake is detached before it is given its form."""
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return bce(D(of_g(fake)), 1.0)
    said = D(of_d(fake.detach()) if late else of_d(fake).detach())
    return bce(D(of_d(real(i).repeat(1, 2)[:, : fake.shape[1]])), 1.0) + bce(said, 0.0)


def in_turn(it: It, i: int, of: Callable[[It, str, int], Tensor]) -> None:
    step(it, "D", of(it, "D", i))
    step(it, "G", of(it, "G", i))


def three(fixed: bool) -> It:
    nets = {"G": mlp(2, 3), "D": mlp(3, 1)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


both_by_columns = partial(of_both, of_d=column_by_column, of_g=column_by_column)


@loop(
    ("other-form", "G"),
    build=three,
    intended=both_by_columns,
    says="D judges what G made through softmax and tanh, and .* as it is",
    advice="Put softmax and tanh between G and D in both turns",
)
def a_table_without_its_activations_in_the_turn_of_g(it: It, i: int) -> None:
    form = column_by_column if it.fixed else as_it_is
    in_turn(it, i, partial(of_both, of_d=column_by_column, of_g=form))


by_chances = partial(of_both, of_d=torch.sigmoid, of_g=torch.sigmoid)


@loop(
    ("other-form", "G"),
    intended=by_chances,
    says="through sigmoid, and .* as it is",
    advice="Put sigmoid between",
)
def activated_after_the_fake_was_detached(it: It, i: int) -> None:
    form = torch.sigmoid if it.fixed else as_it_is
    in_turn(it, i, partial(of_both, of_d=torch.sigmoid, of_g=form, late=True))


@loop(
    ("other-form", "G"),
    intended=usual,
    says="as it is, and in .*, from which G learns, through tanh",
    advice="or in none",
)
def activated_in_the_turn_of_g_alone(it: It, i: int) -> None:
    in_turn(it, i, partial(of_both, of_g=as_it_is if it.fixed else torch.tanh))


@loop(build=three, intended=both_by_columns)
def a_table_with_its_activations(it: It, i: int) -> None:
    in_turn(it, i, both_by_columns)


@loop(intended=by_chances)
def activated_before_and_after_the_detach(it: It, i: int) -> None:
    in_turn(it, i, partial(by_chances, late=i % 2 == 1))


def with_a_last_tanh(fixed: bool) -> It:
    it = pair(fixed)
    it.nets["G"].append(torch.nn.Tanh())
    return it


@loop(build=with_a_last_tanh)
def a_generator_that_activates_itself(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D((fake.detach() + 0.0).clone()), 0.0))
    step(it, "G", bce(D(1.0 * fake), 1.0))


def chosen(x: Tensor) -> Tensor:
    return one_hot(x.argmax(1), 2).float()


soft_and_hard = partial(of_both, of_d=chosen, of_g=partial(softmax, dim=1))


@loop(intended=soft_and_hard)
def a_choice_for_d_and_its_soft_form_for_g(it: It, i: int) -> None:
    in_turn(it, i, soft_and_hard)


def also_bounded(it: It, who: str, i: int) -> Tensor:
    """D is shown each fake as it is, and once more in bounds."""
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return bce(D(fake), 1.0)
    fakes = bce(D(fake.detach()), 0.0) + bce(D(torch.tanh(fake).detach()), 0.0)
    return bce(D(real(i)), 1.0) + fakes


@loop(intended=also_bounded)
def a_judge_that_sees_both_forms(it: It, i: int) -> None:
    in_turn(it, i, also_bounded)
