"""Saving, going on, and stopping for losses that are not finite."""

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR

from gan_lessons import Gan, data, dcgan, mlp_gan, tiny_gan
from gan_lessons.losses import bce_with_logits
from gan_lessons.steps import step_detach
from gan_lessons.train import train
from gan_lessons.training import Training

RING = data.ring(200)
IMAGES = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def everything(gan):
    """All tensors that a step moves: weights, buffers, optimizer states."""
    nets = [value for net in gan.nets.values() for value in net.state_dict().values()]
    states = [s for o in gan.optimizers.values() for s in o.state.values()]
    return [*nets, *(v for state in states for v in state.values() if isinstance(v, torch.Tensor))]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(everything(one), everything(other), strict=True))


def noisy_gan():
    """BatchNorm, dropout and Adam: buffers, randomness inside, states."""
    gan = dcgan(16, 1, 5, width=2)
    layers = gan.discriminator.net
    assert isinstance(layers, nn.Sequential)
    layers.insert(2, nn.Dropout(0.3))
    return gan


def scheduled(gan):
    return [StepLR(gan.optimizer_g, 3, 0.5), StepLR(gan.optimizer_d, 4, 0.5)]


class Killed(BaseException):
    """Stands for the end of the process."""


def killing(after):
    """A step that is killed when it is called for the `after + 1`st time."""
    calls = []

    def step(gan, real, noise):
        calls.append(1)
        if len(calls) > after:
            raise Killed
        return step_detach(gan, real, noise)

    return step


@settings(max_examples=12, deadline=None)
@given(kill=st.integers(0, 9), every=st.integers(1, 4))
def test_a_killed_training_goes_on_bit_by_bit(tmp_path_factory, kill, every):
    path = tmp_path_factory.mktemp("kept") / "training.pt"
    whole = noisy_gan()
    history = train(
        whole,
        IMAGES,
        step_detach,
        steps=10,
        batch_size=6,
        progress=False,
        schedules=scheduled(whole),
    )
    first, second = noisy_gan(), noisy_gan()
    how = {"steps": 10, "batch_size": 6, "progress": False, "checkpoint": path, "every": every}
    with pytest.raises(Killed):
        train(first, IMAGES, killing(kill), schedules=scheduled(first), **how)
    assert path.exists() == (kill >= every)
    schedules = scheduled(second)
    again = train(second, IMAGES, step_detach, schedules=schedules, **how)
    assert again == history
    assert equal(whole, second)
    assert schedules[0].get_last_lr() == [2e-4 * 0.5**3]


@pytest.mark.parametrize("where", ["replace", "fsync"])
def test_a_kill_while_saving_leaves_the_older_one_whole(tmp_path, monkeypatch, where):
    path = tmp_path / "training.pt"
    gan = tiny_gan()
    training = Training(gan, RING, step_detach)
    with training.running():
        training.advance()
    training.save(path)
    before = path.read_bytes()
    with training.running():
        training.advance()

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, where, killed)
        with pytest.raises(Killed):
            training.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["training.pt"]


def test_a_process_that_is_really_killed(tmp_path):
    """SIGKILL from inside a step; another process goes on."""
    path = tmp_path / "training.pt"
    program = textwrap.dedent(f"""
        import os, signal, sys, torch
        from gan_lessons import data, tiny_gan
        from gan_lessons.steps import step_detach
        from gan_lessons.train import train
        taken = []
        def step(gan, real, noise):
            taken.append(1)
            if len(taken) == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
            return step_detach(gan, real, noise)
        gan = tiny_gan()
        how = dict(steps=9, progress=False, checkpoint={str(path)!r}, every=2)
        print(train(gan, data.ring(200), step, **how).d_loss)
    """)
    done = [
        subprocess.run(
            [sys.executable, "-c", program, at], capture_output=True, text=True, check=False
        )
        for at in ("6", "99")
    ]
    assert done[0].returncode == -9
    assert done[1].returncode == 0, done[1].stderr
    whole = train(tiny_gan(), RING, step_detach, steps=9, progress=False)
    assert done[1].stdout.strip() == str(whole.d_loss)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


@pytest.mark.parametrize("kind", ["code", "text", "other", "empty"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "training.pt"
    if kind == "code":
        torch.save({"generator": Evil()}, path)
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "other":
        torch.save({"generator": torch.zeros(2)}, path)
    else:
        path.write_bytes(b"")
    gan, untouched = tiny_gan(), tiny_gan()
    with pytest.raises(ValueError, match="no checkpoint"):
        Training(gan, RING, step_detach).load(path)
    assert equal(gan, untouched)
    assert not Path("evil").exists()
    with pytest.raises(FileNotFoundError):
        Training(gan, RING, step_detach).load(tmp_path / "missing.pt")
    assert pickle  # torch.save used it: what is refused above is real


def diverging(loss):
    gan = mlp_gan((2,), 2, (8,), (8,), logits=loss is bce_with_logits)
    opt_g, opt_d = (optim.SGD(net.parameters(), 1e30) for net in gan.nets.values())
    return Gan(gan.generator, gan.discriminator, opt_g, opt_d, loss)


@pytest.mark.parametrize("loss", [bce_with_logits, nn.BCELoss()])
def test_losses_that_are_not_finite_end_it_with_the_likely_cause(loss):
    with pytest.raises(FloatingPointError) as caught:
        train(diverging(loss), RING, step_detach, steps=50, progress=False)
    text = str(caught.value)
    assert "step_detach" in text
    assert "lower the learning rates (1e+30, 1e+30)" in text
    number = int(text.partition("at step ")[2].partition(".")[0])
    assert number < 10


def test_an_overflow_with_finite_weights_is_told_apart():
    def step(gan, real, noise):
        losses = step_detach(gan, real, noise)
        return losses._replace(g_loss=losses.g_loss * float("inf"))

    with pytest.raises(FloatingPointError, match=r"at step 0\. A loss overflowed, .* give logits"):
        train(tiny_gan(), RING, step, steps=3, progress=False)


def test_on_progress_hears_of_it_and_may_look():
    heard = []
    gan = tiny_gan()
    train(
        gan, RING, step_detach, steps=7, every=3, progress=False,
        on_progress=lambda training: heard.append((training.steps, len(training.history.d_loss))),
    )  # fmt: skip
    assert heard == [(3, 3), (6, 6), (7, 7)]


def test_the_step_may_change_in_between():
    training = Training(tiny_gan(), RING, step_detach)
    with training.running():
        training.advance()
        training.step = lambda gan, real, noise: step_detach(gan, real, noise)
        training.advance()
    assert training.steps == 2


def test_an_interrupt_at_the_first_line_is_an_interrupt():
    def interrupted(*_):
        raise KeyboardInterrupt

    gan = tiny_gan()
    assert train(gan, RING, interrupted, steps=3, progress=False).interrupted
