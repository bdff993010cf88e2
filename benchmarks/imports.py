"""What `import gan_lessons` costs beside `import torch`, which it has to do anyway.

    python benchmarks/imports.py                               # about five minutes
    python benchmarks/imports.py --rounds 2                    # does it run? Says little
    python benchmarks/imports.py --markdown docs/benchmarks.md

Each import has a fresh process, and both take turns; who begins changes from round to round. Both
find their files compiled and in the system's cache. CPU seconds (user and system, all threads of
the process) are disturbed by a busy machine less than the clock, and the least disturbed import of
each less than the median.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from statistics import median

from between_markers import put_between

PAGE_PART = "import"
NAMES = ("torch", "gan_lessons")
CHILD = """
{before}
import time
from resource import RUSAGE_SELF, getrusage

def cpu():
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

start, start_cpu = time.perf_counter(), cpu()
import {name}
print(cpu() - start_cpu, time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Ratio:
    """Of ours to torch's: that of the medians and that of the shortest; the median over rounds of
    (ours / torch's), and an interval that holds the true one in 95 of 100 cases."""

    of_medians: float
    of_minima: float
    by_round: float
    low: float
    high: float


def seconds(name: str, before: str = "") -> tuple[float, float]:
    """(CPU, clock) of one import in a process of its own, which has run ``before``."""
    # With this set, ours would be compiled anew in each process, and torch, installed, would not.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CHILD.format(name=name, before=before)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=kept)
    cpu, clock = map(float, done.stdout.split())
    return cpu, clock


def added(rounds: int) -> list[float]:
    """CPU seconds of ours in processes that have torch already."""
    return [seconds("gan_lessons", before="import torch")[0] for _ in range(rounds)]


def in_turns(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Name -> what it took, round by round."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
    for name in NAMES:
        seconds(name)  # compiles, and fills the system's cache of files
    for i in range(rounds):
        for name in NAMES if i % 2 else reversed(NAMES):
            found[name].append(seconds(name))
    return found


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the true median, at least 95 % sure, whatever the distribution: it lies between the k-th
    value from below and from above unless fewer than k coins of n show heads, or tails. With too
    few values for that, all that was seen."""
    ordered, n = sorted(values), len(values)
    k, missed = 0, 0.0
    while missed + comb(n, k) / 2**n <= 0.025:
        missed += comb(n, k) / 2**n
        k += 1
    place = max(k - 1, 0)
    return ordered[place], ordered[n - 1 - place]


def ratio_of(ours: Sequence[float], torch_alone: Sequence[float]) -> Ratio:
    """Both by round."""
    each = [a / b for a, b in zip(ours, torch_alone, strict=True)]
    low, high = median_interval(each)
    of_medians, of_minima = median(ours) / median(torch_alone), min(ours) / min(torch_alone)
    return Ratio(of_medians, of_minima, median(each), low, high)


def table(found: dict[str, list[tuple[float, float]]], after_torch: Sequence[float]) -> str:
    """All of it, as Markdown."""
    rounds = len(found["torch"])
    lines = [
        f"{rounds} imports of each. Seconds: the median (the least).",
        "",
        "| by | `import torch` | `import gan_lessons` | of medians | of the least "
        "| median by round [95 % interval] |",
        "|---|---|---|---|---|---|",
    ]
    for place, by in enumerate(("CPU seconds", "the clock")):
        taken = {name: [pair[place] for pair in pairs] for name, pairs in found.items()}
        ratio = ratio_of(taken["gan_lessons"], taken["torch"])
        cells = [f"{median(taken[name]):.3f} ({min(taken[name]):.3f})" for name in NAMES]
        cells += [f"{ratio.of_medians:.3f}", f"{ratio.of_minima:.3f}"]
        cells += [f"{ratio.by_round:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"]
        lines.append("| " + " | ".join([by, *cells]) + " |")
    ours, least = (1e3 * f(after_torch) for f in (median, min))
    after = "In a process that has torch, ours takes {:.1f} ms of CPU more (the least: {:.1f})."
    return "\n".join([*lines, "", after.format(ours, least)])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--markdown", type=Path, help="put the table into this page")
    options = parser.parse_args(arguments)
    text = table(in_turns(options.rounds), added(options.rounds))
    print(text)
    if options.markdown:
        put_between(options.markdown, PAGE_PART, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
