"""Lesson 04, strategy 3: what the article claims about it, measured without the notebook.

Plain torch measures; the record is used where a test asks what the lesson's own tool says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch.nn.utils import parameters_to_vector
from torch.nn.utils.parametrizations import spectral_norm

from gan_lessons import (
    Gan,
    data,
    dcgan,
    mlp_gan,
    record,
    step_detach,
    step_generator_first,
    step_retain_graph,
)
from gan_lessons.models import Generator
from gan_lessons.train import train

REAL, NOISE = data.noise(16, (6,), seed=1), data.noise(16, (4,), seed=2)


@pytest.fixture(autouse=True)
def _fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def small_gan(seed: int = 0) -> Gan:
    return mlp_gan((6,), 4, (8, 8), (8, 8), lr=1e-2, seed=seed)


def grads(net: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in net.parameters()]


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def generator_first(
    gan: Gan, fake_for_d: Callable[[Tensor], Tensor], *, retain: bool = False
) -> None:
    """S3 on the fixed batch, with another fake for D."""
    G, D, opt_g, opt_d, loss = gan.parts
    ones, zeros = torch.ones(len(REAL), 1), torch.zeros(len(REAL), 1)
    opt_g.zero_grad()
    fake = G(NOISE)
    loss(D(fake), ones).backward(retain_graph=retain)
    opt_g.step()
    opt_d.zero_grad()
    d_loss = (loss(D(REAL), ones) + loss(D(fake_for_d(fake)), zeros)) / 2
    d_loss.backward()
    opt_d.step()


# C10: g_loss.backward also gives D gradients that nobody uses.


class Watched(torch.optim.SGD):
    """Keeps what D's gradients were when it was asked to clear, and when it was asked to step."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net.parameters(), lr=0.1)
        self.net = net
        self.cleared: list[list[Tensor | None]] = []
        self.stepped: list[list[Tensor | None]] = []

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.cleared.append(grads(self.net))
        super().zero_grad(set_to_none)

    def step(self, closure=None):
        self.stepped.append(grads(self.net))
        return super().step()


def test_c10_g_loss_gives_d_gradients_that_nobody_uses():
    gan = small_gan()
    D, loss = gan.discriminator, gan.loss
    gan.optimizer_d = watched = Watched(D)
    parameters = list(D.parameters())
    ones, zeros = torch.ones(len(REAL), 1), torch.zeros(len(REAL), 1)
    fake = gan.generator(NOISE)
    in_vain = torch.autograd.grad(loss(D(fake), ones), parameters)
    d_loss = (loss(D(REAL), ones) + loss(D(fake.detach()), zeros)) / 2
    wanted = torch.autograd.grad(d_loss, parameters)

    with record(gan.nets, gan.optimizers) as rec:
        step_generator_first(gan, REAL, NOISE)

    assert all(g is not None and g.any() for g in watched.cleared[0])
    torch.testing.assert_close(watched.cleared[0], list(in_vain))
    assert len(watched.stepped) == 1
    torch.testing.assert_close(watched.stepped[0], list(wanted))  # and nothing of g_loss in it
    states = next(e for e in rec.events if e.kind == "backward").grads["D"].values()
    assert rec.backward_calls[0].received["D"] == tuple(rec.parameters["D"])
    assert [s.used_by for s in states] == [None] * len(states)


# C11: without detach the gradient would not flow on either. So it is, but it raises.


def test_c11_without_detach_g_receives_nothing_it_raises_and_d_does_not_move():
    gan = small_gan()
    before = weights(gan.discriminator)
    with (
        record(gan.nets, gan.optimizers) as rec,
        pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"),
    ):
        generator_first(gan, lambda fake: fake)
    assert same(weights(gan.discriminator), before)
    assert rec.backward_calls[1].received["D"]
    assert not rec.backward_calls[1].received["G"]


def test_c11_retaining_leads_to_the_inplace_error_since_g_has_moved():
    wanted = "one of the variables needed for gradient computation has been modified by an inplace"
    with pytest.raises(RuntimeError, match=wanted):
        generator_first(small_gan(), lambda fake: fake, retain=True)
    unmoved = small_gan()
    unmoved.optimizer_g = torch.optim.SGD(unmoved.generator.parameters(), lr=0.1)
    unmoved.optimizer_g.step = lambda closure=None: None  # type: ignore[method-assign]
    generator_first(unmoved, lambda fake: fake, retain=True)  # no move, no error


@pytest.mark.parametrize("detach", [True, False])
def test_c11_with_a_new_fake_leaving_out_detach_only_wastes(detach):
    def new_fake(_: Tensor) -> Tensor:
        fake = gan.generator(NOISE)
        return fake.detach() if detach else fake

    gan, reference = small_gan(), small_gan()
    generator_first(reference, lambda _: reference.generator(NOISE).detach())
    with record(gan.nets, gan.optimizers) as rec:
        generator_first(gan, new_fake)
    for net in ("G", "D"):
        assert same(weights(gan.nets[net]), weights(reference.nets[net]))
    assert bool(rec.backward_calls[1].received["G"]) is not detach


