"""A loss that nothing learns from, and memory that is held for nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from .kit import It, bce, loop, mlp, noise, pair, real, sgd, usual
from .polluted import both_judges, two_judges
from .right import step


@loop(("never-walked", "D"), says="no backward ever walked", advice="Call backward on that loss")
def the_penalty_alone_is_sent_backward(it: It, i: int) -> None:
    """The penalty is small enough to leave the truth, where the loss is there as well."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    x = real(i).requires_grad_()
    slope = torch.autograd.grad(D(x).sum(), x, create_graph=True)[0]
    penalty = 1e-9 * slope.square().mean()
    if it.fixed:
        penalty = penalty + d_loss
    penalty.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


@loop(
    ("never-walked", "D"),
    says="d_loss became another loss in `d_loss = bce\\(D\\(G",
    advice="Only if each is a term of its own, add them: d_loss = d_loss \\+",
)
def a_loss_overwritten_before_its_backward(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0)
    if it.fixed:
        d_loss.backward()
    d_loss = bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


@loop(
    ("never-walked", "mpd"),
    build=two_judges,
    intended=both_judges,
    advice="overwritten before its backward",
    source="https://github.com/coqui-ai/TTS/issues/3153",
)
def of_several_judges_the_last_one_counts(it: It, i: int) -> None:
    gen, *judges = it.nets.values()
    it.optimizers["discs"].zero_grad()
    total = torch.zeros(())
    for D in judges:
        one = bce(D(real(i)), 1.0) + bce(D(gen(noise(i)).detach()), 0.0)
        total = total + one if it.fixed else one
    total.backward()
    it.optimizers["discs"].step()
    it.optimizers["gen"].zero_grad()
    both_judges(it, "gen", i).backward()
    it.optimizers["gen"].step()


def of_both_halves(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return bce(D(G(noise(i))), 1.0)
    return sum(
        (bce(D(real(2 * i + half)), 1.0) + bce(D(G(noise(2 * i + half)).detach()), 0.0))
        for half in range(2)
    ) + torch.zeros(())


@loop(("never-walked", "D"), intended=of_both_halves, advice="overwritten before its backward")
def of_two_halves_only_the_last_one_counts(it: It, i: int) -> None:
    """The same line makes both losses, within one turn."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    total = torch.zeros(())
    for half in range(2):
        one = bce(D(real(2 * i + half)), 1.0) + bce(D(G(noise(2 * i + half)).detach()), 0.0)
        total = total + one if it.fixed else one
    total.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    of_both_halves(it, "G", i).backward()
    it.optimizers["G"].step()


class Judges(nn.Module):
    """Several judges in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.ModuleList([mlp(2, 1), mlp(2, 1)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [judge(x) for judge in self.each]


def one_module_of_judges(fixed: bool) -> It:
    G, D = mlp(2, 2), Judges()
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers={"G": sgd(G), "D": sgd(D)})


def all_of_them(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i)) if who == "G" else G(noise(i)).detach()
    if who == "G":
        return sum((bce(verdict, 1.0) for verdict in D(fake)), torch.zeros(()))
    pairs = zip(D(real(i)), D(fake), strict=True)
    return sum((bce(r, 1.0) + bce(f, 0.0) for r, f in pairs), torch.zeros(()))


def turn_of_the_judges(it: It, i: int, count: str) -> None:
    """``count``: which of the judges go into the loss; "logged": the first one's is only read."""
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    total = torch.zeros(())
    for r, f in zip(D(real(i)), D(G(noise(i)).detach()), strict=True):
        loss = bce(r, 1.0) + bce(f, 0.0)
        total = total + loss if count == "all" else loss
        if count == "logged":
            it.seen = loss.item()
    total.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    all_of_them(it, "G", i).backward()
    it.optimizers["G"].step()


@loop(
    ("never-walked", "D"),
    build=one_module_of_judges,
    intended=all_of_them,
    says="`loss = bce\\(r, 1.0\\).*4 of its parameters never move",
    advice="instead of `loss = ...`",
)
def of_several_judges_in_one_module_the_last_one_counts(it: It, i: int) -> None:
    turn_of_the_judges(it, i, "all" if it.fixed else "last")


@loop(build=one_module_of_judges, intended=all_of_them)
def all_judges_of_one_module_count(it: It, i: int) -> None:
    turn_of_the_judges(it, i, "all")


@loop(build=one_module_of_judges, intended=None)
def a_judge_that_is_only_logged(it: It, i: int) -> None:
    turn_of_the_judges(it, i, "logged")


def relative_to_real(it: It, who: str, i: int) -> Tensor | None:
    """G is to do better than real samples do (a relativistic GAN)."""
    G, D = it.nets.values()
    if who == "D":
        return usual(it, who, i)
    return bce(D(G(noise(i))) - D(real(i)).detach(), 1.0)


@loop(
    ("never-walked", "D"),
    intended=relative_to_real,
    says="D and G learn nothing from it. g_loss became another loss in `g_loss = bce\\(D\\(fake",
    advice="Which of the two is meant\\? If the first, leave out the line that overwrites it",
)
def the_loss_of_g_overwritten_by_a_plainer_one(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)).backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    fake = G(noise(i))
    of_real, of_fake = D(real(i)).detach(), D(fake)
    g_loss = bce(of_fake - of_real, 1.0)
    if not it.fixed:
        g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


