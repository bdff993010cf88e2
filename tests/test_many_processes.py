"""Real processes, joined by gloo: who agrees, who is right, who drifts, and who says so."""

import importlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys

import pytest
import torch

from gan_lessons import STRATEGIES, rank_trials, ranks, tiny_gan
from gan_lessons.process_pool import Processes
from gan_lessons.train.__main__ import main
from gan_lessons.training import Training


@pytest.fixture(scope="module")
def both():
    with Processes(2) as pool:
        yield pool


def in_both(pool, code):
    """Run a program in each process; an assertion that fails there fails here."""
    start = ["import torch", "from gan_lessons import *", "from gan_lessons import data, ranks"]
    pool.run(exec, "\n".join([*start, "from gan_lessons import rank_trials", code]), {})


# The table of lesson 10 -------------------------------------------------------------------------

RAISE = ("retain_graph_as_printed", "detach_as_printed")
DRIFT_IN_G = ("retain_graph", "retain_graph_before_1_5")
NEEDS_ALL_USED = ("detach", "generator_first", "frozen")


UNUSED = {  # what the error of one wrapper advises: right at twice the bytes, or worse
    **dict.fromkeys(["retain_graph", "one_stage", "retain_graph_before_1_5"], "raises"),
    "selective": "drifts in G",
}


def expected(key, way):
    if way == "one DDP, unused" and key in UNUSED:
        return UNUSED[key]
    if key in RAISE or (way == "one DDP" and key in NEEDS_ALL_USED):
        return "raises"
    if way != "hook" and key in DRIFT_IN_G:
        return "drifts in G"
    return "drifts in D" if (key, way) == ("frozen", "static_graph") else "right"


def times_sent(key, way):
    """How often each net's gradient travels in a step."""
    if way == "one DDP, unused":
        return {"G": 2, "D": 2}
    wasted = way not in ("hook", "one DDP") and key in ("detach", "generator_first")
    return {"G": 1, "D": 2 if wasted else 1}


@pytest.fixture(scope="module")
def trials(both):
    return both.run(rank_trials.all_trials)


def test_every_strategy_in_every_way(trials):
    first, second = trials
    assert first.keys() == {(k, w) for k in rank_trials.steps() for w in rank_trials.WAYS}
    assert {k for k, _ in first} >= {*STRATEGIES, *RAISE}
    for (key, way), trial in first.items():
        assert str(trial) == expected(key, way), (key, way, trial)
        assert str(second[key, way]) == str(trial)
        if str(trial) == "right":
            assert trial.off <= 1e-6
            assert trial.sent == second[key, way].sent
            size = {n: sum(p.nbytes for p in net.parameters()) for n, net in small_nets()}
            whole = {net: times_sent(key, way)[net] * size[net] for net in size}
            together = {"G and D": sum(whole.values())}
            assert trial.sent == (together if way.startswith("one DDP") else whole)


def table_of(page, heading):
    """The lines of the table whose first line begins so."""
    return page[page.index(heading) :].partition("\n\n")[0].splitlines()


