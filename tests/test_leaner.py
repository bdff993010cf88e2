"""The leaner steps: the same gradients as the simultaneous update, and refusals where not."""

import copy
import inspect
import warnings
from collections.abc import Callable
from functools import partial
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector
from torch.nn.utils.parametrizations import spectral_norm

from gan_lessons import (
    Gan,
    data,
    dcgan,
    mlp_gan,
    record,
    step_by_halves,
    step_detach,
    step_frozen,
    step_one_stage,
    step_selective,
    tiny_gan,
)
from gan_lessons.checks import Loss
from gan_lessons.independence import predict, require_independent
from gan_lessons.lean_steps import gradient_ratio, in_range, ratio_of, ratio_of_bce
from gan_lessons.losses import bce_with_logits
from gan_lessons.models import DCDiscriminator, DCGenerator, ShapedModule
from gan_lessons.put_back import frozen, trainable

one_call = partial(step_one_stage, one_call=True)
LEANER: list[Any] = [step_frozen, step_selective, step_one_stage, one_call, step_by_halves]
IDS = ["frozen", "selective", "one_stage", "one_call", "by_halves"]
ALLOWED = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture(autouse=True)
def _fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def simultaneous(gan: Gan, real: Tensor, noise: Tensor) -> list[Tensor]:
    """The gradients of G and of D as autograd.grad gives them, loss by loss; moves nothing."""
    G, D, _, _, loss = gan.parts
    pred_fake, pred_real = D(G(noise)), D(real)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    d_loss = (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2
    g_loss = loss(pred_fake, ones)
    of_g = torch.autograd.grad(g_loss, trainable(G), retain_graph=True)
    of_d = torch.autograd.grad(d_loss, trainable(D))
    return [parameters_to_vector(list(found)) for found in (of_g, of_d)]


def gradients(gan: Gan) -> list[Tensor]:
    return [
        parameters_to_vector([p.grad for p in trainable(net) if p.grad is not None])
        for net in (gan.generator, gan.discriminator)
    ]


def relative(found: Tensor, right: Tensor) -> float:
    return ((found - right).norm() / right.norm()).item()


def batch_for(gan: Gan, n: int = 6) -> tuple[Tensor, Tensor]:
    G, D = gan.generator, gan.discriminator
    weight = next(D.parameters())
    shapes: Any = (D.in_shape, G.in_shape)
    real, noise = (data.noise(n, shape, seed) for seed, shape in enumerate(shapes))
    return real.to(weight), noise.to(weight)


def in_double(gan: Gan) -> Gan:
    return Gan.with_adam(gan.generator.double(), gan.discriminator.double(), gan.loss)


def squares(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().mean()  # least squares GAN


def hinge(prediction: Tensor, target: Tensor) -> Tensor:
    return (1 - (2 * target - 1) * prediction).relu().mean()


LOSSES: dict[str, Loss] = {
    "probabilities": nn.BCELoss(),
    "logits": bce_with_logits,
    "squares": squares,
}


@pytest.mark.parametrize("step", LEANER, ids=IDS)
@settings(max_examples=25, deadline=None)
@given(
    hidden_g=st.lists(st.integers(1, 9), max_size=3),
    hidden_d=st.lists(st.integers(1, 9), max_size=3),
    n=st.integers(1, 7),
    seed=st.integers(0, 999),
    loss=st.sampled_from(sorted(LOSSES)),
    dtype=st.sampled_from(list(ALLOWED)),
)
def test_gradients_are_those_of_the_simultaneous_update(
    step, hidden_g, hidden_d, n, seed, loss, dtype
):
    gan = mlp_gan((2, 3), 4, hidden_g, hidden_d, logits=loss != "probabilities", seed=seed)
    gan.loss = LOSSES[loss]
    gan = in_double(gan) if dtype == torch.float64 else gan
    real, noise = batch_for(gan, n)
    right = simultaneous(gan, real, noise)
    step(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert relative(found, expected) <= ALLOWED[dtype]


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("step", LEANER, ids=IDS)
def test_gradients_of_a_dcgan(step, dtype):
    gan = dcgan(16, 2, 5, width=6, batchnorm=False, logits=True)
    gan = in_double(gan) if dtype == torch.float64 else gan
    real, noise = batch_for(gan)
    right = simultaneous(copy.deepcopy(gan), real, noise)  # G's BatchNorm counts its forwards
    step(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert relative(found, expected) <= ALLOWED[dtype]


@pytest.mark.parametrize("step", LEANER, ids=IDS)
def test_twenty_steps_end_where_the_simultaneous_update_ends(step):
    ours, theirs = (in_double(mlp_gan((6,), 4, (8,), (8,), lr=1e-2)) for _ in range(2))
    for _ in range(20):
        real, noise = batch_for(ours)
        step(ours, real, noise)
        found = simultaneous(theirs, real, noise)
        for name, grad in zip(("G", "D"), found, strict=True):
            parameters = list(theirs.nets[name].parameters())
            pieces = grad.split([p.numel() for p in parameters])
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.grad = piece.view_as(parameter)
            theirs.optimizers[name].step()
    for name, net in ours.nets.items():
        mine, right = (parameters_to_vector(n.parameters()) for n in (net, theirs.nets[name]))
        torch.testing.assert_close(mine, right)


@pytest.mark.parametrize("step", LEANER, ids=IDS)
def test_after_several_steps_of_the_critic(step):
    gan = mlp_gan((6,), 4, (8,), (8,), logits=True, lr=1e-2)
    real, noise = batch_for(gan)
    G, D, _, opt_d, loss = gan.parts
    for _ in range(3):
        opt_d.zero_grad()
        pred_real, pred_fake = D(real), D(G(noise).detach())
        ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
        ((loss(pred_real, ones) + loss(pred_fake, zeros)) / 2).backward()
        opt_d.step()
    right = simultaneous(gan, real, noise)
    step(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert relative(found, expected) <= 1e-5


@pytest.mark.parametrize("step", LEANER, ids=IDS)
def test_under_autocast(step):
    """In bfloat16 (8 bits) the steps differ from float32 as much as the reference does."""
    gan = mlp_gan((6,), 4, (64,), (64,), logits=True)
    real, noise = batch_for(gan, 32)
    right = simultaneous(gan, real, noise)
    with torch.autocast("cpu", torch.bfloat16):
        step(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert found.dtype == torch.float32
        assert 1e-6 < relative(found, expected) < 0.05


@pytest.mark.parametrize("step", LEANER[:3], ids=IDS[:3])
def test_a_step_reads_on_one_screen(step):
    assert len(inspect.getsource(step).splitlines()) <= 32


def test_what_each_call_reaches():
    seen = {}
    for step in LEANER[:3]:
        gan = tiny_gan()
        real, noise = batch_for(gan)
        with record(gan.nets, gan.optimizers) as rec:
            step(gan, real, noise)
        seen[step.__name__] = [
            {n for n, got in c.received.items() if got} for c in rec.backward_calls
        ]
        forwards = [f.net for f in rec.forwards]
        assert forwards.count("G") == 1
        assert forwards.count("D") == (3 if step is step_frozen else 2)
        in_vain = [
            s
            for e in rec.events
            for g in e.grads.values()
            for s in g.values()
            if s.value and s.used_by is None
        ]
        assert in_vain == []
    assert seen == {
        "step_frozen": [{"G"}, {"D"}],
        "step_selective": [{"D"}, {"G"}],
        "step_one_stage": [{"G", "D"}],
    }


# By halves ----------------------------------------------------------------------------------------


MIXERS: dict[str, Callable[[], Gan]] = {
    "BatchNorm": lambda: dcgan(16, 2, 5, width=6, logits=True),
    "BatchNorm, probabilities": lambda: dcgan(16, 2, 5, width=6),
    "minibatch statistics": lambda: gan_with([MinibatchMean(), nn.Linear(12, 8), nn.Linear(8, 1)]),
    "a patch": lambda: gan_with([nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 3)]),
    "none": lambda: gan_with([nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1)]),
}


def same_bits(gan: Gan, expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(gradients(gan), expected, strict=True))


def batch_of(gan: Gan, n: int = 6) -> tuple[Tensor, Tensor]:
    if isinstance(gan.discriminator, ShapedModule):
        return batch_for(gan, n)
    weight = next(gan.discriminator.parameters())
    return data.noise(n, (6,), seed=0).to(weight), data.noise(n, (4,), seed=1).to(weight)


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("kind", MIXERS)
def test_by_halves_is_exact_for_any_discriminator(kind, dtype):
    gan = MIXERS[kind]()
    gan = in_double(gan) if dtype == torch.float64 else gan
    real, noise = batch_of(gan)
    right = simultaneous(copy.deepcopy(gan), real, noise)
    losses = step_by_halves(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert relative(found, expected) <= ALLOWED[dtype]
    if kind != "none":
        assert same_bits(gan, right)
    assert all(value.isfinite() and not value.requires_grad for value in losses)


def test_by_halves_gives_one_stages_bits():
    """Not only for one step: after five of Adam the weights are the same, to the last bit."""
    ours, theirs = (dcgan(16, 2, 5, width=6, batchnorm=False, logits=True) for _ in range(2))
    for _ in range(5):
        real, noise = batch_for(ours)
        first = step_by_halves(ours, real, noise)
        second = step_one_stage(theirs, real, noise, one_call=False)
        assert same_bits(ours, gradients(theirs))
        assert first == second
    for name, net in ours.nets.items():
        mine, other = (parameters_to_vector(n.parameters()) for n in (net, theirs.nets[name]))
        assert torch.equal(mine, other)


@pytest.mark.parametrize("batchnorm", [False, True])
def test_what_by_halves_reaches_and_how_little_it_holds(batchnorm):
    G, D = DCGenerator(5, 32, 1, 8), DCDiscriminator(32, 1, 16, batchnorm, logits=True)
    gan = Gan.with_adam(G, D, bce_with_logits)
    real, noise = batch_for(gan, 16)
    step_by_halves(gan, real, noise)  # the trial of independence is over
    with record(gan.nets, gan.optimizers) as rec:
        step_by_halves(gan, real, noise)
    reached = [{n for n, got in c.received.items() if got} for c in rec.backward_calls]
    assert reached == [{"D"}, {"D"}, *([set()] if batchnorm else []), {"G"}]
    assert [f.net for f in rec.forwards] == ["D", "G", "D"]
    others = (step_detach, step_frozen, step_selective, *([] if batchnorm else [step_one_stage]))
    for step in others:
        trial = copy.deepcopy(gan)
        step(trial, real, noise)
        with record(trial.nets, trial.optimizers) as other:
            step(trial, real, noise)
        assert rec.peak.activations < 0.95 * other.peak.activations


# The ratio in closed form -------------------------------------------------------------------------


def smoothed(prediction: Tensor, target: Tensor) -> Tensor:
    return bce_with_logits(prediction, 0.1 + 0.8 * target)


WEIGHTED = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
CLOSED: list[Loss] = [nn.BCELoss(), nn.BCEWithLogitsLoss(), bce_with_logits]
OPEN: list[Loss] = [squares, hinge, smoothed, WEIGHTED, nn.BCELoss(torch.full((1,), 0.5))]


def both_losses(loss: Loss, pred: Tensor) -> tuple[Tensor, Tensor]:
    """G's and D's, as the steps have them."""
    ones, zeros = torch.ones_like(pred), torch.zeros_like(pred)
    return loss(pred, ones), (loss(torch.full_like(pred, 0.5), ones) + loss(pred, zeros)) / 2


def predictions(loss: Loss, dtype: torch.dtype) -> Tensor:
    logits = torch.linspace(-85, 85, 171, dtype=dtype)[:, None]
    made = logits.sigmoid() if isinstance(loss, nn.BCELoss) else logits
    return made.requires_grad_()


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("loss", CLOSED)
def test_the_closed_form_is_what_autograd_derives(loss, dtype):
    """On logits from -85 to 85, where float32 is about to end: also where it is 0 or infinite."""
    pred = predictions(loss, dtype)
    derived = gradient_ratio(*both_losses(loss, pred), pred)
    closed = ratio_of_bce(loss, pred)
    torch.testing.assert_close(closed, derived, rtol=ALLOWED[dtype], atol=0)
    assert closed is not None
    assert closed.dtype == dtype
    assert closed.shape == (171,)


@pytest.mark.parametrize("loss", OPEN)
def test_other_losses_are_left_to_autograd(loss):
    pred = (0.01 * predictions(loss, torch.float64)).detach().sigmoid().requires_grad_()
    g_loss, d_loss = both_losses(loss, pred)
    assert ratio_of_bce(loss, pred) is None
    assert torch.equal(ratio_of(loss, g_loss, d_loss, pred), gradient_ratio(g_loss, d_loss, pred))


@pytest.mark.parametrize("loss", CLOSED)
def test_autograd_is_asked_once_per_loss(loss, monkeypatch):
    gan = mlp_gan((6,), 4, (8,), (8,), logits=not isinstance(loss, nn.BCELoss))
    gan.loss = copy.deepcopy(loss)
    step_one_stage(gan, *batch_for(gan))
    monkeypatch.setattr(torch.autograd, "grad", None)
    step_one_stage(gan, *batch_for(gan))
    step_by_halves(gan, *batch_for(gan))


def test_a_closed_form_that_autograd_does_not_confirm_is_not_used():
    """D's loss without the half: the closed form of a step would be wrong by a factor of two."""
    loss = nn.BCEWithLogitsLoss()
    pred = data.noise(6, (1,), seed=0).requires_grad_()
    g_loss, d_loss = both_losses(loss, pred)
    for _ in range(2):
        found = ratio_of(loss, g_loss, 2 * d_loss, pred)
        torch.testing.assert_close(found, gradient_ratio(g_loss, 2 * d_loss, pred))


@pytest.mark.parametrize("step", LEANER, ids=IDS)
def test_a_parameter_that_was_frozen_before_stays_so(step):
    gan = mlp_gan((6,), 4, (8,), (8,))
    held = next(gan.discriminator.parameters()).requires_grad_(False)
    before = held.clone()
    step(gan, *batch_for(gan))
    assert not held.requires_grad
    assert held.grad is None
    assert torch.equal(held, before)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_frozen_thaws_on_every_path(error):
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    with pytest.raises(error, match="nothing trains"), frozen(net):
        raise error("nothing trains" if not trainable(net) else "something trains")
    assert [p.requires_grad for p in net.parameters()] == [True, False]


# Where one stage is not allowed -------------------------------------------------------------------


class MinibatchMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x.mean(0, keepdim=True).expand(len(x), -1)], 1)


MIXING: dict[str, list[nn.Module]] = {
    "BatchNorm": [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)],
    "BatchNorm, dropout": [nn.Linear(6, 8), nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 1)],
    "minibatch statistics": [MinibatchMean(), nn.Linear(12, 1)],
    "instance mean": [nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 1)],
    "dropout": [nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 1)],
    "spectral norm": [spectral_norm(nn.Linear(6, 8)), nn.LeakyReLU(0.2), nn.Linear(8, 1)],
}
REFUSED = {"BatchNorm", "BatchNorm, dropout", "minibatch statistics"}


