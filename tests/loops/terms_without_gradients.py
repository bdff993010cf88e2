"""A net that runs without gradients for a term of its own loss; each with right loops like it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, mse_loss

from .kit import It, bce, loop, mlp, noise, real, sgd
from .right import step


def of_d(it: It, i: int, fixed: bool) -> Tensor:
    """The judge looks at the fakes where no gradient is kept, and not only its player makes them
    there."""
    G, D = it.nets.values()
    with torch.no_grad():
        fake = G(noise(i))
        said = D(fake)
    return bce(D(real(i)), 1.0) + bce(D(fake) if fixed else said, 0.0)


@loop(
    ("cut-off", "D"),
    says="D ran under torch.no_grad in `said = D.fake.` for it, and learns nothing from it",
    advice="Run D with gradients for this term",
)
def a_judge_that_sees_the_fakes_without_gradients(it: It, i: int) -> None:
    step(it, "D", of_d(it, i, it.fixed))
    G, D = it.nets.values()
    step(it, "G", bce(D(G(noise(i))), 1.0))


def of_d_where_it_is_shown(it: It, i: int, fixed: bool) -> Tensor:
    """The other way round: what is real is looked at without gradients."""
    G, D = it.nets.values()
    with torch.no_grad():
        said = D(real(i))
    return bce(D(real(i)) if fixed else said, 1.0) + bce(D(G(noise(i)).detach()), 0.0)


@loop(
    ("cut-off", "D"),
    says="All that D learns is to say one thing of all it sees",
    advice="Run D with gradients for this term",
)
def a_judge_that_sees_the_truth_without_gradients(it: It, i: int) -> None:
    step(it, "D", of_d_where_it_is_shown(it, i, it.fixed))
    G, D = it.nets.values()
    step(it, "G", bce(D(G(noise(i))), 1.0))


@loop()
def fakes_made_without_gradients(it: It, i: int) -> None:
    step(it, "D", of_d(it, i, True))
    G, D = it.nets.values()
    step(it, "G", bce(D(G(noise(i))), 1.0))


def classifier(fixed: bool) -> It:
    nets = {"model": mlp(2, 3)}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(nets["model"])})


def classes(i: int) -> Tensor:
    return (real(i)[:, 0] > 2).long() + (real(i)[:, 1] > 2).long()


def robust(it: It, i: int, fixed: bool) -> Tensor:
    model = it.nets["model"]
    with torch.no_grad():
        clean = model(real(i))
    natural = cross_entropy(model(real(i)) if fixed else clean, classes(i))
    noisy = model(real(i) + 0.1 * noise(i)).log_softmax(1)
    return natural + 6.0 * kl_div(noisy, clean.softmax(1), reduction="batchmean")


@loop(
    waste="cut-off",
    build=classifier,
    intended=lambda it, who, i: robust(it, i, True),
    says="model ran under torch.no_grad in `clean = model.real.i..` for it",
    advice="run it with gradients for it",
)
def a_natural_loss_of_logits_for_an_attack(it: It, i: int) -> None:
    it.optimizers["opt"].zero_grad()
    robust(it, i, it.fixed).backward()
    it.optimizers["opt"].step()


@loop(build=classifier, intended=lambda it, who, i: robust(it, i, True))
def a_target_of_its_own_logits(it: It, i: int) -> None:
    it.optimizers["opt"].zero_grad()
    robust(it, i, True).backward()
    it.optimizers["opt"].step()


def beside_a_baseline(it: It, i: int) -> Tensor:
    """What the judge says without gradients is a number for its player: a gap to be printed."""
    G, D = it.nets.values()
    with torch.no_grad():
        of_real = D(real(i)).mean()
    return of_real - D(G(noise(i))).mean()


def gap(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return beside_a_baseline(it, i)
    return D(G(noise(i)).detach()).mean() - D(real(i)).mean()


@loop(intended=gap)
def a_gap_of_which_only_one_side_is_the_player_s(it: It, i: int) -> None:
    for who in ("D", "G"):
        step(it, who, gap(it, who, i))


@loop(build=classifier, intended=lambda it, who, i: towards_itself(it, i))
def a_step_towards_what_it_said_a_moment_ago(it: It, i: int) -> None:
    it.optimizers["opt"].zero_grad()
    towards_itself(it, i).backward()
    it.optimizers["opt"].step()


def towards_itself(it: It, i: int) -> Tensor:
    model = it.nets["model"]
    with torch.no_grad():
        said = model(real(i))
    return mse_loss(model(real(i) + 0.1 * noise(i)), said) + model(noise(i)).square().mean()
