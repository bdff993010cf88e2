"""A training that goes step by step, and can be stopped, saved and gone on with."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gan_lessons.arguments import refuse, require, require_callable, require_sizes, require_whole
from gan_lessons.checks import check_finite
from gan_lessons.data import batch, rng
from gan_lessons.data import noise as normal_noise
from gan_lessons.gan import Gan, StepLosses
from gan_lessons.models import ShapedModule
from gan_lessons.put_back import modes_kept, seeded
from gan_lessons.ranks import every_one, share
from gan_lessons.steps import step_generator_first
from gan_lessons.strategies import Step
from gan_lessons.torch_modes import torch_modes_kept
from gan_lessons.whole_file import whole_file

LOOK_EVERY = 10  # steps between two looks at the losses: each look waits for the GPU


@dataclass
class History:
    """The losses of every step that was finished, in nats; `interrupted`: stopped by hand."""

    d_loss: list[float] = field(default_factory=list)
    g_loss: list[float] = field(default_factory=list)
    interrupted: bool = False


class Training:
    """A GAN, its data, a step function, and how far they have come.

        training = Training(gan, images, step_detach)
        with training.running():
            training.advance()

    data: (n, ...). seed decides the batches, the noise and what is random inside the nets; these
    random numbers are the training's own, and the global ones stay where they are. schedules: of
    torch, on the optimizers of `gan`; each moves once per step. `step` may be changed in between.

    Where torch.distributed has joined several processes, all draw the same batch of `batch_size`,
    and each takes its share of it; see `ranks.joined`. The losses are those of the own share.

    Raises TypeError or ValueError for bad arguments, before anything is changed.
    """

    def __init__(
        self,
        gan: Gan,
        data: Tensor,
        step: Step = step_generator_first,
        *,
        batch_size: int = 64,
        seed: int = 0,
        noise_shape: tuple[int, ...] | None = None,
        schedules: Sequence[LRScheduler] = (),
    ) -> None:
        require("train", Gan, "a Gan, such as tiny_gan()", gan=gan)
        require_callable("train", "a function step(gan, real, noise)", 3, step=step)
        require("train", Sequence, "a sequence of torch's schedulers", schedules=schedules)
        for number, schedule in enumerate(schedules):
            _check_schedule(gan, f"schedules[{number}]", schedule)
        require_whole("train", seed=seed)
        require_whole("train", 1, batch_size=batch_size)
        self.noise_shape = _noise_shape(gan.generator) if noise_shape is None else noise_shape
        require_sizes("train", noise_shape=self.noise_shape)
        rank, processes = share()
        _check_arguments(data, batch_size, processes)
        self.gan, self.data, self.step = gan, data, step
        self.batch_size, self.schedules = batch_size, tuple(schedules)
        self._past = History()  # losses that have been looked at
        self._new: list[StepLosses] = []
        self._device = next(gan.generator.parameters()).device
        self._order = rng(seed)
        self._share = slice(rank, None, processes)
        self._is_running = False
        with seeded(seed + rank, self._device):  # dropout, say, is each process's own
            self._random = _random_states(self._device)

    @property
    def steps(self) -> int:
        """How many have been taken."""
        return len(self._past.d_loss) + len(self._new)

    @property
    def history(self) -> History:
        """Of all steps so far."""
        self._look()
        return History(list(self._past.d_loss), list(self._past.g_loss))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Train mode, and the training's own random numbers; all is put back at the end."""
        gpus = [self._device] if self._device.type == "cuda" else []
        nets = self.gan.generator, self.gan.discriminator
        with torch_modes_kept(), torch.random.fork_rng(devices=gpus), modes_kept(*nets):
            _put_random_states(self._random, self._device)
            for net in nets:
                net.train()
            try:
                self._is_running = True
                yield
            finally:
                self._random, self._is_running = _random_states(self._device), False

    def advance(self) -> StepLosses:
        """Take one step, inside `running()`; (batch, ...) are drawn from the data.

        Raises FloatingPointError, at the latest after `LOOK_EVERY` steps, for a loss that is not
        finite.
        """
        real = batch(self.data, self.batch_size, self._order)[self._share]
        noise = normal_noise(self.batch_size, self.noise_shape, self._order)[self._share]
        try:
            losses = self.step(self.gan, real.to(self._device), noise.to(self._device))
        except RuntimeError as error:
            if not _is_blown_up(self.gan):
                raise
            raise self._broken(self.steps) from error  # BCELoss refuses what is no probability
        for schedule in self.schedules:
            schedule.step()
        self._new.append(losses)
        if len(self._new) >= LOOK_EVERY:
            self._look()
        return losses

    def _look(self) -> None:
        """Read the losses, all at once; refuse to go on where one is not finite."""
        if not self._new:
            return
        read = torch.stack([torch.stack(tuple(losses)) for losses in self._new]).cpu()  # (new, 2)
        first, self._new = self.steps - len(self._new), []
        self._past.d_loss += read[:, 0].tolist()
        self._past.g_loss += read[:, 1].tolist()
        if not bool(read.isfinite().all()):
            raise self._broken(first + int((~read.isfinite()).any(1).nonzero()[0]))

    def _broken(self, number: int) -> FloatingPointError:
        rates = [g["lr"] for o in self.gan.optimizers.values() for g in o.param_groups]
        why = (
            "The weights have blown up: lower the learning rates "
            f"({', '.join(f'{rate:g}' for rate in rates)})."
            if _is_blown_up(self.gan)
            else "A loss overflowed, though the weights are of usual size: let D give logits, and "
            "use losses.bce_with_logits."
        )
        name = getattr(self.step, "__name__", type(self.step).__name__)
        return FloatingPointError(f"the losses of {name} are not finite at step {number}. {why}")

    # Saving -----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write all that is needed to go on bit by bit: weights, optimizers, schedules, random
        states, the order of the data, the losses.

        The file appears whole or not at all: whoever is killed while saving keeps the older one,
        and may find a half-written `.name.…` beside it, which nothing reads.
        Of several processes all must call it; the first one writes, for all.
        """
        path, history = Path(path), self.history
        random = _random_states(self._device) if self._is_running else self._random
        random = [every_one(state) for state in random]
        if share()[0] > 0:
            return path
        state = {
            "version": 1,
            "losses": torch.tensor([history.d_loss, history.g_loss], dtype=torch.float64),
            "order": self._order.get_state(),
            "random": random,  # (processes, ...) each
            **{name: part.state_dict() for name, part in self._parts().items()},
        }
        # Not into the file itself: torch's writer, interrupted, goes on to write when it is let go
        # of, and ends the whole process if the file is closed by then.
        written = io.BytesIO()
        try:
            torch.save(state, written)
        except RuntimeError as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # the writer hides it
                raise KeyboardInterrupt from error
            raise
        with whole_file(path) as file:
            file.write(written.getbuffer())
        return path

    def load(self, path: str | Path) -> None:
        """Go on from where `save` left a training with nets and optimizers like these.

        Only tensors and plain values are read (`weights_only=True`): no code of the file runs.
        Raises ValueError for a file of another kind, or of other nets, optimizers, schedules or
        processes, before anything is changed.
        """
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is no checkpoint that may be read: {error}") from error
        parts = self._parts()
        expected = {"version", "losses", "order", "random", *parts}
        if not isinstance(state, dict) or state.keys() != expected or state["version"] != 1:
            raise ValueError(
                f"{path} is no checkpoint of a training with these parts: "
                f"{', '.join(sorted(expected))}"
            )
        rank, processes = share()
        if (saved := len(state["random"][0])) != processes:
            raise ValueError(f"{path} was saved by {saved} processes; go on with as many")
        for name, part in parts.items():
            if why := _misfit(part.state_dict(), state[name]):
                raise ValueError(f"{path} does not fit this training, in {name}: {why}")
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self._order.set_state(state["order"].cpu())
        # Copies: torch 2.13's set_rng_state crashes on a view into a larger storage.
        self._random = [random[rank].cpu().clone() for random in state["random"]]
        if self._is_running:
            _put_random_states(self._random, self._device)
        d_loss, g_loss = state["losses"].tolist()
        self._past, self._new = History(d_loss, g_loss), []

    def _parts(self) -> dict[str, Any]:
        gan = self.gan
        parts: dict[str, Any] = {
            "generator": gan.generator,
            "discriminator": gan.discriminator,
            "optimizer_g": gan.optimizer_g,
            "optimizer_d": gan.optimizer_d,
        }
        return parts | {f"schedule_{i}": one for i, one in enumerate(self.schedules)}


def _misfit(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Why a part with the state ``ours`` cannot go on from ``theirs``; "" where it can."""
    if (groups := ours.get("param_groups")) is not None:  # an optimizer
        saved = theirs["param_groups"]
        alike = len(groups) == len(saved) and all(
            len(one["params"]) == len(other["params"]) and other.keys() <= one.keys()
            for one, other in zip(groups, saved, strict=True)
        )  # fewer options are those of an older torch
        return "" if alike else "an optimizer of another kind, or with other groups of parameters"
    for key in {**ours, **theirs}:
        here, there = (
            tuple(getattr(state[key], "shape", ())) if key in state else "missing"
            for state in (ours, theirs)
        )
        if here != there:
            return f"{key} is {there} there, and {here} here"
    return ""


