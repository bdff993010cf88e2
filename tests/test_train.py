"""The training loop: what it returns, what it moves, and what it puts back on every way out."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from gan_lessons import STRATEGIES, Gan, data, dcgan, mlp_gan, tiny_gan
from gan_lessons.steps import step_detach, step_generator_first, step_retain_graph
from gan_lessons.train import History, sample, train

RING = data.ring(200)


def weights(gan):
    nets = (gan.generator, gan.discriminator)
    return torch.cat([p.detach().flatten() for net in nets for p in net.parameters()])


def modes(*nets):
    return [m.training for net in nets for m in net.modules()]


def mixed_modes():
    """A GAN with BatchNorm whose modules are not all in one mode, and the list of them."""
    gan = dcgan(16, 1, 5, width=2)
    gan.generator.eval()
    list(gan.discriminator.modules())[3].eval()
    return gan, modes(gan.generator, gan.discriminator)


def interrupting(after, error):
    """A step that raises when it is called for the `after + 1`st time."""
    calls = []

    def step(gan, real, noise):
        calls.append(modes(gan.generator, gan.discriminator))
        if len(calls) > after:
            raise error
        return step_detach(gan, real, noise)

    return step, calls


@pytest.mark.parametrize("key", STRATEGIES)
def test_history_holds_the_losses_of_every_step(key):
    seen = []

    def step(gan, real, noise):
        assert real.shape == noise.shape == (5, 2)
        seen.append(STRATEGIES[key].step(gan, real, noise))
        return seen[-1]

    gan = tiny_gan()
    before = weights(gan)
    history = train(gan, RING, step, steps=7, batch_size=5, progress=False)
    assert history.d_loss == [losses.d_loss.item() for losses in seen]
    assert history.g_loss == [losses.g_loss.item() for losses in seen]
    assert len(history.d_loss) == 7
    assert all(type(value) is float for value in history.d_loss + history.g_loss)
    assert not history.interrupted
    assert not torch.equal(weights(gan), before)


def test_the_seed_decides_everything():
    def run(seed):
        gan = tiny_gan()
        layers: Any = gan.discriminator.net
        layers.insert(1, nn.Dropout(0.5))
        history = train(gan, RING, steps=5, seed=seed, progress=False)
        return weights(gan), history

    (first, history), (again, same), (other, _) = run(1), run(1), run(2)
    assert torch.equal(first, again)
    assert history == same
    assert not torch.equal(first, other)


def test_simultaneous_strategies_train_alike():
    histories = [
        train(mlp_gan((2,), 2, (8,), (8,)), RING, step, steps=20, progress=False)
        for step in (step_retain_graph, step_generator_first, step_detach)
    ]
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError])
def test_modes_and_random_state_are_put_back(error):
    gan, before = mixed_modes()
    images = torch.rand(20, 1, 16, 16)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    step, calls = interrupting(2 if error else 99, error)
    if error is ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - the very error of the step
            train(gan, images, step, steps=4, progress=False)
    else:
        train(gan, images, step, steps=4, progress=False)
    assert all(all(training) for training in calls)  # in train mode while it trained
    assert modes(gan.generator, gan.discriminator) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_an_interrupt_keeps_the_history_so_far():
    step, _ = interrupting(3, KeyboardInterrupt)
    history = train(tiny_gan(), RING, step, steps=10, progress=False)
    full = train(tiny_gan(), RING, step_detach, steps=10, progress=False)
    assert history.interrupted
    assert history.d_loss == full.d_loss[:3]
    assert history.g_loss == full.g_loss[:3]


def test_no_steps_no_history():
    gan = tiny_gan()
    before = weights(gan)
    assert train(gan, RING, steps=0, progress=False) == History()
    assert torch.equal(weights(gan), before)


def test_progress_counts_the_steps_and_shows_the_losses(capsys):
    train(tiny_gan(), RING, steps=3)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "d_loss=0." in shown
    train(tiny_gan(), RING, steps=3, progress=False)
    assert capsys.readouterr() == ("", "")


def test_one_process_shows_the_bar_for_all(monkeypatch, capsys):
    monkeypatch.setattr("gan_lessons.train.share", lambda: (1, 2))
    train(tiny_gan(), RING, steps=3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("schedule", "error", "text"),
    [
        (lambda gan: ReduceLROnPlateau(gan.optimizer_g), TypeError, "losses of a GAN are no score"),
        (lambda _: StepLR(tiny_gan().optimizer_g, 3), ValueError, "that is none of the gan's"),
    ],
)
def test_a_schedule_that_could_not_work_is_refused(schedule, error, text):
    gan = tiny_gan()
    before, schedules = weights(gan), [schedule(gan)]
    with pytest.raises(error, match=text):
        train(gan, RING, steps=1, schedules=schedules, progress=False)
    assert torch.equal(weights(gan), before)


def test_a_strangers_generator_needs_the_noise_shape():
    G, D = nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), tiny_gan().discriminator
    gan = Gan(G, D, torch.optim.SGD(G.parameters(), 0.1), torch.optim.SGD(D.parameters(), 0.1))
    with pytest.raises(ValueError, match="the noise shape of Sequential is not known; pass noise_"):
        train(gan, RING, steps=1, progress=False)
    assert len(train(gan, RING, steps=2, noise_shape=(3, 2), progress=False).d_loss) == 2


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ({"data": RING.numpy()}, TypeError, "data must be a tensor"),
        ({"data": RING[:0]}, ValueError, r"at least one sample, got shape \(0, 2\)"),
        ({"data": RING / 0}, ValueError, "data holds 400 values that are NaN or infinite"),
        ({"data": RING.double()}, ValueError, r"call real.to\(torch.float32\)"),
        ({"data": RING[:, :1]}, ValueError, r"expects \(batch, 2\)"),
        ({"steps": -1}, ValueError, r"train\(\) got steps=-1; it must be at least 0"),
        ({"batch_size": 0}, ValueError, r"train\(\) got batch_size=0; it must be at least 1"),
        (
            {"checkpoint": "no/x.pt"},
            FileNotFoundError,
            "'no/x.pt', and there is no folder no; make",
        ),
        ({"checkpoint": "."}, TypeError, "expected the path of a file"),
    ],
)
def test_bad_arguments_change_nothing(how, error, text):
    gan = tiny_gan()
    before, state = weights(gan), torch.get_rng_state()
    with pytest.raises(error, match=text):
        train(gan, **{"data": RING, "progress": False, **how})
    assert torch.equal(weights(gan), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in gan.generator.parameters())


def test_training_moves_samples_towards_the_digits():
    images = data.digits()
    gan = mlp_gan(lr=2e-3)
    noise = data.noise(500, (32,), seed=9)

    def distance():
        return (sample(gan.generator, noise).mean(0) - images.mean(0)).norm()

    before = distance()
    train(gan, images, step_retain_graph, steps=600, progress=False)
    assert distance() < before / 2


def test_sample_is_in_eval_mode_without_a_graph():
    gan, before = mixed_modes()
    gan.generator.train()
    list(gan.generator.modules())[2].eval()
    before = modes(gan.generator)
    noise = torch.randn(3, 5)
    buffers = {name: value.clone() for name, value in gan.generator.named_buffers()}
    images = sample(gan.generator, noise)
    assert images.shape == (3, 1, 16, 16)
    assert not images.requires_grad
    assert modes(gan.generator) == before
    for name, value in gan.generator.named_buffers():
        assert torch.equal(value, buffers[name])
    torch.testing.assert_close(sample(gan.generator, noise[:1]), images[:1])


def test_sample_puts_the_modes_back_after_an_error():
    gan, _ = mixed_modes()
    gan.generator.train()
    gan.generator.net.append(nn.Linear(1, 1))  # it fails inside, once it is in eval mode
    with pytest.raises(RuntimeError):
        sample(gan.generator, torch.randn(3, 5))
    assert all(modes(gan.generator))
