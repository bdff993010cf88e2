"""What a training step costs: FLOPs, forwards and backwards, bytes that the graph holds, time.

    print(cost(step_detach, gan, real, noise))
    costs({"S1": step_retain_graph, "S2": step_detach}, gan, real, noise)  # a table

FLOPs are counted by the formulas of ``torch.utils.flop_counter``, operation by operation, while the
step runs; bytes come from ``record``. ``mlp_flops`` derives the FLOPs of MLPs on paper.
"""

from __future__ import annotations

import copy
import html
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan_lessons.lens import words
from gan_lessons.lens.graph import HeldBytes
from gan_lessons.lens.record import record
from gan_lessons.lens.table import _aligned as aligned
from gan_lessons.lens.table import bytes_text, event_text

PHASES = ("forward", "backward")
Step = Callable[..., Any]


@dataclass(frozen=True)
class StepCost:
    """What one step cost.

    ``flops``: net -> phase ("forward", "backward") -> FLOPs; what ran in no net stands under "".
    ``forwards``, ``backwards``: net -> how often it was called, how many backward calls crossed it.
    ``held``: (event, bytes the graph held right after it), in order; ``peak`` is the most of them.
    ``cuda_peak``: bytes that the CUDA allocator gave out beyond those before the step, else None.
    ``seconds``: of every timed run; ``time`` is their median, ``spread`` the middle half's ends.
    """

    flops: Mapping[str, Mapping[str, int]]
    forwards: Mapping[str, int]
    backwards: Mapping[str, int]
    held: tuple[tuple[str, HeldBytes], ...]
    peak: HeldBytes
    cuda_peak: int | None
    seconds: tuple[float, ...]

    @property
    def total_flops(self) -> int:
        return sum(sum(phases.values()) for phases in self.flops.values())

    @property
    def time(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        return quartiles(self.seconds)

    def __str__(self) -> str:
        return str(CostTable({"": self}))

    def _repr_html_(self) -> str:
        return CostTable({"": self})._repr_html_()


class CostTable(dict[str, StepCost]):
    """Costs by name, as a table in a notebook and on a terminal. Ratios are to the first one."""

    def rows(self) -> list[list[str]]:
        """The head, then one row per step."""
        first = next(iter(self.values()))
        nets = [net for net in first.flops if net]
        heads = [words.COST_STEP, words.COST_FLOPS, words.COST_RATIO]
        heads += [f"{net} {words.COST_PHASE[phase]}" for net in nets for phase in PHASES]
        heads += [words.COST_CALLS, words.COST_HELD, words.COST_TIME]
        return [heads, *(self._row(name, nets, first) for name in self)]

    def _row(self, name: str, nets: Sequence[str], first: StepCost) -> list[str]:
        it = self[name]
        low, high = it.spread
        parts = [flops_text(it.flops[net][phase]) for net in nets for phase in PHASES]
        calls = words.LIST.join(f"{n} {it.forwards[n]} / {it.backwards[n]}" for n in nets)
        ratio = f"{it.total_flops / first.total_flops:.3f}" if first.total_flops else ""
        milliseconds = f"{1e3 * it.time:.2f} ({1e3 * low:.2f} – {1e3 * high:.2f})"
        row = [name, flops_text(it.total_flops), ratio, *parts, calls]
        return [*row, bytes_text(it.peak), milliseconds]

    def __str__(self) -> str:
        return f"{aligned(self.rows())}\n\n{words.COST_LEGEND}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = ([html.escape(cell) for cell in row] for row in self.rows())
        left = 'style="text-align:left"'
        top = "".join(f'<th scope="col" {left}>{cell}</th>' for cell in head)
        lines = "".join(
            f'<tr><th scope="row" {left}>{row[0]}</th>'
            + "".join(f"<td {left}>{cell}</td>" for cell in row[1:])
            + "</tr>"
            for row in body
        )
        table = f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
        return f'<div style="overflow-x:auto" tabindex="0">{table}</div><p>{words.COST_LEGEND}</p>'


def cost(step: Step, gan: Any, real: Tensor, noise: Tensor, *, repeats: int = 10) -> StepCost:
    """What ``step(gan, real, noise)`` costs. gan: a ``Gan``; real, noise: (batch, ...).

    Works on deep copies and puts the random state back: changes nothing of what is passed in.
    repeats: timed runs, after one that is not timed. Raises ValueError for fewer than 1, and what
    the step itself raises.
    """
    return costs({"": step}, gan, real, noise, repeats=repeats)[""]


def costs(
    steps: Mapping[str, Step], gan: Any, real: Tensor, noise: Tensor, *, repeats: int = 10
) -> CostTable:
    """The cost of several steps, each on its own copy of ``gan``; timed in turn, round by round."""
    if repeats < 1 or not steps:
        raise ValueError(f"costs() got {len(steps)} steps and repeats={repeats}; needs 1 of each")
    gpus = [real.device] if real.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), torch.enable_grad():
        runs: dict[str, Callable[[], Any]] = {}
        found = {}
        for name, step in steps.items():
            mine = copy.deepcopy(gan)
            runs[name] = lambda step=step, mine=mine: step(mine, real, noise)  # type: ignore[misc]
            runs[name]()  # what happens only once is no cost of a step
            found[name] = _observed(runs[name], mine.nets, mine.optimizers, real.device)
        times = interleaved(runs, repeats, real.device)
    return CostTable({name: StepCost(**found[name], seconds=tuple(times[name])) for name in steps})


