"""Distances between a judge's features: they are its player's to learn from, and not its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, leaky_relu, mse_loss, softplus

from .kit import It, loop, mlp, noise, real, sgd
from .truths import as_intended, turns

Losses = Callable[[It, str, int, bool], Tensor]


class GivesFeatures(nn.Module):
    """A judge that gives what its first layer says, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = leaky_relu(self.first(x), 0.2)
        return features, self.last(features)


def matched(fixed: bool) -> It:
    nets = {"D": GivesFeatures(), "G": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def by_squares(it: It, who: str, i: int, fixed: bool) -> Tensor:
    D, G = it.nets.values()
    fake = G(noise(i))
    of_real, said = D(real(i))
    of_fake, of_it = D(fake if who == "G" else fake.detach())
    between = 0.5 * l1_loss(of_fake, of_real.detach())
    if who == "G":
        loss = (of_it - 1).square().mean()
        return loss + between if fixed else loss
    loss = mse_loss(said, torch.ones(8, 1)) + mse_loss(of_it, torch.zeros(8, 1))
    return loss if fixed else loss + between


@loop(
    ("pulled-alike", "D"),
    build=matched,
    intended=as_intended(by_squares),
    says="draws what D makes of the output of G to what it makes of all else in `between = .*, "
    "and by the same loss D learns to tell the two apart",
    advice="Leave this distance out of the loss of D, and add it to that of G",
    source="https://github.com/YuanxunLu/LiveSpeechPortraits/issues/24",
)
def features_matched_in_the_loss_of_the_judge(it: It, i: int) -> None:
    turns(it, i, by_squares)


def by_logits(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """Both sides with their graph."""
    D, G = it.nets.values()
    fake = G(noise(i))
    of_real, said = D(real(i))
    of_fake, of_it = D(fake if who == "G" else fake.detach())
    between = (of_real.mean(0) - of_fake.mean(0)).pow(2).sum()
    if who == "G":
        return softplus(-of_it).mean() + between if fixed else softplus(-of_it).mean()
    loss = softplus(-said).mean() + softplus(of_it).mean()
    return loss if fixed else loss + between


@loop(
    ("pulled-alike", "D"),
    build=matched,
    intended=as_intended(by_logits),
    says="draws what D makes of the output of G to what it makes of all else",
    advice="add it to that of G",
)
def mean_features_matched_in_the_loss_of_the_judge(it: It, i: int) -> None:
    turns(it, i, by_logits)


def as_meant(of: Losses) -> Callable[[It, str, int, bool], Tensor]:
    return lambda it, who, i, fixed: of(it, who, i, True)


@loop(build=matched, intended=as_intended(by_squares))
def features_matched_in_the_loss_of_the_player(it: It, i: int) -> None:
    turns(it, i, as_meant(by_squares))


@loop(build=matched, intended=as_intended(by_logits))
def mean_features_matched_in_the_loss_of_the_player(it: It, i: int) -> None:
    turns(it, i, as_meant(by_logits))


def consistent(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """A judge is to say the same of a sample and of a copy with a little noise."""
    D, G = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return softplus(-D(fake)[1]).mean()
    fake, found = fake.detach(), torch.zeros(())
    for x, way in ((real(i), -1.0), (fake, 1.0)):
        features, said = D(x)
        found = found + softplus(way * said).mean()
        found = found + mse_loss(D(x + 0.1 * noise(i + 9))[0], features)
    return found


@loop(build=matched, intended=as_intended(consistent))
def a_judge_that_says_the_same_of_a_noisy_copy(it: It, i: int) -> None:
    turns(it, i, consistent)


def relative(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """How much more a judge says of what is real than of what is made is drawn to a number."""
    D, G = it.nets.values()
    fake = G(noise(i))
    gap = D(real(i))[1] - D(fake if who == "G" else fake.detach())[1]
    return mse_loss(gap, torch.full_like(gap, -1.0 if who == "G" else 1.0))


@loop(build=matched, intended=as_intended(relative))
def a_judge_of_how_much_more_real_one_is(it: It, i: int) -> None:
    turns(it, i, relative)


def pushed_apart(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """The judge makes the distance large, and its player makes it small."""
    D, G = it.nets.values()
    fake = G(noise(i))
    of_real, said = D(real(i))
    of_fake, of_it = D(fake if who == "G" else fake.detach())
    between = 0.1 * l1_loss(of_fake, of_real)
    if who == "G":
        return softplus(-of_it).mean() + between
    return softplus(-said).mean() + softplus(of_it).mean() - between


@loop(build=matched, intended=as_intended(pushed_apart))
def a_distance_that_the_judge_makes_large(it: It, i: int) -> None:
    turns(it, i, pushed_apart)


def of_one_kind(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """No judge of the two, but a net that is to see the same in both, as its player wants it to."""
    D, G = it.nets.values()
    fake = G(noise(i))
    of_fake, said = D(fake if who == "G" else fake.detach())
    between = mse_loss(of_fake, D(real(i))[0].detach())
    return between if who == "G" else between + l1_loss(said, noise(i)[:, :1])


@loop(build=matched, intended=as_intended(of_one_kind))
def a_net_that_sees_the_same_in_both(it: It, i: int) -> None:
    turns(it, i, of_one_kind)
