"""Train a GAN from the command line, on one process or on many.

    python -m gan_lessons.train --strategy detach --data digits --steps 200
    torchrun --nproc-per-node 2 -m gan_lessons.train --strategy detach --data digits --steps 200

Each process takes its share of the batch and, where there are GPUs, one of those. The first one
prints and saves. With --checkpoint it goes on where it was stopped, with as many processes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from gan_lessons import data, ranks
from gan_lessons.factories import mlp_gan
from gan_lessons.gan import Gan
from gan_lessons.strategies import STRATEGIES
from gan_lessons.train import Training, train


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the command line says. Raises RuntimeError where processes are missing or differ."""
    asked = _parser().parse_args(arguments)
    with _processes(asked.device) as device:
        samples = data.digits() if asked.data == "digits" else data.ring(4096)
        gan = _gan(samples.shape[1:], asked.lr, asked.seed, device)
        with ranks.joined(gan, asked.processes):
            history = train(
                gan, samples, STRATEGIES[asked.strategy].step,
                steps=asked.steps, batch_size=asked.batch_size, seed=asked.seed, progress=False,
                on_progress=_tell, every=asked.every, checkpoint=asked.checkpoint,
            )  # fmt: skip
            if history.interrupted:  # the others may be anywhere: ask them nothing
                sys.exit(f"stopped by hand after {len(history.d_loss)} steps")
            agreed = ranks.ranks_agree(gan)
            _print(f"{len(history.d_loss)} steps with {asked.strategy} on {device.type}; {agreed}")


def _parser() -> argparse.ArgumentParser:
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m gan_lessons.train", description=about, epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--strategy", choices=list(STRATEGIES), default="detach")
    parser.add_argument("--data", choices=["digits", "ring"], default="digits")
    parser.add_argument("--steps", type=int, default=1000, help="in all, also after a stop")
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=100, help="steps between two reports")
    parser.add_argument("--checkpoint", type=Path, help="a file to save to, and to go on from")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is")
    parser.add_argument("--processes", type=int, help="refuse to run with another number than this")
    return parser


@contextmanager
def _processes(device: str | None) -> Iterator[torch.device]:
    """Join the others, if torchrun started this one; yields the device of this process."""
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = torch.device(kind, int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else None
    if place is not None:
        torch.cuda.set_device(place)
    if "WORLD_SIZE" in os.environ:
        ranks.join("cpu:gloo,cuda:nccl" if place is not None else "gloo")
    try:
        yield place or torch.device("cpu")
    finally:
        if ranks.is_joined():
            dist.destroy_process_group()


def _gan(shape: Sequence[int], lr: float, seed: int, device: torch.device) -> Gan:
    gan = mlp_gan(shape, lr=lr, seed=seed)
    for net in gan.nets.values():
        net.to(device)  # in place: the optimizers hold the same parameters
    return gan


def _tell(training: Training) -> None:
    """The losses of the last step, as means over all shares."""
    history, (_, processes) = training.history, ranks.share()
    last = torch.tensor([history.d_loss[-1], history.g_loss[-1]])
    d_loss, g_loss = ranks.every_one(last).mean(0).tolist()
    shared = f" on {processes} processes" if processes > 1 else ""
    _print(f"step {training.steps}{shared}: loss of D {d_loss:.3f}, of G {g_loss:.3f}")


def _print(text: str) -> None:
    if ranks.share()[0] == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