class Among(nn.Module):
    """Whatever a function makes of the batch (batch, 6), then one number per sample."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.last = function, nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(x))


def only(i: int, j: int) -> Callable[[Tensor], Tensor]:
    """Sample i looks at sample j, and that is all."""

    def look(x: Tensor) -> Tensor:
        seen = torch.zeros_like(x).index_copy(0, torch.tensor([i]), x[j : j + 1])
        return x + 0.01 * seen

    return look


AMONG: dict[str, Callable[[Tensor], Tensor]] = {
    "the mean of the second half": lambda x: x - x[len(x) // 2 :].mean(0),
    "the mean of the first half, for the second": lambda x: torch.cat(
        [x[: len(x) // 2], x[len(x) // 2 :] - x[: len(x) // 2].mean(0)]
    ),
    "the largest of all": lambda x: x - x.amax(0),
    "the smallest of all": lambda x: x - x.amin(0),
    "the ranks": lambda x: x.argsort(0).to(x),
    "the batch turned round": lambda x: x.flip(0),
    "the neighbour": lambda x: x + x.roll(1, 0),
    "all that came before": lambda x: x.cumsum(0),
    "groups of four": lambda x: x - x.view(-1, 4, 6).mean(1).repeat_interleave(4, 0),
}


def gan_with(layers: list[nn.Module]) -> Gan:
    return Gan.with_adam(nn.Linear(4, 6), copy.deepcopy(nn.Sequential(*layers)), bce_with_logits)


def everything(gan: Gan) -> list[Tensor]:
    tensors = [t.clone() for n in gan.nets.values() for t in (*n.parameters(), *n.buffers())]
    return [*tensors, torch.get_rng_state()]


@pytest.mark.parametrize("n", [2, 64, 1024])
@pytest.mark.parametrize("kind", MIXING)
def test_a_discriminator_that_mixes_samples_is_refused(kind, n):
    gan = gan_with(MIXING[kind])
    real, noise = data.noise(n, (6,), seed=0), data.noise(n, (4,), seed=1)
    before = everything(gan)
    if kind in REFUSED:
        with pytest.raises(ValueError, match="mixes the samples of a batch"):
            step_one_stage(gan, real, noise)
    else:
        require_independent(gan.discriminator, real)
    assert all(torch.equal(a, b) for a, b in zip(before, everything(gan), strict=True))
    modes = {module.training for module in gan.discriminator.modules()}
    assert modes == {True}


@pytest.mark.parametrize("kind", AMONG)
@pytest.mark.parametrize("n", [8, 20])
def test_whoever_looks_at_whom_is_refused(kind, n):
    with pytest.raises(ValueError, match="mixes the samples of a batch"):
        require_independent(Among(AMONG[kind]), data.noise(n, (6,), seed=0))


def test_one_sample_that_looks_at_one_other_is_refused():
    real = data.noise(7, (6,), seed=0)
    for i, j in permutations(range(len(real)), 2):
        with pytest.raises(ValueError, match="mixes the samples of a batch"):
            require_independent(Among(only(i, j)), real)


def test_the_place_in_the_batch_alone_is_no_reason():
    """Each prediction is its own sample's, though another place would give another."""

    class ByPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.linspace(0.5, 2, len(x))[:, None]

    gan = gan_with([nn.Linear(6, 8), ByPlace(), nn.LeakyReLU(0.2), nn.Linear(8, 1)])
    real, noise = data.noise(6, (6,), seed=0), data.noise(6, (4,), seed=1)
    right = simultaneous(gan, real, noise)
    step_one_stage(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert relative(found, expected) <= 1e-5


def test_a_layer_that_mixes_and_begins_at_zero_is_refused():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(6)
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.norm(x)

    D = nn.Sequential(Residual(), nn.Linear(6, 1))
    before = copy.deepcopy(D.state_dict())
    with pytest.raises(ValueError, match="mixes the samples of a batch"):
        require_independent(D, data.noise(8, (6,), seed=0))
    assert all(torch.equal(before[name], value) for name, value in D.state_dict().items())
    require_independent(D.eval(), data.noise(8, (6,), seed=0))


def test_classes_that_d_looks_up_are_tried_too():
    table, labels = nn.Embedding(9, 6), torch.arange(8) % 9
    D = nn.Sequential(table, nn.Linear(6, 1))
    require_independent(D, labels)
    mixing = nn.Sequential(table, Among(lambda x: x - x.mean(0)))
    with pytest.raises(ValueError, match="mixes the samples of a batch"):
        require_independent(mixing, labels)


def test_the_trial_is_remembered_until_a_module_or_a_mode_changes():
    D = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)).eval()
    real, runs = data.noise(4, (6,), seed=0), []
    D[0].register_forward_hook(lambda *_: runs.append(1))
    require_independent(D, real)  # in eval mode BatchNorm mixes nothing
    tried = len(runs)
    assert tried == 1 + 2 * 2  # as it is, and two changes for each of the two bits of a place
    require_independent(D, real)
    assert len(runs) == tried
    require_independent(D, real[:3])  # another batch size is another trial
    assert len(runs) == 2 * tried
    D[1].train()
    with pytest.raises(ValueError, match="mixes"):
        require_independent(D, real)
    D[1].eval()
    require_independent(D, real)
    D[1] = MinibatchMean()
    D[2] = nn.Linear(16, 1)
    with pytest.raises(ValueError, match="mixes"):
        require_independent(D, real)


