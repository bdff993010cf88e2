"""What a loop would gain: the FLOPs that the record tells are those that a counter then misses."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import STRATEGIES, diagnose, gains, mlp_gan, record
from gan_lessons.lens.cost import Gains
from gan_lessons.lens.cost.changes import Change
from gan_lessons.lens.diagnose.backward_flops import backward_flops, flops_for
from gan_lessons.lens.watch.finding_players import Players
from gan_lessons.lens.watch.report import Report
from gan_lessons.put_back import gradients_kept


def counted(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.last = nn.MultiheadAttention(4, 2), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.attend(x, x, x)[0])


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), (4, 3)),
    "no_bias": (
        lambda: nn.Sequential(nn.Linear(3, 8, bias=False), nn.Linear(8, 2, bias=False)),
        (4, 5, 3),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1),
            nn.ConvTranspose2d(6, 6, 4, 2, 1),
            nn.Conv2d(6, 4, 3, groups=2),
        ),
        (2, 3, 8, 8),
    ),
    "square": (lambda: nn.Sequential(nn.Conv1d(3, 3, 3), nn.ConvTranspose1d(3, 3, 3)), (3, 3, 3)),
    "transposed in groups": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(4, 4, 3, 2, groups=2), nn.ConvTranspose2d(4, 4, 2, groups=4)
        ),
        (2, 4, 5, 3),
    ),
    "norms": (
        lambda: nn.Sequential(
            nn.utils.spectral_norm(nn.Conv2d(3, 6, 3)),
            nn.BatchNorm2d(6),
            nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 2, 3)),
        ),
        (2, 3, 8, 8),
    ),
    "attention": (Attention, (3, 2, 4)),
}


@pytest.mark.parametrize("needs_input", [False, True])
@pytest.mark.parametrize("first_frozen", [False, True])
@pytest.mark.parametrize("kind", NETS)
def test_flops_of_backward_are_those_of_torchs_counter(
    kind: str, first_frozen: bool, needs_input: bool
) -> None:
    build, shape = NETS[kind]
    torch.manual_seed(0)
    net, x = build(), torch.randn(shape, requires_grad=needs_input)
    named = dict(net.named_parameters())
    next(iter(named.values())).requires_grad_(not first_frozen)
    early = list(named)[: len(named) // 2]
    late = [p for name, p in named.items() if name not in early and p.requires_grad]
    with record({"net": net}) as rec:
        out = net(x).sum()
        whole = counted(lambda: out.backward(retain_graph=True))
        part = counted(lambda: out.backward(inputs=[*late, *[x] * needs_input]))
    first, second = rec.backward_calls
    told = [backward_flops(rec, first), backward_flops(rec, second)]
    assert [(f.count, f.complete) for f in told] == [(whole, True), (part, True)]
    spared = flops_for(rec, first, {("net", name) for name in early})
    assert (spared.count, spared.complete) == (whole - part, True)


def test_what_the_graph_does_not_tell_is_not_made_up() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return grads[0] * 2

    net = nn.Linear(2, 2)
    with record({"net": net}) as rec:
        Own.apply(net(torch.randn(4, 2))).sum().backward()
    flops = backward_flops(rec, rec.backward_calls[0])
    assert flops.count > 0
    assert not flops.complete


BATCH = torch.rand(8, 1, 8, 8), torch.randn(8, 32)


def tried(key: str, repeat: int = 0) -> Gains:
    gan = mlp_gan()
    return gains(STRATEGIES[key].step, gan.nets, gan.optimizers, gan, *BATCH, repeat=repeat)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("retain_graph", ["backward(inputs=...) of D and G"]),  # one forward serves both
        ("detach", ["backward(inputs=...) of G", "freeze D in this forward"]),
        ("generator_first", ["backward(inputs=...) of G", "freeze D in this forward"]),
        ("frozen", []),
        ("selective", []),
    ],
)
def test_what_a_strategy_would_gain(key: str, changes: list[str]) -> None:
    found = tried(key)
    assert sorted(g.change.title for g in found.offered) == changes
    assert not found.refused
    gan = mlp_gan()
    with record(gan.nets, gan.optimizers) as rec:
        for _ in range(2):
            STRATEGIES[key].step(gan, *BATCH)
    told = [f.saves.flops for f in diagnose(rec).findings if f.saves]
    assert bool(told) == bool(changes)
    for gain in found.offered:
        assert found.flops - gain.flops == sum(told)
        assert gain.same.verdict == "bitwise"
        assert gain.time is None


def test_its_flops_are_those_of_the_loop_with_the_advice_taken() -> None:
    gan = mlp_gan()

    def s1(inputs: bool) -> None:
        G, D, opt_g, opt_d, loss = gan.parts
        real, noise = BATCH
        of_d, of_g = ({"inputs": list(net.parameters())} if inputs else {} for net in (D, G))
        opt_d.zero_grad()
        fake = G(noise)
        of_fake, of_real = D(fake), D(real)
        ones, zeros = torch.ones_like(of_real), torch.zeros_like(of_real)
        (loss(of_real, ones) + loss(of_fake, zeros)).backward(retain_graph=True, **of_d)
        opt_g.zero_grad()
        with gradients_kept(opt_d):
            loss(of_fake, ones).backward(**of_g)
        opt_d.step()
        opt_g.step()

    found = gains(lambda: s1(False), gan.nets, gan.optimizers, repeat=0)
    (best,) = found.offered
    assert found.flops == counted(lambda: s1(False))
    assert best.flops == counted(lambda: s1(True)) < found.flops


def three_nets() -> tuple[Callable[[Tensor], None], dict[str, nn.Module], dict[str, Any]]:
    """Two judges, one optimizer for both, dropout, a learning G, a penalty and a retained graph."""
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    judges = {
        name: nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.3), nn.LeakyReLU(), nn.Linear(16, 1))
        for name in ("mpd", "msd")
    }
    opt_g = torch.optim.Adam(G.parameters())
    opt_d = torch.optim.Adam([p for net in judges.values() for p in net.parameters()])

    def step(real: Tensor) -> None:
        fake = G(torch.randn(len(real), 4))
        opt_d.zero_grad()
        d_loss = sum(net(fake.detach()).mean() - net(real).mean() for net in judges.values())
        d_loss.backward(retain_graph=True)
        opt_d.step()
        opt_g.zero_grad()
        (-sum(net(fake).mean() for net in judges.values())).backward()
        opt_g.step()

    return step, {"G": G, **judges}, {"G": opt_g, "D": opt_d}


def test_any_nets_and_losses_and_everything_is_put_back() -> None:
    step, nets, optimizers = three_nets()
    step(torch.randn(6, 4))
    before = {n: {k: v.clone() for k, v in net.state_dict().items()} for n, net in nets.items()}
    grads = [p.grad for net in nets.values() for p in net.parameters()]
    random_state, own_state = torch.get_rng_state(), random.getstate()
    found = gains(step, nets, optimizers, torch.randn(6, 4, generator=torch.Generator()), repeat=2)
    assert {g.change.title for g in found.offered} == {
        "backward(inputs=...) of G",
        "freeze mpd in this forward",
        "freeze msd in this forward",
        "leave out retain_graph=True",
    }
    assert all(g.time is not None for g in found.offered)
    assert torch.equal(random_state, torch.get_rng_state())
    assert random.getstate() == own_state
    for name, net in nets.items():
        for key, value in net.state_dict().items():
            assert torch.equal(value, before[name][key]), (name, key)
        assert all(p.requires_grad for p in net.parameters())
        assert not net._forward_hooks
        assert not net._forward_pre_hooks
    after = [p.grad for net in nets.values() for p in net.parameters()]
    assert all(a is b for a, b in zip(grads, after, strict=True))


def test_an_interrupt_leaves_nothing_behind() -> None:
    step, nets, optimizers = three_nets()
    state = {n: {k: v.clone() for k, v in net.state_dict().items()} for n, net in nets.items()}
    engine = torch.autograd._engine_run_backward
    for stop in (1, 3, 6, 12, 18, 30):  # from the first run to those that are timed
        ran = 0

        def interrupted(real: Tensor, stop: int = stop) -> None:
            nonlocal ran
            ran += 1
            if ran == stop:
                nets["mpd"].register_forward_hook(_raise)
            step(real)

        with pytest.raises(KeyboardInterrupt):
            gains(interrupted, nets, optimizers, torch.randn(6, 4), repeat=2)
        nets["mpd"]._forward_hooks.clear()
        nets["mpd"]._forward_hooks_always_called.clear()
        assert torch.autograd._engine_run_backward is engine
        for name, net in nets.items():
            assert all(p.requires_grad for p in net.parameters())
            assert not net._forward_pre_hooks
            assert all(torch.equal(v, state[name][k]) for k, v in net.state_dict().items())


def _raise(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("seen", [False, True], ids=["by a hook", "read"])
def test_a_change_that_changes_a_gradient_is_not_offered(seen: bool) -> None:
    """The norm of what G's turn leaves in D decides about D: `inputs=` would take that away. The
    record cannot see what a hook does with it; of what was read and computed with it knows that it
    was not in vain, and nothing is tried."""
    gan = mlp_gan()
    G, D, opt_g, opt_d, loss = gan.parts
    real, noise = BATCH
    norms: list[Tensor] = []
    for p in D.parameters() if not seen else ():
        p.register_hook(lambda grad: norms.append(grad.norm()))

    def step() -> None:
        fake = G(noise)
        opt_g.zero_grad()
        opt_d.zero_grad()
        verdict = D(fake)
        norms.clear()
        loss(verdict, torch.ones_like(verdict)).backward()
        opt_g.step()
        if seen:
            norms[:] = [p.grad.norm() for p in D.parameters() if p.grad is not None]
        scale = 1.0 + float(sum(norms))
        opt_d.zero_grad()
        verdict = D(fake.detach())
        (scale * (loss(D(real), torch.ones_like(verdict)) + loss(verdict, 0 * verdict))).backward()
        opt_d.step()

    found = gains(step, gan.nets, gan.optimizers, repeat=0)
    assert not found.offered
    refused = {g.change.title for g in found.refused}
    assert ("backward(inputs=...) of G" in refused) is not seen
    assert ("not offered" in str(found)) is not seen


@pytest.mark.parametrize(
    ("time", "told"),
    [
        ((0.90, 0.85, 0.95), "10% less (5% less to 15% less)"),
        ((1.10, 1.05, 1.20), "10% more (20% more to 5% more)"),
        ((0.97, 0.90, 1.10), "not told apart (10% more to 10% less)"),
    ],
)
def test_a_time_that_decides_nothing_is_not_called_a_gain(
    time: tuple[float, float, float], told: str
) -> None:
    gan = mlp_gan()
    real, noise = torch.randn(8, 1, 8, 8), torch.randn(8, 32)
    found = gains(
        lambda: STRATEGIES["detach"].step(gan, real, noise), gan.nets, gan.optimizers, repeat=1
    )
    found.offered = [replace(gain, time=time) for gain in found.offered]
    assert found.offered
    assert told in str(found)


def test_bad_input_is_refused() -> None:
    gan = mlp_gan()
    with pytest.raises(TypeError, match="expected a function that runs one iteration"):
        gains("step", gan.nets, gan.optimizers)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"repeat=-1; it must be at least 0"):
        gains(lambda: None, gan.nets, gan.optimizers, repeat=-1)
    turns = iter(range(100))

    def moody() -> None:
        loss = gan.generator(BATCH[1]).mean()
        loss.backward(retain_graph=next(turns) % 2 == 0)
        if next(turns) % 4 == 1:
            loss = gan.generator(BATCH[1]).mean()
            loss.backward()
        gan.optimizer_g.step()

    with pytest.raises(ValueError, match="the same backward calls each time"):
        gains(moody, gan.nets, gan.optimizers)


def test_both_views_say_what_is_saved() -> None:
    found = tried("detach", repeat=3)
    for text in (str(found), found._repr_html_()):
        assert "backward(inputs=...) of G" in text
        assert "equal to the last bit" in text
        assert "g_loss.backward()" in text
        assert f"{1 - found.offered[0].flops / found.flops:.0%} less" in text


def test_a_diagnosis_says_what_its_advice_saves() -> None:
    gan = mlp_gan()
    with record(gan.nets, gan.optimizers) as rec:
        STRATEGIES["detach"].step(gan, *BATCH)
    (found,) = (f for f in diagnose(rec).findings if f.saves)
    assert (found.code, found.net) == ("in-vain", "D")
    whole = sum(backward_flops(rec, call).count for call in rec.backward_calls)
    assert found.saves is not None
    assert found.saves.share == found.saves.flops / whole
    sentence = f"{found.saves.share:.0%} of what all backward calls here compute"
    assert sentence in str(diagnose(rec))
    assert sentence in diagnose(rec)._repr_html_()
    report = Report(rec, Players(gan.nets, gan.optimizers), 1).to_json()
    told = next(f for f in report["findings"] if f["code"] == "in-vain")
    assert told["saves"]["flops"] == found.saves.flops


def test_a_graph_that_was_kept_for_nothing_says_its_bytes() -> None:
    gan = mlp_gan()
    with record(gan.nets, gan.optimizers) as rec:
        loss = gan.discriminator(gan.generator(BATCH[1])).mean()
        loss.backward(retain_graph=True)
        gan.optimizer_d.step()
        gan.optimizer_g.step()
    (found,) = (f for f in diagnose(rec).findings if f.code == "needless-retain")
    assert found.saves is not None
    assert found.saves.bytes == rec.end_of(0).held.activations > 0
    assert "of activations need not be kept" in str(diagnose(rec))


def test_a_graph_that_another_loss_still_needs_is_not_counted_as_kept_for_nothing() -> None:
    def saved(others: int) -> tuple[int | None, int]:
        gan = mlp_gan()
        with record(gan.nets, gan.optimizers) as rec:
            many = torch.cat([BATCH[0]] * others) if others else None
            other = None if many is None else gan.discriminator(many).mean()
            gan.discriminator(gan.generator(BATCH[1])).mean().backward(retain_graph=True)
            if other is not None:
                other.backward()
            gan.optimizer_d.step()
            gan.optimizer_g.step()
        (found,) = (f for f in diagnose(rec).findings if f.code == "needless-retain")
        assert found.saves is not None
        return found.saves.bytes, rec.end_of(0).held.activations

    (alone, _), (beside, held) = saved(0), saved(100)
    assert alone is not None
    assert beside is not None
    assert alone <= beside < held / 10


def test_a_change_leaves_the_net_thawed_where_a_forward_is_interrupted() -> None:
    """torch calls no hook after a KeyboardInterrupt."""
    gan = mlp_gan()
    D = gan.discriminator
    flags = [p.requires_grad for p in D.parameters()]

    def interrupt(*_: object) -> None:
        assert not any(p.requires_grad for p in D.parameters())
        raise KeyboardInterrupt

    change = Change("freeze D", (), frozen={"D": frozenset({0})})
    handle = next(iter(D.children())).register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt), change.applied(gan.nets):
        D(torch.randn(4, 1, 8, 8))
    handle.remove()
    assert [p.requires_grad for p in D.parameters()] == flags
    assert not D._forward_hooks
    assert not D._forward_pre_hooks


def test_who_is_frozen_by_then_is_not_asked_for() -> None:
    """torch refuses it among ``inputs=``."""
    gan = mlp_gan()
    D = gan.discriminator
    last = list(D.parameters())[-1].requires_grad_(False)
    with Change("inputs", (), inputs={0: tuple(D.parameters())}).applied(gan.nets):
        D(torch.randn(4, 1, 8, 8)).sum().backward()
    assert last.grad is None
    assert all(p.grad is not None for p in D.parameters() if p.requires_grad)
