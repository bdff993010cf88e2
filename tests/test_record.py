"""The observer tells the truth about any code, and changes nothing."""

import contextlib
import copy
import ctypes
import functools
import gc
import itertools
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from gan_lessons import STRATEGIES, dcgan, mlp_gan, tiny_gan
from gan_lessons.gan import Gan
from gan_lessons.lens.model import Record
from gan_lessons.lens.record import gradients, record
from gan_lessons.lens.record import record as observe
from gan_lessons.models import ShapedModule
from gan_lessons.strategies import THREE

BCE = nn.BCELoss()
OPTIMIZER = sys.modules["torch.optim.optimizer"]  # torch.optim hides its own submodule
ONES, ZEROS = torch.ones(8, 1), torch.zeros(8, 1)
W = next(name for name, _ in tiny_gan().discriminator.named_parameters())


@pytest.fixture
def gan() -> Gan:
    return tiny_gan(seed=3)


@pytest.fixture
def real() -> Tensor:
    return torch.randn(8, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(8, 2, generator=torch.Generator().manual_seed(2))


def watch(gan: Gan) -> dict[str, Any]:
    return {"nets": gan.nets, "optimizers": gan.optimizers}


def counts(rec: Record) -> list[tuple[int, int]]:
    """How many parameters of (G, D) received in each backward call."""
    return [(len(c.received["G"]), len(c.received["D"])) for c in rec.backward_calls]


def number(value: float | None) -> float:
    assert value is not None
    return value


def kinds(rec: Record) -> list[str]:
    return [e.kind for e in rec.events]


# What is seen ---------------------------------------------------------------------------------


def test_the_three_strategies_event_by_event(real: Tensor, noise: Tensor) -> None:
    seen = {}
    for key in THREE:
        other = tiny_gan(seed=3)
        with record(**watch(other)) as rec:
            STRATEGIES[key].step(other, real, noise)
        seen[key] = [f"{e.kind} {e.target or ''}".strip() for e in rec.events]
        assert len(rec.backward_calls) == 2
    assert seen["retain_graph"] == [
        *("forward G", "forward D", "forward D", "zero_grad D", "backward"),
        *("zero_grad G", "backward", "step D", "step G"),
    ]
    assert seen["detach"] == [
        *("forward G", "zero_grad D", "forward D", "forward D", "backward", "step D"),
        *("zero_grad G", "forward D", "backward", "step G"),
    ]
    assert seen["generator_first"] == [
        *("zero_grad G", "forward G", "forward D", "backward", "step G"),
        *("zero_grad D", "forward D", "forward D", "backward", "step D"),
    ]


def test_a_step_that_calls_the_step_of_its_base_class_is_one_step(gan: Gan) -> None:
    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    optimizer = Own(gan.discriminator.parameters(), lr=0.1)
    with record(gan.nets, {"D": optimizer}) as rec:
        for _ in range(2):
            gan.discriminator(torch.ones(8, 2)).sum().backward()
            optimizer.step()
        gan.discriminator(torch.ones(8, 2))
    assert kinds(rec).count("step") == 2
    assert [f.weights for f in rec.forwards] == [0, 1, 2]


@pytest.mark.parametrize(
    "odd",
    [torch.zeros(3, dtype=torch.int8), torch.ones(2, dtype=torch.bool),
     torch.zeros(4).to(torch.float8_e4m3fn), torch.zeros(0), torch.zeros(3, device="meta"),
     torch.zeros(2, dtype=torch.complex64), torch.eye(3).to_sparse()],
    ids=lambda odd: f"{odd.dtype} {odd.device} {len(odd)}",
)  # fmt: skip
def test_weights_that_have_no_norm_do_no_harm(gan: Gan, odd: Tensor) -> None:
    gan.discriminator.odd = nn.Parameter(odd, requires_grad=False)
    with record(**watch(gan)) as rec:
        gan.discriminator(torch.ones(8, 2)).sum().backward()
        gan.optimizer_d.step()
    assert rec.moved == {}
    assert len(rec.backward_calls[0].received["D"]) == 4


def test_a_step_that_raised_hides_no_later_one(gan: Gan) -> None:
    class Fails(torch.optim.SGD):
        fails = True

        def step(self, closure: Any = None) -> Any:
            if self.fails:
                raise OverflowError
            return super().step(closure)

    optimizer = Fails(gan.discriminator.parameters(), lr=0.1)
    with record(gan.nets, {"D": optimizer}) as rec:
        for fails in (True, False):
            optimizer.fails = fails
            gan.discriminator(torch.ones(8, 2)).sum().backward()
            with contextlib.suppress(OverflowError):
                optimizer.step()
    assert kinds(rec).count("step") == 1


def test_who_received_in_each_strategy(real: Tensor, noise: Tensor) -> None:
    expected = {
        "retain_graph": [(4, 4), (4, 4)],
        "detach": [(0, 4), (4, 4)],
        "generator_first": [(4, 4), (0, 4)],
    }
    for key, received in expected.items():
        gan = tiny_gan(seed=0)
        with record(**watch(gan)) as rec:
            STRATEGIES[key].step(gan, real, noise)
        assert counts(rec) == received, key


def test_the_source_is_the_line_as_written(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        loss = BCE(D(G(noise)), ONES)
        loss.backward(
            retain_graph=True,
        )
        torch.autograd.backward(loss)  # a comment
    first, second = rec.backward_calls
    assert first.source == "loss.backward(\n    retain_graph=True,\n)"
    assert first.retain_graph
    assert not second.retain_graph
    assert second.source == "torch.autograd.backward(loss)"
    assert rec.events[0].line.text == "loss = BCE(D(G(noise)), ONES)"
    assert rec.events[0].line.function == "test_the_source_is_the_line_as_written"
    assert set(rec.graph.outputs.values()) == {"loss"}


def test_code_without_source_is_recorded_all_the_same(gan: Gan, noise: Tensor) -> None:
    scope = {"G": gan.generator, "noise": noise}
    with record(**watch(gan)) as rec:
        exec("G(noise).sum().backward()", scope)
    assert rec.backward_calls[0].source == ""
    assert counts(rec) == [(4, 0)]


def test_backward_by_any_name(gan: Gan, real: Tensor) -> None:
    from torch.autograd import backward  # bypasses a patch of torch.autograd.backward

    D = gan.discriminator
    with record(**watch(gan)) as rec:
        backward([D(real).sum(), D(real).mean()])
    assert counts(rec) == [(0, 4)]
    assert rec.backward_calls[0].forwards == (0, 1)


def test_a_parameter_frozen_after_its_forward_receives_nothing(gan: Gan, real: Tensor) -> None:
    D = gan.discriminator
    with record(**watch(gan)) as rec:
        loss = BCE(D(real), ONES)
        loss.backward(retain_graph=True)
        kept = [p.grad.clone() for p in D.parameters() if p.grad is not None]
        D.requires_grad_(False)
        loss.backward()  # computed, and thrown away: the old gradient stays as it is
    assert all(p.grad is not None for p in D.parameters())
    assert all(
        p.grad.equal(g) for p, g in zip(D.parameters(), kept, strict=True) if p.grad is not None
    )
    assert counts(rec) == [(0, 4), (0, 0)]
    assert rec.events[-1].grads["D"][W].sources == (0,)


def test_inputs_restrict_who_receives(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        prediction = D(G(noise))
        BCE(prediction, ZEROS).backward(retain_graph=True, inputs=list(D.parameters()))
        BCE(prediction, ONES).backward(inputs=list(G.parameters()))
    assert counts(rec) == [(0, 4), (4, 0)]
    assert all(c.restricted for c in rec.backward_calls)
    # The first walks D alone; the second has to go through D to reach G.
    assert [c.forwards for c in rec.backward_calls] == [(1,), (0, 1)]


def test_autograd_grad_is_an_event_but_no_backward_call(gan: Gan, real: Tensor) -> None:
    D = gan.discriminator
    with record(**watch(gan)) as rec:
        torch.autograd.grad(D(real).sum(), list(D.parameters()))
    assert kinds(rec) == ["forward", "grad"]
    assert rec.backward_calls == []
    assert all(s.value is None for s in rec.events[-1].grads["D"].values())


def test_gradient_penalty_with_create_graph(gan: Gan, real: Tensor, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        mixed = ((real + G(noise).detach()) / 2).requires_grad_()
        (slope,) = torch.autograd.grad(D(mixed).sum(), mixed, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        (BCE(D(real), ONES) + penalty).backward()
        gan.optimizer_d.step()
    assert counts(rec) == [(0, 4)]
    # One cut: from what G made to the leaf that the penalty differentiates by.
    (cut,) = rec.graph.cuts
    assert rec.graph.nodes[cut.source].net == "G"
    assert rec.graph.nodes[cut.target].op == "AccumulateGrad"
    assert rec.events[-1].grads["D"][W].used_by == rec.events[-1].index


def test_accumulation_and_both_ways_to_clear(gan: Gan, real: Tensor) -> None:
    D, opt = gan.discriminator, gan.optimizer_d
    with record(**watch(gan)) as rec:
        for _ in range(2):
            BCE(D(real), ONES).backward()
        opt.zero_grad(set_to_none=False)
        BCE(D(real), ONES).backward()
        opt.zero_grad()
    states = [e.grads["D"][W] for e in rec.events if e.kind != "forward"]
    assert [s.sources for s in states] == [(0,), (0, 1), (), (2,), ()]
    assert states[1].value == pytest.approx(2 * number(states[0].value), rel=1e-5)
    assert states[2].value == 0.0
    assert states[4].value is None
    assert all(s.used_by is None for s in states)  # no optimizer ever stepped


def test_used_by_tells_what_was_in_vain(gan: Gan, real: Tensor, noise: Tensor) -> None:
    with record(**watch(gan)) as rec:
        STRATEGIES["retain_graph"].step(gan, real, noise)
    first, second = [e for e in rec.events if e.kind == "backward"]
    step_d, step_g = [e for e in rec.events if e.kind == "step"]
    assert {s.used_by for s in first.grads["D"].values()} == {step_d.index}
    assert {s.used_by for s in first.grads["G"].values()} == {None}
    assert {s.used_by for s in second.grads["G"].values()} == {step_g.index}
    assert {s.used_by for s in second.grads["D"].values()} == {None}
    # D's gradient was put aside and back: at D's step it is the first call's again.
    assert {s.sources for s in step_d.grads["D"].values()} == {(0,)}


def test_a_copy_put_back_keeps_its_sources(gan: Gan, real: Tensor) -> None:
    D = gan.discriminator
    with record(**watch(gan)) as rec:
        BCE(D(real), ONES).backward()
        stash = [p.grad.clone() for p in D.parameters() if p.grad is not None]
        D.zero_grad()
        BCE(D(real), ZEROS).backward()
        for p, g in zip(D.parameters(), stash, strict=True):
            p.grad = g
        gan.optimizer_d.step()
    assert {s.sources for s in rec.events[-1].grads["D"].values()} == {(0,)}


def test_gradients_written_by_hand_and_clipped(gan: Gan, real: Tensor) -> None:
    D, opt = gan.discriminator, gan.optimizer_d
    with record(**watch(gan)) as rec:
        grads = torch.autograd.grad(BCE(D(real), ONES), list(D.parameters()))
        for p, g in zip(D.parameters(), grads, strict=True):
            p.grad = g
        opt.step()
        opt.zero_grad()
        BCE(D(real), ONES).backward()
        nn.utils.clip_grad_norm_(D.parameters(), 1e-3)
        opt.step()
    by_hand, clipped = [e.grads["D"][W] for e in rec.events if e.kind == "step"]
    assert by_hand.by_hand
    assert by_hand.sources == ()
    assert by_hand.used_by is not None
    assert clipped.sources == (0,)
    assert not clipped.by_hand
    assert number(clipped.value) < 1e-3


def test_a_gradient_from_before_the_recording(gan: Gan, real: Tensor) -> None:
    D, opt = gan.discriminator, gan.optimizer_d
    BCE(D(real), ONES).backward()
    with record(**watch(gan)) as rec:
        BCE(D(real), ONES).backward()  # nobody cleared
        opt.step()
        opt.zero_grad()
    first, added, _, cleared = [e.grads["D"][W] for e in rec.events]
    assert (first.before, first.by_hand, first.sources) == (True, False, ())
    assert (added.before, added.sources, added.used_by) == (True, (0,), 2)
    assert (cleared.before, cleared.value) == (False, None)
    assert "⊕" in str(rec)
    assert "(before+0)" in str(rec)


def test_frozen_and_thawed_inside_the_step(gan: Gan, real: Tensor, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    D.requires_grad_(False)
    with record(**watch(gan)) as rec:
        BCE(D(G(noise)), ONES).backward()
        D.requires_grad_(True)
        BCE(D(real), ONES).backward()
    assert counts(rec) == [(4, 0), (0, 4)]


def test_shared_parameters_are_told_under_both_nets(noise: Tensor) -> None:
    shared = nn.Linear(2, 2)
    nets = {"G": nn.Sequential(shared), "D": nn.Sequential(shared, nn.Linear(2, 1), nn.Sigmoid())}
    with record(nets) as rec:
        BCE(nets["D"](nets["G"](noise)), ONES).backward()
    received = rec.backward_calls[0].received
    assert received["G"] == ("0.weight", "0.bias")
    assert received["D"] == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert rec.events[-1].grads["G"]["0.weight"] == rec.events[-1].grads["D"]["0.weight"]


def test_a_third_net_and_an_optimizer_nobody_named(gan: Gan, noise: Tensor) -> None:
    encoder = nn.Linear(2, 2)
    opt = torch.optim.RMSprop(encoder.parameters())
    with record({**watch(gan)["nets"], "E": encoder}) as rec:
        gan.discriminator(gan.generator(encoder(noise))).sum().backward()
        opt.step()
        opt.zero_grad()
    assert len(rec.backward_calls[0].received["E"]) == 2
    assert [(e.kind, e.target) for e in rec.events[-2:]] == [
        ("step", "RMSprop"),
        ("zero_grad", "RMSprop"),
    ]
    assert rec.holds["RMSprop"] == {"E": ("weight", "bias")}


# LBFGS of torch 2.8 makes a number of its closure's loss with gradients on, newer ones do not.
@pytest.mark.filterwarnings(
    "ignore:Converting a tensor with requires_grad=True:UserWarning:torch.optim.lbfgs"
)
def test_a_closure_that_runs_backward_inside_step(gan: Gan, real: Tensor) -> None:
    D = gan.discriminator
    opt = torch.optim.LBFGS(D.parameters(), max_iter=2)

    def closure() -> Tensor:
        opt.zero_grad()
        loss = BCE(D(real), ONES)
        loss.backward()
        return loss

    with record({"D": D}, {"D": opt}) as rec:
        opt.step(closure)
    assert len(rec.backward_calls) >= 2
    assert rec.events[-1].kind == "step"
    last = len(rec.backward_calls) - 1
    assert {s.sources for s in rec.events[-1].grads["D"].values()} == {(last,)}


def test_an_optimizer_that_steps_inside_backward(gan: Gan, real: Tensor) -> None:
    D = gan.discriminator
    optimizers = {p: torch.optim.SGD([p], 0.1) for p in D.parameters()}

    def update(parameter: Any) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(update)
    with record({"D": D}) as rec:
        BCE(D(real), ONES).backward()
    assert len(rec.backward_calls[0].received["D"]) == 4
    assert kinds(rec).count("step") == 4


def test_checkpointing_is_left_alone(noise: Tensor) -> None:
    for reentrant in (False, True):
        gan = tiny_gan(seed=0)
        G, D = gan.generator, nn.Sequential(nn.BatchNorm1d(2), gan.discriminator)
        with record({"G": G, "D": D}) as rec:
            prediction = checkpoint(D, G(noise), use_reentrant=reentrant)
            BCE(prediction, ONES).backward()
        # Reading saved tensors would rerun the forward: 2 is what checkpointing itself needs.
        assert D[0].num_batches_tracked == 2
        assert counts(rec) == [(4, 6)]
        if not reentrant:
            states = set(rec.events[1].states.values())
            assert "unknown" in states
            assert not rec.events[1].held.complete
        else:  # the forward that backward ran again is told as such
            assert rec.forwards[2].during == 0
            assert 2 in rec.backward_calls[0].forwards


def test_saved_tensor_hooks_are_never_run(gan: Gan, noise: Tensor) -> None:
    unpacked = []

    def unpack(x: Tensor) -> Tensor:
        unpacked.append(x)
        return x

    with record(**watch(gan)) as rec:
        with torch.autograd.graph.saved_tensors_hooks(lambda x: x, unpack):
            prediction = gan.discriminator(gan.generator(noise))
        assert unpacked == []
        BCE(prediction, ONES).backward()
        expected = len(unpacked)
        gan.optimizer_g.step()
    assert expected == len(unpacked) > 0
    assert rec.events[0].held.complete is False


def test_weights_that_each_gradient_saw(real: Tensor, noise: Tensor) -> None:
    """S2: G learns from the new D. S3: both learn from the old ones."""
    seen = {}
    for key in ("detach", "generator_first"):
        gan = tiny_gan(seed=0)
        with record(**watch(gan)) as rec:
            STRATEGIES[key].step(gan, real, noise)
        seen[key] = [
            [(rec.forwards[f].net, rec.forwards[f].weights) for f in call.forwards]
            for call in rec.backward_calls
        ]
    assert seen["detach"] == [[("D", 0), ("D", 0)], [("G", 0), ("D", 1)]]
    assert seen["generator_first"] == [[("G", 0), ("D", 0)], [("D", 0), ("D", 0)]]


def test_modes_and_scaler(gan: Gan, real: Tensor) -> None:
    """GradScaler multiplies gradients in place and may leave out a step."""
    D = gan.discriminator
    opt = torch.optim.Adam(D.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    D.eval()
    with record({"D": D}, {"D": opt}) as rec:
        scaler.scale(BCE(D(real), ONES)).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        scaler.scale(BCE(D(real), ONES) * float("inf")).backward()
        scaler.step(opt)
    assert not rec.forwards[0].training
    assert kinds(rec).count("step") == 1
    step = next(e for e in rec.events if e.kind == "step")
    assert {s.sources for s in step.grads["D"].values()} == {(0,)}


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo's, also without us
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python:RuntimeWarning")  # on 3.13.0
@pytest.mark.parametrize("in_place", [False, True], ids=["torch.compile", "net.compile"])
def test_a_compiled_net_is_compiled_as_without_us(gan: Gan, noise: Tensor, in_place: bool) -> None:
    G, D = gan.generator, gan.discriminator
    compiled: Any = D
    if in_place:
        D.compile(backend="aot_eager")
    else:
        compiled = torch.compile(D, backend="aot_eager")
    with record({"G": G, "D": compiled}) as rec:
        BCE(compiled(G(noise)), ONES).backward()
    assert counts(rec) == [(4, 4)]
    ops = [n.op for n in rec.graph.nodes.values()]
    assert ops.count("CompiledFunctionBackward") == 1  # one graph: nothing broke it


def test_only_the_thread_that_records(gan: Gan, real: Tensor) -> None:
    other = nn.Linear(2, 1)
    with record({"D": gan.discriminator, "other": other}) as rec:
        thread = threading.Thread(target=lambda: other(real).sum().backward())
        thread.start()
        thread.join()
    assert rec.events == []


# What hostile trials found ---------------------------------------------------------------------


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0].cos()


def test_a_custom_function_under_hooks_is_never_read(real: Tensor) -> None:
    """It is invisible when it runs, so nobody knows whether hooks were active."""
    store: dict[int, Tensor] = {}

    def pack(x: Tensor) -> int:
        store[len(store)] = x
        return len(store) - 1

    layer = nn.Linear(2, 2)
    with record({"D": layer}) as rec:
        hidden = layer(real)
        with torch.autograd.graph.saved_tensors_hooks(pack, store.pop):  # each can be had once
            y: Any = Sine.apply(hidden)
        (y * 2).sum().backward()
    assert len(rec.backward_calls[0].received["D"]) == 2
    norm = nn.BatchNorm1d(2)
    with record({"D": norm}):
        (checkpoint(lambda x: Sine.apply(norm(x)), real, use_reentrant=False) * 2).sum().backward()
    assert norm.num_batches_tracked == 2  # forward and recomputation, no third


def test_zeroing_through_data_is_seen(gan: Gan, real: Tensor) -> None:
    D = gan.discriminator
    with record(**watch(gan)) as rec:
        for _ in range(2):
            BCE(D(real), ONES).backward()
            for p in D.parameters():
                assert p.grad is not None
                p.grad.data.zero_()  # the version counter does not move
    backwards = [e for e in rec.events if e.kind == "backward"]
    assert [e.grads["D"][W].sources for e in backwards] == [(0,), (1,)]


def _into(grad: Tensor, values: Tensor) -> None:
    grad.data = values


MEMORY: dict[str, Callable[[nn.Parameter], Callable[[], object]]] = {
    "data": lambda p: lambda: cast(Tensor, p.grad).data.zero_(),
    "an alias made before": lambda p: cast(Tensor, p.grad).data.zero_,
    "numpy": lambda p: lambda: cast(Tensor, p.grad).numpy().fill(0),
    "an array made before": lambda p: functools.partial(cast(Tensor, p.grad).numpy().fill, 0),
    "storage": lambda p: lambda: cast(Any, p.grad).untyped_storage().fill_(0),
    "exchanged": lambda p: lambda: _into(cast(Tensor, p.grad), torch.zeros_like(p)),
}


@pytest.mark.parametrize("how", MEMORY)
@pytest.mark.parametrize("before", [True, False], ids=["before", "inside"])
def test_what_torch_does_not_count_is_seen(gan: Gan, real: Tensor, how: str, before: bool) -> None:
    """Gradients are measured anew where others hold their memory, or have asked for it."""
    D = gan.discriminator
    weight = dict(D.named_parameters())[W]
    if before:  # the recording finds the gradient, and perhaps an alias
        D(real).sum().backward()
        write = MEMORY[how](weight)
    with record(**watch(gan)) as rec:
        if not before:
            D(real).sum().backward()
            write = MEMORY[how](weight)
        D(real)
        write()
        D(real)
    assert number(rec.events[-2].grads["D"][W].value) > 0
    assert rec.events[-1].grads["D"][W].value == 0.0


def test_gradients_in_memory_from_outside_are_watched(gan: Gan, real: Tensor) -> None:
    weight = dict(gan.discriminator.named_parameters())[W]
    array = np.ones(tuple(weight.shape), np.float32)
    flat = torch.ones(weight.numel())
    with record(**watch(gan)) as rec:
        weight.grad = torch.from_numpy(array)
        gan.discriminator(real)
        array.fill(2)
        gan.discriminator(real)
        weight.grad = flat.data.view_as(weight)
        flat.mul_(3)
        gan.discriminator(real)
    one = weight.numel() ** 0.5
    values = [number(e.grads["D"][W].value) for e in rec.events]
    assert values == pytest.approx([one, 2 * one, 3 * one])


def test_a_step_finds_what_nobody_could_see_written(gan: Gan, real: Tensor) -> None:
    """As by the kernels of an extension: no torch function, no version."""
    weight = dict(gan.discriminator.named_parameters())[W]
    with record(**watch(gan)) as rec:
        BCE(gan.discriminator(real), ONES).backward()
        grad = cast(Tensor, weight.grad)
        with torch._C.DisableTorchFunction():
            ctypes.memset(grad.data_ptr(), 0, grad.nbytes)
        gan.optimizer_d.step()
    assert rec.events[-1].kind == "step"
    assert rec.events[-1].grads["D"][W].value == 0.0


def test_what_has_not_changed_is_not_measured_again(
    gan: Gan, real: Tensor, noise: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    measured = gradients.measured

    def counts_them(tensors: Any) -> Any:
        counted.append(len(tensors))
        return measured(tensors)

    monkeypatch.setattr(gradients, "measured", counts_them)
    with record(**watch(gan)) as rec:
        STRATEGIES["detach"].step(gan, real, noise)
    # The weights; D's gradients after its backward and before its step; D's and G's; G's.
    assert [n for n in counted if n] == [8, 4, 4, 8, 4]
    assert len(rec.events) == 10


def test_a_gradient_by_hand_that_only_looks_like_an_old_one(real: Tensor) -> None:
    D = nn.Linear(2, 1)  # the gradient of the bias of a mean is always 1
    opt = torch.optim.SGD(D.parameters(), 0.1)
    with record({"D": D}, {"D": opt}) as rec:
        D(real).mean().backward()
        opt.step()
        opt.zero_grad()
        grads = torch.autograd.grad(D(real + 1).mean(), list(D.parameters()))
        for p, g in zip(D.parameters(), grads, strict=True):
            p.grad = g
        opt.step()
    last = rec.events[-1]
    assert {(s.by_hand, s.sources, s.used_by) for s in last.grads["D"].values()} == {
        (True, (), last.index)
    }


def test_a_hook_that_clears_after_the_step_hides_no_use(gan: Gan, real: Tensor) -> None:
    gan.optimizer_d.register_step_post_hook(lambda opt, *_: opt.zero_grad())
    with record(**watch(gan)) as rec:
        BCE(gan.discriminator(real), ONES).backward()
        gan.optimizer_d.step()
    step = next(e for e in rec.events if e.kind == "step")
    assert rec.events[1].grads["D"][W].used_by == step.index


def test_only_a_step_is_blamed_for_rewriting(gan: Gan, real: Tensor) -> None:
    def code() -> None:
        loss = gan.discriminator(real.requires_grad_()).mean()
        with torch.no_grad():
            for p in gan.discriminator.parameters():
                p.clamp_(-0.01, 0.01)
        gan.optimizer_g.zero_grad()
        loss.backward()

    text = explained(fails(gan, code))
    assert "zero_grad" not in text
    assert "no optimizer step" in text


def test_unnamed_optimizers_and_late_groups_are_told_apart(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    opts = [torch.optim.Adam(net.parameters()) for net in (G, D)]
    late = torch.optim.SGD(D.parameters(), 0.1)
    with record(gan.nets, {"late": late}) as rec:
        D(G(noise)).mean().backward()
        late.add_param_group({"params": G.parameters()})
        for opt in (*opts, late):
            opt.step()
    assert [e.target for e in rec.events if e.kind == "step"] == ["Adam", "Adam 2", "late"]
    assert list(rec.holds["Adam"]) == ["G"]
    assert list(rec.holds["Adam 2"]) == ["D"]
    assert list(rec.holds["late"]) == ["G", "D"]


def test_unusual_parameters_do_not_stop_the_code(real: Tensor) -> None:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(2, 2, dtype=torch.cfloat))

        def forward(self, x: Tensor) -> Tensor:
            return (x.to(torch.cfloat) @ self.w).abs()

    with torch.inference_mode():
        still = nn.Linear(2, 2)
    computed: Any = nn.Linear(2, 2)
    computed.register_parameter("w", nn.Parameter(torch.zeros(2, 2), requires_grad=False))
    computed.w.copy_(computed.weight * 2)  # no leaf any more
    nets = {
        "complex": Complex(),
        "meta": nn.Linear(2, 1, device="meta"),
        "inference": still,
        "computed": computed,
        "lazy": nn.LazyLinear(3),
    }
    with record(nets) as rec:
        optimizer = torch.optim.Adam(nets["complex"].parameters())
        nets["complex"](real).sum().backward()
        optimizer.step()
        nets["meta"](torch.randn(4, 2, device="meta")).sum().backward()
        nets["lazy"](real @ computed.w).sum().backward()
    assert [sum(map(len, c.received.values())) for c in rec.backward_calls] == [1, 2, 3]
    assert rec.parameters["lazy"] == {"weight": (3, 2), "bias": (3,)}


def test_callables_without_a_name_may_be_torch_functions(gan: Gan, real: Tensor) -> None:
    class Double:
        def __call__(self, x: Tensor) -> Tensor:
            if torch.overrides.has_torch_function((x,)):
                return torch.overrides.handle_torch_function(self, (x,), x)
            return x * 2

    with record(**watch(gan)) as rec:
        gan.discriminator(Double()(real)).mean().backward()
    assert counts(rec) == [(0, 4)]


def test_a_cut_is_seen_through_attributes_and_buffers(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        D(G(noise).detach().mT.mT)
        buffer = torch.zeros(8, 2)
        buffer[:] = G(noise).detach()
        D(buffer)
    assert len(rec.graph.cuts) == 2


def test_inputs_by_keyword_are_inputs(real: Tensor) -> None:
    net = nn.Linear(2, 1)
    with record({"D": net}) as rec:
        y = net(input=real)
    assert (rec.events[0].held.inputs, rec.events[0].held.activations) == (8 * 2 * 4, 0)
    assert y.requires_grad


def test_recordings_that_end_in_any_order_leave_nothing(gan: Gan, noise: Tensor) -> None:
    before = _attached()

    def recording(net: nn.Module) -> Any:
        with record({"net": net}):
            for _ in range(2):
                yield net(noise).mean().backward()

    first, second = recording(gan.generator), recording(gan.discriminator)
    for generator in (first, second, first, second):
        next(generator, None)
    for generator in (first, second):
        list(generator)
    assert _attached() == before


def test_a_copy_keeps_the_hooks_that_were_its_own(gan: Gan) -> None:
    gan.generator.register_forward_hook(_own_hook, always_call=True)
    with record(**watch(gan)):
        average = copy.deepcopy(gan.generator)
    assert list(average._forward_hooks.values()) == [_own_hook]
    assert len(average._forward_hooks_always_called) == 1


def _own_hook(*_: Any) -> None:
    pass


# The graph ------------------------------------------------------------------------------------


def test_owners_cuts_and_states_of_the_graph(gan: Gan, real: Tensor, noise: Tensor) -> None:
    with record(**watch(gan)) as rec:
        STRATEGIES["detach"].step(gan, real, noise)
    nodes = rec.graph.nodes
    (cut,) = rec.graph.cuts
    assert nodes[cut.source].net == "G"
    assert nodes[cut.target].net == "D"
    assert cut.how == "detach()"
    assert {n.net for n in nodes.values() if "CrossEntropy" in n.op} == {None}
    parameters = {(n.net, n.parameter) for n in nodes.values() if n.parameter}
    assert parameters == {(net, p) for net in rec.parameters for p in rec.parameters[net]}
    first_backward = next(e for e in rec.events if e.kind == "backward")
    of_d = [i for i, n in nodes.items() if n.net == "D" and n.forward in (1, 2)]
    saved = [first_backward.states[i] for i in of_d if i in first_backward.states]
    assert "freed" in saved
    assert "held" not in saved
    of_g = [i for i, n in nodes.items() if n.net == "G" and n.parameter is None]
    assert "held" in [first_backward.states[i] for i in of_g]


def test_stale_after_the_step_that_rewrites(gan: Gan, noise: Tensor) -> None:
    with record(**watch(gan)) as rec:
        loss = BCE(gan.discriminator(gan.generator(noise)), ONES)
        loss.backward(retain_graph=True)
        gan.optimizer_d.step()
    stale = [i for i, s in rec.events[-1].states.items() if s == "stale"]
    assert stale
    assert {rec.graph.nodes[i].net for i in stale} == {"D"}
    assert "stale" not in rec.events[-2].states.values()
    # They cannot be read any more, but they are held as before.
    assert rec.events[-1].held == rec.events[-2].held


def test_a_cut_is_seen_through_views_and_arithmetic(gan: Gan, real: Tensor, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        fake = G(noise)
        D(torch.cat([real, fake.detach().view(-1, 2) + 0.0]))
        D(fake.data)
    assert [c.how for c in rec.graph.cuts] == ["detach()", ".data"]
    assert {rec.graph.nodes[c.target].net for c in rec.graph.cuts} == {"D"}


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_cut_ends_at_the_leaf_that_was_made_of_it(
    gan: Gan, noise: Tensor, checkpointed: bool
) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        x = G(noise).detach().requires_grad_()
        (checkpoint(D, x, use_reentrant=False) if checkpointed else D(x)).sum().backward()
    (cut,) = rec.graph.cuts
    target = rec.graph.nodes[cut.target]
    assert (target.op, target.net, target.parameter) == ("AccumulateGrad", None, None)
    assert target.shape == tuple(x.shape)


def test_bytes_held_are_those_of_the_saved_tensors() -> None:
    """One Linear and one Tanh, by hand: the input, the weight, and tanh's output are kept."""
    net = nn.Sequential(nn.Linear(5, 3), nn.Tanh())
    x = torch.randn(7, 5)
    with record({"N": net}) as rec:
        y = net(x)
        y.sum().backward()
    before = rec.events[0].held
    assert before.activations == 7 * 3 * 4  # tanh's output, float32
    assert before.inputs == 7 * 5 * 4
    # The input needs no gradient, so nothing will ever need the weight.
    assert before.parameters == 0
    assert rec.events[-1].held.total == 0
    assert rec.backward_calls[0].held_before.activations == 7 * 3 * 4


def test_a_weight_that_is_held_counts_as_a_parameter() -> None:
    """The second layer's input needs a gradient, for which its weight is kept; the first's not."""
    net = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2))
    with record({"N": net}) as rec:
        _ = net(torch.randn(7, 5))
    held = rec.events[0].held
    assert (held.parameters, held.activations, held.inputs) == (2 * 3 * 4, 7 * 3 * 4, 7 * 5 * 4)

    frozen = nn.Linear(5, 3).requires_grad_(False)  # no gradient of it, and so no input is kept
    with record({"N": frozen}) as rec:
        _ = frozen(torch.randn(7, 5, requires_grad=True))
    held = rec.events[0].held
    assert (held.parameters, held.activations, held.inputs) == (3 * 5 * 4, 0, 0)


def test_saved_activations_peak_as_measured_on_the_dcgan_pair() -> None:
    """S1 and S2 tie, S3 peaks lower: it frees G's graph before D's second one is built."""
    peaks = {}
    for key in THREE:
        gan = dcgan(width=8, size=16)
        real, noise = _batch(gan, 4)
        with record(**watch(gan)) as rec:
            STRATEGIES[key].step(gan, real, noise)
        peaks[key] = rec.peak.activations
    assert peaks["retain_graph"] == peaks["detach"] > peaks["generator_first"]


def _batch(gan: Gan, n: int) -> tuple[Tensor, Tensor]:
    g, d = cast(ShapedModule, gan.generator), cast(ShapedModule, gan.discriminator)
    return torch.rand(n, *d.in_shape) * 2 - 1, torch.randn(n, *g.in_shape)


# Errors, in plain words -----------------------------------------------------------------------


def explained(rec: Record) -> str:
    assert rec.explanation is not None
    return rec.explanation


def fails(gan: Gan, code: Callable[[], object]) -> Record:
    with pytest.raises(RuntimeError), record(**watch(gan)) as rec:
        code()
    assert rec.complete
    assert rec.events[-1].kind == "error"
    assert [e.kind for e in rec.events].count("error") == 1  # told once, though it passes twice
    return rec


def test_in_place_error_names_line_tensor_and_mover(gan: Gan, real: Tensor, noise: Tensor) -> None:
    from gan_lessons.published import retain_graph_as_printed

    rec = fails(gan, lambda: retain_graph_as_printed(gan, real, noise))
    text = explained(rec)
    last = max(k for k in rec.parameters["D"] if k.endswith("weight"))
    for part in ("`g_loss.backward()`", f"D's parameter {last}", "`opt_d.step()`", "rewritten"):
        assert part in text
    assert str(rec.backward_calls[1].error).startswith("one of the variables needed for gradient")
    assert counts(rec)[1] == (0, 0)


def test_in_place_error_on_an_activation(gan: Gan, noise: Tensor) -> None:
    def code() -> None:
        y = torch.sigmoid(gan.generator(noise))
        y += 1
        y.sum().backward()

    text = explained(fails(gan, code))
    assert "in place" in text
    assert "`y += 1` has rewritten it" in text
    assert "SigmoidBackward0 saved (shape (" in text

    def inside() -> None:
        y = gan.discriminator(gan.generator(noise))
        y.mul_(2)
        y.sum().backward()

    text = explained(fails(gan, inside))
    assert "SigmoidBackward0" in text
    assert "y = gan.discriminator" in text
    assert "`y.mul_(2)` has rewritten it" in text


def test_second_backward_after_a_cut_warns_of_the_wrong_fix(
    gan: Gan, real: Tensor, noise: Tensor
) -> None:
    from gan_lessons.published import detach_as_printed

    text = explained(fails(gan, lambda: detach_as_printed(gan, real, noise)))
    for part in ("`g_loss.backward()`", "D's forward", "`d_loss.backward()`", "retain_graph=True"):
        assert part in text
    assert "no gradient would get past the cut" in text


def test_second_backward_through_the_old_generator(gan: Gan, real: Tensor, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator

    def code() -> None:
        fake = G(noise)
        BCE(D(fake), ONES).backward()
        gan.optimizer_g.step()
        d_loss = BCE(D(real), ONES) + BCE(D(fake), ZEROS)
        d_loss.backward()

    text = explained(fails(gan, code))
    assert "G's forward `fake = G(noise)`" in text
    assert "D's forward" not in text
    assert ".detach()" in text


def test_second_backward_on_one_loss(gan: Gan, real: Tensor) -> None:
    def code() -> None:
        loss = BCE(gan.discriminator(real), ONES)
        loss.backward()
        loss.backward()

    text = explained(fails(gan, code))
    assert "Run the forward again for this loss" in text
    assert "sum of the losses" not in text  # in a game that is neither player's loss


def test_no_graph(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    D.requires_grad_(False)

    def cut() -> None:
        BCE(D(G(noise).detach()), ONES).backward()

    text = explained(fails(gan, cut))
    assert "has no graph" in text
    assert "detach()" in text

    def frozen() -> None:
        BCE(D(noise), ONES).backward()

    assert "every parameter of D is frozen" in explained(fails(gan, frozen))

    def no_grad() -> None:
        with torch.no_grad():
            loss = BCE(D(G(noise)), ONES)
        loss.backward()

    assert "has no graph" in explained(fails(gan, no_grad))


def test_an_error_of_another_kind_goes_on_unexplained(gan: Gan) -> None:
    rec = fails(gan, lambda: gan.discriminator(torch.randn(3, 7)))
    assert rec.explanation is None
    assert str(rec.events[-1].message).startswith(("RuntimeError", "ValueError"))
    assert rec.events[-1].line.function == "forward"  # innermost line that is not torch's


def test_an_error_that_the_code_catches(gan: Gan, real: Tensor) -> None:
    with record(**watch(gan)) as rec:
        loss = gan.discriminator(real).sum()
        loss.backward()
        with pytest.raises(RuntimeError):
            loss.backward()
        gan.discriminator(real).sum().backward()
    assert kinds(rec) == ["forward", "backward", "error", "forward", "backward"]
    assert [c.error is None for c in rec.backward_calls] == [True, False, True]


# Nothing is changed, nothing stays ------------------------------------------------------------


def _everything(gan: Gan) -> list[Tensor]:
    nets = (gan.generator, gan.discriminator)
    tensors = [t for net in nets for t in (*net.parameters(), *net.buffers())]
    tensors += [p.grad for net in nets for p in net.parameters() if p.grad is not None]
    for opt in (gan.optimizer_g, gan.optimizer_d):
        tensors += [v for s in opt.state.values() for v in s.values() if isinstance(v, Tensor)]
    return [*tensors, torch.get_rng_state()]


@pytest.mark.parametrize("key", STRATEGIES)
@pytest.mark.parametrize("make", [mlp_gan, lambda seed: dcgan(width=8, size=16, seed=seed)])
def test_recording_changes_no_bit(key: str, make: Callable[..., Gan]) -> None:
    results = []
    for recorded in (False, True):
        gan = make(seed=5)
        gan.discriminator.train(key != "one_stage")  # in train mode its BatchNorm mixes samples
        torch.manual_seed(11)
        real, noise = _batch(gan, 4)
        gan.discriminator.add_module("drop", nn.Dropout(0.0))
        for _ in range(2):
            if recorded:
                with record(**watch(gan)):
                    STRATEGIES[key].step(gan, real, noise)
            else:
                STRATEGIES[key].step(gan, real, noise)
        results.append(_everything(gan))
    plain, watched = results
    assert len(plain) == len(watched)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def _attached() -> tuple[object, ...]:
    return (
        torch.autograd._engine_run_backward,
        torch.optim.Optimizer.zero_grad,
        nn.Module.zero_grad,
        len(OPTIMIZER._global_optimizer_post_hooks),
        len(OPTIMIZER._global_optimizer_pre_hooks),
        torch.overrides._get_current_function_mode(),
    )


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_nothing_stays_behind(gan: Gan, noise: Tensor, error: type[BaseException] | None) -> None:
    G, D = gan.generator, gan.discriminator
    before = _attached()
    try:
        with record(**watch(gan)) as rec:
            loss = BCE(D(G(noise)), ONES)
            loss.backward(retain_graph=True)
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt):
        assert rec.events[-1].kind == "error"
    assert _attached() == before
    for net in (G, D):
        assert not net._forward_hooks
        assert not net._forward_pre_hooks
        assert all(not p._post_accumulate_grad_hooks for p in net.parameters())
    node, nodes = loss.grad_fn, 0
    while node is not None:
        assert not [k for k in node.metadata if str(k).startswith("gan_lessons")]
        node, nodes = (node.next_functions or [(None, 0)])[0][0], nodes + 1
    assert nodes > 2


def test_no_graph_tensor_or_net_is_kept_alive(noise: Tensor) -> None:
    gan = tiny_gan(seed=0)
    with record(**watch(gan)) as rec:
        fake = gan.generator(noise)
        inside = weakref.ref(fake)
        loss = BCE(gan.discriminator(fake), ONES)
        loss.backward(retain_graph=True)
        del fake, loss
        assert inside() is None  # not even while recording
    net = weakref.ref(gan.discriminator)
    del gan
    gc.collect()
    assert net() is None
    assert pickle.loads(pickle.dumps(rec)).backward_calls == rec.backward_calls


def test_copies_and_pickles_made_inside_carry_nothing(gan: Gan, noise: Tensor) -> None:
    with record(**watch(gan)) as rec:
        average = copy.deepcopy(gan.generator)
        average(noise).sum().backward()
        average.zero_grad()
        again = pickle.loads(pickle.dumps(gan.generator))
        again(noise)
    assert kinds(rec) == ["backward"]
    assert counts(rec) == [(0, 0)]
    assert not average._forward_hooks
    assert not average._forward_pre_hooks


def test_nested_and_used_twice(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record({"G": G}) as outer:
        with record({"D": D, "G": G}) as inner:
            BCE(D(G(noise)), ONES).backward()
        with record({"D": D}) as again:
            D(G(noise)).sum().backward()
    assert [len(c.received["G"]) for c in outer.backward_calls] == [4, 4]
    assert [counts(inner), len(inner.backward_calls)] == [[(4, 4)], 1]
    assert [len(c.received["D"]) for c in again.backward_calls] == [4]


def test_functional_call_on_copies_of_the_weights(gan: Gan, noise: Tensor) -> None:
    G, D = gan.generator, gan.discriminator
    with record(**watch(gan)) as rec:
        weights = {k: v.clone() for k, v in D.named_parameters()}
        prediction = functional_call(D, weights, (G(noise),))
        BCE(prediction, ZEROS).backward(retain_graph=True)
        gan.optimizer_d.step()
        BCE(prediction, ONES).backward()
    assert counts(rec) == [(4, 4), (4, 4)]
    assert "stale" not in {s for e in rec.events for s in e.states.values()}


# Any pair of MLPs -----------------------------------------------------------------------------

widths = st.lists(st.integers(1, 5), min_size=0, max_size=3)


def _mlp(sizes: list[int], frozen: list[bool]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers += [nn.Linear(a, b, bias=i % 2 == 0), nn.Tanh()]
    net = nn.Sequential(*layers)
    for p, freeze in zip(net.parameters(), frozen, strict=False):
        p.requires_grad_(not freeze)
    return net


@settings(max_examples=40, deadline=None)
@given(
    g=widths,
    d=widths,
    frozen=st.lists(st.booleans(), min_size=12, max_size=12),
    detach=st.booleans(),
)
def test_received_agrees_with_autograd(
    g: list[int], d: list[int], frozen: list[bool], detach: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G, D = _mlp([2, *g, 3], frozen), _mlp([3, *d, 1], frozen[6:])
        noise = torch.randn(4, 2)
    named = {
        net: {k: p for k, p in module.named_parameters() if p.requires_grad}
        for net, module in (("G", G), ("D", D))
    }

    def loss() -> Tensor:
        fake = G(noise)
        return D(fake.detach() if detach else fake).sum()

    expected: dict[str, tuple[str, ...]] = {"G": (), "D": ()}
    norms = {}
    for net, parameters in named.items():
        if parameters and loss().requires_grad:
            grads = torch.autograd.grad(loss(), list(parameters.values()), allow_unused=True)
            told = {k: x for k, x in zip(parameters, grads, strict=True) if x is not None}
            expected[net] = tuple(told)
            norms[net] = {k: float(x.norm()) for k, x in told.items()}
    if not loss().requires_grad:
        return
    with record({"G": G, "D": D}) as rec:
        loss().backward()
    assert dict(rec.backward_calls[0].received) == expected
    if detach:
        assert expected["G"] == ()
    for net, of_net in norms.items():
        for name, norm in of_net.items():
            assert rec.events[-1].grads[net][name].value == pytest.approx(norm, rel=1e-6, abs=1e-9)


# Bad input ------------------------------------------------------------------------------------


def test_bad_input(gan: Gan) -> None:
    record: Any = observe  # wrong types on purpose
    with pytest.raises(TypeError, match="expected a dict of names"), record(gan.generator):
        pass
    with pytest.raises(TypeError, match="'D': SGD among its nets"), record({"D": gan.optimizer_d}):
        pass
    with pytest.raises(ValueError, match="name at least one"), record({}):
        pass
    with (
        pytest.raises(TypeError, match="among its optimizers"),
        record({"D": gan.discriminator}, {"D": gan.discriminator}),
    ):
        pass
    with record({"D": gan.discriminator}) as rec:
        pass
    with pytest.raises(IndexError, match="0 events"):
        rec.graph_at(0)