def test_several_numbers_per_sample_are_refused():
    with pytest.raises(ValueError, match="gives 3 numbers per sample"):
        require_independent(nn.Linear(6, 3), data.noise(4, (6,), seed=0))


def test_the_trial_puts_buffers_back_when_d_raises():
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyboardInterrupt

    D = nn.Sequential(nn.BatchNorm1d(6), Breaks())
    before, state = copy.deepcopy(D.state_dict()), torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        require_independent(D, data.noise(4, (6,), seed=0))
    assert all(torch.equal(before[k], v) for k, v in D.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


class UnderTwoNames(nn.Module):
    """A wrapper that knows one net twice, as Lightning Fabric's does."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.wrapped, self.original = net, net

    def forward(self, batch: Tensor) -> Tensor:
        out: Tensor = self.wrapped(batch)
        return out


def test_the_trial_puts_back_a_net_that_stands_under_two_names():
    first = nn.Linear(6, 4)
    nn.init.zeros_(first.bias)  # what the trial moves
    net = nn.Sequential(first, nn.BatchNorm1d(4).eval(), nn.Linear(4, 1))
    D = UnderTwoNames(net)
    before = [*net.parameters(), *net.buffers()]
    values = [tensor.detach().clone() for tensor in before]
    require_independent(D, data.noise(4, (6,), seed=0))
    after = [*net.parameters(), *net.buffers()]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert all(torch.equal(one, value) for one, value in zip(after, values, strict=True))


def test_a_wrapped_d_learns_in_one_stage_as_it_does_alone():
    alone, wrapped = (mlp_gan((6,), 4, (8,), (8,), logits=True) for _ in range(2))
    wrapped.discriminator = UnderTwoNames(wrapped.discriminator)
    for _ in range(2):
        for gan in (alone, wrapped):
            step_one_stage(gan, *batch_for(alone), one_call=False)
    for found, expected in zip(gradients(wrapped), gradients(alone), strict=True):
        assert torch.equal(found, expected)


def test_a_weight_that_two_layers_share_is_exchanged_in_both():
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    D = nn.Sequential(first, nn.ReLU(), second, nn.Linear(6, 1))
    batch, doubled = data.noise(4, (6,), seed=0), 2 * first.weight.detach()
    found = predict(D, batch, {"0.weight": doubled})
    with torch.no_grad():
        first.weight.mul_(2)
        torch.testing.assert_close(found, D(batch))


def certain(gan: Gan, logit: float) -> Gan:
    """Shift D's last bias, so that its logit for everything is about `logit`."""
    last: Any = [m for m in gan.discriminator.modules() if isinstance(m, nn.Linear)][-1]
    nn.init.constant_(last.bias, logit)
    return gan


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("logit", [-200.0, -100.0, -50.0, -30.0, 0.0, 30.0, 100.0, 200.0])
def test_a_certain_discriminator(logit, logits):
    gan = certain(mlp_gan((6,), 4, (8,), (8,), logits=logits), logit)
    real, noise = batch_for(gan)
    right = simultaneous(gan, real, noise)
    with record(gan.nets, gan.optimizers) as rec, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = step_one_stage(gan, real, noise)
        first, ours = len(rec.backward_calls), [found.clone() for found in gradients(gan)]
        step_one_stage(gan, real, noise)
    assert all(value.isfinite() for value in losses)
    for found, expected in zip(ours, right, strict=True):
        assert found.isfinite().all()
        # Below the smallest normal number there are no digits left to compare.
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-36)
    assert len(said) == (first == 2)  # told once, though it happens twice
    if logits:
        assert (first == 2) is (logit <= -50)


