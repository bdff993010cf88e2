"""The facts that are read off a record, each decided once, in lens/model."""

import dataclasses
import math
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import Gan, record, record_step, step_detach, step_retain_graph, tiny_gan
from gan_lessons.classroom import caption
from gan_lessons.lens.model import HeldBytes
from gan_lessons.lens.record import snapshot, source_lines
from gan_lessons.lens.record.gradients import measured
from gan_lessons.lens.record.quarrels import Quarrels
from gan_lessons.lens.show import GradientTable

BCE = nn.BCELoss()
REAL, NOISE = torch.ones(4, 2), torch.linspace(-1, 1, 8).reshape(4, 2)
ONES, ZEROS = torch.ones(4, 1), torch.zeros(4, 1)
ALL = ("net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias")


@pytest.fixture
def gan() -> Gan:
    return tiny_gan(seed=3)


def test_used_and_in_vain_share_out_what_was_received(gan: Gan) -> None:
    rec = record_step(step_retain_graph, gan, REAL, NOISE)
    assert [(rec.used(i), rec.in_vain(i)) for i in range(2)] == [
        ({"D": ALL}, {"G": ALL}),
        ({"G": ALL}, {"D": ALL}),
    ]
    for call in rec.backward_calls:
        told = {
            net: sorted((*rec.used(call.index).get(net, ()), *rec.in_vain(call.index).get(net, ())))
            for net in rec.parameters
        }
        assert told == {net: sorted(names) for net, names in call.received.items()}


def test_a_call_ends_with_its_own_event_though_steps_and_errors_belong_to_it(gan: Gan) -> None:
    D = gan.discriminator
    optimizers = {p: torch.optim.SGD([p], 0.1) for p in D.parameters()}
    handles = [
        p.register_post_accumulate_grad_hook(lambda p: optimizers[p].step()) for p in optimizers
    ]
    with record({"D": D}) as rec:
        BCE(D(REAL), ONES).backward()
        for handle in handles:
            handle.remove()
        loss = BCE(D(REAL), ONES)
        loss.backward()
        with pytest.raises(RuntimeError):
            loss.backward()
    kinds = [e.kind for e in rec.events if e.call is not None]
    assert kinds == ["step"] * 4 + ["backward", "backward", "error"]
    assert [rec.end_of(i).kind for i in range(3)] == ["backward", "backward", "error"]
    assert rec.used(0) == {"D": ALL}
    assert (rec.used(1), rec.in_vain(1)) == ({}, {"D": ALL})
    assert (rec.used(2), rec.in_vain(2)) == ({}, {})


def test_consumed_is_what_the_step_found(gan: Gan) -> None:
    D, opt = gan.discriminator, gan.optimizer_d
    opt.register_step_post_hook(lambda opt, *_: opt.zero_grad())  # it is gone when the step is told
    with record(gan.nets, gan.optimizers) as rec:
        for _ in range(2):
            BCE(D(REAL), ONES).backward()
        found = {name: float(cast(Tensor, p.grad).norm()) for name, p in D.named_parameters()}
        opt.step()
        opt.step()  # finds nothing
        gan.optimizer_g.step()
    first, second, of_g = [e for e in rec.events if e.kind == "step"]
    consumed = rec.consumed(first)
    assert {place: s.value for place, s in consumed.items()} == {
        ("D", name): pytest.approx(value) for name, value in found.items()
    }
    assert {s.sources for s in consumed.values()} == {(0, 1)}
    assert {s.used_by for s in consumed.values()} == {first.index}
    assert rec.consumed(second) == rec.consumed(of_g) == {}


def test_passes_through_a_net(gan: Gan) -> None:
    """A penalty on the weights reaches the parameters and passes through nothing."""
    G, D = gan.generator, gan.discriminator
    with record(gan.nets, gan.optimizers) as rec:
        torch.stack([p.square().sum() for p in G.parameters()]).sum().backward()
    assert (rec.forward_counts, rec.backward_counts) == ({"G": 0, "D": 0}, {"G": 0, "D": 0})
    assert rec.backward_calls[0].received == {"G": ALL, "D": ()}
    with record(gan.nets, gan.optimizers) as rec:
        loss = BCE(D(G(NOISE)), ONES)
        BCE(D(G(NOISE).detach()), ZEROS).backward()
        loss.backward()
        with pytest.raises(RuntimeError):
            loss.backward()  # not counted
    assert (rec.forward_counts, rec.backward_counts) == ({"G": 2, "D": 2}, {"G": 1, "D": 2})