def test_the_page_says_what_is_sent(trials, root, monkeypatch):
    """Counted here; and the milliseconds on paper are those of these bytes."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    processes = importlib.import_module("processes")
    page = (root / "docs/many-processes.md").read_text()
    times = processes.times_sent(trials[0])
    assert table_of(page, "| strategy |") == processes.sent_table(times)
    paper = "\n".join(processes.paper_table(times))
    assert paper in page


@pytest.fixture
def engines(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    return importlib.import_module("engines")


@pytest.mark.parametrize("way", ["this package", "DDP", "FSDP2", "FSDP2, layer by layer"])
def test_each_step_does_what_was_kept_of_it(both, engines, root, way):
    """Of the ways that need torch alone; what engines do needs them, and a minute."""
    found = f"""[
        __import__("sys").path.insert(0, {str(root / "benchmarks")!r}),
        __import__("engines").WAYS[{way!r}](),
    ]"""
    kept = json.loads((root / "benchmarks/engines.json").read_text())
    seen = both.run(eval, found)[0][1]
    assert seen["outcomes"] == kept["ways"][way]
    assert {*seen.get("facts", [])} <= {*kept["facts"]}


def test_the_page_says_what_the_engines_were_seen_to_do(engines, root):
    page = (root / "docs/many-processes.md").read_text()
    seen = [json.loads(p.read_text()) for p in (root / "benchmarks").glob("engines*.json")]
    assert sorted(found["on"] for found in seen) == sorted(engines.PARTS)
    for found in seen:
        part = engines.PARTS[found["on"]][0]
        text = engines.report(found)
        assert f"<!-- {part}: begin -->\n\n{text}\n\n<!-- {part}: end -->" in page


def test_batch_norm_in_shares_agrees_on_something_wrong_and_by_all_shares_it_is_right(both, root):
    """SyncBatchNorm refuses a CPU; what it did on a GPU that two processes shared is kept."""
    normal, synchronous, shared = (
        both.run(rank_trials.trial, "detach", "hook", norm)[0]
        for norm in (torch.nn.BatchNorm1d, torch.nn.SyncBatchNorm, rank_trials.SharedBatchNorm)
    )
    assert str(normal) == "agrees, wrong"
    assert normal.off > 0.1
    assert not normal.buffers_agree
    assert str(shared) == "right"
    assert shared.off < 1e-12
    assert shared.buffers_agree
    assert synchronous.raised.startswith("SyncBatchNorm expected input tensor to be on GPU")
    on_a_gpu = json.loads((root / "benchmarks/engines_cuda_shared.json").read_text())["facts"]
    for told in (
        "`SyncBatchNorm`, this package: right for S1 / S2 /",
        "`BatchNorm1d`, DDP: raises",
    ):
        assert any(fact.startswith(told) for fact in on_a_gpu)


def test_trying_a_discriminator_in_shares_leaves_no_trace(both):
    """One stage tries D before it is used; FSDP2 begins its work in that trial."""
    in_both(
        both,
        """
from torch import nn
from torch.distributed.fsdp import fully_shard
from gan_lessons.independence import is_independent
for layer, independent in ((nn.BatchNorm1d(4), False), (nn.LayerNorm(4), True)):
    D = nn.Sequential(nn.Linear(2, 4), layer, nn.Linear(4, 1))
    fully_shard(D[0])
    fully_shard(D)
    before = [b.clone() for b in D.buffers()], torch.get_rng_state()
    assert is_independent(D, data.ring(8)) == independent
    after = list(D.buffers()), torch.get_rng_state()
    assert all(map(torch.equal, before[0], after[0])) and torch.equal(before[1], after[1])
    assert all(p.grad is None for p in D.parameters())
""",
    )


def small_nets():
    return rank_trials.small_gan().nets.items()


def test_a_trial_sees_a_wrong_gradient_and_not_only_drift():
    """What agrees may still be wrong: three words, three things."""
    assert str(rank_trials.Trial(off=0.1)) == "agrees, wrong"
    assert str(rank_trials.Trial(first="G net.0.weight", off=0.0)) == "drifts in G"
    assert str(rank_trials.Trial(raised="no")) == "raises"
    assert not rank_trials.Trial(first="G net.0.weight", off=0.0).is_right


def test_buffers_are_each_processs_own(both):
    for broadcast in (True, False):
        told = both.run(rank_trials.buffers, "detach", broadcast)
        assert told == ["weights agree, buffers do not"] * 2
    (told, _) = both.run(rank_trials.buffers, "one_stage", False)
    assert told.startswith("raises: the discriminator mixes")


def test_accumulation_sends_once_with_no_sync_or_with_the_hook(both):
    once = sum(p.nbytes for p in dict(small_nets())["D"].parameters())
    asked = [("hook",), ("DDP",), ("DDP", True)]
    assert [both.run(rank_trials.accumulation, *a)[0] for a in asked] == [once, 4 * once, once]


# ranks_agree ------------------------------------------------------------------------------------


def test_the_first_parameter_that_differs_is_named_on_every_process(both):
    in_both(both, """
