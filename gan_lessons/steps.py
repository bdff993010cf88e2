"""The orderings of one training step. Each moves both nets once, by real and noise (batch, ...).

It fills `.grad` and returns the losses as they were before the move; bad input changes nothing.
"""

import torch
from torch import Tensor

from gan_lessons.gan import Gan, StepLosses, check
from gan_lessons.put_back import gradients_kept


def step_retain_graph(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """One graph serves both losses; both backwards come before either optimizer moves."""
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    fake = G(noise)
    pred_fake, pred_real = D(fake), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True)  # the other loss needs the graph too

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    with gradients_kept(opt_d):  # those of d_loss are back at its end
        g_loss.backward()

    opt_d.step()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_detach(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """D learns from the detached fake and moves; then G learns through a second forward of D."""
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    fake = G(noise)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    pred_fake, pred_real = D(fake.detach()), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward()
    opt_d.step()

    # Generator: maximise log D(fake), for the D that has just moved
    opt_g.zero_grad()
    g_loss = loss(D(fake), ones)
    g_loss.backward()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_generator_first(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """G learns and moves; then D learns from the same fake, detached."""
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    fake = G(noise)
    pred_fake = D(fake)  # (batch, 1)
    ones, zeros = torch.ones_like(pred_fake), torch.zeros_like(pred_fake)
    g_loss = loss(pred_fake, ones)
    g_loss.backward()
    opt_g.step()

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(D(real), ones) + loss(D(fake.detach()), zeros)) / 2
    d_loss.backward()
    opt_d.step()
    return StepLosses(d_loss.detach(), g_loss.detach())
