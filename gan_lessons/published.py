"""Published orderings that fail, kept failing on purpose: both as_printed raise RuntimeError."""

from contextlib import ExitStack

import torch
from torch import Tensor

from gan_lessons.gan import Gan, StepLosses, check


def retain_graph_as_printed(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """S1, where D moves between the two backwards."""
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    pred_fake, pred_real = D(G(noise)), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True)
    opt_d.step()

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    g_loss.backward()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def detach_as_printed(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """S2, where one prediction for the detached fake serves both losses."""
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    pred_fake, pred_real = D(G(noise).detach()), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward()
    opt_d.step()

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    g_loss.backward()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def retain_graph_before_1_5(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """The same lines, D's move hidden from autograd: new weights meet old activations, unseen."""
    check(gan, real, noise)
    hide = torch.autograd._unsafe_preserve_version_counter(tuple(gan.discriminator.parameters()))
    before = gan.optimizer_d.register_step_pre_hook(lambda *_: unseen.enter_context(hide))
    after = gan.optimizer_d.register_step_post_hook(lambda *_: unseen.close())
    with before, after, ExitStack() as unseen:  # both hooks are removed at the end
        return retain_graph_as_printed(gan, real, noise)