def test_the_largest_factor_is_still_in_range():
    net, limit = nn.Linear(1, 1), torch.tensor([2.0**63])  # exact: the smallest normal is 2 ** -126
    assert in_range(limit, net)
    with pytest.warns(RuntimeWarning, match="so certain of a fake"):
        assert in_range(torch.nextafter(limit, 2 * limit), net) is False


def test_where_one_fake_alone_is_certain_each_player_follows_its_own_loss():
    """The other fakes bring the loss of D gradient, none of which may reach G."""
    gan = mlp_gan((6,), 4, (8,), (8,), logits=True)
    real, noise = batch_for(gan)
    last: Any = [m for m in gan.discriminator.modules() if isinstance(m, nn.Linear)][-1]
    noise[0] *= 4
    with torch.no_grad():  # the logit of the first becomes -100, those of the others about 0
        logits = gan.discriminator(gan.generator(noise)).flatten()
        middle = logits[1:].mean()
        factor = -100 / (logits[0] - middle)
        last.weight.mul_(factor)
        last.bias.copy_(factor * (last.bias - middle))
    right = simultaneous(gan, real, noise)
    with pytest.warns(RuntimeWarning, match="so certain of a fake") as said:
        step_one_stage(gan, real, noise)
    for found, expected in zip(gradients(gan), right, strict=True):
        assert relative(found, expected) < ALLOWED[torch.float32]
    assert said[0].filename == __file__  # at the line that called the step


