"""Two real processes: a net that drifts apart is told, with a fix that works."""

from __future__ import annotations

import linecache
from collections.abc import Iterator

import pytest

from gan_lessons.process_pool import Processes

LOOP = """
import torch
from torch import nn
from torch.nn.functional import softplus
from torch.nn.parallel import DistributedDataParallel
from gan_lessons import diagnose, record
from gan_lessons.lens.record import processes

rank = torch.distributed.get_rank()
torch.manual_seed(0)
G = DistributedDataParallel(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)))
D = DistributedDataParallel(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)))
opt_g, opt_d = (torch.optim.SGD(net.parameters(), 0.1) for net in (G, D))
torch.manual_seed(100 + rank)  # each process has data of its own

def s1(**of_d):  # both backwards on one graph, then both steps
    fake = G(torch.randn(8, 2))
    opt_d.zero_grad()
    d_loss = softplus(D(fake)).mean() + softplus(-D(torch.randn(8, 2) + 2)).mean()
    d_loss.backward(retain_graph=True, **of_d)
    opt_g.zero_grad()
    g_loss = softplus(-D.module(fake)).mean()
    g_loss.backward(inputs=list(G.parameters()))
    opt_d.step()
    opt_g.step()

def s2():
    fake = G(torch.randn(8, 2))
    opt_d.zero_grad()
    d_loss = softplus(D(fake.detach())).mean() + softplus(-D(torch.randn(8, 2) + 2)).mean()
    d_loss.backward()
    opt_d.step()
    opt_g.zero_grad()
    g_loss = softplus(-D(fake)).mean()
    g_loss.backward()
    opt_g.step()

def watched(step, nets=None):
    with record(nets or {"G": G, "D": D}, {"G": opt_g, "D": opt_d}) as rec:
        for _ in range(2):
            step()
    return rec

def alike():
    found = torch.cat([p.detach().flatten() for net in (G, D) for p in net.parameters()])
    both = [torch.empty_like(found) for _ in range(2)]
    torch.distributed.all_gather(both, found)
    return torch.equal(*both)
"""

CASES = {
    "a full backward of D and one of G on one graph": """
rec = watched(s1)
assert not alike()
told = diagnose(rec)
wrong = [(f.code, f.net) for f in told.findings if f.severity == "wrong"]
assert wrong == [("ranks-differ", "G")], told
assert rec.processes == 2
(found,) = (f for f in told.findings if f.code == "ranks-differ")
first = "`d_loss.backward(retain_graph=True, **of_d)` was the first backward through `fake = G"
assert first in found.message, found
assert "`g_loss.backward(inputs=list(G.parameters()))` then wrote" in found.message, found
assert "backward(inputs=list(D.parameters()))" in found.fix, found
assert type(rec).from_json(rec.to_json()).apart == rec.apart
""",
    "the same with the advice taken": """
rec = watched(lambda: s1(inputs=list(D.parameters())))
assert alike()
assert (rec.processes, rec.apart) == (2, {})
assert diagnose(rec).sound, diagnose(rec)
""",
    "with a detached copy": """
rec = watched(s2)
assert alike()
assert (rec.processes, rec.apart) == (2, {})
assert diagnose(rec).sound, diagnose(rec)
""",
    "a net that nobody wrapped": """
def step():
    opt_g.zero_grad()
    G.module(torch.randn(8, 2)).square().mean().backward()
    opt_g.step()
rec = watched(step)
assert not alike()
(found,) = (f for f in diagnose(rec).findings if f.severity == "wrong")
assert (found.code, found.net) == ("ranks-differ", "G")
assert "Wrap G in DistributedDataParallel" in found.fix
""",
    "one process records an iteration more than the other": """
def step():
    opt_g.zero_grad()
    G.module(torch.ones(8, 2)).square().mean().backward()
    opt_g.step()
with record({"G": G, "D": D}, {"G": opt_g, "D": opt_d}) as rec:
    for _ in range(1 + rank):
        step()
if rank == 0:
    step()
assert alike()
assert (rec.processes, rec.apart) == (1, {})
assert diagnose(rec).sound, diagnose(rec)
""",
    "weights that were never the same": """
with torch.no_grad():
    for p in G.module.parameters():
        p.add_(rank)
def step():
    opt_g.zero_grad()
    G.module(torch.randn(8, 2)).square().mean().backward()
    opt_g.step()
rec = watched(step)
assert rec.apart == {}
assert diagnose(rec).sound, diagnose(rec)
""",
}

ALONE = """
from datetime import timedelta
processes.SOON, processes.WAIT = timedelta(seconds=0.2), timedelta(hours=1)
if rank == 0:
    def step():
        opt_d.zero_grad()
        D.module(torch.ones(1, 2)).sum().backward()
        opt_d.step()
    rec = watched(step)
    assert (rec.processes, rec.apart) == (1, {})
    assert diagnose(rec).sound
    processes.SOON = timedelta(hours=1)  # nobody came: it does not wait a second time
    assert watched(step).processes == 1
torch.distributed.barrier()
"""


@pytest.fixture(scope="module")
def both() -> Iterator[Processes]:
    with Processes(2) as pool:
        yield pool


@pytest.mark.parametrize("case", CASES)
def test_processes_that_drift_apart_are_told(both: Processes, case: str) -> None:
    both.run(_run, f"{LOOP}\n{CASES[case]}")


def test_one_process_may_record_alone() -> None:
    """Nobody else has begun to: it does not wait for them to end."""
    with Processes(2) as pool:
        pool.run(_run, f"{LOOP}\n{ALONE}")


def _run(source: str) -> None:
    """As a file, so that the lines can be quoted."""
    linecache.cache["<loop>"] = (len(source), None, source.splitlines(keepends=True), "<loop>")
    exec(compile(source, "<loop>", "exec"), {})
