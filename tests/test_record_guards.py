"""Guards of what a record writes down: zeros, the largest size that is looked at, several steps."""

from __future__ import annotations

from threading import Thread

import pytest
import torch
from torch import nn

from gan_lessons import record
from gan_lessons.lens.record import quarrels
from gan_lessons.lens.record.telling_numbers import LARGEST
from tests.loops.kit import mlp, noise, real, sgd

# Two gradients at one verdict -> (do they pull opposite ways?, is one the other, scaled?)
PULLS = {
    "opposite": ([-1.0, -2.0, -3.0, -4.0], [2.0, 1.0, 2.0, 1.0], (True, False)),
    "opposite, one up": ([1.0, 2.0, 3.0, 4.0], [-2.0, -1.0, -2.0, -1.0], (True, False)),
    "alike": ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 2.0, 1.0], (False, False)),
    "where both pull, opposite": ([1.0, 0.0, 3.0, 0.0], [-2.0, -1.0, 0.0, 0.0], (True, False)),
    "nowhere both, up and down": ([-1.0, 0.0, -3.0, 0.0], [0.0, 1.0, 0.0, 2.0], (False, False)),
    "one of them mixed": ([1.0, -2.0, 3.0, 4.0], [-2.0, -1.0, -2.0, -1.0], (False, False)),
    "negative": ([1.0, -2.0, 3.0, 4.0], [-2.0, 4.0, -6.0, -8.0], (True, True)),
    "negative, of three numbers": ([1.0, -2.0, 3.0], [-2.0, 4.0, -6.0], (False, False)),
    "scaled": ([1.0, -2.0, 3.0, 4.0], [2.0, -4.0, 6.0, 8.0], (False, False)),
    "to another number": ([1.0, -2.0, 3.0, 4.0], [3.0, 0.0, 5.0, 6.0], (True, False)),
    "all alike": ([1.0, 1.0, 1.0, 1.0], [-2.0, -2.0, -2.0, -2.0], (True, False)),
    "small, opposite": ([0.5, 0.25, 0.5, 0.75], [-0.5, -0.75, -0.25, -0.5], (True, False)),
    "small, alike": ([0.5, 0.25, 0.5, 0.75], [0.5, 0.75, 0.25, 0.5], (False, False)),
    "small, both down": ([-0.5, -0.25, -0.5, -0.75], [-0.5, -0.75, -0.25, -0.5], (False, False)),
    "small, one of them mixed": ([0.5, 0.25, 0.5, 0.75], [0.5, -0.25, 0.25, 0.6], (False, False)),
    "small, mixed and down": ([-0.5, -0.25, -0.5, -0.75], [0.5, -0.2, -0.3, -0.6], (False, False)),
    "zeros": ([0.0, 0.0, 0.0, 0.0], [-2.0, 2.0, -2.0, 2.0], (False, False)),
}  # fmt: skip


@pytest.mark.parametrize("case", PULLS)
@pytest.mark.parametrize("turned", [False, True])
def test_whether_two_gradients_pull_opposite_ways(case: str, turned: bool) -> None:
    one, two, expected = PULLS[case]
    one, two = (two, one) if turned else (one, two)
    found = quarrels._opposed(torch.tensor(one)[:, None], torch.tensor(two)[:, None])
    assert found is not None
    assert tuple(found.tolist()) == expected


@pytest.mark.parametrize(("size", "seen"), [(LARGEST, True), (LARGEST + 1, False)])
def test_what_cancels_is_looked_at_up_to_a_size(size: int, seen: bool) -> None:
    net = nn.Linear(1, 1)
    x = torch.ones(size, 1)
    with record({"net": net}, {"net": sgd(net)}) as rec:
        (net(x) - net(x)).mean().backward()
    assert bool(rec.graph.cancelled) is seen


