"""Every strategy through nccl on one GPU: the package's hook and DDP, against the plain step.

torchrun --standalone --nproc-per-node 1 benchmarks/nccl.py --json F    # needs torch alone

One process cannot show that two agree. It shows that the collectives take what they are given, on
the GPU, and that nothing of a step is changed by them.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gan_lessons import STRATEGIES, Gan, ranks
from gan_lessons.rank_trials import small_gan, whole_batch

BACKENDS = {"cuda": "cpu:gloo,cuda:nccl", "cpu": "gloo"}


def weights(gan: Gan) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for net in gan.nets.values() for p in net.parameters()])


def on(device: str) -> Gan:
    gan = small_gan()
    for net in gan.nets.values():
        net.to(device)  # in place: the optimizers hold the same parameters
    return gan


@contextmanager
def shared(gan: Gan, way: str) -> Iterator[Gan]:
    """The gan as one of many; `ranks.joined` would see one process, and average nothing."""
    with ExitStack() as undone:
        if way == "hook":
            for optimizer in gan.optimizers.values():
                undone.enter_context(ranks.average_gradients(optimizer))
        elif way == "DDP":
            G, D = (DistributedDataParallel(net) for net in gan.nets.values())
            gan = replace(gan, generator=G, discriminator=D)
        yield gan


def trial(key: str, way: str, device: str) -> str:
    """Five steps: the largest difference to the plain step, or what was raised."""
    plain, gan = on(device), on(device)
    try:
        with shared(gan, way) as many:
            for number in range(5):
                batch = [x.to(device) for x in whole_batch(number)]
                STRATEGIES[key].step(plain, *batch)
                STRATEGIES[key].step(many, *batch)
    except RuntimeError as error:
        return f"raises: {str(error).partition(chr(10))[0]}"
    return f"{float((weights(plain) - weights(gan)).abs().max()):.1e}"


def check(device: str) -> dict[str, object]:
    whole = torch.arange(4, device=device)
    both = torch.stack([whole, ~whole])  # what ranks_agree reduces
    dist.all_reduce(both, dist.ReduceOp.MIN)
    state = torch.get_rng_state()  # what a checkpoint gathers: on the CPU
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "backend": dist.get_backend(),
        "whole numbers survive a minimum": bool((both[0] == whole).all()),
        "random states are gathered": bool(torch.equal(ranks.every_one(state)[0], state)),
        "largest difference to the plain step": {
            key: {way: trial(key, way, device) for way in ("hook", "DDP")} for key in STRATEGIES
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=list(BACKENDS), default="cuda")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    ranks.join(BACKENDS[asked.device])
    found = check(asked.device)
    dist.destroy_process_group()
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
