"""Parameters that take part in a loss as if they were to learn, and that no optimizer holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy, l1_loss, mse_loss

from .kit import It, bce, draw, loop, mlp, noise, real, sgd
from .right import step


def with_a_teacher(fixed: bool) -> It:
    """Features of the student, and what makes them as wide as the teacher's."""
    student, align = mlp(2, 3), nn.Linear(3, 4)
    teacher = mlp(2, 4).eval().requires_grad_(False)
    it = It(fixed=fixed, nets={"student": student}, teacher=teacher, align=align)
    it.optimizers = {"opt": sgd(student, align) if fixed else sgd(student)}
    if fixed:
        it.nets["align"] = align
    return it


def distilled(it: It, who: str, i: int) -> Tensor:
    features = it.nets["student"](draw(i))
    labels = torch.arange(8) % 3
    wanted = it.teacher(draw(i))
    return cross_entropy(features, labels) + mse_loss(it.align(features), wanted)


@loop(
    ("ownership", None),
    build=with_a_teacher,
    intended=lambda it, who, i: distilled(it, who, i) if it.fixed else None,
    says="for 2 parameters that no optimizer holds: .* They take what student made in",
    advice="Give them to the optimizer as well",
)
def an_adapter_that_no_optimizer_holds(it: It, i: int) -> None:
    step(it, "opt", distilled(it, "opt", i))


def on_a_loaded_net(fixed: bool) -> It:
    G, judge = mlp(2, 2), mlp(2, 3)
    judge.load_state_dict(mlp(2, 3).state_dict())
    judge.requires_grad_(not fixed)
    return It(fixed=fixed, nets={"G": G}, optimizers={"G": sgd(G)}, judge=judge)


@loop(waste="ownership", build=on_a_loaded_net, intended=None, advice="fixed net, freeze it")
def a_classifier_that_was_loaded(it: It, i: int) -> None:
    """An attack on a fixed net, which nobody froze: it was written to since it was initialized."""
    step(it, "G", -cross_entropy(it.judge(it.nets["G"](noise(i))), torch.arange(8) % 3))


def two_ways(fixed: bool) -> It:
    """Two generators, there and back, of which only one was given to the optimizer."""
    there, back, D = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    it = It(fixed=fixed, nets={"there": there, "D": D}, back=back)
    it.optimizers = {"g": sgd(there, back) if fixed else sgd(there), "d": sgd(D)}
    if fixed:
        it.nets["back"] = back
    return it


def cycle(it: It, who: str, i: int) -> Tensor:
    there, D = it.nets["there"], it.nets["D"]
    fake = there(noise(i))
    if who == "d":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return bce(D(fake), 1.0) + l1_loss(it.back(fake), noise(i))


@loop(
    ("ownership", None),
    build=two_ways,
    intended=lambda it, who, i: cycle(it, who, i) if it.fixed else None,
    says="for 4 parameters that no optimizer holds: .* They take what there made in",
    advice="Give them to the optimizer as well",
)
def the_way_back_is_in_no_optimizer(it: It, i: int) -> None:
    for who in ("d", "g"):
        step(it, who, cycle(it, who, i))


class Whole(nn.Module):
    """Three parts in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.mid, self.dec = mlp(2, 3), nn.Linear(3, 3), mlp(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dec(self.mid(self.enc(x)))
        return out


def of_three_parts(fixed: bool) -> It:
    net = Whole()
    held = [net] if fixed else [net.enc, net.dec]
    return It(fixed=fixed, nets={"net": net}, optimizers={"opt": sgd(*held)})


@loop(
    ("ownership", "net"),
    build=of_three_parts,
    intended=lambda it, who, i: mse_loss(it.nets["net"](real(i)), real(i)) if it.fixed else None,
    says="gradients for mid.weight, mid.bias of net, and no optimizer holds them",
    advice="Give them to the optimizer as well",
)
def the_part_in_the_middle_is_in_no_optimizer(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def only(part: str) -> object:
    def build(fixed: bool) -> It:
        net = Whole()
        return It(fixed=fixed, nets={"net": net}, optimizers={"opt": sgd(getattr(net, part))})

    return build


@loop(build=only("dec"), intended=None)
def only_the_last_part_learns(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


class Adapted(nn.Module):
    """A net that stands still though nobody froze it, and in its middle a part that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = mlp(2, 8), mlp(8, 2)
        self.adapter = nn.Linear(8, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        code = self.low(x)
        out: Tensor = self.high(code + self.adapter(code))
        return out


def with_an_adapter(fixed: bool) -> It:
    net = Adapted()
    return It(fixed=fixed, nets={"net": net}, optimizers={"opt": sgd(net.adapter)})


@loop(build=with_an_adapter, intended=None)
def only_an_adapter_learns(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def with_a_random_target(fixed: bool) -> It:
    predictor = mlp(2, 3)
    it = It(fixed=fixed, nets={"predictor": predictor}, optimizers={"opt": sgd(predictor)})
    it.target = mlp(2, 3).requires_grad_(not fixed)
    return it


@loop(waste="ownership", build=with_a_random_target, intended=None, advice="fixed net, freeze it")
def a_random_target_that_nobody_froze(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["predictor"](real(i)), it.target(real(i))))


def with_features(fixed: bool) -> It:
    G = mlp(2, 2)
    it = It(fixed=fixed, nets={"G": G}, optimizers={"G": sgd(G)})
    it.features = mlp(2, 3).requires_grad_(not fixed)
    return it


@loop(waste="ownership", build=with_features, intended=None, advice="fixed net, freeze it")
def a_perceptual_net_that_judges_both(it: It, i: int) -> None:
    """What is wanted of it is computed without gradients."""
    fake = it.nets["G"](noise(i))
    with torch.no_grad():
        wanted = it.features(real(i))
    step(it, "G", mse_loss(it.features(fake), wanted))


class Tower(nn.Module):
    """A part below, and one above it."""

    def __init__(self, high: nn.Module) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(2, 2), high

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.high(self.low(x).relu())
        return out


def tower(net: Tower, held: nn.Module) -> It:
    return It(fixed=False, nets={"net": net}, optimizers={"opt": sgd(held)})


def with_a_prompt(fixed: bool) -> It:
    net = Tower(nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU(), mlp(2, 2)))
    return tower(net, net.low)


