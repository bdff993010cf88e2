"""A training loop that is short enough to read: `train` a GAN, then `sample` from its generator."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from gan_lessons.gan import Gan
from gan_lessons.put_back import modes_kept
from gan_lessons.steps import step_generator_first
from gan_lessons.strategies import Step
from gan_lessons.training import History, Training

__all__ = ["History", "Training", "sample", "train"]


def train(
    gan: Gan,
    data: Tensor,
    step: Step = step_generator_first,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
    noise_shape: tuple[int, ...] | None = None,
    schedules: Sequence[LRScheduler] = (),
    progress: bool = True,
    on_progress: Callable[[Training], None] | None = None,
    every: int = 100,
    checkpoint: str | Path | None = None,
) -> History:
    """Take `steps` training steps on random batches of data (n, ...), in train mode.

    Moves the weights and buffers of both nets, their optimizers' state and `schedules`. The
    batches, the noise and what is random inside the nets follow from `seed`. The global random
    state and the nets' train/eval modes are put back on every way out. A KeyboardInterrupt (the
    stop button) ends the training early and returns the history so far.

    noise_shape: of one sample, read from the generator where it is one of ours.
    on_progress: called with the `Training` after every `every` steps and after the last.
    checkpoint: a file that is written as often; where it is there already, the training goes on
    from it, up to `steps` in all, as if it had never stopped.
    Raises TypeError or ValueError for bad arguments, before anything is changed, and
    FloatingPointError for losses that are not finite.
    """
    for name, value, least in (("steps", steps, 0), ("every", every, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    training = None
    try:
        training = Training(
            gan, data, step,
            batch_size=batch_size, seed=seed, noise_shape=noise_shape, schedules=schedules,
        )  # fmt: skip
        if checkpoint is not None and Path(checkpoint).exists():
            training.load(checkpoint)
        with training.running():
            for number in _counted(training, steps, progress):
                training.advance()
                if (number + 1) % every == 0 or number + 1 == steps:
                    _report(training, on_progress, checkpoint)
    except KeyboardInterrupt:
        done = training.history if training is not None else History()
        return replace(done, interrupted=True)
    return training.history


def _report(
    training: Training,
    on_progress: Callable[[Training], None] | None,
    checkpoint: str | Path | None,
) -> None:
    if checkpoint is not None:
        training.save(checkpoint)
    if on_progress is not None:
        on_progress(training)


def sample(generator: nn.Module, noise: Tensor) -> Tensor:
    """Samples (batch, ...) for noise (batch, ...), in eval mode, without a graph.

    The noise is moved to the generator's device. Afterwards the modes are what they were.
    """
    device = next(generator.parameters()).device
    with modes_kept(generator), torch.no_grad():
        return generator.eval()(noise.to(device))


def _counted(training: Training, steps: int, progress: bool) -> Iterator[int]:
    """Count the steps that are left, under a bar that shows some of the losses."""
    left = range(training.steps, steps)
    if not progress:
        yield from left
        return
    from tqdm.auto import tqdm

    with tqdm(total=steps, initial=training.steps, desc="training", unit="step") as bar:
        for number in left:
            yield number
            if (number + 1) % max(1, steps // 20) == 0 or number + 1 == steps:
                history = training.history
                d_loss, g_loss = history.d_loss[-1], history.g_loss[-1]
                bar.set_postfix({"d_loss": f"{d_loss:.3f}", "g_loss": f"{g_loss:.3f}"})
            bar.update()