def _random_states(device: torch.device) -> list[Tensor]:
    cpu = [torch.get_rng_state()]
    return [*cpu, torch.cuda.get_rng_state(device)] if device.type == "cuda" else cpu


def _put_random_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def _is_blown_up(gan: Gan) -> bool:
    """Is a weight not finite, or so large that products of such weights soon are not?"""
    weights = (p for net in gan.nets.values() for p in net.parameters())
    return not all(bool((p.abs() < 1e6).all()) for p in weights)


def _noise_shape(generator: nn.Module) -> tuple[int, ...]:
    if isinstance(generator, ShapedModule):
        return generator.in_shape
    raise ValueError(
        "the noise shape of {net} is not known; pass noise_shape, for example "
        "noise_shape=(100,)".format(net=type(generator).__name__)
    )


def _check_schedule(gan: Gan, name: str, schedule: Any) -> None:
    require("train", LRScheduler, "one of torch's", **{name: schedule})
    if isinstance(schedule, ReduceLROnPlateau):
        raise refuse(
            "train", name, schedule, "a schedule of steps: the losses of a GAN are no score"
        )
    groups = schedule.optimizer.param_groups
    if not any(groups is optimizer.param_groups for optimizer in gan.optimizers.values()):
        raise ValueError(f"train() got {name} on an optimizer that is none of the gan's")


def _check_arguments(data: Tensor, batch_size: int, processes: int) -> None:
    if not isinstance(data, Tensor):
        raise TypeError(f"data must be a tensor (n, ...), got {type(data).__name__}")
    if data.ndim == 0 or len(data) == 0:
        raise ValueError(f"data must hold at least one sample, got shape {tuple(data.shape)}")
    check_finite("data", data)
    if batch_size % processes:
        raise ValueError(
            f"batch_size {batch_size} cannot be shared by {processes} processes; take a multiple"
        )
