"""Ctrl-C, for real, at random moments of every entry point: it comes out, and nothing stays behind.

    python -m tests.stress.interrupts --cases 500            # of each entry point
    python -m tests.stress.interrupts --only record --cases 50
    python -m tests.stress.interrupts --only export --cases 50 --seed 1 --add --keep

Each entry point runs again and again in a process of its own, in whose group this one sends SIGINT
at random moments, as a terminal does. After each: was it a KeyboardInterrupt, are hooks, patches,
flags, modes, random state and temporary files as before, and does the next call give what it gave.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil  # type: ignore[import-untyped]
import torch
from torch import nn
from torch.utils.checkpoint import CheckpointFunction

from tests.stress import report

PATIENCE = 0.5  # seconds; then another signal: Python swallows one where an object is let go of
LONGER = {"export": 20.0}  # a kernel takes its time to go


# The child ----------------------------------------------------------------------------------------


def entry_points(folder: Path) -> dict[str, Callable[[], Any]]:
    """Name -> a call that gives something to compare, always the same."""
    from gan_lessons import (
        cost,
        data,
        diagnose,
        draw_graph,
        explore,
        gains,
        record,
        record_step,
        same,
        step_detach,
        terms,
        tiny_gan,
        train,
        watch,
        watched,
    )
    from gan_lessons.lens import whatif

    gan, real, noise = tiny_gan(), data.ring(4), data.noise(4, (2,))
    fresh = functools.partial(
        copy.deepcopy, tiny_gan()
    )  # building one is torch's, with its no_grad
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, real, noise)

    def loop(batches: Any) -> None:
        for batch in batches:
            step_detach(KEPT["loop"], *batch)

    def recorded() -> Any:
        gan = KEPT["record"] = fresh()
        with record(gan.nets, gan.optimizers) as found:
            step_detach(gan, real, noise)
        return len(found.events), [dict(call.received) for call in found.backward_calls]

    def stepped() -> Any:
        gan = KEPT["record_step"] = fresh()
        return len(record_step(step_detach, gan, real, noise).moments)

    def seen() -> Any:
        gan = KEPT["watch"] = fresh()
        with watch(gan.nets, gan.optimizers) as found:
            step_detach(gan, real, noise)
        return str(type(found))

    def seen_in_a_loop() -> Any:
        gan = KEPT["watched"] = fresh()
        players = gan.parts  # ``watched`` finds them here
        for _ in watched([1, 2], iterations=1, tell=lambda *_: None):
            step_detach(gan, real, noise)
        return len(players)

    def compared() -> Any:
        gan = KEPT["loop"] = fresh()
        return str(same(loop, loop, gan.nets, gan.optimizers, [(real, noise)]))

    def pulled() -> Any:
        gan = KEPT["terms"] = fresh()
        loss = gan.discriminator(gan.generator(noise)).mean()
        return str(terms({"adversarial": loss}, gan.nets))

    def gained() -> Any:
        gan = KEPT["gains"] = fresh()
        gains(lambda: step_detach(gan, real, noise), gan.nets, gan.optimizers, repeat=1)
        return True

    def trained() -> Any:
        own = KEPT["train"] = fresh()
        kept = folder / "checkpoint.pt"
        kept.unlink(missing_ok=True)
        done = train.train(own, data.ring(16), steps=6, batch_size=4, every=2, progress=False,
                           checkpoint=kept)  # fmt: skip
        if done.interrupted:
            raise KeyboardInterrupt  # as it promises
        return done.d_loss

    def saved() -> Any:
        shown = explore("detach", what_if=False)
        shown.save(folder / "explorer.html")
        shown.close()
        return len((folder / "explorer.html").read_text())

    def exported() -> Any:
        """A lesson runs in a kernel of its own, and its slides are written."""
        from gan_lessons.classroom.export import build

        shutil.rmtree(folder / "export", ignore_errors=True)
        cells = [nbformat.v4.new_markdown_cell("# One"), nbformat.v4.new_code_cell("print(1)")]
        (folder / "export").mkdir()
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "export" / "01-one.ipynb")
        failed = build.build("slides", [folder / "export" / "01-one.ipynb"], folder / "export")
        return failed, len((folder / "export" / "slides" / "01-one.html").read_text())

    return {
        "record": recorded,
        "record_step": stepped,
        "watch": seen,
        "watched": seen_in_a_loop,
        "same": compared,
        "terms": pulled,
        "diagnose": lambda: str(diagnose(rec)),
        "table": lambda: (str(rec), rec._repr_html_()),
        "draw_graph": lambda: len(draw_graph(record=rec).svg),
        "cost": lambda: cost(step_detach, gan, real, noise, repeat=1).flops,
        "gains": gained,
        "what_if": lambda: whatif.what_if(step_detach, whatif.variants(step_detach)[0].key).source,
        "explore": lambda: explore("detach", what_if=False, gan=gan).close(),
        "save": saved,
        "train": trained,
        "export": exported,
    }


PATCHED = ("zero_grad", "state_dict", "load_state_dict")  # methods of nn.Module, by a recording
KEPT: dict[str, Any] = {}  # the Gan of each entry point that was under way


def left() -> list[Any]:
    """What a call may leave behind in torch, in Python and in the Gans that it was given."""
    optimizer = sys.modules["torch.optim.optimizer"]
    nets = [net for gan in KEPT.values() for net in gan.nets.values()]
    hooks = [len(h) for n in nets for m in n.modules() for h in (
        m._forward_hooks, m._forward_pre_hooks, m._forward_hooks_always_called)]  # fmt: skip
    on_weights = [len(p._post_accumulate_grad_hooks or ()) for n in nets for p in n.parameters()]
    return [
        ("engine", torch.autograd._engine_run_backward.__module__),
        ("zero_grad", nn.Module.zero_grad.__module__, torch.optim.Optimizer.zero_grad.__module__),
        ("wrapped", [name for name in PATCHED if hasattr(getattr(nn.Module, name), "__wrapped__")],
         "apply" in vars(CheckpointFunction)),
        ("hooks of all optimizers", type(optimizer._global_optimizer_pre_hooks).__name__,
         len(optimizer._global_optimizer_pre_hooks), len(optimizer._global_optimizer_post_hooks)),
        ("modes", len(torch.overrides._get_current_function_mode_stack()),
         len(torch.utils._python_dispatch._get_current_dispatch_mode_stack())),
        ("trace", sys.gettrace(), sys.getprofile(), threading.gettrace()),
        ("grad mode", torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        ("hooks", any(hooks), any(on_weights)),
        ("flags", all(p.requires_grad for n in nets for p in n.parameters())),
        ("modules", all(m.training for n in nets for m in n.modules())),
        ("algorithms", torch.are_deterministic_algorithms_enabled()),
        ("kernels", kernels()),
    ]  # fmt: skip


def kernels() -> int:
    """How many run that this process started."""
    found = 0
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            found += "ipykernel_launcher" in child.cmdline()
    return found


# These run the caller's own step on the caller's nets, and what that draws, it draws.
OWN_STEP = ("record", "record_step", "watch", "watched", "same", "gains")


def child(name: str, cases: int) -> None:
    """Call on; ``go`` on standard output asks for a signal, other lines tell what came of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    tell = functools.partial(print, file=os.fdopen(os.dup(1), "w"), flush=True)
    sys.stdout = io.StringIO()  # what an entry point says is for nobody
    importlib.import_module("torch._dynamo")  # makes a temporary folder, once; torch's, not ours
    folder = Path(tempfile.mkdtemp())
    tempfile.tempdir = str(folder)
    swallowed: list[str] = []
    sys.unraisablehook = lambda told: swallowed.append(str(told.object))
    quiet = contextlib.redirect_stderr(io.StringIO())
    with quiet:
        call = entry_points(folder)[name]
        expected = call()
        start = time.monotonic()
        call()
        took, before = time.monotonic() - start, left()
    for _ in range(cases):
        go = functools.partial(tell, json.dumps({"go": took}))
        accidents = interrupted(name, call, folder, go, (expected, before))
        tell(json.dumps(accidents))
    tell(json.dumps({"swallowed": len(swallowed)}))


