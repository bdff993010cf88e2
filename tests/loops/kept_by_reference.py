"""Gradients put aside without a copy and overwritten where they lay; right loops that keep them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .kit import It, bce, loop, noise, real, usual
from .right import step

COPY = "Put copies aside: `p.grad.clone\\(\\)`. Or let backward make new tensors"


def halves(it: It, i: int) -> Iterator[Tensor]:
    G, D = it.nets.values()
    yield bce(D(real(i)), 1.0)
    yield bce(D(G(noise(i)).detach()), 0.0)


def weighed(it: It, who: str, i: int) -> Tensor | None:
    one, two = halves(it, i)
    return usual(it, who, i) if who == "G" else 2 * one + 0.5 * two


def by_the_judge(it: It, i: int) -> Tensor:
    G, D = it.nets.values()
    return bce(D(G(noise(i))), 1.0)


def kept(it: It, copies: bool) -> list[Tensor]:
    grads = [p.grad for p in it.nets["D"].parameters() if p.grad is not None]
    return [grad.clone() for grad in grads] if copies else grads


def put_together(it: It, i: int, copies: bool, to_none: bool = False) -> None:
    grads = []
    for half in halves(it, i):
        it.optimizers["D"].zero_grad(set_to_none=to_none)
        half.backward()
        grads.append(kept(it, copies))
    for p, one, two in zip(it.nets["D"].parameters(), *grads, strict=True):
        p.grad = 2 * one + 0.5 * two
    it.optimizers["D"].step()


@loop(("thrown-away", "D"), intended=weighed,
      says="kept without a copy: `it.optimizers.* filled the same tensors with zeros.* moved D by "
      "2.5 times the gradient of", advice=COPY,
      source="https://github.com/vasily789/adaptive-weighted-gans/pull/1")  # fmt: skip
def both_halves_kept_by_reference(it: It, i: int) -> None:
    put_together(it, i, copies=it.fixed)
    step(it, "G", by_the_judge(it, i))


@loop(("thrown-away", "D"), intended=weighed, says="kept without a copy", advice=COPY)
def both_halves_kept_by_reference_and_told_to_make_new_ones(it: It, i: int) -> None:
    put_together(it, i, copies=False, to_none=it.fixed)
    step(it, "G", by_the_judge(it, i))


@loop(intended=weighed)
def both_halves_kept_as_copies(it: It, i: int) -> None:
    put_together(it, i, copies=True)
    step(it, "G", by_the_judge(it, i))


@loop(intended=weighed)
def both_halves_kept_while_backward_makes_new_ones(it: It, i: int) -> None:
    put_together(it, i, copies=False, to_none=True)
    step(it, "G", by_the_judge(it, i))


def zeroed(it: It) -> None:
    for p in it.nets["D"].parameters():
        if p.grad is not None:
            p.grad.zero_()


def added_back(it: It, i: int, copies: bool) -> None:
    one, two = halves(it, i)
    zeroed(it)
    one.backward()
    first = kept(it, copies)
    zeroed(it)
    two.backward()
    for p, grad in zip(it.nets["D"].parameters(), first, strict=True):
        assert p.grad is not None
        p.grad += grad
    it.optimizers["D"].step()


@loop(("thrown-away", "D"), says="were filled with zeros before `two.backward\\(\\)`, which wrote "
      "into them. .* moved D by 2 times", advice=COPY)  # fmt: skip
def the_first_half_kept_by_reference_and_added(it: It, i: int) -> None:
    added_back(it, i, copies=it.fixed)
    step(it, "G", by_the_judge(it, i))


@loop()
def the_first_half_kept_as_a_copy_and_added(it: It, i: int) -> None:
    added_back(it, i, copies=True)
    step(it, "G", by_the_judge(it, i))


@loop(intended=None)
def held_in_a_list_measured_zeroed_and_clipped(it: It, i: int) -> None:
    """Whoever keeps the tensors does not always want what was in them."""
    one, two = halves(it, i)
    zeroed(it)
    one.backward(retain_graph=True)
    it.kept = kept(it, copies=False)
    torch._foreach_zero_(it.kept)
    (one + two).backward()
    torch.nn.utils.clip_grad_norm_(it.nets["D"].parameters(), 0.01)
    it.optimizers["D"].step()
    step(it, "G", by_the_judge(it, i))


@loop()
def held_in_a_list_while_it_accumulates(it: It, i: int) -> None:
    zeroed(it)
    for half in halves(it, i):
        (2 * half).backward()
        it.kept = kept(it, copies=False)
    for p, grad in zip(it.nets["D"].parameters(), it.kept, strict=True):
        p.grad = grad / 2
    it.optimizers["D"].step()
    step(it, "G", by_the_judge(it, i))
