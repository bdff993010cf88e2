"""Whom a recording hears, what it says of a step, and how a backward call begins and ends."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
import torch
from torch import nn, optim

from gan_lessons import record
from tests.loops.kit import mlp, noise, real, sgd


@pytest.fixture
def nets() -> dict[str, Any]:
    torch.manual_seed(0)
    return {"G": mlp(2, 2), "D": mlp(2, 1)}


def elsewhere(run: Any) -> None:
    thread = Thread(target=run)
    thread.start()
    thread.join()


def test_nothing_that_another_thread_does_is_heard(nets) -> None:
    D, optimizer = nets["D"], sgd(nets["D"])

    def step() -> None:
        D(real(0)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        D.zero_grad()
        nn.utils.clip_grad_norm_(D.parameters(), 1.0)

    with record(nets, {"od": optimizer}) as rec:
        elsewhere(step)
    assert not any((rec.events, rec.forwards, rec.backward_calls, rec.scalings))


def test_nets_of_the_same_parameters_are_told_and_no_others(nets) -> None:
    same = nn.Sequential(*nets["D"])
    with record({**nets, "same": same, "none": nn.ReLU(), "too": nn.ReLU()}) as rec:
        pass
    assert rec.shared == (("D", "same"),)


def test_what_is_held_of_no_net_is_told_at_the_end(nets) -> None:
    lost = nn.Parameter(torch.ones(1))
    optimizer = optim.SGD([*nets["D"].parameters(), lost], 0.1)
    with record(nets, {"od": optimizer}) as rec:
        assert rec.orphans == {}
    assert rec.orphans == {"od": 1}


def test_a_forward_that_raised_is_none_of_what_runs(nets) -> None:
    with record(nets) as rec:
        with pytest.raises(RuntimeError):
            nets["D"](torch.ones(3, 3))
        made = noise(0).exp().requires_grad_().mean()
        made.backward()
    (node,) = [n for n in rec.graph.nodes.values() if n.op == "MeanBackward0"]
    assert node.net is None
    assert [(e.kind, e.forward) for e in rec.events] == [("backward", None)]
    assert [f.net for f in rec.forwards] == ["D"]


def test_each_forward_event_names_its_forward(nets) -> None:
    with record(nets) as rec:
        for i in range(2):
            nets["D"](nets["G"](noise(i)))
    assert [e.forward for e in rec.events] == [0, 1, 2, 3]


def test_what_a_stranger_s_step_holds_is_held(nets) -> None:
    """An adapter that another optimizer moves is no stranger that nobody trains."""
    adapter = nn.Linear(2, 2)
    other = sgd(adapter)
    with record(nets, {"od": sgd(nets["D"])}) as rec:
        nets["D"](adapter(noise(0))).mean().backward()
        for parameter in adapter.parameters():
            parameter.grad = torch.zeros_like(parameter)  # it moves nothing
        other.step()
        for parameter in adapter.parameters():
            parameter.grad = torch.ones_like(parameter)
    assert rec.graph.strangers == {}


def test_what_a_step_lists_twice_by_a_group_that_came_later(nets) -> None:
    D = nets["D"]
    optimizer = sgd(D)
    with record(nets, {"od": optimizer}) as rec:
        D(real(0)).mean().backward()
        optimizer.param_groups.append({**optimizer.param_groups[0], "params": [D[0].bias]})
        optimizer.step()
    assert rec.twice == {"od": {"D": ("0.bias",)}}


@pytest.mark.parametrize("moved", ["none", "one", "all"])
def test_whether_all_weights_stood_still_in_a_step_without_gradient(nets, moved: str) -> None:
    D = nets["D"]

    class Own(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            some = [*D.parameters()][: {"none": 0, "one": 1, "all": 99}[moved]]
            for parameter in some:
                parameter.data.add_(1)
            return super().step(closure)

    optimizer = Own(D.parameters(), 0.1)
    with record(nets, {"od": optimizer}) as rec:
        optimizer.step()
    (step,) = [e for e in rec.events if e.kind == "step"]
    assert step.stood_still is (moved == "none")


def test_some_gradient_is_enough_for_a_step_that_is_not_empty(nets) -> None:
    D = nets["D"]
    optimizer = sgd(D)
    with record(nets, {"od": optimizer}) as rec:
        D[0].bias.grad = torch.ones(8)
        optimizer.step()
    (step,) = [e for e in rec.events if e.kind == "step"]
    assert step.stood_still is None


def test_a_part_of_a_net_clears_in_the_name_of_the_net(nets) -> None:
    with record(nets) as rec:
        nets["D"][2].zero_grad()
        mlp(2, 2).zero_grad()
        nets["G"].zero_grad()
    assert [(e.kind, e.target) for e in rec.events] == [("zero_grad", "D"), ("zero_grad", "G")]


def test_a_leaf_that_is_its_own_loss(nets) -> None:
    """What was cut off and made a leaf goes into the backward that starts from it."""
    with record(nets) as rec:
        cut = nets["D"](real(0)).mean().detach().requires_grad_()
        cut.backward()
    ((target, how),) = [(rec.graph.nodes[c.target].op, c.how) for c in rec.graph.cuts]
    assert (target, how) == ("AccumulateGrad", "detach()")


def test_a_forward_inside_a_backward_belongs_to_its_call(nets) -> None:
    D = nets["D"]
    with record(nets) as rec:
        made = nets["G"](noise(0))
        made.register_hook(lambda grad: D(real(0)).mean().detach() * grad)
        made.mean().backward()
        D(real(1))
    assert [call.forwards for call in rec.backward_calls] == [(0, 1)]
    assert [f.during for f in rec.forwards] == [None, 0, None]


def test_a_parameter_is_listened_to_once(nets) -> None:
    D = nets["D"]
    weight = D[0].weight
    with record(nets):
        for i in range(3):
            D(real(i)).mean().backward()
            assert len(weight._post_accumulate_grad_hooks) == 1
    assert not weight._post_accumulate_grad_hooks


def test_a_gradient_from_before_a_backward_is_looked_at_before_it(nets) -> None:
    """Written where torch does not count it, and then added to: by hand, then by the call."""
    D = nets["D"]
    with record(nets) as rec:
        D(real(0)).mean().backward()
        D[0].bias.grad.data.mul_(2)
        D(real(0)).mean().backward()
    states = [e.grads["D"]["0.bias"] for e in rec.events if e.kind == "backward"]
    assert [(s.sources, s.rewritten) for s in states] == [((0,), 0), ((0, 1), 1)]


def test_memory_that_a_gradient_was_given_is_watched_from_then_on(nets) -> None:
    D, outside = nets["D"], torch.ones(8)
    numbers = outside.numpy()
    with record(nets) as rec:
        D(real(0)).mean().backward()
        D[0].bias.grad.data = outside
        nets["G"](noise(0))
        numbers[:] = 2.0  # torch counts nothing there
        nets["G"](noise(0))
    first, second = [e.grads["D"]["0.bias"] for e in rec.events if e.target == "G"]
    assert first.value == pytest.approx(8**0.5)
    assert second.value == pytest.approx(2 * 8**0.5)


def test_a_name_for_each_optimizer_that_nobody_named(nets) -> None:
    first, second = sgd(nets["D"]), sgd(nets["D"])
    stranger = sgd(mlp(2, 1))
    with record(nets, {"SGD of mine": sgd(nets["G"])}) as rec:
        for optimizer in (first, stranger, second, first):
            optimizer.zero_grad()
    told = [e.target for e in rec.events]
    assert told == ["SGD 2", "SGD 3", "SGD 2"]


def test_clipping_that_clips_nothing_or_a_stranger_s_is_not_told(nets) -> None:
    D, other = nets["D"], mlp(2, 1)
    for net in (D, other):
        net(real(0)).mean().backward()
    with record(nets, {"od": sgd(D)}) as rec:
        D.zero_grad()
        D(real(0)).mean().backward()
        nn.utils.clip_grad_norm_(D.parameters(), float("inf"))
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        nn.utils.clip_grad_norm_([*D.parameters(), *other.parameters()], 1.0)
        nn.utils.clip_grad_norm_(D[0].bias, 1.0)
        nn.utils.clip_grad_norm_((p for p in D[2].parameters()), 1.0)
    names = tuple(name for name, _ in D.named_parameters())
    assert [(s.kind, s.nets, s.calls) for s in rec.scalings] == [
        ("clip", {"D": names}, (0,)),
        ("clip", {"D": ("0.bias",)}, (0,)),
        ("clip", {"D": ("2.weight", "2.bias")}, (0,)),
    ]
