"""One backward for the sum of two opponents' losses; each with right loops like it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import mse_loss, relu

from .kit import It, bce, draw, loop, mlp, noise, pair, real, sgd, usual

Losses = Callable[[It, int], tuple[Tensor, Tensor]]


def clear(it: It) -> None:
    it.then = copy.deepcopy(it.nets)
    for optimizer in it.optimizers.values():
        optimizer.zero_grad()


def step(it: It) -> None:
    for optimizer in it.optimizers.values():
        optimizer.step()


def apart(it: It, d_loss: Tensor, g_loss: Tensor) -> None:
    """As the advice says."""
    d_loss.backward(retain_graph=True, inputs=list(it.nets["D"].parameters()))
    g_loss.backward(inputs=list(it.nets["G"].parameters()))


def as_they_were(it: It, who: str) -> It:
    """Both steps follow one backward: what the second is to follow saw the first net unmoved."""
    return It(nets={name: it.nets[name] if name == who else it.then[name] for name in it.nets})


def intended(losses: Losses) -> Callable[[It, str, int], Tensor]:
    return lambda it, who, i: losses(as_they_were(it, who), i)["DG".index(who)]


def at_once(it: It, who: str, i: int) -> Tensor | None:
    then = as_they_were(it, who)
    return usual(It(nets=then.nets, optimizers={"G": None}), who, i)


def one_verdict(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    pred_fake = D(G(noise(i)))
    d_loss = bce(D(real(i)), 1.0) + bce(pred_fake, 0.0)
    g_loss = bce(pred_fake, 1.0)
    return d_loss, g_loss


SAYS = "sums two losses that pull what D says of the output of G in opposite ways"
BOTH = {
    "says": SAYS + ".*D and G both step on the sum",
    "advice": r"`backward\(retain_graph=True, inputs=list\(D.parameters\(\)\)\)` for the loss of D",
}


@loop(("polluted", "D"), intended=intended(one_verdict), **BOTH)
def the_sum_of_both_losses(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = one_verdict(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        (d_loss + g_loss).backward()
    step(it)


def by_squares(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    pred_fake, pred_real = D(G(noise(i))).view(-1), D(real(i)).view(-1)
    d_loss = mse_loss(pred_real, torch.ones(8)) + mse_loss(pred_fake, torch.zeros(8))
    g_loss = mse_loss(pred_fake, torch.ones(8))
    return d_loss, g_loss


@loop(("polluted", "D"), intended=intended(by_squares), **BOTH)
def the_sum_of_two_distances(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = by_squares(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        loss = d_loss + 0.5 * g_loss
        loss.backward()
    step(it)


def by_scores(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    score = D(G(noise(i)))
    return score.mean() - D(real(i)).mean(), -score.mean()


@loop(("polluted", "D"), intended=intended(by_scores), **BOTH)
def both_losses_in_one_call(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = by_scores(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        torch.autograd.backward([d_loss, g_loss])
    step(it)


def in_one_batch(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    pred_real, pred_fake = D(torch.cat([real(i), G(noise(i))])).chunk(2)
    return bce(pred_real, 1.0) + bce(pred_fake, 0.0), bce(pred_fake, 1.0)


@loop(("polluted", "D"), intended=intended(in_one_batch), **BOTH)
def the_sum_where_d_sees_one_batch(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = in_one_batch(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        (d_loss + g_loss).backward()
    step(it)


def one_optimizer(fixed: bool) -> It:
    it = pair(fixed)
    it.optimizers = {"both": sgd(*it.nets.values())}
    return it


def each_its_own(it: It, who: str, i: int) -> Tensor:
    """One optimizer steps each by its own loss: the other is kept out of both."""
    G, D = it.nets.values()
    d_loss = bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)
    frozen = {k: p.detach() for k, p in D.named_parameters()}
    return d_loss + bce(functional_call(D, frozen, G(noise(i))), 1.0)


@loop(("polluted", "D"), build=one_optimizer, intended=each_its_own, **BOTH)
def the_sum_in_one_optimizer(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = one_verdict(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        (d_loss + g_loss).backward()
    step(it)


OWN = {
    "says": SAYS + ".*it follows the loss of G as well",
    "advice": r"`backward\(inputs=list\(D.parameters\(\)\)\)` for the loss of D, "
    r"`backward\(inputs=list\(G.parameters\(\)\)\)` for that of G",
}


def two_verdicts(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    fake = G(noise(i))
    d_loss = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    g_loss = bce(D(fake), 1.0)
    return d_loss, g_loss


@loop(("polluted", "D"), intended=intended(two_verdicts), **OWN)
def the_sum_with_a_detached_fake(it: It, i: int) -> None:
    """G is right; D follows both."""
    clear(it)
    d_loss, g_loss = two_verdicts(it, i)
    if it.fixed:
        d_loss.backward(inputs=list(it.nets["D"].parameters()))
        g_loss.backward(inputs=list(it.nets["G"].parameters()))
    else:
        (d_loss + g_loss).backward()
    step(it)


def by_margins(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    with torch.no_grad():
        fake = G(draw(i + 100))
    d_loss = relu(1 - D(real(i))).mean() + relu(1 + D(fake)).mean()
    return d_loss, -D(G(noise(i))).mean()


@loop(("polluted", "D"), intended=intended(by_margins), **OWN)
def the_sum_with_a_fake_made_without_gradients(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = by_margins(it, i)
    if it.fixed:
        d_loss.backward(inputs=list(it.nets["D"].parameters()))
        g_loss.backward(inputs=list(it.nets["G"].parameters()))
    else:
        torch.stack([d_loss, g_loss]).sum().backward()
    step(it)


def with_powers(it: It, i: int) -> tuple[Tensor, Tensor]:
    """Only one of the two is a square."""
    G, D = it.nets.values()
    verdict = D(G(noise(i)))
    d_loss = (D(real(i)) - 1).square().mean() + verdict.square().mean()
    return d_loss, -verdict.mean()


@loop(("polluted", "D"), intended=intended(with_powers), **BOTH)
def the_sum_of_squares_and_a_score(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = with_powers(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        (d_loss + g_loss).backward()
    step(it)


def a_square_for_g(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    verdict = D(G(noise(i)))
    return bce(D(real(i)), 1.0) + bce(verdict, 0.0), (verdict - 1).square().mean()


@loop(("polluted", "D"), intended=intended(a_square_for_g), **BOTH)
def the_sum_of_logits_and_a_square(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = a_square_for_g(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        (d_loss + g_loss).backward()
    step(it)


# A judge that judges nothing but what one player makes: which group a sample is of ---------------


def with_a_secret(fixed: bool) -> It:
    nets: dict[str, nn.Module] = {"encode": mlp(2, 4), "use": mlp(4, 1), "tell": mlp(4, 3)}
    players = sgd(nets["encode"], nets["use"])
    return It(fixed=fixed, nets=nets, optimizers={"D": sgd(nets["tell"]), "G": players})


def secret(it: It, i: int, codes: Tensor) -> Tensor:
    group = draw(i, 5.0)[:, 0].mul(3).long() % 3
    return nn.functional.cross_entropy(it.nets["tell"](codes), group)


def useful(it: It, i: int, codes: Tensor) -> Tensor:
    return mse_loss(it.nets["use"](codes), real(i)[:, :1])


def kept_secret(it: It, who: str, i: int) -> Tensor:
    """Both step after the backward calls: the second is to follow what saw the first unmoved."""
    own = {"tell"} if who == "D" else {"encode", "use"}
    then = It(nets={n: it.nets[n] if n in own else it.then[n] for n in it.nets})
    codes = then.nets["encode"](real(i))
    told = secret(then, i, codes)
    return told if who == "D" else useful(then, i, codes) - 0.5 * told


SECRET = r"`backward\(retain_graph=True, inputs=list\(tell.parameters\(\)\)\)`"


def players_apart(it: It, told: Tensor, g_loss: Tensor) -> None:
    told.backward(retain_graph=True, inputs=list(it.nets["tell"].parameters()))
    players = [*it.nets["encode"].parameters(), *it.nets["use"].parameters()]
    g_loss.backward(inputs=players)


@loop(
    ("polluted", "tell"),
    build=with_a_secret,
    intended=kept_secret,
    says="pull what tell says of the output of encode in opposite ways",
    advice=SECRET + ".*for the loss of tell.*encode.*use",
)
def the_sum_where_the_judge_tells_groups(it: It, i: int) -> None:
    clear(it)
    codes = it.nets["encode"](real(i))
    told = secret(it, i, codes)
    g_loss = useful(it, i, codes) - 0.5 * secret(it, i, codes)
    if it.fixed:
        players_apart(it, told, g_loss)
    else:
        (told + g_loss).backward()
    step(it)


@loop(
    waste="polluted",
    build=with_a_secret,
    intended=kept_secret,
    says="is added and subtracted.*encode does not work against tell",
    advice=SECRET + ".*for that of tell.*write its weight once",
)
def the_sum_of_a_loss_and_its_negative(it: It, i: int) -> None:
    clear(it)
    codes = it.nets["encode"](real(i))
    told = secret(it, i, codes)
    g_loss = useful(it, i, codes) - 0.5 * told
    if it.fixed:
        players_apart(it, told, g_loss)
    else:
        (told + g_loss).backward()
    step(it)


# Right loops -----------------------------------------------------------------------------------


@loop(intended=at_once)
def the_sum_with_d_frozen_for_g(it: It, i: int) -> None:
    G, D = it.nets.values()
    clear(it)
    fake = G(noise(i))
    d_loss = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    D.requires_grad_(False)
    g_loss = bce(D(fake), 1.0)
    D.requires_grad_(True)
    (d_loss + g_loss).backward()
    step(it)


@loop(intended=at_once)
def the_sum_with_a_copy_of_d_for_g(it: It, i: int) -> None:
    G, D = it.nets.values()
    clear(it)
    fake = G(noise(i))
    d_loss = bce(D(real(i)), 1.0) + bce(D(fake.detach()), 0.0)
    frozen = {name: p.detach() for name, p in D.named_parameters()}
    (d_loss + bce(functional_call(D, frozen, fake), 1.0)).backward()
    step(it)


def trunk_and_head(fixed: bool) -> It:
    nets: dict[str, nn.Module] = {"trunk": mlp(2, 4), "head": mlp(4, 2)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


def joined(loss: Callable[[It, str, int], Tensor]) -> Callable[[It, str, int], Tensor]:
    return lambda it, who, i: loss(as_they_were(it, who), who, i)


def variance(it: It, who: str, i: int) -> Tensor:
    """The error over the variance, and the logarithm of the variance: they balance."""
    mean, log = it.nets["head"](it.nets["trunk"](noise(i))).unbind(1)
    return ((mean - 3).square() * torch.exp(-log) + log).mean()


@loop(build=trunk_and_head, intended=joined(variance))
def two_opposite_terms_of_one_loss(it: It, i: int) -> None:
    clear(it)
    variance(it, "", i).backward()
    step(it)


def two_labels(it: It, who: str, i: int) -> Tensor:
    """One head for what comes from two sources, each with its label."""
    trunk, head = it.nets.values()
    one, two = (head(trunk(x))[:, 0] for x in (noise(i), real(i)))
    return bce(one, 0.0) + bce(two, 1.0) + bce(head(draw(i, 3.0, 8).repeat(1, 2))[:, 0], 0.0)


@loop(build=trunk_and_head, intended=joined(two_labels))
def opposite_labels_for_two_outputs(it: It, i: int) -> None:
    clear(it)
    two_labels(it, "", i).backward()
    step(it)


def halves(it: It, who: str, i: int) -> Tensor:
    trunk, head = it.nets.values()
    features = trunk(torch.cat([noise(i), real(i)]))
    one, two = head(features[:8])[:, 0], head(features[8:])[:, 0]
    return bce(one, 0.0) + bce(two, 1.0) + bce(head(draw(i, 3.0, 8).repeat(1, 2))[:, 0], 0.0)


@loop(build=trunk_and_head, intended=joined(halves))
def opposite_labels_for_two_halves(it: It, i: int) -> None:
    clear(it)
    halves(it, "", i).backward()
    step(it)


def mixed_labels(it: It, who: str, i: int) -> Tensor:
    """Each output is drawn to its own label and to another's; the head judges other things, too."""
    trunk, head = it.nets.values()
    verdict, other = head(trunk(noise(i)))[:, 0], head(draw(i, 3.0, 8).repeat(1, 2))[:, 0]
    label = (draw(i)[:, 0] > 0).float()
    of_label = nn.functional.binary_cross_entropy_with_logits
    mixed = 0.3 * of_label(verdict, label) + 0.7 * of_label(verdict, label.roll(1))
    return mixed + bce(other, 0.0)


