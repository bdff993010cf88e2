"""What engines do with the steps: real processes that torchrun starts, on this CPU or on a GPU.

python benchmarks/engines.py --json benchmarks/engines.json      # a minute on two cores
python benchmarks/engines.py --device cuda --json benchmarks/engines_cuda.json
python benchmarks/engines.py --device cuda:0 --json benchmarks/engines_cuda_shared.json
python benchmarks/engines.py --from FILE --markdown docs/many-processes.md   # FILE's, into the page

Needs torch, accelerate, and lightning or lightning-fabric. Each line is what a run did, and is
worded from it. One process cannot show that two agree: on the GPU it shows that nccl and the engine
take what they are given, and that nothing of a step is changed by them. Where there is one GPU, two
processes can share it (`cuda:0`): nccl refuses that, gloo does not, and torch is all that is tried.
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
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from between_markers import put_between
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gan_lessons import STRATEGIES, Gan, published, ranks
from gan_lessons.rank_trials import own_share, small_gan, steps, trial, whole_batch
from gan_lessons.strategies import Step

Make = Callable[[Gan], Gan]
TOLERANCE = 1e-5  # of the largest weight, after five steps
PROCESSES = {"cpu": 2, "cuda": 1, "cuda:0": 2}
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "cuda:0": "gloo"}
PARTS = {  # of the page, by how many processes and on what
    "cpu": ("engines", "two processes of a CPU"),
    "cuda": ("engines on a GPU", "one {gpu}"),
    "cuda:0": ("two processes on one GPU", "two processes that share one {gpu}"),
}
PUBLISHED = {
    "retain_graph_as_printed": "S1, as printed",
    "detach_as_printed": "S2, one prediction, as printed",
    "retain_graph_before_1_5": "S1 before 1.5",
}
TITLES = {**{key: strategy.title for key, strategy in STRATEGIES.items()}, **PUBLISHED}


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


def five_steps(step: Step, gan: Gan, device: str, shares: bool) -> str:
    """What was raised, or ""."""
    try:
        for number in range(5):
            batch = [x.to(device) for x in whole_batch(number)]
            step(gan, *(map(own_share, batch) if shares else batch))
    except (RuntimeError, AttributeError, AssertionError) as error:
        return f"raises {type(error).__name__}"
    return ""


def outcome(step: Step, make: Make, device: str) -> str:
    """Five steps on shares of the batches, against one plain process that takes the whole ones."""
    alone, many = small_gan(device=device), make(small_gan(device=device))
    refused, raised = (
        five_steps(step, alone, device, False),
        five_steps(step, many, device, True),
    )
    if raised:
        return f"{raised}{', as alone' if raised == refused else ''}"
    told = ""
    if refused:  # what it comes to, if it comes to what torch computed before 1.5
        alone = small_gan(device=device)
        five_steps(published.retain_graph_before_1_5, alone, device, False)
        told = "**runs**, as S1 before 1.5: "
    right, found = weights(alone), weights(many)
    for net, values in found.items():
        if not all(torch.equal(values, other) for other in ranks.every_one(values)):
            return f"{told}**drifts** in {net}"
    off = max(
        float((found[net] - right[net]).abs().max() / right[net].abs().max()) for net in right
    )
    if off <= TOLERANCE:
        return told + ("right" if off else "the same bits")
    return f"{told}agrees, **wrong** by {off:.0e}"


def outcomes(make: Make, device: str) -> dict[str, str]:
    return {key: outcome(step, make, device) for key, step in steps().items()}


# What is tried, in every process ------------------------------------------------------------------


def join_once(device: str) -> None:
    if not ranks.is_joined():
        ranks.join(BACKENDS[device])


def try_ddp(device: str = "cpu") -> dict[str, Any]:
    join_once(device)

    def make(gan: Gan) -> Gan:
        G, D = (DistributedDataParallel(net) for net in gan.nets.values())
        return replace(gan, generator=G, discriminator=D)

    return {"outcomes": outcomes(make, device)}


def try_hook(device: str = "cpu") -> dict[str, Any]:
    join_once(device)
    with ExitStack() as undone:

        def make(gan: Gan) -> Gan:
            if ranks.share()[1] == 1:  # joined() would find nobody to average with
                for optimizer in gan.optimizers.values():
                    undone.enter_context(ranks.average_gradients(optimizer))
            undone.enter_context(ranks.joined(gan))
            return gan

        found = outcomes(make, device)
    if PROCESSES[device] == 2:
        return {"outcomes": found, "facts": list(normalised(device))}
    number = torch.arange(4, device=device)
    both = torch.stack([number, ~number])  # what ranks_agree reduces
    dist.all_reduce(both, dist.ReduceOp.MIN)
    state = torch.get_rng_state()  # what a checkpoint gathers: on the CPU
    kept = torch.equal(both[0], number) and torch.equal(ranks.every_one(state)[0], state)
    told = "come back as they were" if kept else "do **not** come back as they were"
    fact = f"{dist.get_backend()}: whole numbers on the GPU and random states on the CPU {told}."
    return {"outcomes": found, "facts": [fact, *trained_unchanged()]}


def normalised(device: str) -> Iterator[str]:
    """What comes of batch normalisation in both nets, in the words of a `Trial`."""
    for norm, (how, (way, options)) in product((nn.BatchNorm1d, nn.SyncBatchNorm), SHARED.items()):
        told: dict[str, list[str]] = {}
        for key, strategy in STRATEGIES.items():
            found = trial(key, way, norm, device, **options)
            reason = f" ({found.raised.partition(': ')[0]})" if found.raised else ""
            told.setdefault(f"{found}{reason}", []).append(strategy.title)
        each = "; ".join(f"{what} for {_listed(titles)}" for what, titles in told.items())
        yield f"`{norm.__name__}`, {how}: {each}."


SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "this package": ("hook", {}),
    "DDP": ("DDP", {}),
    "DDP with `broadcast_buffers=False`": ("DDP", {"broadcast_buffers": False}),
}


def _listed(titles: list[str]) -> str:
    return " / ".join(title.partition(":")[0] for title in titles)


def trained_unchanged() -> Iterator[str]:
    """The package's own command, as it is typed on a CPU."""
    line = "-m gan_lessons.train --strategy detach --data ring --steps 20"
    alone = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    starter = "-m torch.distributed.run --standalone --nproc-per-node 1"
    for command, around in ((line, alone), (f"{starter} {line}", alone)):
        done = subprocess.run(
            [sys.executable, *command.split()], capture_output=True, text=True, env=around,
            timeout=150, check=False,
        )  # fmt: skip
        told = (done.stdout.splitlines() or [done.stderr[-200:]])[-1]
        yield f"`python {command}`: {told}"


