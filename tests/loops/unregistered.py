"""Parts of a net that its optimizer cannot know, and right loops like them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim

from .kit import It, loop, mlp, noise, pair, sgd
from .ownership import turns, when_fixed
from .right import step


class Lazy(nn.Module):
    """Its head is built in its first forward, when it is known how wide that has to be."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = mlp(2, 4)
        self.head: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.head is None:
            self.head = nn.Linear(x.shape[1], 1)
        out: Tensor = self.head(x)
        return out


def judged_by(D: nn.Module, fixed: bool) -> It:
    it = pair(fixed)
    it.nets["D"] = D
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(D)}
    return it


def lazy(fixed: bool) -> It:
    D = Lazy()
    if fixed:
        D(noise(0))
    return judged_by(D, fixed)


@loop(
    ("ownership", "D"),
    build=lazy,
    intended=when_fixed,
    says="gradients for head.weight, head.bias of D, .* D got them after its optimizer was built",
    advice=r"Build the optimizer after D has all its parts \(run it once before\)",
)
def a_head_that_the_first_forward_builds(it: It, i: int) -> None:
    turns(it, i)


class Growing(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([mlp(2, 2)])
        self.last = nn.Linear(2, n)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.last(x)
        return out


def growing(fixed: bool) -> It:
    it = judged_by(Growing(1), fixed)
    it.nets["G"] = Growing(2)
    it.optimizers["g"] = sgd(it.nets["G"])
    return it


def grow(it: It, new: Callable[[], nn.Module], tell: bool) -> None:
    for net, optimizer in zip(it.nets.values(), it.optimizers.values(), strict=True):
        net.blocks.append(block := new())
        if tell:
            optimizer.add_param_group({"params": block.parameters()})


@loop(
    ("ownership", "G"),
    ("ownership", "D"),
    build=growing,
    intended=when_fixed,
    says="blocks.1.0.weight, .* of G, and no optimizer holds them",
    advice="give it the new ones: `add_param_group`",
)
def two_nets_that_grow(it: It, i: int) -> None:
    if i == 1:
        grow(it, lambda: mlp(2, 2), tell=it.fixed)
    turns(it, i)


@loop(build=growing)
def two_nets_that_grow_and_tell_their_optimizers(it: It, i: int) -> None:
    if i == 1:
        grow(it, lambda: mlp(2, 2), tell=True)
    turns(it, i)


@loop(build=growing)
def a_fixed_part_that_comes_later(it: It, i: int) -> None:
    if i == 1:
        grow(it, lambda: mlp(2, 2).requires_grad_(False), tell=False)
    turns(it, i)


class Strengths(nn.Module):
    """Noise is added as strongly as it has learned to be. ``made``: what holds that strength."""

    def __init__(self, made: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.last = mlp(2, 2), mlp(2, 2)
        self.strength = made(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        noisy = self.stem(x) + self.strength * torch.ones_like(x)
        out: Tensor = self.last(noisy)
        return out


def plain(values: Tensor) -> Tensor:
    return values.requires_grad_()


def with_strengths(fixed: bool) -> It:
    it = pair(fixed)
    it.nets["G"] = Strengths(nn.Parameter if fixed else plain)
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(it.nets["D"])}
    return it


@loop(
    ("ownership", "G"),
    build=with_strengths,
    intended=when_fixed,
    says="a gradient for strength inside G, and no optimizer holds it: a mere tensor",
    advice="Make it an nn.Parameter",
)
def a_strength_that_is_a_mere_tensor(it: It, i: int) -> None:
    turns(it, i)


def with_strengths_in_the_optimizer(fixed: bool) -> It:
    it = with_strengths(False)
    params = [*it.nets["G"].parameters(), it.nets["G"].strength]
    it.optimizers["g"] = optim.SGD(params, lr=0.05)
    return it


@loop(build=with_strengths_in_the_optimizer)
def a_mere_tensor_that_the_optimizer_holds(it: It, i: int) -> None:
    turns(it, i)


@loop(build=lambda fixed: with_strengths(False))
def a_mere_tensor_that_is_moved_by_hand(it: It, i: int) -> None:
    turns(it, i)
    strength = it.nets["G"].strength
    with torch.no_grad():
        strength.sub_(0.05 * strength.grad)
    strength.grad = None


class Watching(nn.Module):
    """It keeps what it was given, to ask for the gradient there some time."""

    def __init__(self) -> None:
        super().__init__()
        self.judge, self.seen = mlp(2, 1), torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.detach().requires_grad_() if not x.requires_grad else x
        out: Tensor = self.judge(self.seen)
        return out


@loop(build=lambda fixed: judged_by(Watching(), fixed))
def a_net_that_keeps_its_input(it: It, i: int) -> None:
    turns(it, i)


class OfPlaces(nn.Module):
    """A net of coordinates that it keeps, and whose slope there is a part of its loss (a PINN)."""

    def __init__(self, by_columns: bool) -> None:
        super().__init__()
        self.net, self.by_columns = mlp(2, 1), by_columns
        self.places = noise(0).requires_grad_()

    def forward(self) -> Tensor:
        one, two = self.places[:, :1], self.places[:, 1:]
        value = self.net(torch.cat([one, two], 1))
        asked = [one, two] if self.by_columns else [self.places]
        slope = torch.cat(torch.autograd.grad(value.sum(), asked, create_graph=True), 1)
        return (value.square() + (slope - 1).square()).mean()


def of_places(by_columns: bool) -> It:
    net = OfPlaces(by_columns)
    return It(fixed=False, nets={"net": net}, optimizers={"net": sgd(net)})


@loop(build=lambda fixed: of_places(False), intended=lambda it, who, i: it.nets["net"]())
def coordinates_that_want_a_gradient(it: It, i: int) -> None:
    step(it, "net", it.nets["net"]())


@loop(build=lambda fixed: of_places(True), intended=lambda it, who, i: it.nets["net"]())
def columns_of_coordinates_that_want_a_gradient(it: It, i: int) -> None:
    step(it, "net", it.nets["net"]())


class OfLatents(nn.Module):
    """It keeps the last latent, a leaf, which both turns of an iteration go through."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(2, 1)
        self.latent = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad:
            self.latent = x.detach().clone().requires_grad_()
        out: Tensor = self.net(x + 0 * self.latent)
        return out


@loop(build=lambda fixed: judged_by(OfLatents(), fixed))
def a_latent_that_is_made_each_time(it: It, i: int) -> None:
    turns(it, i)


class Weighed(nn.Module):
    """Judges of several scales, their verdicts weighed as has been learned."""

    def __init__(self, kept: type = list) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(2))
        self.scales = kept([mlp(2, 1) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate.softmax(0)
        return torch.stack([w * net(x) for w, net in zip(weights, self.scales, strict=True)]).sum(0)


@loop(
    ("ownership", "D"),
    build=lambda fixed: judged_by(Weighed(nn.ModuleList if fixed else list), fixed),
    intended=when_fixed,
    says="8 parameters inside D .* for scales is a plain list",
    advice="Make scales an nn.ModuleList",
)
def weighed_scales_in_a_plain_list(it: It, i: int) -> None:
    turns(it, i)