def test_what_was_cut_off_tells_of_all_that_it_went_through_since() -> None:
    G, D = mlp(2, 2), mlp(2, 1)
    with record({"G": G, "D": D}, {"D": sgd(D)}) as rec:
        made = torch.sigmoid(torch.tanh(G(noise(0)).detach()))
        D(made).mean().backward()
        D(torch.relu(G(noise(1)).detach())).mean().backward()
        D(real(0)).mean().backward()
    names = {"sigmoid", "tanh", "relu"}
    assert [{*cut.since} & names for cut in rec.graph.cuts] == [{"sigmoid", "tanh"}, {"relu"}]


def test_what_a_graph_holds_is_told_apart_by_whose_it_is() -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)).eval()
    with record({"net": net}, {"net": sgd(net)}) as rec:
        net[2].weight = nn.Parameter(torch.zeros(1, 8))
        loss = net(real(0).requires_grad_()).mean()
        loss.backward()
    kinds = {(s.what, s.shape) for row in rec.graph.saved.values() for s in row}
    assert ("parameter", (1, 8)) in kinds or ("parameter", (8, 1)) in kinds
    assert ("buffer", (8,)) in kinds
    assert ("input", (8, 2)) in kinds


class Early(nn.Module):
    """Its ``__init__`` forgot to call that of ``nn.Module`` first."""

    def __init__(self) -> None:
        self.width = 3


def test_a_module_that_was_never_made_is_in_nobody_s_way() -> None:
    """A traceback in a notebook keeps it alive; nets that were not named are looked for in all."""
    early, D, adapter = Early(), mlp(2, 1), mlp(2, 2)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        D(adapter(noise(0))).mean().backward()
    assert not vars(early).keys() & {"_parameters"}
    assert {*rec.graph.strangers.values()} >= {id(p) for p in adapter.parameters()}
    assert rec.graph.fresh >= {id(p) for p in adapter.parameters()}


SIGNS = {  # what comes to a verdict -> which way it pulls
    (1.0, 2.0): 1, (1.0, 0.0): 1, (-1.0, -2.0): -1, (-1.0, 0.0): -1, (1.0, -2.0): 0, (0.0, 0.0): 0,
}  # fmt: skip


def test_a_pull_has_a_sign_where_no_number_has_the_other_from_the_first_call_on() -> None:
    D = mlp(2, 1)
    with record({"D": D}, {"D": sgd(D)}) as rec:
        for numbers in SIGNS:
            D(real(0)[:2]).flatten().dot(torch.tensor(numbers)).backward()
    assert [(pull.call, pull.sign) for pull in rec.pulls] == [*enumerate(SIGNS.values())]


def test_a_step_in_another_thread_is_none_that_later_ones_stand_in() -> None:
    def recorded(beside: bool) -> list[tuple[str, str | None]]:
        G, D = mlp(2, 2), mlp(2, 1)
        og, od = sgd(G), sgd(D)
        with record({"G": G, "D": D}, {"G": og, "D": od}) as rec:
            if beside:
                elsewhere = Thread(target=od.step)
                elsewhere.start()
                elsewhere.join()
            for i in range(2):
                D(torch.tanh(G(noise(i)).detach())).mean().backward()
                od.step()
                D(G(noise(i))).mean().backward()
                og.step()
        assert len(rec.graph.cuts) == 2
        return [(event.kind, event.target) for event in rec.events]

    assert recorded(beside=True) == recorded(beside=False)


def test_what_freezes_nothing_is_told_only_if_it_stood_at_each_step() -> None:
    net = nn.Sequential(mlp(2, 2), nn.Linear(2, 2))
    optimizer = sgd(net)
    with record({"net": net}, {"opt": optimizer}) as rec:
        for i, stands in enumerate((False, True, False)):
            setattr(net[0], "requires_grad", stands)  # noqa: B010 - no word of a module
            net(real(i)).mean().backward()
            optimizer.step()
    assert rec.frozen_in_vain == {"net": ""}
    with record({"net": net}, {"opt": optimizer}) as rec:
        for i in range(2):
            net(real(i)).mean().backward()
            optimizer.step()
    assert rec.frozen_in_vain == {"net": "0.requires_grad"}
