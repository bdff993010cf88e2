"""What is drawn to a target that is drawn to it in turn; with right loops beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from .kit import It, draw, loop, mlp, noise, sgd


def novelty(fixed: bool) -> It:
    """How far a net is from a random one: it was not there often, then."""
    guess, target = mlp(2, 3), mlp(2, 3)
    optimizer = sgd(guess) if fixed else sgd(guess, target)
    return It(fixed=fixed, nets={"guess": guess, "target": target}, optimizers={"guess": optimizer})


def of_guess(it: It, who: str, i: int) -> Tensor:
    guess, target = it.nets.values()
    return mse_loss(guess(noise(i)), target(noise(i)).detach())


def stepped(it: It, loss: Tensor) -> None:
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    loss.backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(
    ("moving-target", "guess"),
    build=novelty,
    intended=of_guess,
    says="guess and target learn from nothing but the distance between them",
    advice="^Leave the one that is the target out of the optimizer, and run it under torch.no_grad",
)
def a_random_target_that_learns(it: It, i: int) -> None:
    guess, target = it.nets.values()
    with torch.set_grad_enabled(not it.fixed):
        wanted = target(noise(i))
    stepped(it, mse_loss(guess(noise(i)), wanted))


def with_a_fixed_one(fixed: bool) -> It:
    it = novelty(True)
    it.nets["target"].requires_grad_(False)
    return it


@loop(build=with_a_fixed_one, intended=of_guess)
def a_random_target_that_stands_still(it: It, i: int) -> None:
    guess, target = it.nets.values()
    stepped(it, mse_loss(guess(noise(i)), target(noise(i))))


def together(fixed: bool) -> It:
    return novelty(False)


def of_two_students(it: It, who: str, i: int) -> Tensor:
    one, two = (net(noise(i)) for net in it.nets.values())
    labels = torch.arange(8) % 3
    return cross_entropy(one, labels) + cross_entropy(two, labels) + mse_loss(one, two)


@loop(build=together, intended=of_two_students)
def two_students_that_agree_and_have_labels(it: It, i: int) -> None:
    stepped(it, of_two_students(it, "", i))


def of_the_rest(it: It, who: str, i: int) -> Tensor:
    one, two = (net(noise(i)) for net in it.nets.values())
    return mse_loss(one, draw(i, 2.0).repeat(1, 2)[:, :3] - two)


@loop(build=together, intended=of_the_rest)
def one_of_two_explains_what_the_other_leaves(it: It, i: int) -> None:
    stepped(it, of_the_rest(it, "", i))


def whitened(fixed: bool) -> It:
    nets = {name: nn.Sequential(mlp(2, 3), nn.BatchNorm1d(3, affine=False)) for name in ("a", "b")}
    return It(fixed=fixed, nets=nets, optimizers={"both": sgd(*nets.values())})


def of_views(it: It, who: str, i: int) -> Tensor:
    one, two = it.nets.values()
    return mse_loss(one(noise(i)), two(noise(i) + 0.1))


@loop(build=whitened, intended=of_views)
def two_views_that_are_normalized(it: It, i: int) -> None:
    stepped(it, of_views(it, "", i))


def apart(one: Tensor, two: Tensor) -> Tensor:
    return mse_loss(one, two)


def of_one_helper(it: It, who: str, i: int) -> Tensor:
    one, two = (net(noise(i)) for net in it.nets.values())
    return apart(one, two) + apart(one, draw(i, 2.0).repeat(1, 2)[:, :3])


@loop(build=together, intended=of_one_helper)
def two_that_agree_and_one_has_a_target_by_the_same_line(it: It, i: int) -> None:
    one, two = it.nets.values()
    it.optimizers["guess"].zero_grad()
    apart(one(noise(i)), two(noise(i))).backward()
    apart(one(noise(i)), draw(i, 2.0).repeat(1, 2)[:, :3]).backward()
    it.optimizers["guess"].step()
