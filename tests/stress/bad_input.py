"""Every public function, with each of its arguments replaced by things that it cannot use.

    python -m tests.stress.bad_input           # a table: refused in words, accepted, fell over
    python -m tests.stress.bad_input --falls   # each call that fell over

"Refused" is an error that one of our own lines raises, "fell over" one that comes from inside
Python or torch, or from a line of ours that did not mean to. Nothing may be changed by either.
"""

from __future__ import annotations

import io
import linecache
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import gan_lessons
from gan_lessons import Gan, data, record, step_detach, tiny_gan
from gan_lessons.lens import whatif
from gan_lessons.lens.model import Record
from tests.stress import report

WRONG: dict[str, Any] = {
    "None": None,
    "True": True,
    "a number": 3,
    "minus one": -1,
    "a fraction": 0.5,
    "not a number": float("nan"),
    "a text": "detach",
    "empty text": "",
    "a list": [],
    "a list of numbers": [1, 2],
    "a dict": {},
    "a dict of numbers": {"G": 1},
    "an object": object(),
    "a class": nn.Linear,
    "a net": nn.Linear(2, 1),
    "a number's tensor": torch.tensor(1.0),
    "a tensor": torch.zeros(3, 2),
    "an empty tensor": torch.zeros(0, 2),
    "a function": len,
    "an optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1),
    "bytes": b"ab",
    "a set": {"G"},
}


