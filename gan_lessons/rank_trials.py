"""What every strategy does on many processes: trials that run in each of them.

    with Processes(2) as both:
        both.run(agreement, "detach", "DDP")

A way is how gradients get from process to process: "hook" is this package's (see `ranks`), "one
DDP" a DistributedDataParallel around a module that holds both nets, the others one around each
net; "unused" is its option find_unused_parameters, "static_graph" another.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from gan_lessons import data, published, ranks
from gan_lessons.factories import dcgan, mlp_gan
from gan_lessons.gan import Gan
from gan_lessons.strategies import STRATEGIES, Step

WAYS: Mapping[str, dict[str, Any]] = {
    "hook": {},
    "DDP": {},
    "one DDP": {},
    "one DDP, unused": {"find_unused_parameters": True},
    "unused": {"find_unused_parameters": True},
    "static_graph": {"static_graph": True},
}
# As printed both raise on one process already; before 1.5 the first one ran.
PUBLISHED: Mapping[str, Step] = {
    step.__name__: step
    for step in (
        published.retain_graph_as_printed,
        published.detach_as_printed,
        published.retain_graph_before_1_5,
    )
}
BATCH = 32
TOLERANCE = 1e-6


def steps() -> dict[str, Step]:
    """All strategies and the published ones, by name."""
    return {**{key: s.step for key, s in STRATEGIES.items()}, **PUBLISHED}


Sent = Counter[str]  # bytes that one process handed over to be averaged, by net


@contextmanager
def sharing(gan: Gan, way: str, **options: Any) -> Iterator[tuple[Gan, Sent]]:
    """The gan as one of many, in this way, and the bytes it sends; `gan` itself is as before.

    options: more of DistributedDataParallel's. Raises KeyError for an unknown way.
    """
    options, sent = {**WAYS[way], **options}, Counter[str]()
    if way == "hook":
        with ranks.joined(gan), ExitStack() as undone:
            for net, optimizer in gan.optimizers.items():
                undone.enter_context(optimizer.register_step_pre_hook(_counting(sent, net)))
            yield gan, sent
        return
    wrapped: dict[str, nn.Module] = {}
    if way.startswith("one DDP"):
        both = DistributedDataParallel(_Both(gan), **options)
        both.register_comm_hook((sent, "G and D"), _count_and_average)
        wrapped = {net: _Part(both, net) for net in gan.nets}
    else:
        for net, module in gan.nets.items():
            wrapped[net] = one = DistributedDataParallel(module, **options)
            one.register_comm_hook((sent, net), _count_and_average)
    yield replace(gan, generator=wrapped["G"], discriminator=wrapped["D"]), sent


class _Both(nn.Module):
    def __init__(self, gan: Gan) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(gan.nets)

    def forward(self, net: str, given: Tensor) -> Tensor:
        out: Tensor = self.nets[net](given)
        return out


class _Part(nn.Module):
    """One net of two in one wrapper: it owns its weights, and its forward is the wrapper's."""

    def __init__(self, both: nn.Module, net: str) -> None:
        super().__init__()
        self.own, self.name = both.module.nets[net], net  # type: ignore[union-attr, index]
        self._both = [both]  # in a list: the other net's weights are not ours

    def forward(self, given: Tensor) -> Tensor:
        out: Tensor = self._both[0](self.name, given)
        return out