def test_the_peak_is_the_most_that_was_ever_held(gan: Gan) -> None:
    rec = record_step(step_detach, gan, REAL, NOISE)
    seen = [m.held for m in rec.moments] + [e.held for e in rec.events]
    seen += [c.held_before for c in rec.backward_calls]
    assert rec.peak in seen
    assert rec.peak.activations == max(held.activations for held in seen) > 0
    with record(gan.nets) as nothing:
        pass
    assert nothing.peak == HeldBytes()
    with record(gan.nets) as run:
        y = gan.generator(NOISE).sin().cos()  # held at no event: at the start of a call alone
        y.sum().backward()
    assert run.peak == run.backward_calls[0].held_before
    assert run.peak.activations > max(e.held.activations for e in run.events)


# A gradient of zeros ------------------------------------------------------------------------------


def step_on_zeros(gan: Gan, real: Tensor, noise: Tensor) -> None:
    opt_d = gan.optimizer_d
    loss = (gan.discriminator(real) * 0).sum()
    loss.backward()
    opt_d.step()


def step_on_clipped_zeros(gan: Gan, real: Tensor, noise: Tensor) -> None:
    opt_d = gan.optimizer_d
    loss = (gan.discriminator(real) * 0).sum()
    loss.backward()
    nn.utils.clip_grad_norm_(gan.discriminator.parameters(), 1.0)
    opt_d.step()


def step_on_stashed_zeros(gan: Gan, real: Tensor, noise: Tensor) -> None:
    opt_d = gan.optimizer_d
    loss = (gan.discriminator(real) * 0).sum()
    loss.backward()
    stash = [p.grad for p in gan.discriminator.parameters()]
    opt_d.zero_grad()
    for p, grad in zip(gan.discriminator.parameters(), stash, strict=True):
        p.grad = grad
    opt_d.step()


@pytest.mark.parametrize("step", [step_on_zeros, step_on_clipped_zeros, step_on_stashed_zeros])
def test_zeros_that_backward_wrote_are_used_as_any_gradient(step, gan: Gan) -> None:
    rec = record_step(step, gan, REAL, NOISE)
    assert (rec.used(0), rec.in_vain(0)) == ({"D": ALL}, {})
    stepped = next(e for e in rec.events if e.kind == "step")
    assert {(s.value, s.used_by) for s in stepped.grads["D"].values()} == {(0.0, stepped.index)}
    assert len(rec.consumed(stepped)) == 4
    (moment,) = [m for m in rec.moments if rec.text(m) == "loss.backward()"]
    assert "in vain" not in caption(rec, moment)
    assert caption(rec, moment).startswith("Backward from `loss`. D gets its gradient.")
    cells = {row.cells[-1] for row in GradientTable(rec, events=["backward", "step"]).rows()["D"]}
    assert {(cell.kind, cell.value, cell.used) for cell in cells} == {("zero", 0.0, True)}


def test_zeros_of_clearing_are_no_gradient(gan: Gan) -> None:
    D, opt = gan.discriminator, gan.optimizer_d
    with record(gan.nets, gan.optimizers) as rec:
        (D(REAL) * 0).sum().backward()
        opt.zero_grad(set_to_none=False)  # zeros where zeros were
        opt.step()
        BCE(D(REAL), ONES).backward()
    assert (rec.used(0), rec.in_vain(0)) == ({}, {"D": ALL})
    assert {s.sources for s in rec.events[-1].grads["D"].values()} == {(1,)}
    cleared = next(e for e in rec.events if e.kind == "zero_grad")
    assert not any(s.is_gradient for s in cleared.grads["D"].values())


def test_states_are_settled_when_the_record_is_complete(gan: Gan) -> None:
    with record(gan.nets, gan.optimizers) as rec:
        BCE(gan.discriminator(REAL), ONES).backward()
        early = rec.events[-1].grads["D"][ALL[0]]
        assert early.used_by is None
        gan.optimizer_d.step()
    told = rec.events[1].grads["D"][ALL[0]]
    assert told.used_by == rec.events[-1].index
    assert dataclasses.replace(told, used_by=None) == dataclasses.replace(early, used_by=None)


