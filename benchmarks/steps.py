"""How long the steps take, against strategy 2 as people inline it, with the same optimizers.

python benchmarks/steps.py --markdown docs/benchmarks.md   # about ten minutes on two cores
python benchmarks/steps.py --quick                          # does it run? Seconds; says little
python benchmarks/steps.py --device cuda --quick --json F   # under four minutes; needs torch alone
python benchmarks/steps.py --from F --markdown docs/benchmarks.md   # put a run's results there

Runs are interleaved, step by step, so that a busy moment hits all of them alike. A ratio is the
median over rounds of (time of this step / time of the reference in the same round), with quartiles.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from between_markers import put_between
from torch import Tensor

from gan_lessons import (
    STRATEGIES,
    Gan,
    mlp_gan,
    step_by_halves,
    step_detach,
    step_one_stage,
    step_selective,
)
from gan_lessons.losses import bce_with_logits
from gan_lessons.models import DCDiscriminator, DCGenerator
from gan_lessons.one_call import WARM_UP
from gan_lessons.put_back import seeded

Step = Callable[[Gan, Tensor, Tensor], Any]
HOW_TO_READ = (
    "A cell is the time of the step divided by that of the first line, which has the same "
    "optimizers and additions and was run in turn: the median [and quartiles], then (on a CPU) the "
    "same by CPU seconds of the process, which a busy machine disturbs less. FLOPs: likewise "
    "divided. Peak: held by the graph for backward / of everything beyond weights, optimizer "
    "states and inputs."
)
REFERENCE = "S2, inlined by hand"
PUBLISHED = """\
| published elsewhere, not measured here | times as fast | ratio |
|---|---|---|
| FusedProp (arXiv 2004.03335) | 1.49 | 0.67 |
| one-stage training, OSGAN (Shen et al., CVPR 2021) | 1.5 | 0.67 |"""


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


ONE_STAGE: dict[str, Step] = {
    "One stage, two calls of D": partial(step_one_stage, one_call=False),
    "One stage, one call of D": partial(step_one_stage, one_call=True),
    "One stage, as it chooses": step_one_stage,
}
FEW: dict[str, Step] = {
    REFERENCE: by_hand,
    "S2: detach": step_detach,
    STRATEGIES["selective"].title: step_selective,
    **ONE_STAGE,
    "By halves": step_by_halves,
}
ALL: dict[str, Step] = {
    REFERENCE: by_hand,
    **{s.title: s.step for key, s in STRATEGIES.items() if key != "one_stage"},
    **ONE_STAGE,
    "By halves": step_by_halves,
}


# What is measured ---------------------------------------------------------------------------------


def mlp(width_g: int = 64, width_d: int = 512, depth: int = 2) -> Gan:
    return mlp_gan((784,), 64, [width_g] * depth, [width_d] * depth, logits=True)


def conv(width_g: int, width_d: int, size: int = 64, batchnorm: bool = False) -> Gan:
    with seeded(0):
        G = DCGenerator(100, size, 3, width_g)
        D = DCDiscriminator(size, 3, width_d, batchnorm, logits=True)
    return Gan.with_adam(G, D, bce_with_logits)


@dataclass
class Pair:
    """Two nets and a batch.

    inner: calls per measurement, whose mean is taken. mixing: D has BatchNorm. more: also measured
    with what is added on both sides.
    """

    name: str
    gan: Gan
    batch: int
    rounds: int
    inner: int = 1
    mixing: bool = False
    more: bool = False


def pairs(device: str, quick: bool) -> list[Pair]:
    if device == "cuda":
        rounds, n = (10, 64) if quick else (30, 128)
        equal, twice, mixing = conv(64, 64), conv(64, 128), conv(64, 64, batchnorm=True)
        return [
            Pair("MLP 64 / 512, batch 64", mlp(), 64, rounds, 10, more=True),
            Pair(f"DCGAN 64x64, widths 64 / 64, batch {n}", equal, n, rounds, 3, more=True),
            Pair(f"DCGAN 64x64, widths 64 / 128, batch {n}", twice, n, rounds, 3),
            Pair(f"DCGAN 64 / 64, BatchNorm in D, batch {n}", mixing, n, rounds, 3, mixing=True),
        ]
    if quick:
        return [
            Pair("MLP 8 / 16, batch 4", mlp(8, 16), 4, 3),
            Pair("DCGAN 16x16, BatchNorm in D", conv(4, 4, 16, True), 4, 3, mixing=True),
        ]
    return [
        Pair("MLP 64 / 512, batch 64", mlp(), 64, 60, 4, more=True),
        Pair("MLP 256 / 256, batch 64", mlp(256, 256), 64, 60, 4),
        Pair("DCGAN 64x64, widths 32 / 32, batch 8", conv(32, 32), 8, 30, more=True),
        Pair("DCGAN 64x64, widths 32 / 64, batch 8", conv(32, 64), 8, 15),
        Pair("DCGAN 64x64, 32 / 32, BatchNorm in D", conv(32, 32, 64, True), 8, 30, mixing=True),
    ]


@dataclass(frozen=True)
class Setting:
    """What both sides get."""

    name: str
    adam: Mapping[str, bool] = field(default_factory=dict)
    autocast: bool = False
    channels_last: bool = False
    compile: bool = False
    graph: bool = False  # the whole step as one CUDA graph


PLAIN, FUSED = Setting("plain Adam"), Setting("fused Adam", {"fused": True})
ADDED = [
    Setting("bfloat16 autocast", autocast=True),
    Setting("channels_last", channels_last=True),
    Setting("nets compiled", compile=True),
]
_CAPTURABLE = {"fused": True, "capturable": True}
ON_CUDA = [
    PLAIN,
    FUSED,
    Setting("CUDA graph", _CAPTURABLE, graph=True),
    Setting("nets compiled, fused", {"fused": True}, compile=True),
    Setting("compiled, CUDA graph", _CAPTURABLE, compile=True, graph=True),
]


def on(gan: Gan, device: str, **options: Any) -> Gan:
    """A copy of the nets on this device, with new optimizers of these options."""
    G, D = (copy.deepcopy(net).to(device) for net in gan.nets.values())
    opt_g, opt_d = (
        torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999), **options) for n in (G, D)
    )
    return Gan(G, D, opt_g, opt_d, gan.loss)


def batch_for(gan: Gan, n: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    shapes: Any = (gan.nets["D"].in_shape, gan.nets["G"].in_shape)
    real, noise = (torch.randn(n, *shape, device=device) for shape in shapes)
    return real.tanh(), noise


def prepared(
    step: Step, pair: Pair, setting: Setting, device: str, gan: Gan | None = None
) -> Callable[[], Any]:
    """A warm step on its own copy of the GAN (or on this one), ready to be timed."""
    gan = gan or on(pair.gan, device, **setting.adam)
    real, noise = batch_for(gan, pair.batch, device)
    for net in gan.nets.values():
        if setting.channels_last:
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if setting.compile:
            from torch._functorch import config

            config.donated_buffer = False  # else no graph can be retained
            net.compile()

    def run() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=setting.autocast):
            step(gan, real, noise)

    if not setting.graph:
        for _ in range(WARM_UP + 2):
            run()
        return run
    gan.check = lambda *_: None  # type: ignore[method-assign]  # it reads values: no graph can
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP + 2):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()

    # The graph reads and writes the nets and the batch, and does not keep them alive.
    def replay(_kept: Any = run) -> None:
        graph.replay()

    return replay


# Measuring ----------------------------------------------------------------------------------------


@dataclass
class Row:
    """One step under one setting. Times in ms, memory in MiB; None: not measured."""

    pair: str
    setting: str
    step: str
    error: str = ""
    ms: float | None = None
    ratio: float | None = None  # to the reference, by the clock
    low: float | None = None  # quartiles of the ratio
    high: float | None = None
    cpu_ratio: float | None = None  # by the CPU seconds of the process
    flop_ratio: float | None = None
    held: float | None = None  # peak of what the graph holds for backward
    peak: float | None = None  # peak of all beyond weights, states and inputs


def interleaved(
    runs: Mapping[str, Callable[[], Any]], rounds: int, inner: int, device: str
) -> dict[str, list[tuple[float, float]]]:
    """(seconds by the clock, CPU seconds of the process) of every run, taken in turn."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    names = list(runs)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            wait()
            start, busy = time.perf_counter(), time.process_time()
            for _ in range(inner):
                runs[name]()
            wait()
            taken = time.perf_counter() - start, time.process_time() - busy
            found[name].append((taken[0] / inner, taken[1] / inner))
    return found


