"""A training loop that is short enough to read: `train` a GAN, then `sample` from its generator."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gan_lessons.checks import check_finite
from gan_lessons.data import batch, rng
from gan_lessons.data import noise as normal_noise
from gan_lessons.gan import Gan, StepLosses
from gan_lessons.models import ShapedModule
from gan_lessons.put_back import modes_kept, seeded
from gan_lessons.steps import step_generator_first
from gan_lessons.strategies import Step


@dataclass
class History:
    """The losses of every step that was finished, in nats; `interrupted`: stopped by hand."""

    d_loss: list[float] = field(default_factory=list)
    g_loss: list[float] = field(default_factory=list)
    interrupted: bool = False


def train(
    gan: Gan,
    data: Tensor,
    step: Step = step_generator_first,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
    noise_shape: tuple[int, ...] | None = None,
    progress: bool = True,
) -> History:
    """Take `steps` training steps on random batches of data (n, ...), in train mode.

    Moves the weights and buffers of both nets and their optimizers' state. The batches, the noise
    and what is random inside the nets follow from `seed`; batches are moved to the device of the
    nets. The global random state and the nets' train/eval modes are put back on every way out.
    A KeyboardInterrupt (the stop button) ends the training early and returns the history so far.

    noise_shape: of one sample, read from the generator where it is one of ours.
    Raises TypeError or ValueError for bad arguments, before anything is changed.
    """
    noise_shape = noise_shape or _noise_shape(gan.generator)
    _check_arguments(data, steps, batch_size)
    device = next(gan.generator.parameters()).device
    generator = rng(seed)
    losses: list[StepLosses] = []
    interrupted = False
    with seeded(seed, device), modes_kept(gan.generator, gan.discriminator):
        gan.generator.train()
        gan.discriminator.train()
        try:
            for _ in _counted(steps, progress, losses):
                real = batch(data, batch_size, generator).to(device)
                noise = normal_noise(batch_size, noise_shape, generator).to(device)
                losses.append(step(gan, real, noise))
        except KeyboardInterrupt:
            interrupted = True
    d_losses, g_losses = zip(*losses, strict=True) if losses else ((), ())
    return History(_floats(d_losses), _floats(g_losses), interrupted)


def sample(generator: nn.Module, noise: Tensor) -> Tensor:
    """Samples (batch, ...) for noise (batch, ...), in eval mode, without a graph.

    The noise is moved to the generator's device. Afterwards the modes are what they were.
    """
    device = next(generator.parameters()).device
    with modes_kept(generator), torch.no_grad():
        return generator.eval()(noise.to(device))


def _counted(steps: int, progress: bool, losses: list[StepLosses]) -> Iterator[int]:
    """Count the steps, under a bar that shows some of the losses, which the caller appends."""
    if not progress:
        yield from range(steps)
        return
    from tqdm.auto import tqdm

    with tqdm(total=steps, desc="training", unit="step") as bar:
        for number in range(steps):
            yield number
            if (number + 1) % max(1, steps // 20) == 0:
                bar.set_postfix({k: f"{float(v):.3f}" for k, v in losses[-1]._asdict().items()})
            bar.update()


def _floats(values: tuple[Tensor, ...]) -> list[float]:
    """All at once: reading them one by one would wait for the GPU at every step."""
    return torch.stack(values).tolist() if values else []


def _noise_shape(generator: nn.Module) -> tuple[int, ...]:
    if isinstance(generator, ShapedModule):
        return generator.in_shape
    raise ValueError(
        "the noise shape of {net} is not known; pass noise_shape, for example "
        "noise_shape=(100,)".format(net=type(generator).__name__)
    )


def _check_arguments(data: Tensor, steps: int, batch_size: int) -> None:
    if not isinstance(data, Tensor):
        raise TypeError("data must be a tensor (n, ...), got {got}".format(got=type(data).__name__))
    if data.ndim == 0 or len(data) == 0:
        raise ValueError(
            "data must hold at least one sample, got shape {shape}".format(shape=tuple(data.shape))
        )
    check_finite("data", data)
    for name, value, least in (("steps", steps, 0), ("batch_size", batch_size, 1)):
        if value < least:
            raise ValueError(
                "{name} must be at least {least}, got {value}".format(
                    name=name, least=least, value=value
                )
            )
