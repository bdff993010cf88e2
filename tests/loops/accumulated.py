"""Gradients that are summed over micro-batches on purpose, and what goes in between."""

from __future__ import annotations

import torch
from torch import Tensor

from .kit import It, bce, loop, noise, real, usual

PARTS = 2


def of_all_parts(it: It, who: str, i: int) -> Tensor | None:
    """D's loss over all micro-batches. Of G's, the first was computed before D moved."""
    if who == "G":
        return None
    losses = (usual(it, who, PARTS * i + j) for j in range(PARTS))
    return sum((loss / PARTS for loss in losses if loss is not None), torch.zeros(()))


def part_by_part(it: It, i: int, apart: bool) -> None:
    """Both players' losses in each part; each player steps and is cleared after the last part."""
    G, D = it.nets.values()
    for j in range(PARTS):
        batch, last = PARTS * i + j, j == PARTS - 1
        with torch.no_grad():
            fake = G(noise(batch))
        d_loss = (bce(D(real(batch)), 1.0) + bce(D(fake), 0.0)) / PARTS
        d_loss.backward()
        if last:
            it.optimizers["D"].step()
            it.optimizers["D"].zero_grad()
        g_loss = bce(D(G(noise(batch))), 1.0) / PARTS
        if apart:
            g_loss.backward(inputs=list(G.parameters()))
        else:
            g_loss.backward()
        if last:
            it.optimizers["G"].step()
            it.optimizers["G"].zero_grad()


@loop(
    ("polluted", "D"),
    intended=of_all_parts,
    says="moved D by the sum of `d_loss.backward\\(\\)` and `g_loss.backward",
    advice="in `g_loss.backward\\(\\)`, name who is to receive, `backward\\(inputs=list\\(G.param",
    source="https://github.com/ZiqiaoPeng/DualTalk/issues/9",
)
def only_d_keeps_what_the_micro_batches_of_g_leave(it: It, i: int) -> None:
    """What G sums up is its own, though D steps on some of it: nothing is to be said of G."""
    part_by_part(it, i, it.fixed)


@loop(intended=of_all_parts)
def micro_batches_of_both_kept_apart(it: It, i: int) -> None:
    part_by_part(it, i, True)


@loop(intended=of_all_parts)
def micro_batches_of_g_reach_d_which_is_cleared_before_its_own(it: It, i: int) -> None:
    """All of D's parts, then all of G's: what G's leave in D is gone before D learns again."""
    G, D = it.nets.values()
    batches = range(PARTS * i, PARTS * (i + 1))
    it.optimizers["D"].zero_grad()
    for batch in batches:
        d_loss = bce(D(real(batch)), 1.0) + bce(D(G(noise(batch)).detach()), 0.0)
        (d_loss / PARTS).backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    for batch in batches:
        (bce(D(G(noise(batch))), 1.0) / PARTS).backward()
    it.optimizers["G"].step()
