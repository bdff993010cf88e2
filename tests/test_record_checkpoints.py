"""Checkpoints that build no graph are heard while a recording runs, and nothing of it is left."""

import warnings
from contextlib import ExitStack

import torch
from torch import nn
from torch.optim import SGD
from torch.utils.checkpoint import CheckpointFunction, checkpoint

from gan_lessons import record


def checkpointed(wants: bool, gradients: bool = True) -> set[str]:
    """Which parameters ran where no graph was built, of a net that is run once in a checkpoint."""
    net, head = nn.Linear(2, 2), nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    with record({"net": net, "head": head}, {"opt": SGD(head.parameters(), lr=0.1)}) as rec:
        with warnings.catch_warnings(), torch.set_grad_enabled(gradients):
            warnings.simplefilter("ignore")
            made = checkpoint(net, torch.ones(1, 2, requires_grad=wants), use_reentrant=True)
        head(made).sum().backward()
    return {name for _, name, _ in rec.graph.checkpointed}


def test_what_wants_a_gradient_and_runs_where_no_graph_is_built() -> None:
    assert checkpointed(wants=False) == {"weight"}
    assert checkpointed(wants=True) == set()
    assert checkpointed(wants=False, gradients=False) == set()


def test_nothing_is_left_of_it() -> None:
    before = CheckpointFunction.apply
    checkpointed(wants=False)
    assert "apply" not in vars(CheckpointFunction)
    assert before == CheckpointFunction.apply


def test_two_recordings_at_once_leave_nothing() -> None:
    net = nn.Linear(2, 2)
    optimizer = SGD(net.parameters(), lr=0.1)
    with record({"net": net}, {"opt": optimizer}):
        checkpointed(wants=False)
        assert "apply" in vars(CheckpointFunction)
    assert "apply" not in vars(CheckpointFunction)


def test_two_recordings_that_end_in_the_order_they_began_leave_nothing() -> None:
    net = nn.Linear(2, 2)
    optimizer = SGD(net.parameters(), lr=0.1)
    first, second = (ExitStack() for _ in range(2))
    for stack in (first, second):
        stack.enter_context(record({"net": net}, {"opt": optimizer}))
    first.close()
    assert "apply" in vars(CheckpointFunction)
    second.close()
    assert "apply" not in vars(CheckpointFunction)
