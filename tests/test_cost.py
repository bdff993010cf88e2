"""What a step costs: counted and derived agree, and measuring changes nothing."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils import _python_dispatch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import (
    STRATEGIES,
    Gan,
    data,
    dcgan,
    explore,
    mlp_gan,
    published,
    step_detach,
    step_generator_first,
    step_one_stage,
    step_retain_graph,
)
from gan_lessons.classroom import check_step
from gan_lessons.classroom.explorer import totals
from gan_lessons.lens import cost as cost_room
from gan_lessons.lens import whatif as whatif_room
from gan_lessons.lens.cost import (
    PASSES,
    NetFlops,
    copied,
    cost,
    cost_all,
    counting,
    peak_allocated,
    step_flops,
    written_out,
)
from gan_lessons.lens.cost import memory as allocated
from gan_lessons.lens.whatif import Judge, what_if
from gan_lessons.models import Discriminator, Generator

REAL, NOISE = data.noise(8, (6,), seed=1), data.noise(8, (4,), seed=2)
ARTICLE = ("retain_graph", "detach", "generator_first")


def small_gan() -> Gan:
    return mlp_gan((6,), 4, (8, 5), (7, 9), seed=0)


# The leaner steps, written as plainly as can be: the formula knows them by name.


def losses_of(gan: Gan, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    pred_fake, pred_real = gan.discriminator(fake), gan.discriminator(real)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    d_loss = (gan.loss(pred_real, ones) + gan.loss(pred_fake, zeros)) / 2
    return d_loss, gan.loss(pred_fake, ones)


def frozen(gan: Gan, real: Tensor, noise: Tensor) -> None:
    gan.discriminator.requires_grad_(False)
    fake = gan.generator(noise)
    prediction = gan.discriminator(fake)
    gan.loss(prediction, torch.ones_like(prediction)).backward()
    gan.discriminator.requires_grad_(True)
    losses_of(gan, real, fake.detach())[0].backward()


def selective(gan: Gan, real: Tensor, noise: Tensor) -> None:
    d_loss, g_loss = losses_of(gan, real, gan.generator(noise))
    d_loss.backward(retain_graph=True, inputs=list(gan.discriminator.parameters()))
    g_loss.backward(inputs=list(gan.generator.parameters()))


def one_stage(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """One backward through D; its gradient at the fake, scaled by something, goes on into G."""
    fake = gan.generator(noise)
    leaf = fake.detach().requires_grad_()
    losses_of(gan, real, leaf)[0].backward()
    assert leaf.grad is not None
    fake.backward(2 * leaf.grad)


LEANER = {"frozen": frozen, "selective": selective, "one_stage": one_stage}
STEPS: dict[str, Callable[..., object]] = {name: STRATEGIES[name].step for name in ARTICLE}
STEPS |= LEANER


def total_by_torch(step: Callable[..., object], gan: Gan, *batch: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        step(copy.deepcopy(gan), *batch)
    return counter.get_total_flops()


# FLOPs: counted and derived -----------------------------------------------------------------------

SIZES = [
    (4, (6,), (8, 5), (7, 9), 8),
    (32, (1, 8, 8), (128, 128), (128, 128), 64),
    (32, (1, 8, 8), (64, 64), (512, 512), 16),
    (32, (1, 8, 8), (256,), (16, 16, 16), 5),
    (3, (2,), (), (), 1),
    (1, (1,), (1,), (1,), 1),
    (2, (3, 4), (), (10,), 7),
    (5, (3,), (20, 20, 20, 20), (), 2),
]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("noise_dim", "shape", "hidden_g", "hidden_d", "batch"), SIZES)
def test_counted_and_derived_flops_agree_exactly(name, noise_dim, shape, hidden_g, hidden_d, batch):
    gan = mlp_gan(shape, noise_dim, hidden_g, hidden_d)
    values = torch.Size(shape).numel()
    g = NetFlops.of((noise_dim, *hidden_g, values), batch)
    d = NetFlops.of((values, *hidden_d, 1), batch)
    real, noise = data.noise(batch, shape), data.noise(batch, (noise_dim,))
    with counting(gan.nets) as count:
        STEPS[name](gan, real, noise)
    assert sum(work.flops for work in count.work) == step_flops(name, g, d)
    of_g, of_d = (passes.flops(net) for passes, net in zip(PASSES[name], (g, d), strict=True))
    assert sum(work.flops for work in count.work if work.net == "G") == of_g
    assert sum(work.flops for work in count.work if work.net == "D") == of_d


def test_what_is_made_of_smaller_operations_is_counted_as_torch_counts_it():
    """Without autograd they come whole, and only their parts have a formula."""

    @torch.inference_mode()
    def work():
        x, w = torch.ones(3, 4), torch.ones(5, 4)
        nn.functional.linear(x, w)
        torch.einsum("ij,kj->ik", x, w).relu().sum()
        torch.matmul(x.expand(2, 3, 4), w.T)
        nn.functional.bilinear(x, x, torch.ones(2, 4, 4))
        nn.functional.conv2d(torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3))

    with FlopCounterMode(display=False) as torchs_own:
        work()
    with counting({}) as count:
        work()
    assert sum(w.flops for w in count.work) == torchs_own.get_total_flops() > 0


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_has_its_formula(name):
    """From the second step on: in its first, one-stage also tries whether D mixes samples."""
    gan, step = small_gan(), STRATEGIES[name].step
    step(gan, REAL, NOISE)
    g, d = NetFlops.of((4, 8, 5, 6), 8), NetFlops.of((6, 7, 9, 1), 8)
    with FlopCounterMode(display=False) as counter:
        step(gan, REAL, NOISE)
    assert counter.get_total_flops() == step_flops(name, g, d)
    assert cost(step, small_gan(), REAL, NOISE, repeat=0).flops == step_flops(name, g, d)


@settings(deadline=None, max_examples=25)
@given(
    hidden_g=st.lists(st.integers(1, 12), max_size=3),
    hidden_d=st.lists(st.integers(1, 12), max_size=3),
    values=st.integers(1, 9),
    batch=st.integers(1, 9),
)
def test_counted_and_derived_agree_for_nets_that_nobody_thought_of(
    hidden_g, hidden_d, values, batch
):
    gan = mlp_gan((values,), 3, hidden_g, hidden_d)
    g = NetFlops.of((3, *hidden_g, values), batch)
    d = NetFlops.of((values, *hidden_d, 1), batch)
    real, noise = data.noise(batch, (values,)), data.noise(batch, (3,))
    for name, step in STEPS.items():
        assert total_by_torch(step, gan, real, noise) == step_flops(name, g, d)


def test_the_difference_of_s1_and_s3_is_the_one_in_the_lesson():
    g, d = NetFlops(forward=1000, first=100), NetFlops(forward=5000, first=700)
    gap = step_flops("retain_graph", g, d) - step_flops("generator_first", g, d)
    assert gap == (2 * g.forward - g.first) - d.forward + d.first


def test_formulas_are_written_out():
    assert written_out("retain_graph") == "5 F_G - 2 I_G + 8 F_D - I_D"
    assert written_out("generator_first") == "3 F_G - I_G + 9 F_D - 2 I_D"
    assert written_out("one_stage") == "3 F_G - I_G + 6 F_D - I_D"
    with pytest.raises(KeyError, match=r"no formula for 'two_stage'; known: retain_graph"):
        written_out("two_stage")


@pytest.mark.parametrize(("sizes", "batch"), [((3,), 4), ((3, 0), 4), ((3, 2), 0)])
def test_net_flops_refuses(sizes, batch):
    with pytest.raises(ValueError, match="at least two layer sizes and a batch"):
        NetFlops.of(sizes, batch)


# Whose FLOPs --------------------------------------------------------------------------------------


def test_work_tells_net_phase_and_call():
    gan, b = small_gan(), 8
    with counting(gan.nets) as count:
        step_retain_graph(gan, REAL, NOISE)
    g, d = NetFlops.of((4, 8, 5, 6), b), NetFlops.of((6, 7, 9, 1), b)
    found = {(w.net, w.phase, w.index): w.flops for w in count.work}
    assert found == {
        ("G", "forward", 0): g.forward,
        ("D", "forward", 1): d.forward,
        ("D", "forward", 2): d.forward,
        ("D", "backward", 0): 4 * d.forward - d.first,  # fakes and real images
        ("G", "backward", 0): 2 * g.forward - g.first,  # in vain
        ("D", "backward", 1): 2 * d.forward,
        ("G", "backward", 1): 2 * g.forward - g.first,
    }


@pytest.mark.parametrize("step", [step_retain_graph, step_detach, step_generator_first])
def test_nothing_is_lost_with_convolutions(step):
    gan = dcgan(16, 1, 4, width=4)
    real, noise = data.noise(3, (1, 16, 16)), data.noise(3, (4,))
    with counting(gan.nets) as count:
        step(copy.deepcopy(gan), real, noise)  # a copy: nobody's hooks are on it
    assert {w.net for w in count.work} == {None}
    with counting(gan.nets) as count:
        step(gan, real, noise)
    assert {w.net for w in count.work} == {"G", "D"}
    assert sum(w.flops for w in count.work) == total_by_torch(step, gan, real, noise)


def penalty(gan: Gan, real: Tensor, noise: Tensor, leaf: bool = False) -> None:
    """D's phase with a gradient penalty: a backward through a backward."""
    fake = gan.generator(noise).detach().requires_grad_()
    fake = fake if leaf else fake * 1
    (slope,) = torch.autograd.grad(gan.discriminator(fake).sum(), fake, create_graph=True)
    (losses_of(gan, real, fake)[0] + slope.pow(2).mean()).backward()


