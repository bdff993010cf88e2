"""Whether a term of a loss is the one that its player should have: loops that lack one thing of the
fault. What a judge is drawn to, ran for without gradients, or says of everything alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, l1_loss, mse_loss, softplus

from gan_lessons.lens.diagnose import Finding
from tests.loops.features import GivesFeatures
from tests.loops.kit import bce, draw, mlp, noise, real, sgd
from tests.test_diagnose_near_misses import of_code
from tests.test_diagnose_one_guard import told
from tests.test_diagnose_real_code import step


@pytest.fixture(autouse=True)
def the_same_numbers_each_time() -> None:
    torch.manual_seed(0)


def severities(found: list[Finding], code: str = "pulled-alike") -> list[tuple[str, str | None]]:
    return [(f.severity, f.net) for f in of_code(found, code)]


# A player that helps its judge --------------------------------------------------------------------

More = Callable[[dict[str, nn.Module], Tensor, Tensor, int], Tensor]


def helped(more: More, *, G: nn.Module | None = None, label: float = 0.0) -> list[Finding]:
    """Both lower what D says of the fakes; G has ``more`` (nets, picture, fake, i) in its loss."""
    nets: dict[str, nn.Module] = {"D": mlp(2, 1), "G": G or mlp(2, 2), "E": mlp(2, 2)}
    opts = {name: sgd(net) for name, net in nets.items()}

    def turn(i: int) -> None:
        picture = draw(i, 1.0)
        fake = nets["G"](picture)
        step(opts["D"], bce(nets["D"](real(i)), 1.0) + bce(nets["D"](fake.detach()), 0.0))
        step(opts["G"], bce(nets["D"](fake), label) + more(nets, picture, fake, i))

    return told(nets, opts, turn)


WRONG, ASKED = [("wrong", "D")], [("waste", "D")]
BESIDE: dict[str, tuple[More, list[tuple[str, str]]]] = {
    "nothing": (lambda nets, x, fake, i: torch.zeros(()), WRONG),
    "a truth": (lambda nets, x, fake, i: l1_loss(fake, real(i)), WRONG),
    "a truth, by hand": (lambda nets, x, fake, i: (real(i) - fake).abs().mean(), WRONG),
    "a truth, squared and rooted": (
        lambda nets, x, fake, i: (fake - real(i)).pow(2).sum(1).sqrt().mean(), WRONG,
    ),
    "a part of a truth": (lambda nets, x, fake, i: mse_loss(fake[:, :1], real(i)[:, :1]), WRONG),
    "a mask": (
        lambda nets, x, fake, i: binary_cross_entropy(fake.sigmoid(), (real(i) > 2).float()), WRONG,
    ),
    "its own picture": (lambda nets, x, fake, i: l1_loss(fake, x), ASKED),
    "a truth, and its own picture": (
        lambda nets, x, fake, i: l1_loss(fake, real(i)) + l1_loss(fake, x), ASKED,
    ),
    "a truth, of what its picture is in": (
        lambda nets, x, fake, i: l1_loss(fake + x, real(i)), ASKED,
    ),
    "a truth that another net gets, too": (
        lambda nets, x, fake, i: 0 * nets["E"](y := real(i)).mean() + l1_loss(fake, y), ASKED,
    ),
    "a label": (lambda nets, x, fake, i: (fake - 1.0).square().mean(), ASKED),
    "a distance of what another net makes of it": (
        lambda nets, x, fake, i: l1_loss(nets["E"](fake), real(i)), ASKED,
    ),
    "a distance in what its judge says": (
        lambda nets, x, fake, i: l1_loss(nets["D"](fake), real(i)[:, :1]), [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("beside", BESIDE)
def test_who_helps_its_judge_is_wrong_beside_nothing_or_a_truth_that_no_net_was_given(
    beside: str,
) -> None:
    more, expected = BESIDE[beside]
    assert severities(helped(more)) == expected


def test_who_is_against_its_judge_is_left_alone_beside_a_truth() -> None:
    assert severities(helped(BESIDE["a truth"][0], label=1.0)) == []


# One label for all --------------------------------------------------------------------------------


def judged(of_real: Callable[[Tensor], Tensor], of_fake: Callable[[Tensor], Tensor],
           last: nn.Module | None = None) -> list[Finding]:  # fmt: skip
    nets: dict[str, nn.Module] = {"D": mlp(2, 1, last), "G": mlp(2, 2)}
    opts = {name: sgd(net) for name, net in nets.items()}

    def turn(i: int) -> None:
        D, fake = nets["D"], nets["G"](noise(i))
        step(opts["D"], of_real(D(real(i))) + of_fake(D(fake.detach())))
        step(opts["G"], -D(fake).mean())

    return told(nets, opts, turn)


Side = Callable[[Tensor], Tensor]
SIDES: dict[str, tuple[Side, Side, nn.Module | None, list[tuple[str, str]]]] = {
    "one label": (lambda x: bce(x, 0.0), lambda x: bce(x, 0.0), None, WRONG),
    "one label of probabilities": (
        lambda x: binary_cross_entropy(x, torch.zeros_like(x)),
        lambda x: binary_cross_entropy(x.squeeze(1), torch.zeros(8)), nn.Sigmoid(), WRONG,
    ),
    "softplus": (lambda x: softplus(x).mean(), lambda x: softplus(x).mean(), None, WRONG),
    "softplus of the other side": (
        lambda x: softplus(x.neg().neg()).mean(), lambda x: softplus(x).mean(), None, WRONG,
    ),
    "hinges": (lambda x: (1 + x).relu().mean(), lambda x: (1 + x).relu().mean(), None, WRONG),
    "one number": (
        lambda x: (x - 1).square().mean(), lambda x: mse_loss(x, torch.ones(8, 1)), None, WRONG,
    ),
    "zero": (lambda x: x.square().mean(), lambda x: x.pow(2).mean(), None, ASKED),
    "lowered as they are": (lambda x: x.mean(), lambda x: x.mean(), None, ASKED),
    "one of them as it is": (lambda x: bce(x, 0.0), lambda x: x.mean(), None, ASKED),
    "a label, and as it is": (
        lambda x: bce(x, 0.0) + 0.1 * x.mean(), lambda x: bce(x, 0.0), None, ASKED,
    ),
    "two labels": (lambda x: bce(x, 1.0), lambda x: bce(x, 0.0), None, []),
    "two numbers": (
        lambda x: (x - 1).square().mean(), lambda x: x.square().mean(), None, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("sides", SIDES)
def test_a_judge_with_one_label_for_all_has_nothing_to_learn(sides: str) -> None:
    of_real, of_fake, last, expected = SIDES[sides]
    assert severities(judged(of_real, of_fake, last)) == expected


# Without gradients --------------------------------------------------------------------------------


def looked_at(term: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> list[tuple[str, str | None]]:
    """What D learns from, of a real and a fake sample; G is against it."""
    nets: dict[str, nn.Module] = {"D": mlp(2, 1), "G": mlp(2, 2)}
    opts = {name: sgd(net) for name, net in nets.items()}

    def turn(i: int) -> None:
        fake = nets["G"](noise(i))
        step(opts["D"], term(nets["D"], real(i), fake.detach()))
        step(opts["G"], bce(nets["D"](fake), 1.0))

    return severities(told(nets, opts, turn), "cut-off")


def _unseen(D: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        said: Tensor = D(x)
    return said


def _asleep(D: nn.Module, x: Tensor) -> Tensor:
    D.requires_grad_(False)
    said: Tensor = D(x)
    D.requires_grad_(True)
    return said


UNSEEN: dict[str, tuple[Callable[[nn.Module, Tensor, Tensor], Tensor], list[tuple[str, str]]]] = {
    "the fakes": (lambda D, x, f: bce(D(x), 1.0) + bce(_unseen(D, f), 0.0), WRONG),
    "the truth": (lambda D, x, f: bce(_unseen(D, x), 1.0) + bce(D(f), 0.0), WRONG),
    "the fakes, in a mean of terms": (
        lambda D, x, f: 0.5 * (bce(_unseen(D, f), 0.0) + bce(D(x), 1.0)), WRONG,
    ),
    "the fakes once more": (
        lambda D, x, f: bce(D(x), 1.0) + bce(D(f), 0.0) + bce(_unseen(D, f), 0.0), ASKED,
    ),
    "each sample": (
        lambda D, x, f: (softplus(-D(x)) + softplus(_unseen(D, f))).mean(), WRONG,
    ),
    "for a target": (
        lambda D, x, f: bce(D(x), 1.0) + mse_loss(D(f), _unseen(D, f) - 1), [],
    ),
    "for a weight": (
        lambda D, x, f: bce(D(x), 1.0) + _unseen(D, f).sigmoid().mean() * bce(D(f), 0.0), [],
    ),
    "none": (lambda D, x, f: bce(D(x), 1.0) + bce(D(f), 0.0), []),
}  # fmt: skip


@pytest.mark.parametrize("what", UNSEEN)
def test_what_a_judge_ran_for_without_gradients(what: str) -> None:
    term, expected = UNSEEN[what]
    assert looked_at(term) == expected


def test_who_was_frozen_for_a_term_was_not_without_gradients() -> None:
    found = looked_at(lambda D, x, f: bce(D(x), 1.0) + bce(_asleep(D, f), 0.0))
    assert ("waste", "D") not in found


# Features -----------------------------------------------------------------------------------------


Pair = tuple[Tensor, Tensor]


def drawn(loss: Callable[[Pair, Pair], Tensor], *, held: bool = False) -> list[Finding]:
    """loss: of D, of what it makes of a real and of a fake sample. held: with its graph to G."""
    nets: dict[str, nn.Module] = {"D": GivesFeatures(), "G": mlp(2, 2)}
    opts = {name: sgd(net) for name, net in nets.items()}

    def turn(i: int) -> None:
        fake = nets["G"](noise(i))
        opts["D"].zero_grad()
        own = list(nets["D"].parameters())
        seen = fake if held else fake.detach()
        loss(nets["D"](real(i)), nets["D"](seen)).backward(inputs=own)
        opts["D"].step()
        step(opts["G"], softplus(-nets["D"](nets["G"](noise(i)))[1]).mean())

    return told(nets, opts, turn)


def apart(x: Pair, f: Pair) -> Tensor:
    return softplus(-x[1]).mean() + softplus(f[1]).mean()


def by_labels(x: Pair, f: Pair, of_real: float = 1.0, of_fake: float = 0.0) -> Tensor:
    return (x[1] - of_real).square().mean() + (f[1] - of_fake).square().mean()


DRAWN: dict[str, tuple[Callable[[Pair, Pair], Tensor], list[tuple[str, str]]]] = {
    "l1": (lambda x, f: apart(x, f) + l1_loss(f[0], x[0].detach()), WRONG),
    "l1, the other side cut": (lambda x, f: apart(x, f) + l1_loss(f[0].detach(), x[0]), WRONG),
    "mse, none cut": (lambda x, f: apart(x, f) + mse_loss(f[0], x[0]), WRONG),
    "by hand": (lambda x, f: 0.5 * (apart(x, f) + (f[0] - x[0]).pow(2).mean()), WRONG),
    "between labels": (lambda x, f: by_labels(x, f) + l1_loss(f[0], x[0].detach()), WRONG),
    "made large": (lambda x, f: apart(x, f) - l1_loss(f[0], x[0].detach()), []),
    "to itself": (lambda x, f: apart(x, f) + l1_loss(f[0], f[0].detach() + 1), []),
    "to a number": (lambda x, f: apart(x, f) + f[0].square().mean(), []),
    "to a number of the difference": (
        lambda x, f: apart(x, f) + mse_loss(x[1] - f[1], torch.ones(8, 1)), [],
    ),
    "as a weight": (lambda x, f: apart(x, f) * l1_loss(f[0], x[0]).detach(), []),
    "alone": (lambda x, f: l1_loss(f[0], x[0].detach()), []),
    "one label": (lambda x, f: by_labels(x, f, 1.0, 1.0) + l1_loss(f[0], x[0]), []),
    "of the real ones only": (
        lambda x, f: softplus(-x[1]).mean() + l1_loss(f[0], x[0].detach()), [],
    ),
    "neither": (apart, []),
}  # fmt: skip


@pytest.mark.parametrize("how", DRAWN)
@pytest.mark.parametrize("held", [False, True])
def test_features_that_a_judge_draws_together(how: str, held: bool) -> None:
    loss, expected = DRAWN[how]
    found = of_code(drawn(loss, held=held), "pulled-alike")
    assert [(f.severity, f.net) for f in found if "draws what" in f.message] == expected