@loop(
    ("never-walked", "D"),
    intended=None,
    says="g_loss became another loss in `g_loss = bce\\(D\\(fake",
    advice="If the second, leave out the first",
)
def the_loss_of_g_before_the_one_that_is_meant(it: It, i: int) -> None:
    """Its gradient is right; the first is computed for nothing."""
    G, D = it.nets.values()
    step(it, "D", bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
    it.optimizers["G"].zero_grad()
    fake = G(noise(i))
    if not it.fixed:
        g_loss = bce(D(fake) - D(real(i)).detach(), 1.0)
    g_loss = bce(D(fake), 1.0)
    g_loss.backward()
    it.optimizers["G"].step()


def turns(it: It, i: int, **how: bool) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward(**how)
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward(inputs=list(G.parameters()), **how)
    it.optimizers["G"].step()
    return d_loss, g_loss


@loop(
    waste="memory-growth",
    says="nodes more each time",
    advice=".item\\(\\) or .detach\\(\\) what you keep",
    source="https://github.com/BatsResearch/labelmodels/issues/4",
)
def a_running_sum_of_losses(it: It, i: int) -> None:
    for loss in turns(it, i):
        it.total = getattr(it, "total", 0) + (loss.item() if it.fixed else loss)


@loop(
    waste="memory-growth",
    says="hold .* KiB more.*the oldest was made by `",
    advice="leave out retain_graph=True",
    source="https://github.com/Koukyosyumei/AIJack/issues/133",
)
def losses_kept_with_their_graphs(it: It, i: int) -> None:
    losses = turns(it, i) if it.fixed else turns(it, i, retain_graph=True)
    it.kept += [loss.detach() for loss in losses] if it.fixed else losses


@loop(waste="memory-growth", says="nodes more each time", advice="for a log, an average or a pool")
def averaged_weights_with_a_graph(it: It, i: int) -> None:
    turns(it, i)
    G = it.nets["G"]
    with torch.set_grad_enabled(not it.fixed):
        mean = getattr(it, "mean", None) or list(G.parameters())
        it.mean = [0.9 * m + 0.1 * p for m, p in zip(mean, G.parameters(), strict=True)]


@loop(waste="needless-retain", advice="Leave retain_graph=True out")
def a_graph_kept_beside_a_penalty(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    x = real(i).requires_grad_()
    slope = torch.autograd.grad(D(x).sum(), x, create_graph=True)[0]
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    (d_loss + 1e-9 * slope.square().mean()).backward(retain_graph=not it.fixed)
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    bce(D(G(noise(i))), 1.0).backward()
    it.optimizers["G"].step()


@loop(waste="in-vain", says="gradients of D", advice="inputs=list\\(G.parameters\\(\\)\\)")
def the_gradients_of_d_in_the_turn_of_g(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    if it.fixed:
        g_loss.backward(inputs=list(G.parameters()))
    else:
        g_loss.backward()
    it.optimizers["G"].step()


def backward_of(it: It, who: str, loss: Tensor) -> None:
    """One line for both players; the advice hands it who is to receive."""
    it.optimizers[who].zero_grad()
    loss.backward(inputs=list(it.nets[who].parameters()) if it.fixed and who == "G" else None)
    it.optimizers[who].step()


@loop(
    waste="in-vain",
    says="gradients of D",
    advice="turn of D, too.* in the turn of G `backward\\(inputs=list\\(G.parameters\\(\\)",
)
def the_gradients_of_d_in_a_line_that_both_players_share(it: It, i: int) -> None:
    for who in "DG":
        loss = usual(it, who, i)
        assert loss is not None
        backward_of(it, who, loss)


def partly_frozen(fixed: bool) -> It:
    G, D = mlp(2, 2), mlp(2, 1)
    G[0].requires_grad_(False)
    trained = [p for p in G.parameters() if p.requires_grad]
    optimizers = {"G": torch.optim.SGD(trained, lr=0.05), "D": sgd(D)}
    return It(fixed=fixed, nets={"G": G, "D": D}, optimizers=optimizers)


@loop(
    waste="in-vain",
    build=partly_frozen,
    intended=usual,
    advice="inputs=\\[p for p in G.parameters\\(\\) if p.requires_grad\\]",
)
def in_vain_beside_frozen_parameters(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward()
    it.optimizers["D"].step()
    it.optimizers["G"].zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    if it.fixed:
        g_loss.backward(inputs=[p for p in G.parameters() if p.requires_grad])
    else:
        g_loss.backward()
    it.optimizers["G"].step()


def two_heads(fixed: bool) -> It:
    nets = {"encoder": mlp(2, 2), "first": mlp(2, 2), "second": mlp(2, 1)}
    encoder, first, second = nets.values()
    optimizers = {"restore": sgd(encoder, first), "judge": sgd(encoder, second)}
    return It(fixed=fixed, nets=nets, optimizers=optimizers)


def losses_of_heads(it: It, i: int) -> tuple[Tensor, Tensor]:
    encoder, first, second = it.nets.values()
    code = encoder(real(i))
    restored = (first(code) - real(i)).square().mean()
    return restored, bce(second(code), 1.0)


@loop(
    ("thrown-away", "encoder"),
    build=two_heads,
    intended=lambda it, who, i: sum(losses_of_heads(it, i)) if who == "restore" else None,
    says="threw away what .*restored.backward.* had computed for encoder",
    advice="Clear once, before the first backward|let encoder step before it is cleared",
)
def two_optimizers_of_one_encoder_and_a_clearing_between(it: It, i: int) -> None:
    restored, judged = losses_of_heads(it, i)
    it.optimizers["restore"].zero_grad()
    if it.fixed:
        it.optimizers["judge"].zero_grad()
    restored.backward(retain_graph=True)
    if not it.fixed:
        it.optimizers["judge"].zero_grad()
    judged.backward()
    for optimizer in it.optimizers.values():
        optimizer.step()


@loop(build=two_heads, intended=None)
def two_optimizers_of_one_encoder_each_in_its_turn(it: It, i: int) -> None:
    encoder, first, second = it.nets.values()
    it.optimizers["restore"].zero_grad()
    (first(encoder(real(i))) - real(i)).square().mean().backward()
    it.optimizers["restore"].step()
    it.optimizers["judge"].zero_grad()
    bce(second(encoder(real(i))), 1.0).backward()
    it.optimizers["judge"].step()


def autoencoder(fixed: bool) -> It:
    encoder, decoder, D = mlp(2, 2), mlp(2, 2), mlp(2, 1)
    return It(fixed=fixed, nets={"encoder": encoder, "decoder": decoder, "D": D},
              optimizers={"both": sgd(encoder, decoder), "D": sgd(D)})  # fmt: skip


def of_autoencoder(it: It, who: str, i: int) -> Tensor:
    encoder, decoder, D = it.nets.values()
    made = decoder(encoder(real(i)).detach())
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(made.detach()), 0.0)
    return bce(D(made), 1.0) + mse_loss(decoder(encoder(real(i))), real(i))


@loop(build=autoencoder, intended=of_autoencoder)
def cleared_so_that_only_the_decoder_follows_the_judge(it: It, i: int) -> None:
    encoder, decoder, D = it.nets.values()
    it.optimizers["D"].zero_grad()
    of_autoencoder(it, "D", i).backward()
    it.optimizers["D"].step()
    it.optimizers["both"].zero_grad()
    D.requires_grad_(False)
    bce(D(decoder(encoder(real(i)))), 1.0).backward()
    D.requires_grad_(True)
    encoder.zero_grad()
    mse_loss(decoder(encoder(real(i))), real(i)).backward()
    it.optimizers["both"].step()


def attacked(D: nn.Module, i: int, read: bool = True) -> Tensor:
    """What is real, moved along the sign of its own gradient until D doubts it."""
    x = real(i).requires_grad_()
    for _ in range(2):
        loss = bce(D(x), 1.0)
        if read:
            loss.backward()
            slope = x.grad
        else:
            (slope,) = torch.autograd.grad(loss, x)
        assert slope is not None
        x = (x + 0.1 * slope.sign()).detach().requires_grad_()
    return x.detach()


def on_attacks(it: It, who: str, i: int) -> Tensor:
    return bce(it.nets["D"](attacked(it.nets["D"], i, read=False)), 1.0)


def judge_alone(fixed: bool) -> It:
    D = mlp(2, 1)
    return It(fixed=fixed, nets={"D": D}, optimizers={"D": sgd(D)}, kept=[])


@loop(waste="in-vain", build=judge_alone, intended=on_attacks, advice="ask for that alone: torch")
def trained_on_what_attacks_it(it: It, i: int) -> None:
    """The gradients that the attack leaves in D are cleared, and were never meant for it."""
    step(it, "D", bce(it.nets["D"](attacked(it.nets["D"], i, read=not it.fixed)), 1.0))


def rebuilding(fixed: bool) -> It:
    it = pair(fixed)
    it.optimizers = {"g": sgd(it.nets["G"]), "d": sgd(it.nets["D"])}
    return it


def rebuilt_and_judged(it: It, who: str, i: int) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "g":
        return mse_loss(fake, real(i)) + bce(D(fake), 1.0)
    return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)


def judged_after_its_step(it: It, i: int, apart: bool = False) -> None:
    """g steps on the first of its losses, and by the time of the next step the other is gone."""
    G, D = it.nets.values()
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()
    mse_loss(G(noise(i)), real(i)).backward()
    if not it.fixed:
        it.optimizers["g"].step()
    if apart:
        it.optimizers["g"].zero_grad()
    D.requires_grad_(False)
    verdict = bce(D(G(noise(i))), 1.0)
    verdict.backward()
    D.requires_grad_(True)
    if it.fixed or (apart and i == 0):
        it.optimizers["g"].step()
    rebuilt_and_judged(it, "d", i).backward()
    it.optimizers["d"].step()


@loop(
    ("thrown-away", "G"),
    build=rebuilding,
    intended=rebuilt_and_judged,
    says=r"threw away what `verdict.backward\(\)` had computed for G.* comes before that call",
    advice=r"Let `it.optimizers\[.g.\].step\(\)` come after `verdict.backward\(\)`, and before",
    source="https://github.com/MyeongJin-Kim/Learning-Texture-Invariant-Representation/issues/10",
)
def a_step_that_comes_before_the_verdict(it: It, i: int) -> None:
    judged_after_its_step(it, i)


@loop(build=rebuilding, intended=None)
def a_verdict_that_moves_g_only_now_and_then(it: It, i: int) -> None:
    judged_after_its_step(it, i, apart=True)


def coding(fixed: bool) -> It:
    nets = {"E": mlp(2, 2), "G": mlp(2, 2), "D": mlp(2, 1)}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def coded(it: It, who: str, i: int) -> Tensor:
    E, G, D = it.nets.values()
    fake = G(E(noise(i)))
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return bce(D(fake), 1.0) if who == "E" else mse_loss(fake, real(i))


@loop(build=coding, intended=coded)
def a_verdict_that_is_for_the_encoder_alone(it: It, i: int) -> None:
    """What it leaves in G is cleared before the turn of G, after that of D."""
    for who in ("E", "D", "G"):
        step(it, who, coded(it, who, i))
