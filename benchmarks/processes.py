"""What a step sends, and how long it takes on one process and on two of this machine.

python benchmarks/processes.py                                     # two minutes: prints it
python benchmarks/processes.py --markdown docs/many-processes.md   # and puts it there

Bytes are counted where gradients are handed over; times are medians, one process and two in turns.
The last table is paper: counted FLOPs and bytes, and a wire and a GPU that are assumed.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Mapping
from pathlib import Path

import torch
from between_markers import put_between

from gan_lessons import STRATEGIES, dcgan
from gan_lessons.lens.cost import counting
from gan_lessons.process_pool import Processes
from gan_lessons.rank_trials import (
    Trial,
    all_trials,
    milliseconds_to_send,
    seconds_per_step,
    small_gan,
)

BATCHES = (64, 256, 1024, 4096)
TIMED = ("detach", "generator_first", "selective", "one_stage")
GPUS, WIRE, SPEED = 8, 100e9 / 8, 20e12  # assumed: bytes and FLOPs per second


def times_sent(
    table: Mapping[tuple[str, str], Trial],
) -> dict[tuple[str, str], dict[str, float]]:
    """(strategy, way) -> net -> how often its gradient travels in one step."""
    size = {net: sum(p.nbytes for p in n.parameters()) for net, n in small_gan().nets.items()}
    return {
        (key, way): {net: table[key, way].sent[net] / size[net] for net in size}
        for key in STRATEGIES
        for way in ("hook", "DDP")
    }


def sent_table(times: dict[tuple[str, str], dict[str, float]]) -> list[str]:
    lines = [
        "| strategy | this package: G, D | DDP around each net: G, D |",
        "|---|---|---|",
    ]
    for key, strategy in STRATEGIES.items():
        cells = [f"{times[key, w]['G']:g}, {times[key, w]['D']:g}" for w in ("hook", "DDP")]
        lines.append(f"| {strategy.title} | {' | '.join(cells)} |")
    return lines


def time_table(both: Processes, rounds: int) -> list[str]:
    lines = [
        f"| batch | {' | '.join(STRATEGIES[key].title for key in TIMED)} |",
        f"|---|{'---|' * len(TIMED)}",
    ]
    for batch in BATCHES:
        cells = []
        for key in TIMED:
            taken = [
                (
                    both.run(seconds_per_step, key, batch, 10, True)[0],
                    max(both.run(seconds_per_step, key, batch, 10)),
                )
                for _ in range(rounds)
            ]
            alone, shared = (statistics.median(column) for column in zip(*taken, strict=True))
            cells.append(f"{alone * 1e3:.1f} ms, {shared * 1e3:.1f} ms ({alone / shared:.2f})")
        lines.append(f"| {batch:,} | {' | '.join(cells)} |")
    return lines


def paper_table(times: dict[tuple[str, str], dict[str, float]]) -> list[str]:
    """A DCGAN for 64 x 64 images: work and sending for each share of the batch."""
    big = dcgan(64)
    size = {name: sum(p.nbytes for p in net.parameters()) for name, net in big.nets.items()}
    with counting(big.nets) as counted:
        STRATEGIES["detach"].step(big, torch.rand(4, 3, 64, 64), torch.randn(4, 100))
    flops = sum(work.flops for work in counted.work) / 4
    ways = ("hook", "DDP")
    sending = {
        way: milliseconds_to_send(
            sum(times["detach", way][net] * size[net] for net in size), GPUS, WIRE
        )
        for way in ways
    }
    lines = [
        f"S2 with a DCGAN for 64 x 64 images: G {size['G'] / 1e6:.1f} MB, D {size['D'] / 1e6:.1f} "
        f"MB, {flops / 1e9:.2f} GFLOP an image. {GPUS} GPUs of {SPEED / 1e12:.0f} TFLOP/s on a "
        f"wire of {WIRE * 8 / 1e9:.0f} Gbit/s, both assumed. Sending takes "
        f"{sending['hook']:.1f} ms a step with this package, {sending['DDP']:.1f} ms with DDP.",
        "",
        "| images a GPU | batch | work | share of sending: this package | DDP, if it hid nothing |",
        "|---|---|---|---|---|",
    ]
    for share in (8, 32, 128, 512):
        work = flops * share / SPEED * 1e3
        cells = [f"{sending[way] / (sending[way] + work):.0%}" for way in ways]
        lines.append(f"| {share} | {share * GPUS:,} | {work:.1f} ms | {' | '.join(cells)} |")
    return lines


def report(rounds: int) -> str:
    start = os.getloadavg()[0]
    with Processes(2) as both:
        times = times_sent(both.run(all_trials)[0])
        clock = time_table(both, rounds)
    return "\n".join(
        [
            "How often each net's gradient travels in one step, counted:",
            "",
            *sent_table(times),
            "",
            f"Time of a step of MLPs 256 wide: one process, two processes (and how many times as "
            f"fast). {os.cpu_count()} cores, torch {torch.__version__.partition('+')[0]}, one "
            f"thread each, load {start:.1f} at the start; medians of {rounds} turns of 10 steps.",
            "",
            *clock,
            "",
            *paper_table(times),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--markdown", type=Path, help="a page with places marked for it")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    text = report(asked.rounds)
    print(text)
    if asked.markdown:
        put_between(asked.markdown, "processes", text)


if __name__ == "__main__":
    main()
