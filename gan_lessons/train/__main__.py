"""Train a GAN from the command line, on one process or on many.

    python -m gan_lessons.train --strategy detach --data digits --steps 200
    torchrun --nproc-per-node 2 -m gan_lessons.train --strategy detach --data digits --steps 200

Each process takes its share of the batch and, where there are GPUs, one of those. The first one
prints and saves. With --checkpoint it goes on where it was stopped, with as many processes.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
import torch.distributed as dist

from gan_lessons import data, ranks
from gan_lessons.factories import mlp_gan
from gan_lessons.strategies import STRATEGIES
from gan_lessons.train import Training, train

PROGRAM = "python -m gan_lessons.train"
SHORT = {s.title.partition(":")[0]: key for key, s in STRATEGIES.items()}  # "S2" -> "detach"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the command line says. Raises SystemExit, after a sentence, where that fails."""
    asked = _asked(arguments)
    with _processes(asked.device) as store, _said_once(store):
        samples = data.digits() if asked.data == "digits" else data.ring(4096)
        gan = mlp_gan(samples.shape[1:], lr=asked.lr, seed=asked.seed)
        for net in gan.nets.values():
            net.to(asked.device)  # in place: the optimizers hold the same parameters
        with ranks.joined(gan, asked.processes):
            history = train(
                gan, samples, STRATEGIES[asked.strategy].step,
                steps=asked.steps, batch_size=asked.batch_size, seed=asked.seed, progress=False,
                on_progress=_tell, every=asked.every, checkpoint=asked.checkpoint,
            )  # fmt: skip
            if history.interrupted:  # the others may be anywhere: ask them nothing
                raise KeyboardInterrupt(_stopped(len(history.d_loss), asked.checkpoint))
            agreed = ranks.ranks_agree(gan)
            where = torch.device(asked.device).type
            _print(f"{len(history.d_loss)} steps with {asked.strategy} on {where}; {agreed}")


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says; of many processes the first one says what is wrong with it."""
    if int(os.environ.get("RANK", "0")):
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            return _parsed(arguments)
    return _parsed(arguments)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    asked = parser.parse_args(arguments)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    asked.device = asked.device or ("cuda" if gpus else "cpu")
    if asked.device == "cuda" and gpus < here:
        parser.error(
            f"argument --device: cuda takes a GPU for each process; {here} started here, and torch "
            f"sees {gpus} GPUs. Say --device cpu, or start fewer"
        )
    if asked.device == "cuda":
        asked.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return asked


def _parser() -> argparse.ArgumentParser:
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=about, epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--strategy", choices=list(STRATEGIES), default="detach", help="or S1, S2, S3",
        type=lambda name: SHORT.get(name, name),
    )  # fmt: skip
    parser.add_argument("--data", choices=["digits", "ring"], default="digits")
    parser.add_argument("--steps", type=int, default=1000, help="in all, also after a stop")
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--lr", type=float, default=2e-3, help="a checkpoint keeps its own")
    parser.add_argument("--seed", type=int, default=0, help="a checkpoint keeps its own")
    parser.add_argument("--every", type=int, default=100, help="steps between two reports")
    parser.add_argument("--checkpoint", type=Path, help="a file to save to, and to go on from")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is")
    parser.add_argument("--processes", type=int, help="refuse to run with another number than this")
    return parser


@contextmanager
def _processes(device: str) -> Iterator[dist.Store | None]:
    """Join the others, if torchrun started this one; yields what all of them can look into."""
    if device != "cpu":
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield None
        return
    store, rank, count = next(dist.rendezvous("env://"))
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    ranks.join(backend, store=store, rank=rank, world_size=count)
    try:
        yield store
    finally:
        dist.destroy_process_group()


@contextmanager
def _said_once(store: dist.Store | None) -> Iterator[None]:
    """An error ends the program with one sentence. Where one of many fails, the others fail as
    well, in waiting for it; they say nothing."""
    try:
        yield
    except (KeyboardInterrupt, OSError, ValueError, TypeError, ArithmeticError, RuntimeError) as e:
        if store is None or _is_first(store):  # at once: torchrun soon ends whoever is left
            print(f"{PROGRAM}: {e}" if str(e) else "stopped by hand", file=sys.stderr, flush=True)
        raise SystemExit(1) from e


def _is_first(store: dist.Store) -> bool:
    """Is this the first process that comes to its end by an error?"""
    try:
        return store.add("failed", 1) == 1
    except RuntimeError:  # the process that kept the store is gone
        return False


def _stopped(steps: int, checkpoint: Path | None) -> str:
    told = f"stopped by hand after {steps} steps"
    if checkpoint is None or not checkpoint.exists():
        return told
    return f"{told}; the same command goes on from what {checkpoint} holds"


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
