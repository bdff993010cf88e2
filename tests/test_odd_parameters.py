"""Parameters that are not what they seem: who they are, one oddity at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from gan_lessons.lens.record import odd_parameters as odd
from tests.loops.kit import mlp


def named(**nets: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    return {name: dict(net.named_parameters()) for name, net in nets.items()}


class Of(nn.Module):
    """A net of these parameters."""

    def __init__(self, **parameters: Tensor) -> None:
        super().__init__()
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))


def test_two_parameters_on_one_memory_are_told_however_many_are_not() -> None:
    memory, other = torch.zeros(4), torch.zeros(4)
    nets = {
        "A": Of(empty=torch.zeros(0), meta=torch.zeros(4, device="meta"), one=memory),
        "B": Of(sparse=other.to_sparse(), two=memory, three=other),
        "C": Of(back=memory[2:], front=memory[:2], empty=torch.zeros(0)),
    }
    nets["A"].lazy = nn.LazyLinear(1)
    nets["B"].shared = nets["A"].get_parameter("one")  # the same object: one parameter
    assert odd.on_one_memory(named(**nets)) == ((("A", "one"), ("B", "two")),)
    assert odd.on_one_memory(named(C=nets["C"])) == ()


def test_what_an_optimizer_holds_of_no_net() -> None:
    net, lost, frozen = mlp(2, 1), nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    frozen.requires_grad_(False)
    filled = nn.Parameter(torch.ones(1))
    filled.grad = torch.ones(1)
    some = [*net.parameters()]
    optimizers = {
        "both": SGD([*some, lost, frozen, filled], 0.1),
        "two": SGD([some[0], lost, nn.Parameter(torch.ones(1))], 0.1),
        "all of the net": SGD(some, 0.1),
        "a stranger's": SGD([lost], 0.1),
        "filled": SGD([*some, filled], 0.1),
        "frozen": SGD([*some, frozen], 0.1),
    }
    assert odd.of_no_net(named(D=net), optimizers) == {"both": 1, "two": 2}


def test_which_parameters_only_modules_in_training_mode_own() -> None:
    training: Any = mlp(2, 1)
    evaluated: Any = mlp(2, 1).eval()
    both = nn.Linear(2, 1)
    nobody_s, other = nn.Linear(2, 1), nn.Module()
    other.weight = both.weight
    other.eval()
    weights = [training[0].weight, evaluated[0].weight, both.weight, both.bias]
    assert odd.in_training(weights) == {id(training[0].weight), id(both.bias)}
    assert odd.in_training([]) == set()
    assert id(nobody_s.weight) not in odd.in_training(weights)


def test_what_was_never_written_to_since_it_was_made() -> None:
    net, later = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        later.weight.mul_(2)
    later.bias.requires_grad_(False)
    lazy = nn.LazyLinear(2)
    names = named(A=net, B=later, C=lazy)
    assert odd.as_made(names, set()) == {"A": ("weight", "bias")}
    assert odd.as_made(names, {id(net.bias)}) == {"A": ("weight",)}
    assert odd.as_made(names, {*map(id, net.parameters())}) == {}


def frozen_module() -> Any:
    net: Any = nn.Sequential(mlp(2, 2), nn.Linear(2, 2))
    vars(net[0])["requires_grad"] = False
    return net


def frozen_module_in_earnest() -> Any:
    net = frozen_module()
    net[0].requires_grad_(False)
    vars(net[0])["requires_grad"] = False
    return net


def half_frozen_module() -> Any:
    net = frozen_module()
    net[0][0].requires_grad_(False)
    vars(net[0])["requires_grad"] = False
    return net


def switched_on_module() -> Any:
    net: Any = mlp(2, 2)
    vars(net[0])["requires_grad"] = True
    return net


def the_net_itself() -> Any:
    net: Any = mlp(2, 2)
    vars(net)["requires_grad"] = False
    return net


def misspelt(word: str, value: object, trains: bool = True) -> Any:
    net: Any = mlp(2, 2)
    net[0].bias.requires_grad_(trains)
    vars(net[0].bias)[word] = value
    return net


IN_VAIN = {
    "module": (frozen_module, "0.requires_grad"),
    "half": (half_frozen_module, "0.requires_grad"),
    "the net": (the_net_itself, "requires_grad"),
    "in earnest": (frozen_module_in_earnest, ""),
    "switched on": (switched_on_module, ""),
    "nothing": (lambda: mlp(2, 2), ""),
    "misspelt": (lambda: misspelt("require_grad", False), "0.bias.require_grad"),
    "misspelt, on": (lambda: misspelt("require_grad", True), ""),
    "misspelt, nothing": (lambda: misspelt("require_grad", None), ""),
    "misspelt, frozen too": (lambda: misspelt("require_grad", False, trains=False), ""),
    "another word": (lambda: misspelt("is_shared", False), ""),
}


@pytest.mark.parametrize("case", IN_VAIN)
def test_what_was_frozen_in_vain(case: str) -> None:
    make, expected = IN_VAIN[case]
    assert odd.frozen_in_vain(make()) == expected


def test_hooks_on_modules_and_parameters_are_counted_together() -> None:
    net: Any = mlp(2, 2)
    assert odd.hooks_of(net, net.parameters()) == 0
    net[0].register_full_backward_hook(lambda *_: None)
    net[2].weight.register_hook(lambda grad: 2 * grad)
    assert odd.hooks_of(net, net.parameters()) == 2
    assert odd.hooks_of(net, []) == 1


def test_parts_in_eval_mode_of_a_net_that_trains() -> None:
    inner = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2, bias=False)))
    net = nn.Sequential(inner, nn.Linear(2, 1))
    assert odd.in_eval_mode({"D": net}) == {}
    inner.eval()
    own = ("0.0.weight", "0.0.bias", "0.1.0.weight")
    assert odd.in_eval_mode({"D": net, "other": mlp(2, 1)}) == {"D": own}
    net.eval()
    assert odd.in_eval_mode({"D": net}) == {}


def test_modules_in_plain_lists() -> None:
    net, inner = nn.Module(), nn.Module()
    net.inner = inner
    vars(inner)["layers"] = layers = [nn.Linear(2, 2), nn.Linear(2, 2, bias=False)]
    vars(net)["by_name"] = by_name = {"a": nn.Parameter(torch.ones(1)), "b": nn.Linear(1, 1)}
    vars(net)["one"] = [nn.Linear(2, 2)]
    vars(net)["words"] = ["one", "two"]
    vars(net)["nothing"] = 3
    net.register_parameter("own", nn.Parameter(torch.ones(1)))  # torch's own dicts are no lists
    net.register_parameter("too", nn.Parameter(torch.ones(1)))
    numbers = tuple(id(p) for layer in layers for p in layer.parameters())
    linear = by_name["b"]
    assert isinstance(linear, nn.Linear)
    assert odd.in_plain_lists({"D": net, "other": mlp(2, 1)}) == {
        "D": {
            "inner.layers": numbers,
            "by_name": (id(linear.weight), id(linear.bias), id(by_name["a"])),
        }
    }
