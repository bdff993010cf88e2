"""Opponents that pull one verdict the same way; each with right loops like it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, relu, softplus

from .kit import It, bce, draw, loop, mlp, noise, real, sgd
from .summed import apart, as_they_were, clear, joined, step, trunk_and_head

Losses = Callable[[It, str, int, bool], Tensor]


def turns(it: It, i: int, of: Losses) -> None:
    for who in "DG":
        it.optimizers[who].zero_grad()
        of(it, who, i, it.fixed).backward(inputs=list(it.nets[who].parameters()))
        it.optimizers[who].step()


def labels(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return bce(D(G(noise(i))), 1.0 if fixed else 0.0)
    return bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0)


def scores(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """Of a critic: how much more it says of real samples is to be large, and not small."""
    G, D = it.nets.values()
    if who == "G":
        return -D(G(noise(i))).mean()
    gap = D(real(i)).mean() - D(G(noise(i)).detach()).mean()
    return -gap if fixed else gap


def margins(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return -D(G(noise(i))).mean()
    of_real = D(real(i))
    return (
        relu(1 - of_real if fixed else 1 + of_real).mean()
        + relu(1 + D(G(noise(i)).detach())).mean()
    )


def squares(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """A distance to a label pulls either way, by what the verdict is."""
    G, D = it.nets.values()
    if who == "G":
        return (D(G(noise(i))) - 1).square().mean()
    return (D(real(i)) - 1).square().mean() + D(G(noise(i)).detach()).square().mean()


class GivesItsLoss(nn.Module):
    """A judge whose forward gives what is to be lowered, and not what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(2, 1)

    def forward(self, x: Tensor, real: bool) -> Tensor:
        said = self.body(x)
        return softplus(-said if real else said).mean()


def judged_by_a_loss(fixed: bool) -> It:
    nets = {"G": mlp(2, 2), "D": GivesItsLoss()}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def its_loss(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return D(G(noise(i)), real=True)
    return D(real(i), real=True) + D(G(noise(i)).detach(), real=False)


@loop(build=judged_by_a_loss, intended=its_loss)
def a_judge_that_gives_its_own_loss(it: It, i: int) -> None:
    """Both turns lower what its forward gives, and they are opponents."""
    turns(it, i, its_loss)


def as_intended(of: Losses) -> Callable[[It, str, int], Tensor]:
    return lambda it, who, i: of(it, who, i, True)


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(labels),
    says="both lower what D says of the output of G",
    advice="the wrong label",
)
def a_generator_that_is_told_to_look_false(it: It, i: int) -> None:
    turns(it, i, labels)


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(scores),
    says="both raise what D says of the output of G",
    advice="the wrong sign",
)
def a_critic_that_helps(it: It, i: int) -> None:
    turns(it, i, scores)


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(margins),
    says="lowers what D says of the output of G, and what it says of all else as well",
    advice="One of the terms of the loss of D has the wrong sign or the wrong label",
)
def a_judge_that_calls_everything_false(it: It, i: int) -> None:
    turns(it, i, margins)


def one_label(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return bce(D(G(noise(i))), 1.0)
    return 0.5 * (bce(D(real(i)), 1.0 if fixed else 0.0) + bce(D(G(noise(i)).detach()), 0.0))


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(one_label),
    says="lowers what D says of the output of G, and what it says of all else as well",
    advice="the wrong label",
)
def a_judge_with_one_label_for_all(it: It, i: int) -> None:
    turns(it, i, one_label)


def one_number(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()
    if who == "G":
        return (D(G(noise(i))) - 1).square().mean()
    of_fake = D(G(noise(i)).detach()) - (0.0 if fixed else 1.0)
    return mse_loss(D(real(i)), torch.ones(8, 1)) + of_fake.square().mean()


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(one_number),
    says="draws what D says of the output of G towards 1, and what it says of all else as well",
    advice="the wrong label",
)
def a_judge_that_draws_all_to_one_number(it: It, i: int) -> None:
    turns(it, i, one_number)


