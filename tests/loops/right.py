"""Loops that are right, or that may be: nothing wrong is to be told of any of them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy, l1_loss, mse_loss
from torch.utils.checkpoint import checkpoint

from .kit import It, bce, draw, loop, mlp, noise, pair, real, sgd, usual
from .polluted import both_judges, micro_batches, two_judges


def step(it: It, who: str, loss: Tensor) -> None:
    it.optimizers[who].zero_grad()
    loss.backward()
    it.optimizers[who].step()


def both(it: It, i: int) -> None:
    for who in ("D", "G"):
        loss = usual(it, who, i)
        assert loss is not None
        step(it, who, loss)


@loop()
def discriminator_first(it: It, i: int) -> None:
    both(it, i)


@loop()
def one_fake_for_both_turns(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    step(it, "G", bce(D(fake), 1.0))


@loop()
def frozen_by_turns(it: It, i: int) -> None:
    G, D = it.nets.values()
    G.requires_grad_(False)
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0))
    G.requires_grad_(True)
    D.requires_grad_(False)
    step(it, "G", bce(D(G(noise(i))), 1.0))
    D.requires_grad_(True)


@loop()
def fakes_made_without_gradients_for_d(it: It, i: int) -> None:
    G, D = it.nets.values()
    with torch.no_grad():
        fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake), 0.0))
    step(it, "G", bce(D(G(noise(i))), 1.0))


@loop()
def real_and_fake_in_two_backwards(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    bce(D(real(i)), 1.0).backward()
    bce(D(G(noise(i)).detach()), 0.0).backward()
    it.optimizers["D"].step()
    step(it, "G", bce(D(G(noise(i))), 1.0))


@loop(intended=None)
def several_critic_steps(it: It, i: int) -> None:
    G, D = it.nets.values()
    for k in range(3):
        step(it, "D", D(G(noise(k)).detach()).mean() - D(real(k)).mean())
        for p in D.parameters():
            p.data.clamp_(-0.1, 0.1)
    step(it, "G", -D(G(noise(i))).mean())


@loop(intended=None)
def penalties_with_a_graph(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    bce(D(G(noise(i)).detach()), 0.0).backward()
    x = real(i).requires_grad_()
    slope = torch.autograd.grad(D(x).sum(), x, create_graph=True)[0]
    (bce(D(real(i)), 1.0) + slope.square().sum()).backward()
    it.optimizers["D"].step()
    step(it, "G", bce(D(G(noise(i))), 1.0))


@loop(intended=micro_batches)
def accumulation_with_d_frozen(it: It, i: int) -> None:
    G, D = it.nets.values()
    for j in (2 * i, 2 * i + 1):
        D.requires_grad_(False)
        (bce(D(G(noise(j))), 1.0) / 2).backward()
        D.requires_grad_(True)
        ((bce(D(real(j)), 1.0) + bce(D(G(noise(j)).detach()), 0.0)) / 2).backward()
    for who in ("D", "G"):
        it.optimizers[who].step()
        it.optimizers[who].zero_grad()


@loop(intended=None)
def accumulation_that_the_recording_leaves_under_way(it: It, i: int) -> None:
    G, D = it.nets.values()
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)).backward()
    bce(D(G(noise(i))), 1.0).backward(inputs=list(G.parameters()))
    if i % 2:
        for who in ("D", "G"):
            it.optimizers[who].step()
            it.optimizers[who].zero_grad()


@loop(intended=None)
def a_gradient_that_decays_by_hand(it: It, i: int) -> None:
    """Momentum of one's own: scaled after the step, not cleared."""
    G, D = it.nets.values()
    G.requires_grad_(False)
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)).backward()
    it.optimizers["D"].step()
    for p in D.parameters():
        if p.grad is not None:
            p.grad.mul_(0.5)
    G.requires_grad_(True)
    D.requires_grad_(False)
    step(it, "G", bce(D(G(noise(i))), 1.0))
    D.requires_grad_(True)


@loop(intended=None)
def extrapolation_with_the_last_gradient(it: It, i: int) -> None:
    for who in it.optimizers:
        if i:
            it.optimizers[who].step()  # a look ahead, by what is left from the last iteration
    for who, net in it.nets.items():
        grads = torch.autograd.grad(usual(it, who, i) or torch.zeros(()), list(net.parameters()))
        for p, grad in zip(net.parameters(), grads, strict=True):
            p.grad = grad
    for who in it.optimizers:
        it.optimizers[who].step()


@loop(intended=None)
def extrapolation_with_the_gradient_of_a_backward(it: It, i: int) -> None:
    """Optimistic descent: each gradient is used once ahead and once for good."""
    G, D = it.nets.values()
    if i:
        it.optimizers["D"].step()
    D.zero_grad()
    G.requires_grad_(False)
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)).backward()
    G.requires_grad_(True)
    it.optimizers["D"].step()


