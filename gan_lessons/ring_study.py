"""Does a strategy train? A ring of 8 Gaussians, many seeds at once, and a score that is no loss."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from math import pi
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_lessons.data import noise as normal_noise
from gan_lessons.data import ring, rng
from gan_lessons.gan import Gan
from gan_lessons.losses import bce_with_logits
from gan_lessons.many_seeds import StackedNet, stacked
from gan_lessons.models import Discriminator, Generator
from gan_lessons.put_back import seeded
from gan_lessons.strategies import Step

MODES, STD, BATCH, NOISE_SCALE = 8, 0.05, 256, 2.0
Stages = Sequence[tuple[float, int]]  # learning rate, number of steps
STAGES: Stages = ((2e-3, 1500), (8e-4, 750), (2e-4, 750))


def ring_gan(seed: int, lr: float = 2e-3, betas: tuple[float, float] = (0.5, 0.999)) -> Gan:
    """2-64-64-2 against 2-64-64-1, on logits, with Adam; noise (batch, 2) -> points (batch, 2)."""
    with seeded(seed):
        G, D = Generator(2, (2,), (64, 64)), Discriminator((2,), (64, 64), logits=True)
    opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr, betas=betas) for net in (G, D))
    return Gan(G, D, opt_g, opt_d, bce_with_logits)


@dataclass(frozen=True)
class Score:
    """``modes``: of the 8, how many have at least a quarter of their fair share of good samples.
    ``good``: share of samples within 3 standard deviations of a mode."""

    modes: int
    good: float

    @property
    def passed(self) -> bool:
        """All modes, and at least 90 % good samples."""
        return self.modes == MODES and self.good >= 0.9


def score(samples: Tensor, std: float = STD) -> Score:
    """Of samples (n, 2) against the ring that ``data.ring`` draws."""
    angle = 2 * pi * torch.arange(MODES) / MODES
    centres = 0.8 * torch.stack([angle.cos(), angle.sin()], 1)  # (MODES, 2)
    distance, mode = torch.cdist(samples, centres).min(1)
    good = distance <= 3 * std
    counts = torch.bincount(mode[good], minlength=MODES)
    return Score(int((counts >= len(samples) / MODES / 4).sum()), float(good.double().mean()))


class Seeds:
    """GANs with the seeds 0 ... n - 1, trained at once by one step; each has its own batches."""

    def __init__(self, n: int, make: Callable[[int], Gan] = ring_gan, std: float = STD) -> None:
        self.gan, self.std = stacked([make(seed) for seed in range(n)]), std
        self._generators = [rng(1000 + seed) for seed in range(n)]

    def nets(self, seed: int) -> tuple[nn.Module, nn.Module]:
        """Copies of generator and discriminator of one seed, as they are now."""
        G, D = self.gan.generator, self.gan.discriminator
        assert isinstance(G, StackedNet)
        assert isinstance(D, StackedNet)
        return G.net(seed), D.net(seed)

    def batch(self) -> tuple[Tensor, Tensor]:
        """real and noise, (seeds, batch, 2) each."""
        reals = [ring(BATCH, g, MODES, self.std) for g in self._generators]
        noises = [NOISE_SCALE * normal_noise(BATCH, (2,), g) for g in self._generators]
        return torch.stack(reals), torch.stack(noises)

    def samples(self, n: int = 2000) -> Tensor:
        """(seeds, n, 2), from the same noise at every call."""
        draws = [
            NOISE_SCALE * normal_noise(n, (2,), 5000 + i) for i in range(len(self._generators))
        ]
        with torch.no_grad():
            made: Tensor = self.gan.generator(torch.stack(draws))
        return made

    def scores(self) -> list[Score]:
        """One for each seed."""
        return [score(samples, self.std) for samples in self.samples()]

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


# Scores that a long run has left behind; ``benchmarks/ring.py`` makes them anew.
KEPT = Path(__file__).with_name("ring_scores.json")
Kept = dict[str, dict[str, dict[int, list[Score]]]]


def ring_scores() -> Kept:
    """Setting -> "S2" or "S3" -> number of steps -> one score for each seed, as they were kept."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return {
        setting: {
            name: {int(steps): [Score(*s) for s in scores] for steps, scores in by_steps.items()}
            for name, by_steps in strategies.items()
        }
        for setting, strategies in kept.items()
    }


def keep_scores(setting: str, scores: Mapping[str, Mapping[int, list[Score]]]) -> None:
    """Write the scores of one setting beside those of the others."""
    kept = {**ring_scores(), setting: scores}
    plain = {
        one: {
            name: {str(steps): [astuple(s) for s in found] for steps, found in by_steps.items()}
            for name, by_steps in strategies.items()
        }
        for one, strategies in kept.items()
    }
    KEPT.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