class Density(nn.Module):
    """The logarithm of a normal density around a mean that it learns."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return -(x - self.mean).square().sum(1)


def density_and_finder(fixed: bool) -> It:
    nets = {"G": mlp(2, 2), "D": Density()}
    return It(fixed=fixed, nets=nets, optimizers={name: sgd(net) for name, net in nets.items()})


def unlikely(it: It, who: str, i: int, fixed: bool = True) -> Tensor:
    """One looks for what the other holds for unlikely, which learns that from it, and the data."""
    G, D = it.nets.values()
    if who == "G":
        return D(G(noise(i))).mean()
    return -D(real(i)).mean() - D(G(noise(i)).detach()).mean()


@loop(build=density_and_finder, intended=as_intended(unlikely))
def a_density_that_learns_from_all_it_sees(it: It, i: int) -> None:
    right_turns(it, i, unlikely)


def right_turns(it: It, i: int, of: Losses) -> None:
    it.fixed = True
    turns(it, i, of)


@loop(intended=as_intended(labels))
def opponents_by_labels(it: It, i: int) -> None:
    right_turns(it, i, labels)


@loop(intended=as_intended(margins))
def opponents_by_margins(it: It, i: int) -> None:
    right_turns(it, i, margins)


@loop(intended=as_intended(squares))
def opponents_by_squares(it: It, i: int) -> None:
    right_turns(it, i, squares)


def agreeing(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """Partners: D is to know the output of G from itself turned round, and G is to help it."""
    G, D = it.nets.values()
    made = G(noise(i)) if who == "G" else G(noise(i)).detach()
    return bce(D(made), 1.0) + bce(D(-made), 0.0)


@loop(intended=as_intended(agreeing))
def partners_that_tell_one_thing_from_another(it: It, i: int) -> None:
    right_turns(it, i, agreeing)


# Distances to a label: both players draw to the same one ------------------------------------------


def by_distance(it: It, who: str, i: int, fixed: bool) -> Tensor:
    G, D = it.nets.values()

    def to(verdict: Tensor, label: float) -> Tensor:
        return mse_loss(verdict, torch.full_like(verdict, label))

    if who == "G":
        return to(D(G(noise(i))), 1.0 if fixed else 0.0)
    return 0.5 * (to(D(real(i)), 1.0) + to(D(G(noise(i)).detach()), 0.0))


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(by_distance),
    says="both draw what D says of the output of G towards 0, and D draws what it says of all else",
    advice="the wrong label",
)
def a_generator_that_is_drawn_to_the_label_of_fakes(it: It, i: int) -> None:
    turns(it, i, by_distance)


@loop(intended=as_intended(by_distance))
def opponents_by_distances(it: It, i: int) -> None:
    right_turns(it, i, by_distance)


def by_powers(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """What real samples are drawn to and what fakes are need not be 1 and 0."""
    G, D = it.nets.values()
    if who == "G":
        return ((D(G(noise(i))) + (0 if fixed else 1)) ** 2).mean()
    return ((1 - D(real(i))) ** 2).mean() + ((D(G(noise(i)).detach()) + 1) ** 2).mean()


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(by_powers),
    says="towards -1, and D draws what it says of all else",
    advice="the wrong label",
)
def a_generator_that_is_drawn_to_the_label_of_fakes_by_powers(it: It, i: int) -> None:
    turns(it, i, by_powers)


@loop(intended=as_intended(by_powers))
def opponents_by_three_numbers(it: It, i: int) -> None:
    right_turns(it, i, by_powers)


def leaking(it: It, who: str, i: int, fixed: bool) -> Tensor:
    """The fake goes into D's turn with its graph, as what that leaves in G is cleared."""
    G, D = it.nets.values()
    if who == "G":
        return bce(D(G(noise(i))), 1.0 if fixed else 0.0)
    return bce(D(real(i)), 1.0) + bce(D(G(noise(i))), 0.0)


def turns_that_clear(it: It, i: int, of: Losses) -> None:
    for who, optimizer in reversed(it.optimizers.items()):
        for one in it.optimizers.values():
            one.zero_grad()
        of(it, who, i, it.fixed).backward()
        optimizer.step()


@loop(
    ("pulled-alike", "D"),
    intended=as_intended(leaking),
    says="both lower what D says of the output of G, and D says more of all else",
    advice="the wrong label",
)
def told_to_look_false_by_a_judge_that_is_not_kept_from_it(it: It, i: int) -> None:
    turns_that_clear(it, i, leaking)


@loop(build=trunk_and_head, intended=lambda it, who, i: one_loss(it, i))
def a_trunk_and_a_head_that_take_turns_at_one_loss(it: It, i: int) -> None:
    for optimizer in it.optimizers.values():
        for one in it.optimizers.values():
            one.zero_grad()
        one_loss(it, i).backward()
        optimizer.step()


def one_loss(it: It, i: int) -> Tensor:
    trunk, head = it.nets.values()
    return bce(head(trunk(real(i)))[:, :1], 1.0)


# One call on which both step, and it is the judge's -----------------------------------------------


def encoder_and_decoder(fixed: bool) -> It:
    nets = {"encode": mlp(2, 2), "decode": mlp(2, 2), "D": mlp(4, 1)}
    maker = sgd(nets["encode"], nets["decode"])
    return It(fixed=fixed, nets=nets, optimizers={"G": maker, "D": sgd(nets["D"])})