gan, rank = dcgan(16, 1, 5, width=2), ranks.share()[0]
agreed = ranks.ranks_agree(gan)
assert agreed and str(agreed) == "2 processes agree"
weights = dict(gan.discriminator.named_parameters())
name, weight = list(weights.items())[1]
with torch.no_grad():
    kept = weight.clone()
    if rank:  # one weight, by the smallest step there is
        weight.view(-1)[-1] = torch.nextafter(kept.view(-1)[-1], torch.tensor(9.0))
    found = ranks.ranks_agree(gan)
    assert not found and found.first == f"D {name}", found
    weight.copy_(kept)
    flat = next(gan.generator.parameters()).view(-1)
    if rank:  # the same values, in another order
        flat[:2] = flat[:2].flip(0).clone()
    assert ranks.ranks_agree(gan).first == "G net.0.weight"
""")  # fmt: skip


def test_nan_minus_zero_half_precision_and_buffers(both):
    in_both(both, """
gan, rank = dcgan(16, 1, 5, width=2), ranks.share()[0]
first = next(gan.generator.parameters())
with torch.no_grad():
    first.fill_(float("nan"))
    assert ranks.ranks_agree(gan)
    first.fill_(-0.0 if rank else 0.0)
    assert not ranks.ranks_agree(gan)
    first.zero_()
    for dtype in (torch.bfloat16, torch.float64):
        gan.generator.to(dtype)
        assert ranks.ranks_agree(gan)
    next(b for b in gan.discriminator.buffers()).fill_(rank)
    assert ranks.ranks_agree(gan)
    assert ranks.ranks_agree(gan, buffers=True).first.endswith("running_mean")
""")  # fmt: skip


def test_the_number_of_processes_that_was_asked_for_is_required(both, monkeypatch):
    gan = tiny_gan()
    assert ranks.ranks_agree(gan)
    assert str(ranks.ranks_agree(gan)) == "one process"
    with pytest.raises(RuntimeError, match="3 processes were asked for, and 1 take part"):
        ranks.ranks_agree(gan, 3)
    monkeypatch.setenv("WORLD_SIZE", "2")  # torchrun started two, and nobody joined them
    for act in (lambda: ranks.ranks_agree(gan), lambda: ranks.joined(gan).__enter__()):
        with pytest.raises(RuntimeError, match=r"2 processes were asked for.*init_process_group"):
            act()
    with pytest.raises(RuntimeError, match="1 processes were asked for, and 2 take part"):
        both.run(ranks.require_processes, 1)


def test_joined_begins_alike_and_leaves_no_hook(both):
    in_both(both, """
gan = tiny_gan(seed=ranks.share()[0])
assert not ranks.ranks_agree(gan)
before = [dict(o._optimizer_step_pre_hooks) for o in gan.optimizers.values()]
try:
    with ranks.joined(gan) as count:
        assert count == 2 and ranks.ranks_agree(gan)
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
assert [dict(o._optimizer_step_pre_hooks) for o in gan.optimizers.values()] == before
""")  # fmt: skip


def test_weights_in_shares_are_refused_in_words(both):
    in_both(both, """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
gan = rank_trials.small_gan()
fully_shard(gan.generator, mesh=init_device_mesh("cpu", (2,)))
joined = lambda gan: ranks.joined(gan).__enter__()
for name, act in {"ranks_agree": ranks.ranks_agree, "joined": joined}.items():
    try:
        act(gan)
    except TypeError as error:
        assert f"{name}() got G net.0.weight in shares (FSDP2)" in str(error), error
    else:
        raise AssertionError("nobody said anything")
""")  # fmt: skip


# train() ----------------------------------------------------------------------------------------

TRAIN = """
from gan_lessons.train import train as run
from gan_lessons.training import Training
ring = data.ring(200)
how = dict(progress=False, batch_size=8, noise_shape=(2,))
"""


def test_two_processes_train_the_gan_of_one(both):
    in_both(both, TRAIN + """
for strategy in STRATEGIES.values():
    many, alone = tiny_gan(), tiny_gan()
    with ranks.joined(many):
        run(many, ring, strategy.step, steps=6, every=2, **how)
    training, rank = Training(alone, ring, strategy.step, batch_size=8), ranks.share()[0]
    training._share = slice(None)  # the whole batch, in each process
    with training.running():
        for _ in range(6):
            training.advance()
    for ours, theirs in zip(many.generator.parameters(), alone.generator.parameters()):
        assert torch.allclose(ours, theirs, atol=1e-6), strategy.key
