"""Parts of a judge that stand still at first, and are thawed; each with right loops beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim

from .kit import It, bce, loop, mlp, noise, pair, real, sgd


def with_a_trunk(fixed: bool) -> It:
    """D's trunk was loaded and is frozen; the optimizer of D was built from what trains."""
    G, D = mlp(2, 2), nn.Sequential(mlp(2, 4), mlp(4, 1))
    D[0].load_state_dict({key: 2 * value for key, value in D[0].state_dict().items()})
    D[0].requires_grad_(False)
    trains = [p for p in D.parameters() if p.requires_grad]
    optimizers = {"G": sgd(G), "D": optim.SGD(trains, lr=0.05)}
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers=optimizers)


def of_turns(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    return bce(D(fake), 1.0) if who == "G" else bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


def turn(it: It, who: str, i: int) -> None:
    it.nets[who].zero_grad()
    of_turns(it, who, i).backward()
    it.optimizers[who].step()


def when_held(it: It, who: str, i: int) -> Tensor | None:
    """Only then the optimizer of D can follow all that is intended."""
    if not it.fixed:
        return None
    held = sum(len(group["params"]) for group in it.optimizers["D"].param_groups)
    assert held == (8 if i else 4)
    return of_turns(it, who, i)


@loop(
    ("ownership", "D"),
    build=with_a_trunk,
    intended=when_held,
    says="no optimizer holds them: `D.0..requires_grad_.True.` thawed them when D had been built",
    advice="^Give them to D where they are thawed .`add_param_group`",
    source="https://github.com/fastai/fastai/issues/2133",
)
def a_trunk_that_is_thawed_and_in_no_optimizer(it: It, i: int) -> None:
    D = it.nets["D"]
    if i == 1:
        D[0].requires_grad_(True)
        if it.fixed:
            it.optimizers["D"].add_param_group({"params": [*D[0].parameters()]})
    for who in ("D", "G"):
        turn(it, who, i)


@loop(build=with_a_trunk, intended=of_turns)
def a_trunk_that_stands_still_and_is_switched_with_its_judge(it: It, i: int) -> None:
    """The whole judge is frozen for the turn of G, and thawed again; the trunk is not to learn."""
    D = it.nets["D"]
    D.requires_grad_(True)
    turn(it, "D", i)
    D.requires_grad_(False)
    turn(it, "G", i)


@loop(build=with_a_trunk, intended=of_turns)
def a_trunk_that_stands_still_in_a_judge_that_begins_later(it: It, i: int) -> None:
    """G has one iteration for itself."""
    D = it.nets["D"]
    if i == 0:
        D.requires_grad_(False)
    if i == 1:
        for p in D.parameters():
            p.requires_grad = True
    for who in ("D", "G") if i else ("G",):
        turn(it, who, i)


def frozen_early(fixed: bool) -> It:
    it = pair(fixed)
    D = it.nets["D"]
    it.optimizers["D"] = optim.SGD(D.parameters(), lr=0.05, momentum=0.9)
    return it


def of_frozen(it: It, who: str, i: int) -> Tensor | None:
    """Of a frozen judge nothing is to move, by whatever gradient."""
    return of_turns(it, who, i) if who == "G" or i == 0 else None


def freeze_after_one(it: It, i: int, step: bool, to_none: bool) -> None:
    D = it.nets["D"]
    if i:
        D.requires_grad_(False)
    it.optimizers["D"].zero_grad(set_to_none=to_none)
    if i == 0:
        of_turns(it, "D", i).backward()
    before = [p.detach().clone() for p in D.parameters()]
    if step or i == 0:
        it.optimizers["D"].step()
    stood = all(map(torch.equal, before, D.parameters()))
    assert stood == (i > 0 and (to_none or not step))
    it.optimizers["G"].zero_grad()
    of_turns(it, "G", i).backward()
    it.optimizers["G"].step()


@loop(
    ("not-frozen", "D"),
    build=frozen_early,
    intended=None,
    says="D is frozen, and .* moves it all the same: its gradients are zeros and not None",
    advice="^Leave this step out while D is frozen, or clear its gradients to None",
)
def a_frozen_judge_that_momentum_moves(it: It, i: int) -> None:
    freeze_after_one(it, i, step=True, to_none=it.fixed)


@loop(build=frozen_early, intended=of_frozen)
def a_frozen_judge_whose_gradients_are_none(it: It, i: int) -> None:
    freeze_after_one(it, i, step=True, to_none=True)


@loop(build=frozen_early, intended=of_frozen)
def a_frozen_judge_that_is_left_out(it: It, i: int) -> None:
    freeze_after_one(it, i, step=False, to_none=False)
