"""What recording costs: a plain step against the same step recorded, on one thread of the CPU.

    python benchmarks/record.py            # about a minute
    python benchmarks/record.py --quick    # does it run? Seconds; says little
    python benchmarks/record.py --device cuda   # on a GPU, by the clock

Both take turns on the same nets. A ratio is the median over rounds of (recorded / plain), in CPU
seconds of the process, which a busy machine disturbs less than the clock. "without pulls": `record`
does not look at the signs of gradients at outputs, for which a GPU has to be waited for.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from gan_lessons import Gan, mlp_gan, record, record_step, step_detach
from gan_lessons.lens.record.pulls import Pulls
from gan_lessons.losses import bce_with_logits
from gan_lessons.models import DCDiscriminator, DCGenerator
from gan_lessons.put_back import seeded


def pairs(quick: bool) -> dict[str, tuple[Gan, int, int]]:
    """Name -> GAN, batch, rounds."""
    if quick:
        return {"MLP 8 / 8, batch 4": (mlp(8, 8), 4, 3), "DCGAN 16x16": (conv(4, 16), 4, 3)}
    return {
        "MLP 64 / 512, batch 64": (mlp(64, 512), 64, 200),
        "DCGAN 64x64, width 32, batch 8": (conv(32, 64), 8, 40),
    }


def mlp(width_g: int, width_d: int) -> Gan:
    return mlp_gan((784,), 64, [width_g] * 2, [width_d] * 2, logits=True)


def conv(width: int, size: int) -> Gan:
    with seeded(0):
        G = DCGenerator(100, size, 3, width)
        D = DCDiscriminator(size, 3, width, batchnorm=False, logits=True)
    return Gan.with_adam(G, D, bce_with_logits)


def plain(gan: Gan, real: Tensor, noise: Tensor, steps: int) -> None:
    for _ in range(steps):
        step_detach(gan, real, noise)


def recorded(gan: Gan, real: Tensor, noise: Tensor, steps: int) -> None:
    with record(gan.nets, gan.optimizers):
        plain(gan, real, noise, steps)


def without_pulls(gan: Gan, real: Tensor, noise: Tensor, steps: int) -> None:
    with patch.object(Pulls, "watch"):
        recorded(gan, real, noise, steps)


def line_by_line(gan: Gan, real: Tensor, noise: Tensor, steps: int) -> None:
    for _ in range(steps):
        record_step(step_detach, gan, real, noise)


WAYS = {
    "record, a step": (recorded, 1),
    "record, five steps": (recorded, 5),
    "the same without pulls": (without_pulls, 5),
    "record_step": (line_by_line, 1),
}


def waited() -> float:
    """Seconds of the clock, when the GPU has done all it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(
    runs: list[Callable[[], None]], rounds: int, now: Callable[[], float]
) -> list[list[float]]:
    """Seconds of each, round by round; who begins changes from round to round."""
    found: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run()  # optimizers make their states, torch and Python their caches
    for i in range(rounds):
        for k in sorted(range(len(runs)), reverse=bool(i % 2)):
            start = now()
            runs[k]()
            found[k].append(now() - start)
    return found


def table(quick: bool, device: str) -> list[str]:
    now = waited if device == "cuda" else time.process_time
    lines = [f"{'':32}{'':22}{'plain':>10}{'recorded':>12}{'ratio':>8}"]
    for name, (gan, n, rounds) in pairs(quick).items():
        shapes: Any = gan.discriminator.in_shape, gan.generator.in_shape
        real, noise = (torch.randn(n, *shape, device=device) for shape in shapes)
        for net in gan.nets.values():
            net.to(device)
        for way, (run, steps) in WAYS.items():
            given = (gan, real.tanh(), noise, steps)
            base, found = in_turns(
                [partial(plain, *given), partial(run, *given)], rounds // steps or 1, now
            )
            ratio = statistics.median(b / a for a, b in zip(base, found, strict=True))
            ms = [1e3 * statistics.median(times) / steps for times in (base, found)]
            lines.append(f"{name:32}{way:22}{ms[0]:7.2f} ms{ms[1]:9.2f} ms{ratio:8.2f}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="does it run?")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("\n".join(table(options.quick, options.device)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
