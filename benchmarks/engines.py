"""What engines do with the steps: two real processes on this CPU, started by torchrun.

python benchmarks/engines.py                                  # a minute: prints what it finds
python benchmarks/engines.py --markdown docs/many-processes.md   # and puts it there

Needs torch, lightning and accelerate, in an environment of its own: the package needs neither.
Each line is what a run did, and is worded from it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from between_markers import put_between
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gan_lessons import STRATEGIES, Gan, ranks
from gan_lessons.rank_trials import own_share, small_gan, whole_batch

Make = Callable[[Gan], Gan]
TOLERANCE = 1e-5  # of the largest weight, after five steps


def unwrapped(net: nn.Module) -> nn.Module:
    inner = getattr(net, "module", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else net


def weights(gan: Gan) -> dict[str, Tensor]:
    """Net -> all its weights, whole, wherever their parts lie."""
    return {
        key: torch.cat([whole(p.detach()).flatten() for p in unwrapped(net).parameters()])
        for key, net in gan.nets.items()
    }


def whole(weight: Tensor) -> Tensor:
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def outcome(key: str, make: Make) -> str:
    """Five steps on half batches, against one process that takes the whole ones."""
    step, alone = STRATEGIES[key].step, small_gan()
    try:
        many = make(small_gan())
        for number in range(5):
            step(alone, *whole_batch(number))
            step(many, *map(own_share, whole_batch(number)))
    except RuntimeError as error:
        return f"raises {type(error).__name__}"
    right, found = weights(alone), weights(many)
    for net, values in found.items():
        if not all(torch.equal(values, other) for other in ranks.every_one(values)):
            return f"**drifts** in {net}"
    off = max(
        float((found[net] - right[net]).abs().max() / right[net].abs().max()) for net in right
    )
    return "right" if off <= TOLERANCE else f"agrees, **wrong** by {off:.0e}"


def outcomes(make: Make) -> dict[str, str]:
    return {key: outcome(key, make) for key in STRATEGIES}


# What is tried, in every process ------------------------------------------------------------------


def join_once() -> None:
    if not ranks.is_joined():
        ranks.join()


def try_ddp() -> dict[str, Any]:
    join_once()

    def make(gan: Gan) -> Gan:
        G, D = (DistributedDataParallel(net) for net in gan.nets.values())
        return replace(gan, generator=G, discriminator=D)

    return {"outcomes": outcomes(make)}


def try_hook() -> dict[str, Any]:
    join_once()

    with ExitStack() as undone:

        def make(gan: Gan) -> Gan:
            undone.enter_context(ranks.joined(gan))
            return gan

        return {"outcomes": outcomes(make)}


def try_fsdp2() -> dict[str, Any]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    join_once()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def make(gan: Gan) -> Gan:
        for net in gan.nets.values():
            fully_shard(net, mesh=mesh)
        opt_g, opt_d = (torch.optim.SGD(net.parameters(), 0.05) for net in gan.nets.values())
        return replace(gan, optimizer_g=opt_g, optimizer_d=opt_d)

    first: Any = next(make(small_gan()).generator.parameters())  # a DTensor
    return {
        "outcomes": outcomes(make),
        "facts": [
            f"FSDP2 (`fully_shard`): of G's first weight {tuple(first.shape)} each process holds "
            f"{tuple(first.to_local().shape)}."
        ],
    }


def try_accelerate() -> dict[str, Any]:
    accelerate = importlib.import_module("accelerate")  # not among what the package needs
    Accelerator = accelerate.Accelerator

    engine = Accelerator(cpu=True)

    def make(gan: Gan) -> Gan:
        G, D, opt_g, opt_d = engine.prepare(*gan.parts[:4])
        return replace(gan, generator=G, discriminator=D, optimizer_g=opt_g, optimizer_d=opt_d)

    gan, found = make(small_gan()), outcomes(make)
    hooked = tried(lambda: gan.optimizer_g.register_step_pre_hook(lambda *_: None))
    summed = list(accumulated(Accelerator(cpu=True, gradient_accumulation_steps=4)))
    accelerate.state.AcceleratorState._reset_state()  # else it refuses another precision
    mixed = Accelerator(cpu=True, mixed_precision="bf16")
    return {
        "outcomes": found,
        "facts": [
            f"accelerate under torchrun sees {engine.num_processes} processes; `prepare` puts each "
            f"net into a {type(gan.generator).__name__}, whose weights are called "
            f"`{next(iter(gan.generator.state_dict()))}` from then on.",
            f"accelerate: a hook on a prepared optimizer {hooked}.",
            *summed,
            "accelerate, `mixed_precision='bf16'`: a plain `loss.backward()` "
            f"{tried(plain_backward(mixed.prepare))}.",
        ],
    }


def accumulated(engine: Any) -> Iterator[str]:
    """What accelerate does to backward, step and zero_grad while it accumulates."""
    gan = small_gan()
    D, opt_d = engine.prepare(gan.discriminator, gan.optimizer_d)
    real = own_share(whole_batch(0)[0])
    engine.backward(D(real).mean())
    scaled = norm_of_gradients(D)
    D.zero_grad()
    D(real).mean().backward()
    yield (
        f"accelerate with `gradient_accumulation_steps=4`: `accelerator.backward(loss)` writes "
        f"{scaled / norm_of_gradients(D):.2f} times the gradient of `loss.backward()`."
    )
    with engine.accumulate(D):  # the first of four
        before = [p.detach().clone() for p in D.parameters()]
        opt_d.step()
        moved = any(not torch.equal(p, q) for p, q in zip(D.parameters(), before, strict=True))
        opt_d.zero_grad()
        cleared = norm_of_gradients(D) == 0
    yield (
        "accelerate inside `accumulate(...)`, before the last of the four: `optimizer.step()` "
        f"{'moves the weights' if moved else 'moves nothing'}, `optimizer.zero_grad()` "
        f"{'clears' if cleared else 'clears nothing'}; neither says so."
    )


def try_fabric() -> dict[str, Any]:
    Fabric = importlib.import_module("lightning.fabric").Fabric

    left_alone = Fabric(accelerator="cpu")
    left_alone.launch()
    fact = (
        "Fabric under torchrun with its default `devices`, on a CPU: process "
        f"{os.environ['RANK']} of {os.environ['WORLD_SIZE']} is told that there are "
        f"{left_alone.world_size}, and trains a copy of its own."
    )
    engine = Fabric(accelerator="cpu", devices=2)
    engine.launch()

    def make(gan: Gan, engine: Any = engine) -> Gan:
        G, opt_g = engine.setup(gan.generator, gan.optimizer_g)
        D, opt_d = engine.setup(gan.discriminator, gan.optimizer_d)
        return replace(gan, generator=G, discriminator=D, optimizer_g=opt_g, optimizer_d=opt_d)

    gan, real = make(small_gan()), own_share(whole_batch(0)[0])
    gan.discriminator(real).mean().backward()
    gan.optimizer_d.zero_grad()
    mixed = Fabric(accelerator="cpu", devices=2, precision="bf16-mixed")
    mixed.launch()
    return {
        "outcomes": outcomes(make),
        "facts": [
            fact,
            f"Fabric with `devices=2`: {engine.world_size} processes; `setup` puts each net into a "
            f"{type(gan.generator).__name__}, whose weights are still called "
            f"`{next(iter(gan.generator.state_dict()))}`.",
            "Fabric: a hook on an optimizer that was set up "
            + tried(lambda: gan.optimizer_g.register_step_pre_hook(lambda *_: None))
            + "; `zero_grad()` "
            + ("clears" if norm_of_gradients(gan.discriminator) == 0 else "clears nothing")
            + ".",
            "Fabric in full precision: a plain `loss.backward()` "
            + tried(plain_backward(engine.setup))
            + "; with `precision='bf16-mixed'` it "
            + tried(plain_backward(mixed.setup))
            + ".",
        ],
    }


def plain_backward(wrap: Callable[[nn.Module], Any]) -> Callable[[], object]:
    return lambda: wrap(small_gan().discriminator)(own_share(whole_batch(0)[0])).mean().backward()


def tried(act: Callable[[], object]) -> str:
    try:
        act()
    except (RuntimeError, AttributeError) as error:
        return f"raises {type(error).__name__} ({str(error).partition('. ')[0][:120]})"
    return "works"


def norm_of_gradients(net: nn.Module) -> float:
    return sum(float(p.grad.norm()) for p in net.parameters() if p.grad is not None)


# Starting them, and telling -----------------------------------------------------------------------

WAYS = {
    "this package": try_hook,
    "DDP": try_ddp,
    "accelerate": try_accelerate,
    "Fabric": try_fabric,
    "FSDP2": try_fsdp2,
}


def in_two_processes(way: str) -> dict[str, Any]:
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        subprocess.run(
            [sys.executable, *starter, __file__, "--try", way, "--found", str(found)],
            check=True, capture_output=True, text=True, timeout=200,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        result: dict[str, Any] = json.loads(found.read_text())
    return result


def launched_by_accelerate() -> str:
    """How many processes its own launcher starts on a CPU."""
    program = "import accelerate; print('seen', accelerate.Accelerator(cpu=True).num_processes)"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "ask.py")
        script.write_text(program)
        starter = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
        done = subprocess.run(
            [*starter, "--num_processes", "2", str(script)],
            check=True, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
    seen = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("seen")]
    return (
        f"Processes that `accelerate launch --cpu --num_processes 2` started: {len(seen)}; told "
        f"that there are {', '.join(sorted(set(seen)))}."
    )


def report() -> str:
    found = {way: in_two_processes(way) for way in WAYS}
    versions = [
        f"{p} {importlib.metadata.version(p)}" for p in ("torch", "lightning", "accelerate")
    ]
    lines = [
        f"Made by `python benchmarks/engines.py` with {', '.join(versions).replace('+cpu', '')}.",
        "",
        f"| step, unchanged | {' | '.join(WAYS)} |",
        f"|---|{'---|' * len(WAYS)}",
    ]
    for key, strategy in STRATEGIES.items():
        cells = [found[way]["outcomes"][key] for way in WAYS]
        lines.append(f"| {strategy.title} | {' | '.join(cells)} |")
    facts = [fact for way in WAYS for fact in found[way].get("facts", [])]
    return "\n".join([*lines, "", *(f"- {fact}" for fact in [*facts, launched_by_accelerate()])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--markdown", type=Path, help="a page with places marked for it")
    parser.add_argument("--try", dest="way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        found = WAYS[asked.way]()
        if os.environ["RANK"] == "0":
            asked.found.write_text(json.dumps(found))
        if ranks.is_joined():
            dist.destroy_process_group()
        return
    text = report()
    print(text)
    if asked.markdown:
        put_between(asked.markdown, "engines", text)


if __name__ == "__main__":
    main()