@loop(build=trunk_and_head, intended=joined(mixed_labels))
def labels_mixed_up(it: It, i: int) -> None:
    clear(it)
    mixed_labels(it, "", i).backward()
    step(it)


def joint(it: It, i: int) -> Tensor:
    """Several terms through D, some against others: only G steps on their sum."""
    G, D = it.nets.values()
    fake = G(noise(i))
    verdict = D(fake)
    return bce(verdict, 1.0) + 0.1 * bce(verdict, 0.0) + mse_loss(fake, real(i))


@loop(intended=lambda it, who, i: usual(it, who, i) if who == "D" else joint(it, i))
def opposite_terms_on_which_only_g_steps(it: It, i: int) -> None:
    G, D = it.nets.values()
    it.optimizers["G"].zero_grad()
    joint(it, i).backward()
    it.optimizers["G"].step()
    it.optimizers["D"].zero_grad()
    (bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)).backward()
    it.optimizers["D"].step()


def of_two_sources(it: It, who: str, i: int) -> Tensor:
    """The head has a variance to tell of other things, too."""
    trunk, head = it.nets.values()
    losses = []
    for features in (trunk(noise(i)), draw(i, 3.0).repeat(1, 2)):
        mean, log = head(features).unbind(1)
        losses.append(((mean - 3).square() * torch.exp(-log) + log).mean())
    return losses[0] + losses[1]