def interrupted(
    name: str,
    call: Callable[[], Any],
    folder: Path,
    go: Callable[[], None],
    known: tuple[Any, Any],
) -> list[str]:
    rng, found = torch.get_rng_state(), []
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        go()
        with contextlib.redirect_stderr(io.StringIO()):
            while True:
                call()
    except KeyboardInterrupt:
        pass
    except BaseException as error:  # noqa: BLE001 - the accident that is looked for
        found.append(f"{type(error).__name__} instead of KeyboardInterrupt: {error}"[:300])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one may be on its way
    expected, before = known
    if (now := left()) != before:
        found += [f"left behind: {a} was {b}" for a, b in zip(now, before, strict=True) if a != b]
    if name not in OWN_STEP and not torch.equal(rng, torch.get_rng_state()):
        found.append("the random state is another one")
    torch.set_rng_state(rng)
    whole = {"checkpoint.pt", "explorer.html", "export"}
    names = {p.name for p in folder.iterdir()} | {p.name for p in folder.rglob(".*.part")}
    if parts := sorted(names - whole):
        found.append(f"files: {parts}")
    try:
        again = call()
    except Exception as error:  # noqa: BLE001 - the same
        again = error
    torch.set_grad_enabled(True)  # what was left behind is told; the next interrupt has its own
    if again != expected:
        found.append(f"the next call gave {str(again)[:100]}")
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


