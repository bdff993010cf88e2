"""Facts that the rules of ``diagnose`` stand on, one at a time."""

from __future__ import annotations

import torch
from torch import nn, optim

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose.story import Story
from gan_lessons.lens.model import Record
from tests.loops.kit import bce, mlp, noise, real, sgd
from tests.test_diagnose_real_code import codes, step


def nets() -> tuple[nn.Module, nn.Module, optim.Optimizer, optim.Optimizer]:
    torch.manual_seed(0)
    G, D = mlp(2, 2), mlp(2, 1)
    return G, D, sgd(G), sgd(D)


def usual_turn() -> Record:
    G, D, og, od = nets()
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        fake = G(noise(0))
        step(od, bce(D(real(0)), 1.0) + bce(D(fake.detach()), 0.0))
        step(og, bce(D(fake), 1.0))
    return rec


def test_who_was_kept_from_a_call() -> None:
    story = Story(usual_turn())
    of_d, of_g = story.calls_made
    assert [story.kept_from(of_d, net) for net in "GD"] == [True, False]
    assert [story.kept_from(of_g, net) for net in "GD"] == [False, False]


def test_a_constant_verdict_is_told_once_however_often_it_is_added() -> None:
    G, D, og, od = nets()
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
            fake = G(noise(i))
            with torch.no_grad():
                one = bce(D(fake), 1.0)
                two = D(fake).square().mean()
            step(og, fake.square().mean() + one + two)
    assert codes(diagnose(rec), "error", "wrong") == [("cut-off", "G")]


def test_a_forward_of_which_no_number_was_made_is_no_forgotten_loss() -> None:
    G, D, og, od = nets()
    with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
        for i in range(2):
            D(real(i)) * 2
            step(od, bce(D(real(i)), 1.0) + bce(D(G(noise(i)).detach()), 0.0))
            step(og, bce(D(G(noise(i))), 1.0))
    assert "never-walked" not in diagnose(rec).codes


def test_the_statistics_of_a_net_are_counted_by_its_own_forwards() -> None:
    torch.manual_seed(0)
    G, D = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), mlp(2, 1)
    og = sgd(G)
    with record({"G": G, "D": D}, {"G": og}) as rec:
        for i in range(2):
            step(og, bce(D(G(noise(i))), 1.0) + 0 * D(real(i)).mean())
    (norm,) = (f for f in diagnose(rec).findings if f.code == "batchnorm-updates")
    assert "updated 2 times (2 forwards in train mode)" in norm.message