def of_pairs(it: It, i: int) -> tuple[Tensor, Tensor]:
    """D tells pairs of a sample and its code from pairs of a code and its sample."""
    encode, decode, D = it.nets.values()
    x, z = real(i), noise(i)
    encoded, decoded = D(torch.cat([x, encode(x)], 1)), D(torch.cat([decode(z), z], 1))
    return bce(encoded, 1.0) + bce(decoded, 0.0), bce(encoded, 0.0) + bce(decoded, 1.0)


def pairs_then(it: It, who: str, i: int) -> Tensor:
    """Both step after one backward each: the second is to follow what saw the first unmoved."""
    then = {n: it.nets[n] if (n == "D") == (who == "D") else it.then[n] for n in it.nets}
    return of_pairs(It(nets=then), i)["DG".index(who)]


def both_backward(it: It, d_loss: Tensor, g_loss: Tensor) -> None:
    d_loss.backward(retain_graph=True, inputs=list(it.nets["D"].parameters()))
    makers = [p for name in ("encode", "decode") for p in it.nets[name].parameters()]
    g_loss.backward(inputs=makers)


HELPS = {
    "build": encoder_and_decoder,
    "intended": pairs_then,
    "says": "D and decode both step on .*, which lowers what D says of the output of decode",
    "advice": r"let decode and encode follow a loss that pulls the other way",
}


@loop(("pulled-alike", "D"), **HELPS)
def encoder_and_decoder_step_on_the_loss_of_their_judge(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = of_pairs(it, i)
    if it.fixed:
        both_backward(it, d_loss, g_loss)
    else:
        d_loss.backward()
    step(it)


def pairs_in_turn(it: It, who: str, i: int, fixed: bool) -> Tensor:
    return of_pairs(it, i)[0 if who == "D" or not fixed else 1]


@loop(
    ("pulled-alike", "D"),
    build=encoder_and_decoder,
    intended=as_intended(pairs_in_turn),
    says="both raise what D says of the output of encode, and D says less of all else",
    advice="the loss of encode has the wrong sign",
)
def encoder_and_decoder_take_the_loss_of_their_judge_in_turn(it: It, i: int) -> None:
    turns_that_clear(it, i, pairs_in_turn)


@loop(build=encoder_and_decoder, intended=as_intended(pairs_in_turn))
def encoder_and_decoder_against_their_judge(it: It, i: int) -> None:
    it.fixed = True
    turns_that_clear(it, i, pairs_in_turn)


def one_and_all_else(it: It, i: int) -> tuple[Tensor, Tensor]:
    G, D = it.nets.values()
    said = D(G(noise(i)))
    return bce(D(real(i)), 1.0) + bce(said, 0.0), bce(said, 1.0)


@loop(
    ("pulled-alike", "D"),
    intended=lambda it, who, i: one_and_all_else(as_they_were(it, who), i)["DG".index(who)],
    says="D and G both step on .*, which lowers what D says of the output of G",
    advice=r"follow a loss that pulls the other way \(it is there in `d_loss, g_loss = one",
)
def a_loss_that_was_computed_and_the_other_one_sent_backward(it: It, i: int) -> None:
    clear(it)
    d_loss, g_loss = one_and_all_else(it, i)
    if it.fixed:
        apart(it, d_loss, g_loss)
    else:
        d_loss.backward()
    step(it)


def known_from_noise(it: It, who: str, i: int) -> Tensor:
    """One class: the head knows features of samples from noise, and the features help."""
    trunk, head = it.nets.values()
    return bce(head(trunk(real(i)))[:, :1], 1.0) + bce(head(draw(i, 3.0).repeat(1, 2))[:, :1], 0.0)


@loop(build=trunk_and_head, intended=joined(known_from_noise))
def features_that_are_known_from_noise(it: It, i: int) -> None:
    clear(it)
    known_from_noise(it, "", i).backward()
    step(it)


def two_domains(fixed: bool) -> It:
    nets: dict[str, nn.Module] = {"one": mlp(2, 4), "two": mlp(2, 4), "domain": mlp(4, 1)}
    return It(fixed=fixed, nets=nets, optimizers={n: sgd(net) for n, net in nets.items()})


def private(it: It, who: str, i: int) -> Tensor:
    """Each encoder keeps what is its domain's own: the head is to tell them apart, and both help.
    They follow another loss as well."""
    one, two, domain = (it.nets if who in (n, "") else it.then for n in ("one", "two", "domain"))
    a, b = one["one"](real(i)), two["two"](noise(i))
    told = bce(domain["domain"](a), 1.0) + bce(domain["domain"](b), 0.0)
    return told + mse_loss(a[:, :2], real(i)) + mse_loss(b[:, :2], noise(i))


@loop(build=two_domains, intended=private)
def encoders_that_keep_what_is_their_domain_s_own(it: It, i: int) -> None:
    clear(it)
    private(it, "", i).backward()
    step(it)
