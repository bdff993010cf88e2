"""``diagnose`` on loops as people write them: many nets, odd optimizers, helpers, half a loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from gan_lessons import diagnose, record
from gan_lessons.lens.diagnose import Diagnosis


def mlp(n: int, m: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n, 8), nn.LeakyReLU(0.2), nn.Linear(8, m))


def sgd(*nets: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([p for net in nets for p in net.parameters()], lr=0.05)


def z() -> Tensor:
    return torch.randn(8, 2)


def bce(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad


@pytest.fixture
def it() -> SimpleNamespace:
    """A pair with its optimizers, fresh for each test."""
    torch.manual_seed(0)
    G, D = mlp(2, 2), mlp(2, 1)
    return SimpleNamespace(G=G, D=D, og=sgd(G), od=sgd(D), extra={})


def d_loss_of(it: SimpleNamespace, fake: Tensor) -> Tensor:
    return bce(it.D(z()), 1.0) + bce(it.D(fake), 0.0)


def d_turn(it: SimpleNamespace) -> None:
    it.od.zero_grad()
    d_loss = d_loss_of(it, it.G(z()).detach())
    d_loss.backward()
    it.od.step()


def g_turn(it: SimpleNamespace) -> None:
    it.og.zero_grad()
    g_loss = bce(it.D(it.G(z())), 1.0)
    g_loss.backward()
    it.og.step()


Loop = Callable[[SimpleNamespace, int], Any]


def told(
    it: SimpleNamespace,
    loop: Loop,
    iterations: int = 2,
    nets: dict[str, nn.Module] | None = None,
    optimizers: dict[str, torch.optim.Optimizer] | None = None,
) -> Diagnosis:
    nets = {"G": it.G, "D": it.D} if nets is None else nets
    optimizers = {"G": it.og, "D": it.od} if optimizers is None else optimizers
    with record(nets, optimizers) as rec:
        for i in range(iterations):
            loop(it, i)
    return diagnose(rec)


def wrong(diagnosis: Diagnosis) -> list[tuple[str, str | None]]:
    return [(f.code, f.net) for f in diagnosis.findings if f.severity in ("error", "wrong")]


def both_turns(it: SimpleNamespace, i: int) -> None:
    d_turn(it)
    g_turn(it)


# Legitimate ---------------------------------------------------------------------------------------


def test_an_optimizer_may_hold_none_of_the_named_nets(it):
    assert wrong(told(it, both_turns, nets={"G": it.G})) == []


def test_a_backward_that_failed_on_the_way_leaves_the_rest_readable(it):
    def loop(it, i):
        fake = it.G(z())
        fake.register_hook(lambda grad: 1 / 0 if i == 0 else None)
        with contextlib.suppress(ZeroDivisionError):
            d_loss_of(it, fake).backward()
        it.og.zero_grad()
        bce(it.D(it.G(z())), 1.0).backward()
        it.og.step()
        it.od.step()

    diagnosis = told(it, loop)
    assert diagnosis.codes[0] == "exception"
    assert "ZeroDivisionError" in diagnosis.findings[0].message
    assert "nothing that raises" not in str(diagnosis)


def test_optimizers_that_step_inside_backward(it):
    def loop(it, i):
        it.G.requires_grad_(False)
        d_loss_of(it, it.G(z())).backward()
        it.G.requires_grad_(True)
        it.D.requires_grad_(False)
        bce(it.D(it.G(z())), 1.0).backward()
        it.D.requires_grad_(True)

    parameters = [*it.G.parameters(), *it.D.parameters()]
    own = {p: torch.optim.SGD([p], lr=0.05) for p in parameters}

    def step(p: Tensor) -> None:
        own[p].step()
        own[p].zero_grad()

    handles = [p.register_post_accumulate_grad_hook(step) for p in parameters]
    diagnosis = told(it, loop, optimizers={})
    for handle in handles:
        handle.remove()
    assert wrong(diagnosis) == []
    assert "in-vain" not in diagnosis.codes


@pytest.mark.parametrize("how", ["weighted by zero", "inactive"])
def test_a_gradient_of_zeros_is_a_gradient(it, how):
    def loop(it, i):
        it.od.zero_grad()
        out = it.D(z())
        (out.sum() * 0 if how == "weighted by zero" else torch.relu(out - 1e6).sum()).backward()
        it.od.step()

    assert wrong(told(it, loop)) == []
    assert "in-vain" not in told(it, loop).codes


def test_a_step_that_runs_a_closure_and_clears_afterwards(it):
    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            result = super().step(closure)
            self.zero_grad()
            return result

    it.od = Own(it.D.parameters(), lr=0.05)

    def loop(it, i):
        def closure():
            loss = d_loss_of(it, it.G(z()).detach())
            loss.backward()
            return loss

        it.od.step(closure)

    assert wrong(told(it, loop)) == []


def test_nets_that_are_no_players_may_share_a_loss():
    """A variational autoencoder: the encoder has a term of its own."""
    torch.manual_seed(0)
    encoder, decoder = mlp(2, 4), mlp(2, 2)
    optimizers = {"encoder": sgd(encoder), "decoder": sgd(decoder)}
    with record({"encoder": encoder, "decoder": decoder}, optimizers) as rec:
        for _ in range(2):
            for optimizer in optimizers.values():
                optimizer.zero_grad()
            x = z()
            mean, log_variance = encoder(x).chunk(2, 1)
            (mean.square() + log_variance.exp() - log_variance).mean().backward(retain_graph=True)
            code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            mse_loss(decoder(code), x).backward()
            for optimizer in optimizers.values():
                optimizer.step()
    assert wrong(diagnose(rec)) == []


def test_a_gradient_that_is_reversed_on_its_way_is_shared_on_purpose(it):
    def loop(it, i):
        it.og.zero_grad()
        it.od.zero_grad()
        x = z().requires_grad_()
        (slope,) = torch.autograd.grad(it.D(x).sum(), x, create_graph=True)
        slope.square().sum().backward()
        d_loss_of(it, Reversal.apply(it.G(z()))).backward()
        it.og.step()
        it.od.step()

    assert wrong(told(it, loop)) == []


def test_a_turn_may_be_left_out(it):
    def loop(it, i):
        it.od.zero_grad()
        if i != 1:  # D is strong enough
            d_loss_of(it, it.G(z()).detach()).backward()
        it.od.step()
        g_turn(it)

    assert wrong(told(it, loop, 3)) == []


def test_weights_may_be_moved_through_data(it):
    def loop(it, i):
        d_turn(it)
        it.G.zero_grad()
        bce(it.D(it.G(z())), 1.0).backward()
        for p in it.G.parameters():
            p.data -= 0.05 * p.grad.data

    assert wrong(told(it, loop)) == []


def test_an_optimizer_may_be_given_other_parameters(it):
    def loop(it, i):
        it.G.requires_grad_(False)
        block = it.G[0 if i == 0 else 2].requires_grad_(True)
        it.og.param_groups[0]["params"] = list(block.parameters())
        g_turn(it)

    assert wrong(told(it, loop)) == []


def test_a_line_that_needs_its_graph_at_other_times_may_keep_it(it):
    def loop(it, i):
        hidden = z()
        it.og.zero_grad()
        for _ in range(2):
            hidden = torch.tanh(it.G(hidden))
            bce(it.D(hidden), 1.0).backward(retain_graph=True)
        it.og.step()

    assert "needless-retain" not in told(it, loop).codes


def test_two_optimizers_of_one_net_are_one_player(it):
    class Slow(torch.optim.SGD):
        def __init__(self, base: torch.optim.Optimizer) -> None:
            super().__init__(base.param_groups[0]["params"], lr=0.0)
            self.base = base

        def step(self, closure: Any = None) -> Any:
            self.base.step()

    it.od = Slow(it.od)

    def loop(it, i):
        d_turn(it)

    diagnosis = told(it, loop)
    assert wrong(diagnosis) == []
    assert not {"shared-backward", "simultaneous", "alternating"} & set(diagnosis.codes)


# Wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["made anew", "of the other net"])
def test_an_optimizer_without_the_parameters_of_its_net(it, how):
    it.og = sgd(it.D) if how == "of the other net" else sgd(mlp(2, 2))
    diagnosis = told(it, both_turns)
    assert ("cut-off", "G") in wrong(diagnosis)
    assert "holds no parameter of G" in diagnosis.findings[0].message


def test_two_discriminators_and_one_late_step():
    torch.manual_seed(0)
    nets = {"G": mlp(2, 2), "MPD": mlp(2, 1), "MSD": mlp(2, 1)}
    G, first, second = nets.values()
    og, od = sgd(G), sgd(first, second)
    with record(nets, {"G": og, "D": od}) as rec:
        for _ in range(2):
            fake = G(z())
            od.zero_grad()
            losses = [bce(D(z()), 1.0) + bce(D(fake.detach()), 0.0) for D in (first, second)]
            torch.stack(losses).sum().backward()
            og.zero_grad()
            torch.stack([bce(D(fake), 1.0) for D in (first, second)]).sum().backward()
            og.step()
            od.step()
    assert set(wrong(diagnose(rec))) == {("polluted", "MPD"), ("polluted", "MSD")}


@pytest.mark.parametrize("name", ["EG", "generator side"])
def test_an_encoder_beside_the_generator_changes_nothing(it, name):
    encoder = mlp(2, 2)
    both = sgd(encoder, it.G)

    def loop(it, i):
        both.zero_grad()
        it.od.zero_grad()
        fake = it.G(encoder(z()))
        g_loss = bce(it.D(fake), 1.0)
        g_loss.backward()
        both.step()
        d_loss = d_loss_of(it, fake.detach())
        d_loss.backward()
        it.od.step()

    nets = {"E": encoder, "G": it.G, "D": it.D}
    assert wrong(told(it, loop, 2, nets, {name: both, "critic": it.od})) == [("polluted", "D")]


PAIRS = [
    ("G", "D"), ("D", "G"), ("Generator", "Discriminator"), ("gnet", "dnet"), ("actor", "critic"),
    ("student", "discriminator"), ("model", "model_D"), ("unet", "mpd"), ("a", "b"), ("b", "a"),
]  # fmt: skip


@pytest.mark.parametrize("names", PAIRS)
@pytest.mark.parametrize("cleared", [False, True])
def test_players_are_told_by_what_they_do_and_not_by_their_names(it, names, cleared):
    def loop(it, i):
        d_loss_of(it, it.G(z()).detach()).backward()
        it.od.step()
        it.od.zero_grad()
        g_turn(it)
        if cleared:
            it.od.zero_grad()

    nets = dict(zip(names, (it.G, it.D), strict=True))
    diagnosis = told(it, loop, 2, nets, dict(zip(names, (it.og, it.od), strict=True)))
    assert wrong(diagnosis) == ([] if cleared else [("polluted", names[1])])


def test_its_own_gradient_was_cleared_and_the_other_players_used(it):
    def loop(it, i):
        fake = it.G(z())
        d_loss = d_loss_of(it, fake.detach())
        d_loss.backward()
        it.og.zero_grad()
        it.od.zero_grad()
        g_loss = bce(it.D(fake), 1.0)
        g_loss.backward()
        it.od.step()
        it.og.step()

    diagnosis = told(it, loop)
    assert wrong(diagnosis) == [("polluted", "D")]
    assert (
        "`d_loss.backward()` had computed for D alone was cleared" in diagnosis.findings[0].message
    )
    assert "in-vain" not in diagnosis.codes


def test_a_helper_that_serves_both_players(it):
    def optimize(optimizer, loss):
        loss.backward()
        optimizer.step()

    def loop(it, i):
        fake = it.G(z())
        optimize(it.od, d_loss_of(it, fake.detach()))
        optimize(it.og, bce(it.D(fake), 1.0))
        it.og.zero_grad()

    diagnosis = told(it, loop)
    assert wrong(diagnosis) == [("polluted", "D")]
    assert "`loss.backward()` (backward call 1)" in diagnosis.findings[0].fix


def test_the_step_of_the_wrong_optimizer_is_not_cemented(it):
    """D follows the loss of G. The record cannot be sure, and the advice must not make it worse."""

    def loop(it, i):
        d_turn(it)
        it.og.zero_grad()
        it.od.zero_grad()
        g_loss = bce(it.D(it.G(z())), 1.0)
        g_loss.backward()
        it.od.step()

    (waste,) = (f for f in told(it, loop).findings if f.code == "in-vain")
    assert waste.net == "G"
    assert waste.fix.startswith("If G is to learn from this, its own step is missing.")


# Why a step found nothing -------------------------------------------------------------------------


def cleared_by_the_other_optimizer_too(it, i):
    it.og.zero_grad()
    g_loss = bce(it.D(it.G(z())), 1.0)
    g_loss.backward()
    it.og.zero_grad()
    it.od.zero_grad()
    it.og.step()


def cleared_by_hand(it, i):
    g_loss = bce(it.D(it.G(z())), 1.0)
    g_loss.backward()
    for p in it.G.parameters():
        p.grad = None
    it.og.step()


def frozen_while_walked_through(it, i):
    it.D.requires_grad_(False)
    it.od.zero_grad()
    d_loss = d_loss_of(it, it.G(z()))
    d_loss.backward()
    it.od.step()


def stepped_before_backward(it, i):
    it.od.zero_grad()
    d_loss = d_loss_of(it, it.G(z()).detach())
    it.od.step()
    d_loss.backward()
    g_turn(it)


WHY = [
    (cleared_by_the_other_optimizer_too, "`it.og.zero_grad()` (line ", "Clear before"),
    (cleared_by_hand, "Something had cleared what `g_loss.backward()` wrote", "Clear before"),
    (frozen_while_walked_through, "no parameter of D wants a gradient", "Thaw D"),
    (stepped_before_backward, "had cleared what `d_loss.backward()` wrote", "Clear before"),
]


@pytest.mark.parametrize(("loop", "why", "fix"), WHY, ids=[loop.__name__ for loop, *_ in WHY])
def test_a_step_without_gradient_says_why(it, loop, why, fix):
    findings = [f for f in told(it, loop).findings if f.code == "cut-off"]
    assert any(why in f.message for f in findings), findings
    assert any(fix in f.fix for f in findings)
