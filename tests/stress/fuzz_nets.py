"""Nets of all kinds, put together at random: each block takes and gives (batch, WIDTH)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

WIDTH = 4


class Does(nn.Module):
    """A few layers, and what is done with them."""

    def __init__(self, how: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        self.how = how
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


class Square(torch.autograd.Function):
    """A function of one's own, with a backward of one's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad


def linear() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


def tied() -> nn.Module:
    first, second = linear(), linear()
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def frozen() -> nn.Module:
    return linear().requires_grad_(False)


def without_gradient(net: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return x + net.a(x)


def recomputed(reentrant: bool) -> nn.Module:
    return Does(
        lambda net, x: checkpoint(net.a, x, use_reentrant=reentrant),
        a=nn.Sequential(linear(), nn.Dropout(0.2), nn.BatchNorm1d(WIDTH)),
    )


def old_norm(kind: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # it warns of its age, and draws
        layer: nn.Module = kind(linear())
    return layer


def attention() -> nn.Module:
    return Does(
        lambda net, x: net.a(x[:, None], x[:, None], x[:, None])[0][:, 0],
        a=nn.MultiheadAttention(WIDTH, 2, dropout=0.1, batch_first=True),
    )


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "linear": linear,
    "linear, relu in place": lambda: nn.Sequential(linear(), nn.ReLU(inplace=True)),
    "leaky": lambda: nn.Sequential(linear(), nn.LeakyReLU(0.2)),
    "batch norm": lambda: nn.Sequential(linear(), nn.BatchNorm1d(WIDTH)),
    "batch norm without weights": lambda: nn.BatchNorm1d(WIDTH, affine=False),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
    "group norm": lambda: nn.GroupNorm(2, WIDTH),
    "dropout": lambda: nn.Dropout(0.3),
    "tied": tied,
    "twice": lambda: Does(lambda net, x: net.a(torch.tanh(net.a(x))), a=linear()),
    "frozen": frozen,
    "lazy": lambda: nn.LazyLinear(WIDTH),
    "complex": lambda: Does(
        lambda net, x: net.a(x.to(torch.complex64)).abs().to(x.dtype),
        a=nn.Linear(WIDTH, WIDTH, dtype=torch.complex64),
    ),
    "spectral norm": lambda: parametrizations.spectral_norm(linear()),
    "weight norm": lambda: parametrizations.weight_norm(linear()),
    "orthogonal": lambda: parametrizations.orthogonal(linear()),
    "old spectral norm": lambda: old_norm(nn.utils.spectral_norm),
    "old weight norm": lambda: old_norm(nn.utils.weight_norm),
    "conv1d": lambda: Does(lambda net, x: net.a(x[:, None])[:, 0], a=nn.Conv1d(1, 1, 3, 1, 1)),
    "conv2d": lambda: Does(
        lambda net, x: net.a(x.view(len(x), 1, 2, 2)).flatten(1),
        a=nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1)),
    ),
    "transposed conv": lambda: Does(
        lambda net, x: net.a(x[:, :, None, None]).flatten(1)[:, :WIDTH],
        a=nn.ConvTranspose2d(WIDTH, 1, 2),
    ),
    "rnn": lambda: Does(lambda net, x: net.a(x[:, None])[0][:, 0], a=nn.RNN(WIDTH, WIDTH)),
    "gru": lambda: Does(
        lambda net, x: net.a(x[:, None])[0][:, 0], a=nn.GRU(WIDTH, WIDTH, batch_first=True)
    ),
    "lstm": lambda: Does(
        lambda net, x: net.a(x[:, :, None])[0][:, :, 0], a=nn.LSTM(1, 1, batch_first=True)
    ),
    "attention": attention,
    "transformer": lambda: Does(
        lambda net, x: net.a(x[:, None])[:, 0],
        a=nn.TransformerEncoderLayer(WIDTH, 2, 8, batch_first=True),
    ),
    "embedding": lambda: Does(
        lambda net, x: x + net.a((x[:, 0] > 0).long()), a=nn.Embedding(2, WIDTH)
    ),
    "sparse embedding": lambda: Does(
        lambda net, x: x + net.a((x[:, 0] > 0).long()), a=nn.Embedding(2, WIDTH, sparse=True)
    ),
    "own function": lambda: Does(lambda net, x: Square.apply(net.a(x)), a=linear()),
    "checkpoint": lambda: recomputed(False),
    "reentrant checkpoint": lambda: recomputed(True),
    "no grad inside": lambda: Does(without_gradient, a=linear()),
    "detach inside": lambda: Does(lambda net, x: net.a(x.detach()) + x, a=linear()),
    "never used": lambda: Does(lambda net, x: x * 1, a=linear()),
    "a number": lambda: Does(lambda net, x: x * net.w, w=nn.Parameter(torch.tensor(0.5))),
    "an empty weight": lambda: Does(
        lambda net, x: x + net.w.sum(), w=nn.Parameter(torch.zeros(0, 3))
    ),
    "list of weights": lambda: Does(
        lambda net, x: x * net.ws[0] + net.ws[1],
        ws=nn.ParameterList([torch.ones(WIDTH), torch.zeros(WIDTH)]),
    ),
    "residual": lambda: Does(lambda net, x: x + torch.tanh(net.a(x)), a=linear()),
    "views": lambda: Does(lambda net, x: torch.cat([*net.a(x).split(2, 1)][::-1], 1), a=linear()),
    "in place": lambda: Does(lambda net, x: net.a(x).add_(1).mul_(0.5), a=linear()),
}

FORMS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, x.detach()),
    "dict": lambda x: {"out": x, "more": [x * 2]},
}


class Net(nn.Module):
    """Blocks one after another, a last layer, and an output of some form."""

    def __init__(self, blocks: list[str], last: nn.Module, form: str) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(BLOCKS[name]() for name in blocks))
        self.last, self.form = last, form

    def forward(self, x: Tensor) -> Any:
        return FORMS[self.form](self.last(self.blocks(x)))


def first(output: Any) -> Tensor:
    """The tensor in whatever a net gave."""
    if isinstance(output, dict):
        output = output["out"]
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def random_net(random_: random.Random, width_out: int, plain: bool) -> tuple[Net, str]:
    """A net, and its blocks in words. plain: what gives a tensor, as a ``Gan`` asks for."""
    blocks = random_.choices(list(BLOCKS), k=random_.choice((0, 1, 1, 2, 3)))
    form = "tensor" if plain else random_.choice(list(FORMS))
    last = nn.Linear(WIDTH, width_out)
    if random_.random() < 0.1:
        last.bias.requires_grad_(False)
    return Net(blocks, last, form), f"{' + '.join(blocks) or 'one layer'} -> {form}"
