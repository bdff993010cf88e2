"""Orderings that compute less, or nothing, in vain. All of them are the simultaneous update.

Each moves both nets once, by real and noise (batch, ...), fills `.grad` and returns the losses as
they were before the move; bad input changes nothing.
"""

import warnings
from collections.abc import Callable
from weakref import WeakSet

import torch
from torch import Tensor, nn

from gan_lessons.checks import Loss
from gan_lessons.gan import Gan, StepLosses, check
from gan_lessons.independence import is_independent, require_independent
from gan_lessons.losses import bce_with_logits
from gan_lessons.one_call import use_one_call
from gan_lessons.put_back import frozen, inputs_of


def step_frozen(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """As generator first, with D frozen while G learns: `g_loss` writes no gradient of D."""
    check(gan, real, noise)
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
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    pred_fake, pred_real = D(G(noise)), D(real)  # (batch, 1) each
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)

    # Discriminator: maximise log D(real) + log(1 - D(fake))
    opt_d.zero_grad()
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    d_loss.backward(retain_graph=True, inputs=inputs_of(D))

    # Generator: maximise log D(fake)
    opt_g.zero_grad()
    g_loss = loss(pred_fake, ones)
    g_loss.backward(inputs=inputs_of(G))

    opt_d.step()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_one_stage(
    gan: Gan, real: Tensor, noise: Tensor, *, one_call: bool | None = None
) -> StepLosses:
    """One backward serves both losses: per sample, D's gradient at the fake is scaled to G's.

    ValueError where D mixes samples. one_call: D gets fake and real as one batch; None: if that is
    found to be faster. The idea is published as FusedProp, arXiv 2004.03335."""
    assert not torch.compiler.is_compiling()  # torch.compile: of the nets, not of this step
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts
    require_independent(D, real)  # by trying, once
    opt_d.zero_grad()
    opt_g.zero_grad()
    fake = G(noise)
    together = use_one_call(D, real, one_call)
    pred_fake, pred_real = D(torch.cat((fake, real))).chunk(2) if together else (D(fake), D(real))
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)  # (batch, 1)

    # Discriminator: maximise log D(real) + log(1 - D(fake)). Generator: maximise log D(fake)
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    g_loss = loss(pred_fake, ones)
    ratio = ratio_of(loss, g_loss, d_loss, pred_fake)  # (batch,); this and the rest is below
    if in_range(ratio, D):
        fake.register_hook(scaled_by(ratio, fake))  # on its way from D into G
        d_loss.backward()
    else:
        d_loss.backward(retain_graph=True, inputs=inputs_of(D))
        g_loss.backward(inputs=inputs_of(G))
    opt_d.step()
    opt_g.step()
    return StepLosses(d_loss.detach(), g_loss.detach())


def step_by_halves(gan: Gan, real: Tensor, noise: Tensor) -> StepLosses:
    """The real half goes backward before a fake is made: least memory, and exact for any D.

    Where D mixes samples (BatchNorm), two backwards go through D's forward of the fakes, and no
    gradient is computed in vain. What D counts or draws in a forward comes in the order real, fake.
    """
    assert not torch.compiler.is_compiling()  # as above
    check(gan, real, noise)
    G, D, opt_g, opt_d, loss = gan.parts

    # Discriminator: maximise log D(real) ...
    opt_d.zero_grad()
    opt_g.zero_grad()
    pred_real = D(real)  # (batch, 1)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_real)
    real_loss = loss(pred_real, ones) / 2
    real_loss.backward()

    # ... + log(1 - D(fake)). Generator: maximise log D(fake)
    fake = G(noise)
    at_fake = fake.detach().requires_grad_()
    pred_fake = D(at_fake)
    fake_loss, g_loss = loss(pred_fake, zeros) / 2, loss(pred_fake, ones)
    if is_independent(D, real) and in_range(
        ratio := ratio_of(loss, g_loss, fake_loss, pred_fake), D
    ):
        at_fake.register_hook(scaled_by(ratio, fake))
        fake_loss.backward()
    else:
        fake_loss.backward(retain_graph=True, inputs=inputs_of(D))
        g_loss.backward(inputs=[at_fake])
    fake.backward(at_fake.grad)  # from D on into G

    opt_d.step()
    opt_g.step()
    return StepLosses((real_loss + fake_loss).detach(), g_loss.detach())


