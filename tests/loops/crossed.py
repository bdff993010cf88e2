"""A net follows what is another's, or steps where another should; each with right loops."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, mse_loss

from .kit import It, bce, loop, mlp, noise, pair, real, sgd, usual
from .right import step


def turn(it: It, who: str, i: int, loss: Tensor, optimizer: str = "") -> None:
    for one in it.optimizers.values():
        one.zero_grad()
    it.turn = who
    loss.backward(inputs=list(it.nets[who].parameters()) if it.fixed else None)
    it.optimizers[optimizer or who].step()


# One optimizer for both, in turns -----------------------------------------------------------------


def in_one_optimizer(fixed: bool) -> It:
    it = pair(fixed)
    it.optimizers = {"both": sgd(*it.nets.values())}
    return it


def whose_turn(it: It, who: str, i: int) -> Tensor | None:
    """In G's turn G alone is to move: what the optimizer finds in D should be nothing."""
    G, D = it.nets.values()
    if it.turn == "D":
        return usual(It(nets=it.nets, optimizers={"G": None}), "D", i)
    frozen = {name: p.detach() for name, p in D.named_parameters()}
    return bce(torch.func.functional_call(D, frozen, G(noise(i))), 1.0)


@loop(
    ("polluted", "D"),
    build=in_one_optimizer,
    intended=whose_turn,
    says="from which G learns as well: it pulls what D says of the output of G the other way",
    advice=r"Keep D out of .*`backward\(inputs=list\(G.parameters\(\)\)\)`",
    source="https://github.com/eriklindernoren/Keras-GAN/issues/128",
)
def one_optimizer_steps_both_in_each_turn(it: It, i: int) -> None:
    G, D = it.nets.values()
    turn(it, "D", i, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0), "both")
    turn(it, "G", i, bce(D(G(noise(i))), 1.0), "both")


def trunk_and_head(fixed: bool) -> It:
    nets: dict[str, nn.Module] = {"trunk": mlp(2, 4), "head": mlp(4, 1)}
    return It(fixed=fixed, nets=nets, optimizers={"both": sgd(*nets.values())})


@loop(build=trunk_and_head, intended=None)
def the_head_alone_and_then_both(it: It, i: int) -> None:
    """One task: the head is trained on features that stand still, then all is."""
    trunk, head = it.nets.values()
    label = (real(i)[:, :1] > 2).float()
    of_label = nn.functional.binary_cross_entropy_with_logits
    step(it, "both", of_label(head(trunk(real(i)).detach()), label))
    step(it, "both", of_label(head(trunk(real(i))), label))


def with_a_code(fixed: bool) -> It:
    it = with_features(fixed)
    it.optimizers["both"] = sgd(*it.nets.values())
    return it


@loop(build=with_a_code, intended=None)
def a_code_that_both_learn_to_tell(it: It, i: int) -> None:
    """D gives a verdict and a code: the code is read by both, the verdict is fought over."""
    G, D = it.nets.values()
    step(it, "D", by_features(it, "D", i))
    step(it, "G", bce(D(G(noise(i)))[1], 1.0))
    step(it, "both", bce(D(G(noise(i)))[0][:, :1], 1.0))


# Optimizers of each other's nets ------------------------------------------------------------------


def autoencoder(fixed: bool) -> It:
    nets = {"encoder": mlp(2, 4), "decoder": mlp(2, 2), "judge": mlp(2, 2)}
    encoder, decoder = ("encoder", "decoder") if fixed else ("decoder", "encoder")
    held = {"trainer_E": nets[encoder], "trainer_G": nets[decoder], "trainer_D": nets["judge"]}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in held.items()})


def of_the_autoencoder(it: It, who: str, i: int) -> Tensor:
    encoder, decoder, judge = it.nets.values()
    mean, log = encoder(real(i)).chunk(2, 1)
    rebuilt = mse_loss(decoder(mean), real(i))
    label = (noise(i)[:, 0] > 0).long()
    if who == "trainer_E":
        return rebuilt + 0.1 * (log.exp() + mean.square() - 1 - log).mean()
    if who == "trainer_G":
        return rebuilt + cross_entropy(judge(decoder(noise(i))), label)
    return cross_entropy(judge(decoder(noise(i)).detach()), label)


