"""torchrun with two real processes, killed in the middle and started again: nothing is lost."""

import os
import random
import signal
import subprocess
import sys

import pytest
import torch

STEPS = 100
ASKED = ["--strategy", "detach", "--data", "digits", "--steps", str(STEPS), "--every", "2"]
ASKED += ["--batch-size", "32", "--device", "cpu", "--processes", "2", "--checkpoint"]
LONGEST = 300  # seconds
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


# The same program, which kills at an event of one rank: an optimizer before or after its step, the
# file before it is on the disk or before it takes its name.
KILLING = """
import os, signal, sys
from pathlib import Path
from torch.optim import optimizer
from gan_lessons.train.__main__ import main

rank, number, everybody = map(int, sys.argv[1:4])
left = [number]

def event(*_):
    left[0] -= 1
    if left[0]:
        return
    parent = os.getppid()
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for one in [parent, *map(int, children)] if everybody else []:  # torchrun goes first
        if one != os.getpid():
            os.kill(one, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

def before(act):
    def both(*given):
        event()
        return act(*given)
    return both

if rank == int(os.environ["RANK"]):
    optimizer.register_optimizer_step_pre_hook(event)
    optimizer.register_optimizer_step_post_hook(event)
    os.fsync, os.replace = before(os.fsync), before(os.replace)
main(sys.argv[4:])
"""


def started(path, *program):
    """torchrun, and what it will train."""
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [sys.executable, *starter, *(program or ("-m", "gan_lessons.train")), *ASKED, path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ended(process):
    out, err = process.communicate(timeout=LONGEST)
    return process.returncode, [line for line in out.splitlines() if line.startswith("step")], err


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


@on_linux
def test_killed_twice_at_random_moments_the_same_command_goes_on(whole, tmp_path):
    """First one of the two processes; then all of them, as in a power cut."""
    path, program = str(tmp_path / "training.pt"), tmp_path / "killing.py"
    program.write_text(KILLING)
    chance = random.SystemRandom()
    for everybody in (False, True):
        rank, number = chance.randrange(2), chance.randrange(20, 140)  # after 4 to 35 of 100 steps
        print(f"rank {rank} is killed at event {number}")  # shown if the test fails
        code, _, err = ended(started(path, program, str(rank), str(number), str(int(everybody))))
        assert code == -signal.SIGKILL if everybody else "SIGKILL" in err
    code, told, err = ended(started(path))
    assert code == 0, err
    assert told == whole[1][-len(told) :]
    assert 0 < len(told) < len(whole[1])  # it did not begin anew
    assert_equal(torch.load(path, weights_only=True), whole[0])
    half_written = [
        name for name in os.listdir(tmp_path) if name not in ("training.pt", program.name)
    ]
    assert all(name.startswith(".training.pt.") for name in half_written)