@pytest.mark.parametrize("by_name", [False, True])
def test_what_a_closure_computes_is_heard(gan: Gan, by_name: bool) -> None:
    """Torch's own optimizers are not listened to while they step; a closure inside them is."""
    weight = next(gan.discriminator.parameters())

    def closure() -> float:
        doubled = (weight * 2).detach()
        loss = (doubled * weight).sum()
        loss.backward()
        return float(loss.detach())

    step: Any = gan.optimizer_d.step
    with record(gan.nets, gan.optimizers) as rec:
        step(closure=closure) if by_name else step(closure)
    assert [event.kind for event in rec.events] == ["backward", "step"]
    assert [cut.how for cut in rec.graph.cuts] == ["detach()"]


def test_in_a_graph_by_itself_an_operation_is_of_the_net_whose_weight_it_takes() -> None:
    """Through a transposed weight too, and although what comes first was made by another net."""
    nets = {"G": nn.Linear(2, 2), "D": nn.Linear(2, 1)}
    graph = snapshot({"y": nets["G"](NOISE) @ nets["D"].weight.t()}, nets)
    (product,) = [node for node in graph.nodes.values() if node.op == "MmBackward0"]
    assert product.net == "D"
    assert graph.inferred  # so that views tell what they do not know


def test_tensors_that_an_operation_saved_together_have_a_number_each() -> None:
    net = nn.Linear(2, 3)
    with record({"D": net}) as rec:
        net(NOISE)[torch.tensor([0, 1]), torch.tensor([1, 2])].sum().backward()
    (key,) = [node.id for node in rec.graph.nodes.values() if node.op == "IndexBackward0"]
    assert [saved.name for saved in rec.graph.saved[key]] == ["indices[0]", "indices[1]"]


def test_what_has_no_norm_keeps_nothing_else_from_being_measured() -> None:
    numbers = [torch.ones(3, dtype=torch.int64), torch.tensor([3.0, 4.0]), torch.ones(2).half()]
    (norm, total), *others = measured(numbers)
    assert (math.isnan(norm), math.isnan(total)) == (True, True)
    assert others == [(5.0, 7.0), (pytest.approx(2**0.5), 2.0)]


def test_what_looks_at_a_gan_after_every_line_needs_one() -> None:
    net = nn.Linear(2, 1)

    def looked(*_: object) -> Any:
        raise AssertionError("it looked at what is no gan")

    with pytest.raises(TypeError, match="which beside= looks at"):
        record_step(lambda x: net(x), args=(REAL,), nets={"D": net}, beside=looked)


def versions_of_one_net(step: Callable[[nn.Module], None], net: nn.Module) -> set[int]:
    """What the record says, in all its places, of how often ``net`` had moved at the end."""
    with record({"D": net}) as rec:
        step(net)
        net(REAL).sum().backward()
    (call,) = [c for c in rec.backward_calls if rec.end_of(c.index) is rec.events[-1]]
    return {rec.forwards[-1].weights, call.weights["D"], rec.versions[-1]["D"]}


@pytest.mark.parametrize(("zeros", "momentum", "moves"), [
    (False, 0.0, 0),  # it finds nothing
    (True, 0.0, 0),  # it finds zeros, and writes the same values again
    (True, 0.9, 1),  # momentum moves it all the same
])  # fmt: skip
def test_a_version_is_a_step_that_moved_the_weights(zeros, momentum, moves) -> None:
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=momentum)
    net(REAL).sum().backward()
    optimizer.step()

    def step(net: nn.Module) -> None:
        optimizer.zero_grad(set_to_none=not zeros)
        optimizer.step()

    assert versions_of_one_net(step, net) == {moves}


def test_weights_that_a_hand_wrote_before_an_empty_step_have_no_new_version() -> None:
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step(net: nn.Module) -> None:
        with torch.no_grad():
            next(net.parameters()).mul_(0.5)
        optimizer.step()

    assert versions_of_one_net(step, net) == {0}


