"""Does a strategy train? Clusters in the plane, many seeds at once, and a score that is no loss.

The clusters are a ring of 8 or a grid of 25."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import pi
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_lessons.data import batch, rng
from gan_lessons.data import noise as normal_noise
from gan_lessons.gan import Gan
from gan_lessons.losses import bce_with_logits
from gan_lessons.many_seeds import StackedNet, stacked
from gan_lessons.models import Discriminator, Generator
from gan_lessons.put_back import seeded
from gan_lessons.strategies import Step

MODES, STD, BATCH, NOISE_SCALE = 8, 0.05, 256, 2.0
Device = torch.device | str
Stages = Sequence[tuple[float, int]]  # learning rate, number of steps
STAGES: Stages = ((2e-3, 1500), (8e-4, 750), (2e-4, 750))


def ring_gan(seed: int, lr: float = 2e-3, betas: tuple[float, float] = (0.5, 0.999)) -> Gan:
    """2-64-64-2 against 2-64-64-1, on logits, with Adam; noise (batch, 2) -> points (batch, 2)."""
    with seeded(seed):
        G, D = Generator(2, (2,), (64, 64)), Discriminator((2,), (64, 64), logits=True)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr, betas=betas) for net in (G, D))
    return Gan(G, D, opt_g, opt_d, bce_with_logits)


@dataclass(frozen=True)
class Clusters:
    """Equally many points around each of some places, normally spread.

    centres: (clusters, 2). std: of both coordinates, alike for all.
    """

    centres: Tensor
    std: float

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, 2)."""
        return batch(self.centres, n, generator) + self.std * normal_noise(n, (2,), generator)


def ring_of_8(std: float = STD) -> Clusters:
    """What ``data.ring`` draws, to the last bit."""
    angle = 2 * pi * torch.arange(MODES) / MODES
    return Clusters(0.8 * torch.stack([angle.cos(), angle.sin()], 1), std)


def grid(side: int = 5, std: float = 0.03) -> Clusters:
    """side x side places, from -0.8 to 0.8. With 5 and 0.03 the clusters are about as narrow,
    measured by their distance, as those of the ring."""
    line = torch.linspace(-0.8, 0.8, side)
    return Clusters(torch.cartesian_prod(line, line), std)


@dataclass(frozen=True)
class Score:
    """``modes``: of all clusters (``of``), how many have at least a quarter of their fair share of
    good samples. ``good``: share of samples within 3 standard deviations of a cluster's centre."""

    modes: int
    good: float
    of: int = MODES

    @property
    def passed(self) -> bool:
        """All modes, and at least 90 % good samples."""
        return self.modes == self.of and self.good >= 0.9


def score(samples: Tensor, clusters: Clusters | None = None) -> Score:
    """Of samples (n, 2) against these clusters; left out: the ring."""
    clusters = clusters or ring_of_8()
    distance, mode = torch.cdist(samples, clusters.centres).min(1)
    good, count = distance <= 3 * clusters.std, len(clusters.centres)
    counts = torch.bincount(mode[good], minlength=count)
    found = int((counts >= len(samples) / count / 4).sum())
    return Score(found, float(good.double().mean()), count)


class Seeds:
    """GANs with the seeds 0 ... n - 1, trained at once by one step; each has its own batches.

    Every device sees the same weights, batches and noise: they are drawn on the CPU.
    """

    def __init__(
        self,
        n: int,
        make: Callable[[int], Gan] = ring_gan,
        clusters: Clusters | None = None,
        device: Device = "cpu",
    ) -> None:
        self.gan, self.clusters = (
            stacked([make(seed) for seed in range(n)]),
            clusters or ring_of_8(),
        )
        self.device = torch.device(device)
        for net in self.gan.nets.values():
            net.to(self.device)  # in place: the optimizers hold the same parameters
        self._generators = [rng(1000 + seed) for seed in range(n)]

    def nets(self, seed: int) -> tuple[nn.Module, nn.Module]:
        """Copies of generator and discriminator of one seed, as they are now."""
        G, D = self.gan.generator, self.gan.discriminator
        assert isinstance(G, StackedNet)
        assert isinstance(D, StackedNet)
        return G.net(seed), D.net(seed)

    def batch(self) -> tuple[Tensor, Tensor]:
        """real and noise, (seeds, batch, 2) each."""
        reals = [self.clusters.draw(BATCH, g) for g in self._generators]
        noises = [NOISE_SCALE * normal_noise(BATCH, (2,), g) for g in self._generators]
        real, noise = (torch.stack(drawn).to(self.device) for drawn in (reals, noises))
        return real, noise

    def samples(self, n: int = 2000) -> Tensor:
        """(seeds, n, 2), from the same noise at every call."""
        draws = [
            NOISE_SCALE * normal_noise(n, (2,), 5000 + i) for i in range(len(self._generators))
        ]
        with torch.no_grad():
            made: Tensor = self.gan.generator(torch.stack(draws).to(self.device))
        return made

    def scores(self) -> list[Score]:
        """One for each seed."""
        return [score(samples, self.clusters) for samples in self.samples().cpu()]

    def train(
        self, step: Step, stages: Stages = STAGES, look_at: Sequence[int] = ()
    ) -> Mapping[int, list[Score]]:
        """Train through the stages; number of steps -> the scores of all seeds, at ``look_at`` and
        at the end."""
        found: dict[int, list[Score]] = {}
        done = 0
        for lr, steps in stages:
            for optimizer in self.gan.optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = lr
            for _ in range(steps):
                step(self.gan, *self.batch())
                done += 1
                if done in look_at:
                    found[done] = self.scores()
        return {**found, done: self.scores()}


# Scores that long runs have left behind; ``benchmarks/ring.py`` makes them anew.
KEPT = Path(__file__).with_name("ring_scores.json")
Kept = dict[str, dict[str, dict[int, list[Score]]]]


def ring_scores(path: Path = KEPT) -> Kept:
    """Setting -> "S2" or "S3" -> number of steps -> one score for each seed, as they were kept."""
    settings = json.loads(path.read_text(encoding="utf-8"))["settings"] if path.exists() else {}
    return {
        setting: {
            name: {int(steps): [Score(*s) for s in scores] for steps, scores in by_steps.items()}
            for name, by_steps in strategies.items()
        }
        for setting, strategies in settings.items()
    }


def measured_on(path: Path = KEPT) -> str:
    """The device that made these scores, in words."""
    device: str = json.loads(path.read_text(encoding="utf-8"))["device"]
    return device


def keep_scores(kept: Kept, device: str, path: Path = KEPT) -> None:
    """Write scores beside those of other settings, a line for each setting."""
    lines = [
        f"  {json.dumps(setting)}: {json.dumps(strategies, default=astuple)}"
        for setting, strategies in {**ring_scores(path), **kept}.items()
    ]
    text = ",\n".join(lines)
    path.write_text(
        f'{{\n "device": {json.dumps(device)},\n "settings": {{\n{text}\n }}\n}}\n',
        encoding="utf-8",
    )