@loop(build=trunk_and_head, intended=joined(of_two_sources))
def opposite_terms_of_one_loss_about_all(it: It, i: int) -> None:
    clear(it)
    of_two_sources(it, "", i).backward()
    step(it)


def kept_small(it: It, who: str, i: int) -> Tensor:
    """A penalty pulls against the label; the head judges other things as well."""
    trunk, head = it.nets.values()
    verdict, other = head(trunk(noise(i)))[:, :1], head(draw(i, 3.0).repeat(1, 2))[:, :1]
    return bce(verdict, 1.0) + bce(other, 0.0) + 0.01 * verdict.exp().mean()


@loop(build=trunk_and_head, intended=joined(kept_small))
def a_penalty_against_the_label(it: It, i: int) -> None:
    clear(it)
    kept_small(it, "", i).backward()
    step(it)


def pairs_told_apart(it: It, who: str, i: int) -> Tensor:
    """What belongs together is told from what does not: both nets want that."""
    trunk, head = it.nets.values()
    code = trunk(noise(i))[:, :2]
    together = head(torch.cat([noise(i), code], 1))[:, 0]
    mixed = head(torch.cat([real(i), code.detach()], 1))[:, 0]
    return bce(together, 1.0) + bce(mixed, 0.0) + bce(head(draw(i, 3.0).repeat(1, 2))[:, 0], 0.0)


@loop(build=trunk_and_head, intended=joined(pairs_told_apart))
def a_detached_side_of_partners(it: It, i: int) -> None:
    clear(it)
    pairs_told_apart(it, "", i).backward()
    step(it)