def test_what_a_step_moved_before_it_evaluated_its_closure_was_moved_by_it() -> None:
    class Looks(torch.optim.SGD):
        """Moves, looks where that led, and clears up."""

        def step(self, closure: Any = None) -> Any:
            super().step()
            loss = closure()
            self.zero_grad()
            return loss

    net = nn.Linear(2, 1)
    optimizer = Looks(net.parameters(), 0.1)
    with record({"D": net}) as rec:
        net(REAL).sum().backward()
        optimizer.step(lambda: net(REAL).sum())
        net(REAL)
    (event,) = [e for e in rec.events if e.kind == "step"]
    assert not event.moved  # since the event before, which is of its own closure
    assert rec.moved_by(event) == {"D": ("weight", "bias")}
    assert rec.forwards[-1].weights == rec.versions[-1]["D"] == 1


def test_a_step_without_any_gradient_tells_whether_the_weights_stood_still() -> None:
    class Decaying(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.mul_(0.5)
            return super().step(closure)

    net = nn.Linear(2, 1)
    plain, decaying = torch.optim.SGD(net.parameters(), 0.1), Decaying(net.parameters(), 0.1)
    with record({"D": net}, {"plain": plain, "decaying": decaying}) as rec:
        plain.step()
        decaying.step()

        def closure() -> Tensor:
            loss = net(NOISE).mean()
            loss.backward()
            return loss

        plain.step(closure)  # there was none before it, but it ran backward
    steps = [event.stood_still for event in rec.events if event.kind == "step"]
    assert steps == [True, False, None]


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_without_a_graph_of_its_own_is_known_where_it_goes_on(
    create_graph: bool,
) -> None:
    D, x = nn.Linear(2, 1), NOISE.clone().requires_grad_()
    with record({"D": D}) as rec:
        made = D(x).square().sum()
        (slope,) = torch.autograd.grad(made, x, create_graph=create_graph)
        (D(REAL).mean() * slope.square().sum()).backward()
    ops = rec.graph.nodes
    found = [(ops[cut.source].op, ops[cut.target].op) for cut in rec.graph.slopes]
    assert found == ([] if create_graph else [("SumBackward0", "MulBackward0")])


def test_what_clips_or_scales_gradients_is_told_in_order() -> None:
    D, scaler = nn.Linear(2, 1), torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = torch.optim.SGD(D.parameters(), 0.1)
    with record({"D": D}, {"D": optimizer}) as rec:
        nn.utils.clip_grad_norm_(D.parameters(), 1.0)  # there is none yet
        loss = scaler.scale(D(NOISE).mean())
        loss.backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_([D.weight], 1.0)
        scaler.step(optimizer)
    both = ("weight", "bias")
    assert [(told.kind, dict(told.nets), told.calls) for told in rec.scalings] == [
        ("clip", {"D": both}, ()),
        ("scale", {}, ()),
        ("unscale", {"D": both}, (0,)),
        ("clip", {"D": ("weight",)}, (0,)),
        ("step", {"D": both}, (0,)),
    ]
    (scaled,) = [told.node for told in rec.scalings if told.node is not None]
    assert rec.graph.nodes[scaled].op == "MulBackward0"  # by the scale


def test_a_scaler_that_is_switched_off_scales_nothing() -> None:
    D, scaler = nn.Linear(2, 1), torch.amp.GradScaler("cpu", enabled=False)
    optimizer = torch.optim.SGD(D.parameters(), 0.1)
    with record({"D": D}, {"D": optimizer}) as rec:
        scaler.scale(D(NOISE).mean()).backward()
        scaler.step(optimizer)
    assert rec.scalings == []


def test_what_was_written_out_of_sight_is_said_to_be_no_step() -> None:
    D = nn.Linear(2, 1)
    with record({"D": D}) as rec:
        y = D(NOISE).sigmoid()
        with torch._C.DisableTorchFunction():
            y.detach().add_(1)
        with pytest.raises(RuntimeError, match="inplace"):
            y.sum().backward()
    assert "Something that is no optimizer step has rewritten it" in str(rec.explanation)


def test_a_step_inside_an_autograd_grad_belongs_to_no_backward_call() -> None:
    D = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(D.parameters(), 0.1)
    with record({"D": D}, {"D": optimizer}) as rec:
        y = D(NOISE)
        y.register_hook(lambda _: optimizer.step())
        torch.autograd.grad(y.sum(), D.weight)
    assert [(e.kind, e.call) for e in rec.events][1:] == [("step", None), ("grad", None)]


class Asks:
    """Which expression is running where this is negated?"""

    def __neg__(self) -> str:
        frame = sys._getframe(1)
        return source_lines._read_line(frame, frame.f_lasti).expression


def test_the_expression_is_the_one_that_runs() -> None:
    assert -Asks() == "-Asks()"


@pytest.mark.parametrize(
    ("text", "operand"),
    [
        ("self.log(d_loss.backward())", "d_loss"),
        ("torch.autograd.backward(g_loss)", "g_loss"),
        ("step(loss)", None),
        ("if loss:", None),
    ],
)
def test_what_a_line_runs_backward_from(text: str, operand: str | None) -> None:
    assert source_lines.backward_operand(text) == operand


def test_an_engine_runs_backward_from_what_it_is_given() -> None:
    named = partial(source_lines.backward_operand, by_engine=True)
    assert named("accelerator.backward(d_loss)") == "d_loss"
    assert named("self.manual_backward(d_loss + penalty)") == "d_loss + penalty"
    assert named("engine.scale(d_loss).backward()") == "engine.scale(d_loss)"
    assert source_lines.backward_operand("d_loss.backward(ones)") == "d_loss"  # ones: its gradient


@pytest.mark.parametrize("name", ["accelerate", "fabric"])
def test_the_loss_that_an_engine_sends_backward_has_its_name(name: str) -> None:
    D = nn.Linear(2, 1)
    if name == "accelerate":
        engine: Any = import_module("accelerate").Accelerator(cpu=True)
    else:
        from lightning_fabric import Fabric

        engine = Fabric(accelerator="cpu", devices=1)
    with record({"D": D}) as rec:
        d_loss = D(torch.ones(4, 2)).mean()
        engine.backward(d_loss)
        g_loss = D(torch.ones(4, 2))
        g_loss.backward(torch.ones_like(g_loss))  # no engine: what is given is its gradient
    assert [call.loss for call in rec.backward_calls] == ["d_loss", "g_loss"]


def _quarrels(samples: int, loss: Callable[[Tensor], Tensor]) -> list[tuple[int, int]]:
    """Of verdicts that all lie above 1."""
    net, judge = nn.Linear(2, 1), nn.Linear(1, 1)
    with torch.no_grad():
        judge.weight.fill_(1.0), judge.bias.fill_(9.0)
    with record({"net": net, "judge": judge}) as rec:
        loss(judge(net(torch.linspace(-1, 1, 2 * samples).view(samples, 2)))).backward()
    return [quarrel.forwards for quarrel in rec.quarrels]


def _towards(label: float) -> Callable[[Tensor], Tensor]:
    return lambda verdict: (verdict - label).square().mean()


def test_two_labels_are_a_quarrel_even_where_both_pull_the_same_way():
    """Above both labels each distance pulls down; one gradient is the other, shifted."""
    zero, one = _towards(0.0), _towards(1.0)
    assert _quarrels(8, lambda v: zero(v) + 0.5 * one(v)) == [(1, 1)]
    assert _quarrels(8, lambda v: zero(v) + 0.5 * zero(v)) == []
    assert _quarrels(3, lambda v: zero(v) + 0.5 * one(v)) == []  # a line goes through any two


def test_a_loss_that_does_not_pull_quarrels_with_none():
    assert _quarrels(8, lambda v: v.mean() - 0.5 * v.mean()) == [(1, 1)]
    assert _quarrels(8, lambda v: v.mean() + 0.0 * v.sum()) == []


def test_no_hook_that_heard_losses_is_left_on_a_graph_that_lives_on(monkeypatch):
    handles, hear = list[Any](), Quarrels._hear

    def noted(self: Any, *given: Any) -> None:
        hear(self, *given)
        handles.append(self._handles[-1])

    monkeypatch.setattr(Quarrels, "_hear", noted)
    net, judge = nn.Linear(2, 1), nn.Linear(1, 1)
    with record({"net": net, "judge": judge}) as rec:
        verdict = judge(net(torch.randn(8, 2)))
        loss = verdict.mean() - 0.5 * verdict.sum()
        loss.backward(retain_graph=True)
    assert len(rec.quarrels) == 1
    assert len(handles) == 2
    assert all(handle.id not in (handle.hooks_dict_ref() or ()) for handle in handles)
    loss.backward()  # and nothing listens
    assert len(rec.quarrels) == 1
