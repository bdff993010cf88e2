"""A codebook with a straight-through: the cut in it is meant, and what is wrong lies elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from .kit import It, loop, mlp, real, sgd
from .right import step

Losses = tuple[Tensor, Tensor]
SOURCE = "https://github.com/andylolu2/jax-vqvae-gpt/issues/2"


def parts(*shared: str) -> Callable[[bool], It]:
    """Encoder, codebook, decoder: those that are named in one optimizer, the others in their own"""

    def build(fixed: bool) -> It:
        nets = {"enc": mlp(2, 2), "book": nn.Embedding(4, 2), "dec": mlp(2, 2)}
        optimizers = {"opt": sgd(*(nets[n] for n in shared))} if shared else {}
        optimizers |= {name: sgd(net) for name, net in nets.items() if name not in shared}
        return It(fixed=fixed, nets=nets, optimizers=optimizers, then={})

    return build


def looked_up(it: It, i: int) -> Losses:
    """(what the encoder gave, the codes nearest to it)"""
    enc, book = it.nets["enc"], it.nets["book"]
    z = enc(real(i))
    return z, book(torch.cdist(z, book.weight).argmin(1))


def quantized(it: It, who: str, i: int) -> Tensor:
    """All that encoder, codebook and decoder are to follow; each optimizer takes its own of it."""
    if who in it.nets and it.then:
        it = It(nets={**it.then, who: it.nets[who]})  # the others may have moved since
    z, q = looked_up(it, i)
    drawn = mse_loss(q, z.detach()) + 0.25 * mse_loss(z, q.detach())
    return drawn + mse_loss(it.nets["dec"](z + (q - z).detach()), real(i))


def turn(it: It, loss: Tensor) -> None:
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    loss.backward()
    it.then = copy.deepcopy(it.nets)
    for optimizer in it.optimizers.values():
        optimizer.step()


def compared_after(it: It, i: int) -> Tensor:
    z, q = looked_up(it, i)
    before, q = q, z + (q - z).detach()
    book_loss = mse_loss(before if it.fixed else q, z.detach())
    return book_loss + 0.25 * mse_loss(z, q.detach()) + mse_loss(it.nets["dec"](q), real(i))


AROUND = r"straight-through hands on the value of book .* `book_loss = .*of what comes out of it"
KEEP = "^Leave the straight-through as it is.*of the value that goes into the straight-through"


@loop(
    ("cut-off", "book"),
    build=parts("enc", "book", "dec"),
    intended=quantized,
    says=AROUND,
    advice=KEEP,
    source=SOURCE,
)
def a_codebook_loss_of_what_comes_out_of_it(it: It, i: int) -> None:
    turn(it, compared_after(it, i))


@loop(("cut-off", "book"), build=parts(), intended=quantized, says=AROUND, advice=KEEP)
def the_same_with_an_optimizer_for_each(it: It, i: int) -> None:
    turn(it, compared_after(it, i))


@loop(
    ("cut-off", "book"),
    build=parts("enc", "book", "dec"),
    intended=quantized,
    says="There a straight-through hands on the value of book with the gradient of another\\.$",
    advice="^Leave the straight-through as it is.*distance from the codes as they were looked up",
)
def a_codebook_without_a_loss(it: It, i: int) -> None:
    z, q = looked_up(it, i)
    loss = 0.25 * mse_loss(z, q.detach())
    loss = loss + mse_loss(it.nets["dec"](q.detach() + z - z.detach()), real(i))
    turn(it, loss + mse_loss(q, z.detach()) if it.fixed else loss)


class Quantizer(nn.Module):
    """All three as one net; ``right``: compares before the straight-through."""

    right = True

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.book, self.dec = mlp(2, 2), nn.Parameter(torch.randn(4, 2)), mlp(2, 2)

    def forward(self, x: Tensor) -> Losses:
        z = self.enc(x)
        codes = self.book[torch.cdist(z, self.book).argmin(1)]
        q = z + (codes - z).detach()
        loss = mse_loss(codes if self.right else q, z.detach()) + 0.25 * mse_loss(z, codes.detach())
        return self.dec(q), loss


def as_one(fixed: bool) -> It:
    net = Quantizer()
    return It(fixed=fixed, nets={"model": net}, optimizers={"opt": sgd(net)})


def of_one(it: It, who: str, i: int) -> Tensor:
    out, loss = it.nets["model"](real(i))
    near: Tensor = mse_loss(out, real(i)) + loss
    return near


def of_one_rightly(it: It, who: str, i: int) -> Tensor:
    it.nets["model"].right = True
    loss = of_one(it, who, i)
    it.nets["model"].right = it.fixed
    return loss


@loop(
    ("cut-off", "model"),
    build=as_one,
    intended=of_one_rightly,
    says="no backward reaches book, .* hands on the value of book with the gradient of another",
    advice=KEEP,
    source=SOURCE,
)
def a_codebook_loss_after_it_inside_a_net(it: It, i: int) -> None:
    it.nets["model"].right = it.fixed
    step(it, "opt", of_one(it, "opt", i))


class Codes(nn.Module):
    """A codebook that hands on its straight-through, the codes, and what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.codes(torch.cdist(x, self.codes.weight).argmin(-1))
        return x + (z - x).detach(), z, x


