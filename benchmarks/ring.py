"""Alternating against simultaneous on clusters in the plane: ten seeds, intervals, a test.

python benchmarks/ring.py            # about an hour of one core: trains, keeps every score
python benchmarks/ring.py --jobs 2   # the same, two trainings at once
python benchmarks/ring.py --table    # seconds: the tables in docs/dynamics.md, from those scores
python benchmarks/ring.py --quick    # a minute: does it run?
python benchmarks/ring.py --rates    # four minutes: how the learning rate goes down

python benchmarks/ring.py --device cuda --jobs 7 --keep cuda.json    # a GPU; needs torch alone
python benchmarks/ring.py --from cuda.json                           # puts that into the docs

Both strategies start from the same weights and see the same batches, seed by seed, so the
difference is taken seed by seed. Ten seeds are trained at once as one batched model. The scores
go into ``gan_lessons/ring_scores.json``, from which lesson 07 and the docs compute the rest; those
of a GPU go into ``benchmarks/ring_scores_cuda.json``, those of ``--rates`` beside them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from between_markers import put_between

from gan_lessons import Gan, step_detach, step_generator_first
from gan_lessons.dirac import with_r1
from gan_lessons.many_seeds import bootstrap_interval, sign_flip_p
from gan_lessons.ring_study import (
    BATCH,
    KEPT,
    STAGES,
    Clusters,
    Kept,
    Score,
    Seeds,
    Stages,
    grid,
    keep_scores,
    measured_on,
    ring_gan,
    ring_of_8,
    ring_scores,
)

DOCS = Path(__file__).resolve().parents[1] / "docs" / "dynamics.md"
KEPT_CUDA = Path(__file__).with_name("ring_scores_cuda.json")
KEPT_RATES = Path(__file__).with_name("ring_scores_rates.json")
LONG: Stages = ((2e-3, 3000), (8e-4, 1000), (2e-4, 1000))
A_MINUTE: Stages = ((2e-3, 7500), (8e-4, 2250), (2e-4, 2250))  # of one core for each seed, at most
STRATEGIES = {"S2": step_detach, "S3": step_generator_first}


def with_sgd(seed: int, lr: float = 0.05) -> Gan:
    gan = ring_gan(seed)
    opt_g, opt_d = (torch.optim.SGD(net.parameters(), lr) for net in gan.nets.values())
    return replace(gan, optimizer_g=opt_g, optimizer_d=opt_d)


@dataclass(frozen=True)
class Setting:
    name: str
    make: Callable[[int], Gan] = ring_gan
    stages: Stages = STAGES
    look_at: tuple[int, ...] = (500, 1500, 3000)
    gamma: float = 0.0
    clusters: Clusters = field(default_factory=ring_of_8)


SETTINGS: tuple[Setting, ...] = (
    Setting("Adam, betas (0.5, 0.999), three stages"),
    Setting("the same for 5,000 steps", stages=LONG, look_at=(500, 3000, 5000)),
    Setting("5,000 steps and R1, gamma 0.01", stages=LONG, look_at=(500, 3000, 5000), gamma=0.01),
    Setting("Adam, betas (0.9, 0.999)", partial(ring_gan, betas=(0.9, 0.999))),
    Setting("SGD, learning rate 0.05", with_sgd, ((0.05, 3000),)),
    Setting(
        "a tight ring, std 0.02",
        stages=A_MINUTE, look_at=(500, 3000, 7500, 12000), clusters=ring_of_8(0.02),
    ),
    Setting(
        "a grid of 25, std 0.03",
        stages=A_MINUTE, look_at=(500, 3000, 7500, 12000), clusters=grid(),
    ),
)  # fmt: skip
RATES = tuple(
    Setting(f"learning rate {how}", stages=stages, look_at=(500, 1500, 2500, 3000))
    for how, stages in (
        ("2e-3 throughout", ((2e-3, 3000),)),
        ("from 2e-3 to 0, on a line", tuple((2e-3 * (1 - n / 3000), 1) for n in range(3000))),
    )
)
QUICK = (Setting("quick", stages=((2e-3, 20),), look_at=()),)


@dataclass(frozen=True)
class Job:
    """One training of all seeds."""

    setting: Setting
    strategy: str
    seeds: int
    device: str

    def run(self) -> dict[int, list[Score]]:
        """Number of steps -> one score for each seed."""
        torch.set_num_threads(1)
        step, setting = STRATEGIES[self.strategy], self.setting
        chosen = with_r1(step, setting.gamma, BATCH) if setting.gamma else step
        start = time.perf_counter()
        run = Seeds(self.seeds, setting.make, setting.clusters, self.device)
        found = dict(run.train(chosen, setting.stages, setting.look_at))
        seconds = time.perf_counter() - start
        print(f"{setting.name}: {self.strategy} {seconds:.0f} s on {run.device}", flush=True)
        return found


def all_scores(asked: argparse.Namespace) -> Iterator[Kept]:
    """Setting by setting, in both strategies, as they come."""
    chosen = QUICK if asked.quick else RATES if asked.rates else SETTINGS
    settings = [s for s in chosen if asked.only in s.name]
    jobs = [Job(s, name, asked.seeds, asked.device) for s in settings for name in STRATEGIES]
    with ExitStack() as undone:
        found: Iterator[dict[int, list[Score]]] = map(Job.run, jobs)
        if asked.jobs > 1:
            pool = multiprocessing.get_context("spawn").Pool(asked.jobs)
            found = undone.enter_context(pool).imap(Job.run, jobs)
        for setting in settings:
            yield {setting.name: {name: next(found) for name in STRATEGIES}}


def rows(name: str, scores: Mapping[str, Mapping[int, list[Score]]]) -> list[str]:
    return [row(name, steps, scores["S2"][steps], scores["S3"][steps]) for steps in scores["S2"]]


def row(name: str, steps: int, s2: list[Score], s3: list[Score]) -> str:
    difference = [a.good - b.good for a, b in zip(s2, s3, strict=True)]
    low, high = bootstrap_interval(difference)
    mean = sum(difference) / len(difference)
    cells = [
        name, f"{steps:,}", *(told(scores) for scores in (s2, s3)),
        f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]", f"{sign_flip_p(difference):.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def told(scores: list[Score]) -> str:
    """``0.93 [0.90, 0.95]; 7.9 of 8; 10 of 10``: good samples, modes, and who has both."""
    n, good = len(scores), [s.good for s in scores]
    low, high = bootstrap_interval(good)
    modes, passed = sum(s.modes for s in scores) / n, sum(s.passed for s in scores)
    return (
        f"{sum(good) / n:.3f} [{low:.3f}, {high:.3f}]; "
        f"{modes:.1f} of {scores[0].of}; {passed} of {n}"
    )


def table(kept: Kept) -> str:
    return "\n".join(
        [
            "| setting | steps | good samples with S2 | with S3 | S2 minus S3 | p |",
            "|---|---|---|---|---|---|",
            *(line for name, scores in kept.items() for line in rows(name, scores)),
        ]
    )


def write_tables() -> None:
    """Put the tables of what was kept between the markers of the docs."""
    parts = ((KEPT, "ring"), (KEPT_RATES, "ring, rates"), (KEPT_CUDA, "ring on a GPU"))
    for path, part in parts:
        if path.exists():
            told = f"Measured on: {measured_on(path)}.\n\n{table(ring_scores(path))}"
            put_between(DOCS, part, told)


def machine(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return f"{name}, torch {torch.__version__.partition('+')[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="only write the tables")
    parser.add_argument("--from", dest="old", type=Path, help="scores of a GPU, for the docs")
    parser.add_argument("--quick", action="store_true", help="does it run? Keeps nothing")
    parser.add_argument("--rates", action="store_true", help="only other learning rates")
    parser.add_argument("--only", default="", help="only settings whose name holds this")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once")
    parser.add_argument("--keep", type=Path, help="where the scores go; left out: to the others")
    asked = parser.parse_args()
    if asked.old:
        KEPT_CUDA.write_text(asked.old.read_text(encoding="utf-8"), encoding="utf-8")
    elif not asked.table:
        usual = KEPT_RATES if asked.rates else KEPT_CUDA if asked.device == "cuda" else KEPT
        keep = asked.keep or usual
        for found in all_scores(asked):  # each setting is kept at once: it takes long
            print(table(found), flush=True)
            if not asked.quick:
                keep_scores(found, machine(asked.device), keep)
    if not asked.quick and not asked.keep:
        write_tables()


if __name__ == "__main__":
    main()
