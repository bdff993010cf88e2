"""Which way a backward call pulls what nets said, and where it pulls two opposite ways."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import record
from gan_lessons.lens.model import Record
from gan_lessons.lens.record.quarrels import MOST, Quarrels
from gan_lessons.lens.record.recording import recording
from gan_lessons.lens.record.telling_numbers import LARGEST
from tests.loops.kit import mlp, noise, real


def recorded(loss: Callable[[nn.Module], Tensor], judge: nn.Module | None = None) -> Record:
    torch.manual_seed(0)
    D = judge or mlp(2, 1)
    with record({"G": mlp(2, 2), "D": D}) as rec:
        loss(D).backward()
    return rec


def told(rec: Record) -> list[tuple[tuple[int, int], bool]]:
    return [(quarrel.forwards, quarrel.scaled) for quarrel in rec.quarrels]


def test_two_forwards_that_are_pulled_opposite_ways() -> None:
    (found,) = told(recorded(lambda D: D(real(0)).mean() - D(real(1)).mean()))
    assert ({*found[0]}, found[1]) == ({0, 1}, False)
    assert told(recorded(lambda D: D(real(0)).mean() + 2 * D(real(1)).mean())) == []


@pytest.mark.parametrize("many", [2, MOST, MOST + 1])
def test_so_many_forwards_are_compared_with_one_another(many: int) -> None:
    """The first with each of the others."""

    def one_against_all(D: nn.Module) -> Tensor:
        others = [D(real(i)).mean() for i in range(1, many)]
        return torch.stack(others).sum() - D(real(0)).mean()

    found, last = told(recorded(one_against_all)), many - 1  # it ran last
    assert all(last in forwards for forwards, _ in found)
    assert {i for forwards, _ in found for i in forwards} == ({*range(many)} if found else set())
    assert len(found) == (last if many <= MOST else 0)


def test_two_losses_of_one_verdict_that_went_some_way_together() -> None:
    def along(D: nn.Module) -> Tensor:
        verdict = (D(real(0)) * 2).exp()
        return verdict.mean() - verdict.square().sum()

    (quarrel,) = (rec := recorded(along)).quarrels
    assert (quarrel.forwards, quarrel.scaled) == ((0, 0), False)
    ops = {rec.graph.nodes[key].op for key in quarrel.through}
    assert ops == {"MeanBackward0", "PowBackward0"}


def test_what_was_made_of_two_things_is_no_verdict() -> None:
    weight = nn.Parameter(torch.ones(8, 1))

    def mixed(D: nn.Module) -> Tensor:
        made = D(real(0)) * weight
        return made.mean() - made.square().sum()

    assert told(recorded(mixed)) == []


def test_one_loss_that_is_another_scaled() -> None:
    def scaled(D: nn.Module) -> Tensor:
        verdict = D(real(0))
        return verdict.square().mean() - 3 * verdict.square().mean()

    assert told(recorded(scaled)) == [((0, 0), True)]


class Twice(nn.Module):
    """It uses its input in two ways, to opposite ends: its own affair."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.exp() - 0.5 * x)


def test_what_a_net_does_with_its_input_is_no_quarrel() -> None:
    G = mlp(2, 2)
    D = Twice()
    with record({"G": G, "D": D}) as rec:
        D(G(noise(0))).mean().backward()
    assert told(rec) == []


def test_what_no_net_said_quarrels_with_nothing() -> None:
    weight = nn.Parameter(torch.ones(8))

    def beside(D: nn.Module) -> Tensor:
        alone = weight.exp()
        return D(real(0)).mean() + alone.mean() - alone.square().sum()

    assert told(recorded(beside)) == []


def test_each_call_has_its_own_quarrels() -> None:
    D = mlp(2, 1)
    with record({"D": D}) as rec:
        for i in range(2):
            verdict = D(real(i)).exp()
            (verdict.mean() - verdict.square().sum()).backward()
        D(real(2)).mean().backward()
    found = [(quarrel.call, quarrel.forwards) for quarrel in rec.quarrels]
    assert found == [(0, (0, 0)), (1, (1, 1))]


def test_no_listener_is_left_on_a_graph_that_lives_on() -> None:
    D = mlp(2, 1)
    with recording(Record, {"D": D}, {}) as journal:
        verdict = D(real(0))
        loss = verdict.mean() - verdict.square().sum()
        loss.backward(retain_graph=True)
    ref = weakref.ref(journal)
    del journal
    gc.collect()
    assert ref() is None
    loss.backward()


def test_an_interrupt_while_one_begins_to_listen_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    D, hear = mlp(2, 1), Quarrels._hear
    with record({"D": D}) as rec:
        verdict = D(real(0)).exp()
        loss = verdict.mean() - verdict.square().sum()
        with monkeypatch.context() as patch:

            def interrupted(self: Quarrels, *given: Any) -> None:
                hear(self, *given)
                if len(self._handles) == 2:
                    raise KeyboardInterrupt

            patch.setattr(Quarrels, "_hear", interrupted)
            with pytest.raises(KeyboardInterrupt):
                loss.backward()
        loss.backward()
    assert len(rec.quarrels) == 1


class Wide(nn.Module):
    """Says so many numbers, after something without a graph."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight, self.size = nn.Parameter(torch.ones(1)), size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.weight.expand(self.size) * 1


@pytest.mark.parametrize(("size", "seen"), [(LARGEST, True), (LARGEST + 1, False)])
def test_pulls_are_heard_up_to_a_size_and_past_what_has_no_graph(size: int, seen: bool) -> None:
    rec = recorded(lambda D: D(real(0))[1].sum(), Wide(size))
    assert [(pull.output, pull.sign) for pull in rec.pulls] == ([(1, 1)] if seen else [])


def test_numbers_that_have_no_order_have_no_sign() -> None:
    rec = recorded(lambda D: D(torch.ones(2, 2, dtype=torch.cfloat)).real.sum(),
                   nn.Linear(2, 1, dtype=torch.cfloat))  # fmt: skip
    assert [pull.sign for pull in rec.pulls] == [0]