def test_while_a_cuda_graph_is_captured_nothing_is_looked_at(monkeypatch):
    """No number can be read there: with one, this would raise."""
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    unreadable: Any = SimpleNamespace(is_cuda=True, dtype=torch.float32)
    assert in_range(unreadable, nn.Linear(1, 1)) is True


def test_both_losses_flat_is_no_reason_to_fall_back():
    """A hinge: 0/0 where neither player learns from a sample. Then its gradient is 0, not NaN."""
    gan = certain(mlp_gan((6,), 4, (8,), (8,), logits=True), 5.0)
    gan.loss = lambda prediction, target: hinge(prediction, target) * (prediction < 4).any()
    real, noise = batch_for(gan)
    with record(gan.nets, gan.optimizers) as rec:
        step_one_stage(gan, real, noise)
    assert len(rec.backward_calls) == 1
    assert all((found == 0).all() for found in gradients(gan))


# A warning of dynamo about itself, which our filter turns into an error inside it.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_with_compiled_nets(monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    gan = mlp_gan((6,), 4, (8,), (8,), logits=True)
    real, noise = batch_for(gan)
    right = simultaneous(gan, real, noise)
    torch._dynamo.reset()
    # A compiled net throws buffers away that a second backward would need: with retain_graph it
    # raises unless told not to. Frozen and one stage retain nothing.
    # Patched its own way: a config that monkeypatch has put back lacks the entry.
    with torch._functorch.config.patch(donated_buffer=False):
        for net in gan.nets.values():
            net.compile(backend="aot_eager")  # in place; needs no C++ compiler
        for step in LEANER:
            trial = Gan(*gan.parts)
            for optimizer in trial.optimizers.values():
                optimizer.step = lambda closure=None: None  # type: ignore[assignment, method-assign]
            step(trial, real, noise)
            for found, expected in zip(gradients(trial), right, strict=True):
                assert relative(found, expected) <= 1e-5