def with_codes(fixed: bool) -> It:
    nets = {"enc": mlp(2, 2), "book": Codes(), "dec": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(*nets.values())}, then={})


def of_codes(it: It, i: int, after: bool, drawn: bool = True) -> Tensor:
    """after: compare what comes out of the straight-through; drawn: teach the codes at all."""
    z = it.nets["enc"](real(i))
    q, codes, _ = it.nets["book"](z)
    loss = mse_loss(it.nets["dec"](q), real(i)) + 0.25 * mse_loss(z, q.detach())
    if drawn:
        book_loss = mse_loss(q if after else codes, z.detach())
        loss = loss + book_loss
    return loss


@loop(
    ("cut-off", "book"),
    build=with_codes,
    intended=lambda it, who, i: of_codes(it, i, after=False),
    says=AROUND,
    advice=KEEP,
    source="https://github.com/showlab/Olaf-World/issues/8",
)
def a_codebook_loss_of_what_a_module_hands_on(it: It, i: int) -> None:
    turn(it, of_codes(it, i, after=not it.fixed))


@loop(build=with_codes, intended=lambda it, who, i: of_codes(it, i, after=False))
def a_codebook_loss_of_the_codes_of_a_module(it: It, i: int) -> None:
    turn(it, of_codes(it, i, after=False))


@loop(build=with_codes, intended=lambda it, who, i: of_codes(it, i, after=False, drawn=False))
def a_random_codebook_that_nobody_draws(it: It, i: int) -> None:
    """Random codes that stand still, left among the parameters: nothing compares them."""
    turn(it, of_codes(it, i, after=False, drawn=False))


@loop(build=with_codes, intended=lambda it, who, i: of_codes(it, i, after=False, drawn=False))
def averaged_codes_of_a_module(it: It, i: int) -> None:
    """Moved by hand, and not frozen, though an optimizer holds them."""
    turn(it, of_codes(it, i, after=False, drawn=False))
    z, book = it.nets["enc"](real(i)).detach(), it.nets["book"].codes.weight.data
    chosen = torch.cdist(z, book).argmin(1)
    for k in set(chosen.tolist()):
        book[k] = book[k].lerp(z[chosen == k].mean(0), 0.1)


@loop(
    ("cancelled", "enc"),
    build=parts("enc", "book", "dec"),
    intended=quantized,
    says="is added to that very value in `out = .* cancel in",
    advice="Detach the difference there",
)
def a_straight_through_without_its_detach(it: It, i: int) -> None:
    z, q = looked_up(it, i)
    loss = mse_loss(q, z.detach()) + 0.25 * mse_loss(z, q.detach())
    out = z + (q - z).detach() if it.fixed else z + (q - z)
    turn(it, loss + mse_loss(it.nets["dec"](out), real(i)))


@loop(build=as_one, intended=of_one)
def a_codebook_inside_a_net(it: It, i: int) -> None:
    step(it, "opt", of_one(it, "opt", i))


