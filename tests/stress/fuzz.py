"""Random nets and random steps under every instrument, beside a twin that nobody watches.

    python -m tests.stress.fuzz --cases 2000 --seed 0
    python -m tests.stress.fuzz --seed 1234 --cases 1 --show   # the source of one case

A case runs its step three times from the same start: unwatched; with ``Tensor.backward`` replaced
by a few lines of this file, which set every ``.grad`` aside and look which are written anew; and
under ``record``. Numbers, random state and errors must be the same in all, bit by bit, and the
receivers those that this file has seen. Then all views of the record are made, and now and then
``cost`` and ``explore`` run the step on copies. Whatever raises and did not mean to is an accident.
"""

from __future__ import annotations

import random
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.parameter import is_lazy

from gan_lessons import Gan, cost, diagnose, draw_graph, explore, record
from gan_lessons.lens.model import Record
from tests.stress import report
from tests.stress.fuzz_nets import WIDTH, first, random_net
from tests.stress.fuzz_steps import function_of, random_source, value

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda ps: optim.SGD(ps, 0.05),
    "SGD, momentum": lambda ps: optim.SGD(ps, 0.05, 0.9, nesterov=True, weight_decay=0.01),
    "SGD, one by one": lambda ps: optim.SGD(ps, 0.05, foreach=False),
    "Adam": lambda ps: optim.Adam(ps, 0.01),
    "Adam, fused": lambda ps: optim.Adam(ps, 0.01, fused=True),
    "Adam, foreach": lambda ps: optim.Adam(ps, 0.01, foreach=True, amsgrad=True),
    "AdamW": lambda ps: optim.AdamW(ps, 0.01, maximize=True),
    "RMSprop": lambda ps: optim.RMSprop(ps, 0.01, centered=True),
    "Adagrad": lambda ps: optim.Adagrad(ps, 0.01),
    "Adadelta": optim.Adadelta,
    "Adamax": optim.Adamax,
    "NAdam": optim.NAdam,
    "RAdam": optim.RAdam,
    "ASGD": optim.ASGD,
    "Rprop": optim.Rprop,
    "Adafactor": optim.Adafactor,
    "LBFGS": lambda ps: optim.LBFGS(ps, 0.1, max_iter=2),
}


@dataclass
class Case:
    """What is tried: a step in words, and how to build, always alike, what it runs on."""

    seed: int
    source: str
    build: Callable[[], tuple[Any, Tensor, Tensor]]
    kinds: list[str] = field(default_factory=list)
    iterations: int = 1
    calls: int = 0  # backward calls whose receivers were compared
    raised: str = ""

    def step(self) -> Callable[..., Any]:
        return function_of(self.source, f"fuzz {self.seed}")


def random_case(seed: int) -> Case:
    random_ = random.Random(seed)
    source = random_source(random_)
    plain, batch = random_.random() < 0.5, random_.choice((2, 3, 4))
    kinds, meta = random_.choices(list(OPTIMIZERS), k=2), random_.random() < 0.03
    shared, nets_seed = random_.random() < 0.05, random_.getrandbits(32)
    words: list[str] = []

    def build() -> tuple[Any, Tensor, Tensor]:
        again = random.Random(nets_seed)
        torch.manual_seed(seed)
        (G, of_g), (D, of_d) = (random_net(again, n, plain) for n in (WIDTH, 1))
        words[:] = [of_g, of_d, *kinds]
        if shared:
            D.blocks = G.blocks
        real, noise = torch.randn(batch, WIDTH), torch.randn(batch, WIDTH)
        if meta:
            G, D, real, noise = G.to("meta"), D.to("meta"), real.to("meta"), noise.to("meta")
        made = [optimizer_of(kind, net) for kind, net in zip(kinds, (G, D), strict=True)]
        parts = (G, D, *made, loss)
        both = SimpleNamespace(
            nets={"G": G, "D": D}, optimizers=dict(zip("GD", made, strict=True)), parts=parts
        )
        return both, real, noise

    return Case(seed, source, build, words, random_.choice((1, 1, 2)))


def optimizer_of(kind: str, net: nn.Module) -> optim.Optimizer:
    try:
        return OPTIMIZERS[kind](net.parameters())
    except ValueError:  # torch's own Adagrad takes no weights of lazy layers
        return OPTIMIZERS["SGD"](net.parameters())


def loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Only for ``Gan``, which asks for one."""
    return value(first(prediction)) + 0 * value(target)


# Three runs ---------------------------------------------------------------------------------------

Received = list[dict[str, tuple[str, ...]]]


def run(case: Case, both: Any, real: Tensor, noise: Tensor) -> str:
    """Run the step; what it raised, or ''."""
    step = case.step()
    try:
        for _ in range(case.iterations):
            step(both, real, noise)
    except Exception as error:  # noqa: BLE001 - a fault is part of the case
        return f"{type(error).__name__}: {error}"
    return ""


@contextmanager
def receivers_seen(nets: dict[str, nn.Module]) -> Iterator[Received]:
    """What every ``.backward()`` writes to, found out without any hook: each ``.grad`` is set aside
    before, and what is there afterwards is new. Then the two are added, as torch would have."""
    plain, found = Tensor.backward, Received()
    named = {name: dict(net.named_parameters()) for name, net in nets.items()}
    all_ = {p for own in named.values() for p in own.values()}

    def backward(self: Tensor, *args: Any, **kwargs: Any) -> None:
        before = {p: p.grad for p in all_}
        for p in all_:
            p.grad = None
        try:
            plain(self, *args, **kwargs)
        finally:
            written = {p for p in all_ if p.grad is not None}
            for p, old in before.items():
                if old is not None and p.grad is not None:
                    p.grad = p.grad + old if old.is_sparse else old + p.grad  # torch knows no third
                elif old is not None:
                    p.grad = old
            told = {n: tuple(k for k in own if own[k] in written) for n, own in named.items()}
            found.append(told)

    Tensor.backward = backward  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Tensor.backward = plain  # type: ignore[method-assign]


def state(both: Any) -> list[Any]:
    """Every number and flag that a step, or an instrument, may have touched, hooks among them."""
    found: list[Any] = [torch.get_rng_state().tolist()]
    for net in both.nets.values():
        for tensor in [*net.parameters(), *net.buffers()]:
            found += [tensor.requires_grad, as_bytes(tensor), as_bytes(tensor.grad)]
            found.append(len(getattr(tensor, "_post_accumulate_grad_hooks", None) or ()))
        for module in net.modules():
            hooks = (module._forward_hooks, module._forward_pre_hooks)
            found += [module.training, *map(len, hooks)]
    for optimizer in both.optimizers.values():
        kept = optimizer.state_dict()["state"]
        found.append(torch.utils._pytree.tree_map_only(Tensor, as_bytes, kept))
    return found


def as_bytes(tensor: Tensor | None) -> Any:
    if tensor is None or is_lazy(tensor):
        return str(type(tensor))
    if tensor.is_meta:
        return tensor.shape
    dense = tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()
    return dense.contiguous().view(-1).view(torch.uint8).tolist()


# What is tried ------------------------------------------------------------------------------------


def accidents(case: Case) -> Iterator[tuple[str, str]]:
    """(where, what) for each thing that is not as it must be."""
    plain = case.build()
    case.raised = raised = run(case, *plain)
    after = state(plain[0])
    looked = case.build()
    with receivers_seen(looked[0].nets) as seen:
        run(case, *looked)
    watched = case.build()
    with record(watched[0].nets, watched[0].optimizers) as rec:
        told = run(case, *watched)
    if told != raised:
        yield "record", f"raised {told!r} instead of {raised!r}"
    if state(watched[0]) != after:
        yield "record", "the numbers are not those of the unwatched twin"
    case.calls = len(rec.backward_calls)
    if not raised and len(seen) != len(rec.backward_calls):
        yield "receivers", f"{len(rec.backward_calls)} backward calls instead of {len(seen)}"
    for call, truth in zip(rec.backward_calls, seen, strict=False):
        if dict(call.received) != truth:
            yield "receivers", f"call {call.index}: {dict(call.received)} instead of {truth}"
    rng = torch.get_rng_state()
    yield from fallen(views(rec, case.seed))
    if not torch.equal(rng, torch.get_rng_state()) or state(watched[0]) != after:
        yield "views", "looking at the record changed something"
    yield from on_copies(case)


Tries = Iterator[tuple[str, Callable[[], Any]]]


def views(rec: Record, seed: int) -> Tries:
    yield "print", lambda: str(rec)
    yield "html", rec._repr_html_
    yield "table", lambda: (str(rec.table(fold=1)), str(rec.table(events=["step"], width=40)))
    yield "diagnose", lambda: (str(diagnose(rec)), diagnose(rec)._repr_html_())
    yield (
        "draw_graph",
        lambda: [
            (g.dot, g.text) for g in (draw_graph(record=rec), draw_graph(record=rec, compact=True))
        ],
    )
    for call in range(len(rec.backward_calls)):
        yield f"facts of call {call}", partial(facts_of, rec, call)
    yield "json", lambda: same(Record.from_json(rec.to_json()), rec)
    yield "facts", lambda: (
        rec.peak, rec.versions, rec.vain_count, rec.walked, rec.forward_counts, rec.backward_counts,
        [rec.consumed(e) for e in rec.events], [rec.graph_at(e.index) for e in rec.events],
    )  # fmt: skip
    if seed % 20 == 0:
        yield "svg", lambda: draw_graph(record=rec)._repr_html_()


def facts_of(rec: Record, call: int) -> None:
    rec.used(call), rec.in_vain(call), rec.end_of(call), draw_graph(record=rec, call=call).text


def same(read: Record, rec: Record) -> None:
    assert read.to_json() == rec.to_json(), "the record read from its JSON is another one"
    assert read == rec or "NaN" in rec.to_json()  # which equals nothing, not even itself


def on_copies(case: Case) -> Iterator[tuple[str, str]]:
    """``cost`` and ``explore`` of the same step, where its parts make a ``Gan``."""
    both, real, noise = case.build()
    try:
        gan = Gan(*both.parts)
        gan.check(real, noise)
    except Exception as error:  # noqa: BLE001 - said in words, or it is an accident
        if not meant(error):
            yield "Gan", told_of(error)
        return
    before = state(gan)
    yield from fallen(iter([("cost", partial(costed, case.step(), gan, real, noise))]))
    if case.seed % 4 == 0:
        look = partial(explored, case.step(), gan, real, noise, case.seed % 16 == 0)
        yield from fallen(iter([("explore", look)]))
    if state(gan) != before:
        yield "copies", "cost or explore changed what it was given"


def costed(step: Any, gan: Gan, real: Tensor, noise: Tensor) -> None:
    str(cost(step, gan, real, noise, repeat=0))


def explored(step: Any, gan: Gan, real: Tensor, noise: Tensor, what_if: bool) -> None:
    shown = explore(step, gan=gan, real=real, noise=noise, what_if=what_if)
    shown.fragment("g")
    shown.close()


def fallen(tries: Tries) -> Iterator[tuple[str, str]]:
    for name, look in tries:
        try:
            look()
        except Exception as error:  # noqa: BLE001 - what is looked for
            if not meant(error):
                yield name, told_of(error)


def meant(error: Exception) -> bool:
    """Did a line of ours raise it in words, or the step (or the nets) that we were given?"""
    frames = traceback.extract_tb(error.__traceback__)
    if any("<fuzz" in frame.filename or "fuzz_nets" in frame.filename for frame in frames):
        return True
    last = [f for f in frames if "gan_lessons" in f.filename][-1:]
    return bool(last) and last[0] is frames[-1] and "raise" in (last[0].line or "")


def told_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{f.name}:{f.lineno}" for f in frames[::-1][:4])
    return f"{type(error).__name__}: {str(error)[:200]} ({where})"


def tried(cases: int, seconds: float, seed: int) -> Iterator[tuple[Case, list[tuple[str, str]]]]:
    end = time.monotonic() + seconds
    for number in range(seed, seed + cases):
        case = random_case(number)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            found = list(accidents(case))
        yield case, found
        if time.monotonic() > end:
            return


def main() -> None:
    parser = report.arguments(__doc__, cases=2000)
    parser.add_argument("--show", action="store_true", help="the source of each case")
    options = parser.parse_args()
    blocks, found_in, done, calls, raised = set[str](), 0, 0, 0, 0
    for case, found in tried(options.cases, options.seconds, options.seed):
        done, calls, raised = done + 1, calls + case.calls, raised + bool(case.raised)
        blocks |= {b for net in case.kinds[:2] for b in net.split(" -> ")[0].split(" + ")}
        found_in += bool(found)
        if found or options.show:
            print(f"case {case.seed}: {'; '.join(case.kinds)}")
            print(*(f"  {at}: {what}" for at, what in found), case.source, sep="\n", flush=True)
    text = (
        "{done} random steps, {raised} of which raise, with {calls} backward calls, on nets of "
        "{blocks} kinds of blocks, under every instrument: {bad} accidents"
    )
    told = text.format(done=done, raised=raised, calls=calls, blocks=len(blocks), bad=found_in)
    report.told("fuzz", told, found_in)


if __name__ == "__main__":
    main()
