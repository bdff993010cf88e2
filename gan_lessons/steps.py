"""One training step of a GAN, in the orderings that people use. Every step

takes real (batch, ...) and noise (batch, ...), moves both nets once, clears and fills their
`.grad`, and returns the losses, detached, as they were before the nets moved. Bad input is refused
by `gan.check` before anything changes.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_lessons.gan import Gan, StepLosses

Step = Callable[[Gan, Tensor, Tensor], StepLosses]


def step_retain_graph(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """One graph serves both losses. Both backwards come before either optimizer moves."""
    gan.check(real, noise)
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    opt_g, opt_d = gan.optimizer_g, gan.optimizer_d
    fake = G(noise)
    pred_fake, pred_real = D(fake), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True)  # fills D, and G in vain

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    with gradients_kept(opt_d):  # this backward reaches D as well
        g_loss.backward()

    opt_d.step()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_detach(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """D learns from a detached fake and moves; then G learns from the new D."""
    gan.check(real, noise)
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    opt_g, opt_d = gan.optimizer_g, gan.optimizer_d
    fake = G(noise)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    pred_fake, pred_real = D(fake.detach()), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward()  # stops at the detached fake
    opt_d.step()

    # Generator: maximise log D(fake), for the D that has just moved
    opt_g.zero_grad()
    g_loss = loss(D(fake), ones)
    g_loss.backward()  # fills G, and D in vain
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_generator_first(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """G learns from the old D and moves; then D learns from the fake that the old G made."""
    gan.check(real, noise)
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    opt_g, opt_d = gan.optimizer_g, gan.optimizer_d

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    fake = G(noise)
    pred_fake = D(fake)  # (batch, 1)
    ones, zeros = torch.ones_like(pred_fake), torch.zeros_like(pred_fake)
    g_loss = loss(pred_fake, ones)
    g_loss.backward()  # fills G, and D in vain
    opt_g.step()

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(D(real), ones) + loss(D(fake.detach()), zeros)) / 2
    d_loss.backward()  # stops at the detached fake
    opt_d.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


@contextmanager
def gradients_kept(optimizer: Optimizer) -> Iterator[None]:
    """Lay the optimizer's gradients aside; put the same tensors back at the end, or on error."""
    kept = [(p, p.grad) for group in optimizer.param_groups for p in group["params"]]
    try:
        for parameter, _ in kept:
            parameter.grad = None  # else the next backward would add to the kept tensor
        yield
    finally:
        for parameter, grad in kept:
            parameter.grad = grad


@dataclass(frozen=True)
class Strategy:
    """A step function with a name for people."""

    key: str
    step: Step
    title: str
    summary: str


class _Strategies(dict[str, Strategy]):
    def __missing__(self, key: object) -> Strategy:
        close = difflib.get_close_matches(str(key), self, n=1, cutoff=0)[0]
        raise KeyError(f"no strategy {key!r}; known: {', '.join(self)}. Did you mean {close!r}?")


def _strategy(title: str, step: Step) -> Strategy:
    """Named after its function; the summary is the first line of the docstring."""
    summary = (step.__doc__ or "").partition("\n")[0]
    return Strategy(step.__name__.removeprefix("step_"), step, title, summary)


_ALL = [
    _strategy("S1: retain the graph", step_retain_graph),
    _strategy("S2: detach", step_detach),
    _strategy("S3: generator first", step_generator_first),
]
STRATEGIES: Mapping[str, Strategy] = MappingProxyType(_Strategies({s.key: s for s in _ALL}))
