"""How long the steps take, against strategy 2 in the same run, and what makes them faster.

python benchmarks/steps.py            # about six minutes; prints the tables
python benchmarks/steps.py --readme   # and puts them between the markers of README.md
python benchmarks/steps.py --quick    # seconds: does it run?

Runs are interleaved, step by step, so that a busy moment hits all of them alike. A ratio is the
median over rounds of (time of this step / time of the reference in the same round).
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gan_lessons import STRATEGIES, Gan, mlp_gan, step_detach, step_one_stage
from gan_lessons.lens.cost import cost_all, flops_text
from gan_lessons.lens.model import HeldBytes
from gan_lessons.lens.show import bytes_text
from gan_lessons.losses import bce_with_logits
from gan_lessons.models import DCDiscriminator, DCGenerator
from gan_lessons.put_back import seeded

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
Step = Callable[[Gan, Tensor, Tensor], Any]
ONE_CALL = partial(step_one_stage, one_call=True)


def by_hand(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """Strategy 2 as people inline it: no checks, nothing returned."""
    G, D, opt_g, opt_d, loss = gan.parts
    fake = G(noise)
    opt_d.zero_grad()
    pred_fake, pred_real = D(fake.detach()), D(real)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    ((loss(pred_real, ones) + loss(pred_fake, zeros)) / 2).backward()
    opt_d.step()
    opt_g.zero_grad()
    loss(D(fake), ones).backward()
    opt_g.step()


def mlp(width_g: int = 64, width_d: int = 512, depth: int = 2) -> Gan:
    return mlp_gan((784,), 64, [width_g] * depth, [width_d] * depth, logits=True)


def conv(width_g: int, width_d: int, size: int = 64) -> Gan:
    with seeded(0):
        G = DCGenerator(100, size, 3, width_g)
        D = DCDiscriminator(size, 3, width_d, batchnorm=False, logits=True)
    return Gan.with_adam(G, D, bce_with_logits)


def batch_for(gan: Gan, n: int) -> tuple[Tensor, Tensor]:
    G, D = gan.nets["G"], gan.nets["D"]
    shapes: Any = (D.in_shape, G.in_shape)
    device = next(G.parameters()).device
    real, noise = (torch.randn(n, *shape, device=device) for shape in shapes)
    return real.tanh(), noise


def ratios(
    steps: Mapping[str, Step], gan: Gan, n: int, rounds: int, inner: int = 1
) -> dict[str, tuple[float, float]]:
    """Name -> (median seconds, median ratio to the first), each step on its own copy of the GAN."""
    real, noise = batch_for(gan, n)
    runs = {}
    for name, step in steps.items():
        runs[name] = partial(step, copy.deepcopy(gan), real, noise)
        for _ in range(3):
            runs[name]()
    times = interleaved(runs, rounds, real.device, inner)
    first = times[next(iter(steps))]
    return {
        name: (
            statistics.median(found),
            statistics.median(a / b for a, b in zip(found, first, strict=True)),
        )
        for name, found in times.items()
    }


# The tables ---------------------------------------------------------------------------------------


def pairs(device: str, quick: bool) -> dict[str, tuple[Gan, int, int, int]]:
    """Name -> GAN, batch, rounds, calls per round."""
    if quick:
        made = {"MLP 8 / 16, batch 4": (mlp(8, 16), 4, 3, 1), "DCGAN": (conv(4, 4, 16), 4, 3, 1)}
    else:
        made = {
            "MLP 64 / 512, batch 64": (mlp(), 64, 60, 4),
            "DCGAN 64x64, widths 32 / 32, batch 8": (conv(32, 32), 8, 30, 1),
            "DCGAN 64x64, widths 32 / 64, batch 8": (conv(32, 64), 8, 15, 1),
        }
    return {name: (on(gan, device), *rest) for name, (gan, *rest) in made.items()}  # type: ignore[misc]


def interleaved(
    runs: Mapping[str, Callable[[], Any]],
    repeats: int,
    device: torch.device | None = None,
    inner: int = 1,
) -> dict[str, list[float]]:
    """Seconds of every run, taken in turn, so that a busy moment hits all of them alike.

    inner: calls per measurement, whose mean is taken. On CUDA by events, else by the clock.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    clock = _cuda_seconds if device is not None and device.type == "cuda" else _seconds
    for round_ in range(repeats):
        names = list(runs)
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            found[name].append(clock(runs[name], inner) / inner)
    return found


