"""Where a step's time goes: forwards, backwards, optimizers, and what remains around them.

    python benchmarks/where_time_goes.py --markdown docs/benchmarks.md   # half a minute
    python benchmarks/where_time_goes.py --quick                         # does it run?

CPU time of one thread, medians of steps that take turns; the whole without the clocks inside, and
the rest is the difference. "By hand" is one stage as one would inline it for one pair of nets: no
checks, no choice of a form, no loss of G that no backward needs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import steps
import torch
from between_markers import put_between
from steps import (
    FUSED,
    PLAIN,
    Pair,
    Setting,
    Step,
    by_hand,
    conv,
    interleaved,
    keep_memory,
    mlp,
    on,
    prepared,
)
from torch import Tensor

from gan_lessons import Gan, step_detach, step_one_stage


def one_stage_by_hand(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """One stage for binary cross-entropy with logits and a D that does not mix samples."""
    G, D, opt_g, opt_d, loss = gan.parts
    opt_d.zero_grad()
    opt_g.zero_grad()
    fake = G(noise)
    pred_fake, pred_real = D(torch.cat((fake, real))).chunk(2)
    ones, zeros = torch.ones_like(pred_real), torch.zeros_like(pred_fake)
    p = pred_fake.detach().sigmoid()
    factor = (2 * (p - 1) / p).view(-1, *[1] * (fake.ndim - 1))
    fake.register_hook(lambda grad: grad * factor)
    ((loss(pred_real, ones) + loss(pred_fake, zeros)) / 2).backward()
    opt_d.step()
    opt_g.step()


STEPS: dict[str, Step] = {
    steps.REFERENCE: by_hand,
    "S2: detach": step_detach,
    "One stage by hand": one_stage_by_hand,
    "One stage, one call of D": steps.ONE_STAGE["One stage, one call of D"],
    "One stage, as it chooses": step_one_stage,
}


PARTS = ("forwards", "backwards", "optimizers")


@contextmanager
def clocks(gan: Gan) -> Iterator[dict[str, float]]:
    """CPU seconds spent in each part of the steps that run meanwhile."""
    spent, began = dict.fromkeys(PARTS, 0.0), dict[str, float]()
    backward = torch.Tensor.backward

    def start(part: str, *_: Any) -> None:
        began[part] = time.process_time()

    def stop(part: str, *_: Any) -> None:
        spent[part] += time.process_time() - began[part]

    def timed_backward(*args: Any, **kwargs: Any) -> None:
        start("backwards")
        backward(*args, **kwargs)
        stop("backwards")

    with ExitStack() as stack, mock.patch.object(torch.Tensor, "backward", timed_backward):
        for part, before, after in (
            *(("forwards", n.register_forward_pre_hook, n.register_forward_hook)
              for n in gan.nets.values()),
            *(("optimizers", o.register_step_pre_hook, o.register_step_post_hook)
              for o in gan.optimizers.values()),
        ):  # fmt: skip
            stack.callback(before(partial(start, part)).remove)
            stack.callback(after(partial(stop, part)).remove)
        yield spent


def measured(pair: Pair, setting: Setting) -> list[tuple[str, list[float]]]:
    """Step -> [ratio to the first, ms in all, ms of each of PARTS, ms of the rest]."""
    gans = {name: on(pair.gan, "cpu", **setting.adam) for name in STEPS}
    runs = {n: prepared(step, pair, setting, "cpu", gans[n]) for n, step in STEPS.items()}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in runs}

    def run(name: str) -> None:
        with clocks(gans[name]) as spent:
            runs[name]()
        parts[name].append(spent)

    plain = interleaved(runs, pair.rounds, pair.inner, "cpu")
    interleaved({name: partial(run, name) for name in runs}, pair.rounds, pair.inner, "cpu")
    first = [busy for _, busy in plain[steps.REFERENCE]]
    found = []
    for name in runs:
        mine = [busy for _, busy in plain[name]]
        ratio = statistics.median(a / b for a, b in zip(mine, first, strict=True))
        whole = 1e3 * statistics.median(mine)
        each = [1e3 * statistics.median(spent[part] for spent in parts[name]) for part in PARTS]
        found.append((name, [ratio, whole, *each, whole - sum(each)]))
    return found


def table(pair: Pair, setting: Setting) -> str:
    heads = ("step", "ratio", "in all", *PARTS, "the rest")
    lines = [f"**{pair.name}, {setting.name}**", "", f"| {' | '.join(heads)} |",
             "|---" * len(heads) + "|"]  # fmt: skip
    for name, (ratio, *ms) in measured(pair, setting):
        lines.append(f"| {name} | {ratio:.3f} | " + " | ".join(f"{x:.2f} ms" for x in ms) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="does it run?")
    parser.add_argument("--markdown", type=Path, help="put the tables between its markers")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_memory()
    rounds = 2 if options.quick else 60
    pairs = [Pair("MLP 64 / 512, batch 64", mlp(), 64, rounds, 3)]
    if not options.quick:
        pairs.append(Pair("DCGAN 64x64, widths 32 / 32, batch 8", conv(32, 32), 8, 20))
    parts = [f"Measured on: {steps.machine('cpu')}; load {steps.load()}. CPU time of the process."]
    parts += [table(pair, setting) for pair in pairs for setting in (PLAIN, FUSED)]
    text = "\n\n".join(parts)
    print(text)
    if options.markdown:
        put_between(options.markdown, "profile", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