def _observed(
    run: Callable[[], Any], nets: Mapping[str, nn.Module], optimizers: Any, device: torch.device
) -> dict[str, Any]:
    with counted_flops(nets) as flops:
        run()
    peak = _cuda_peak(run, device) if device.type == "cuda" else None
    with record(nets, optimizers) as rec:
        run()
    crossed = [{rec.graph.nodes[node].net for node in call.nodes} for call in rec.backward_calls]
    return {
        "flops": flops,
        "forwards": {net: sum(f.net == net for f in rec.forwards) for net in nets},
        "backwards": {net: sum(net in owners for owners in crossed) for net in nets},
        "held": tuple((event_text(event), event.held) for event in rec.events),
        "peak": rec.peak,
        "cuda_peak": peak,
    }


def _cuda_peak(run: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


# FLOPs --------------------------------------------------------------------------------------------


class _Counter(TorchDispatchMode):
    """Adds up FLOPs by the net whose forward runs, or whose node backward is at."""

    def __init__(self, nets: Iterable[str]) -> None:
        super().__init__()
        self.flops = {net: dict.fromkeys(PHASES, 0) for net in (*nets, "")}
        self.running: list[tuple[str, int]] = []  # net, first sequence number of its nodes
        self.built: list[tuple[int, int, str]] = []  # nodes numbered from, to, belong to

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            net, phase = self._where()
            self.flops[net][phase] += formula(*args, **kwargs, out_val=out)
        return out

    def _where(self) -> tuple[str, str]:
        node: Any = torch._C._current_autograd_node()  # None outside of a backward
        if node is None:
            return (self.running[-1][0] if self.running else ""), "forward"
        number = node._sequence_nr()  # counts up as nodes are built
        owners = (net for low, high, net in self.built if low <= number < high)
        return next(owners, ""), "backward"

    def enter(self, net: str) -> None:
        self.running.append((net, torch.autograd._get_sequence_nr()))

    def leave(self) -> None:
        net, first = self.running.pop()
        self.built.append((first, torch.autograd._get_sequence_nr(), net))


@contextmanager
def counted_flops(nets: Mapping[str, nn.Module]) -> Any:
    """Count what runs inside: yields net -> phase -> FLOPs; "" is for what ran in none of them."""
    counter = _Counter(nets)
    with ExitStack() as stack:
        for name, net in nets.items():
            before = net.register_forward_pre_hook(lambda *_, name=name: counter.enter(name))
            after = net.register_forward_hook(lambda *_: counter.leave(), always_call=True)
            stack.callback(before.remove)
            stack.callback(after.remove)
        stack.enter_context(counter)
        yield counter.flops


@dataclass(frozen=True)
class MlpFlops:
    """FLOPs of one batch: ``forward`` F of all layers, ``first`` f of the first layer alone.

    A layer (n_in, n_out) takes 2 n n_in n_out for a batch of n, and as much again for the gradient
    of its weights and for the gradient at its input. The first needs none at its input, unless
    gradient has to go on into another net.
    """

    forward: int
    first: int

    @property
    def backward(self) -> int:
        """Gradients of all weights, none at the net's input."""
        return 2 * self.forward - self.first

    @property
    def backward_through(self) -> int:
        """Gradients of all weights, and at the input."""
        return 2 * self.forward

    @property
    def through(self) -> int:
        """The gradient at the input alone."""
        return self.forward

    @classmethod
    def of(cls, sizes: Sequence[int], batch: int) -> MlpFlops:
        """sizes: units, layer by layer, from the net's input to its output."""
        layers = [2 * batch * n_in * n_out for n_in, n_out in pairwise(sizes)]
        return cls(sum(layers), layers[0])


def mlp_flops(sizes_g: Sequence[int], sizes_d: Sequence[int], batch: int) -> dict[str, int]:
    """FLOPs of one step of every strategy, derived: keys of ``STRATEGIES``.

    sizes_g, sizes_d: units, layer by layer, as (32, 64, 64, 64) and (64, 512, 512, 1).
    """
    G, D = MlpFlops.of(sizes_g, batch), MlpFlops.of(sizes_d, batch)
    two, three = G.forward + 2 * D.forward, G.forward + 3 * D.forward
    learn = 2 * D.backward  # D's own, from real and fake
    both = D.backward + D.backward_through  # the same, where the fake's gradient goes on into G
    return {
        "retain_graph": two + both + G.backward + D.backward_through + G.backward,
        "detach": three + learn + D.backward_through + G.backward,
        "generator_first": three + D.backward_through + G.backward + learn,
        "frozen": three + D.through + G.backward + learn,
        "selective": two + learn + D.through + G.backward,
        "one_stage": two + both + G.backward,
    }


def crossover(sizes_g: Sequence[int], sizes_d: Sequence[int], batch: int) -> int:
    """FLOPs by which S1 exceeds S3: G's backward - D's forward + the gradient at D's input."""
    G, D = MlpFlops.of(sizes_g, batch), MlpFlops.of(sizes_d, batch)
    return G.backward - D.forward + D.first


# Time ---------------------------------------------------------------------------------------------


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


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the middle half."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def flops_text(flops: int) -> str:
    """``12.3 M``: three digits and a power of a thousand."""
    power = 0
    while flops >= 1000 ** (power + 1) and power < 4:
        power += 1
    number = flops / 1000**power
    digits = 0 if power == 0 else 2 if number < 10 else 1
    return f"{number:.{digits}f} {('', 'k', 'M', 'G', 'T')[power]}".strip()
