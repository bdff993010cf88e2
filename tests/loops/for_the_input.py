"""A backward for the gradient of an input, beside one to learn from; each with right loops."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from .kit import It, loop, mlp, real, sgd

Net = Callable[[Tensor], Tensor]


def classifier(fixed: bool) -> It:
    net = mlp(2, 3)
    return It(fixed=fixed, nets={"net": net}, optimizers={"net": sgd(net)})


def labels(i: int) -> Tensor:
    return torch.arange(8) % 3


def moved(x: Tensor, slope: Tensor) -> Tensor:
    with torch.no_grad():
        return (x + 0.1 * slope.sign()).detach()


def asked(net: Net, x: Tensor, i: int) -> Tensor:
    """An attack that leaves the weights alone."""
    for _ in range(2):
        x = x.requires_grad_(True)
        (slope,) = torch.autograd.grad(cross_entropy(net(x), labels(i)), x)
        x = moved(x, slope)
    return x


def attacked(net: Net, x: Tensor, i: int) -> Tensor:
    """And one that does not."""
    for _ in range(2):
        x = x.requires_grad_(True)
        attack = cross_entropy(net(x), labels(i))
        attack.backward()
        assert x.grad is not None
        x = moved(x, x.grad)
    return x


def against_it(it: It, who: str, i: int) -> Tensor:
    net = it.nets["net"]
    return cross_entropy(net(asked(net, real(i), i)), labels(i))


@loop(
    ("polluted", "net"),
    build=classifier,
    intended=against_it,
    says="the sum of `attack.backward.* and `loss.backward.* gradient of its input, of which the "
    "input of the second is made",
    advice="In attacked, ask for the gradient of the input alone: torch.autograd.grad",
)
def an_attack_that_leaves_gradients_behind(it: It, i: int) -> None:
    net = it.nets["net"]
    it.optimizers["net"].zero_grad()
    x = (asked if it.fixed else attacked)(net, real(i), i)
    loss = cross_entropy(net(x), labels(i))
    loss.backward()
    it.optimizers["net"].step()


@loop(build=classifier, intended=against_it)
def an_attack_that_is_cleared_away(it: It, i: int) -> None:
    net = it.nets["net"]
    x = attacked(net, real(i), i)
    it.optimizers["net"].zero_grad()
    loss = cross_entropy(net(x), labels(i))
    loss.backward()
    it.optimizers["net"].step()


def sampled(net: Net, x: Tensor) -> Tensor:
    """Some steps down the energy (Langevin), each by a backward."""
    for _ in range(2):
        x = x.detach().requires_grad_(True)
        net(x).sum().backward()
        assert x.grad is not None
        x = x - 0.1 * x.grad
    return x.detach()


def found(net: Net, x: Tensor) -> Tensor:
    for _ in range(2):
        x = x.detach().requires_grad_(True)
        x = x - 0.1 * torch.autograd.grad(net(x).sum(), x)[0]
    return x.detach()


def of_energy(it: It, who: str, i: int) -> Tensor:
    net = it.nets["net"]
    low = found(net, real(i + 9))
    return net(real(i)).mean() - net(low).mean() + net(low).square().mean()


@loop(
    ("polluted", "net"),
    build=classifier,
    intended=of_energy,
    says="of which the input of the second is made: what it wrote into net was never cleared",
    advice="In sampled, ask for the gradient of the input alone",
)
def a_sampler_that_leaves_gradients_behind(it: It, i: int) -> None:
    net = it.nets["net"]
    it.optimizers["net"].zero_grad()
    low = (found if it.fixed else sampled)(net, real(i + 9))
    loss = net(real(i)).mean() - net(low).mean() + net(low).square().mean()
    loss.backward()
    it.optimizers["net"].step()


def clean_and_attacked(it: It, who: str, i: int) -> Tensor:
    net, x = it.nets["net"], real(i).requires_grad_(True)
    loss = cross_entropy(net(x), labels(i))
    (slope,) = torch.autograd.grad(loss, x, retain_graph=True)
    return loss + cross_entropy(net(moved(x, slope)), labels(i))


@loop(build=classifier, intended=clean_and_attacked)
def a_clean_loss_that_serves_the_attack_too(it: It, i: int) -> None:
    """One backward for the weights and for the input: the sum of both losses is meant."""
    net, x = it.nets["net"], real(i).requires_grad_(True)
    it.optimizers["net"].zero_grad()
    cross_entropy(net(x), labels(i)).backward()
    assert x.grad is not None
    cross_entropy(net(moved(x, x.grad)), labels(i)).backward()
    it.optimizers["net"].step()


@loop(build=classifier, intended=None)
def attacks_that_are_all_learned_from(it: It, i: int) -> None:
    """The mean over the steps of the attack (FreeLB)."""
    net, change = it.nets["net"], torch.zeros_like(real(i))
    it.optimizers["net"].zero_grad()
    for k in range(3):
        change.requires_grad_(True)
        loss = cross_entropy(net(real(i) + change), labels(i)) / 3
        loss.backward()
        if k < 2:
            assert change.grad is not None
            change = moved(change, change.grad)
    it.optimizers["net"].step()


class Scored(nn.Module):
    """How well two things go together, each a row of a table, changed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Embedding(8, 3), nn.Embedding(8, 3)

    def forward(self, i: Tensor, change: Tensor | None = None) -> Tensor:
        row = self.one(i) if change is None else self.one(i) + change[i]
        return (row * self.two(i.flip(0))).sum(-1)


