"""A term that is computed and goes nowhere; right loops that compute numbers beside the loss."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from .crossed import by_features, with_features
from .kit import It, bce, loop, mlp, noise, real, sgd
from .right import step

ADD = "add it to the one that backward is called on"


@loop(
    waste="never-walked",
    build=with_features,
    intended=by_features,
    says="made of what D and G gave in `matched = .*nothing comes of it",
    advice=ADD,
)
def features_are_matched_and_not_added(it: It, i: int) -> None:
    G, D = it.nets.values()
    seen, said = D(G(noise(i)))
    with torch.no_grad():
        wanted, _ = D(real(i))
    matched = l1_loss(seen, wanted)
    g_loss = bce(said, 1.0)
    if it.fixed:
        g_loss = g_loss + 10 * matched
    step(it, "G", g_loss)
    step(it, "D", by_features(it, "D", i))


def near_and_judged(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return l1_loss(fake, real(i)) + bce(D(fake), 1.0)


@loop(
    waste="never-walked",
    intended=near_and_judged,
    says="made of what G gave in `loss = l1_loss",
    advice=ADD,
)
def the_distance_is_overwritten_by_the_verdict(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    loss = l1_loss(fake, real(i))
    loss = loss + bce(D(fake), 1.0) if it.fixed else bce(D(fake), 1.0)
    step(it, "G", loss)
    step(it, "D", near_and_judged(it, "D", i))


@loop()
def a_distance_that_is_logged_now_and_then(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    distance = l1_loss(fake, real(i))
    if i % 100 == 0:
        it.kept.append(distance.item())
    step(it, "G", bce(D(fake), 1.0))


@loop()
def a_distance_that_is_weighed_with_others_for_a_log(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    loss = bce(D(fake), 1.0)
    it.kept.append(torch.stack([l1_loss(fake, real(i)), loss]).tolist())
    step(it, "G", loss)


def supervised(fixed: bool) -> It:
    """A trunk, its head, and two heads beside that are to help the trunk."""
    nets = {"trunk": mlp(2, 4), "head": mlp(4, 2), "first": mlp(4, 2), "second": mlp(4, 2)}
    heads = sgd(*(nets[n] for n in ("head", "first", "second")))
    return It(fixed=fixed, nets=nets, optimizers={"trunk": sgd(nets["trunk"]), "heads": heads},
              then={})  # fmt: skip


def of_heads(it: It, who: str, i: int) -> Tensor:
    main, *beside = heads_losses(It(nets={**it.nets, **(it.then if who == "heads" else {})}), i)
    return main + 0.3 * torch.stack(beside).mean()


def heads_losses(it: It, i: int) -> list[Tensor]:
    made = it.nets["trunk"](noise(i))
    return [mse_loss(it.nets[name](made), real(i)) for name in ("head", "first", "second")]


def supervise(it: It, loss: Tensor) -> None:
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    loss.backward()
    it.then = {"trunk": copy.deepcopy(it.nets["trunk"])}
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(
    ("cut-off", "head"),
    build=supervised,
    intended=of_heads,
    says="made anew of a number in `loss = main \\+ 0.3 \\* aux`, with requires_grad=True",
    advice="torch.stack\\(...\\) and .mean\\(\\) keep the graph",
)
def losses_that_are_averaged_by_numpy(it: It, i: int) -> None:
    main, *beside = heads_losses(it, i)
    if it.fixed:
        aux = torch.stack(beside).mean()
    else:
        aux = torch.tensor(np.mean([loss.item() for loss in beside]), requires_grad=True)
    loss = main + 0.3 * aux
    supervise(it, loss)


@loop(build=supervised, intended=of_heads)
def a_sum_that_begins_with_a_zero_that_wants_a_gradient(it: It, i: int) -> None:
    main, *beside = heads_losses(it, i)
    loss = torch.zeros((), requires_grad=True)
    for one in beside:
        loss = loss + 0.3 * one / len(beside)
    supervise(it, loss + main)
