"""What `train` costs over a bare loop that does the same: aimed at, at most 1.03 times.

python benchmarks/train.py           # about a minute: the ratio, its quartiles
python benchmarks/train.py --quick   # seconds: does it run?

The bare loop draws the batch and the noise, and calls the step; nothing else. Both take turns,
block by block, so that a busy moment hits both; a ratio is taken within each pair of blocks.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from gan_lessons import Gan, data, mlp_gan, step_detach
from gan_lessons.train import train

BATCH, BLOCK = 64, 100  # images, steps


def bare(gan: Gan, images: torch.Tensor, seed: int) -> None:
    order = data.rng(seed)
    for _ in range(BLOCK):
        step_detach(gan, data.batch(images, BATCH, order), data.noise(BATCH, (32,), order))


def trained(gan: Gan, images: torch.Tensor, seed: int) -> None:
    train(gan, images, step_detach, steps=BLOCK, batch_size=BATCH, seed=seed, progress=False)


def seconds(run: Callable[[Gan, torch.Tensor, int], None], *arguments: object) -> float:
    start = time.process_time()  # of this process: others on the machine do not count
    run(*arguments)  # type: ignore[arg-type]
    return time.process_time() - start


def ratios(rounds: int, width: int) -> list[float]:
    """train() / bare loop, one for each round, in turns."""
    images, found = data.digits(), []
    gans = [mlp_gan(hidden_g=(width, width), hidden_d=(width, width)) for _ in range(2)]
    for number in range(rounds + 1):
        taken = {}
        order = (bare, trained) if number % 2 else (trained, bare)
        for run in order:
            taken[run] = seconds(run, gans[run is trained], images, number)
        found.append(taken[trained] / taken[bare])
    return found[1:]  # the first one warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run?")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    for width in (128, 512):
        found = ratios(3 if quick else 40, width)
        low, middle, high = statistics.quantiles(found, n=4)
        print(
            f"two hidden layers of {width}, batch {BATCH}: train() takes {middle:.3f} times the "
            f"bare loop [{low:.3f}, {high:.3f}: quartiles of {len(found)} rounds]"
        )


if __name__ == "__main__":
    main()
