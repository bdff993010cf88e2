"""Orderings that were published and do not work: two raise, one was silently wrong before 1.5.

They fail on purpose. `steps` holds the repaired versions.
"""

import torch
from torch import Tensor

from gan_lessons.gan import Gan, StepLosses


def retain_graph_as_printed(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """S1 with D moved too early. RuntimeError: ... modified by an inplace operation."""
    gan.check(real, noise)
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    opt_g, opt_d = gan.optimizer_g, gan.optimizer_d
    pred_fake, pred_real = D(G(noise)), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True)
    opt_d.step()  # rewrites weights that the retained graph still needs

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    g_loss.backward()  # raises
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def detach_as_printed(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """S2 with G's loss on D's answer to the detached fake. RuntimeError: ... a second time."""
    gan.check(real, noise)
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    opt_g, opt_d = gan.optimizer_g, gan.optimizer_d
    pred_fake, pred_real = D(G(noise).detach()), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward()  # frees the graph of pred_fake
    opt_d.step()

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)  # there is no way from here to G
    g_loss.backward()  # raises
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def retain_graph_before_1_5(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """S1 as printed with the version check silenced: new weights meet old activations, in silence.

    Uses a private tool of torch, `_unsafe_preserve_version_counter`.
    """
    gan.check(real, noise)
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    opt_g, opt_d = gan.optimizer_g, gan.optimizer_d
    pred_fake, pred_real = D(G(noise)), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True)
    with torch.autograd._unsafe_preserve_version_counter(tuple(D.parameters())):
        opt_d.step()  # autograd does not notice

    # Generator: maximise log D(fake), through weights that the activations never saw
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    g_loss.backward()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())
