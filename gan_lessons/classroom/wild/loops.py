"""Training loops of well-known repositories, each told anew and small: one iteration each.

What is kept of the original is the order of its lines that decide about gradients: who goes first,
what is detached, frozen or retained, what is cleared and when. The nets are small, the data are
points in the plane, and the code is ours. ``address`` leads to the file, as it was when we read it.

    cast = loop.cast()
    with record(cast.nets, cast.optimizers) as rec:
        loop.iterate(cast, real, noise)

``iterate`` moves the nets of the cast; real and noise are (batch, 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss, softplus

from gan_lessons.classroom.wild.casts import Cast, pair, two_ways, with_features, with_judges

Iterate = Callable[[Cast, Tensor, Tensor], object]


@dataclass(frozen=True)
class WildLoop:
    """``title``: the repository. ``cast``: makes its nets, always the same ones."""

    title: str
    address: str
    cast: Callable[[], Cast]
    iterate: Iterate


WILD: dict[str, WildLoop] = {}


def seen_in(title: str, address: str, cast: Callable[[], Cast] = pair) -> Callable[..., Iterate]:
    """Enter a loop into ``WILD`` under the name of its function."""

    def enter(iterate: Iterate) -> Iterate:
        WILD[iterate.__name__] = WildLoop(title, f"https://github.com/{address}", cast, iterate)
        return iterate

    return enter


def bce(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def let_learn(nets: Iterable[nn.Module], wanted: bool) -> None:
    for one in nets:
        one.requires_grad_(wanted)


def steepness(D: nn.Module, x: Tensor) -> Tensor:
    """(batch,) the length of D's gradient at each sample; it can be differentiated again."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return slope.norm(dim=1)


EXAMPLES = "pytorch/examples/blob/77f55b912142e11fcfdf5b530231fb9c52f181e8/"
PYTORCH_GAN = (
    "eriklindernoren/PyTorch-GAN/blob/36d3c77e5ff20ebe0aeefd322326a134a279b93e/implementations/"
)
PIX2PIX = "junyanz/pytorch-CycleGAN-and-pix2pix/blob/master/models/"
WGAN_GP = "caogang/wgan-gp/blob/ae47a185ed2e938c39cf3eb2f06b32dc1b6a2064/"
HIFI_GAN = "jik876/hifi-gan/blob/4769534d45265d52a904b850da5a622601885777/"
STYLEGAN = "NVlabs/stylegan2-ada-pytorch/blob/d72cc7d041b42ec8e806021a205ed9349f87c6a4/"
BIGGAN = "ajbrock/BigGAN-PyTorch/blob/98459431a5d618d644d54cd1e9fceb1e5045648d/"


