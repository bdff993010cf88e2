"""Gradients clipped when it has no effect, or the wrong one; each with right loops like it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from .kit import It, bce, loop, noise, pair, real, sgd, usual

MOST = 0.05  # far below the norm of these gradients


def clipped(it: It, who: str, i: int) -> Tensor | None:
    """The usual loss, scaled so that its gradient has the largest norm that is allowed."""
    loss = usual(it, who, i)
    assert loss is not None
    parameters = [p for group in it.optimizers[who].param_groups for p in group["params"]]
    slopes = torch.autograd.grad(loss, parameters, retain_graph=True)
    norm = torch.sqrt(sum((s.square().sum() for s in slopes), torch.zeros(())))
    return loss * (MOST / (norm + 1e-6)).clamp(max=1.0)


def turn(it: It, who: str, i: int, order: str) -> None:
    """One turn, its parts in an order: Z zero_grad, B backward, C clip, M measure, S step."""
    optimizer, net = it.optimizers[who], it.nets[who]
    for part in order:
        if part == "Z":
            optimizer.zero_grad()
        elif part == "B":
            loss = usual(it, who, i)
            assert loss is not None
            loss.backward(inputs=list(net.parameters()))
        elif part in "CM":
            clip_grad_norm_(net.parameters(), MOST if part == "C" else float("inf"))
        else:
            optimizer.step()


@loop(
    ("unclipped", "D"),
    ("unclipped", "G"),
    intended=clipped,
    says="found no gradients in [DG] to clip",
    advice="Clip between `loss.backward",
)
def clipped_before_the_backward(it: It, i: int) -> None:
    for who in "DG":
        turn(it, who, i, "ZBCS" if it.fixed else "ZCBS")


@loop(
    ("unclipped", "D"),
    ("unclipped", "G"),
    intended=clipped,
    says="had used already",
    advice="Clip between `loss.backward",
)
def clipped_after_the_step(it: It, i: int) -> None:
    for who in "DG":
        turn(it, who, i, "ZBCS" if it.fixed else "ZBSC")


@loop(intended=clipped)
def clipped_between_backward_and_step(it: It, i: int) -> None:
    for who in "DG":
        turn(it, who, i, "ZBCS")


@loop()
def a_norm_that_is_measured_at_odd_times(it: It, i: int) -> None:
    for who in "DG":
        turn(it, who, i, "ZMBSM")


@loop(intended=clipped)
def clipped_once_more_after_the_step(it: It, i: int) -> None:
    for who in "DG":
        turn(it, who, i, "ZCBCSC")


def scaled(fixed: bool) -> It:
    it = pair(fixed)
    it.scaler = torch.amp.GradScaler("cpu")
    return it


def scaled_turns(it: It, i: int, unscale: bool, plain: str = "", clip: bool = True) -> None:
    """``plain``: who is stepped without the scaler."""
    G, D = it.nets.values()
    for who in "DG":
        optimizer = it.optimizers[who]
        optimizer.zero_grad()
        fake = G(noise(i))
        loss = bce(D(fake), 1.0) if who == "G" else (
            bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))  # fmt: skip
        it.scaler.scale(loss).backward(inputs=list(it.nets[who].parameters()))
        if unscale:
            it.scaler.unscale_(optimizer)
        if clip:
            clip_grad_norm_(it.nets[who].parameters(), MOST)
        if who == plain:
            optimizer.step()
        else:
            it.scaler.step(optimizer)
    it.scaler.update()


@loop(
    ("unclipped", "D"),
    ("unclipped", "G"),
    build=scaled,
    intended=clipped,
    says="multiplied by the scale of the loss, which `it.scaler.step\\(optimizer\\)` took off",
    advice="scaler.unscale_",
)
def clipped_while_the_loss_is_scaled(it: It, i: int) -> None:
    scaled_turns(it, i, it.fixed)


@loop(build=scaled, intended=clipped)
def clipped_after_unscaling(it: It, i: int) -> None:
    scaled_turns(it, i, True)


@loop(
    ("still-scaled", "G"),
    build=scaled,
    says="nothing took that off",
    advice="instead of `optimizer.step",
)
def stepped_past_the_scaler(it: It, i: int) -> None:
    scaled_turns(it, i, unscale=False, plain="" if it.fixed else "G", clip=False)


def with_its_scale(it: It, i: int, how: str) -> None:
    """All is scaled, and clipped far above its norm. how: who takes the scale off, for G."""
    G, D = it.nets.values()
    for who in "DG":
        optimizer = it.optimizers[who]
        optimizer.zero_grad()
        fake = G(noise(i))
        loss = bce(D(fake), 1.0) if who == "G" else (
            bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))  # fmt: skip
        it.scaler.scale(loss).backward(inputs=list(it.nets[who].parameters()))
        if how == "hand" and who == "G":
            for p in G.parameters():
                assert p.grad is not None
                p.grad.div_(it.scaler.get_scale())
        if who == "D" or how == "scaler":
            it.scaler.unscale_(optimizer)
        clip_grad_norm_(it.nets[who].parameters(), 1e9)
        if who == "D" or how == "scaler":
            it.scaler.step(optimizer)
        else:
            optimizer.step()
    it.scaler.update()


@loop(
    ("still-scaled", "G"),
    build=scaled,
    says="nothing took that off",
    advice="instead of `optimizer.step",
)
def clipped_and_stepped_past_the_scaler(it: It, i: int) -> None:
    with_its_scale(it, i, "scaler" if it.fixed else "nobody")


@loop(build=scaled)
def unscaled_by_hand_and_clipped(it: It, i: int) -> None:
    with_its_scale(it, i, "hand")


def one_loss_that_is_not_scaled(it: It, i: int, by_hand: bool) -> None:
    """``by_hand``: multiplied by the scale without the scaler."""
    G, D = it.nets.values()
    for who in "DG":
        it.optimizers[who].zero_grad()
        fake = G(noise(i))
        if who == "D":
            d_loss = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
            it.scaler.scale(d_loss).backward()
        elif by_hand:
            (bce(D(fake), 1.0) * it.scaler.get_scale()).backward()
        elif it.fixed:
            it.scaler.scale(bce(D(fake), 1.0)).backward()
        else:
            g_loss = bce(D(fake), 1.0)
            g_loss.backward()
        it.scaler.step(it.optimizers[who])
    it.scaler.update()


@loop(
    ("still-scaled", "G"),
    build=scaled,
    says="the loss of `g_loss.backward\\(\\)` was never multiplied by it",
    advice="`it.scaler.scale\\(g_loss\\).backward\\(\\)` instead of",
)
def a_loss_past_the_scaler(it: It, i: int) -> None:
    one_loss_that_is_not_scaled(it, i, by_hand=False)


@loop(build=scaled)
def a_loss_that_is_scaled_by_hand(it: It, i: int) -> None:
    one_loss_that_is_not_scaled(it, i, by_hand=True)


@loop(build=scaled)
def unscaled_and_stepped_by_itself(it: It, i: int) -> None:
    scaled_turns(it, i, unscale=True, plain="G", clip=False)


@loop(
    ("unclipped", "D"),
    intended=clipped,
    says="clips the gradients of G, which no step uses any more; those of D",
    advice="Give the parameters of D to `clip_grad_norm_",
)
def the_gradients_of_the_other_net_are_clipped(it: It, i: int) -> None:
    G, D = it.nets.values()
    turn(it, "D", i, "ZB")
    clip_grad_norm_((D if it.fixed else G).parameters(), MOST)
    it.optimizers["D"].step()
    turn(it, "G", i, "ZBCS")


@loop(intended=lambda it, who, i: usual(it, who, i) if who == "D" else None)
def only_one_of_two_is_clipped(it: It, i: int) -> None:
    """Both backwards come first, so that the clip of G stands before the step of D."""
    for who, order in (("G", "ZB"), ("D", "ZB"), ("G", "C"), ("D", "S"), ("G", "S")):
        turn(it, who, i, order)


def critic_alone(fixed: bool) -> It:
    it = pair(fixed)
    it.optimizers = {"D": sgd(it.nets["D"])}
    return it


@loop(build=critic_alone, intended=None)
def one_net_is_measured_and_the_other_clipped_by_hand(it: It, i: int) -> None:
    """G rests, and only the length of what reaches it is looked at."""
    G, D = it.nets.values()
    G.zero_grad()
    D.zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)).backward()
    clip_grad_norm_(G.parameters(), 1e9)
    for p in D.parameters():
        assert p.grad is not None
        p.grad.clamp_(-10, 10)
    it.optimizers["D"].step()
