"""Alternating against simultaneous on 8 x 8 digits: eight seeds, by a score that is no loss.

python benchmarks/digit_scores.py            # minutes of one core: the table in docs/dynamics.md
python benchmarks/digit_scores.py --quick    # seconds: does it run? Writes nothing

The Frechet distance is taken on features of a classifier that is trained first, as in lesson 07;
small is good. Both strategies start from the same weights and see the same batches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from between_markers import put_between
from ring import DOCS, STRATEGIES
from sklearn.datasets import load_digits

from gan_lessons import data, mlp_gan
from gan_lessons.digit_score import frechet_distance, train_features
from gan_lessons.many_seeds import bootstrap_interval, sign_flip_p
from gan_lessons.train import sample, train

LOOK_AT = (400, 1600)
HEAD = """| steps | Frechet distance with S2 | with S3 | S2 minus S3 | p |
|---|---|---|---|---|
"""


def distances(seeds: int, look_at: Sequence[int]) -> dict[str, dict[int, list[float]]]:
    """Strategy -> number of steps -> one Frechet distance for each seed."""
    digits, labels = data.digits(), torch.tensor(load_digits().target)
    net = train_features(digits, labels)
    with torch.no_grad():
        real = net.features(digits)
    found = {name: {steps: [0.0] * seeds for steps in look_at} for name in STRATEGIES}
    for seed in range(seeds):
        for name, step in STRATEGIES.items():
            gan, done = mlp_gan((1, 8, 8), lr=2e-3, seed=seed), 0
            for steps in look_at:
                train(gan, digits, step, steps=steps - done, seed=seed + done, progress=False)
                done = steps
                fake = sample(gan.generator, data.noise(1000, (32,), seed=99))
                with torch.no_grad():
                    found[name][steps][seed] = float(frechet_distance(real, net.features(fake)))
        print(f"seed {seed} done", flush=True)
    return found


def told(values: Sequence[float], sign: str = "") -> str:
    low, high = bootstrap_interval(values)
    mean = sum(values) / len(values)
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def row(steps: int, s2: Sequence[float], s3: Sequence[float]) -> str:
    gaps = [a - b for a, b in zip(s2, s3, strict=True)]
    cells = [f"{steps:,}", told(s2), told(s3), told(gaps, "+"), f"{sign_flip_p(gaps):.3f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run? Writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    look_at = (2, 4) if quick else LOOK_AT
    found = distances(2 if quick else 8, look_at)
    table = HEAD + "\n".join(row(n, found["S2"][n], found["S3"][n]) for n in look_at)
    print(table)
    if not quick:
        put_between(DOCS, "digits", table)


if __name__ == "__main__":
    main()