@seen_in("DCGAN, PyTorch's example", EXAMPLES + "dcgan/main.py")
def dcgan_example(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """The losses of D go backward one by one; at the end a sample is made."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    D.zero_grad()
    bce(D(real), 1.0).backward()
    fake = G(noise)
    bce(D(fake.detach()), 0.0).backward()
    opt_d.step()
    G.zero_grad()
    bce(D(fake), 1.0).backward()
    opt_g.step()
    G(noise).detach()  # to look at


@seen_in("PyTorch-GAN, gan", PYTORCH_GAN + "gan/gan.py")
def pytorch_gan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_g.zero_grad()
    fake = G(noise)
    bce(D(fake), 1.0).backward()
    opt_g.step()
    opt_d.zero_grad()
    d_loss = (bce(D(real), 1.0) + bce(D(fake.detach()), 0.0)) / 2
    d_loss.backward()
    opt_d.step()


@seen_in("PyTorch-GAN, softmax_gan", PYTORCH_GAN + "softmax_gan/softmax_gan.py")
def softmax_gan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """One graph, and a step of D in the middle. The file is older than torch 1.5."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_g.zero_grad()
    opt_d.zero_grad()
    on_real, on_fake = D(real), D(G(noise))
    total = torch.logsumexp(-torch.cat((on_real, on_fake)), dim=0).sum()
    d_loss = on_real.mean() + total
    d_loss.backward(retain_graph=True)
    opt_d.step()
    g_loss = (on_real.mean() + on_fake.mean()) / 2 + total
    g_loss.backward()
    opt_g.step()


@seen_in("PyTorch-GAN, wgan_gp", PYTORCH_GAN + "wgan_gp/wgan_gp.py")
def wgan_gp(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """Nothing cuts the fake off from D's loss; what arrives in G is cleared afterwards."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_d.zero_grad()
    fake = G(noise)
    on_real, on_fake = D(real), D(fake)
    penalty = (steepness(D, (real + fake) / 2) - 1).square().mean()
    d_loss = -on_real.mean() + on_fake.mean() + 10 * penalty
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    g_loss = -D(G(noise)).mean()
    g_loss.backward()
    opt_g.step()


@seen_in("wgan-gp of caogang", WGAN_GP + "gan_mnist.py")
def one_and_mone(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """No minus sign in any loss: each backward is told the sign. D is frozen while G learns."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    one, mone = torch.tensor(1.0), torch.tensor(-1.0)
    D.requires_grad_(True)
    for _ in range(2):  # the original takes 5
        D.zero_grad()
        D(real).mean().backward(mone)
        with torch.no_grad():
            fake = G(noise)
        D(fake).mean().backward(one)
        penalty = 10 * (steepness(D, (real + fake) / 2) - 1).square().mean()
        penalty.backward()
        opt_d.step()
    D.requires_grad_(False)
    G.zero_grad()
    D(G(noise)).mean().backward(mone)
    opt_g.step()


@seen_in("pix2pix", PIX2PIX + "pix2pix_model.py", partial(pair, 4))
def pix2pix(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """D sees a picture beside the one it was made of, which here is ``noise``."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    fake = G(noise)
    D.requires_grad_(True)
    opt_d.zero_grad()
    on_fake = D(torch.cat((noise, fake), 1).detach())
    d_loss = (bce(on_fake, 0.0) + bce(D(torch.cat((noise, real), 1)), 1.0)) / 2
    d_loss.backward()
    opt_d.step()
    D.requires_grad_(False)
    opt_g.zero_grad()
    g_loss = bce(D(torch.cat((noise, fake), 1)), 1.0) + 100 * l1_loss(fake, real)
    g_loss.backward()
    opt_g.step()


@seen_in("CycleGAN", PIX2PIX + "cycle_gan_model.py", two_ways)
def cyclegan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """Two ways between two kinds of pictures; ``noise`` is a picture of the first kind. The
    original's D sees fakes of a pool, older ones among them; here, the ones just made."""
    G_A, G_B, D_A, D_B = cast.nets.values()
    opt_g, opt_d = cast.optimizers.values()
    fake_b, fake_a = G_A(noise), G_B(real)
    cycle = l1_loss(G_B(fake_b), noise) + l1_loss(G_A(fake_a), real)
    let_learn((D_A, D_B), False)
    opt_g.zero_grad()
    loss_g = mse_loss(D_A(fake_b), torch.ones(len(real), 1))
    loss_g = loss_g + mse_loss(D_B(fake_a), torch.ones(len(real), 1)) + 10 * cycle
    loss_g.backward()
    opt_g.step()
    let_learn((D_A, D_B), True)
    opt_d.zero_grad()
    for D, genuine, fake in ((D_A, real, fake_b), (D_B, noise, fake_a)):
        loss_d = D(fake.detach()).square().mean() + (D(genuine) - 1).square().mean()
        loss_d.backward()
    opt_d.step()


@seen_in("HiFi-GAN", HIFI_GAN + "train.py", with_judges)
def hifi_gan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """Two judges in one optimizer, and G compares their features: they are in its graph twice."""
    G, *judges = cast.nets.values()
    optim_g, optim_d = cast.optimizers.values()
    fake = G(noise)
    optim_d.zero_grad()
    loss_d = sum((D(real) - 1).square().mean() + D(fake.detach()).square().mean() for D in judges)
    torch.as_tensor(loss_d).backward()
    optim_d.step()
    optim_g.zero_grad()
    loss_g = 45 * l1_loss(fake, real)
    for D in judges:
        on_real, on_fake = D(real), D(fake)
        loss_g = loss_g + l1_loss(on_fake, on_real) + (on_fake - 1).square().mean()
    loss_g.backward()
    optim_g.step()


@seen_in("StyleGAN2-ADA", STYLEGAN + "training/training_loop.py")
def stylegan2_ada(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """All is frozen, always, but for the one player whose phase it is. No fake is detached."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    let_learn((G, D), False)
    opt_g.zero_grad()
    G.requires_grad_(True)
    softplus(-D(G(noise))).mean().backward()
    G.requires_grad_(False)
    opt_g.step()
    opt_d.zero_grad()
    D.requires_grad_(True)
    softplus(D(G(noise))).mean().backward()
    (softplus(-D(real)).mean() + 5 * steepness(D, real).square().mean()).backward()
    D.requires_grad_(False)
    opt_d.step()


@seen_in("BigGAN", BIGGAN + "train_fns.py")
def biggan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """The players are toggled, and the fakes for D are made without gradients besides."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_g.zero_grad()
    opt_d.zero_grad()
    let_learn((D,), True)
    let_learn((G,), False)
    with torch.no_grad():
        fake = G(noise)
    on_fake, on_real = D(torch.cat((fake, real))).split(len(real))
    d_loss = (1 - on_real).relu().mean() + (1 + on_fake).relu().mean()
    d_loss.backward()
    opt_d.step()
    let_learn((D,), False)
    let_learn((G,), True)
    opt_g.zero_grad()
    g_loss = -D(G(noise)).mean()
    g_loss.backward()
    opt_g.step()


@seen_in("PyTorch-GAN, srgan", PYTORCH_GAN + "srgan/srgan.py", with_features)
def srgan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """VGG, which only compares features, is in eval mode. It is not frozen."""
    (G, D, vgg), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_g.zero_grad()
    fake = G(noise)
    content = l1_loss(vgg(fake), vgg(real).detach())
    loss_g = content + 1e-3 * (D(fake) - 1).square().mean()
    loss_g.backward()
    opt_g.step()
    opt_d.zero_grad()
    loss_d = ((D(real) - 1).square().mean() + D(fake.detach()).square().mean()) / 2
    loss_d.backward()
    opt_d.step()


@seen_in("PyTorch-GAN, dragan", PYTORCH_GAN + "dragan/dragan.py")
def dragan(cast: Cast, real: Tensor, noise: Tensor) -> tuple[float, float]:
    """d_loss is computed, and printed."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_g.zero_grad()
    fake = G(noise)
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    opt_g.step()
    opt_d.zero_grad()
    d_loss = (bce(D(real), 1.0) + bce(D(fake.detach()), 0.0)) / 2
    penalty = 10 * (steepness(D, real + 0.1 * noise) - 1).square().mean()
    penalty.backward()
    opt_d.step()
    return d_loss.item(), g_loss.item()


@seen_in("PyTorch-GAN, relativistic_gan", PYTORCH_GAN + "relativistic_gan/relativistic_gan.py")
def relativistic_gan(cast: Cast, real: Tensor, noise: Tensor) -> None:
    """g_loss compares the fake with the real, and is then computed in another way."""
    (G, D), (opt_g, opt_d) = cast.nets.values(), cast.optimizers.values()
    opt_g.zero_grad()
    fake = G(noise)
    on_real, on_fake = D(real).detach(), D(fake)
    g_loss = bce(on_fake - on_real, 1.0)
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    opt_g.step()
    opt_d.zero_grad()
    on_real, on_fake = D(real), D(fake.detach())
    d_loss = (bce(on_real - on_fake, 1.0) + bce(on_fake - on_real, 0.0)) / 2
    d_loss.backward()
    opt_d.step()
