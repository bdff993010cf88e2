"""A judge that looks some steps ahead, and is put back; with right loops beside it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from .kit import It, bce, loop, noise, pair, real, usual


def looking_ahead(fixed: bool) -> It:
    it = pair(fixed)
    it.ahead, it.former = False, None
    return it


def ahead(it: It, who: str, i: int) -> Tensor | None:
    """What D is to follow in its own turn: the gradient at the weights that were to be put back."""
    if who == "G" or it.ahead or it.former is None:
        return usual(it, who, i)
    G, D = it.nets.values()
    former = copy.deepcopy(D)
    former.load_state_dict(it.former)
    loss = bce(former(real(i)), 1.0) + bce(former(G(noise(i)).detach()), 0.0)
    slopes = torch.autograd.grad(loss, [*former.parameters()])
    pairs = zip(D.parameters(), slopes, strict=True)
    return sum(((p * slope).sum() for p, slope in pairs), torch.zeros(()))


def of_judge(it: It, i: int) -> None:
    loss = usual(it, "D", i)
    it.optimizers["D"].zero_grad()
    assert loss is not None
    loss.backward()
    it.optimizers["D"].step()


def of_player(it: It, i: int) -> None:
    loss = usual(it, "G", i)
    it.optimizers["G"].zero_grad()
    assert loss is not None
    loss.backward()
    it.optimizers["G"].step()


def look_ahead(it: It, i: int, copied: bool) -> None:
    D = it.nets["D"]
    of_judge(it, i)
    it.former = {key: value.clone() for key, value in D.state_dict().items()}
    state = D.state_dict()
    if copied:
        state = copy.deepcopy(state)
    it.ahead = True
    for _ in range(2):
        of_judge(it, i)
    it.ahead = False
    of_player(it, i)
    D.load_state_dict(state)


@loop(
    ("not-restored", "D"),
    build=looking_ahead,
    intended=ahead,
    says="`D.load_state_dict.state.` was to undo what .* and does nothing: a state_dict.. is no "
    "copy",
    advice="copy.deepcopy.D.state_dict",
)
def a_judge_looks_ahead_and_is_not_put_back(it: It, i: int) -> None:
    look_ahead(it, i, copied=it.fixed)


@loop(build=looking_ahead, intended=ahead)
def a_judge_looks_ahead_and_is_put_back(it: It, i: int) -> None:
    look_ahead(it, i, copied=True)


@loop(build=looking_ahead)
def a_state_is_taken_and_loaded_again_before_a_step(it: It, i: int) -> None:
    """As people do who write some of its entries anew, of a net that was trained before."""
    D = it.nets["D"]
    state = D.state_dict()
    state.update({key: value for key, value in state.items() if key.endswith("bias")})
    D.load_state_dict(state)
    of_judge(it, i)
    of_player(it, i)


@loop(build=looking_ahead)
def a_state_that_was_kept_is_loaded_into_a_copy(it: It, i: int) -> None:
    """The copy follows, one iteration late, by the memory of the net."""
    G = it.nets["G"]
    state = G.state_dict()
    of_judge(it, i)
    of_player(it, i)
    it.kept.append(copy.deepcopy(G))
    it.kept[-1].load_state_dict(state)