def checkpointed(gan: Gan, real: Tensor, noise: Tensor) -> None:
    fake = checkpoint(gan.generator, noise, use_reentrant=False)
    losses_of(gan, real, fake)[1].backward()


def projected(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """Between the nets something of nobody, with weights of its own."""
    mix = torch.eye(6, requires_grad=True)
    losses_of(gan, real, gan.generator(noise) @ mix)[1].backward()


@pytest.mark.parametrize("step", [penalty, checkpointed, projected])
def test_nothing_is_lost_in_unusual_steps(step):
    gan = small_gan()
    with counting(gan.nets) as count:
        step(gan, REAL, NOISE)
    assert sum(w.flops for w in count.work) == total_by_torch(step, gan, REAL, NOISE)


def test_a_gradient_penalty_at_a_leaf_is_counted_too():
    """torch's own counter raises here, in its module tracker."""
    totals = []
    for leaf in (False, True):
        gan = small_gan()
        with counting(gan.nets) as count:
            penalty(gan, REAL, NOISE, leaf)
        totals.append(sum(w.flops for w in count.work))
    assert totals[0] == totals[1] > 0


def test_what_stands_between_the_nets_is_nobodys():
    gan = small_gan()
    with counting(gan.nets) as count:
        projected(gan, REAL, NOISE)
    nobody = {(w.phase, w.index): w.flops for w in count.work if w.net is None}
    product = 2 * 8 * 6 * 6
    assert nobody == {("forward", None): product, ("backward", 0): 2 * product}


def test_a_recomputed_forward_is_a_forward():
    gan = small_gan()
    with counting(gan.nets) as count:
        checkpointed(gan, REAL, NOISE)
    g = NetFlops.of((4, 8, 5, 6), 8)
    forwards = [w.flops for w in count.work if (w.net, w.phase) == ("G", "forward")]
    assert forwards == [g.forward, g.forward]


def hooks_of(gan: Gan) -> int:
    nets = gan.nets.values()
    return sum(len(n._forward_hooks) + len(n._forward_pre_hooks) for n in nets)


def test_counting_lets_go_on_every_path():
    gan, engine = small_gan(), torch.autograd._engine_run_backward

    def stopped(grad: Tensor) -> None:
        raise KeyboardInterrupt

    def stops() -> None:
        fake = gan.generator(NOISE)
        fake.register_hook(stopped)
        gan.discriminator(fake).sum().backward()

    def twice() -> None:
        loss = gan.discriminator(REAL).sum()
        loss.backward()
        loss.backward()

    with pytest.raises(KeyboardInterrupt), counting(gan.nets):
        stops()
    assert hooks_of(gan) == 0
    assert torch.autograd._engine_run_backward is engine
    with pytest.raises(RuntimeError, match="a second time"), counting(gan.nets) as count:
        twice()
    with counting(gan.nets) as again:
        gan.discriminator(REAL).sum().backward()
    assert count.work == again.work
    assert hooks_of(gan) == 0


# Memory -------------------------------------------------------------------------------------------


def test_peak_allocated_is_what_can_be_worked_out():
    gan = small_gan()
    kept: list[Tensor] = []

    def run() -> None:
        kept.append(torch.zeros(1000))  # 4000 bytes, and they stay
        torch.zeros(500)  # 2000, gone at once
        kept[0].view(10, 100).add_(1)  # a view and a change in place are nothing new
        torch.zeros(750)  # 3000 more at the worst moment
        next(gan.generator.parameters()).detach().add_(0)

    assert peak_allocated(run, gan, REAL, NOISE) == 7000


def test_gradients_left_by_the_step_before_count_until_they_are_let_go():
    gan = small_gan()
    assert peak_allocated(lambda: None, gan, REAL, NOISE) == 0
    step_detach(gan, REAL, NOISE)
    grads = sum(4 * p.numel() for net in gan.nets.values() for p in net.parameters())
    assert peak_allocated(lambda: None, gan, REAL, NOISE) == grads

    def cleared() -> None:
        for net in gan.nets.values():
            net.zero_grad()
        torch.zeros(1)

    assert peak_allocated(cleared, gan, REAL, NOISE) == grads
    assert all(p.grad is None for net in gan.nets.values() for p in net.parameters())


def test_on_cuda_the_allocator_is_asked(monkeypatch):
    told: list[str] = []

    def said(name: str, value: int = 0) -> Callable[[object], int]:
        def tell(device: object) -> int:
            told.append(name)
            return value

        return tell

    monkeypatch.setattr(torch.cuda, "synchronize", said("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", said("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", said("now", 1000))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", said("peak", 1700))
    found = allocated._of_cuda(lambda: told.append("run"), torch.device("cuda", 0), grads=30)
    assert found == 1700 - (1000 - 30)
    assert told == ["wait", "reset", "now", "run", "wait", "peak"]


# The whole cost -----------------------------------------------------------------------------------


def test_cost_of_one_step():
    found = cost(step_retain_graph, small_gan(), REAL, NOISE, repeat=3)
    g, d = NetFlops.of((4, 8, 5, 6), 8), NetFlops.of((6, 7, 9, 1), 8)
    assert found.name == "step_retain_graph"
    assert found.flops == step_flops("retain_graph", g, d)
    assert found.flops_of("G", "forward") == g.forward
    assert found.flops_of("G", "backward", 0) == 2 * g.forward - g.first
    assert found.flops_of(phase="forward") == g.forward + 2 * d.forward
    assert found.forwards == {"G": 1, "D": 2}
    assert found.backwards == {"G": 2, "D": 2}
    assert found.peak_held == found.record.peak
    assert found.peak_allocated > found.peak_held.activations > 0
    assert found.seconds is not None
    assert 0 < found.seconds.low <= found.seconds.median <= found.seconds.high
    assert found.seconds.runs == 3


def test_passes_are_those_of_the_table_of_strategies():
    costs = cost_all(STRATEGIES, small_gan(), REAL, NOISE, repeat=0)
    assert list(costs) == list(STRATEGIES)
    passes = {name: (costs[name].forwards, costs[name].backwards) for name in ARTICLE}
    assert passes == {
        "retain_graph": ({"G": 1, "D": 2}, {"G": 2, "D": 2}),
        "detach": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
        "generator_first": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
    }
    assert all(c.seconds is None for c in costs.values())


def test_the_work_that_is_in_vain_and_its_line():
    costs = cost_all(STRATEGIES, small_gan(), REAL, NOISE, repeat=0)
    vain = {
        name: [(w.net, costs[name].source(w)) for w in costs[name].work if costs[name].in_vain(w)]
        for name in ARTICLE
    }
    assert {name: [net for net, _ in found] for name, found in vain.items()} == {
        "retain_graph": ["G", "D"],
        "detach": ["D"],
        "generator_first": ["D"],
    }
    assert "d_loss.backward(retain_graph=True)" in vain["retain_graph"][0][1]
    assert all("g_loss.backward()" in found[-1][1] for found in vain.values())


# One numbering of backward calls, whoever tells of them -------------------------------------------


def gradient_penalty(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """As in WGAN-GP: D's loss has a gradient in it, asked for before any backward call."""
    G, D, opt_g, opt_d, _ = gan.parts
    fake = G(noise)
    opt_d.zero_grad()
    between = (0.5 * real + 0.5 * fake.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
    d_loss = D(fake.detach()).mean() - D(real).mean() + (slope.norm(dim=1) - 1).square().mean()
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    g_loss = -D(fake).mean()
    g_loss.backward()
    opt_g.step()


def backwards_of(step: Callable[..., object], gan: Gan) -> list[tuple[object, ...]]:
    """(net, phase, index, line, in vain) of all work that is no forward; printing it, too."""
    found = cost(step, gan, REAL, NOISE, repeat=0)
    said = str(found), found._repr_html_()
    told = [w for w in found.work if w.phase != "forward"]
    for work in told:
        place = {"backward": "backward", "grad": "autograd.grad"}[work.phase]
        assert all(f"{work.net or 'no net'} {place}, call {work.index}" in text for text in said)
    return [(w.net, w.phase, w.index, found.source(w), found.in_vain(w)) for w in told]


def test_the_gradient_of_a_penalty_is_told_from_the_backward_calls():
    of_d, of_g = "d_loss.backward()", "g_loss.backward()"
    grad = "(slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)"
    assert set(backwards_of(gradient_penalty, small_gan())) == {
        ("D", "grad", 0, grad, False),
        ("D", "backward", 0, of_d, False),
        (None, "backward", 0, of_d, False),  # through the slope, which no forward of a net built
        ("D", "backward", 1, of_g, True),
        ("G", "backward", 1, of_g, False),
    }


def test_the_gradients_that_one_stage_asks_for_come_before_its_backward_call():
    line = "d_loss.backward()"
    assert backwards_of(step_one_stage, small_gan()) == [
        ("D", "backward", 0, line, False),
        ("G", "backward", 0, line, False),
    ]


class Checkpointed(nn.Module):
    """A reentrant checkpoint runs a backward inside the backward that recomputes it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0 * self.last.bias  # else a batch that asks for no gradient would get none through
        return torch.sigmoid(self.last(checkpoint(self.first, x, use_reentrant=True)))


def test_the_backward_inside_a_reentrant_checkpoint_is_part_of_the_call_around_it():
    gan = Gan.with_adam(nn.Linear(4, 6), Checkpointed(), nn.BCELoss())
    assert backwards_of(step_detach, gan) == [
        ("D", "backward", 0, "d_loss.backward()", False),
        ("D", "backward", 1, "g_loss.backward()", True),
        ("G", "backward", 1, "g_loss.backward()", False),
    ]
    found = cost(step_detach, gan, REAL, NOISE, repeat=0)
    # Its first layer: forward again, gradient of the weights, and at the input, in four passes.
    first, last = 2 * 8 * 6 * 5, 2 * 8 * 5 * 1
    assert found.flops_of("D", "backward", 0) == 2 * (3 * first + 2 * last)


def test_calls_that_raised_have_numbers_too():
    def step(gan: Gan, real: Tensor, noise: Tensor) -> None:
        loss = gan.discriminator(real).mean()
        loss.backward()
        for again in (loss.backward, lambda: torch.autograd.grad(loss, real)):
            with pytest.raises(RuntimeError):
                again()
        leaf = real.clone().requires_grad_()
        torch.autograd.grad(gan.discriminator(leaf).sum(), leaf)
        gan.discriminator(real).sum().backward()

    assert [told[1:4] for told in backwards_of(step, small_gan())] == [
        ("backward", 0, "loss.backward()"),
        ("grad", 1, "torch.autograd.grad(gan.discriminator(leaf).sum(), leaf)"),
        ("backward", 2, "gan.discriminator(real).sum().backward()"),
    ]


def test_nothing_is_said_of_a_call_that_the_recorded_run_did_not_make():
    """A step that does something every other time, by a count of its own."""
    runs = [0]

    def step(gan: Gan, real: Tensor, noise: Tensor) -> None:
        runs[0] += 1
        gan.discriminator(real).sum().backward()
        if runs[0] == 2:  # the run whose FLOPs are counted
            gan.discriminator(real).mean().backward()

    lines = [told[3:] for told in backwards_of(step, small_gan())]
    assert lines == [
        ("gan.discriminator(real).sum().backward()", True),
        ("gan.discriminator(real).mean().backward()", False),
    ]


def test_a_penalty_on_weights_goes_through_no_net_whoever_counts():
    def step(gan: Gan, real: Tensor, noise: Tensor) -> None:
        G, D, opt_g, opt_d, loss = gan.parts
        opt_d.zero_grad()
        prediction = D(torch.cat((real, G(noise).detach())))
        loss(prediction, torch.ones_like(prediction)).backward()
        opt_d.step()
        opt_g.zero_grad()
        torch.stack([p.square().sum() for p in G.parameters()]).sum().backward()
        opt_g.step()

    found = cost(step, small_gan(), REAL, NOISE, repeat=0)
    assert found.backwards == {"G": 0, "D": 1}
    assert found.record.backward_calls[1].received["G"]
    assert totals(found.record, None)["backwards"] == found.backwards
    film = explore(step, gan=small_gan(), real=REAL, noise=NOISE).data["films"]["step"]
    assert film["totals"]["backwards"] == found.backwards
    assert "backwards through: G 0 · D 1" in str(found)


# Copies -------------------------------------------------------------------------------------------

NORMS: dict[str, Callable[..., nn.Module]] = {
    "older spectral": spectral_norm,
    "older weight": weight_norm,
    "spectral": parametrizations.spectral_norm,
    "weight": parametrizations.weight_norm,
}


def normed_gan(kind: str) -> Gan:
    norm = NORMS[kind]
    torch.manual_seed(3)
    G = nn.Sequential(norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 6))
    D = nn.Sequential(norm(nn.Linear(6, 7)), nn.Tanh(), norm(nn.Linear(7, 1)))
    return Gan.with_adam(G, D, nn.BCEWithLogitsLoss())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kind", NORMS)
def test_nets_with_normed_weights_are_copied_and_looked_at(kind, used):
    gan = normed_gan(kind)
    if used:
        step_detach(gan, REAL, NOISE)
    before = state_of(gan)
    for step in (step_detach, step_retain_graph):
        assert cost(step, gan, REAL, NOISE, repeat=0).flops > 0
        assert Judge(step, gan, REAL, NOISE)(what_if(step, "retain")).kind in ("waste", "error")
    film = explore("detach", gan=gan, real=REAL, noise=NOISE, what_if=False).data["films"]["detach"]
    assert not film["error"]
    assert film["totals"]["flops"] > 0
    assert check_step(step_detach, like="detach", gan=gan, real=REAL, noise=NOISE).passed
    torch.testing.assert_close(state_of(gan), before, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", NORMS)
def test_a_copy_goes_on_as_the_original_would_and_shares_nothing(kind):
    gan = normed_gan(kind)
    step_detach(gan, REAL, NOISE)
    new, bare = copied(gan, gradients=True), copied(gan)
    old_p, new_p = ([p for n in g.nets.values() for p in n.parameters()] for g in (gan, new))
    for p, q in zip(old_p, new_p, strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.equal(p.grad, q.grad)
        assert p.grad.data_ptr() != q.grad.data_ptr()
    assert all(p.grad is None for net in bare.nets.values() for p in net.parameters())
    before = state_of(gan)
    step_detach(new, REAL, NOISE)
    torch.testing.assert_close(state_of(gan), before, rtol=0, atol=0)
    step_detach(gan, REAL, NOISE)
    torch.testing.assert_close(state_of(gan), state_of(new), rtol=0, atol=0)


def test_a_tensor_with_a_history_is_copied_without_it():
    gan = small_gan()
    kept = gan.discriminator(gan.generator(NOISE))
    gan.discriminator.last = {"kept": [kept]}  # type: ignore[assignment]
    last = copied(gan).discriminator.last["kept"][0]  # type: ignore[index]
    assert torch.equal(last, kept)
    assert last.is_leaf
    assert not last.requires_grad
    assert kept.grad_fn is not None


def state_of(gan: Gan) -> list[object]:
    tensors = [t for net in gan.nets.values() for t in net.state_dict().values()]
    parameters = [p for net in gan.nets.values() for p in net.parameters()]
    return [
        [t.clone() for t in tensors],
        [p.grad for p in parameters],
        [p.requires_grad for p in parameters],
        [m.training for net in gan.nets.values() for m in net.modules()],
        [copy.deepcopy(o.state_dict()) for o in gan.optimizers.values()],
        hooks_of(gan),
    ]


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 7])  # warm, FLOPs, bytes, record, warm, timed
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_nothing_of_the_callers_is_changed(error, at):
    torch.manual_seed(5)
    D = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(), nn.Linear(5, 1))
    gan = Gan.with_adam(Generator(4, (6,), (5,)), D, nn.BCEWithLogitsLoss())
    gan.discriminator.eval()
    gan.generator.requires_grad_(True)
    before, random = state_of(gan), torch.get_rng_state()
    runs = [0]

    def step(gan: Gan, real: Tensor, noise: Tensor) -> None:
        gan.discriminator.train()
        losses_of(gan, real, gan.generator(noise))[0].backward()
        gan.optimizer_d.step()
        torch.rand(1)
        runs[0] += 1
        if error is not None and runs[0] == at:
            raise error

    if error is None:
        cost(step, gan, REAL, NOISE, repeat=2)
    else:
        with pytest.raises(error):
            cost(step, gan, REAL, NOISE, repeat=2)
    assert runs[0] == (at if error else 8)
    torch.testing.assert_close(state_of(gan), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)


RETAINED = what_if(step_detach, "retain")


@contextmanager
def interrupted(at: int) -> Iterator[list[str]]:
    """Ctrl-C at the ``at``-th call of a function of these two rooms; yields the calls."""
    ours = {Path(inspect.getfile(room)).parent for room in (cost_room, whatif_room)}
    calls: list[str] = []

    def hear(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        named = event == "call" and not code.co_name.startswith("<")
        if named and Path(code.co_filename).parent in ours:
            calls.append(code.co_qualname)
            if len(calls) == at:
                raise KeyboardInterrupt

    sys.setprofile(hear)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(
    ("look", "calls_of"),
    [
        (lambda *given: cost(step_detach, *given, repeat=1), "_Storages.see"),
        (lambda *given: Judge(step_detach, *given)(RETAINED), "gap"),
    ],
    ids=["cost", "what_if"],
)
def test_an_interrupt_comes_out_as_one_wherever_it_lands(look, calls_of):
    gan, engine = mlp_gan((2,), 2, (), ()), torch.autograd._engine_run_backward
    given = gan, torch.zeros(1, 2), torch.zeros(1, 2)
    with interrupted(at=0) as calls:
        look(*given)
    assert calls_of in calls
    for name in set(calls):  # in the middle one of the calls of every function
        places = [i for i, call in enumerate(calls, start=1) if call == name]
        with pytest.raises(KeyboardInterrupt), interrupted(places[len(places) // 2]):
            look(*given)
        assert torch.autograd._engine_run_backward is engine
    assert hooks_of(gan) == 0


def test_steps_take_turns_and_each_has_its_own_nets():
    order: list[str] = []

    def named(name: str) -> Callable[[Gan, Tensor, Tensor], None]:
        def step(gan: Gan, real: Tensor, noise: Tensor) -> None:
            order.append(name)
            losses_of(gan, real, gan.generator(noise))[0].backward()

        return step

    cost_all({"a": named("a"), "b": named("b")}, small_gan(), REAL, NOISE, repeat=3)
    assert order[-6:] == ["a", "b"] * 3


def test_what_a_step_raises_goes_on():
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        cost(published.retain_graph_as_printed, small_gan(), REAL, NOISE)
    with pytest.raises(ValueError, match="real has shape"):
        cost(step_detach, small_gan(), REAL[:, :3], NOISE)


def test_bad_input_is_refused_in_words():
    gan = small_gan()
    with pytest.raises(TypeError, match="got steps of type list; expected a dict of names"):
        cost_all([step_detach], gan, REAL, NOISE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got no steps"):
        cost_all({}, gan, REAL, NOISE)
    with pytest.raises(TypeError, match="got a step of type str"):
        cost_all({"a": "detach"}, gan, REAL, NOISE)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="repeat must be a whole number of at least 0, got -1"):
        cost(step_detach, gan, REAL, NOISE, repeat=-1)
    with pytest.raises(KeyError, match="no step 'b' here; there are a"):
        cost_all({"a": step_detach}, gan, REAL, NOISE, repeat=0)["b"]


# What is shown ------------------------------------------------------------------------------------


def test_the_tables_say_the_same_in_text_and_html():
    gan = mlp_gan((1, 8, 8), 32, (64, 64), (512, 512))
    batch = data.noise(64, (1, 8, 8)), data.noise(64, (32,))
    costs = cost_all(STRATEGIES, gan, *batch, repeat=0)
    for said in (str(costs), costs._repr_html_()):
        assert "335.6 M" in said  # S2 and S3
        assert "G 1 · D 3" in said
        assert "not timed" in said
    one = costs["retain_graph"]
    for said in (str(one), one._repr_html_()):
        assert "G backward, call 0" in said
        assert "d_loss.backward(retain_graph=True)" in said
        assert "○ written in vain" in said
    timed = cost(step_detach, small_gan(), REAL, NOISE, repeat=1)
    assert " ms (" in str(timed)


def test_names_from_outside_cannot_break_the_page():
    page = cost_all({"<b>": step_detach}, small_gan(), REAL, NOISE, repeat=0)._repr_html_()
    assert "<b>" not in page.replace("&lt;b&gt;", "")


def test_a_step_without_readable_source_has_a_cost():
    step = eval("lambda gan, real, noise: gan.discriminator(real).sum().backward()")
    found = cost(step, small_gan(), REAL, NOISE, repeat=0)
    assert found.forwards == {"G": 0, "D": 1}
    assert "D backward, call 0" in str(found)


def test_other_nets_than_ours():
    G, D = nn.Linear(4, 6), Discriminator((6,), (5,))
    gan = Gan.with_adam(G, D, nn.BCELoss())
    assert cost(step_detach, gan, REAL, NOISE, repeat=0).flops_of("G", "forward") == 2 * 8 * 4 * 6


@pytest.mark.parametrize("name", ["_FlopCounterMode", "_Storages"])
def test_an_interrupt_at_the_end_of_a_mode_leaves_it_on_nowhere(
    monkeypatch: pytest.MonkeyPatch, name: str
):
    leave = _python_dispatch.TorchDispatchMode.__exit__

    def interrupted(mode: _python_dispatch.TorchDispatchMode, *error: object) -> None:
        if type(mode).__name__ == name:
            raise KeyboardInterrupt
        leave(mode, *error)

    gan = small_gan()
    with monkeypatch.context() as patch:
        patch.setattr(_python_dispatch.TorchDispatchMode, "__exit__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cost(step_detach, gan, REAL, NOISE, repeat=0)
    assert _python_dispatch._get_current_dispatch_mode_stack() == []
    assert not _python_dispatch.is_in_torch_dispatch_mode()
