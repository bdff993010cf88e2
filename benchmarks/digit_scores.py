"""Alternating against simultaneous on 8 x 8 digits: eight seeds, by a score that is no loss.

python benchmarks/digit_scores.py            # minutes of one core: trains, keeps every distance
python benchmarks/digit_scores.py --table    # the table in docs/dynamics.md, from those

The Frechet distance is taken on features of a classifier that is trained first, as in lesson 07;
small is good. Both strategies start from the same weights and see the same batches.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from between_markers import put_between
from ring import DOCS, STRATEGIES
from sklearn.datasets import load_digits

from gan_lessons import data, mlp_gan
from gan_lessons.digit_score import frechet_distance, train_features
from gan_lessons.many_seeds import bootstrap_interval, sign_flip_p
from gan_lessons.train import sample, train

KEPT = Path(__file__).with_suffix(".json")
SEEDS, LOOK_AT = 8, (400, 1600)
Distances = Mapping[str, Mapping[str, Sequence[float]]]  # strategy -> steps -> one for each seed
HEAD = """| steps | Frechet distance with S2 | with S3 | S2 minus S3 | p |
|---|---|---|---|---|
"""


def distances(seeds: int, look_at: Sequence[int]) -> Distances:
    """Train every seed with both strategies, and look at these numbers of steps."""
    digits, labels = data.digits(), torch.tensor(load_digits().target)
    net = train_features(digits, labels)
    with torch.no_grad():
        real = net.features(digits)
    found = {name: {str(steps): list[float]() for steps in look_at} for name in STRATEGIES}
    for seed in range(seeds):
        for name, step in STRATEGIES.items():
            gan, done = mlp_gan((1, 8, 8), lr=2e-3, seed=seed), 0
            for steps in look_at:
                train(gan, digits, step, steps=steps - done, seed=seed + done, progress=False)
                done = steps
                fake = sample(gan.generator, data.noise(1000, (32,), seed=99))
                with torch.no_grad():
                    distance = frechet_distance(real, net.features(fake))
                found[name][str(steps)].append(distance)
        print(f"seed {seed} done", flush=True)
    return found


def told(values: Sequence[float], sign: str = "") -> str:
    low, high = bootstrap_interval(values)
    mean = sum(values) / len(values)
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def table(found: Distances) -> str:
    lines = []
    for steps, s2 in found["S2"].items():
        s3 = found["S3"][steps]
        gaps = [a - b for a, b in zip(s2, s3, strict=True)]
        cells = [told(s2), told(s3), told(gaps, "+"), f"{sign_flip_p(gaps):.3f}"]
        lines.append(f"| {int(steps):,} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="only write the table")
    if not parser.parse_args().table:
        torch.set_num_threads(1)
        KEPT.write_text(json.dumps(distances(SEEDS, LOOK_AT)) + "\n", encoding="utf-8")
    put_between(DOCS, "digits", table(json.loads(KEPT.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