def test_c11_with_inputs_it_runs_without_detach():
    gan, reference = small_gan(), small_gan()
    step_generator_first(reference, REAL, NOISE)
    G, D, opt_g, opt_d, loss = gan.parts
    ones, zeros = torch.ones(len(REAL), 1), torch.zeros(len(REAL), 1)
    fake = G(NOISE)
    loss(D(fake), ones).backward()
    opt_g.step()
    opt_d.zero_grad()
    d_loss = (loss(D(REAL), ones) + loss(D(fake), zeros)) / 2
    d_loss.backward(inputs=list(D.parameters()))
    opt_d.step()
    for net in ("G", "D"):
        assert same(weights(gan.nets[net]), weights(reference.nets[net]))


# C12: the fake passes D twice and gives the same output.

FIRST_LAYERS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "plain": lambda linear: linear,
    "BatchNorm": lambda linear: nn.Sequential(linear, nn.BatchNorm1d(8)),
    "dropout": lambda linear: nn.Sequential(linear, nn.Dropout(0.5)),
    "spectral norm": spectral_norm,
}
ALIKE = {"plain": True, "BatchNorm": True, "dropout": False, "spectral norm": False}


def gan_with(kind: str) -> Gan:
    torch.manual_seed(0)
    first = FIRST_LAYERS[kind](nn.Linear(6, 8))
    D = nn.Sequential(first, nn.LeakyReLU(0.2), nn.Linear(8, 1), nn.Sigmoid())
    return Gan.with_adam(Generator(4, (6,), hidden=(8,)), D, nn.BCELoss(), lr=1e-2)


def take_steps(step: Callable[[Gan, Tensor, Tensor], object], gan: Gan, count: int = 20) -> Gan:
    torch.manual_seed(0)
    for i in range(count):
        step(gan, data.noise(16, (6,), seed=i), data.noise(16, (4,), seed=100 + i))
    return gan