def _seconds(run: Callable[[], Any], inner: int) -> float:
    start = time.perf_counter()
    for _ in range(inner):
        run()
    return time.perf_counter() - start


def _cuda_seconds(run: Callable[[], Any], inner: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(inner):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def on(gan: Gan, device: str, **options: Any) -> Gan:
    """The same nets on this device, with new optimizers of these options."""
    G, D = (copy.deepcopy(net).to(device) for net in gan.nets.values())
    opt_g, opt_d = (
        torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999), **options) for n in (G, D)
    )
    return Gan(G, D, opt_g, opt_d, gan.loss)


def strategies_table(gan: Gan, n: int, rounds: int, inner: int) -> list[str]:
    steps: dict[str, Step] = {"S2: detach": step_detach}
    steps |= {s.title: s.step for s in STRATEGIES.values() if s.step is not step_detach}
    steps["One stage, one call of D"] = ONE_CALL
    measured = ratios(steps, gan, n, rounds, inner)
    counted = cost_all(steps, gan, *batch_for(gan, n), repeat=0)
    base = counted["S2: detach"]
    lines = [
        "| step | FLOPs | FLOP ratio | ms | time ratio | peak held by graph / of all |",
        "|---|---|---|---|---|---|",
    ]
    for name, (seconds, ratio) in measured.items():
        it = counted[name]
        peak = f"{bytes_text(it.peak_held)} / {bytes_text(HeldBytes(it.peak_allocated))}"
        lines.append(
            f"| {name} | {flops_text(it.flops)} | {it.flops / base.flops:.3f} "
            f"| {1e3 * seconds:.2f} | {ratio:.3f} | {peak} |"
        )
    return lines


def tax(device: str, rounds: int) -> float:
    gan = on(mlp(), device)
    steps: dict[str, Step] = {"by hand": by_hand, "ours": step_detach}
    return ratios(steps, gan, 64, rounds, 4)["ours"][1]


def under_autocast(step: Step) -> Step:
    def run(gan: Gan, real: Tensor, noise: Tensor) -> Any:
        with torch.autocast(real.device.type, torch.bfloat16):
            return step(gan, real, noise)

    return run


def channels_last(gan: Gan) -> Gan:
    for net in gan.nets.values():
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return gan


def compiled(gan: Gan) -> Gan:
    for net in gan.nets.values():
        net.compile()
    return gan


def free_table(gan: Gan, n: int, rounds: int, inner: int, device: str, compile_: bool) -> list[str]:
    """Both sides with the same addition; `gain`: S2 with it against plain S2, in the same run."""
    real, noise = batch_for(gan, n)
    variants: dict[str, tuple[Callable[[], Gan], bool]] = {
        "nothing added": (lambda: on(gan, device), False),
        "fused Adam": (lambda: on(gan, device, fused=True), False),
        "bfloat16 autocast": (lambda: on(gan, device), True),
    }
    if any(isinstance(m, nn.Conv2d) for m in gan.discriminator.modules()):
        variants["channels_last"] = (lambda: channels_last(on(gan, device)), False)
    if compile_:
        variants["torch.compile of both nets"] = (lambda: compiled(on(gan, device)), False)
    runs = {}
    for name, (make, cast) in variants.items():
        for title, step in (("S2", step_detach), ("1", step_one_stage), ("1c", ONE_CALL)):
            runs[name, title] = partial(under_autocast(step) if cast else step, make(), real, noise)
            for _ in range(3):
                runs[name, title]()
    times = interleaved({"/".join(k): run for k, run in runs.items()}, rounds, real.device, inner)

    def median_ratio(a: str, b: str) -> str:
        found = statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))
        return f"{found:.3f}"

    lines = ["| added on both sides | S2 against plain S2 | one stage / S2 | one call / S2 |"]
    lines.append("|---|---|---|---|")
    for name in variants:
        plain = median_ratio(f"{name}/S2", "nothing added/S2")
        ours = [median_ratio(f"{name}/{title}", f"{name}/S2") for title in ("1", "1c")]
        lines.append(f"| {name} | {plain} | {' | '.join(ours)} |")
    return lines


# what grows -> its values, and the milliseconds of each step there
Growth = dict[str, tuple[list[int], dict[str, list[float]]]]