""")  # fmt: skip


def test_train_says_where_nobody_averages(both):
    in_both(both, TRAIN + """
try:
    run(tiny_gan(), ring, step_detach, steps=9, every=3, **how)
except RuntimeError as error:
    assert "G net.0.weight is not the same on all 2 processes, at step 3" in str(error), error
    assert "ranks.joined" in str(error)
else:
    raise AssertionError("nobody said anything")
""")  # fmt: skip


def test_train_says_where_ddp_lets_a_step_drift(both):
    """S1 with a DDP around each net; the weights have the names of the nets inside."""
    in_both(both, TRAIN + """
for step in (step_detach, step_retain_graph):
    with rank_trials.sharing(tiny_gan(), "DDP") as (many, _):
        try:
            run(many, ring, step, steps=4, every=2, **how)
            assert step is step_detach
        except RuntimeError as error:
            assert step is step_retain_graph
            assert "G net.0.weight is not the same on all 2 processes, at step 2" in str(error)
""")  # fmt: skip


RESUME = (
    TRAIN
    + """
def noisy():
    gan = mlp_gan((2,), 2, (8,), (8,))
    gan.discriminator.net.insert(1, torch.nn.Dropout(0.5))
    return gan
def trained(gan, steps, path=None):
    with ranks.joined(gan):
        run(gan, ring, step_detach, steps=steps, every=2, checkpoint=path, **how)
    return gan
"""
)


def test_a_checkpoint_of_many_goes_on_bit_by_bit(both, tmp_path):
    path = str(tmp_path / "training.pt")
    in_both(both, RESUME + f"""
whole = trained(noisy(), 8)
trained(noisy(), 4, {path!r})
again = trained(noisy(), 8, {path!r})
for a, b in zip(whole.discriminator.parameters(), again.discriminator.parameters()):
    assert torch.equal(a, b)
states = torch.load({path!r}, weights_only=True)["random"][0]
assert len(states) == 2 and not torch.equal(*states)  # each its own dropout
""")  # fmt: skip
    assert os.listdir(tmp_path) == ["training.pt"]
    alone = Training(tiny_gan(), torch.zeros(9, 2))
    loaded = torch.load(path, weights_only=True)
    parts = {name: part.state_dict() for name, part in alone._parts().items()}
    torch.save({**loaded, **parts}, path)
    with pytest.raises(ValueError, match="saved by 2 processes; go on with as many"):
        alone.load(path)


def test_a_batch_that_cannot_be_shared_is_refused(both):
    with pytest.raises(ValueError, match="batch_size 7 cannot be shared by 2"):
        in_both(both, TRAIN + "run(tiny_gan(), ring, step_detach, steps=1, batch_size=7)")


def test_the_command_alone_and_under_torchrun(capsys, tmp_path):
    how = ["--strategy", "detach", "--data", "digits", "--steps", "6", "--every", "3"]
    how += ["--device", "cpu", "--checkpoint", "training.pt"]
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(
        [sys.executable, *starter, "gan_lessons.train", *how, "--processes", "2"],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    main([*how[:-1], str(tmp_path / "alone.pt")])
    alone = capsys.readouterr().out.splitlines()
    assert len(alone) == 3
    told = [line for line in done.stdout.splitlines() if "Gloo" not in line]
    assert [line.replace(" on 2 processes", "") for line in told[:2]] == alone[:2]
    assert told[2:] == ["6 steps with detach on cpu; 2 processes agree"]
    assert sorted(os.listdir(tmp_path)) == ["alone.pt", "training.pt"]


def test_the_command_on_two_machines_that_are_one(capsys, tmp_path):
    """Two torchruns with a process each, which meet at an address as they would over a network."""
    how = ["--data", "ring", "--steps", "6", "--every", "3", "--device", "cpu"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
    starter = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    starter += ["--rdzv-backend", "c10d", "--rdzv-endpoint", meeting, "-m", "gan_lessons.train"]
    nodes = [
        subprocess.Popen(
            [sys.executable, *starter, *how, "--processes", "2"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    ends = [node.communicate(timeout=300) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], ends
    main(how)
    alone = capsys.readouterr().out.splitlines()
    told = [line for out, _ in ends for line in out.splitlines() if "Gloo" not in line]
    assert [line.replace(" on 2 processes", "") for line in told[:2]] == alone[:2]
    assert told[2:] == ["6 steps with detach on cpu; 2 processes agree"]


ALONE = ["--data", "ring", "--steps", "4", "--every", "2", "--device", "cpu"]


@pytest.fixture
def nobody_else(monkeypatch, tmp_path):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_command_alone_refuses_what_was_asked_for(nobody_else, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="1"):
        main([*ALONE, "--processes", "2"])
    told = capsys.readouterr().err
    assert told.startswith("python -m gan_lessons.train: 2 processes were asked for, and 1 take")
    for asked, why in (
        (["--strategy", "detatch"], "invalid choice: 'detatch' (choose from 'retain_graph', "),
        (["--device", "cuda"], "1 started here, and torch sees 0 GPUs. Say --device cpu"),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SystemExit, match="2"):
            main([*ALONE, *asked])
        assert why in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")  # the first of many has said it
    with pytest.raises(SystemExit, match="2"):
        main(["--strategy", "detatch"])
    assert capsys.readouterr() == ("", "")


def test_the_command_knows_the_strategies_by_both_names(nobody_else, capsys):
    for name in ("S2", "detach"):
        main([*ALONE, "--strategy", name])
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == told[3:]
    assert told[2] == "4 steps with detach on cpu; one process"


def test_the_command_goes_on_with_the_rates_and_random_numbers_of_the_file(nobody_else, capsys):
    main(ALONE)
    for more in (["--steps", "2"], ["--lr", "1", "--seed", "9"]):
        main([*ALONE, "--checkpoint", "a.pt", *more])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == told[3]
    assert told[1:3] == told[5:]


def test_a_command_that_is_stopped_says_how_it_goes_on(nobody_else, monkeypatch, capsys):
    advance, steps = Training.advance, iter(range(3))

    def stopping(training):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return advance(training)

    monkeypatch.setattr(Training, "advance", stopping)
    with pytest.raises(SystemExit, match="1"):
        main([*ALONE, "--checkpoint", "a.pt"])
    told = "stopped by hand after 3 steps; the same command goes on from what a.pt holds"
    assert told in capsys.readouterr().err


def test_what_fails_in_one_process_is_said_once(tmp_path):
    """The other one waits for it, and fails as well."""
    program = """