# The parent ---------------------------------------------------------------------------------------


def interrupt(name: str, cases: int, seconds: float, seed: int) -> tuple[int, list[str], str]:
    """(interrupts, accidents, how it ended) of one entry point."""
    random_, done, found = random.Random(f"{name} {seed}"), 0, list[str]()
    command = [sys.executable, "-m", __spec__.name, "--child", name, "--cases", str(cases)]
    end, swallowed = time.monotonic() + seconds, 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        answered = threading.Event()  # a new one for each signal: a late one is for nobody else
        for line in process.stdout:
            told = json.loads(line)
            if isinstance(told, dict) and "go" in told:
                if time.monotonic() > end:
                    process.kill()
                    break
                answered = threading.Event()
                wait = random_.uniform(0, 1.5 * told["go"])
                threading.Thread(
                    target=_send, args=(process, wait, LONGER.get(name, PATIENCE), answered)
                ).start()
                continue
            answered.set()
            if isinstance(told, dict):
                swallowed = told["swallowed"]
            else:
                done += 1
                found += told
        answered.set()
        said = process.stderr.read()
    if process.returncode not in (0, -signal.SIGKILL):
        found.append(f"the process ended with status {process.returncode}: {said[-300:]}")
    return done, found, f"{swallowed} swallowed by Python" if swallowed else ""


def _send(
    process: subprocess.Popen[str], wait: float, patience: float, answered: threading.Event
) -> None:
    """Ctrl-C after ``wait`` seconds, and again after ``patience`` until it is answered."""
    while not answered.wait(wait):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        wait = patience


def main() -> None:
    parser = report.arguments(__doc__, cases=500)
    parser.add_argument("--only", action="append", help="an entry point; may be given again")
    parser.add_argument("--add", action="store_true", help="to what was kept: give another seed")
    parser.add_argument("--child", help="for this program itself")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.cases)
        return
    names = options.only or list(entry_points(Path()))
    each = report.kept("interrupts").get("each", {})  # of earlier runs, of other entry points
    each = {name: found for name, found in each.items() if name in entry_points(Path())}
    for name in names:
        share = options.seconds / len(names)
        done, found, ended = interrupt(name, options.cases, share, options.seed)
        earlier = each.get(name, [0, 0]) if options.add else [0, 0]
        each[name] = [earlier[0] + done, earlier[1] + len(found)]
        print(f"{name}: {done} interrupts, {len(found)} accidents {ended}", flush=True)
        print(*(f"  {n} x {what}" for what, n in Counter(found).items()), sep="\n", flush=True)
    asked = each if options.keep else {name: each[name] for name in names}
    total, bad = (sum(numbers) for numbers in zip(*asked.values(), strict=True))
    counts = ", ".join(f"{name} {done}" for name, (done, _) in asked.items())
    text = "{total} real SIGINTs at random moments of {n} entry points ({counts}): {bad} accidents"
    told = text.format(total=total, n=len(asked), counts=counts, bad=bad)
    report.told("interrupts", told, bad, each=each)


if __name__ == "__main__":
    main()