@loop(
    ("ownership", "decoder"),
    build=autoencoder,
    intended=lambda it, who, i: of_the_autoencoder(it, who, i) if it.fixed else None,
    says="trainer_E steps decoder on .*, of which a term reaches encoder and not decoder",
    advice="trainer_G from the parameters of decoder, trainer_E from those of encoder",
    source="https://github.com/wiseodd/controlled-text-generation/issues/15",
)
def two_optimizers_made_of_each_other_s_nets(it: It, i: int) -> None:
    for who in ("trainer_D", "trainer_G", "trainer_E"):
        for net in it.nets.values():
            net.zero_grad()
        loss = of_the_autoencoder(it, who, i)
        loss.backward()
        it.optimizers[who].step()


def crossed_players(fixed: bool) -> It:
    it = pair(fixed)
    g, d = ("G", "D") if fixed else ("D", "G")
    it.optimizers = {"first": sgd(it.nets[d]), "second": sgd(it.nets[g])}
    return it


@loop(
    ("ownership", "G"),
    build=crossed_players,
    intended=lambda it, who, i: (
        usual(It(nets=it.nets, optimizers={"second": None}), who, i) if it.fixed else None
    ),
    says="first steps G on .*, of which a term reaches D and not G",
    advice="second from the parameters of G, first from those of D",
)
def opponents_whose_optimizers_are_exchanged(it: It, i: int) -> None:
    G, D = it.nets.values()
    for net in it.nets.values():
        net.zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)
    d_loss.backward()
    it.optimizers["first"].step()
    for net in it.nets.values():
        net.zero_grad()
    g_loss = bce(D(G(noise(i))), 1.0)
    g_loss.backward()
    it.optimizers["second"].step()


def both_scores(it: It, who: str, i: int) -> Tensor:
    """The whole difference in either turn: what is said of real samples is a constant for G."""
    G, D = it.nets.values()
    gap = D(real(i)).mean() - D(G(noise(i))).mean()
    return gap if who == "G" else -gap


@loop(intended=both_scores)
def a_term_that_is_a_constant_for_g(it: It, i: int) -> None:
    for who in "DG":
        for optimizer in it.optimizers.values():
            optimizer.zero_grad()
        both_scores(it, who, i).backward()
        it.optimizers[who].step()


# A term that judges a copy, or something else -----------------------------------------------------


class Judge(nn.Module):
    """Gives what it saw on the way, too."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.say = nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.tanh(self.look(x))
        return seen, self.say(seen)


def with_features(fixed: bool) -> It:
    nets = {"G": mlp(2, 2), "D": Judge()}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def by_features(it: It, who: str, i: int, copied: bool = False) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    of_real, of_copy = D(real(i)), D(fake.detach())
    if who == "D":
        return bce(of_real[1], 1.0) + bce(of_copy[1], 0.0)
    seen, said = D(fake)
    return bce(said, 1.0) + 10 * l1_loss(of_copy[0] if copied else seen, of_real[0].detach())


@loop(
    ("cut-off", "G"),
    build=with_features,
    intended=by_features,
    says="a term teaches nobody: it is made of .*, where D got a copy of the output of G",
    advice="of the output of G itself",
    source="https://github.com/rishikksh20/TFGAN/issues/7",
)
def features_of_a_detached_fake_are_matched(it: It, i: int) -> None:
    step(it, "G", by_features(it, "G", i, copied=not it.fixed))
    step(it, "D", by_features(it, "D", i))


def rebuilt_and_judged(it: It, who: str, i: int, other: bool = False) -> Tensor:
    G, D = it.nets.values()
    fake = G(noise(i))
    if who == "D":
        return bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    return l1_loss(fake, real(i)) + bce(D(real(i) if other else fake), 1.0)


@loop(
    ("cut-off", "G"),
    intended=rebuilt_and_judged,
    says="D judges there what G had no part in.*G learns from no loss that goes through D",
    advice="give D what G made",
    source="https://github.com/SunnerLi/RecycleGAN/issues/2",
)
def the_judge_gets_the_true_sample_in_the_turn_of_g(it: It, i: int) -> None:
    step(it, "G", rebuilt_and_judged(it, "G", i, other=not it.fixed))
    step(it, "D", rebuilt_and_judged(it, "D", i))


@loop(build=with_features, intended=by_features)
def all_losses_in_the_turn_of_g(it: It, i: int) -> None:
    """What D learns by in its own turn is added to the loss of G: a constant for G."""
    d_loss = by_features(it, "D", i)
    g_loss = by_features(it, "G", i)
    it.optimizers["G"].zero_grad()
    (g_loss + d_loss).backward(retain_graph=True)
    it.optimizers["G"].step()
    step(it, "D", by_features(it, "D", i))


# Stepped where another should be, or once more ----------------------------------------------------


@loop(
    ("never-stepped", "D"),
    says="moved G once more, by what had moved G before",
    advice="Call the step of the optimizer of D in place of that",
    source="https://github.com/Lornatang/ESRGAN-PyTorch/issues/39",
)
def the_other_optimizer_steps_twice(it: It, i: int) -> None:
    G, D = it.nets.values()
    D.requires_grad_(False)
    step(it, "G", bce(D(G(noise(i))), 1.0))
    D.requires_grad_(True)
    D.zero_grad()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    d_loss.backward()
    it.optimizers["D" if it.fixed else "G"].step()


def with_a_scaler(fixed: bool) -> It:
    it = pair(fixed)
    it.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    return it


@loop(
    ("polluted", "G"),
    ("polluted", "D"),
    build=with_a_scaler,
    says="once more by .*, after .*scaler.step.* had moved it",
    advice="Leave .* out: .* has stepped already",
    source="https://github.com/IAHispano/Applio/pull/860",
)
def both_step_once_more_past_the_scaler(it: It, i: int) -> None:
    for who, optimizer in it.optimizers.items():
        optimizer.zero_grad()
        loss = usual(it, who, i)
        assert loss is not None
        it.scaler.scale(loss).backward()
        it.scaler.unscale_(optimizer)
        it.scaler.step(optimizer)
    it.scaler.update()
    if not it.fixed:
        it.optimizers["G"].step()
        it.optimizers["D"].step()


# A reversal that does not reverse -----------------------------------------------------------------


class GradReverse(torch.autograd.Function):
    """Hands values on, and turns the gradient round: times a factor that is to be positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.neg() * ctx.factor, None