def growth(device: str, quick: bool) -> Growth:
    """Time over batch, width and depth."""
    ranges: dict[str, tuple[list[int], Callable[[int], tuple[Gan, int]]]] = {
        "batch": ([16, 64, 256, 1024], lambda x: (mlp(128, 128), x)),
        "width": ([32, 128, 512], lambda x: (mlp(x, x), 64)),
        "depth": ([2, 4, 8, 16], lambda x: (mlp(128, 128, x), 64)),
    }
    measured: Growth = {}
    for name, (values, make) in ranges.items():
        values = values[:2] if quick else values
        found = []
        for value in values:
            gan, n = make(value)
            steps: dict[str, Step] = {"S2": step_detach, "one stage": step_one_stage}
            found.append(ratios(steps, on(gan, device), n, 3 if quick else 25, 2))
        by_step = {s: [1e3 * point[s][0] for point in found] for s in ("S2", "one stage")}
        measured[name] = (values, by_step)
    return measured


def growth_table(measured: Growth) -> list[str]:
    """The same as a table, with the slope of the logarithm between the last two values."""
    lines = ["| what grows | values | S2, ms | one stage, ms | last slope, S2 / one stage |"]
    lines.append("|---|---|---|---|---|")
    for name, (values, by_step) in measured.items():
        slopes = [
            math.log(times[-1] / times[-2]) / math.log(values[-1] / values[-2])
            for times in by_step.values()
        ]
        cells = [", ".join(f"{t:.2f}" for t in times) for times in by_step.values()]
        listed = ", ".join(map(str, values))
        lines.append(
            f"| {name} | {listed} | {' | '.join(cells)} | {slopes[0]:.2f} / {slopes[1]:.2f} |"
        )
    return lines


def draw_growth(measured: Growth, path: Path) -> None:
    """Both axes logarithmic: a straight line is a power, its slope the exponent."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    looks = {"S2": ("#0072B2", "o", "-"), "one stage": ("#D55E00", "s", "--")}
    for axes, (name, (values, by_step)) in zip(
        figure.subplots(1, 3), measured.items(), strict=True
    ):
        for step, times in by_step.items():
            colour, marker, dash = looks[step]
            axes.plot(values, times, dash, marker=marker, color=colour, label=step)
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="ms")
        axes.set_xticks(values, [str(value) for value in values])
        low, high = axes.get_ylim()
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low <= t <= high]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.legend(frameon=False)
    path.parent.mkdir(exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


def machine(device: str) -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [
            line.split(":")[1] for line in info.read_text().splitlines() if "model name" in line
        ]
        model = named[0].strip() if named else model
    gpu = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    threads, version = torch.get_num_threads(), torch.__version__.split("+")[0]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {os.cpu_count()} cores{load}{gpu}; {threads} thread; "
        f"torch {version}, Python {platform.python_version()}, {platform.system()}"
    )


def report(device: str, quick: bool, picture: Path | None = None) -> str:
    """All tables. picture: where to draw the growth, which the text then shows."""
    parts = [f"Measured on: {machine(device)}. Ratios are to S2 in the same run; medians."]
    made = pairs(device, quick)
    for name, (gan, n, rounds, inner) in made.items():
        parts.append(f"**{name}** (no BatchNorm in D)\n")
        parts.append("\n".join(strategies_table(gan, n, rounds, inner)))
    parts.append(
        f"S2 as a function of this package against the same lines inlined by hand (MLP): "
        f"{tax(device, 3 if quick else 120):.3f}."
    )
    parts.append("What a user can add for free, on both sides:\n")
    for name, (gan, n, rounds, inner) in list(made.items())[:2]:
        fewer = max(3, rounds // 2)
        parts.append(f"**{name}**\n")
        parts.append("\n".join(free_table(gan, n, fewer, inner, device, compile_=not quick)))
    parts.append("How the time grows (MLP pair, both nets alike):\n")
    grown = growth(device, quick)
    parts.append("\n".join(growth_table(grown)))
    if picture is not None:
        draw_growth(grown, picture)
        parts.append(
            "![Milliseconds of S2 and of one stage over batch, width and depth, both axes "
            f"logarithmic](docs/{picture.name})"
        )
    return "\n\n".join(part.rstrip("\n") for part in parts)


def write_readme(text: str) -> None:
    page = README.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{README.name} must hold {BEGIN} and {END}, once each")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small nets, few rounds")
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # what else runs on the machine then disturbs least
    picture = README.parent / "docs" / "growth.svg"
    text = report(options.device, options.quick, picture if options.readme else None)
    print(text)
    if options.readme:
        write_readme(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