@dataclass
class Call:
    """A call that works, with a fresh set of arguments each time."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], dict[str, Any]]


def batch() -> dict[str, Any]:
    return {"real": data.ring(4), "noise": data.noise(4, (2,))}


def of_step() -> dict[str, Any]:
    return {"gan": tiny_gan(), **batch()}


def of_recording() -> dict[str, Any]:
    gan = tiny_gan()
    return {"nets": gan.nets, "optimizers": gan.optimizers}


def of_gan() -> dict[str, Any]:
    gan = tiny_gan()
    names = ("generator", "discriminator", "optimizer_g", "optimizer_d", "loss")
    return dict(zip(names, gan.parts, strict=True))


def of_same() -> dict[str, Any]:
    gan = tiny_gan()

    def loop(batches: Any) -> None:
        for given in batches:
            step_detach(gan, *given)

    return {
        "loop_a": loop, "loop_b": loop, "nets": gan.nets, "optimizers": gan.optimizers,
        "batches": [tuple(batch().values())],
    }  # fmt: skip


def of_terms() -> dict[str, Any]:
    gan = tiny_gan()
    loss = gan.discriminator(gan.generator(batch()["noise"])).mean()
    return {"loss_terms": {"adversarial": loss}, "nets": gan.nets}


def of_gains() -> dict[str, Any]:
    gan = tiny_gan()

    def step() -> None:
        step_detach(gan, **batch())

    return {
        "step": step, "nets": gan.nets, "optimizers": gan.optimizers, "repeat": 1, "seed": 0,
    }  # fmt: skip


def of_training() -> dict[str, Any]:
    return {
        "gan": tiny_gan(), "data": data.ring(8), "step": step_detach, "batch_size": 4,
        "seed": 0, "noise_shape": (2,), "schedules": (),
    }  # fmt: skip


def of_train() -> dict[str, Any]:
    more = {"steps": 1, "progress": False, "on_progress": print, "every": 2, "checkpoint": None}
    return {**of_training(), **more}


def recorded() -> Record:
    gan = tiny_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, **batch())
    return rec


def entered(function: Callable[..., AbstractContextManager[Any]]) -> Callable[..., Any]:
    def run(**arguments: Any) -> None:
        with function(**arguments):
            pass

    return run


def looped(**arguments: Any) -> None:
    gan = tiny_gan()
    players = gan.parts  # ``watched`` finds them here
    for _ in gan_lessons.watched(**arguments):
        step_detach(Gan(*players), **batch())


def drawn(outputs: Any = None, **options: Any) -> Any:
    return gan_lessons.draw_graph(*([] if outputs is None else [outputs]), **options)


def one_output() -> dict[str, Any]:
    gan = tiny_gan()
    return {"outputs": gan.generator(batch()["noise"]).sum(), "nets": gan.nets}


def calls() -> Iterator[Call]:
    """What people call, each with arguments that fit."""
    front = {name: getattr(gan_lessons, name) for name in gan_lessons.__all__}
    for name in (n for n in front if n.startswith("step_")):
        yield Call(name, front[name], of_step)
    for name in ("retain_graph_as_printed", "detach_as_printed", "retain_graph_before_1_5"):
        failing = getattr(gan_lessons.published, name)
        yield Call(name, failing, of_step)
    yield Call("Gan", front["Gan"], of_gan)
    yield Call("Gan.with_adam", front["Gan"].with_adam, lambda: {
        n: x for n, x in of_gan().items() if "optimizer" not in n} | {"lr": 1e-3})  # fmt: skip
    yield Call("tiny_gan", tiny_gan, lambda: {"seed": 0})
    yield Call("mlp_gan", front["mlp_gan"], lambda: {
        "sample_shape": (2,), "noise_dim": 2, "hidden_g": (4,), "hidden_d": (4,), "logits": True,
        "lr": 1e-3, "seed": 0})  # fmt: skip
    yield Call("dcgan", front["dcgan"], lambda: {
        "size": 16, "channels": 1, "noise_dim": 4, "width": 2, "batchnorm": True, "logits": True,
        "lr": 1e-3, "seed": 0})  # fmt: skip
    yield Call("data.ring", data.ring, lambda: {"n": 4, "seed": 0, "modes": 8, "std": 0.1})
    yield Call("data.spiral", data.spiral, lambda: {"n": 4, "seed": 0, "std": 0.1})
    yield Call("data.batch", data.batch, lambda: {"data": data.ring(8), "n": 4, "seed": 0})
    yield Call("data.noise", data.noise, lambda: {"n": 4, "shape": (2,), "seed": 0})
    yield Call("train", gan_lessons.train.train, of_train)
    yield Call("Training", gan_lessons.train.Training, of_training)
    yield Call("sample", gan_lessons.train.sample, lambda: {
        "generator": tiny_gan().generator, "noise": batch()["noise"]})  # fmt: skip
    yield Call("record", entered(record), of_recording)
    yield Call("record_step", front["record_step"], lambda: {"step": step_detach, **of_step()})
    yield Call("record.graph_at", lambda **k: recorded().graph_at(**k), lambda: {"event": 0})
    for name in ("end_of", "used", "in_vain"):
        yield Call(f"record.{name}", lambda call, n=name: getattr(recorded(), n)(call),
                   lambda: {"call": 0})  # fmt: skip
    yield Call("record.table", lambda **k: str(recorded().table(**k)), lambda: {
        "events": ["backward"], "fold": 12, "width": 100})  # fmt: skip
    yield Call("Record.from_json", Record.from_json, lambda: {"text": recorded().to_json()})
    yield Call("diagnose", front["diagnose"], lambda: {"record": recorded()})
    yield Call("assert_sound", front["assert_sound"], lambda: {"rec": recorded()})
    yield Call("draw_graph", drawn, one_output)
    yield Call("draw_graph, record", drawn, lambda: {
        "record": recorded(), "call": 0, "names": ["loss"], "fold": True, "direction": "TB",
        "compact": False})  # fmt: skip
    yield Call("watch", entered(front["watch"]), of_recording)
    yield Call("watched", looped, lambda: {
        "loader": [1, 2], "iterations": 1, "every": 0, "tell": print})  # fmt: skip
    yield Call("same", front["same"], of_same)
    yield Call("terms", front["terms"], of_terms)
    yield Call("cost", front["cost"], lambda: {
        "step": step_detach, **of_step(), "repeat": 1, "seed": 0})  # fmt: skip
    yield Call("cost_all", front["cost_all"], lambda: {
        "steps": {"mine": step_detach}, **of_step(), "repeat": 1, "seed": 0})  # fmt: skip
    yield Call("gains", lambda **k: str(front["gains"](**k)), of_gains)
    yield Call("variants", whatif.variants, lambda: {"step": step_detach})
    yield Call("what_if", whatif.what_if, lambda: {"step": step_detach, "key": FIRST})
    yield Call("explore", lambda step, **k: front["explore"](step, **k), lambda: {
        "step": "detach", **of_step(), "what_if": False, "compare": "", "seed": 0})  # fmt: skip
    yield Call("ranks_agree", gan_lessons.train.ranks_agree, lambda: {"gan": tiny_gan()})


FIRST = whatif.variants(step_detach)[0].key


def state(arguments: Mapping[str, Any]) -> list[Any]:
    """All that a call may change of its Gan, and the global random state."""
    found: list[Any] = [torch.get_rng_state().tolist()]
    for gan in (x for x in arguments.values() if isinstance(x, Gan)):
        for net in gan.nets.values():
            found += [t.tolist() for t in net.state_dict().values()]
            found += [(p.grad, p.requires_grad, p._version) for p in net.parameters()]
            found += [(m.training, len(m._forward_hooks)) for m in net.modules()]
        found += [str(optimizer.state_dict()) for optimizer in gan.optimizers.values()]
    return found


def outcome(function: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[str, str]:
    """("accepted" | "refused" | "fell over", what it said); ``tried`` has one more."""
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            chdir(folder),  # a text may be taken for the name of a file to write
            warnings.catch_warnings(),
            redirect_stdout(nowhere := io.StringIO()),
            redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            function(**arguments)
    except Exception as error:  # noqa: BLE001 - the very thing that is looked at
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = linecache.getline(last.filename, last.lineno or 0)
        ours = "gan_lessons" in last.filename and "raise" in line
        said = f"{type(error).__name__}: {error} ({last.name}: {line.strip()})"
        return ("refused" if ours else "fell over"), said
    return "accepted", ""


def tried(wrong: Mapping[str, Any] = WRONG) -> Iterator[tuple[str, str, str, str, str]]:
    """(function, argument, wrong thing, outcome, what it said)."""
    for call in calls():
        works, said = outcome(call.function, call.arguments())
        assert works == "accepted" or "as_printed" in call.name, f"{call.name}: {said}"
        for argument in call.arguments():
            for name, value in wrong.items():
                arguments = {**call.arguments(), argument: value}
                before = state(arguments)
                found, said = outcome(call.function, arguments)
                if found != "accepted" and state(arguments) != before:
                    found = "changed something"
                yield call.name, argument, name, found, said


# What falls over all the same is the caller's own: the loops, which ``same`` gives its batches, and
# the function that ``train`` calls once it has made its steps. What these raise goes on as it is.
HANDED_ON = {("same", "batches"), ("train", "on_progress")}


def is_known(function: str, argument: str) -> bool:
    """May this fall over, for the reason above?"""
    return (function, argument) in HANDED_ON


def table(counts: Mapping[str, Counter[str]]) -> list[str]:
    kinds = ("refused", "accepted", "fell over", "changed something")
    rows = [*counts.items(), ("in all", sum(counts.values(), Counter()))]
    lines = ["| function | refused in words | accepted | fell over | changed something |",
             "|---" * 5 + "|"]  # fmt: skip
    return lines + [f"| {name} | {' | '.join(str(c[k]) for k in kinds)} |" for name, c in rows]


def main() -> None:
    parser = report.arguments(__doc__, cases=len(WRONG))
    parser.add_argument("--falls", action="store_true", help="each call that fell over")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    bad, end = 0, time.monotonic() + options.seconds
    wrong_things = dict(list(WRONG.items())[: options.cases])
    for function, argument, wrong, found, said in tried(wrong_things):
        counts.setdefault(function, Counter())[found] += 1
        fell = found not in ("refused", "accepted")
        bad += fell and not is_known(function, argument)
        if options.falls and fell:
            print(f"{function}({argument}={wrong}): {said[:200]}")
        if time.monotonic() > end:
            break
    print("\n".join(table(counts)))
    text = (
        "{n} calls of {functions} public functions with a wrong thing each: {refused} refused in "
        "words, {accepted} accepted; of the others, {known} called the wrong thing, which said so "
        "itself; accidents: {bad}"
    )
    all_ = sum(counts.values(), Counter[str]())
    told = text.format(
        n=all_.total(), functions=len(counts), refused=all_["refused"], accepted=all_["accepted"],
        known=all_.total() - all_["refused"] - all_["accepted"] - bad, bad=bad,
    )  # fmt: skip
    report.told("bad_input", told, bad)


if __name__ == "__main__":
    main()
