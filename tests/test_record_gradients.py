"""What a ledger says of each content of ``.grad``: its sources, its chain, which step used it."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import record
from gan_lessons import torch_internals as internals
from gan_lessons.lens.record.gradients import Ledger, Weights, alike, measured
from tests.loops.kit import mlp, real, sgd


@pytest.fixture
def two() -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([3.0, 4.0]))


def written(parameter: nn.Parameter, *numbers: float) -> None:
    """A new tensor is its gradient."""
    parameter.grad = torch.tensor([*map(float, numbers)])


def add(parameter: nn.Parameter, number: float) -> None:
    assert parameter.grad is not None
    parameter.grad.add_(number)


def test_a_backward_that_writes_what_another_wrote_before_is_its_own_source(two) -> None:
    a, b = two
    ledger = Ledger({"D": {"a": a, "b": b}})
    written(a, 1, 2)
    ledger.observe(0, {a})
    a.grad = None
    ledger.observe(clearing=True)
    written(a, 1, 2)
    ledger.observe(1, {a})
    assert ledger.grads()["D"]["a"].sources == (1,)
    assert ledger.written_by(1) == {a}
    assert ledger.written_by(0) == set()


def test_what_one_call_writes_twice_has_it_once_as_its_source(two) -> None:
    a, b = two
    ledger = Ledger({"D": {"a": a, "b": b}})
    written(a, 1, 2)
    for call in (0, 1, 1):
        ledger.observe(call, {a})
        add(a, 1)
    ledger.observe(2, {a})
    assert ledger.grads()["D"]["a"].sources == (0, 1, 2)
    assert [ledger.written_by(call) for call in range(3)] == [set(), set(), {a}]
    assert ledger.grads()["D"]["b"].sources == ()


def test_what_is_written_in_place_and_back_was_rewritten_each_time(two) -> None:
    a, _ = two
    ledger = Ledger({"D": {"a": a}})
    written(a, 1, 2)
    ledger.observe(0, {a})
    for times, number in enumerate((1.0, -1.0), start=1):
        add(a, number)
        ledger.observe()
        state = ledger.grads()["D"]["a"]
        assert (state.sources, state.rewritten, state.by_hand) == ((0,), times, False)


def test_what_a_hand_writes_inside_a_backward_is_none_of_it(two) -> None:
    a, b = two
    ledger = Ledger({"D": {"a": a, "b": b}})
    written(a, 1, 2)
    written(b, 1, 2)
    ledger.observe(0, {a})
    told = ledger.grads()["D"]
    assert (told["a"].sources, told["a"].by_hand) == ((0,), False)
    assert (told["b"].sources, told["b"].by_hand) == ((), True)


def test_what_only_stood_beside_something_by_hand_keeps_its_source(two) -> None:
    a, b = two
    ledger = Ledger({"D": {"a": a, "b": b}})
    written(a, 1, 2)
    ledger.observe(0, {a})
    written(b, 5, 6)
    ledger.observe(closely={a, b})
    told = ledger.grads()["D"]
    assert (told["a"].sources, told["a"].by_hand) == ((0,), False)
    assert told["b"].by_hand


@pytest.mark.parametrize("beside", [False, True])
def test_a_copy_put_back_is_known_unless_a_hand_wrote_beside_it(two, beside: bool) -> None:
    a, b = two
    ledger = Ledger({"D": {"a": a, "b": b}})
    written(a, 1, 2)
    ledger.observe(0, {a})
    a.grad = None
    ledger.observe(clearing=True)
    written(a, 1, 2)
    if beside:
        written(b, 5, 6)
    ledger.observe()
    (before, now), _ = (ledger._past[0][1], ledger._now[0]), ledger.grads()
    assert (now.state.sources, now.state.by_hand) == (((), True) if beside else ((0,), False))
    assert (now.chain == before.chain) is not beside


def test_gradients_that_keep_their_graph_accumulate_in_one_chain() -> None:
    """Each backward puts a new tensor there."""
    net = mlp(2, 1)
    optimizer = sgd(net)

    def body() -> None:
        for i in range(2):
            net(real(i)).square().mean().backward(create_graph=True)
        optimizer.step()
        for parameter in net.parameters():
            parameter.grad = None

    with record({"D": net}, {"od": optimizer}) as rec, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of create_graph torch warns once in a process
        body()
    name = next(iter(rec.parameters["D"]))
    backwards = [e for e in rec.events if e.kind == "backward"]
    (step,) = [e.index for e in rec.events if e.kind == "step"]
    assert [e.grads["D"][name].sources for e in backwards] == [(0,), (0, 1)]
    assert [e.grads["D"][name].used_by for e in backwards] == [step, step]


def test_a_step_uses_what_was_written_before_it_alone() -> None:
    net = mlp(2, 1)
    optimizer = sgd(net)
    with record({"D": net}, {"od": optimizer}) as rec:
        net(real(0)).mean().backward()
        optimizer.step()
        net(real(1)).mean().backward()  # onto the first
        optimizer.zero_grad()
        net(real(2)).mean().backward()
    name = next(iter(rec.parameters["D"]))
    (step,) = [e.index for e in rec.events if e.kind == "step"]
    used = [e.grads["D"][name].used_by for e in rec.events if e.kind == "backward"]
    assert used == [step, None, None]


def test_weights_that_are_measured_now_are_all_or_some(two) -> None:
    a, b = two
    weights = Weights({"D": {"a": a, "b": b}, "again": {"b": b}})
    assert weights.measured_now() == measured([a, b])
    assert weights.measured_now({b}) == measured([b])
    assert weights.measured_now(()) == []
    places, values = weights.since_the_beginning()
    assert places == [("D", "a"), ("again", "b")]
    assert values == measured([a, b])


@pytest.mark.parametrize("counted", [False, True])
def test_what_moved_and_was_not_told_is_told_at_the_end(two, counted: bool) -> None:
    a, b = two
    weights = Weights({"D": {"a": a, "b": b}})
    if counted:
        with torch.no_grad():
            a.add_(0)  # torch counts it, and the numbers stay
    else:
        a.data.add_(1)
    assert weights.untold([]) == {"D": ("a",)}


ODD: dict[str, Tensor] = {
    "integers": torch.ones(2, dtype=torch.int64),
    "meta": torch.ones(2, device="meta"),
    "lazy": nn.LazyLinear(2).weight,
}
NOTHING = (math.nan, math.nan)


@pytest.mark.parametrize("case", ODD)
def test_what_cannot_be_measured_is_not_and_hinders_nothing(case: str) -> None:
    good, odd = torch.tensor([3.0, 4.0]), ODD[case]
    assert alike(measured([odd])[0], NOTHING) or case == "integers"
    found = measured([odd, good])
    assert found[1] == (5.0, 7.0)
    assert len(found) == 2


def test_one_of_two_of_a_kind_that_has_no_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good, norms = torch.tensor([9.0, 9.0]), torch.tensor([3.0, 4.0]), internals.norms

    def refusing(tensors: list[Tensor]) -> list[Tensor]:
        if any(float(t[0]) == 9.0 for t in tensors):
            raise RuntimeError("no norm")
        return [*norms(tensors)]

    monkeypatch.setattr(internals, "norms", refusing)
    assert alike(measured([bad])[0], NOTHING)
    first, second = measured([bad, good])
    assert alike(first, NOTHING)
    assert second == (5.0, 7.0)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ((1.0, 2.0), (1.0, 2.0), True),
        ((1.0, 2.0), (1.0, 3.0), False),
        ((1.0, 2.0), (0.0, 2.0), False),
        (NOTHING, NOTHING, True),
        ((math.nan, 1.0), (math.nan, 1.0), True),
        ((math.nan, 1.0), (1.0, 1.0), False),
        ((1.0, 1.0), (math.nan, 1.0), False),
    ],
)
def test_nothing_is_like_nothing(one, two, same: bool) -> None:
    assert alike(one, two) is same
