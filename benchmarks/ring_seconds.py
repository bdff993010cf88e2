"""The ring against seconds: what the updates reach in the time that S2 takes for so many steps.

python benchmarks/ring_seconds.py            # about two minutes: the table in docs/dynamics.md,
                                             # and ring_seconds.json, which it is made of
python benchmarks/ring_seconds.py --quick    # seconds: does it run? Writes nothing

The steps take turns, in blocks; the ratio of their medians is taken block by block, in CPU seconds
of the process, so that a busy machine slows neither alone. One stage is the simultaneous update up
to rounding, so its scores are those of S3 after as many steps as it takes in that time, through
stages that are stretched alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch
from between_markers import put_between
from ring import DOCS

from gan_lessons import step_detach, step_generator_first, step_one_stage
from gan_lessons.many_seeds import bootstrap_interval, sign_flip_p
from gan_lessons.ring_study import STAGES, Score, Seeds, ring_gan, ring_scores
from gan_lessons.strategies import Step

STEPS: Mapping[str, Step] = {
    "S2": step_detach,
    "S3": step_generator_first,
    "one stage": step_one_stage,
}
LOOK_AT = (500, 1500, 3000)  # steps of S2
KEPT = Path(__file__).with_name("ring_seconds.json")
HEAD = """In equal seconds (the first setting; a pair alone, batch 256, CPU seconds of one thread):

| step | its time, if S2 takes 1 | in the time of | good samples | S2 minus it | p |
|---|---|---|---|---|---|
"""


def seconds_of_a_step(blocks: int, rounds: int = 10) -> dict[str, list[float]]:
    """Step -> its median in each block of so many rounds, in which the steps take turns."""
    gans = {name: ring_gan(0) for name in STEPS}
    real, noise = (x[0] for x in Seeds(1).batch())
    found: dict[str, list[float]] = {name: [] for name in STEPS}
    for block in range(blocks + 2):  # the first two only warm up
        took: dict[str, list[float]] = {name: [] for name in STEPS}
        for number in range(rounds):
            for name in sorted(STEPS, reverse=bool(number % 2)):
                start = time.process_time()
                STEPS[name](gans[name], real, noise)
                took[name].append(time.process_time() - start)
        for name, seconds in took.items():
            found[name] += [median(seconds)] if block > 1 else []
    return found


def scores_at(ratio: float, seeds: int, look_at: tuple[int, ...]) -> list[list[Score]]:
    """Of the simultaneous update, after as many of its steps as S2 has time for ``look_at``."""
    stages = [(lr, round(steps / ratio)) for lr, steps in STAGES]
    wanted = [round(steps / ratio) for steps in look_at]
    wanted = [min(steps, sum(number for _, number in stages)) for steps in wanted]
    found = Seeds(seeds).train(step_generator_first, stages, wanted)
    return [found[steps] for steps in wanted]


def row(name: str, told: str, steps: int, s2: list[Score], other: list[Score]) -> str:
    gaps = [a.good - b.good for a, b in zip(s2, other, strict=True)]
    low, high = bootstrap_interval(gaps)
    share, mean = (sum(x) / len(x) for x in ([s.good for s in other], gaps))
    gap, p = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]", f"{sign_flip_p(gaps):.3f}"
    cells = [name, told, f"{steps:,} steps of S2", f"{share:.3f}", gap, p]
    return f"| {' | '.join(cells)} |"


def measured(seeds: int, blocks: int, look_at: tuple[int, ...]) -> dict[str, Any]:
    """The ratios of each step, block by block, and its scores where it has time for other steps."""
    seconds = seconds_of_a_step(blocks)
    found: dict[str, Any] = {"ratios": {}, "scores": {}}
    for name in ("S3", "one stage"):
        ratios = [mine / s2 for mine, s2 in zip(seconds[name], seconds["S2"], strict=True)]
        found["ratios"][name] = ratios
        if not has_the_same_time(ratios):
            scores = scores_at(sum(ratios) / len(ratios), seeds, look_at)
            found["scores"][name] = [[[s.modes, s.good] for s in one] for one in scores]
    return found


def has_the_same_time(ratios: list[float]) -> bool:
    """As S2, as far as these ratios say: then it takes as many steps, whose scores are kept."""
    low, high = bootstrap_interval(ratios)
    return low <= 1 <= high


def table(found: dict[str, Any], look_at: tuple[int, ...] = LOOK_AT) -> str:
    lines, kept = [], next(iter(ring_scores().values()))
    for name, ratios in found["ratios"].items():
        (low, high), ratio = bootstrap_interval(ratios), sum(ratios) / len(ratios)
        told = f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
        scores = [[Score(*s) for s in one] for one in found["scores"].get(name, [])]
        for steps, other in zip(
            look_at, scores or [kept["S3"][steps] for steps in look_at], strict=True
        ):
            lines.append(row(name, told, steps, kept["S2"][steps][: len(other)], other))
    return HEAD + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="does it run? Writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    found = measured(2, 2, LOOK_AT[:1]) if quick else measured(10, 60, LOOK_AT)
    print(table(found, LOOK_AT[:1] if quick else LOOK_AT))
    if not quick:
        KEPT.write_text(json.dumps(found) + "\n", encoding="utf-8")
        put_between(DOCS, "ring in seconds", table(found))


if __name__ == "__main__":
    main()