@pytest.mark.filterwarnings("ignore")  # dynamo's, about itself
@pytest.mark.parametrize("step", [step_detach, *LEANER])
def test_a_step_compiled_as_a_whole(step, monkeypatch):
    """One stage hangs a hook into the graph, which a compiled step cannot keep.

    So the compiler is told to leave that step to Python, and compiles what it calls.
    """
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    gan, plain = (mlp_gan((6,), 4, (8,), (8,), logits=True) for _ in range(2))
    real, noise = batch_for(gan)
    torch._dynamo.reset()
    compiled = torch.compile(step, backend="aot_eager")
    for _ in range(2):
        compiled(gan, real, noise)
        step(plain, real, noise)
    for found, expected in zip(gradients(gan), gradients(plain), strict=True):
        assert relative(found, expected) <= 1e-5


def test_a_discriminator_in_shares_that_fails_in_its_first_forward_is_left_as_it_was():
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)
            weight: Any = self.norm.weight
            weight.full_tensor = weight.detach  # what tells a weight in shares

        def forward(self, x: Tensor) -> Tensor:
            torch.rand(1)
            raise RuntimeError(f"no room for {self.norm(x).shape}")

    D, real = Failing(), torch.randn(4, 2)
    before, dice = [b.clone() for b in D.buffers()], torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no room for"):
        require_independent(D, real)
    assert all(map(torch.equal, D.buffers(), before))
    assert torch.equal(torch.get_rng_state(), dice)
