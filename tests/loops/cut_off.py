"""A gradient, or a part of one, never arrives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, one_hot

from .kit import It, bce, loop, mlp, noise, real, sgd


def d_turn(it: It, fake: Tensor, i: int) -> None:
    D = it.nets["D"]
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()


def g_turn(it: It, fake: Tensor) -> None:
    it.optimizers["G"].zero_grad()
    g_loss = bce(it.nets["D"](fake), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


@loop(("cut-off", "G"), says="cut by detach\\(\\) on the way in", advice="not on the detached copy")
def learned_from_the_detached_fake(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    learned = fake if it.fixed else fake.detach()
    d_turn(it, fake, i)
    g_turn(it, learned)


def scaled(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = (G(noise(i)) + 1) / 2
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(("cut-off", "G"), intended=scaled, says="cut by .data", advice="not on the detached copy")
def cut_after_an_operation(it: It, i: int) -> None:
    fake = (it.nets["G"](noise(i)) + 1) / 2
    if not it.fixed:
        fake = fake.data.clone()
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="cut by detach\\(\\)", advice="not on the detached copy")
def a_leaf_made_of_a_clone(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    if not it.fixed:
        fake = fake.clone().detach().requires_grad_(True)
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="left torch for NumPy in `", advice="Stay in torch")
def there_and_back_through_numpy(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    if not it.fixed:
        fake = torch.from_numpy(np.array(fake.detach().numpy()))
    d_turn(it, fake, i)
    g_turn(it, fake)


def tokens(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = torch.softmax(G(noise(i)), 1)
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(("cut-off", "G"), intended=tokens, says="cut by argmax\\(\\)", advice="on what G made itself")
def a_choice_that_has_no_gradient(it: It, i: int) -> None:
    logits = it.nets["G"](noise(i))
    fake = torch.softmax(logits, 1) if it.fixed else one_hot(logits.argmax(1), 2).float()
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="built no graph", advice="Run that forward with gradients on")
def made_without_gradients(it: It, i: int) -> None:
    with torch.set_grad_enabled(it.fixed):
        fake = it.nets["G"](noise(i))
    d_turn(it, fake, i)
    g_turn(it, fake)


@loop(("cut-off", "G"), says="zero_grad.* had cleared", advice="Clear before backward")
def cleared_with_zeros_before_the_step(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    if it.fixed:
        it.optimizers["G"].zero_grad(set_to_none=False)
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    if not it.fixed:
        it.optimizers["G"].zero_grad(set_to_none=False)
    it.optimizers["G"].step()


@loop(("cut-off", "G"), says="between there and `it.optimizers", advice="Clear before backward")
def kept_by_reference_and_then_zeroed(it: It, i: int) -> None:
    """What was put aside is the same tensor that is filled with zeros."""
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    aside = [p.grad if not it.fixed or p.grad is None else p.grad.clone() for p in G.parameters()]
    for p in G.parameters():
        if p.grad is not None:
            p.grad.zero_()
    for p, grad in zip(G.parameters(), aside, strict=True):
        p.grad = grad
    it.optimizers["G"].step()


@loop(
    ("cut-off", "D"),
    says="walks through D, and no parameter of D wants a gradient",
    advice="Thaw D",
)
def frozen_after_its_first_turn(it: It, i: int) -> None:
    """Without a detach nothing raises: the loss of D goes on to G."""
    G, D = it.nets.values()
    if it.fixed:
        D.requires_grad_(True)
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    D.requires_grad_(False)
    g_turn(it, G(noise(i)))


def with_content(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "G":
        return bce(D(fake), 1.0) + l1_loss(fake, real(i))
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D.*cut off by detach",
    advice="call D again for it, on what G made",
    source="https://github.com/nikhilsinghmus/image2reverb/issues/37",
)
def the_verdict_on_a_detached_fake_beside_another_term(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    judged = fake if it.fixed else fake.detach()
    D.requires_grad_(False)
    g_loss = bce(D(judged), 1.0) + l1_loss(fake, real(i))
    D.requires_grad_(True)
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D.*cut off by detach",
    advice="call D again for it, on what G made",
)
def the_same_with_a_d_that_is_not_frozen(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(fake if it.fixed else fake.detach()), 1.0) + l1_loss(fake, real(i))
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D.*torch.no_grad",
    advice="no torch.no_grad\\(\\) on the way",
)
def the_verdict_taken_without_gradients(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    with torch.set_grad_enabled(it.fixed):
        verdict = D(fake)
    g_loss = bce(verdict, 1.0) + l1_loss(fake, real(i))
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("cut-off", "G"),
    intended=with_content,
    says="G learns nothing from D",
    advice="no detach\\(\\)",
    source="https://github.com/wangle53/CSA-CDGAN/issues/5",
)
def the_prediction_detached_in_the_sum(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_turn(it, fake, i)
    it.optimizers["G"].zero_grad()
    pred = D(fake) if it.fixed else D(fake).detach()
    g_loss = bce(pred, 1.0) + l1_loss(fake, real(i))
    g_loss.backward()
    it.optimizers["G"].step()


class TwoStages(nn.Module):
    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.coarse, self.fine, self.fixed = mlp(2, 2), mlp(2, 2), fixed

    def forward(self, z: Tensor) -> Tensor:
        first = self.coarse(z)
        out: Tensor = self.fine(first if self.fixed else first.detach())
        return out


def in_two_stages(fixed: bool) -> It:
    G, D = TwoStages(fixed), mlp(2, 1)
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


def all_stages(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G.fine(G.coarse(noise(i)))
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@loop(
    ("cut-off", "G"),
    build=in_two_stages,
    intended=all_stages,
    says="a part of G only: no backward reaches coarse",
    advice="Leave out detach\\(\\) there",
)
def a_part_of_the_net_behind_a_cut(it: It, i: int) -> None:
    fake = it.nets["G"](noise(i))
    d_turn(it, fake, i)
    g_turn(it, fake)
