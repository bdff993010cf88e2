"""What recording costs: a plain step against the same step under ``record``, taken in turn.

python benchmarks/record.py            # about half a minute; prints a table
python benchmarks/record.py --quick    # does it run?

A ratio is the median over rounds of (time recorded / time plain in the same round), so that a busy
moment hits both alike. One thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gan_lessons import Gan, data, dcgan, mlp_gan, record, step_detach


def mlp() -> tuple[Gan, Tensor, Tensor]:
    """Widths 64 / 512, batch 64, images of 784 values."""
    gan = mlp_gan((784,), 64, (64, 64), (512, 512), logits=True)
    return gan, data.noise(64, (784,), seed=1), data.noise(64, (64,), seed=2)


def conv() -> tuple[Gan, Tensor, Tensor]:
    """DCGAN for 64x64 images, width 32, batch 8."""
    gan = dcgan(64, 3, 100, width=32, batchnorm=False, logits=True)
    return gan, data.noise(8, (3, 64, 64), seed=1), data.noise(8, (100,), seed=2)


def recorded(gan: Gan, real: Tensor, noise: Tensor) -> None:
    with record(gan.nets, gan.optimizers):
        step_detach(gan, real, noise)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compared(make: Callable[[], tuple[Gan, Tensor, Tensor]], rounds: int) -> str:
    """``11.2 ms plain, 18.3 ms recorded, ratio 1.63 [1.58, 1.70]``"""
    batch = make()
    taken = []
    for number in range(rounds + 3):
        pair = seconds(lambda: step_detach(*batch)), seconds(lambda: recorded(*batch))
        if number >= 3:  # the first runs fill caches
            taken.append(pair)
    plain, under = (statistics.median(times) for times in zip(*taken, strict=True))
    ratios = [b / a for a, b in taken]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return (
        f"{plain * 1e3:.1f} ms plain, {under * 1e3:.1f} ms recorded, "
        f"ratio {middle:.2f} [{low:.2f}, {high:.2f}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run?")
    rounds = 3 if parser.parse_args().quick else 60
    torch.set_num_threads(1)
    for name, make in (("MLP 64 / 512, batch 64", mlp), ("DCGAN 64x64, width 32, batch 8", conv)):
        print(f"{name}: {compared(make, rounds)}", flush=True)


if __name__ == "__main__":
    main()