def of_tables(fixed: bool) -> It:
    net = Scored()
    return It(fixed=fixed, nets={"net": net}, optimizers={"net": sgd(net)})


def rows(i: int) -> Tensor:
    return (torch.arange(6) + i) % 8


def ranked(net: nn.Module, i: int, change: Tensor | None = None) -> Tensor:
    return -logsigmoid(net(rows(i), change)).mean()


def turned(slope: Tensor) -> Tensor:
    return 0.5 * normalize(slope, dim=1)


def change_of(net: Scored, i: int) -> Tensor:
    ranked(net, i).backward()
    assert net.one.weight.grad is not None
    return turned(net.one.weight.grad.detach().clone())


def change_asked_for(net: Scored, i: int) -> Tensor:
    return turned(torch.autograd.grad(ranked(net, i), net.one.weight)[0])


def ranked_rightly(it: It, who: str, i: int) -> Tensor:
    net = it.nets["net"]
    return ranked(net, i) + ranked(net, i, change_asked_for(net, i))


@loop(
    ("polluted", "net"),
    build=of_tables,
    intended=ranked_rightly,
    says="The second has the loss of the first as a term, which counts twice",
    advice="In change_of, ask for that gradient without writing it: torch.autograd.grad",
    source="https://github.com/hexiangnan/adversarial_personalized_ranking/issues/7",
)
def a_change_of_tables_that_leaves_its_gradient(it: It, i: int) -> None:
    net = it.nets["net"]
    it.optimizers["net"].zero_grad()
    change = (change_asked_for if it.fixed else change_of)(net, i)
    loss = ranked(net, i) + ranked(net, i, change)
    loss.backward()
    it.optimizers["net"].step()


@loop(build=of_tables, intended=ranked_rightly)
def a_change_of_tables_that_is_cleared(it: It, i: int) -> None:
    net = it.nets["net"]
    net.zero_grad()
    change = change_of(net, i)
    it.optimizers["net"].zero_grad()
    loss = ranked(net, i) + ranked(net, i, change)
    loss.backward()
    it.optimizers["net"].step()


@loop(build=of_tables, intended=ranked_rightly)
def a_change_of_tables_that_serves_its_loss_too(it: It, i: int) -> None:
    """The first call is for the loss as it is, the second for the loss with the change alone."""
    net = it.nets["net"]
    it.optimizers["net"].zero_grad()
    change = change_of(net, i)
    ranked(net, i, change).backward()
    it.optimizers["net"].step()
