"""What a loss compares a net's output with, and which nets had been given that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)

from gan_lessons import record
from gan_lessons.lens.record import targets

Compared = Callable[[nn.Module, nn.Module, Tensor], Tensor]


def known(compare: Compared) -> list[set[str]]:
    """Of each comparison of a step, in their order: the nets that were given the other side."""
    torch.manual_seed(0)
    a, b, picture = nn.Linear(6, 6), nn.Linear(12, 6), torch.randn(4, 6)
    with record({"a": a, "b": b}) as rec:
        compare(a, b, picture).backward()
    found: Mapping[int, frozenset[str]] = rec.graph.targets
    return [set(found[key]) for key in sorted(found)]


def test_the_truth_is_what_no_net_was_given() -> None:
    assert known(lambda a, b, picture: l1_loss(a(picture), torch.randn(4, 6))) == [set()]


@pytest.mark.parametrize("loss", [l1_loss, mse_loss, smooth_l1_loss, huber_loss])
def test_what_a_net_was_given_is_known_by_its_memory(loss: Callable[..., Tensor]) -> None:
    assert known(lambda a, b, picture: loss(a(picture), picture)) == [{"a"}]
    assert known(lambda a, b, picture: loss(a(picture[:3]), picture[1:])) == [{"a"}]


def test_it_is_known_on_either_side_of_a_minus() -> None:
    assert known(lambda a, b, picture: (picture - a(picture)).abs().mean()) == [{"a"}]
    assert known(lambda a, b, picture: (a(picture) - picture).abs().mean()) == [{"a"}]


def test_it_is_known_among_other_numbers() -> None:
    def beside_a_message(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        return l1_loss(b(torch.cat([torch.randn(4, 6), picture], 1)), picture)

    assert known(beside_a_message) == [{"b"}]


def test_of_other_numbers_of_the_same_net_it_is_not_known() -> None:
    def shifted(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        return l1_loss(b(torch.cat([picture + 1, picture - 1], 1)), picture)

    assert known(shifted) == [set()]


def test_a_smaller_tensor_or_another_kind_of_number_does_not_hold_it() -> None:
    def part(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        return l1_loss(a(picture[:1].clone()).expand(4, 6), picture[:1].clone().expand(4, 6) * 1)

    def classes(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        numbers = torch.arange(24).view(4, 6) % 6
        return cross_entropy(a(numbers.float()), numbers[:, 1] + torch.arange(4) % 2)

    assert known(part) == [set()]
    assert known(classes) == [set()]


def test_what_a_net_made_without_a_graph_is_known_as_its_own() -> None:
    def before(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        with torch.no_grad():
            made = a(picture)
        return mse_loss(a(picture + 1), made)

    assert known(before) == [{"a"}]


def test_what_was_cut_off_is_no_truth() -> None:
    def cut(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        made = a(picture)
        return mse_loss(a(picture + 1), made.detach() + 1)

    assert known(cut) == []


def test_labels_and_sides_with_a_graph_are_none() -> None:
    def labels(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(a(picture), torch.ones(4, 6))

    assert known(labels) == []
    assert known(lambda a, b, picture: mse_loss(a(picture), a(picture + 1))) == []
    assert known(lambda a, b, picture: (a(picture) - 1.5).square().mean()) == []
    assert known(lambda a, b, picture: (a(picture) - torch.tensor(1.5)).abs().mean()) == []


def test_what_a_net_compares_inside_is_its_own_affair() -> None:
    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.mean = nn.Linear(6, 6), torch.randn(6)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) - self.mean

    with record({"net": (net := Shifts())}) as rec:
        net(torch.randn(4, 6)).sum().backward()
    assert rec.graph.targets == {}


def test_in_a_large_tensor_it_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def far(a: nn.Module, b: nn.Module, picture: Tensor) -> Tensor:
        return l1_loss(a(picture), torch.randn(4, 6))

    monkeypatch.setattr(targets, "LARGEST", 24)
    assert known(far) == [set()]
    monkeypatch.setattr(targets, "LARGEST", 23)
    assert known(far) == [{"a"}]  # then it may have been given


def test_on_the_meta_device_nothing_is_said() -> None:
    net = nn.Linear(6, 6, device="meta")
    with record({"net": net}) as rec:
        l1_loss(net(torch.randn(4, 6, device="meta")), torch.randn(4, 6, device="meta")).backward()
    assert rec.graph.targets == {}


def test_what_cannot_be_compared_is_passed_over() -> None:
    """An input on another device, or of another layout, does not end somebody's step."""
    for other in (torch.empty(9, 6, device="meta"), torch.eye(12).to_sparse()):
        net, away = nn.Linear(6, 6), nn.Identity()
        with record({"net": net, "away": away}) as rec:
            away(other)
            l1_loss(net(torch.randn(4, 6)), torch.randn(4, 6)).backward()
        assert list(rec.graph.targets.values()) == [frozenset()]


def test_what_comes_time_and_again_is_kept_once() -> None:
    batch = torch.randn(4, 6)
    with record({"net": (net := nn.Linear(6, 6))}):
        modes = torch.overrides._get_current_function_mode_stack()
        heard = next(m for m in modes if hasattr(m, "targets"))
        for _ in range(9):
            net(batch)
        assert len(heard.targets._known["net"]) == 1


def test_of_tensors_that_are_gone_nothing_is_kept() -> None:
    with record({"net": (net := nn.Linear(6, 6))}) as rec:
        hears = next(
            m for m in torch.overrides._get_current_function_mode_stack() if hasattr(m, "targets")
        )
        for _ in range(5):
            l1_loss(net(torch.randn(4, 6)), torch.randn(4, 6)).backward()
        assert len(hears.targets._known["net"]) < 4
    assert list(rec.graph.targets.values()) == [frozenset()] * 5