def features_and_domain(fixed: bool) -> It:
    nets = {"features": mlp(2, 4), "domain": mlp(4, 1)}
    return It(fixed=fixed, nets=nets, optimizers={"both": sgd(*nets.values())})


def of_domain(it: It, i: int, sign: float) -> Tensor:
    features, domain = it.nets.values()
    told = [bce(domain(GradReverse.apply(features(x), sign * 0.3 * (i + 1))), label)
            for x, label in ((real(i), 1.0), (noise(i), 0.0))]  # fmt: skip
    return mse_loss(features(real(i))[:, :2], real(i)) + told[0] + told[1]


@loop(
    ("reversed", "features"),
    build=features_and_domain,
    intended=lambda it, who, i: of_domain(it, i, 1.0),
    says="has the name of a reversal, and .* does not reverse the gradient",
    advice="one of the two is to be negative",
    source="https://github.com/CuthbertCai/pytorch_DANN/issues/10",
)
def a_reversal_by_a_factor_that_is_negative_too(it: It, i: int) -> None:
    step(it, "both", of_domain(it, i, 1.0 if it.fixed else -1.0))


class GradientReversal(nn.Module):
    """The method ``backward`` of a module is one that nobody calls."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.right = right

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = GradReverse.apply(x, 1.0) if self.right else x
        return out

    def backward(self, grad: Tensor) -> Tensor:
        return -grad


def with_a_module_that_reverses(fixed: bool) -> It:
    domain = nn.Sequential(GradientReversal(fixed), mlp(4, 1))
    nets = {"features": mlp(2, 4), "domain": domain}
    return It(fixed=fixed, nets=nets, optimizers={"both": sgd(*nets.values())})


def of_domain_below(it: It, who: str, i: int) -> Tensor:
    features, domain = it.nets.values()
    it_is, domain[0].right = domain[0].right, True
    loss = of_domain_as_it_is(features, domain, i)
    domain[0].right = it_is
    return loss


def of_domain_as_it_is(features: nn.Module, domain: nn.Module, i: int) -> Tensor:
    told = [bce(domain(features(x)), label) for x, label in ((real(i), 1.0), (noise(i), 0.0))]
    return mse_loss(features(real(i))[:, :2], real(i)) + told[0] + told[1]


@loop(
    ("reversed", "domain"),
    build=with_a_module_that_reverses,
    intended=of_domain_below,
    says="0 of domain has the name of a reversal, and is a module: torch never calls its method",
    advice="Make it a torch.autograd.Function",
    source="https://github.com/hash2430/pitchtron/issues/3",
)
def a_reversal_that_is_a_module(it: It, i: int) -> None:
    features, domain = it.nets.values()
    step(it, "both", of_domain_as_it_is(features, domain, i))