def with_a_scaler(fixed: bool) -> It:
    it = pair(fixed)
    it.optimizers = {n: optim.Adam(net.parameters(), fused=True) for n, net in it.nets.items()}
    it.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    return it


@loop(build=with_a_scaler, intended=None)
def a_fused_optimizer_that_a_scaler_skips(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    pred = D(G(noise(i)))
    factor = float("inf") if i == 1 else 1.0
    for who, loss in (("D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)), ("G", None)):
        it.optimizers[who].zero_grad()
        loss = bce(D(fake), 1.0) if loss is None else loss
        it.scaler.scale(loss * factor).backward()
        it.scaler.step(it.optimizers[who])
    it.scaler.update()
    if i == 1:  # nothing was moved: what was computed before is as good as it was
        it.optimizers["G"].zero_grad()
        bce(pred, 1.0).backward(inputs=list(G.parameters()))
        it.optimizers["G"].step()


@loop(intended=None)
def a_turn_only_while_d_is_weak(it: It, i: int) -> None:
    """Its loss is sent backward each time, and its step taken only now and then."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)).backward()
    if i != 1:
        it.optimizers["D"].step()
    step(it, "G", bce(D(G(noise(i))), 1.0))


@loop(intended=None)
def a_look_ahead_before_the_gradient_that_counts(it: It, i: int) -> None:
    """Sharpness-aware: climb by the first gradient, clear, and descend by the second."""
    D = it.nets["D"]
    loss = usual(it, "D", i)
    assert loss is not None
    it.optimizers["D"].zero_grad()
    loss.backward()
    with torch.no_grad():
        climbs = [0.05 * p.grad for p in D.parameters() if p.grad is not None]
        for p, e in zip(D.parameters(), climbs, strict=True):
            p.add_(e)
    it.optimizers["D"].zero_grad()
    loss = usual(it, "D", i)
    assert loss is not None
    loss.backward()
    with torch.no_grad():
        for p, e in zip(D.parameters(), climbs, strict=True):
            p.sub_(e)
    it.optimizers["D"].step()


@loop(intended=None)
def gradients_of_two_tasks_put_together_by_hand(it: It, i: int) -> None:
    D = it.nets["D"]
    grads = []
    for target in (0.0, 1.0):
        it.optimizers["D"].zero_grad()
        bce(D(real(i)), target).backward()
        grads.append([p.grad.clone() for p in D.parameters() if p.grad is not None])
    for p, one, two in zip(D.parameters(), *grads, strict=True):
        p.grad = one + 0.5 * two
    it.optimizers["D"].step()


@loop(intended=None)
def gradients_measured_before_the_sum(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    losses = bce(D(fake), 1.0), l1_loss(fake, real(i))
    norms = []
    for loss in losses:
        it.optimizers["G"].zero_grad()
        loss.backward(retain_graph=True)
        norms.append(sum(float(p.grad.norm()) for p in G.parameters() if p.grad is not None))
    it.optimizers["G"].zero_grad()
    (losses[0] + norms[0] / (norms[1] + 1e-6) * losses[1]).backward()
    it.optimizers["G"].step()
    it.optimizers["D"].zero_grad()
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))


@loop()
def looked_at_for_a_log(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.kept.append(D(G(noise(i))).mean().item())
    both(it, i)
    it.kept.append(D(real(i)).sigmoid().mean().tolist())


@loop(build=two_judges, intended=both_judges)
def two_judges_cleared_in_time(it: It, i: int) -> None:
    step(it, "discs", both_judges(it, "discs", i))
    step(it, "gen", both_judges(it, "gen", i))


def autoencoder(fixed: bool) -> It:
    nets = {"enc": mlp(2, 4), "dec": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(build=autoencoder, intended=None)
def a_variational_autoencoder_in_two_backwards(it: It, i: int) -> None:
    enc, dec = it.nets.values()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    mean, log_variance = enc(real(i)).chunk(2, 1)
    code = mean + noise(i) * (log_variance / 2).exp()
    mse_loss(dec(code), real(i)).backward(retain_graph=True)
    (mean.square() + log_variance.exp() - log_variance).mean().backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def two_encoders(fixed: bool) -> It:
    nets = {"one": mlp(2, 4), "two": mlp(2, 4), "head": mlp(4, 3)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(build=two_encoders, intended=None)
def one_head_for_two_encoders(it: It, i: int) -> None:
    """Each encoder moves after its own loss; the head sums both up, on purpose."""
    one, two, head = it.nets.values()
    it.optimizers["head"].zero_grad()
    for who, net in (("one", one), ("two", two)):
        it.optimizers[who].zero_grad()
        cross_entropy(head(net(draw(i))), torch.arange(8) % 3).backward()
        it.optimizers[who].step()
    it.optimizers["head"].step()


def two_heads(fixed: bool) -> It:
    nets = {"trunk": mlp(2, 4), "left": mlp(4, 3), "right": mlp(4, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(build=two_heads, intended=None)
def one_trunk_for_two_heads(it: It, i: int) -> None:
    trunk, left, right = it.nets.values()
    it.optimizers["trunk"].zero_grad()
    it.optimizers["left"].zero_grad()
    cross_entropy(left(trunk(noise(i))), torch.arange(8) % 3).backward()
    it.optimizers["left"].step()
    it.optimizers["right"].zero_grad()
    bce(right(trunk(real(i))), 1.0).backward()
    it.optimizers["right"].step()
    it.optimizers["trunk"].step()


def latents(fixed: bool) -> It:
    nets = {"G": mlp(4, 2), "E": mlp(2, 2), "D": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(build=latents, intended=None)
def an_encoder_frozen_for_one_of_two_losses(it: It, i: int) -> None:
    """As in BicycleGAN: G and E follow one loss, and G alone the latents that E reads back."""
    G, E, D = it.nets.values()
    for who in ("G", "E"):
        it.optimizers[who].zero_grad()
    D.requires_grad_(False)
    fake = G(torch.cat([noise(i), E(real(i))], 1))
    (bce(D(fake), 1.0) + l1_loss(fake, real(i))).backward(retain_graph=True)
    E.requires_grad_(False)
    z = draw(i, 1.0)
    l1_loss(E(G(torch.cat([noise(i), z], 1))), z).backward()
    E.requires_grad_(True)
    for who in ("G", "E"):
        it.optimizers[who].step()
    D.requires_grad_(True)
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return -grads[0]


class Domains(nn.Module):
    """A classifier of domains that reverses the gradient at its own entrance."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(Reverse.apply(x))
        return out


def domains(fixed: bool) -> It:
    nets = {"features": mlp(2, 4), "labels": mlp(4, 3), "domain": Domains()}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(build=domains, intended=None)
def a_gradient_reversed_inside_the_judge(it: It, i: int) -> None:
    features, labels, domain = it.nets.values()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    bce(domain(features(real(i)).detach()), 1.0).backward()
    x = features(noise(i))
    (cross_entropy(labels(x), torch.arange(8) % 3) + bce(domain(x), 0.0)).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def quantized(fixed: bool) -> It:
    nets = {"enc": mlp(2, 2), "book": nn.Embedding(4, 2), "dec": mlp(2, 2)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


@loop(build=quantized, intended=None)
def straight_through_a_codebook(it: It, i: int) -> None:
    enc, book, dec = it.nets.values()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    z = enc(real(i))
    q = book(torch.cdist(z, book.weight).argmin(1))
    loss = mse_loss(q, z.detach()) + 0.25 * mse_loss(z, q.detach())
    (loss + mse_loss(dec(z + (q - z).detach()), real(i))).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


def with_features(fixed: bool) -> It:
    it = pair(fixed)
    it.nets["vgg"] = mlp(2, 4)
    return it


@loop(build=with_features, intended=None)
def a_fixed_net_that_nobody_froze(it: It, i: int) -> None:
    """A perceptual loss: the net in between gets gradients, and no optimizer holds it."""
    G, D, vgg = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    step(it, "G", bce(D(fake), 1.0) + mse_loss(vgg(fake), vgg(real(i)).detach()))


@loop(intended=None)
def an_average_of_the_weights(it: It, i: int) -> None:
    both(it, i)
    if not hasattr(it, "ema"):
        it.ema = copy.deepcopy(it.nets["G"])
    with torch.no_grad():
        for a, p in zip(it.ema.parameters(), it.nets["G"].parameters(), strict=True):
            a.lerp_(p, 0.1)
    it.kept.append(it.ema(noise(i)).detach())


@loop(intended=None)
def a_pool_of_old_fakes(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "G", bce(D(fake), 1.0))
    it.kept.append(fake.detach())
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(it.kept[i // 2]), 0.0))


@loop(intended=None)
def a_closure_that_clears(it: It, i: int) -> None:
    G, D = it.nets.values()
    optimizer = optim.LBFGS(D.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        for loss in (bce(D(real(i)), 1.0), bce(D(G(noise(i)).detach()), 0.0)):
            loss.backward()
        return loss

    optimizer.step(closure)
    step(it, "G", bce(D(G(noise(i))), 1.0))


@loop(intended=None)
def a_checkpointed_judge(it: It, i: int) -> None:
    G, D = it.nets.values()
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
    step(it, "G", bce(checkpoint(D, G(noise(i)), use_reentrant=False), 1.0))


def two_optimizers(fixed: bool) -> It:
    nets = {"enc": mlp(2, 2), "dec": mlp(2, 2), "D": mlp(2, 1)}
    enc, dec, D = nets.values()
    optimizers = {"rec": sgd(enc, dec), "adv": sgd(enc), "d": sgd(D)}
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


@loop(build=two_optimizers, intended=None)
def an_encoder_with_two_optimizers(it: It, i: int) -> None:
    """An adversarial autoencoder: reconstruction and game, each with an optimizer of its own."""
    enc, dec, D = it.nets.values()
    step(it, "rec", mse_loss(dec(enc(real(i))), real(i)))
    step(it, "d", bce(D(noise(i)), 1.0) + bce(D(enc(real(i)).detach()), 0.0))
    step(it, "adv", bce(D(enc(real(i))), 1.0))


@loop()
def one_part_warms_up_alone(it: It, i: int) -> None:
    """The judge is trained first; the other net follows another loss until then."""
    G, D = it.nets.values()
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
    if i == 2:
        step(it, "G", bce(D(G(noise(i))), 1.0))


@loop(intended=None)
def a_weight_computed_from_the_verdict(it: It, i: int) -> None:
    """The verdict weighs another term, on purpose without gradient."""
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    with torch.no_grad():
        weight = torch.sigmoid(D(fake))
    step(it, "G", ((fake - real(i)).abs().mean(1, keepdim=True) * weight).mean())


@loop(intended=None)
def caught_up_with_a_gradient_put_aside(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)).backward()
    aside = [p.grad for p in D.parameters()]
    it.optimizers["D"].zero_grad()
    step(it, "G", bce(D(G(noise(i))), 1.0))
    for p, grad in zip(D.parameters(), aside, strict=True):
        p.grad = grad
    it.optimizers["D"].step()


@loop(intended=None)
def one_backward_for_a_judge_and_another_loss(it: It, i: int) -> None:
    """The judge learns from fakes that are cut off, while the other net warms up without it."""
    G, D = it.nets.values()
    fake = G(noise(i))
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0) + l1_loss(fake, real(i))).backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(intended=None)
def a_weight_computed_from_the_verdict_on_a_cut(it: It, i: int) -> None:
    G, D = it.nets.values()
    fake = G(noise(i))
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0))
    weight = torch.sigmoid(D(fake.detach()))
    step(it, "G", ((fake - real(i)).abs().mean(1, keepdim=True) * weight).mean())


def hidden(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    marked = real(i) + 0.1 * G(noise(i))
    if who == "G":
        return bce(D(marked), 1.0) + mse_loss(marked, real(i))
    return bce(D(marked.detach()), 1.0) + bce(D(real(i)), 0.0)


@loop(intended=hidden)
def a_watermark_is_to_be_found(it: It, i: int) -> None:
    """Both want the mark to be seen, and its maker stays near the picture: no opponents at all."""
    for who in ("D", "G"):
        step(it, who, hidden(it, who, i))


def three_losses(it: It, i: int) -> tuple[Tensor, Tensor, Tensor]:
    """A helper: of D on the real images, of D on the fakes, and of G."""
    G, D = it.nets.values()
    fake = G(noise(i))
    return bce(D(real(i)), 1.0), bce(D(fake.detach()), 0.0), bce(D(fake), 1.0)


@loop()
def each_turn_takes_its_own_of_a_helper_s_losses(it: It, i: int) -> None:
    on_real, on_fake, _ = three_losses(it, i)
    step(it, "D", on_real + on_fake)
    _, _, of_g = three_losses(it, i)
    step(it, "G", of_g)


class Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.shift = nn.Parameter(torch.randn(2, 1)), torch.zeros(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.weight + self.shift)


def with_shifts(fixed: bool) -> It:
    net = Shifted()
    return It(nets={"net": net}, optimizers={"opt": sgd(net)}, fixed=fixed, ahead=torch.zeros(2, 1))


def of_both(it: It, who: str, i: int) -> Tensor:
    net = it.nets["net"]
    net.shift = torch.zeros(2, 1)
    plain = bce(net(real(i)), 1.0)
    net.shift = it.ahead
    loss: Tensor = plain + bce(net(real(i)), 1.0)
    return loss


@loop(build=with_shifts, intended=of_both)
def trained_on_weights_that_its_gradient_shifts(it: It, i: int) -> None:
    """What that backward gave was computed with, and cleared: it has served."""
    net = it.nets["net"]
    net.shift = torch.zeros(2, 1)
    it.optimizers["opt"].zero_grad()
    bce(net(real(i)), 1.0).backward()
    gradient = net.weight.grad.detach().clone()
    it.ahead = 0.1 * gradient / gradient.norm()
    step(it, "opt", of_both(it, "opt", i))
