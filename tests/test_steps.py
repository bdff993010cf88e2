"""The three steps against gradients that were derived by hand, and against autograd.grad."""

import copy
import inspect
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gan_lessons import STRATEGIES, Gan, dcgan, mlp_gan, published
from gan_lessons.steps import gradients_kept, step_detach, step_generator_first, step_retain_graph
from gan_lessons.strategies import THREE

STEPS = [step_retain_graph, step_detach, step_generator_first]
LR = 0.1


@pytest.fixture(autouse=True)
def _fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Hand:
    """g(z) = a z, d(x) = sigmoid(b x), one batch: every gradient of the two losses on paper.

    With s = sigmoid(b a z) = d(fake) and r = sigmoid(b x) = d(real), as means over the batch:
    d_loss = -(log r + log(1 - s)) / 2 and g_loss = -log s.
    """

    def __init__(self, a=0.7, b=-0.4, n=5):
        generator = torch.Generator().manual_seed(0)
        self.a, self.b = torch.tensor(a).double(), torch.tensor(b).double()
        self.x = torch.randn(n, 1, dtype=torch.float64, generator=generator) + 1
        self.z = torch.randn(n, 1, dtype=torch.float64, generator=generator)

    def gan(self, optimizer=torch.optim.SGD):
        nets = [nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)]
        for net, weight in zip(nets, (self.a, self.b), strict=True):
            nn.init.constant_(net.double().weight, weight.item())
        G, D = nets[0], nn.Sequential(nets[1], nn.Sigmoid())
        return Gan(G, D, optimizer(G.parameters(), lr=LR), optimizer(D.parameters(), lr=LR))

    def s(self, a, b):
        return (b * a * self.z).sigmoid()

    def d_loss(self, a, b):
        return -(((b * self.x).sigmoid().log() + (1 - self.s(a, b)).log()) / 2).mean()

    def g_loss(self, a, b):
        return -self.s(a, b).log().mean()

    def d_loss_by_b(self, a, b):
        r = (b * self.x).sigmoid()
        return (((r - 1) * self.x + self.s(a, b) * a * self.z) / 2).mean()

    def g_loss_by_a(self, a, b):
        return ((self.s(a, b) - 1) * b * self.z).mean()

    def g_loss_by_b(self, a, b):
        return ((self.s(a, b) - 1) * a * self.z).mean()


def weights(gan):
    return gan.generator.weight.squeeze(), gan.discriminator[0].weight.squeeze()


def grads(gan):
    return gan.generator.weight.grad.squeeze(), gan.discriminator[0].weight.grad.squeeze()


def assert_numbers(found, *expected):
    torch.testing.assert_close(torch.stack(list(found)).detach(), torch.stack(expected))


def test_retain_graph_by_hand():
    hand = Hand()
    a, b, gan = hand.a, hand.b, hand.gan()
    losses = step_retain_graph(gan, hand.x, hand.z)
    assert_numbers(losses, hand.d_loss(a, b), hand.g_loss(a, b))
    grad_a, grad_b = hand.g_loss_by_a(a, b), hand.d_loss_by_b(a, b)  # both at the old weights
    assert_numbers(grads(gan), grad_a, grad_b)
    assert_numbers(weights(gan), a - LR * grad_a, b - LR * grad_b)


def test_detach_by_hand():
    hand = Hand()
    a, b, gan = hand.a, hand.b, hand.gan()
    losses = step_detach(gan, hand.x, hand.z)
    new_b = b - LR * hand.d_loss_by_b(a, b)
    assert_numbers(losses, hand.d_loss(a, b), hand.g_loss(a, new_b))
    grad_a = hand.g_loss_by_a(a, new_b)  # at the new D
    in_vain = hand.g_loss_by_b(a, new_b)  # stays in D's .grad until its next zero_grad
    assert_numbers(grads(gan), grad_a, hand.d_loss_by_b(a, b) + in_vain)
    assert_numbers(weights(gan), a - LR * grad_a, new_b)