def measure(pair: Pair, setting: Setting, steps: Mapping[str, Step], device: str) -> list[Row]:
    """A row for each step; one that fails says so, and the others go on."""
    rows = {name: Row(pair.name, setting.name, name) for name in steps}
    runs: dict[str, Callable[[], Any]] = {}
    if setting.compile:
        torch._dynamo.reset()
    for name, step in steps.items():
        try:
            runs[name] = prepared(step, pair, setting, device)
        except Exception as error:  # noqa: BLE001 - whatever a compiler or a driver raises
            rows[name].error = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
            if device == "cuda":
                torch.cuda.synchronize()
    times = interleaved(runs, pair.rounds, pair.inner, device) if REFERENCE in runs else {}
    for name, found in times.items():
        row, first = rows[name], times[REFERENCE]
        by_clock, by_cpu = (
            [mine[i] / other[i] for mine, other in zip(found, first, strict=True)] for i in (0, 1)
        )
        row.ms = 1e3 * statistics.median(seconds for seconds, _ in found)
        row.low, row.ratio, row.high = statistics.quantiles(by_clock, n=4, method="inclusive")
        row.cpu_ratio = statistics.median(by_cpu) if device == "cpu" else None
    return list(rows.values())


def add_costs(rows: list[Row], pair: Pair, steps: Mapping[str, Step], device: str) -> None:
    """FLOPs and peaks, once per step: counted on the CPU, by the allocator on CUDA."""
    if device == "cuda":
        for row in rows:
            if not row.error:
                row.peak = cuda_peak(steps[row.step], pair)
        return
    from gan_lessons.lens.cost import cost_all

    counted = cost_all(steps, pair.gan, *batch_for(pair.gan, pair.batch), repeat=0)
    for row in rows:
        it = counted[row.step]
        row.flop_ratio = it.flops / counted[REFERENCE].flops
        row.held, row.peak = it.peak_held.activations / 2**20, it.peak_allocated / 2**20