def _counting(sent: Sent, net: str) -> Callable[..., None]:
    def count(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        grads = (p.grad for g in optimizer.param_groups for p in g["params"])
        sent[net] += sum(g.nbytes for g in grads if g is not None)

    return count


def _count_and_average(
    state: tuple[Sent, str], bucket: dist.GradBucket
) -> torch.futures.Future[Tensor]:
    sent, net = state
    sent[net] += bucket.buffer().nbytes
    everybody = dist.group.WORLD
    assert everybody is not None
    return default_hooks.allreduce_hook(everybody, bucket)


def whole_batch(number: int) -> tuple[Tensor, Tensor]:
    """The whole batch (32, ...), the same for everybody."""
    return (
        data.batch(data.ring(400), BATCH, seed=number),
        data.noise(BATCH, (4,), seed=1000 + number),
    )


def own_share(whole: Tensor) -> Tensor:
    rank, processes = ranks.share()
    return whole[rank::processes]


class SharedBatchNorm(nn.BatchNorm1d):
    """BatchNorm by the shares of all processes, as SyncBatchNorm does on GPUs, but small enough to
    read. Given: (samples, features), as many samples in each process; sends all of them."""

    def forward(self, given: Tensor) -> Tensor:
        shares = all_gather(given)  # with a gradient: what the others made of it comes back
        return super().forward(torch.cat(shares)).chunk(len(shares))[dist.get_rank()]


Norm = type[nn.BatchNorm1d] | type[nn.SyncBatchNorm]


def small_gan(norm: Norm | None = None, device: str = "cpu") -> Gan:
    """With SGD: Adam's first step is as long for a gradient of rounding errors as for any other, so
    after it two sums in another order are no longer near each other.

    norm: normalises behind the first layer of both nets. They compute in float64 then: the mere
    order of the samples moves a gradient by 1e-5 of its size in float32.
    """
    gan = mlp_gan((2,), 4, (16, 16), (16, 16), logits=True)
    for net in (gan.generator, gan.discriminator):
        if norm:
            layers = net.get_submodule("net")
            assert isinstance(layers, nn.Sequential)
            layers.insert(1, norm(16))
        net.to(device, torch.float64 if norm else torch.float32)
    opt_g, opt_d = (torch.optim.SGD(net.parameters(), 0.05) for net in gan.nets.values())
    return replace(gan, optimizer_g=opt_g, optimizer_d=opt_d)


@contextmanager
def _used_gradients(gan: Gan) -> Iterator[dict[str, list[Tensor]]]:
    """By net, what its optimizer uses; later backwards may add to `.grad` what nobody uses."""
    used: dict[str, list[Tensor]] = {}

    def keep(net: str) -> Callable[..., None]:
        weights = list(gan.nets[net].parameters())
        return lambda *_: used.update(
            {net: [p.grad.clone() for p in weights if p.grad is not None]}
        )

    with ExitStack() as undone:
        for net, optimizer in gan.optimizers.items():
            undone.enter_context(optimizer.register_step_pre_hook(keep(net)))
        yield used


@dataclass(frozen=True)
class Trial:
    """What came of one strategy in one way.

    raised: the first line of the error, or "". first: the first parameter that differs after five
    steps. off: the largest difference of a gradient to that of one process with the whole batch, in
    units of the net's largest, in the first step; NaN where it raised. sent: bytes per step.
    buffers_agree: did BatchNorm's statistics agree in the end?
    """

    raised: str = ""
    first: str | None = None
    off: float = float("nan")
    sent: Mapping[str, int] = field(default_factory=dict)
    buffers_agree: bool = True

    @property
    def is_right(self) -> bool:
        return not self.raised and self.first is None and self.off <= TOLERANCE

    def __str__(self) -> str:
        if self.raised:
            return "raises"
        if self.first is not None:
            return "drifts in " + self.first.partition(" ")[0]
        return "right" if self.is_right else "agrees, wrong"


def trial(
    key: str, way: str, norm: Norm | None = None, device: str = "cpu", **options: Any
) -> Trial:
    """One strategy in one way, in every process: five steps of a small MLP GAN.

    norm: see `small_gan`; what it is held against, one process with the whole batch, then has
    torch.nn.BatchNorm1d. options: see `sharing`.
    """
    step, gan = steps()[key], small_gan(norm, device)
    alone = small_gan(norm and nn.BatchNorm1d, device)
    weight = next(gan.generator.parameters())
    batches = [[x.to(weight) for x in whole_batch(number)] for number in range(5)]
    try:
        with _used_gradients(alone) as right:
            step(alone, *batches[0])
        with sharing(gan, way, **options) as (many, sent):
            with _used_gradients(gan) as found:
                step(many, *map(own_share, batches[0]))
            per_step = dict(sent)
            for batch in batches[1:]:
                step(many, *map(own_share, batch))
    except (RuntimeError, ValueError) as error:
        return Trial(raised=str(error).partition("\n")[0])
    off = max(_off(found[net], right[net]) for net in gan.nets)
    buffers_agree = bool(ranks.ranks_agree(gan, buffers=True))
    return Trial("", ranks.ranks_agree(gan).first, off, per_step, buffers_agree)


def _off(found: list[Tensor], right: list[Tensor]) -> float:
    largest = max(g.abs().max() for g in right)
    return max(float((a - b).abs().max() / largest) for a, b in zip(found, right, strict=True))


def all_trials() -> dict[tuple[str, str], Trial]:
    """(strategy, way) -> what came of it."""
    return {(key, way): trial(key, way) for key in steps() for way in WAYS}


# Other questions ----------------------------------------------------------------------------------


def buffers(key: str, broadcast_buffers: bool) -> str:
    """Three steps of a DCGAN with BatchNorm, a DDP around each net: what became of its buffers?"""
    rank, _ = ranks.share()
    images = data.noise(8, (1, 16, 16), seed=rank)
    gan = dcgan(16, 1, 5, width=2, logits=True)
    try:
        with sharing(gan, "DDP", broadcast_buffers=broadcast_buffers) as (many, _):
            for number in range(3):
                STRATEGIES[key].step(many, images, data.noise(8, (5,), seed=10 * rank + number))
    except (RuntimeError, ValueError) as error:
        return "raises: " + str(error).partition(":")[0]
    weights, all_of_it = ranks.ranks_agree(gan), ranks.ranks_agree(gan, buffers=True)
    if not weights:
        return str(weights)
    return "weights and buffers agree" if all_of_it else "weights agree, buffers do not"


def accumulation(way: str, use_no_sync: bool = False, parts: int = 4) -> int:
    """Bytes that D's gradient takes when it is summed over `parts` backwards before one step."""
    gan = small_gan()
    with sharing(gan, way) as (many, sent):
        D, opt_d = many.discriminator, many.optimizer_d
        for number in range(parts):
            last = number == parts - 1
            with ExitStack() as quiet:
                if use_no_sync and not last and isinstance(D, DistributedDataParallel):
                    quiet.enter_context(D.no_sync())
                D(own_share(whole_batch(number)[0])).mean().backward()
        opt_d.step()
    return sent["D"]


def seconds_per_step(key: str, batch: int, steps: int = 15, alone: bool = False) -> float:
    """Median seconds of a step on `batch` images, of all processes together.

    alone: rank 0 takes the whole batch, and the others wait; they return NaN.
    """
    rank, processes = ranks.share()
    gan, step = mlp_gan(hidden_g=(256, 256), hidden_d=(256, 256)), STRATEGIES[key].step
    own = batch if alone else batch // processes
    real, noise = data.noise(own, (1, 8, 8), seed=rank).tanh(), data.noise(own, (32,), seed=rank)
    dist.barrier()
    taken = []
    with ExitStack() as undone:
        if not alone:
            undone.enter_context(ranks.joined(gan))
        for _ in range(steps if rank == 0 or not alone else 0):
            start = time.perf_counter()
            step(gan, real, noise)
            taken.append(time.perf_counter() - start)
    dist.barrier()
    return sorted(taken)[len(taken) // 2] if taken else float("nan")


def milliseconds_to_send(handed_over: float, processes: int, wire: float) -> float:
    """On paper: an all-reduce moves 2 (n - 1) / n of the bytes handed over through the wire of each
    of n processes. wire: bytes per second. Latency comes on top."""
    return 2 * (processes - 1) / processes * handed_over / wire * 1e3
