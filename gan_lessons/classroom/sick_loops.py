"""Steps that are wrong, or only look so: from lessons 02, 03 and 08, and four that are new in 12.

Those of a lesson have the names that they have there. Each is ``step(gan, real, noise)`` and
returns its losses. ``prepare`` makes the pair ill, where the illness is not in the lines. ``like``:
the healthy step that it should be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, optim

from gan_lessons import published
from gan_lessons.gan import Gan, StepLosses
from gan_lessons.put_back import frozen
from gan_lessons.steps import step_detach, step_generator_first, step_retain_graph
from gan_lessons.strategies import Step

Prepare = Callable[[Gan], None]


@dataclass(frozen=True)
class SickLoop:
    """``lesson``: where it stands, "new" for none. ``illness``: an ending of ``stuck``; ``net``:
    whom it concerns. They are what is known of it, from having written it."""

    step: Step
    lesson: str
    net: str
    illness: str
    like: str
    prepare: Prepare


SICK: dict[str, SickLoop] = {}


def as_it_is(_: Gan) -> None:
    """Nothing to prepare."""


def sick(
    lesson: str, net: str, illness: str, like: str = "detach", prepare: Prepare = as_it_is
) -> Callable[[Step], Step]:
    """Enter a step into ``SICK`` under its name."""

    def enter(step: Step) -> Step:
        SICK[step.__name__] = SickLoop(step, lesson, net, illness, like, prepare)
        return step

    return enter


def losses(d_loss: Tensor, g_loss: Tensor) -> StepLosses:
    return StepLosses(d_loss.detach(), g_loss.detach())


def d_loss_of(gan: Gan, fake: Tensor, real: Tensor) -> Tensor:
    on_real, on_fake = gan.discriminator(real), gan.discriminator(fake)
    ones, zeros = torch.ones_like(on_real), torch.zeros_like(on_fake)
    return (gan.loss(on_real, ones) + gan.loss(on_fake, zeros)) / 2


def g_loss_of(gan: Gan, fake: Tensor) -> Tensor:
    pred = gan.discriminator(fake)
    return gan.loss(pred, torch.ones_like(pred))


def learn(optimizer: optim.Optimizer, loss: Tensor, **how: Any) -> None:
    optimizer.zero_grad()
    loss.backward(**how)
    optimizer.step()


sick("02", "G", "an error", "retain_graph")(published.retain_graph_as_printed)
sick("02, 08", "G", "old graph, new weights", "retain_graph")(published.retain_graph_before_1_5)
sick("03", "G", "an error")(published.detach_as_printed)


@sick("02, 08", "G", "another loss in it", "retain_graph")
def nothing_to_see(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise)
    d_loss, g_loss = d_loss_of(gan, fake, real), g_loss_of(gan, fake)
    gan.optimizer_g.zero_grad()
    gan.optimizer_d.zero_grad()
    d_loss.backward(retain_graph=True)
    g_loss.backward(inputs=list(gan.generator.parameters()))
    gan.optimizer_d.step()
    gan.optimizer_g.step()
    return losses(d_loss, g_loss)


@sick("03", "G", "an error")
def obey(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    pred = gan.discriminator(gan.generator(noise).detach())
    on_real = gan.discriminator(real)
    ones, zeros = torch.ones_like(pred), torch.zeros_like(pred)
    d_loss = (gan.loss(on_real, ones) + gan.loss(pred, zeros)) / 2
    learn(gan.optimizer_d, d_loss, retain_graph=True)
    g_loss = gan.loss(pred, ones)
    learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("03", "G", "cut off")
def keep_copies(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """The next error is silenced by copies."""
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        return obey(gan, real, noise)


@sick("03", "G", "cut off")
def backward_earlier(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """It is silenced by moving the lines."""
    pred = gan.discriminator(gan.generator(noise).detach())
    on_real = gan.discriminator(real)
    ones, zeros = torch.ones_like(pred), torch.zeros_like(pred)
    d_loss = (gan.loss(on_real, ones) + gan.loss(pred, zeros)) / 2
    g_loss = gan.loss(pred, ones)
    gan.optimizer_g.zero_grad()
    gan.optimizer_d.zero_grad()
    d_loss.backward(retain_graph=True)
    g_loss.backward()
    gan.optimizer_d.step()
    gan.optimizer_g.step()
    return losses(d_loss, g_loss)


@sick("03", "G", "cut off")
def still_detached(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise).detach()
    d_loss = d_loss_of(gan, fake, real)
    learn(gan.optimizer_d, d_loss)
    g_loss = g_loss_of(gan, fake)
    learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("03", "G", "an error")
def frozen_d(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise).detach()
    d_loss = d_loss_of(gan, fake, real)
    learn(gan.optimizer_d, d_loss)
    with frozen(gan.discriminator):
        g_loss = g_loss_of(gan, fake)
        learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("03", "G", "an error")
def no_detach(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake, real)
    learn(gan.optimizer_d, d_loss)
    g_loss = g_loss_of(gan, fake)
    learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("08", "D", "another loss in it")
def always_wins(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake.detach(), real)
    d_loss.backward()
    gan.optimizer_d.step()
    g_loss = g_loss_of(gan, fake)
    learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("08", "G", "cut off")
def too_strong(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    with torch.no_grad():
        fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake, real)
    learn(gan.optimizer_d, d_loss)
    g_loss = g_loss_of(gan, fake)
    learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("08", "", "healthy")
def careful(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """It wastes memory, and its gradients are right."""
    fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake.detach(), real)
    learn(gan.optimizer_d, d_loss, retain_graph=True)
    g_loss = g_loss_of(gan, fake)
    learn(gan.optimizer_g, g_loss, retain_graph=True)
    return losses(d_loss, g_loss)


@sick("08", "G", "cleared too early")
def seventh(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake.detach(), real)
    learn(gan.optimizer_d, d_loss)
    g_loss = g_loss_of(gan, fake)
    g_loss.backward()
    gan.optimizer_g.zero_grad()
    gan.optimizer_g.step()
    return losses(d_loss, g_loss)


@sick("new", "G", "never stepped")
def never_stepped(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake.detach(), real)
    learn(gan.optimizer_d, d_loss)
    gan.optimizer_g.zero_grad()
    g_loss = g_loss_of(gan, fake)
    g_loss.backward()
    return losses(d_loss, g_loss)


def both_hold_d(gan: Gan) -> None:
    gan.optimizer_g = optim.Adam(gan.discriminator.parameters(), lr=2e-3)


def last_layer_held(gan: Gan) -> None:
    gan.optimizer_g = optim.Adam([*gan.generator.parameters()][-2:], lr=2e-3)


def frozen_g(gan: Gan) -> None:
    gan.generator.requires_grad_(False)


def plainly(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """Nothing is wrong with these lines."""
    fake = gan.generator(noise)
    d_loss = d_loss_of(gan, fake.detach(), real)
    learn(gan.optimizer_d, d_loss)
    g_loss = g_loss_of(gan, fake)
    learn(gan.optimizer_g, g_loss)
    return losses(d_loss, g_loss)


@sick("new", "G", "no optimizer", prepare=both_hold_d)
def optimizer_of_the_wrong_net(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    return plainly(gan, real, noise)


@sick("new", "G", "no optimizer", prepare=last_layer_held)
def optimizer_of_one_layer(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    return plainly(gan, real, noise)


@sick("new", "G", "frozen", prepare=frozen_g)
def frozen_by_mistake(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    return plainly(gan, real, noise)


for healthy in (step_retain_graph, step_detach, step_generator_first):
    sick("–", "", "healthy", healthy.__name__.removeprefix("step_"))(healthy)
