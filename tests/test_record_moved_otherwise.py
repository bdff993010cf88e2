"""Facts of a record about nets that move, or were to move, by other ways than a step: states that
are put back, parameters that are thawed, and what is made of their gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from gan_lessons import record
from gan_lessons.lens.model import Record

X = torch.linspace(-1, 1, 8).reshape(4, 2)


def net_and_step() -> tuple[nn.Sequential, Callable[[], None]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    opt = optim.SGD(net.parameters(), lr=0.1)

    def step() -> None:
        opt.zero_grad()
        net(X).square().mean().backward()
        opt.step()

    return net, step


# States -------------------------------------------------------------------------------------------


def put_back(turn: Callable[[nn.Sequential, Callable[[], None]], None]) -> Record:
    net, step = net_and_step()
    with record({"net": net}) as rec:
        turn(net, step)
    return rec


def test_a_state_that_is_no_copy_is_heard_with_its_lines() -> None:
    def turn(net: nn.Sequential, step: Callable[[], None]) -> None:
        step()
        kept = net.state_dict()
        step()
        net.load_state_dict(kept)

    rec = put_back(turn)
    ((net, taken, line, now, put),) = rec.put_back
    assert net == "net"
    assert (line.code, put.code) == ("kept = net.state_dict()", "net.load_state_dict(kept)")
    steps = [e.index for e in rec.events if e.kind == "step"]
    assert steps[0] < taken <= steps[1] < now == len(rec.events)


def test_of_a_part_the_net_is_named() -> None:
    def turn(net: nn.Sequential, step: Callable[[], None]) -> None:
        net[0].load_state_dict(net[0].state_dict())

    assert [row[0] for row in put_back(turn).put_back] == ["net"]


def test_a_state_that_another_one_was_taken_after_is_still_known() -> None:
    def turn(net: nn.Sequential, step: Callable[[], None]) -> None:
        kept = net.state_dict()
        nn.Linear(2, 2).state_dict()
        net.load_state_dict(kept)

    assert [row[0] for row in put_back(turn).put_back] == ["net"]


def test_by_its_name_it_is_heard_as_well() -> None:
    def turn(net: nn.Sequential, step: Callable[[], None]) -> None:
        net.load_state_dict(state_dict=net.state_dict())

    assert len(put_back(turn).put_back) == 1


def _deep(net: nn.Sequential) -> None:
    net.load_state_dict(copy.deepcopy(net.state_dict()))


def _of_clones(net: nn.Sequential) -> None:
    net.load_state_dict({name: t.clone() for name, t in net.state_dict().items()})


def _one_copied(net: nn.Sequential) -> None:
    state = net.state_dict()
    net.load_state_dict({**state, "2.bias": state["2.bias"].clone()})


def _of_another(net: nn.Sequential) -> None:
    net.load_state_dict(copy.deepcopy(net).state_dict())


def _into_another(net: nn.Sequential) -> None:
    copy.deepcopy(net).load_state_dict(net.state_dict())


def _not_all(net: nn.Sequential) -> None:
    state = net.state_dict()
    del state["0.weight"]
    net.load_state_dict(state, strict=False)


@pytest.mark.parametrize(
    "how", [_deep, _of_clones, _one_copied, _of_another, _into_another, _not_all]
)
def test_copies_and_other_nets_are_not_meant(how: Callable[[nn.Sequential], None]) -> None:
    def turn(net: nn.Sequential, step: Callable[[], None]) -> None:
        step()
        how(net)

    assert put_back(turn).put_back == []


def test_what_was_taken_before_the_recording_is_not_known() -> None:
    net, _ = net_and_step()
    kept = net.state_dict()
    with record({"net": net}) as rec:
        net.load_state_dict(kept)
    assert rec.put_back == []


def _in_a_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(call).result()


def test_what_another_thread_takes_or_puts_is_its_own_affair() -> None:
    def taken(net: nn.Sequential, step: Callable[[], None]) -> None:
        net.load_state_dict(_in_a_thread(net.state_dict))

    def put(net: nn.Sequential, step: Callable[[], None]) -> None:
        state = net.state_dict()
        _in_a_thread(lambda: net.load_state_dict(state))

    assert put_back(taken).put_back == put_back(put).put_back == []


def test_what_is_no_state_is_left_to_torch_and_to_whoever_gives_it() -> None:
    class GivesNone(nn.Linear):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            super().state_dict(*args, **kwargs)
            return None

    def turn(net: nn.Sequential, step: Callable[[], None]) -> None:
        nothing: Any = GivesNone(2, 2).state_dict()
        with pytest.raises(TypeError, match="dict-like"):
            net.load_state_dict(nothing)

    assert put_back(turn).put_back == []


def test_afterwards_both_methods_are_as_they_were() -> None:
    before = nn.Module.state_dict, nn.Module.load_state_dict
    put_back(lambda net, step: _deep(net))
    assert (nn.Module.state_dict, nn.Module.load_state_dict) == before


# Thawing ------------------------------------------------------------------------------------------


def thawed(turn: Callable[[nn.Sequential], object], held: str = "2") -> dict[str, list[str]]:
    net, _ = net_and_step()
    net[0].requires_grad_(False)
    opt = optim.SGD([p for k, p in net.named_parameters() if k.startswith(held)], lr=0.1)
    with record({"net": net}, {"opt": opt}) as rec:
        net(X).square().mean().backward()
        opt.step()
        turn(net)
        net(X).square().mean().backward()
        opt.step()
    return {net: [*row] for net, row in rec.thawed.items()}


def test_a_part_that_is_thawed_is_known_by_its_parameters() -> None:
    assert thawed(lambda net: net[0].requires_grad_(True)) == {"net": ["0.weight", "0.bias"]}


def test_one_parameter_of_it() -> None:
    def turn(net: nn.Sequential) -> None:
        net[0].bias.requires_grad = True

    assert thawed(turn) == {"net": ["0.bias"]}


def test_not_what_is_frozen_again_or_was_held_or_never_slept() -> None:
    def again(net: nn.Sequential) -> None:
        net[0].requires_grad_(True)
        net[0].requires_grad_(False)

    def twice(net: nn.Sequential) -> None:
        for on in (True, False, True):
            net[0].requires_grad_(on)

    def awake(net: nn.Sequential) -> None:
        net[2].requires_grad_(True)

    assert thawed(again) == thawed(twice) == thawed(awake) == {}
    assert thawed(lambda net: net[0].requires_grad_(True), held="") == {}


def test_not_a_net_that_is_thawed_as_a_whole() -> None:
    def whole(net: nn.Sequential) -> None:
        for p in net.parameters():
            p.requires_grad_(False)
        for p in net.parameters():
            p.requires_grad_(True)

    assert thawed(whole) == {}


# What is made of gradients ------------------------------------------------------------------------


def taught(turn: Callable[[nn.Linear, Tensor], Tensor]) -> list[tuple[str, str]]:
    """Of which parameters' gradients something went into an operation with a graph."""
    torch.manual_seed(0)
    net = nn.Linear(2, 2)
    with record({"net": net}) as rec:
        net(X).square().mean().backward()
        assert net.weight.grad is not None
        turn(net, net.weight.grad).sum().backward()
    return list(dict.fromkeys((name, param) for name, param, _ in rec.graph.taught))


def test_a_change_that_is_made_of_a_gradient_is_followed_into_a_loss() -> None:
    def attacked(net: nn.Linear, grad: Tensor) -> Tensor:
        change = 0.1 * grad.sign()
        return net(X + change.sum(0)) * 2

    assert taught(attacked) == [("net", "weight")]


def test_what_was_not_read_or_goes_into_nothing_is_not_followed() -> None:
    def for_a_log(net: nn.Linear, grad: Tensor) -> Tensor:
        grad.norm().item()
        return net(X)

    assert taught(for_a_log) == []
    assert taught(lambda net, grad: net(X + 1)) == []