import os, runpy
from gan_lessons.training import Training
advance = Training.advance
def broken(training):
    if training.steps == 3 and os.environ["RANK"] == "1":
        raise ValueError("sample 7 is broken")
    return advance(training)
Training.advance = broken
runpy.run_module("gan_lessons.train", run_name="__main__", alter_sys=True)
"""
    (tmp_path / "broken.py").write_text(program)
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *starter, "broken.py", *ALONE],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "python -m gan_lessons.train: sample 7 is broken\n" in done.stderr
    assert done.stderr.count("gan_lessons.train: ") == 1
    assert "gan_lessons/train" not in done.stderr  # no traceback through it


def test_nothing_keeps_the_processes_joined(tmp_path):
    """Else gloo's threads outlive the group, and abort the process at its end now and then."""
    meeting = (tmp_path / "meeting").as_uri()
    program = f"""
import torch.distributed as dist
from gan_lessons import ranks, tiny_gan
ranks.join(init_method={meeting!r}, rank=0, world_size=1)
tiny_gan()  # an optimizer imports what keeps the group that is there
import torch.distributed.nn.functional as functions
assert dist.is_initialized() and dist.group.WORLD is not None
print(functions.broadcast.__defaults__)
dist.destroy_process_group()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "(None,)"


# The processes themselves -----------------------------------------------------------------------


def test_an_error_comes_back_and_nothing_is_left_behind():
    before = set(multiprocessing.active_children())
    with Processes(1) as one:
        assert one.run(eval, "2 + 2") == [4]
        with pytest.raises(ZeroDivisionError):
            one.run(eval, "1 / 0")
    assert set(multiprocessing.active_children()) == before
    with one:  # a cell of a lesson that runs again, after the last one
        assert one.run(eval, "1 + 1") == [2]
    one.close()  # it has ended already
    assert set(multiprocessing.active_children()) == before
    with pytest.raises(ValueError, match="at least one"):
        Processes(0)
