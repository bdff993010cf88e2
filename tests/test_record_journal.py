"""What a journal does between events and at the end: looks anew, forgets, asks, lets go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import record
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import journal as journal_module
from gan_lessons.lens.record.recording import recording
from tests.loops.kit import mlp, noise, real, sgd
from tests.test_record_telling_numbers import Turned


@pytest.fixture
def nets() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"G": mlp(2, 2), "D": mlp(2, 1)}


def test_the_graph_can_be_read_before_anything_has_happened(nets: dict[str, nn.Module]) -> None:
    with record(nets) as rec:
        _ = next(nets["G"].parameters()) * 2
        assert [node.op for node in rec.graph.nodes.values()] == ["AccumulateGrad", "MulBackward0"]


def test_a_value_that_is_gone_is_forgotten_at_the_next_event(nets: dict[str, nn.Module]) -> None:
    with recording(Record, nets, {}) as journal:
        values = journal.operations.values
        kept = nets["G"](noise(0)).detach()
        for i in range(5):
            nets["D"](nets["G"](noise(i)).detach())
        with torch.no_grad():
            nets["G"](noise(0))
        nets["G"](noise(0))
        assert values.past(kept) is not None
        assert len(values._detached) == len(values._storages) == 1
        assert not values._made
    assert not values.followed
    assert not values._storages


def test_what_listened_to_a_graph_is_gone_when_it_goes_on_living(
    nets: dict[str, nn.Module],
) -> None:
    with record(nets) as rec:
        loss: Tensor = Turned.apply(nets["D"](real(0))).square().mean()
    loss.backward()
    assert rec.graph.passes == {}


def test_updates_of_batch_norm_are_counted_from_the_beginning_of_the_recording() -> None:
    net = nn.BatchNorm1d(2)
    net(real(0))
    with record({"D": net}) as rec:
        net(real(0))
        net(real(1))
    assert rec.batchnorm == {"D": 2}


@pytest.mark.parametrize("raises", [False, True])
def test_other_processes_are_asked_at_the_end_with_the_steps_that_were_taken(
    nets: dict[str, nn.Module], raises: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where something raised: it did not come as far as they did."""
    asked: list[Any] = []

    def drifted(key: Any, names: Any, before: Any, now: Callable[[], Any], steps: Any) -> Any:
        asked.append(steps)
        return 2, {"D": ("0.weight",)}

    monkeypatch.setattr(journal_module, "drifted", drifted)
    optimizers = {"D": sgd(nets["D"])}
    with record(nets, optimizers) as rec:
        loss = nets["D"](real(0)).mean()
        loss.backward()
        optimizers["D"].step()
        if raises:
            with pytest.raises(RuntimeError, match="second time"):
                loss.backward()
    assert asked == ([] if raises else [["D"]])
    assert rec.processes == (1 if raises else 2)


def test_what_a_hand_wrote_inside_an_autograd_grad_is_by_hand() -> None:
    """A step there uses it; no backward call has written it."""
    net = mlp(2, 1)
    optimizer, (first, *_) = sgd(net), net.parameters()
    with record({"D": net}, {"D": optimizer}) as rec:
        x = real(0).requires_grad_()

        def step(grad: Tensor) -> None:
            first.grad = torch.ones_like(first)
            optimizer.step()

        x.register_hook(step)
        torch.autograd.grad(net(x).sum(), x)
    (taken,) = [event for event in rec.events if event.kind == "step"]
    (state,) = rec.consumed(taken).values()
    assert state.by_hand
    assert state.sources == ()
