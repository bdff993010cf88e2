"""torchrun with two real processes, killed in the middle and started again: nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

STEPS = 100
ASKED = ["--strategy", "detach", "--data", "digits", "--steps", str(STEPS), "--every", "2"]
ASKED += ["--batch-size", "32", "--device", "cpu", "--processes", "2", "--checkpoint"]
LONGEST = 120  # seconds
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def started(path, *torchrun_options):
    """torchrun, and what it will train."""
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [sys.executable, *starter, *torchrun_options, "-m", "gan_lessons.train", *ASKED, path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ended(process):
    out, err = process.communicate(timeout=LONGEST)
    return process.returncode, [line for line in out.splitlines() if line.startswith("step")], err


def read_until(process, step):
    """Read what it prints, up to the report of this step."""
    for line in process.stdout:
        if line.startswith(f"step {step} "):
            return
    raise AssertionError(process.stderr.read())


def workers(process):
    """The ids of the two processes that torchrun started, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    by_rank: dict[int, int] = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [v.partition(b"=")[2] for v in variables if v.startswith(b"RANK=")]
        by_rank |= {int(rank): int(child) for rank in ranks}
    assert sorted(by_rank) == [0, 1], by_rank
    return by_rank


def assert_equal(one, other):
    """Two checkpoints, all the way down."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a training that nobody disturbs leaves, and what it prints."""
    path = str(tmp_path_factory.mktemp("whole") / "training.pt")
    code, told, err = ended(started(path))
    assert code == 0, err
    return torch.load(path, weights_only=True), told


def kill_after_a_random_while(process, kill):
    """Wherever it is then: in a step, in a report, in the middle of saving."""
    moment = random.SystemRandom()
    at, delay = moment.randrange(2, STEPS // 2, 2), moment.random() * 0.02
    print(f"killed {delay:.3f} s after the report of step {at}")  # shown if the test fails
    read_until(process, at)
    time.sleep(delay)
    kill()


@on_linux
@pytest.mark.parametrize("victim", [0, 1])
def test_one_of_two_is_killed_and_the_same_command_goes_on(whole, tmp_path, victim):
    path = str(tmp_path / "training.pt")
    process = started(path)
    kill_after_a_random_while(process, lambda: os.kill(workers(process)[victim], signal.SIGKILL))
    code, _, err = ended(process)
    assert code != 0
    assert "SIGKILL" in err
    code, told, err = ended(started(path))
    assert code == 0, err
    assert told == whole[1][-len(told) :]
    assert 0 < len(told) < len(whole[1])  # it did not begin anew
    assert_equal(torch.load(path, weights_only=True), whole[0])


@on_linux
def test_all_are_killed_at_once(whole, tmp_path):
    """As if the power had failed. torchrun goes first: its workers would go on without it."""
    path = str(tmp_path / "training.pt")
    process = started(path)

    def power_cut():
        for one in (process.pid, *workers(process).values()):
            os.kill(one, signal.SIGKILL)

    kill_after_a_random_while(process, power_cut)
    assert ended(process)[0] == -signal.SIGKILL
    code, told, err = ended(started(path))
    assert code == 0, err
    assert told == whole[1][-len(told) :]
    assert 0 < len(told) < len(whole[1])
    assert_equal(torch.load(path, weights_only=True), whole[0])
    half_written = [name for name in os.listdir(tmp_path) if name != "training.pt"]
    assert all(name.startswith(".training.pt.") for name in half_written)
