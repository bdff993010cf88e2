"""What an operation is heard to do: to cut, to write, to freeze, to make a loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from gan_lessons import record
from gan_lessons import torch_internals as internals
from gan_lessons.lens.model import Record
from gan_lessons.lens.record.recording import recording
from tests.loops.kit import mlp, noise, real, sgd
from tests.test_record_attaching import Mode


@pytest.fixture
def nets() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"G": mlp(2, 2), "D": mlp(2, 1)}


@pytest.mark.parametrize("turned", [False, True])
def test_without_gradients_one_tensor_with_a_graph_is_enough_for_a_cut(nets, turned: bool) -> None:
    with record(nets) as rec:
        fake, one = nets["G"](noise(0)), torch.ones(8, 2)
        with torch.no_grad():
            cut = torch.add(one, fake) if turned else torch.add(fake, one)
        nets["D"](cut).mean().backward()
    assert [c.how for c in rec.graph.cuts] == ["torch.no_grad"]


def test_a_gradient_that_is_read_has_not_the_past_of_what_it_is_of(nets) -> None:
    with record(nets) as rec:
        fake = nets["G"](noise(0)).detach().requires_grad_()
        nets["D"](fake).mean().backward()
        nets["D"](fake.grad).mean().backward()
    assert len(rec.graph.cuts) == 1


def test_what_has_ended_hands_everything_on(nets) -> None:
    with recording(Record, nets, {}) as journal:
        heard = journal.operations
    made = heard.__torch_function__(torch.sum, (), (torch.ones(2, 3),), {"dim": 0})
    assert made.tolist() == [2.0, 2.0, 2.0]


def test_to_set_a_gradient_freezes_nothing(nets) -> None:
    D = nets["D"]
    with record(nets) as rec:
        D.requires_grad_(False)
        D[2].bias.grad = torch.zeros(1)
        D[2].bias.data = torch.zeros(1)
        D(real(0))
    (forward,) = rec.forwards
    assert forward.frozen is not None
    assert forward.frozen.code == "D.requires_grad_(False)"


@pytest.mark.parametrize("how", ["with", "without", "both", "inside a net"])
def test_what_an_operation_without_a_graph_took_is_used_elsewhere_too(nets, how: str) -> None:
    """Then nobody can say that it was made to be trained."""
    adapter = nn.Linear(2, 2)

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                F.linear(x, adapter.weight, adapter.bias)
            return self.linear(x)

    nets["inside"] = Inside()
    with record(nets, {"od": sgd(nets["D"])}) as rec:
        if how in ("with", "both", "inside a net"):
            nets["D"](adapter(noise(0))).mean().backward()
        if how in ("without", "both"):
            with torch.no_grad():
                F.linear(noise(0), adapter.weight, adapter.bias)
        if how == "inside a net":
            nets["inside"](noise(0))
    seen = {id(p) for p in adapter.parameters()} & rec.graph.fresh
    assert len(seen) == (2 if how in ("with", "inside a net") else 0)


@pytest.mark.parametrize("outer", [False, True])
def test_every_step_of_torch_s_own_is_not_listened_to(nets, outer: bool) -> None:
    D, stacks, below = nets["D"], list[Any](), Mode()
    optimizer = sgd(D)
    optimizer.register_step_pre_hook(lambda *_: stacks.append(internals.function_modes()))
    if outer:
        below.__enter__()
    before = internals.function_modes()
    with record(nets, {"od": optimizer}) as rec:
        for i in range(3):
            made = D(real(i)).mean()
            made.backward()
            assert len(internals.function_modes()) == len(before) + 1
            optimizer.step()
        loss = D(real(0)).square().mean()  # and afterwards all is heard again
    if outer:
        below.__exit__(None, None, None)
    assert stacks == [before] * 3
    assert loss is not None
    assert [line.code for line in rec.graph.lines.values()][-1].startswith("loss = D(real(0))")


class Closed(optim.SGD):
    """Somebody's own step may build graphs."""


def test_a_step_of_somebody_s_own_is_listened_to(nets) -> None:
    D, stacks = nets["D"], list[Any]()
    before = internals.function_modes()
    for made, given in (
        (Closed(D.parameters(), 0.1), ()),
        (sgd(D), (lambda: None,)),
        (optim.SGD(D.parameters(), 0.1, differentiable=True), ()),
    ):
        made.register_step_pre_hook(lambda *_: stacks.append(internals.function_modes()))
        with record(nets, {"od": made}), torch.no_grad():
            made.step(*given)
    assert [len(stack) for stack in stacks] == [len(before) + 1] * 3


def test_which_calls_write_into_a_tensor(nets) -> None:
    def written(write: Any) -> bool:
        with recording(Record, nets, {}) as journal:
            made = nets["D"](real(0)).exp()
            write(made)
            return bool(journal.graph.written)

    def item(made: Tensor) -> None:
        made[0] = 0.0

    def added(made: Tensor) -> None:
        made += 1

    yes = (
        item,
        added,
        lambda y: y.add_(1),
        lambda y: F.relu(y, inplace=True),
        lambda y: F.relu_(y),
    )
    no = (lambda y: 1 - y, lambda y: y + 1, lambda y: y[0], lambda y: y.requires_grad_(),
          lambda y: F.relu(y, inplace=False), lambda y: y.grad_fn, lambda y: y.share_memory_(),
          lambda y: y.__rsub__(1), lambda y: y.__add__(1))  # fmt: skip
    assert [written(write) for write in yes] == [True] * len(yes)
    assert [written(write) for write in no] == [False] * len(no)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.exp()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Two(nn.Module):
    """It gives its input and what a function of its own made last, which no torch call takes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, Own.apply(self.linear(x))


def test_what_a_net_gives_is_its_own_also_beside_what_has_no_graph() -> None:
    D = Two()
    with record({"D": D}) as rec:
        D(real(0))[1].mean().backward()
    assert {n.op: n.net for n in rec.graph.nodes.values()}["OwnBackward"] == "D"


def test_the_line_of_a_loss_and_of_who_asked_for_it(nets) -> None:
    D = nets["D"]

    def judged(x: Tensor) -> Tensor:
        many = D(x).exp()
        return many.mean()

    with record(nets) as rec:
        judged(real(0)).backward()
    ops = {key: rec.graph.nodes[key].op for key in rec.graph.lines}
    assert {*ops.values()} == {"ExpBackward0", "MeanBackward0"}
    (outer,) = [(ops[key], lines[0].code) for key, lines in rec.graph.outer_lines.items()]
    assert outer == ("MeanBackward0", "judged(real(0)).backward()")


def test_weights_that_a_forward_has_made_count_as_parameters(nets) -> None:
    late = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(1))
    with record({**nets, "late": late}) as rec:
        nets["D"](real(0))
        loss = late(real(0)).mean()
        loss.backward()
    (call,) = rec.backward_calls
    assert call.held_before.parameters == 8 * 4
