"""Alternating against simultaneous on the ring of 8 Gaussians: ten seeds, intervals, a test.

python benchmarks/ring.py            # about half an hour of one core: trains, keeps every score
python benchmarks/ring.py --table    # seconds: the table in docs/dynamics.md, from those scores
python benchmarks/ring.py --quick    # a minute: does it run?

Both strategies start from the same weights and see the same batches, seed by seed, so the
difference is taken seed by seed. Ten seeds are trained at once as one batched model. The scores
go into ``gan_lessons/ring_scores.json``, from which lesson 07 and the docs compute the rest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from gan_lessons import Gan, step_detach, step_generator_first
from gan_lessons.dirac import with_r1
from gan_lessons.many_seeds import bootstrap_interval, sign_flip_p
from gan_lessons.ring_study import (
    BATCH,
    STAGES,
    STD,
    Score,
    Seeds,
    Stages,
    keep_scores,
    ring_gan,
    ring_scores,
)

DOCS = Path(__file__).resolve().parents[1] / "docs" / "dynamics.md"
BEGIN, END = "<!-- ring: begin -->", "<!-- ring: end -->"
LONG: Stages = ((2e-3, 3000), (8e-4, 1000), (2e-4, 1000))


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
    std: float = STD


SETTINGS: tuple[Setting, ...] = (
    Setting("Adam, betas (0.5, 0.999), three stages"),
    Setting("the same for 5,000 steps", stages=LONG, look_at=(500, 3000, 5000)),
    Setting("5,000 steps and R1, gamma 0.01", stages=LONG, look_at=(500, 3000, 5000), gamma=0.01),
    Setting("Adam, betas (0.9, 0.999)", partial(ring_gan, betas=(0.9, 0.999))),
    Setting("SGD, learning rate 0.05", with_sgd, ((0.05, 3000),)),
    Setting("a tight ring, std 0.02", std=0.02),
)


def trained(setting: Setting, seeds: int) -> dict[str, dict[int, list[Score]]]:
    """ "S2" and "S3" -> number of steps -> one score for each seed."""
    found = {}
    for name, step in (("S2", step_detach), ("S3", step_generator_first)):
        chosen = with_r1(step, setting.gamma, BATCH) if setting.gamma else step
        start = time.perf_counter()
        run = Seeds(seeds, setting.make, setting.std)
        found[name] = dict(run.train(chosen, setting.stages, setting.look_at))
        print(f"{setting.name}: {name} {time.perf_counter() - start:.0f} s", flush=True)
    return found


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
    """``0.93 [0.90, 0.95], 10 of 10``: good samples, and who has all modes and 90 % of them."""
    good = [s.good for s in scores]
    low, high = bootstrap_interval(good)
    return (
        f"{sum(good) / len(good):.3f} [{low:.3f}, {high:.3f}], "
        f"{sum(s.passed for s in scores)} of {len(scores)}"
    )


def write_table() -> None:
    """Put the table of what was kept between the markers of the docs."""
    kept = ring_scores()
    table = "\n".join(
        [
            "| setting | steps | good samples with S2 | with S3 | S2 minus S3 | p |",
            "|---|---|---|---|---|---|",
            *(line for name, scores in kept.items() for line in rows(name, scores)),
        ]
    )
    text = DOCS.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    DOCS.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--quick", action="store_true", help="does it run?")
    parser.add_argument("--only", default="", help="only settings whose name holds this")
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.quick:
        quick = Setting("quick", stages=((2e-3, 20),), look_at=())
        print("\n".join(rows(quick.name, trained(quick, asked.seeds))))
        return
    chosen = [s for s in SETTINGS if asked.only in s.name and not asked.table]
    for setting in chosen:
        keep_scores(setting.name, trained(setting, asked.seeds))  # each at once: it takes long
    write_table()


if __name__ == "__main__":
    main()
