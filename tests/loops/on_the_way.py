"""A loss that reaches one of those who made what is judged, or a copy; each with right loops."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from .kit import It, bce, draw, loop, mlp, noise, real, sgd


class Gate(nn.Module):
    """Which numbers are handed on: a choice, unless it is ``soft``."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.soft = mlp(2, 2), False

    def forward(self, x: Tensor) -> Tensor:
        chance = torch.sigmoid(self.net(x))
        return chance if self.soft else (chance.detach() > 0.5).float()


def gated(fixed: bool) -> It:
    gate = Gate()
    gate.soft = fixed
    nets: dict[str, nn.Module] = {"gate": gate, "maker": mlp(2, 2), "judge": mlp(2, 1)}
    optimizers = {name: sgd(net) for name, net in nets.items()}
    return It(fixed=fixed, nets=nets, optimizers=optimizers, gate=None)


def of_both(it: It, i: int, gate: nn.Module | None = None) -> Tensor:
    gate, maker, judge = gate or it.nets["gate"], it.nets["maker"], it.nets["judge"]
    return bce(judge(gate(noise(i)) * maker(noise(i))), 1.0)


def softly(it: It, who: str, i: int) -> Tensor | None:
    """With the choice made soft; of the gradient of the gate nothing is there without."""
    gate, maker, judge = it.nets.values()
    if who == "judge":
        fake = gate(noise(i)) * maker(noise(i))
        return bce(judge(real(i)), 1.0) + bce(judge(fake.detach()), 0.0)
    if who == "maker":  # as the gate was before it moved
        return of_both(it, i, it.gate)
    gate.soft = True
    loss = of_both(it, i)
    gate.soft = it.fixed
    return loss


@loop(
    ("cut-off", "gate"),
    build=gated,
    intended=softly,
    says="does not reach gate: what gate made was cut off by detach.. on the way in `return chance",
    advice="^No gradient passes a choice.* And leave out detach.. there",
    source="https://github.com/zhaohan-xi/GraphBackdoor/issues/4",
)
def one_of_two_makers_chooses(it: It, i: int) -> None:
    loss = softly(it, "judge", i)
    it.optimizers["judge"].zero_grad()
    assert loss is not None
    loss.backward()
    it.optimizers["judge"].step()
    for name in ("gate", "maker"):
        it.optimizers[name].zero_grad()
    both = of_both(it, i)
    both.backward()
    it.gate = copy.deepcopy(it.nets["gate"])
    it.optimizers["gate"].step()
    it.optimizers["maker"].step()


def when_fixed(it: It, who: str, i: int) -> Tensor | None:
    """Without a backward there is nothing to compare."""
    return softly(it, who, i) if it.fixed else None


@loop(
    ("cut-off", "gate"),
    build=gated,
    intended=when_fixed,
    says="does not reach gate.$",
    advice="^Call backward on a loss made from the output of gate",
)
def the_backward_of_one_player_is_missing(it: It, i: int) -> None:
    """The turn of the judge is cut on purpose, and says nothing of why."""
    it.nets["gate"].soft = True
    loss = softly(it, "judge", i)
    for name in ("judge", "gate"):
        it.optimizers[name].zero_grad()
    assert loss is not None
    loss.backward()
    it.optimizers["judge"].step()
    if it.fixed:
        it.optimizers["gate"].zero_grad()
        of_both(it, i).backward()
    it.optimizers["gate"].step()


def few_shot(fixed: bool) -> It:
    model = mlp(2, 2)
    return It(fixed=fixed, nets={"model": model}, optimizers={"model": sgd(model)})


def adapted(model: nn.Module, i: int) -> Tensor:
    """The loss of the model after one step on a task, which it is to learn through."""
    values: dict[str, Tensor] = dict(model.named_parameters())
    loss = mse_loss(torch.func.functional_call(model, values, noise(i)), real(i))
    slopes = torch.autograd.grad(loss, [*values.values()], create_graph=True)
    pairs = zip(values.items(), slopes, strict=True)
    new = {name: p - 0.1 * slope for (name, p), slope in pairs}
    return mse_loss(torch.func.functional_call(model, new, draw(i, 1.0)), real(i))


def move(net: nn.Module, loss: Tensor) -> None:
    slopes = torch.autograd.grad(loss, [*net.parameters()], create_graph=True)
    for p, slope in zip(net.parameters(), slopes, strict=True):
        p.data -= 0.1 * slope


def by_a_copy(model: nn.Module, i: int) -> Tensor:
    other = copy.deepcopy(model)
    move(other, mse_loss(other(noise(i)), real(i)))
    return mse_loss(other(draw(i, 1.0)), real(i))


def through_the_step(it: It, who: str, i: int) -> Tensor:
    return adapted(it.nets["model"], i)


@loop(
    ("cut-off", "model"),
    build=few_shot,
    intended=through_the_step,
    says="has no way to model: it reaches parameters of just the same shapes, of a copy",
    advice="by torch.func.functional_call",
)
def a_step_to_learn_through_on_a_copy(it: It, i: int) -> None:
    model = it.nets["model"]
    loss = adapted(model, i) if it.fixed else by_a_copy(model, i)
    it.optimizers["model"].zero_grad()
    loss.backward()
    it.optimizers["model"].step()


@loop(build=few_shot, intended=through_the_step)
def a_step_to_learn_through(it: It, i: int) -> None:
    loss = adapted(it.nets["model"], i)
    it.optimizers["model"].zero_grad()
    loss.backward()
    it.optimizers["model"].step()


def of_first_order(it: It, who: str, i: int) -> Tensor:
    """What the copy gives is handed to the model by hand."""
    model = it.nets["model"]
    other = copy.deepcopy(model)
    move(other, mse_loss(other(noise(i)), real(i)))
    found = torch.autograd.grad(mse_loss(other(draw(i, 1.0)), real(i)), [*other.parameters()])
    pairs = zip(model.parameters(), found, strict=True)
    return sum(((p * slope).sum() for p, slope in pairs), torch.zeros(()))


@loop(build=few_shot, intended=of_first_order)
def a_copy_whose_gradient_is_handed_on(it: It, i: int) -> None:
    """First-order: the gradient of the adapted copy moves the model."""
    model, other = it.nets["model"], copy.deepcopy(it.nets["model"])
    move(other, mse_loss(other(noise(i)), real(i)))
    other.zero_grad()
    mse_loss(other(draw(i, 1.0)), real(i)).backward()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        p.grad = q.grad
    it.optimizers["model"].step()