def try_fsdp2(device: str = "cpu", layers: bool = False) -> dict[str, Any]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    join_once(device)
    mesh = init_device_mesh(torch.device(device).type, (dist.get_world_size(),))

    def make(gan: Gan) -> Gan:
        for net in gan.nets.values():
            for module in list(net.modules()) if layers else ():
                if isinstance(module, nn.Linear):
                    fully_shard(module, mesh=mesh)
            fully_shard(net, mesh=mesh)
        opt_g, opt_d = (torch.optim.SGD(net.parameters(), 0.05) for net in gan.nets.values())
        return replace(gan, optimizer_g=opt_g, optimizer_d=opt_d)

    if layers:
        return {"outcomes": outcomes(make, device)}
    first: Any = next(make(small_gan()).generator.parameters())  # a DTensor
    return {
        "outcomes": outcomes(make, device),
        "facts": [
            f"FSDP2 (`fully_shard`): of G's first weight {tuple(first.shape)} each process holds "
            f"{tuple(first.to_local().shape)}, on {first.device.type}."
        ],
    }


def try_accelerate(device: str = "cpu") -> dict[str, Any]:
    accelerate = importlib.import_module("accelerate")  # not among what the package needs
    Accelerator = accelerate.Accelerator
    start = {"cpu": device == "cpu"}
    engine = Accelerator(**start)

    def prepared_by(engine: Any) -> Make:
        def make(gan: Gan) -> Gan:
            G, D, opt_g, opt_d = engine.prepare(*gan.parts[:4])
            return replace(gan, generator=G, discriminator=D, optimizer_g=opt_g, optimizer_d=opt_d)

        return make

    gan, found = prepared_by(engine)(small_gan()), outcomes(prepared_by(engine), device)
    hooked = tried(lambda: gan.optimizer_g.register_step_pre_hook(lambda *_: None))
    summed = list(accumulated(Accelerator(**start, gradient_accumulation_steps=4)))
    facts = [
        f"accelerate under torchrun sees {engine.num_processes} processes; `prepare` puts each "
        f"net into a {type(gan.generator).__name__}, whose weights are called "
        f"`{next(iter(gan.generator.state_dict()))}` from then on.",
        *where_it_went("accelerate, `prepare`", gan),
        f"accelerate: a hook on a prepared optimizer {hooked}.",
        *summed,
    ]
    for precision in PRECISIONS[device]:
        accelerate.state.AcceleratorState._reset_state()  # else it refuses another precision
        mixed = prepared_by(Accelerator(**start, mixed_precision=precision))
        facts.append(f"accelerate, `mixed_precision='{precision}'`: {plain_backward(mixed)}.")
    return {"outcomes": found, "facts": facts}