def cuda_peak(step: Step, pair: Pair) -> float:
    gan = on(pair.gan, "cuda")
    batch = batch_for(gan, pair.batch, "cuda")
    for _ in range(2):  # the states of the optimizers are made in the first
        gan.optimizer_g.zero_grad()
        gan.optimizer_d.zero_grad()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(gan, *batch)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def plan(device: str, quick: bool) -> Iterator[tuple[Pair, Setting, dict[str, Step]]]:
    """What to measure, the dearest (whatever is compiled) last."""
    found = pairs(device, quick)
    settings = ON_CUDA if device == "cuda" else [PLAIN, FUSED, *([] if quick else ADDED)]
    for setting in settings:
        for pair in found:
            main = setting in (PLAIN, FUSED) or setting.graph
            steps = dict(ALL if device == "cpu" and main else FEW)
            if pair.mixing:  # BatchNorm in D
                steps = {name: step for name, step in steps.items() if name not in ONE_STAGE}
            if (main or pair.more) and not (setting.channels_last and "MLP" in pair.name):
                yield pair, setting, steps


def everything(device: str, quick: bool, seconds: float, rows: list[Row]) -> Iterator[None]:
    """Fill in `rows`, group by group.

    After `seconds` nothing new is begun, and what is left out says so.
    """
    end = time.monotonic() + seconds
    for pair, setting, steps in plan(device, quick):
        if time.monotonic() > end:
            rows += [Row(pair.name, setting.name, name, "out of time") for name in steps]
            continue
        found = measure(pair, setting, steps, device)
        if setting is PLAIN:
            add_costs(found, pair, steps, device)
        rows += found
        yield


# glibc gives freed memory back to the system, and pays with page faults to get it again. Whom that
# hits depends on who ran before; so while steps take turns it keeps what it has.
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
ALONE = (REFERENCE, *ONE_STAGE, "By halves")


