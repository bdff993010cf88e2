"""``gan-lessons diagnose`` where the loop is a package's: its lines are told, not the one that
started it. Found with pythae 0.1.2, whose trainer lets D's loss into the encoder's gradient."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_lessons.__main__ import main
from gan_lessons.lens.record import is_installed, look_into, source_lines, trainers, undone

PACKAGE = '''
"""A trainer as it is installed."""
import torch
from torch import nn, optim
from torch.nn.functional import binary_cross_entropy_with_logits as bce


class Trainer:
    def __init__(self, clear):
        self.encoder, self.judge = nn.Linear(2, 2), nn.Linear(2, 1)
        self.encoder_optimizer = optim.Adam(self.encoder.parameters())
        self.judge_optimizer = optim.Adam(self.judge.parameters())
        self.clear = clear

    def fit(self, batches):
        for x in batches:
            self.train_step(x)
        self.encoder(batches[-1])

    def train_step(self, x):
        code = self.encoder(x)
        self.encoder_optimizer.zero_grad()
        encoder_loss = bce(self.judge(code), torch.ones(8, 1))
        encoder_loss.backward(retain_graph=True)
        self.judge_optimizer.zero_grad()
        code = code.detach() if self.clear else code
        judge_loss = bce(self.judge(code), torch.zeros(8, 1)) + bce(self.judge(x), torch.ones(8, 1))
        judge_loss.backward()
        self.encoder_optimizer.step()
        self.judge_optimizer.step()


def run(net, x):
    return net(x)


def step_on(loss, optimizer):
    """What a helper of a library does for a loop of one's own."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
'''
SCRIPT = """
import torch
from trainers_of_others import Trainer

if True:
    Trainer(clear={clear}).fit(torch.randn({count}, 8, 2))
"""
INSIDE = "runs the whole loop, which is inside trainers_of_others: the lines told here are those"

Run = Callable[[str], tuple[int, str, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The status, what was said and the report of a script beside an installed package."""
    package = tmp_path / "site-packages" / "trainers_of_others"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gan-lessons"])
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(package.parent), *sys.path])
    monkeypatch.delitem(sys.modules, "trainers_of_others", raising=False)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def diagnose(source: str) -> tuple[int, str, dict[str, Any]]:
        Path("train.py").write_text(textwrap.dedent(source), encoding="utf-8")
        status = main(["diagnose", "--json", "report.json", "train.py"])
        return status, capfd.readouterr().out, json.loads(Path("report.json").read_text())

    return diagnose


def test_the_lines_of_the_packages_loop_are_told(run: Run) -> None:
    status, out, told = run(SCRIPT.format(clear=False, count=8))
    assert status == 1
    assert out.count(INSIDE) == 1, out
    assert told["iterations"] == 3
    assert told["nets"].keys() == {"encoder", "judge"}
    assert told["optimizers"].keys() == {"encoder_optimizer", "judge_optimizer"}
    polluted = next(f for f in told["findings"] if f["code"] == "polluted")
    assert polluted["net"] == "encoder"
    assert "`judge_loss.backward()` is another player's" in polluted["message"]
    files = {Path(place["file"]).parts[-2] for place in polluted["where"]}
    assert files == {"trainers_of_others"}
    assert [place["source"] for place in polluted["where"]] == [
        "encoder_loss.backward(retain_graph=True)",
        "judge_loss.backward()",
        "self.encoder_optimizer.step()",
    ]


def test_a_right_loop_of_a_package_is_left_alone(run: Run) -> None:
    status, out, told = run(SCRIPT.format(clear=True, count=8))
    assert status == 0
    assert INSIDE in out
    assert "moved judge 3 times by the gradient of `judge_loss` (line" in out
    assert {f["severity"] for f in told["findings"]} <= {"waste", "info"}


def test_what_was_seen_of_a_short_loop_is_told_all_the_same(run: Run) -> None:
    """One iteration: it was seen from outside, and there is no second whole one to see within."""
    status, out, told = run(SCRIPT.format(clear=False, count=1))
    assert status == 1
    assert told["iterations"] == 1
    assert "polluted" in {f["code"] for f in told["findings"]}
    assert INSIDE not in out


def test_a_helper_of_a_package_leaves_the_loop_ones_own(run: Run) -> None:
    status, out, told = run(
        """
        import torch
        from trainers_of_others import run, step_on
        net = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for x in torch.randn(8, 4, 2):
            loss = run(net, x).square().mean()
            step_on(loss, optimizer)
        """
    )
    assert status == 0
    assert INSIDE not in out
    assert "line 8" in out, "`step_on(loss, optimizer)` is the line of one's own"
    assert told["iterations"] == 3


def test_nothing_of_it_is_left(run: Run, tmp_path: Path) -> None:
    run(SCRIPT.format(clear=True, count=8))
    assert source_lines._opened == []
    assert is_installed(str(tmp_path / "site-packages" / "trainers_of_others" / "__init__.py"))


def test_a_folder_is_open_until_it_is_undone(tmp_path: Path) -> None:
    folder, other = f"{tmp_path}/site-packages/one/", f"{tmp_path}/site-packages/another/"
    with undone() as undo:
        assert is_installed(folder + "x.py")
        look_into((folder,), undo)
        assert not is_installed(folder + "x.py")
        assert is_installed(other + "x.py")
    assert is_installed(folder + "x.py")


@pytest.mark.parametrize(
    ("package", "found"), [("some", True), ("lightning", False), ("accelerate", False)]
)
def test_who_runs_somebodys_own_step_is_no_trainer(
    package: str, found: bool, tmp_path: Path
) -> None:
    folder = f"{tmp_path}/site-packages/{package}/"
    library: dict[str, Any] = {}
    source = "def fit(step):\n    return step()\n"
    exec(compile(source, f"{folder}parts/x.py", "exec"), library)
    assert library["fit"](trainers) == ((folder,) if found else ())
