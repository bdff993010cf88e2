"""The graph while it lives: walked once, read once, counted by whose memory it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gan_lessons import record
from gan_lessons import torch_internals as internals
from gan_lessons.lens.model import FREED, HELD, STALE, Record
from gan_lessons.lens.record import autograd_graph, snapshot
from gan_lessons.lens.record.autograd_nodes import can_be_read, reachable, read_saved, walk
from gan_lessons.lens.record.recording import recording
from tests.loops.kit import mlp, noise, real, sgd


def diamonds(many: int) -> Tensor:
    x = torch.ones(2, requires_grad=True)
    for _ in range(many):
        x = x * x
    return x.sum()


def test_every_node_is_walked_once_however_many_ways_lead_to_it() -> None:
    root = diamonds(12).grad_fn
    for found in ([*walk([root])], [*reachable([root])]):
        assert len(found) == len({*found}) == 14
    places = {node: i for i, node in enumerate(walk([root]))}
    assert all(places[n] < i for node, i in places.items() for n, _ in node.next_functions)
    assert [*walk([None])] == [*reachable([None])] == []


def test_what_was_saved_beside_nothing_is_found() -> None:
    x = torch.zeros(3, requires_grad=True)
    node: Any = binary_cross_entropy_with_logits(x, torch.ones(3)).grad_fn
    state, tensors, _ = read_saved(node)
    assert state == HELD
    assert {*tensors} >= {"self", "target"}


def test_what_a_node_saved_of_numbers_is_not_asked_for_again() -> None:
    node: Any = torch.addmm(
        torch.ones(2, requires_grad=True), torch.ones(2, 2), torch.ones(2, 2)
    ).grad_fn
    kind = node.__class__
    _, _, alive = read_saved(node)
    assert "_saved_alpha" not in {*internals.saved_attributes(kind), *alive}


def test_what_was_rewritten_cannot_be_read() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    node: Any = y.grad_fn
    _, _, names = read_saved(node)
    assert can_be_read(node, names)
    y.add_(1)
    assert not can_be_read(node, names)
    assert read_saved(node, names)[0] == STALE


def test_a_node_without_parameters_is_of_the_net_before_it_or_of_none() -> None:
    net = nn.Linear(2, 1)
    x = torch.ones(2, requires_grad=True)
    graph = snapshot({"made": net(real(0)).exp(), "other": x.exp()}, {"D": net})
    told = {node.op: node.net for node in graph.nodes.values()}
    assert told["AddmmBackward0"] == "D"
    nets = [node.net for node in graph.nodes.values() if node.op == "ExpBackward0"]
    assert {*nets} == {"D", None}


def test_nodes_that_were_made_before_the_recording_are_met_in_backward() -> None:
    net = mlp(2, 1)
    loss = net(real(0)).mean()
    with record({"D": net}) as rec:
        loss.backward()
    (call,) = rec.backward_calls
    ops = [rec.graph.nodes[key].op for key in call.nodes]
    assert ops[-1] == "MeanBackward0"
    assert ops.count("AddmmBackward0") == 2
    assert {rec.graph.nodes[key].parameter for key in call.nodes} >= {*rec.parameters["D"]}


def test_what_was_freed_stays_freed() -> None:
    net = mlp(2, 1)
    with record({"D": net}, {"D": sgd(net)}) as rec:
        loss = net(real(0)).square().mean()
        loss.backward()
        net(real(1))
        net(real(2))
    (op,) = [key for key, node in rec.graph.nodes.items() if node.op == "PowBackward0"]
    assert [e.states[op] for e in rec.events if op in e.states] == [FREED] * 3
    assert loss is not None


def test_what_is_held_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, reads = mlp(2, 1), list[Any]()
    plain = autograd_graph.read_saved

    def counted(node: Any, names: Any = None) -> Any:
        reads.append(node)
        return plain(node, names)

    monkeypatch.setattr(autograd_graph, "read_saved", counted)
    with recording(Record, {"D": net}, {}) as journal:
        loss = net(real(0)).square().mean()
        journal.glance()
        assert reads
        reads.clear()
        journal.glance()
        assert [node for node in reads if node.__class__.__name__ == "AddmmBackward0"] == []
        net[0].weight.data = torch.zeros(8, 2)  # its memory is another: all may be
        journal.glance()
        assert reads
    assert loss is not None


def test_memory_that_a_weight_was_given_is_that_of_a_parameter() -> None:
    net = nn.Linear(2, 2, bias=False)
    with record({"D": net}) as rec:
        net(real(0)).sum().backward()
        net.weight.square().sum().backward()
        net.weight.data = torch.ones(2, 2)
        net.weight.square().sum().backward()
    assert [call.held_before.parameters for call in rec.backward_calls] == [0, 16, 16]
    assert [call.held_before.activations for call in rec.backward_calls] == [0, 0, 0]


def test_weights_count_as_parameters_in_every_iteration() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    with record({"G": G, "D": D}) as rec:
        for i in range(3):
            D(G(noise(i))).mean().backward()
    held = [call.held_before for call in rec.backward_calls]
    assert held[0].parameters > 0
    assert held == [held[0]] * 3


def test_where_a_net_was_frozen_if_nothing_of_it_trains() -> None:
    net = mlp(2, 1)
    with recording(Record, {"D": net, "none": nn.ReLU()}, {}) as journal:
        assert journal.graph.frozen_nets() == ["none"]
        net[0].requires_grad_(False)
        net(real(0))
        assert journal.graph.frozen_nets() == ["none"]
        net[2].weight.requires_grad_(False)
        net[2].bias.requires_grad = False
        net(real(0))
        assert journal.graph.frozen_nets() == ["D", "none"]
    half, whole = [forward.frozen for forward in journal.record.forwards]
    assert half is None
    assert whole is not None
    assert whole.code == "net[2].bias.requires_grad = False"


def test_a_tensor_of_a_net_before_is_followed_to_those_after_it() -> None:
    """Only what is on the way to the inputs that were asked for is walked."""
    net = mlp(2, 1)
    with record({"D": net}) as rec:
        x = real(0).requires_grad_()
        hidden = net[0](x)
        loss = net[2](net[1](hidden)).mean()
        torch.autograd.grad(loss, hidden, retain_graph=True)
        loss.backward(inputs=[net[2].weight])
    (grad,) = [e for e in rec.events if e.kind == "grad"]
    ops = [rec.graph.nodes[key].op for key in grad.nodes]
    assert ops[0] == "AddmmBackward0"
    assert ops[1] == "LeakyReluBackward0"
    assert ops[-1] == "MeanBackward0"
    (call,) = rec.backward_calls
    assert {rec.graph.nodes[key].parameter for key in call.nodes} == {None, "2.weight"}


# Inputs of which somebody reads the gradient ------------------------------------------------------


@pytest.mark.parametrize("read", [False, True])
def test_an_input_is_asked_for_its_gradient_in_all_graphs_that_gave_it_one(read: bool) -> None:
    net, x = nn.Linear(2, 1), torch.ones(4, 2, requires_grad=True)
    with record({"D": net}) as rec:
        for _ in range(2):
            net(x).sum().backward()  # its graph is gone, and x has another node in the next
        if read:
            assert x.grad is not None
            assert net.weight.grad is not None  # a parameter is no input
    asked = [sorted(rec.graph.asked & {*call.nodes}) for call in rec.backward_calls]
    assert [len(keys) for keys in asked] == ([1, 1] if read else [0, 0])
    assert len(rec.graph.asked) == 2 * read


def test_what_took_the_place_of_an_input_is_not_that_input() -> None:
    graph, x, y = autograd_graph.LiveGraph({}, {}), torch.ones(1), torch.ones(1)
    graph._inputs[id(y)] = autograd_graph.TensorWeakRef(x), {7}  # x is gone, say, and y has its id
    graph.gradient_read(y)
    assert graph.asked == set()
    graph._inputs[id(x)] = autograd_graph.TensorWeakRef(x), {7}
    graph.gradient_read(x)
    assert graph.asked == {7}