def gradient_ratio(g_loss: Tensor, d_loss: Tensor, pred: Tensor) -> Tensor:
    """(batch,) what D's gradient at each prediction must be multiplied by to become G's.

    pred: (batch, 1), in the graphs of both losses, which stay as they are. It is 0 where G's is 0,
    and not finite where D's has vanished and G's has not.
    """
    (of_d,) = torch.autograd.grad(d_loss, pred, retain_graph=True)
    (of_g,) = torch.autograd.grad(g_loss, pred, retain_graph=True)
    return torch.where(of_g == 0, of_g, of_g / of_d).flatten()


_derived: WeakSet[Loss] = WeakSet()  # whose closed form was found right, by autograd


def ratio_of(loss: Loss, g_loss: Tensor, d_loss: Tensor, pred: Tensor) -> Tensor:
    """The same for the losses of a step, in closed form where that is known: 2 (p - 1) / p.

    p = D(fake), the probability. A loss is first seen with `gradient_ratio`, and must agree.
    """
    in_closed_form = ratio_of_bce(loss, pred)
    if in_closed_form is None:
        return gradient_ratio(g_loss, d_loss, pred)
    if loss not in _derived:
        ratio = gradient_ratio(g_loss, d_loss, pred)
        if not torch.allclose(in_closed_form, ratio, rtol=torch.finfo(ratio.dtype).eps ** 0.5):
            return ratio
        _derived.add(loss)
    return in_closed_form


def ratio_of_bce(loss: Loss, pred: Tensor) -> Tensor | None:
    """2 (p - 1) / p for binary cross-entropy of probabilities or logits; None for other losses."""
    p = pred.detach().to(torch.promote_types(pred.dtype, torch.float32))
    options = ("weight", "pos_weight", "reduction")
    plain = [getattr(loss, name, None) for name in options] in ([None] * 3, [None, None, "mean"])
    if plain and (loss is bce_with_logits or type(loss) is nn.BCEWithLogitsLoss):
        p = p.sigmoid()
    elif not plain or type(loss) is not nn.BCELoss:
        return None
    return (2 * (p - 1) / p).to(pred.dtype).flatten()


def scaled_by(ratio: Tensor, fake: Tensor) -> Callable[[Tensor], Tensor]:
    """A hook that multiplies the gradient at `fake` (batch, ...) by the ratio (batch,) of each."""
    factor = ratio.view(-1, *[1] * (fake.ndim - 1)).to(fake.dtype)
    return lambda grad: grad * factor


_warned: WeakSet[nn.Module] = WeakSet()


def in_range(ratio: Tensor, D: nn.Module) -> bool:
    """Can every sample be scaled without losing digits? Says so, once per net, when it cannot.

    Where D is certain of a fake its own gradient vanishes. Below the root of the smallest normal
    number it might underflow on its way through D, and no factor brings it back. Waits for the GPU,
    and so cannot look while a CUDA graph is captured: in a replay, G's gradient is then not finite.
    """
    limit = torch.finfo(ratio.dtype).tiny ** -0.5  # 9e18 in float32
    if ratio.is_cuda and torch.cuda.is_current_stream_capturing():
        return True
    if ratio.abs().max().item() <= limit:  # False for NaN
        return True
    if D not in _warned:
        _warned.add(D)
        warnings.warn(
            "D is so certain of a fake that G's gradient cannot be scaled from D's ({dtype} holds "
            "factors up to {limit:.0e}); such steps take one more backward call".format(
                dtype=ratio.dtype, limit=limit
            ),
            RuntimeWarning,
            stacklevel=3,
        )
    return False
