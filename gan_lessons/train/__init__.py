"""A training loop that is short enough to read: `train` a GAN, then `sample` from its generator."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from gan_lessons.arguments import refuse, require, require_callable, require_whole
from gan_lessons.checks import check_batch, first_parameter
from gan_lessons.extras import installed_for
from gan_lessons.gan import Gan
from gan_lessons.independence import gpus
from gan_lessons.put_back import modes_kept
from gan_lessons.ranks import ranks_agree, share
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

    Moves weights, buffers, the optimizers' state and `schedules`. Batches, noise and what is random
    inside the nets follow from `seed`. The global random state and the nets' modes are put back on
    every way out. A KeyboardInterrupt (the stop button) ends it and returns the history so far.

    noise_shape: of one sample, read from the generator where it is one of ours.
    on_progress: called with the `Training` after every `every` steps and after the last; the modes
    and random numbers that it leaves are not those of the training.
    checkpoint: a file that is written as often; where it is there already, the training goes on
    from it, up to `steps` in all, as if it had never stopped.
    Many processes (see `ranks.joined`) are asked as often whether their weights are the same.
    Raises TypeError, ValueError or FileNotFoundError for bad arguments, before anything is changed;
    FloatingPointError for losses that are not finite; RuntimeError naming a weight that differs.
    >>> from gan_lessons import data, tiny_gan, train
    >>> len(train.train(tiny_gan(), data.ring(64), steps=2, progress=False).d_loss)
    2
    """
    _check(steps, every, progress, on_progress, checkpoint)
    begin = partial(
        Training, gan, data, step,
        batch_size=batch_size, seed=seed, noise_shape=noise_shape, schedules=schedules,
    )  # fmt: skip
    report = partial(_report, every, steps, on_progress, checkpoint)
    return _run(begin, steps, progress, report, checkpoint)


def _check(steps: Any, every: Any, progress: Any, on_progress: Any, checkpoint: Any) -> None:
    require_whole("train", 0, steps=steps)
    require_whole("train", 1, every=every)
    require("train", bool, "True or False", progress=progress)
    if on_progress is not None:
        require_callable("train", "a function of the Training", 1, on_progress=on_progress)
    if checkpoint is not None:
        require("train", (str, Path), "the path of a file", checkpoint=checkpoint)
        path = Path(checkpoint)
        if not path.name or path.is_dir():
            raise refuse("train", "checkpoint", checkpoint, "the path of a file")
        if not path.parent.is_dir():
            raise FileNotFoundError(
                f"train() got checkpoint={str(path)!r}, and there is no folder {path.parent}; make "
                "it before the training"
            )


def _run(
    begin: Callable[[], Training],
    steps: int,
    progress: bool,
    report: Callable[[Training], None],
    checkpoint: str | Path | None,
) -> History:
    training = None
    try:
        training = begin()
        if checkpoint is not None and Path(checkpoint).exists():
            training.load(checkpoint)
        _require_agreement(training)
        with training.running():
            for _ in _counted(training, steps, progress):
                training.advance()
                report(training)
    except KeyboardInterrupt:
        done = training.history if training is not None else History()
        return replace(done, interrupted=True)
    return training.history


def _report(
    every: int,
    last: int,
    on_progress: Callable[[Training], None] | None,
    checkpoint: str | Path | None,
    training: Training,
) -> None:
    if training.steps % every and training.steps != last:
        return
    _require_agreement(training)  # before it is saved
    if checkpoint is not None:
        training.save(checkpoint)
    if on_progress is not None:
        nets = training.gan.nets
        devices = gpus(first_parameter("generator", nets["G"]))
        with torch.random.fork_rng(devices=devices), modes_kept(*nets.values()):
            on_progress(training)


def _require_agreement(training: Training) -> None:
    """Raise RuntimeError, on every process, where they no longer train one GAN."""
    if not (found := ranks_agree(training.gan)):
        raise RuntimeError(
            f"{found}, at step {training.steps}: are gradients averaged in this step? Train inside "
            "`with ranks.joined(gan):`"
        )


def sample(generator: nn.Module, noise: Tensor) -> Tensor:
    """Samples (batch, ...) for noise (batch, ...), in eval mode, without a graph.

    The noise is moved to the generator's device. Afterwards the modes are what they were.
    """
    require("sample", nn.Module, "a torch.nn.Module", generator=generator)
    require("sample", Tensor, "a tensor (batch, ...)", noise=noise)
    weight = first_parameter("generator", generator)
    check_batch("noise", noise.to(weight.device), "generator", generator, weight)
    with modes_kept(generator), torch.no_grad():
        return generator.eval()(noise.to(weight.device))


def _counted(training: Training, steps: int, progress: bool) -> Iterator[int]:
    """Count the steps that are left, under a bar that shows some of the losses."""
    left = range(training.steps, steps)
    if not progress or share()[0] > 0:  # one bar for all processes
        yield from left
        return
    with installed_for("the progress bar of train (else: progress=False)"):
        from tqdm.auto import tqdm

    with tqdm(total=steps, initial=training.steps, desc="training", unit="step") as bar:
        for number in left:
            yield number
            if (number + 1) % max(1, steps // 20) == 0 or number + 1 == steps:
                history = training.history
                d_loss, g_loss = history.d_loss[-1], history.g_loss[-1]
                bar.set_postfix({"d_loss": f"{d_loss:.3f}", "g_loss": f"{g_loss:.3f}"})
            bar.update()
