"""What a step costs: counted and derived agree, and measuring changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import (
    STRATEGIES,
    Gan,
    data,
    dcgan,
    mlp_gan,
    published,
    step_detach,
    step_generator_first,
    step_retain_graph,
)
from gan_lessons.lens.cost import (
    PASSES,
    NetFlops,
    cost,
    cost_all,
    counting,
    peak_allocated,
    step_flops,
    written_out,
)
from gan_lessons.lens.cost import memory as allocated
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


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_nothing_of_the_callers_is_changed(error):
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
        if error is not None and runs[0] == 3:
            raise error

    if error is None:
        cost(step, gan, REAL, NOISE, repeat=2)
    else:
        with pytest.raises(error):
            cost(step, gan, REAL, NOISE, repeat=2)
    assert runs[0] >= 3
    torch.testing.assert_close(state_of(gan), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)


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
