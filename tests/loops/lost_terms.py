"""A term that is computed and goes nowhere; right loops that compute numbers beside the loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from .crossed import by_features, with_features
from .kit import It, bce, loop, noise, real
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
def a_distance_that_is_kept(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    it.kept = [*it.kept, {"near": l1_loss(fake, real(i)), "sure": bce(D(fake), 1.0)}]
    step(it, "G", it.kept[-1]["sure"])


@loop()
def a_distance_that_is_weighed_with_others_for_a_log(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    loss = bce(D(fake), 1.0)
    it.kept.append(torch.stack([l1_loss(fake, real(i)), loss]).tolist())
    step(it, "G", loss)
