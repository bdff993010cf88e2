"""What the loops share: small nets, data that is the same each time, the truth, the verdict.

A loop is one iteration, ``body(it, i)``, of a pair ``it``. Where ``it.fixed`` is set it does what
the advice says, and nothing else is changed: so the advice is tried, not only read.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Diagnosis

It = SimpleNamespace  # nets and optimizers of a loop by name, and what it remembers
Intended = Callable[[It, str, int], Tensor | None]
ITERATIONS = 3


def mlp(n: int, m: int, last: nn.Module | None = None) -> nn.Sequential:
    layers = [nn.Linear(n, 8), nn.LeakyReLU(0.2), nn.Linear(8, m)]
    return nn.Sequential(*layers, *([last] if last else []))


def sgd(*nets: nn.Module) -> optim.Optimizer:
    return optim.SGD([p for net in nets for p in net.parameters()], lr=0.05)


def draw(i: int, shift: float = 0.0, n: int = 8) -> Tensor:
    """The same numbers for the same ``i``; ``shift`` moves what is real away from the noise."""
    generator = torch.Generator().manual_seed(int(1000 * shift) + i)
    return torch.randn(n, 2, generator=generator) + shift


def noise(i: int) -> Tensor:
    return draw(i)


def real(i: int) -> Tensor:
    return draw(i, 2.0)


def bce(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def pair(fixed: bool) -> It:
    G, D = mlp(2, 2), mlp(2, 1)
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)}, kept=[])


def usual(it: It, who: str, i: int) -> Tensor | None:
    """What each player of a GAN is to follow, at the weights of this moment."""
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == next(iter(it.optimizers)):
        return bce(D(fake), 1.0)
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


@dataclass(frozen=True)
class Loop:
    """``codes``: (code, net) of the errors and wrong gradients to be told; none for a right loop.
    ``waste``: a code of waste to be told. ``says``, ``advice``: words of message and fix.
    ``source``: a public thread with this shape."""

    name: str
    family: str
    body: Callable[[It, int], None]
    build: Callable[[bool], It] = pair
    intended: Intended | None = usual
    codes: tuple[tuple[str, str | None], ...] = ()
    waste: str = ""
    says: str = ""
    advice: str = ""
    source: str = ""

    @property
    def faulty(self) -> bool:
        return bool(self.codes or self.waste)


LOOPS: list[Loop] = []


def loop(*codes: tuple[str, str | None], **how: Any) -> Callable[[Callable[..., None]], Loop]:
    """Register a loop; its family is the file that it stands in."""

    def register(body: Callable[..., None]) -> Loop:
        family = body.__module__.rpartition(".")[-1]
        LOOPS.append(Loop(body.__name__, family, body, codes=codes, **how))
        return LOOPS[-1]

    return register


@dataclass
class Verdict:
    """``gaps``: of each optimizer step, how far its gradient is from the intended one, relative to
    it. ``raised``: the exception that ended the loop, or ""."""

    diagnosis: Diagnosis
    gaps: list[tuple[str, float]] = field(default_factory=list)
    raised: str = ""

    @property
    def right(self) -> bool:
        return not self.raised and all(gap < 1e-4 for _, gap in self.gaps)

    @property
    def grave(self) -> tuple[tuple[str, str | None], ...]:
        found = (f for f in self.diagnosis.findings if f.severity in ("error", "wrong"))
        return tuple(dict.fromkeys((f.code, f.net) for f in found))


def judge(one: Loop, fixed: bool = False) -> Verdict:
    """Run the loop twice from the same start: against the intended gradients, and recorded."""
    torch.manual_seed(0)
    it = one.build(fixed)
    with compared(it, one.intended) as gaps:
        raised = run(it, one)
    torch.manual_seed(0)
    it = one.build(fixed)
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        with record(it.nets, it.optimizers) as rec:
            for i in range(ITERATIONS):
                one.body(it, i)
    return Verdict(diagnose(rec), gaps, raised)


def run(it: It, one: Loop) -> str:
    try:
        for i in range(ITERATIONS):
            it.iteration = i
            one.body(it, i)
    except Exception as error:  # noqa: BLE001  whatever it raises is the truth about it
        return f"{type(error).__name__}: {error}"
    return ""


@contextlib.contextmanager
def compared(it: It, intended: Intended | None) -> Iterator[list[tuple[str, float]]]:
    """Before each optimizer step, ``.grad`` against ``autograd.grad`` of the intended loss."""
    gaps: list[tuple[str, float]] = []

    def before(who: str, optimizer: optim.Optimizer) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        modules = [net for net in it.nets.values() if isinstance(net, nn.Module)]
        frozen = [p for net in modules for p in net.parameters() if not p.requires_grad]
        for p in frozen:
            p.requires_grad_(True)
        with torch.enable_grad(), torch.random.fork_rng():
            loss = intended(it, who, it.iteration) if intended else None
            found = torch.autograd.grad(loss, params, allow_unused=True) if loss is not None else ()
        for p in frozen:
            p.requires_grad_(False)
        if loss is not None:
            gaps.append((who, _gap(params, found)))

    for name, optimizer in it.optimizers.items():
        optimizer.register_step_pre_hook(lambda o, *_, name=name: before(name, o))
    yield gaps


def _gap(params: list[Tensor], wanted: tuple[Tensor | None, ...]) -> float:
    def flat(grads: Any) -> Tensor:
        zipped = zip(params, grads, strict=True)
        return torch.cat(
            [(torch.zeros_like(p) if g is None else g.detach()).flatten() for p, g in zipped]
        )

    mine, theirs = flat([p.grad for p in params]), flat(wanted)
    return float((mine - theirs).norm() / theirs.norm().clamp_min(1e-12))
