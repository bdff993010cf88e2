"""Orderings that compute less, or nothing, in vain. All three are the simultaneous update.

Each moves both nets once, by real and noise (batch, ...), fills `.grad` and returns the losses as
they were before the move; bad input changes nothing.
"""

import warnings
from collections.abc import Callable
from weakref import WeakSet

import torch
from torch import Tensor, nn

from gan_lessons.gan import Gan, StepLosses
from gan_lessons.independence import require_independent
from gan_lessons.put_back import frozen, trainable


def step_frozen(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """As generator first, with D frozen while G learns: `g_loss` writes no gradient of D."""
    gan.check(real, noise)
    G, D, opt_g, opt_d, loss = gan.parts

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    fake = G(noise)
    with frozen(D):  # its flags are back at the end
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


def step_selective(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """One graph serves both losses, and each backward is told whose gradients to write."""
    gan.check(real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    pred_fake, pred_real = D(G(noise)), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True, inputs=trainable(D))

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    g_loss.backward(inputs=trainable(G))

    opt_d.step()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_one_stage(gan: Gan, real: Tensor, noise: Tensor, *, one_call: bool = False) -> StepLosses:
    """One backward serves both losses: per sample, D's gradient at the fake is scaled to G's.

    Allowed where D gives one number per sample and does not mix samples; else ValueError. one_call:
    D gets fake and real as one batch (more FLOPs, fewer passes). See FusedProp, arXiv 2004.03335.
    """
    gan.check(real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    require_independent(D, real)  # by trying, once; what follows is defined below
    fake = G(noise)
    pred_fake, pred_real = D(torch.cat((fake, real))).chunk(2) if one_call else (D(fake), D(real))
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)  # (batch, 1)

    # Discriminator: maximise log D(real) + log(1 - D(fake)). Generator: maximise log D(fake)
    opt_d.zero_grad()
    opt_g.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    g_loss = loss(pred_fake, ones)
    ratio = gradient_ratio(g_loss, d_loss, pred_fake)  # (batch,)
    if in_range(ratio, D):
        fake.register_hook(scaled_by(ratio))  # on its way from D into G
        d_loss.backward()
    else:
        d_loss.backward(retain_graph=True, inputs=trainable(D))
        g_loss.backward(inputs=trainable(G))

    opt_d.step()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def gradient_ratio(g_loss: Tensor, d_loss: Tensor, pred: Tensor) -> Tensor:
    """(batch,) what D's gradient at each prediction must be multiplied by to become G's.

    pred: (batch, 1), in the graphs of both losses, which stay as they are. It is 0 where G's is 0,
    and not finite where D's has vanished and G's has not.
    """
    (of_d,) = torch.autograd.grad(d_loss, pred, retain_graph=True)
    (of_g,) = torch.autograd.grad(g_loss, pred, retain_graph=True)
    return torch.where(of_g == 0, of_g, of_g / of_d).flatten()


def scaled_by(ratio: Tensor) -> Callable[[Tensor], Tensor]:
    """A hook that multiplies the gradient (batch, ...) of each sample by its ratio (batch,)."""
    return lambda grad: grad * ratio.view(-1, *[1] * (grad.ndim - 1)).to(grad.dtype)


_warned: WeakSet[nn.Module] = WeakSet()


def in_range(ratio: Tensor, D: nn.Module) -> bool:
    """Can every sample be scaled without losing digits? Says so, once per net, when it cannot.

    Where D is certain of a fake its own gradient vanishes. Below the root of the smallest normal
    number it might underflow on its way through D, and no factor brings it back. Waits for the GPU.
    """
    limit = torch.finfo(ratio.dtype).tiny ** -0.5  # 9e18 in float32
    if bool((ratio.abs() <= limit).all()):  # False for NaN
        return True
    if D not in _warned:
        _warned.add(D)
        warnings.warn(
            "step_one_stage: D is so certain of a fake that G's gradient cannot be scaled from D's "
            f"({ratio.dtype} holds factors up to {limit:.0e}); such steps take two backward calls",
            RuntimeWarning,
            stacklevel=3,
        )
    return False