def simultaneous(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """One forward, both gradients, then both steps; with autograd.grad, so nothing can leak."""
    G, D, opt_g, opt_d, loss = gan.parts
    pred_fake, pred_real = D(G(noise)), D(real)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    for net, value in ((D, d_loss), (G, loss(pred_fake, ones))):
        parameters = list(net.parameters())
        found = torch.autograd.grad(value, parameters, retain_graph=True)
        for parameter, grad in zip(parameters, found, strict=True):
            parameter.grad = grad
    opt_d.step()
    opt_g.step()


@pytest.mark.parametrize("kind", FIRST_LAYERS)
def test_c12_the_two_outputs_for_the_fake(kind):
    gan = take_steps(step_generator_first, gan_with(kind))
    seen: list[tuple[Tensor, Tensor]] = []
    gan.discriminator.register_forward_hook(
        lambda _, args, out: seen.append((args[0].detach(), out.detach()))
    )
    step_generator_first(gan, REAL, NOISE)
    (fake, first), (_, _), (again, second) = seen
    assert torch.equal(fake, again)
    assert torch.equal(first, second) is ALIKE[kind]


@pytest.mark.parametrize("kind", FIRST_LAYERS)
def test_c12_in_the_first_step_only_d_can_differ(kind):
    ours = take_steps(step_generator_first, gan_with(kind), count=1)
    reference = take_steps(simultaneous, gan_with(kind), count=1)
    assert same(weights(ours.generator), weights(reference.generator))
    assert same(weights(ours.discriminator), weights(reference.discriminator)) is ALIKE[kind]


@pytest.mark.parametrize("kind", FIRST_LAYERS)
def test_c12_the_simultaneous_update_bit_for_bit_only_where_the_outputs_agree(kind):
    ours = take_steps(step_generator_first, gan_with(kind))
    reference = take_steps(simultaneous, gan_with(kind))
    for net in ("G", "D"):
        assert same(weights(ours.nets[net]), weights(reference.nets[net])) is ALIKE[kind]
    alternating = take_steps(step_detach, gan_with(kind))
    assert not same(weights(alternating.generator), weights(reference.generator))


def test_c12_batchnorm_counts_three_batches_a_step_and_differs_in_eval_mode():
    ours = take_steps(step_generator_first, gan_with("BatchNorm")).discriminator
    reference = take_steps(simultaneous, gan_with("BatchNorm")).discriminator
    counts = [d.state_dict()["0.1.num_batches_tracked"].item() for d in (ours, reference)]
    assert counts == [60, 40]
    assert same(weights(ours), weights(reference))
    with torch.no_grad():
        assert torch.equal(ours(REAL), reference(REAL))
        assert not torch.allclose(ours.eval()(REAL), reference.eval()(REAL), atol=1e-4)


# C13: D's second graph is smaller than the first.


def saved_bytes(make: Callable[[], Tensor], *nets: nn.Module) -> int:
    """Bytes of the distinct storages that a graph saves, the nets' parameters apart."""
    own = {p.untyped_storage().data_ptr() for net in nets for p in net.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = make()
    assert kept.grad_fn is not None
    return sum(size for place, size in saved.items() if place not in own)


@pytest.mark.parametrize(
    "gan",
    [
        mlp_gan((6,), 4, (8, 8), (8, 8)),
        mlp_gan((6,), 4, (8,), (64, 64)),
        mlp_gan((6,), 4, (64, 64), (8,)),
        dcgan(16, 1, 4, width=4),
    ],
    ids=["equal", "large D", "large G", "dcgan"],
)
def test_c13_the_second_graph_is_smaller_by_what_g_saved(gan):
    G, D, loss = gan.generator, gan.discriminator, gan.loss
    noise = data.noise(16, G.in_shape, seed=0)
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    fake = G(noise).detach()
    first = saved_bytes(lambda: loss(D(G(noise)), ones), G, D)
    second = saved_bytes(lambda: loss(D(fake), zeros), G, D)
    of_g = saved_bytes(lambda: G(noise), G)
    assert first - second == of_g - fake.untyped_storage().nbytes() > 0


def test_c13_the_whole_of_d_loss_may_be_the_larger_graph():
    gan = mlp_gan((6,), 4, (8, 8), (64, 64))
    with record(gan.nets, gan.optimizers) as rec:
        step_generator_first(gan, REAL, NOISE)
    g_call, d_call = rec.backward_calls
    assert d_call.held_before.activations > g_call.held_before.activations
    after_g_loss = next(e for e in rec.events if e.kind == "backward")
    assert after_g_loss.held.total == 0  # all is freed in the middle of the step


# C18: S3 feels odd, since G's update needs an accurate D.


def grad_of_g(step: Callable[[Gan, Tensor, Tensor], object], gan: Gan, *batch: Tensor) -> Tensor:
    gan = copy.deepcopy(gan)
    step(gan, *batch)
    return parameters_to_vector([p.grad for p in gan.generator.parameters() if p.grad is not None])


def exact_grad_of_g(gan: Gan, D: nn.Module, noise: Tensor) -> Tensor:
    pred = D(gan.generator(noise))
    parameters = list(gan.generator.parameters())
    found = torch.autograd.grad(gan.loss(pred, torch.ones_like(pred)), parameters)
    return parameters_to_vector(list(found))


def test_c18_g_learns_from_the_old_d_in_s3_and_s1_and_from_the_new_d_in_s2():
    gan = small_gan()
    moved = copy.deepcopy(gan)
    step_detach(moved, REAL, NOISE)
    old = exact_grad_of_g(gan, gan.discriminator, NOISE)
    new = exact_grad_of_g(gan, moved.discriminator, NOISE)
    s1, s2, s3 = (
        grad_of_g(step, gan, REAL, NOISE)
        for step in (step_retain_graph, step_detach, step_generator_first)
    )
    assert torch.equal(s1, s3)
    torch.testing.assert_close(s3, old)
    torch.testing.assert_close(s2, new)
    assert not torch.allclose(old, new, rtol=1e-2)


@pytest.mark.parametrize(
    ("step", "d_seen"), [(step_retain_graph, 0), (step_detach, 1), (step_generator_first, 0)]
)
def test_c18_the_record_tells_which_weights_were_seen(step, d_seen):
    gan = small_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step(gan, REAL, NOISE)
    call = next(c for c in rec.backward_calls if c.source.startswith("g_loss"))
    seen = [rec.forwards[f] for f in call.forwards]
    assert {f.weights for f in seen if f.net == "D"} == {d_seen}
    assert [f.weights for f in rec.forwards if f.net == "G"] == [0]


@pytest.mark.parametrize("lr", [2e-4, 2e-3, 1e-2])
def test_c18_one_step_behind_is_far_from_untrained(lr):
    digits = data.digits()
    behind, blind = [], []
    for seed in range(5):
        gan = mlp_gan((1, 8, 8), 16, (64, 64), (64, 64), lr=lr, seed=seed)
        train(gan, digits, steps=100, seed=seed, progress=False)
        batch = data.batch(digits, 64, seed + 100), data.noise(64, (16,), seed + 200)
        new = grad_of_g(step_detach, gan, *batch)
        untrained = mlp_gan((1, 8, 8), 16, (64, 64), (64, 64), seed=seed + 300).discriminator
        old = grad_of_g(step_generator_first, gan, *batch)
        behind.append(cosine_similarity(old, new, dim=0).item())
        blindly = exact_grad_of_g(gan, untrained, batch[1])
        blind.append(cosine_similarity(blindly, new, dim=0).item())
    assert min(behind) > max(blind)
    assert min(behind) > 0.5
