"""An optimizer holds two nets, and what one of them made is cut off in front of the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from .kit import It, bce, draw, loop, mlp, noise, real, sgd
from .right import step


def autoencoder(fixed: bool) -> It:
    enc, dec = mlp(2, 3), mlp(3, 2)
    nets = {"enc": enc, "dec": dec}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(enc, dec)})


def reconstruction(it: It, who: str, i: int) -> Tensor:
    enc, dec = it.nets.values()
    return mse_loss(dec(enc(real(i))), real(i))


def through(it: It, i: int, cut: Callable[[Tensor], Tensor]) -> None:
    enc, dec = it.nets.values()
    code = enc(real(i))
    step(it, "opt", mse_loss(dec(code if it.fixed else cut(code)), real(i)))


@loop(
    ("cut-off", "enc"),
    build=autoencoder,
    intended=reconstruction,
    says="never finds a gradient in enc: .* cut off by .data",
    advice="without .data\\).* leave enc out of opt",
)
def a_code_that_is_wrapped_anew(it: It, i: int) -> None:
    through(it, i, lambda code: torch.autograd.Variable(code.data))


@loop(
    ("cut-off", "enc"),
    build=autoencoder,
    intended=reconstruction,
    says="what enc made left torch for NumPy",
    advice="hand on what it made with its graph",
)
def a_code_through_numpy(it: It, i: int) -> None:
    through(it, i, lambda code: torch.from_numpy(code.detach().numpy()))


@loop(build=autoencoder, intended=None)
def a_fixed_code_that_its_optimizer_lists(it: It, i: int) -> None:
    """Under torch.no_grad: a part that stands still, left among the parameters."""
    enc, dec = it.nets.values()
    with torch.no_grad():
        code = enc(real(i))
    step(it, "opt", mse_loss(dec(code), real(i)))


@loop(build=autoencoder, intended=None)
def a_code_that_is_detached_in_eval_mode(it: It, i: int) -> None:
    enc, dec = it.nets.values()
    enc.eval()
    step(it, "opt", mse_loss(dec(enc(real(i)).detach()), real(i)))


@loop(build=autoencoder, intended=None)
def a_code_that_learns_in_every_other_step(it: It, i: int) -> None:
    enc, dec = it.nets.values()
    code = enc(real(i))
    step(it, "opt", mse_loss(dec(code if i % 2 else code.detach()), real(i)))


def with_codes(fixed: bool) -> It:
    G, D, Q = mlp(2, 2), mlp(2, 1), mlp(2, 3)
    nets = {"G": G, "D": D, "Q": Q}
    return It(fixed=fixed, nets=nets, optimizers={"d": sgd(D), "g": sgd(G), "info": sgd(G, Q)})


def informed(it: It, who: str, i: int) -> Tensor:
    G, D, Q = it.nets.values()
    fake = G(noise(i))
    if who == "d":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return bce(D(fake), 1.0) if who == "g" else cross_entropy(Q(fake), torch.arange(8) % 3)


def info(it: It, i: int, cut: bool) -> None:
    G, _, Q = it.nets.values()
    for who in ("d", "g"):
        step(it, who, informed(it, who, i))
    fake = G(noise(i))
    step(it, "info", cross_entropy(Q(fake.detach() if cut else fake), torch.arange(8) % 3))


@loop(
    ("cut-off", "G"),
    build=with_codes,
    intended=informed,
    says="is to move G as well as Q, and never finds a gradient in G",
    advice="If not, leave G out of info",
)
def codes_that_are_read_from_a_detached_fake(it: It, i: int) -> None:
    info(it, i, cut=not it.fixed)


@loop(build=with_codes, intended=informed)
def codes_that_are_read_from_the_fake(it: It, i: int) -> None:
    info(it, i, cut=False)


def probed(fixed: bool) -> It:
    enc, dec, probe = mlp(2, 3), mlp(3, 2), mlp(3, 3)
    nets = {"enc": enc, "dec": dec, "probe": probe}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(enc, dec, probe)})


@loop(build=probed, intended=None)
def a_probe_in_the_same_optimizer(it: It, i: int) -> None:
    """It looks on, and the encoder learns from the other loss."""
    enc, dec, probe = it.nets.values()
    code = enc(draw(i))
    labels = torch.arange(8) % 3
    step(it, "opt", mse_loss(dec(code), draw(i)) + cross_entropy(probe(code.detach()), labels))


class Probe(nn.Module):
    """It cuts off what it takes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp(3, 2)

    def forward(self, code: Tensor) -> Tensor:
        out: Tensor = self.layers(code.detach())
        return out


def with_a_cut_of_its_own(fixed: bool) -> It:
    enc, head = mlp(2, 3), Probe()
    return It(fixed=fixed, nets={"enc": enc, "head": head}, optimizers={"opt": sgd(enc, head)})


@loop(build=with_a_cut_of_its_own, intended=None)
def a_head_that_cuts_off_by_itself(it: It, i: int) -> None:
    """It was built to: of the design of a net nothing is said."""
    enc, head = it.nets.values()
    step(it, "opt", mse_loss(head(enc(real(i))), real(i)))
