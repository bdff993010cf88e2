"""Loops that raise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .kit import It, bce, loop, mlp, noise, real, sgd


@loop(
    ("inplace-after-retain", None),
    says="`it.optimizers\\['D'\\].step\\(\\)` has rewritten it",
    advice="Call D again after the step",
    source="https://github.com/pytorch/pytorch/issues/39141",
)
def a_step_between_two_backwards(it: It, i: int) -> None:
    """Both losses come from one pass through D, and D has moved before the second backward."""
    G, D = it.nets.values()
    fake = G(noise(i))
    pred = D(fake)
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(pred, 0.0)).backward(retain_graph=True)
    it.optimizers['D'].step()  # fmt: skip
    if it.fixed:
        pred = D(fake)
    it.optimizers["G"].zero_grad()
    bce(pred, 1.0).backward()
    it.optimizers["G"].step()


@loop(
    ("inplace-after-retain", None),
    advice="run both backwards before either step, and name in each who is to receive",
    source="https://github.com/leftthomas/SRGAN/issues/89",
    intended=None,
)
def both_steps_after_both_backwards(it: It, i: int) -> None:
    """The second half of that advice: judged by the weights' own graph, before any step."""
    G, D = it.nets.values()
    pred = D(G(noise(i)))
    d_loss, g_loss = bce(D(real(i)), 1.0) + bce(pred, 0.0), bce(pred, 1.0)
    it.optimizers["G"].zero_grad()
    it.optimizers["D"].zero_grad()
    if not it.fixed:
        d_loss.backward(retain_graph=True)
        it.optimizers["D"].step()
        g_loss.backward()
        it.optimizers["G"].step()
        return
    wanted = [torch.autograd.grad(loss, list(net.parameters()), retain_graph=True)
              for loss, net in ((d_loss, D), (g_loss, G))]  # fmt: skip
    d_loss.backward(retain_graph=True, inputs=list(D.parameters()))
    g_loss.backward(inputs=list(G.parameters()))
    for net, grads in zip((D, G), wanted, strict=True):
        for p, grad in zip(net.parameters(), grads, strict=True):
            assert p.grad is not None
            torch.testing.assert_close(p.grad, grad)
    it.optimizers["D"].step()
    it.optimizers["G"].step()


def after_g(it: It, who: str, i: int) -> Tensor | None:
    """G goes first; D learns from the fake that G had made before its step."""
    G, D = it.nets.values()
    if who == "G":
        return bce(D(G(noise(i))), 1.0)
    return bce(D(real(i)), 1.0) + bce(D(it.fake.detach()), 0.0)


@loop(
    ("second-backward", None),
    says="has already freed",
    advice="Run D again for this loss, on a detached tensor",
    intended=after_g,
)
def one_prediction_for_both_losses(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.fake = G(noise(i))
    pred = D(it.fake)
    it.optimizers["G"].zero_grad()
    bce(pred, 1.0).backward()
    it.optimizers["G"].step()
    if it.fixed:
        pred = D(it.fake.detach())
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(pred, 0.0)).backward()
    it.optimizers["D"].step()


@loop(
    ("inplace-after-retain", None),
    says="G's parameter",
    advice="If G is not to learn from this loss, pass what it made through .detach\\(\\)",
    intended=after_g,
)
def the_fake_of_a_generator_that_has_moved(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.fake = G(noise(i))
    it.optimizers["G"].zero_grad()
    bce(D(it.fake), 1.0).backward(retain_graph=not it.fixed)
    it.optimizers["G"].step()
    it.optimizers["D"].zero_grad()
    fake = it.fake.detach() if it.fixed else it.fake
    (bce(D(real(i)), 1.0) + bce(D(fake), 0.0)).backward()
    it.optimizers["D"].step()


@loop(
    ("no-graph", None),
    says="cut off by detach\\(\\)",
    advice="If D is to learn from this loss, thaw it",
)
def frozen_for_the_generator_and_never_thawed(it: It, i: int) -> None:
    G, D = it.nets.values()
    D.requires_grad_(it.fixed or i == 0)
    it.optimizers["D"].zero_grad()
    (bce(D(G(noise(i)).detach()), 0.0) + bce(D(real(i)), 1.0)).backward()
    it.optimizers["D"].step()
    D.requires_grad_(False)
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


class InPlace(nn.Module):
    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.first, self.last, self.fixed = nn.Linear(2, 8), nn.Linear(8, 1), fixed

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.first(x))
        if self.fixed:
            h = h + 1.0
        else:
            h += 1.0
        out: Tensor = self.last(h)
        return out


def with_a_block(fixed: bool) -> It:
    G, D = mlp(2, 2), InPlace(fixed)
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


@loop(
    ("inplace", None),
    build=with_a_block,
    says="SigmoidBackward0 saved \\(shape \\(8, 8\\)\\).*`h \\+= 1.0` has rewritten it",
    advice="Do not write in place there",
    source="https://github.com/dreamgonfly/GAN-tutorial/issues/1",
)
def an_operation_in_place_inside_a_net(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)).backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(fake), 1.0).backward()
    it.optimizers["G"].step()


@loop(("exception", None), says="RuntimeError: mat1 and mat2", intended=None)
def an_error_of_another_kind(it: It, i: int) -> None:
    D = it.nets["D"]
    D(real(i)) if it.fixed else D(real(i).T)