@loop(build=parts("enc", "dec"), intended=quantized)
def a_codebook_with_a_backward_of_its_own(it: It, i: int) -> None:
    z, q = looked_up(it, i)
    step(it, "book", mse_loss(q, z.detach()))
    z, q = looked_up(it, i)
    out = it.nets["dec"](z + (q.detach() - z).detach())
    step(it, "opt", mse_loss(out, real(i)) + 0.25 * mse_loss(z, q.detach()))


@loop(build=parts("enc", "book", "dec"), intended=quantized)
def a_straight_through_in_another_order(it: It, i: int) -> None:
    z, q = looked_up(it, i)
    loss = mse_loss(q, z.detach()) + 0.25 * mse_loss(z, q.detach())
    turn(it, loss + mse_loss(it.nets["dec"](q.detach() + (z - z.detach())), real(i)))


def averaged(fixed: bool) -> It:
    it = parts("enc", "dec")(fixed)
    it.nets["book"].requires_grad_(False)
    del it.optimizers["book"]
    return it


def of_averages(it: It, who: str, i: int) -> Tensor:
    z, q = looked_up(it, i)
    near = 0.25 * mse_loss(z, q.detach())
    return near + mse_loss(it.nets["dec"](z + (q - z).detach()), real(i))


@loop(build=averaged, intended=of_averages)
def a_codebook_of_averages(it: It, i: int) -> None:
    """Moved by hand, to where the values are that chose it."""
    z, q = looked_up(it, i)
    near = 0.25 * mse_loss(z, q.detach())
    turn(it, near + mse_loss(it.nets["dec"](z + (q - z).detach()), real(i)))
    with torch.no_grad():
        book = it.nets["book"].weight
        chosen = torch.cdist(z, book).argmin(1)
        for k in range(len(book)):
            if (chosen == k).any():
                book[k] = book[k].lerp(z[chosen == k].mean(0), 0.1)


def of_residuals(it: It, who: str, i: int) -> Tensor:
    enc, dec = it.nets["enc"], it.nets["dec"]
    z = enc(real(i))
    return mse_loss(dec(z), real(i))


def coded_twice(fixed: bool) -> It:
    nets = {"enc": mlp(2, 2), "dec": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={"opt": sgd(*nets.values())})


@loop(build=coded_twice, intended=of_residuals)
def a_residual_that_is_added_again(it: It, i: int) -> None:
    """Nothing was chosen: the gradient goes through the residual."""
    z = it.nets["enc"](real(i))
    residual = it.nets["dec"](z) - z
    step(it, "opt", mse_loss(z + residual, real(i)))


class LookedUp(nn.Module):
    """The codes are chosen by detached values, in a method of the net; ``right``: with a detach."""

    right = True

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.book, self.dec = mlp(2, 2), nn.Embedding(4, 2), mlp(2, 2)

    def chosen(self, z: Tensor) -> Tensor:
        codes: Tensor = self.book(torch.cdist(z.detach(), self.book.weight.detach()).argmin(1))
        return codes

    def forward(self, x: Tensor) -> Losses:
        z = self.enc(x)
        codes = self.chosen(z)
        loss = mse_loss(codes, z.detach()) + 0.25 * mse_loss(z, codes.detach())
        return self.dec(z + ((codes - z).detach() if self.right else codes - z)), loss


def looked_up_inside(fixed: bool) -> It:
    net = LookedUp()
    return It(fixed=fixed, nets={"model": net}, optimizers={"opt": sgd(net)})


@loop(
    ("cancelled", "model"),
    build=looked_up_inside,
    intended=of_one_rightly,
    says="added to that very value, each with its graph",
    advice="Detach the difference there",
)
def a_straight_through_without_its_detach_inside_a_net(it: It, i: int) -> None:
    it.nets["model"].right = it.fixed
    step(it, "opt", of_one(it, "opt", i))


@loop(build=looked_up_inside, intended=of_one)
def codes_chosen_by_detached_values(it: It, i: int) -> None:
    step(it, "opt", of_one(it, "opt", i))
