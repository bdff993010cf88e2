"""What a step on two MLPs must cost, worked out by hand; counting agrees to the last FLOP.

One layer (batch, n) -> (batch, m) costs 2 * batch * n * m FLOPs forward, as many for the gradient
of its weights, and as many for the gradient at its input. So for a whole net, with F the FLOPs of
its forward and I those of its first layer alone:

    forward F  |  gradients of the weights F  |  gradients at the inputs of the layers F,
                                                 or F - I where nobody wants the first one

What is left is to count how often a step does each of these, which is the table ``PASSES``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType


@dataclass(frozen=True)
class NetFlops:
    """FLOPs of one MLP on one batch. ``forward``: F, ``first``: I, its first layer's share of F."""

    forward: int
    first: int

    @classmethod
    def of(cls, sizes: Sequence[int], batch: int) -> NetFlops:
        """sizes: values per sample at the input, after every hidden layer, and at the output.

        Raises ValueError for fewer than two sizes, and for a size or a batch below 1.
        """
        if len(sizes) < 2 or batch < 1 or any(n < 1 for n in sizes):
            raise ValueError(
                f"expected at least two layer sizes and a batch, all of at least 1; got {sizes} "
                f"and batch {batch}"
            )
        layers = [2 * batch * n * m for n, m in pairwise(sizes)]
        return cls(sum(layers), layers[0])


@dataclass(frozen=True)
class Passes:
    """How often one step does each part of the work in one net.

    ``forwards``; ``weights``: backwards that compute the gradients of its weights; ``inputs``:
    backwards that pass through its layers; ``first``: those that go on to the net's own input.
    """

    forwards: int
    weights: int
    inputs: int
    first: int

    @property
    def factors(self) -> tuple[int, int]:
        """(a, b), so that the FLOPs are a * F + b * I."""
        return self.forwards + self.weights + self.inputs, self.first - self.inputs

    def flops(self, net: NetFlops) -> int:
        a, b = self.factors
        return a * net.forward + b * net.first


_G = Passes(1, 1, 1, 0)  # in every step but the first: G runs once, and is walked once
# strategy -> (G, D). In D count the fakes and the real images apart: two passes in each phase of D.
PASSES: Mapping[str, tuple[Passes, Passes]] = MappingProxyType(
    {
        "retain_graph": (Passes(1, 2, 2, 0), Passes(2, 3, 3, 2)),
        "detach": (_G, Passes(3, 3, 3, 1)),
        "generator_first": (_G, Passes(3, 3, 3, 1)),
        "frozen": (_G, Passes(3, 2, 3, 1)),
        "selective": (_G, Passes(2, 2, 3, 1)),
        "one_stage": (_G, Passes(2, 2, 2, 1)),
    }
)


def step_flops(strategy: str, generator: NetFlops, discriminator: NetFlops) -> int:
    """FLOPs of one step of this strategy on two MLPs. Raises KeyError for an unknown strategy."""
    of_g, of_d = _passes(strategy)
    return of_g.flops(generator) + of_d.flops(discriminator)


def written_out(strategy: str) -> str:
    """The same as a formula: ``3 F_G - I_G + 9 F_D - 2 I_D``."""
    text = ""
    for passes, net in zip(_passes(strategy), "GD", strict=True):
        for count, what in zip(passes.factors, "FI", strict=True):
            times = f"{abs(count)} " if abs(count) != 1 else ""
            text += f" {'-' if count < 0 else '+'} {times}{what}_{net}" if count else ""
    return text.removeprefix(" + ")


def _passes(strategy: str) -> tuple[Passes, Passes]:
    if strategy not in PASSES:
        raise KeyError(f"no formula for {strategy!r}; known: {', '.join(PASSES)}")
    return PASSES[strategy]