def test_generator_first_by_hand():
    hand = Hand()
    a, b, gan = hand.a, hand.b, hand.gan()
    losses = step_generator_first(gan, hand.x, hand.z)
    assert_numbers(losses, hand.d_loss(a, b), hand.g_loss(a, b))
    grad_a, grad_b = hand.g_loss_by_a(a, b), hand.d_loss_by_b(a, b)  # b's uses the old a's fake
    assert_numbers(grads(gan), grad_a, grad_b)
    assert_numbers(weights(gan), a - LR * grad_a, b - LR * grad_b)
    new_a = a - LR * grad_a
    assert not torch.isclose(hand.d_loss_by_b(new_a, b), grad_b)  # so the test can tell


def batch_for(gan, n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    real = torch.rand(n, *gan.discriminator.in_shape, generator=generator) * 2 - 1
    return real, torch.randn(n, *gan.generator.in_shape, generator=generator)


def state(gan, buffers=True):
    """Every weight (and buffer) of both nets, as one flat list of copies."""
    nets = (gan.generator, gan.discriminator)
    kinds = [net.state_dict() if buffers else dict(net.named_parameters()) for net in nets]
    return [t.detach().clone() for kind in kinds for t in kind.values()]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@settings(max_examples=15, deadline=None)
@given(
    hidden_g=st.lists(st.integers(1, 8), max_size=3),
    hidden_d=st.lists(st.integers(1, 8), max_size=3),
    seed=st.integers(0, 99),
    step=st.sampled_from([step_retain_graph, step_generator_first]),
)
def test_simultaneous_steps_give_the_gradients_of_autograd_grad(hidden_g, hidden_d, seed, step):
    gan = mlp_gan((3,), 4, hidden_g, hidden_d, seed=seed)
    real, noise = batch_for(gan, seed=seed)
    old = copy.deepcopy(gan)
    G, D = old.generator, old.discriminator
    pred_real, pred_fake = D(real), D(G(noise))
    g_loss = -pred_fake.log().mean()
    d_loss = -(pred_real.log().mean() + (1 - pred_fake).log().mean()) / 2
    by_g = torch.autograd.grad(g_loss, list(G.parameters()), retain_graph=True)
    by_d = torch.autograd.grad(d_loss, list(D.parameters()))

    step(gan, real, noise)
    for net, expected in ((gan.generator, by_g), (gan.discriminator, by_d)):
        for parameter, grad in zip(net.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, grad)


def as_printed_with_copies(gan, real, noise):
    """Torch's own way: saved tensors are copied when they are about to be rewritten."""
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        return published.retain_graph_as_printed(gan, real, noise)


def through_clones(gan, real, noise):
    """As printed, with D's forwards on clones of its weights, which nobody rewrites."""
    G, D, opt_g, opt_d, loss = gan.parts
    clones = {name: p.clone() for name, p in D.named_parameters()}
    pred_fake, pred_real = (torch.func.functional_call(D, clones, x) for x in (G(noise), real))
    opt_d.zero_grad()
    d_loss = (
        loss(pred_real, torch.ones_like(pred_real)) + loss(pred_fake, torch.zeros_like(pred_fake))
    ) / 2
    d_loss.backward(retain_graph=True)
    opt_d.step()
    opt_g.zero_grad()
    g_loss = loss(pred_fake, torch.ones_like(pred_fake))
    g_loss.backward()
    opt_g.step()
    return d_loss.detach(), g_loss.detach()


@pytest.mark.parametrize("repair", [as_printed_with_copies, through_clones])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_three_repairs_of_retain_graph_agree_exactly(repair, optimizer):
    def make():
        gan = mlp_gan((20,), 8, (32, 32), (32, 32))
        opts = [optimizer(net.parameters(), lr=1e-2) for net in (gan.generator, gan.discriminator)]
        return Gan(gan.generator, gan.discriminator, *opts)

    ours, other = make(), make()
    for i in range(5):
        batch = batch_for(ours, seed=i)
        assert same(step_retain_graph(ours, *batch), repair(other, *batch))
        assert same(state(ours), state(other))
        for a, b in zip(ours.generator.parameters(), other.generator.parameters(), strict=True):
            assert torch.equal(a.grad, b.grad)


def one_forward_two_grads(gan, real, noise):
    """The simultaneous update, written so that nothing can leak: autograd.grad, then both steps."""
    G, D, opt_g, opt_d, loss = gan.parts
    pred_fake, pred_real = D(G(noise)), D(real)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    g_loss = loss(pred_fake, ones)
    for net, value in ((D, d_loss), (G, g_loss)):
        parameters = list(net.parameters())
        found = torch.autograd.grad(value, parameters, retain_graph=True)
        for parameter, grad in zip(parameters, found, strict=True):
            parameter.grad = grad
    opt_d.step()
    opt_g.step()


MAKERS = {
    "mlp": lambda: mlp_gan((10,), 4, (16,), (16,)),
    "dcgan": lambda: dcgan(16, 1, 4, width=4, batchnorm=False),
    "dcgan with batchnorm in D": lambda: dcgan(16, 1, 4, width=4, batchnorm=True),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("step", [step_retain_graph, step_generator_first])
def test_twenty_adam_steps_are_the_simultaneous_update_bit_by_bit(step, make):
    gan, oracle = make(), make()
    for i in range(20):
        batch = batch_for(gan, n=4, seed=i)
        step(gan, *batch)
        one_forward_two_grads(oracle, *batch)
    assert same(state(gan, buffers=False), state(oracle, buffers=False))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_detach_is_another_update(make):
    gan, oracle = make(), make()
    batch = batch_for(gan, n=4)
    step_detach(gan, *batch)
    one_forward_two_grads(oracle, *batch)
    assert same(list(gan.discriminator.parameters()), list(oracle.discriminator.parameters()))
    assert not same(list(gan.generator.parameters()), list(oracle.generator.parameters()))


@pytest.mark.parametrize(
    ("step", "d_forwards"), [(step_retain_graph, 2), (step_detach, 3), (step_generator_first, 3)]
)
def test_forwards_per_step(step, d_forwards):
    gan = dcgan(16, 1, 4, width=4)
    calls = {"G": 0, "D": 0}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    gan.generator.register_forward_hook(count("G"))
    gan.discriminator.register_forward_hook(count("D"))
    step(gan, *batch_for(gan))
    assert calls == {"G": 1, "D": d_forwards}
    tracked = [m for m in gan.discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [int(m.state_dict()["num_batches_tracked"]) for m in tracked] == [d_forwards]


# What goes wrong when opt_g.zero_grad() is left out between the two backwards of S1.


@settings(max_examples=20, deadline=None)
@given(st.floats(-6, 6))
def test_without_zero_grad_the_sum_per_logit(logit):
    """d_loss leaves s/2 and g_loss adds s - 1, where s = D(fake): (3s - 2)/2 in all."""
    leaf = torch.tensor([[logit]], dtype=torch.float64, requires_grad=True)
    s = leaf.sigmoid()
    (nn.BCELoss()(s, torch.zeros_like(s)) / 2).backward(retain_graph=True)
    nn.BCELoss()(s, torch.ones_like(s)).backward()
    torch.testing.assert_close(leaf.grad, (3 * s.detach() - 2) / 2)


@pytest.mark.parametrize(("b", "ratio"), [(0.001, 0.5), (3.0, None)])
def test_without_zero_grad_the_gradient_shrinks_and_then_flips(b, ratio):
    hand = Hand(a=1.0, b=b)
    hand.z = hand.z.abs() + 0.5  # D(fake) > 2/3 for every sample where b is large
    gan, a, b = hand.gan(), hand.a, hand.b
    gan.optimizer_g.zero_grad = lambda: None
    step_retain_graph(gan, hand.x, hand.z)
    s = hand.s(a, b)
    assert_numbers(grads(gan)[:1], ((3 * s - 2) / 2 * b * hand.z).mean())
    found = (grads(gan)[0] / hand.g_loss_by_a(a, b)).item()
    assert found == pytest.approx(ratio, abs=0.01) if ratio else found < -1


# The helper that keeps D's gradients.


def assert_equal(tensor, expected):
    assert tensor.tolist() == expected


def test_gradients_kept_puts_the_same_tensors_back():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([used], lr=0.1)
    optimizer.add_param_group({"params": [unused]})
    used.sum().backward()
    kept = used.grad
    with gradients_kept(optimizer):
        assert used.grad is None
        (5 * used.sum() + unused.sum()).backward()
        assert_equal(used.grad, [5, 5])
    assert used.grad is kept
    assert_equal(kept, [1, 1])
    assert unused.grad is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_gradients_kept_survives_errors(error):
    parameter = nn.Parameter(torch.ones(2))
    parameter.sum().backward()
    kept = parameter.grad
    with pytest.raises(error), gradients_kept(torch.optim.SGD([parameter], lr=0.1)):
        raise error
    assert parameter.grad is kept


def test_a_failing_backward_leaves_the_gradient_of_d_alone():
    gan = mlp_gan((3,), 4, (5,), (5,))
    real, noise = batch_for(gan)

    calls = []

    def refuse(grad):
        calls.append(grad)
        if len(calls) == 2:  # g_loss, after d_loss
            raise RuntimeError("broken on purpose")

    next(gan.generator.parameters()).register_hook(refuse)
    expected = mlp_gan((3,), 4, (5,), (5,))
    step_generator_first(expected, real, noise)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        step_retain_graph(gan, real, noise)
    for p, q in zip(
        gan.discriminator.parameters(), expected.discriminator.parameters(), strict=True
    ):
        torch.testing.assert_close(p.grad, q.grad)


# Any nets, any optimizers; what a step returns; the registry.


class OneNumber(nn.Module):
    """A stranger's discriminator: (batch,) instead of (batch, 1)."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 1)

    def forward(self, x):
        return self.a(x).squeeze(1).sigmoid()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.AdamW, torch.optim.SGD])
def test_strangers_nets_and_optimizers(step, optimizer):
    G, D = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)), OneNumber()
    gan = Gan(G, D, optimizer(G.parameters(), lr=0.01), optimizer(D.parameters(), lr=0.01))
    before = state(gan)
    losses = step(gan, torch.randn(5, 3), torch.randn(5, 2))
    for value in losses:
        assert value.shape == ()
        assert value.isfinite()
        assert not value.requires_grad
    assert all(not torch.equal(a, b) for a, b in zip(before, state(gan), strict=True))


@pytest.mark.parametrize("step", STEPS)
def test_logits_and_probabilities_take_the_same_step(step):
    plain, logits = (mlp_gan((3,), 4, (5,), (5,), logits=flag) for flag in (False, True))
    batch = batch_for(plain)
    for a, b in zip(step(plain, *batch), step(logits, *batch), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(plain.generator.parameters(), logits.generator.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_a_net_that_is_shared_but_held_once_is_served_right():
    """A layer of D inside G, moved by D alone: S1 still gives D its own gradient."""
    shared = nn.Linear(3, 3)
    G = nn.Sequential(nn.Linear(2, 3), shared)
    D = nn.Sequential(shared, nn.Linear(3, 1), nn.Sigmoid())
    opt_g, opt_d = torch.optim.SGD(G[0].parameters(), 0.1), torch.optim.SGD(D.parameters(), 0.1)
    gan = Gan(G, D, opt_g, opt_d)
    real, noise = torch.randn(4, 3), torch.randn(4, 2)
    pred_fake, pred_real = D(G(noise)), D(real)
    d_loss = -(pred_real.log().mean() + (1 - pred_fake).log().mean()) / 2
    expected = torch.autograd.grad(d_loss, list(D.parameters()))
    step_retain_graph(gan, real, noise)
    for parameter, grad in zip(D.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_reads_on_one_screen(step):
    assert len(inspect.getsource(step).splitlines()) <= 25


def test_strategies_are_named_and_ordered():
    leaner = ["frozen", "selective", "one_stage"]
    assert list(STRATEGIES) == [*THREE, *leaner]
    assert [STRATEGIES[key].step for key in THREE] == STEPS
    for key, strategy in STRATEGIES.items():
        assert strategy.key == key
        assert strategy.title
        assert strategy.summary.endswith(".")


def test_strategies_cannot_be_changed():
    strategies: Any = STRATEGIES
    with pytest.raises(TypeError):
        strategies["mine"] = strategies["detach"]
    with pytest.raises(FrozenInstanceError):
        strategies["detach"].title = "mine"


@pytest.mark.parametrize(
    ("key", "close"), [("detatch", "detach"), ("generator", "generator_first"), (7, None)]
)
def test_an_unknown_strategy_names_the_known_ones(key, close):
    with pytest.raises(KeyError, match="known: retain_graph, detach, generator_first") as caught:
        STRATEGIES[key]
    assert repr(key) in str(caught.value)
    if close:
        assert f"Did you mean {close!r}?" in caught.value.args[0]
    assert key not in STRATEGIES
    assert STRATEGIES.get(key) is None
