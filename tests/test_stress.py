"""The short forms of ``tests/stress``: each finds nothing here, and would find something."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import random
import re
import shutil
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gan_lessons import cost, data, draw_graph, explore, mlp_gan, record
from gan_lessons.gan import Gan
from gan_lessons.lens.record.recorder import Recorder
from tests.stress import (
    disk,
    editors,
    fuzz,
    interrupts,
    kernels,
    memory,
    mutants,
    notebooks,
    reaching,
    report,
)
from tests.stress.fuzz_nets import BLOCKS, WIDTH
from tests.stress.fuzz_steps import MORE, USUAL

# Cases in which something fell over, once.
FOUND_SOMETHING = (11, 42, 80, 130, 50146, 50192, 50267, 50697, 51894)


@pytest.mark.parametrize(("seed", "cases"), [(1000, 8), *((seed, 1) for seed in FOUND_SOMETHING)])
def test_random_steps(seed: int, cases: int) -> None:
    found = [f"{c.seed}: {bad}" for c, bad in fuzz.tried(cases, float("inf"), seed) if bad]
    assert found == []


def test_the_fuzz_can_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrument that draws a random number, and one that tells a receiver too few."""
    case = next(c for c in map(fuzz.random_case, range(50)) if "retain_graph" in c.source)
    finish = fuzz.record

    def draws(*args, **kwargs):
        torch.rand(1)
        return finish(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(fuzz, "record", draws)
        assert any("numbers" in what for _, what in fuzz.accidents(case))
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_note_received", lambda *_: None)
        assert any(where == "receivers" for where, _ in fuzz.accidents(case))
    assert list(fuzz.accidents(case)) == []


@pytest.mark.filterwarnings("ignore")  # torch's older norms and checkpoints warn of themselves
def test_every_block_and_line_can_be_chosen() -> None:
    for name, build in BLOCKS.items():
        x = torch.randn(3, WIDTH)
        assert build()(x).shape == x.shape, name
    for text in (*USUAL.values(), *MORE):
        ast.parse("def f():\n" + "".join(f"    {line}\n" for line in text.splitlines()))


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups to interrupt there")
def test_interrupts() -> None:
    done, found, _ = interrupts.interrupt("record", 5, float("inf"), seed=0)
    assert (done, found) == (5, [])


@pytest.mark.parametrize("kind", memory.KINDS)
def test_memory_does_not_grow(kind: str) -> None:
    others = set(memory.comm.get_comm_manager().comms)  # of tests that ran before
    made, objects, _ = memory.grown(kind, 4, float("inf"))
    assert made == 4
    assert objects <= memory.OBJECTS
    assert set(memory.comm.get_comm_manager().comms) <= others


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_no_room_for_a_file(tmp_path) -> None:
    assert list(disk.limited(tmp_path)) == []


def test_lessons_again_and_many_kernels(write_notebook) -> None:
    sources = ("a = 1", "b = a + 1", "def a(): pass", "1 / 0")
    path = write_notebook("01.ipynb", *sources, raises=("1 / 0",))
    done, bad = notebooks.again(path, random.Random(0), 10, float("inf"))
    assert done == 4
    assert len(bad) == 0 or "b = a + 1" in bad[0]
    found = asyncio.run(kernels.together(path, 2))
    assert [what for _, what in found] == ["", ""]
    if sys.platform == "linux":
        assert all(10e6 < size < 1e9 for size, _ in found)


def test_a_change_can_be_noticed_or_survive(root, tmp_path, monkeypatch) -> None:
    possible = [m for room in mutants.ROOMS for m in mutants.all_mutants(room)]
    assert len(possible) > 1000
    for mutant in random.Random(0).sample(possible, 100):
        ast.parse(mutant.within(mutant.path.read_bytes()))
    (one, *_) = [m for m in possible if m.path.name == "losses.py"]
    shutil.copytree(root / "gan_lessons", tmp_path / "gan_lessons")
    text = "import torch\nfrom gan_lessons.losses import bce_with_logits as loss\ndef test():\n    "
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name, line in (("good", "assert loss(torch.zeros(1), torch.ones(1)) > 0"), ("bad", "loss")):
        (tmp_path / f"test_{name}.py").write_text(text + line)
        if hasattr(mutants.os, "fork"):
            killed = mutants.is_killed(one, [f"test_{name}.py"], tmp_path)
            assert bool(killed) == (name == "good")


@pytest.mark.skipif(not hasattr(mutants.os, "fork"), reason="a change is tried in a fork")
def test_a_change_is_tried_by_the_tests_that_run_its_function(tmp_path, monkeypatch) -> None:
    path = tmp_path / "gan_lessons" / "lens" / "record" / "two.py"
    path.parent.mkdir(parents=True)
    for folder in path.relative_to(tmp_path).parents[:3]:
        (tmp_path / folder / "__init__.py").touch()
    path.write_text("N = 1\n\ndef f():\n    'One.'\n    return N\n\ndef g():\n    return 2\n")
    (tmp_path / "test_two.py").write_text(
        "from gan_lessons.lens.record.two import f, g\n\n"
        "def test_f():\n    assert f.__doc__ and f()\n\ndef test_g():\n    assert g() == 2\n"
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert mutants.failure(["test_two.py"], tmp_path, tmp_path / "noted.json") == ""
    reached = reaching.Reached(tmp_path / "noted.json")
    chosen = [[test[-1] for test in reached.by(path, line, tmp_path)] for line in (5, 8, 1)]
    assert chosen[:2] == [["f"], ["g"]]
    assert sorted(chosen[2]) == ["f", "g"]  # a line of no function
    path.write_text(path.read_text().replace("2", "3"))
    assert mutants.failure(reached.by(path, 5, tmp_path), tmp_path) == ""
    assert "test_g" in mutants.failure(reached.by(path, 8, tmp_path), tmp_path)


def test_how_sure_a_share_of_a_sample_is() -> None:
    """The figures of Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for found, of, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
    ):
        assert mutants.interval(found, of) == pytest.approx((low, high), abs=1e-4)


def test_the_page_holds_the_figures_that_were_kept(root) -> None:
    page = (root / "docs" / "robustness.md").read_text(encoding="utf-8")
    kept = json.loads(report.FIGURES.read_text(encoding="utf-8"))
    for name, told in kept.items():
        assert f"| `python -m tests.stress.{name}` | {told['found']} | {told['with']} |" in page
        assert (root / "tests" / "stress" / f"{name}.py").exists()


# What the fuzz found ------------------------------------------------------------------------------


class WithSparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(2, 2, sparse=True), nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.last(x + self.table((x[:, 0] > 0).long())))


def with_discriminator(D: nn.Module) -> Gan:
    G = mlp_gan((2,), 2, (4,), (4,)).generator
    return Gan(G, D, torch.optim.SGD(G.parameters(), 0.1), torch.optim.SGD(D.parameters(), 0.1))


def test_the_bytes_of_a_sparse_gradient_are_counted() -> None:
    def step(gan: Gan, real: torch.Tensor, noise: torch.Tensor) -> None:
        gan.discriminator(real).mean().backward()

    gan = with_discriminator(WithSparse())
    assert cost(step, gan, data.ring(4), data.noise(4, (2,)), repeat=0).peak_allocated > 0


def test_an_embedding_takes_no_cut() -> None:
    """Values that choose a row end there: an arrow into the weights led nowhere, and fell over."""
    shown = explore("detach", gan=with_discriminator(WithSparse()), real=data.ring(4),
                    noise=data.noise(4, (2,)), what_if=False)  # fmt: skip
    ends = [edge["ends"][1][0] for edge in shown.data["films"]["detach"]["stage"]["edges"]]
    shown.close()
    assert {"call", "loss"} == set(ends)


def test_a_lazy_discriminator_makes_a_gan() -> None:
    lazy = nn.LazyLinear(1)
    gan = with_discriminator(nn.Sequential(lazy, nn.Sigmoid()))
    shown = explore("detach", gan=gan, real=data.ring(4), noise=data.noise(4, (2,)))
    shown.close()
    assert nn.parameter.is_lazy(lazy.weight)  # it ran on copies


def test_a_cut_at_a_weight_is_drawn_where_a_net_s_leaves_are_one() -> None:
    net = nn.Linear(2, 1)
    with record({"D": net}) as rec:
        (net(data.ring(4)).mean() * net.weight.t().detach().sum()).backward()
    picture = draw_graph(record=rec, compact=True)
    assert re.search(r"detach\(\) between D (weight, bias|bias, weight) and", picture.text)


# An explorer is let go of -------------------------------------------------------------------------


@pytest.mark.parametrize("how", memory.ENDS)
def test_an_explorer_is_let_go_of(how: str) -> None:
    assert not memory.alive_after(memory.ENDS[how])


def test_a_cell_that_runs_again_lets_go_of_what_it_gave_before(monkeypatch) -> None:
    shell = SimpleNamespace(user_ns={"_oh": {}})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)

    def ran(cell: str, number: int) -> weakref.ref[object]:
        header = {"msg_id": str(number)}
        shell.execution_count = number
        shell.get_parent = lambda: {"metadata": {"cellId": cell}, "header": header}
        shown = explore("detach", what_if=False)
        shell.user_ns["_oh"][number] = shell.user_ns[f"_{number}"] = shown
        return weakref.ref(shown)

    first, other, again = ran("a", 1), ran("b", 2), ran("a", 3)
    gc.collect()
    assert (first() is None, other() is None, again() is None) == (True, False, False)


def test_what_an_explorer_has_shown_stays_when_nobody_names_it(monkeypatch) -> None:
    """``display(explore())``: its page needs no kernel, so its views are not taken away."""
    closed = []
    monkeypatch.setattr(memory.comm.base_comm.BaseComm, "close", lambda *_, **__: closed.append(1))
    assert not memory.alive_after(lambda shown: None)
    assert closed == []


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        ({3}, []),
        ({}, ["cell 2 is meant to raise, and did not"]),
        ({2}, ["cell 1 failed: no", "cell 2 is meant to raise, and did not"]),
        ({2, 3}, ["cell 1 failed: no"]),
    ],
)
def test_marimo_is_wrong_where_another_cell_fails_than_the_one_that_is_meant_to(failed, said):
    fine, no = {"type": "data", "data": {}}, {"type": "error", "evalue": "no"}
    tags = [[], [], ["raises-exception"]]
    lesson = {"cells": [{"metadata": {"tags": given}} for given in tags]}
    session = {"cells": [{"outputs": [no if n in failed else fine]} for n in range(4)]}
    assert editors.not_as_meant(lesson, session) == said
    lesson["cells"].pop()
    assert editors.not_as_meant(lesson, session) == ["marimo ran 3 cells of 2"]