PRECISIONS = {"cpu": ("bf16",), "cuda": ("bf16", "fp16")}


def where_it_went(what: str, gan: Gan) -> Iterator[str]:
    """On a GPU: what has moved there by itself, and what has not?"""
    weight = next(gan.generator.parameters())
    if weight.device.type == "cuda":
        held = any(weight is p for p in gan.optimizer_g.param_groups[0]["params"])
        step = tried(lambda: gan.generator(whole_batch(0)[1]))
        yield (
            f"{what} moves a net to {weight.device}, and its optimizer "
            f"{'goes along' if held else 'does **not** go along'}; a batch that is left on the CPU "
            f"{step}."
        )


def accumulated(engine: Any) -> Iterator[str]:
    """What accelerate does to backward, step and zero_grad while it accumulates."""
    gan = small_gan()
    D, opt_d = engine.prepare(gan.discriminator, gan.optimizer_d)
    real = own_share(whole_batch(0)[0]).to(engine.device)
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


def try_fabric(device: str = "cpu") -> dict[str, Any]:
    try:
        Fabric = importlib.import_module("lightning_fabric").Fabric
    except ImportError:
        Fabric = importlib.import_module("lightning.fabric").Fabric

    def launched(**options: Any) -> Any:
        engine = Fabric(accelerator=device, **options)
        engine.launch()
        return engine

    left_alone, devices = launched(), PROCESSES[device]
    engine = launched(devices=devices)

    def set_up_by(engine: Any) -> Make:
        def make(gan: Gan) -> Gan:
            G, opt_g = engine.setup(gan.generator, gan.optimizer_g)
            D, opt_d = engine.setup(gan.discriminator, gan.optimizer_d)
            return replace(gan, generator=G, discriminator=D, optimizer_g=opt_g, optimizer_d=opt_d)

        return make

    gan, real = set_up_by(engine)(small_gan()), own_share(whole_batch(0)[0]).to(engine.device)
    gan.discriminator(real).mean().backward()
    gan.optimizer_d.zero_grad()
    mixed = [
        (name, set_up_by(launched(devices=devices, precision=name)))
        for name in (f"{precision.replace('fp', '')}-mixed" for precision in PRECISIONS[device])
    ]
    rank, asked = os.environ["RANK"], os.environ["WORLD_SIZE"]
    return {
        "outcomes": outcomes(set_up_by(engine), device),
        "facts": [
            f"Fabric under torchrun with its default `devices`, on {device}: process {rank} of "
            f"{asked} is told that there are {left_alone.world_size}"
            + (", and trains a copy of its own." if left_alone.world_size < int(asked) else "."),
            f"Fabric with `devices={devices}`: `world_size` {engine.world_size}; `setup` puts each "
            f"net into a {type(gan.generator).__name__}, whose weights are still called "
            f"`{next(iter(gan.generator.state_dict()))}`.",
            *where_it_went("Fabric, `setup`", gan),
            "Fabric: a hook on an optimizer that was set up "
            + tried(lambda: gan.optimizer_g.register_step_pre_hook(lambda *_: None))
            + "; `zero_grad()` "
            + ("clears" if norm_of_gradients(gan.discriminator) == 0 else "clears nothing")
            + ".",
            *(f"Fabric, `precision='{name}'`: {plain_backward(make)}." for name, make in mixed),
        ],
    }