def keep_memory() -> None:
    """What KEPT does, for this process."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option, value in ((-1, 2**30), (-3, 2**25)):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, value)


def alone(name: str) -> None:
    """Print the CPU milliseconds and the page faults of one step of the MLP pair, as JSON."""
    import resource

    torch.set_num_threads(1)
    run = prepared(ALL[name], Pair("MLP 64 / 512", mlp(), 64, 1), PLAIN, "cpu")
    before, taken = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for _ in range(200):
        start = time.process_time()
        run()
        taken.append(1e3 * (time.process_time() - start))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(json.dumps([statistics.median(taken), faults / len(taken)]))


def in_own_processes() -> dict[str, list[list[float]]]:
    """Step -> (ms, page faults), with malloc as it comes and with KEPT."""
    found: dict[str, list[list[float]]] = {}
    for name in ALONE:
        command = [sys.executable, __file__, "--alone", name]
        runs = (
            subprocess.run(command, env=os.environ | more, capture_output=True, check=True)
            for more in ({}, KEPT)
        )
        found[name] = [json.loads(run.stdout) for run in runs]
    return found


# What grows -> its values, and the milliseconds of each step there.
Growth = dict[str, tuple[list[int], dict[str, list[float]]]]
RANGES: dict[str, tuple[list[int], Callable[[int], tuple[Gan, int]]]] = {
    "batch": ([16, 64, 256, 1024], lambda x: (mlp(128, 128), x)),
    "width": ([32, 128, 512], lambda x: (mlp(x, x), 64)),
    "depth": ([2, 4, 8, 16], lambda x: (mlp(128, 128, x), 64)),
}
GROWN: dict[str, Step] = {REFERENCE: by_hand, "One stage": step_one_stage}


def growth(device: str, quick: bool) -> Growth:
    """Time over batch, width and depth."""
    measured: Growth = {}
    for name, (values, make) in RANGES.items():
        values = values[:2] if quick else values
        times: dict[str, list[float]] = {step: [] for step in GROWN}
        for value in values:
            pair = Pair(f"{name} {value}", *make(value), 3 if quick else 25, 2)
            for row in measure(pair, PLAIN, GROWN, device):
                times[row.step].append(row.ms or math.nan)
        measured[name] = (values, times)
    return measured


# Showing ------------------------------------------------------------------------------------------


def machine(device: str) -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [
            line.split(":")[1] for line in info.read_text().splitlines() if "model name" in line
        ]
        model = named[0].strip() if named else model
    gpu = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    version = torch.__version__.split("+")[0]
    return (
        f"{model}, {os.cpu_count()} cores{gpu}; {torch.get_num_threads()} thread(s); "
        f"torch {version}, Python {platform.python_version()}, {platform.system()}"
    )


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def cell(row: Row | None) -> str:
    """The reference in ms; the others as ratio [quartiles], and by CPU seconds after a dot."""
    if row is None:
        return ""
    if row.error or row.ratio is None:
        return f"failed: {row.error}" if row.error != "out of time" else row.error
    if row.step == REFERENCE:
        return f"{row.ms:.2f} ms"
    by_cpu = "" if row.cpu_ratio is None else f" · {row.cpu_ratio:.3f}"
    return f"{row.ratio:.3f} [{row.low:.3f}, {row.high:.3f}]{by_cpu}"


def pair_table(rows: list[Row]) -> str:
    """One line per step, one column per setting."""
    at = {(row.step, row.setting): row for row in rows}
    steps, settings = (list(dict.fromkeys(key[i] for key in at)) for i in (0, 1))
    lines = [
        f"| step | FLOPs | peak, MiB | {' | '.join(settings)} |",
        "|---" * (3 + len(settings)) + "|",
    ]
    for step in steps:
        first = at[step, settings[0]]
        flops = "" if first.flop_ratio is None else f"{first.flop_ratio:.3f}"
        peaks = [f"{peak:.1f}" for peak in (first.held, first.peak) if peak is not None]
        cells = [cell(at.get((step, setting))) for setting in settings]
        lines.append(f"| {step} | {flops} | {' / '.join(peaks)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory_table(measured: Mapping[str, list[list[float]]]) -> str:
    lines = ["| step, alone in its process | as it comes | memory kept |", "|---|---|---|"]
    for name, found in measured.items():
        cells = [f"{ms:.2f} ms, {faults:.0f} page faults" for ms, faults in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def growth_table(measured: Growth) -> str:
    """Milliseconds, with the slope of the logarithm between the last two values."""
    lines = ["| what grows | values | S2, ms | one stage, ms | last slope, S2 / one stage |"]
    lines.append("|---" * 5 + "|")
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
    return "\n".join(lines)


def draw_growth(measured: Growth, path: Path) -> None:
    """Both axes logarithmic: a straight line is a power, its slope the exponent."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.9), layout="constrained")
    looks = [("#0072B2", "o", "-"), ("#D55E00", "s", "--")]
    for axes, (name, (values, by_step)) in zip(
        figure.subplots(1, 3), measured.items(), strict=True
    ):
        for (step, times), (colour, marker, dash) in zip(by_step.items(), looks, strict=True):
            axes.plot(values, times, dash, marker=marker, color=colour, label=step)
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="ms")
        axes.set_xticks(values, [str(value) for value in values])
        low, high = axes.get_ylim()
        ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low <= t <= high]
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.legend(frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


def report(results: dict[str, Any]) -> str:
    """Markdown of all that a run found."""
    rows = [Row(**row) for row in results["rows"]]
    parts = [
        f"Measured on: {results['machine']}; load {results['load']}.",
        HOW_TO_READ,
    ]
    for pair in dict.fromkeys(row.pair for row in rows):
        parts += [f"**{pair}**", pair_table([row for row in rows if row.pair == pair])]
    parts.append(PUBLISHED)
    if results["alone"]:
        settings = " ".join(f"{name}={value}" for name, value in KEPT.items())
        parts.append(
            "Free for both sides on Linux: glibc gives freed memory back at every step, and pays "
            f"with page faults to get it again. `{settings}` in the environment keeps it, as it is "
            "kept for the tables above. MLP 64 / 512, CPU time of the process:"
        )
        parts.append(memory_table(results["alone"]))
    if results["growth"]:
        parts.append("How the time grows (MLP pair, both nets alike, plain Adam):")
        parts.append(growth_table(results["growth"]))
        parts.append(
            "![Milliseconds of S2 and of one stage over batch, width and depth, both axes "
            "logarithmic](growth.svg)"
        )
    return "\n\n".join(parts)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure; what is known so far goes to --json after every group, in case it is the last."""
    torch.set_num_threads(options.threads)
    keep_memory()
    rows: list[Row] = []
    results = {
        "device": options.device,
        "machine": machine(options.device),
        "load": load(),
        "rows": [],
        "alone": {},
        "growth": {},
    }
    limit = options.seconds or (150 if options.device == "cuda" and options.quick else 3600)
    for _ in everything(options.device, options.quick, limit, rows):
        results["rows"] = [asdict(row) for row in rows]
        save(results, options.json)
        print(len(rows), rows[-1], file=sys.stderr, flush=True)
    if options.device == "cpu":
        results["growth"] = growth(options.device, options.quick)
        if sys.platform == "linux" and not options.quick:
            results["alone"] = in_own_processes()
    results["rows"] = [asdict(row) for row in rows]
    results["load"] = f"{results['load']} at the start, {load()} at the end"
    return results


def save(results: dict[str, Any], path: Path | None) -> None:
    if path:
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small nets or few rounds")
    parser.add_argument("--seconds", type=float, help="begin nothing new after so many")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; 1 disturbs least")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--from", type=Path, dest="old", help="take the results from there")
    parser.add_argument("--markdown", type=Path, help="put the tables between its markers")
    parser.add_argument("--alone", choices=ALONE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        alone(options.alone)
        return 0
    if options.old:
        results = json.loads(options.old.read_text(encoding="utf-8"))
    else:
        results = measured(options)
        save(results, options.json)
    text = report(results)
    print(text)
    if options.markdown:
        put_between(options.markdown, results["device"], text)
        if results["growth"]:
            draw_growth(results["growth"], options.markdown.parent / "growth.svg")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
