"""Errors of training loops, each raised for real, and the same lines mended: for the cheat sheet.

A mistake is one function. With ``mended=False`` it raises what a reader has seen on a screen; with
``mended=True``, which differs by what ``fix`` says and by nothing else, it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_lessons import data
from gan_lessons.factories import tiny_gan
from gan_lessons.gan import Gan
from gan_lessons.lens.diagnose import diagnose
from gan_lessons.lens.record import record
from gan_lessons.put_back import frozen

Loop = Callable[[Gan, Tensor, Tensor, bool], object]


@dataclass(frozen=True)
class Mistake:
    """``cause`` and ``fix``: Markdown, for people. ``loop(gan, real, noise, mended)``."""

    cause: str
    fix: str
    loop: Loop


@dataclass(frozen=True)
class Raised:
    """What a mistake did: the exception's ``kind`` and ``message``, and the ``code`` that
    ``diagnose`` has for it, or "". ``again``: what the mended lines raised, None if they ran."""

    mistake: Mistake
    kind: str
    message: str
    code: str
    again: Exception | None


MISTAKES: dict[str, Mistake] = {}


def mistake(cause: str, fix: str) -> Callable[[Loop], Loop]:
    """Enter a loop into ``MISTAKES`` under its name."""

    def enter(loop: Loop) -> Loop:
        MISTAKES[loop.__name__] = Mistake(cause, fix, loop)
        return loop

    return enter


def raised_errors() -> list[Raised]:
    """Make every mistake, and mend it, on fresh nets. Changes nothing that outlives the call."""
    found = []
    for made in MISTAKES.values():
        error, codes = _tried(made, mended=False)
        if error is None:
            raise AssertionError("{name} raises nothing".format(name=made.loop.__name__))
        again, _ = _tried(made, mended=True)
        code = next((code for code in codes if code != "exception"), "")
        found.append(Raised(made, type(error).__name__, str(error), code, again))
    return found


def _tried(made: Mistake, *, mended: bool) -> tuple[Exception | None, list[str]]:
    """What the lines raised, and the codes of what ``diagnose`` says of them."""
    gan, real, noise = tiny_gan(seed=0), data.ring(4, seed=0), data.noise(4, (2,), seed=0)
    error: Exception | None = None
    with record(gan.nets, gan.optimizers) as rec:
        try:
            made.loop(gan, real, noise, mended)
        except (RuntimeError, ValueError) as caught:
            error = caught
    return error, [f.code for f in diagnose(rec).findings if f.severity == "error"]


def _d_loss(gan: Gan, real: Tensor, fake: Tensor) -> Tensor:
    on_real, on_fake = gan.discriminator(real), gan.discriminator(fake)
    ones, zeros = torch.ones_like(on_real), torch.zeros_like(on_fake)
    return (gan.loss(on_real, ones) + gan.loss(on_fake, zeros)) / 2


def _g_loss(gan: Gan, pred: Tensor) -> Tensor:
    return gan.loss(pred, torch.ones_like(pred))


@mistake(
    "`d_loss.backward()` went through G too, and freed its graph.",
    "Cut D's copy off: `D(fake.detach())`. G's loss keeps `D(fake)`.",
)
def not_detached(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    fake = gan.generator(noise)
    _d_loss(gan, real, fake.detach() if mended else fake).backward()
    gan.optimizer_d.step()
    _g_loss(gan, gan.discriminator(fake)).backward()


@mistake(
    "`opt_d.step()` rewrote the weights that G's loss was computed with.",
    "Run D again after its step: `g_loss = loss(D(fake), ones)`.",
)
def stepped_in_between(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    fake = gan.generator(noise)
    pred = gan.discriminator(fake)
    _d_loss(gan, real, fake).backward(retain_graph=True)
    gan.optimizer_d.step()
    if mended:
        pred = gan.discriminator(fake)
    _g_loss(gan, pred).backward()


@mistake(
    "The fake was made under `no_grad()` or detached, and D is frozen: no way leads to G.",
    "For G's loss: `D(G(noise))`, with no `detach` and no `no_grad`.",
)
def nothing_to_follow(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    with nullcontext() if mended else torch.no_grad():
        fake = gan.generator(noise)
    with frozen(gan.discriminator):
        _g_loss(gan, gan.discriminator(fake)).backward()


@mistake(
    "One number for each sample has no single gradient.",
    "Take the mean first: `D(fake).mean().backward()`.",
)
def not_a_scalar(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    scores = gan.discriminator(gan.generator(noise))
    (scores.mean() if mended else scores).backward()


@mistake(
    "`BCELoss` wants probabilities; D ends without a sigmoid.",
    "`BCEWithLogitsLoss()`, which takes D's output as it is.",
)
def logits_in_bce(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    logits = 10 * gan.generator(noise)
    loss = nn.BCEWithLogitsLoss() if mended else nn.BCELoss()
    loss(logits, torch.ones_like(logits)).backward()


@mistake(
    "The targets have the shape `(batch,)`, D's output has `(batch, 1)`.",
    "`torch.ones_like(pred)`, `torch.zeros_like(pred)`.",
)
def targets_of_another_shape(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    pred = gan.discriminator(real)
    ones = torch.ones_like(pred) if mended else torch.ones(len(real))
    gan.loss(pred, ones).backward()


@mistake(
    "Weights are clipped in place (WGAN) while autograd looks on.",
    "`with torch.no_grad():` around the clipping.",
)
def clipped_in_sight(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    with torch.no_grad() if mended else nullcontext():
        for parameter in gan.discriminator.parameters():
            parameter.clamp_(-0.01, 0.01)


@mistake(
    "A gradient penalty asks for the gradient at points that want none.",
    "`mixed.requires_grad_()` before `D(mixed)`.",
)
def penalty_at_plain_points(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    mixed = ((real + gan.generator(noise)) / 2).detach()
    if mended:
        mixed.requires_grad_()
    torch.autograd.grad(gan.discriminator(mixed).sum(), mixed, create_graph=True)


@mistake(
    "A fake still has its graph, and NumPy has none.",
    "`fake.detach().cpu().numpy()`.",
)
def plotted_with_its_graph(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    fake = gan.generator(noise)
    (fake.detach().cpu() if mended else fake).numpy()


@mistake(
    "BatchNorm in train mode cannot tell the spread of one sample.",
    "`G.eval()` to draw a single one (and `G.train()` afterwards).",
)
def one_sample_in_train_mode(gan: Gan, real: Tensor, noise: Tensor, mended: bool) -> None:
    G = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    (G.eval() if mended else G)(noise[:1])