def plain_backward(make: Make) -> str:
    """What a `loss.backward()` of one's own and a step come to."""
    gan = make(small_gan())
    weight = next(gan.discriminator.parameters())
    real = own_share(whole_batch(0)[0]).to(weight.device)
    told = tried(lambda: gan.discriminator(real).mean().backward())
    stepped = f", `optimizer.step()` then {tried(gan.optimizer_d.step)}" if told == "works" else ""
    return f"a plain `loss.backward()` {told}{stepped}"


def tried(act: Callable[[], object]) -> str:
    try:
        act()
    except (RuntimeError, AttributeError, AssertionError) as error:
        return f"raises {type(error).__name__} ({str(error).partition('. ')[0][:120]})"
    return "works"


def norm_of_gradients(net: nn.Module) -> float:
    return sum(float(p.grad.norm()) for p in net.parameters() if p.grad is not None)


# Starting them, and telling -----------------------------------------------------------------------

WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "this package": try_hook,
    "DDP": try_ddp,
    "accelerate": try_accelerate,
    "Fabric": try_fabric,
    "FSDP2": try_fsdp2,
    "FSDP2, layer by layer": partial(try_fsdp2, layers=True),
}
OF_TORCH = ("this package", "DDP")  # FSDP2 crashes where gloo has to gather on a GPU


def in_processes(way: str, device: str) -> dict[str, Any]:
    number = str(PROCESSES[device])
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", number]
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "found.json")
        asked = ["--try", way, "--found", str(found), "--device", device]
        done = subprocess.run(
            [sys.executable, *starter, __file__, *asked],
            check=False, capture_output=True, text=True, timeout=200,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{way} on {device} failed:\n{done.stderr[-4000:]}")
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


def measured(device: str) -> dict[str, Any]:
    installed = {
        package.metadata["Name"]: package.version for package in importlib.metadata.distributions()
    }
    found: dict[str, Any] = {
        "on": device,
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(),
        "versions": {
            name: installed[name].partition("+")[0]
            for name in ("torch", "lightning", "lightning-fabric", "accelerate")
            if name in installed
        },
        "ways": {},
        "facts": [],
    }
    for way in WAYS if device != "cuda:0" else OF_TORCH:
        try:
            result = in_processes(way, device)
        except RuntimeError as error:  # the other ways can still be tried
            print(error, file=sys.stderr)
            continue
        found["ways"][way] = result["outcomes"]
        found["facts"] += result.get("facts", [])
    if device == "cpu":
        found["facts"].append(launched_by_accelerate())
    return found


def report(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = PARTS[found["on"]][1].format(gpu=found["device"])
    lines = [
        f"Made by `python benchmarks/engines.py` on {where}, with {versions}.",
        "",
        f"| step, unchanged | {' | '.join(found['ways'])} |",
        f"|---|{'---|' * len(found['ways'])}",
    ]
    for key, title in TITLES.items():
        lines.append(f"| {title} | {' | '.join(way[key] for way in found['ways'].values())} |")
    return "\n".join([*lines, "", *(f"- {fact}" for fact in found["facts"])])


def try_here(way: str, device: str, found: Path) -> None:
    """In each process that torchrun started."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if device != "cpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) if device == "cuda" else 0)
    result = WAYS[way](device)
    if os.environ["RANK"] == "0":
        found.write_text(json.dumps(result))
    if ranks.is_joined():
        dist.barrier()
    os._exit(0)  # FSDP2's nets keep the group, whose threads now and then abort a regular end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=list(PROCESSES), default="cpu")
    parser.add_argument("--json", type=Path, help="keep what is found there")
    parser.add_argument("--from", type=Path, dest="old", help="take it from there")
    parser.add_argument("--markdown", type=Path, help="a page with places marked for it")
    parser.add_argument("--try", dest="way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        try_here(asked.way, asked.device, asked.found)
    found = json.loads(asked.old.read_text()) if asked.old else measured(asked.device)
    print(report(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if asked.markdown:
        put_between(asked.markdown, PARTS[found["on"]][0], report(found))


if __name__ == "__main__":
    main()
