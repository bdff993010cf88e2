"""Many GANs trained at once, as one: the same step functions, one batched model.

Their weights are stacked along a first dimension, `seeds`; nets without BatchNorm do not mix it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from gan_lessons.gan import Gan


class StackedNet(nn.Module):
    """Nets of one architecture side by side: (seeds, batch, ...) -> (seeds, batch, ...)."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        if any(next(net.buffers(), None) is not None for net in nets):
            raise ValueError(
                "nets with buffers (BatchNorm, say) cannot be stacked here; use nets without them"
            )
        weights, _ = stack_module_state(list(nets))
        self._names = list(weights)
        self._base = [copy.deepcopy(nets[0]).to("meta")]  # in a list: its weights are not ours
        self.weights = nn.ParameterList([w.detach().clone() for w in weights.values()])

    def net(self, seed: int) -> nn.Module:
        """A copy of one of the nets, as it is now."""
        single = copy.deepcopy(self._base[0]).to_empty(device=self.weights[0].device)
        single.load_state_dict(
            {name: w[seed] for name, w in zip(self._names, self.weights, strict=True)}
        )
        return single

    def forward(self, given: Tensor) -> Tensor:
        named = dict(zip(self._names, self.weights, strict=True))

        def one(weights: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self._base[0], weights, (x,))

        return vmap(one)(named, given)


def stacked(gans: Sequence[Gan]) -> Gan:
    """One GAN that is all of ``gans``. A step with real and noise (seeds, batch, ...) moves each of
    them as the same step on its own would, up to rounding.

    The loss is the sum over seeds of each one's mean, so no seed's gradient feels another's. The
    optimizers are new ones of the first GAN's kind, whose arithmetic is per weight (SGD, Adam).
    Changes none of ``gans``. Raises ValueError for nets with buffers.
    """
    first = gans[0]
    G = StackedNet([gan.generator for gan in gans])
    D = StackedNet([gan.discriminator for gan in gans])

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        return vmap(first.loss)(prediction, target).sum()

    opt_g, opt_d = (
        type(old)(new.parameters(), **old.defaults)
        for old, new in ((first.optimizer_g, G), (first.optimizer_d, D))
    )
    return Gan(G, D, opt_g, opt_d, loss)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Paired sign-flip test, two-sided and exact: were both sides alike, each difference could as
    well have had the other sign. The share of all 2^n sign patterns whose mean is at least as far
    from 0 as the one that was seen."""
    d = torch.tensor(differences, dtype=torch.float64)
    n = len(d)
    bits = torch.arange(2**n).unsqueeze(1) >> torch.arange(n) & 1
    means = ((1 - 2 * bits).double() @ d / n).abs()
    return float((means >= d.mean().abs() - 1e-12).double().mean())


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean: its 2.5 % and 97.5 % quantiles over 10,000 redrawn samples."""
    v = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    drawn = v[torch.randint(len(v), (10_000, len(v)), generator=generator)].mean(1)
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