@loop(build=with_a_prompt, intended=None)
def only_a_small_part_below_learns(it: It, i: int) -> None:
    """A prompt in front of a large net that stands still, though nobody froze it."""
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def on_a_random_stem(fixed: bool) -> It:
    net = Tower(mlp(2, 2))
    return tower(net, net.high)


@loop(build=on_a_random_stem, intended=None)
def all_learns_but_a_small_random_stem(it: It, i: int) -> None:
    """It takes the data themselves: random features, on which the rest learns."""
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def of_three_parts_in_eval_mode(fixed: bool) -> It:
    it = of_three_parts(False)
    it.nets["net"].eval()
    return it


@loop(build=of_three_parts_in_eval_mode, intended=None)
def a_middle_part_of_a_net_in_eval_mode(it: It, i: int) -> None:
    """It is fine-tuned around what stands still."""
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def with_an_adapter_in_eval_mode(fixed: bool) -> It:
    it = with_a_teacher(False)
    it.align.eval().requires_grad_(not fixed)
    return it


@loop(
    waste="ownership",
    build=with_an_adapter_in_eval_mode,
    intended=None,
    advice="fixed net, freeze it",
)
def a_fixed_adapter_that_is_in_eval_mode(it: It, i: int) -> None:
    """A random projection, which nobody froze."""
    step(it, "opt", distilled(it, "opt", i))


def in_groups(net: Whole, first: Iterable[Tensor]) -> It:
    """A rate for each part, as people have it."""
    groups: list[dict[str, Any]] = [{"params": first, "lr": 0.1}, {"params": net.enc.parameters()}]
    return It(fixed=False, nets={"net": net}, optimizers={"opt": optim.SGD(groups, lr=0.05)})


def with_what_is_left(fixed: bool) -> It:
    """All but the encoder; they are counted first, and an iterator is empty after that."""
    net = Whole()
    own = {*net.enc.parameters()}
    rest: Iterable[Tensor] = filter(lambda p: p not in own, net.parameters())
    rest = list(rest) if fixed else rest
    assert sum(p.numel() for p in rest) == 62
    it = in_groups(net, rest)
    it.fixed = fixed
    return it


def rebuilt(it: It, who: str, i: int) -> Tensor | None:
    return mse_loss(it.nets["net"](real(i)), real(i)) if it.fixed else None


@loop(
    ("ownership", "net"),
    build=with_what_is_left,
    intended=rebuilt,
    says="mid.weight, mid.bias, dec.0.weight and 3 more of net.* A group of opt holds nothing",
    advice="Hand it a list",
    source="https://github.com/SSL92/hyperIQA/issues/32",
)
def an_iterator_that_was_used_up(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def on_what_was_loaded(fixed: bool) -> It:
    """A switch says that the upper part stands still: its group stays, and gets nothing."""
    net = Whole()
    net.load_state_dict(Whole().state_dict())
    for part in (net.mid, net.dec):
        part.requires_grad_(not fixed)
    return in_groups(net, [])


@loop(waste="ownership", build=on_what_was_loaded, intended=None, advice="stand still, freeze them")
def an_empty_group_beside_what_was_loaded(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def on_random_features(fixed: bool) -> It:
    """The same switch for the part below, which is as it was made: random features, perhaps."""
    net = Whole()
    net.enc.requires_grad_(not fixed)
    groups: list[dict[str, Any]] = [
        {"params": [], "lr": 0.1},
        {"params": [*net.mid.parameters(), *net.dec.parameters()]},
    ]
    return It(fixed=fixed, nets={"net": net}, optimizers={"opt": optim.SGD(groups, lr=0.05)})


@loop(waste="ownership", build=on_random_features, intended=None, advice="stand still, freeze them")
def an_empty_group_beside_random_features(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))


def without_a_bias(fixed: bool) -> It:
    """A group for what has one number a unit, of which there is nothing here."""
    net = nn.Sequential(nn.Linear(2, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    flat = [p for p in net.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": flat, "weight_decay": 0.0},
        {"params": net.parameters()},
    ]
    return It(fixed=False, nets={"net": net}, optimizers={"opt": optim.SGD(groups, lr=0.05)})


@loop(build=without_a_bias, intended=lambda it, who, i: mse_loss(it.nets["net"](real(i)), real(i)))
def an_empty_group_where_all_is_held(it: It, i: int) -> None:
    step(it, "opt", mse_loss(it.nets["net"](real(i)), real(i)))
