"""Saving, going on, and stopping for losses that are not finite."""

import copy
import io
import os
import pickle
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim
from torch.optim import optimizer
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


@contextmanager
def killed_at(number):
    """Inside, the event with this number kills: an optimizer before or after its step, a file
    before it is on the disk or before it takes its name."""
    left = [number]

    def event(*_):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    def before(act):
        return lambda *given: (event(), act(*given))[1]

    with ExitStack() as undone, pytest.MonkeyPatch.context() as patched:
        for register in (
            optimizer.register_optimizer_step_pre_hook,
            optimizer.register_optimizer_step_post_hook,
        ):
            undone.callback(register(event).remove)
        for name in ("fsync", "replace"):
            patched.setattr(os, name, before(getattr(os, name)))
        yield


@settings(max_examples=12, deadline=None)
@given(number=st.integers(0, 39), every=st.integers(1, 4))
def test_a_training_killed_at_any_moment_goes_on_bit_by_bit(tmp_path_factory, number, every):
    """Ten steps of two optimizers have 40 events and more."""
    path = tmp_path_factory.mktemp("kept") / "training.pt"
    whole, first, second = noisy_gan(), noisy_gan(), noisy_gan()
    how: dict[str, Any] = {"steps": 10, "batch_size": 6, "progress": False}
    history = train(whole, IMAGES, step_detach, schedules=scheduled(whole), **how)
    how |= {"checkpoint": path, "every": every}
    with pytest.raises(Killed), killed_at(number):
        train(first, IMAGES, step_detach, schedules=scheduled(first), **how)
    assert path.exists() == (number >= 4 * every + 2)  # the first file has taken its name
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


def small(hidden=8, sgd=False):
    gan = mlp_gan((2,), 2, (hidden,), (8,))
    return replace(gan, optimizer_d=optim.SGD(gan.discriminator.parameters(), 0.1)) if sgd else gan


@pytest.mark.parametrize(
    ("gan", "why"),
    [
        (small(9), r"generator: net.0.weight is \(8, 2\) there, and \(9, 2\) here"),
        (small(sgd=True), "optimizer_d: an optimizer of another kind, or with other groups"),
    ],
    ids=["nets", "optimizers"],
)
def test_a_checkpoint_of_another_gan_is_refused_and_nothing_has_changed(tmp_path, gan, why):
    path, before = tmp_path / "training.pt", copy.deepcopy(gan)
    train(small(), RING, step_detach, steps=2, progress=False, checkpoint=path)
    with pytest.raises(ValueError, match=f"does not fit this training, in {why}"):
        Training(gan, RING, step_detach).load(path)
    assert equal(gan, before)


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


def test_on_progress_hears_of_it_and_may_look_without_changing_anything():
    heard = []

    def look(training):
        heard.append((training.steps, len(training.history.d_loss)))
        assert training.gan.generator.eval()(torch.randn(3, 5)).shape == IMAGES[:3].shape

    alone, looked_at = noisy_gan(), noisy_gan()
    for gan, on_progress in ((alone, None), (looked_at, look)):
        train(
            gan, IMAGES, step_detach, steps=7, batch_size=6, every=3, progress=False,
            on_progress=on_progress,
        )  # fmt: skip
    assert heard == [(3, 3), (6, 6), (7, 7)]
    assert equal(alone, looked_at)


def test_the_step_may_change_in_between():
    training = Training(tiny_gan(), RING, step_detach)
    with training.running():
        training.advance()
        training.step = lambda gan, real, noise: step_detach(gan, real, noise)
        training.advance()
    assert training.steps == 2


def test_an_interrupt_that_torch_hides_while_saving_is_an_interrupt(tmp_path, monkeypatch):
    def cut_off(_: object, file: object) -> None:
        assert isinstance(file, io.BytesIO)  # into a file that is closed the process would end
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("unexpected pos 2304 vs 2224")  # noqa: B904 - as torch's writer does

    monkeypatch.setattr(torch, "save", cut_off)
    training = Training(tiny_gan(), data.ring(8), step_detach)
    with pytest.raises(KeyboardInterrupt):
        training.save(tmp_path / "checkpoint.pt")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_at_the_first_line_is_an_interrupt():
    def interrupted(*_):
        raise KeyboardInterrupt

    gan = tiny_gan()
    assert train(gan, RING, interrupted, steps=3, progress=False).interrupted
