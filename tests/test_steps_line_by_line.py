"""Every line of a step is needed: without any one of them, three steps no longer do what they say.

What a step says is written here a second time, so that nothing can leak from one turn into another:
gradients by ``autograd.grad``, which writes to no ``.grad``.
"""

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_lessons import Gan, lean_steps, mlp_gan, steps

SIMULTANEOUS = (
    steps.step_retain_graph,
    steps.step_generator_first,
    lean_steps.step_frozen,
    lean_steps.step_selective,
    lean_steps.step_one_stage,
    lean_steps.step_by_halves,
)
STEPS = (steps.step_detach, *SIMULTANEOUS)
MOVES = ("zero_grad", "backward", "step")


@pytest.fixture
def gan() -> Gan:
    nets = mlp_gan((6,), 4, (8,), (8,), seed=3)
    G, D = nets.generator.double(), nets.discriminator.double()
    return Gan(G, D, torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters()), nets.loss)


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    kind: Any = {"generator": draw, "dtype": torch.float64}
    return [(torch.randn(5, 6, **kind).tanh(), torch.randn(5, 4, **kind)) for _ in range(3)]


def by_grad(value: Tensor, gan: Gan, net: str) -> Callable[[], None]:
    """A move of this net along its gradient, as it is now; made when called."""
    parameters = list(gan.nets[net].parameters())
    found = torch.autograd.grad(value, parameters, retain_graph=True)

    def move() -> None:
        for parameter, grad in zip(parameters, found, strict=True):
            parameter.grad = grad
        gan.optimizers[net].step()

    return move


def losses(gan: Gan, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    D, loss = gan.discriminator, gan.loss
    at_fake, at_real = D(fake), D(real)
    ones, zeros = torch.ones_like(at_real), torch.zeros_like(at_fake)
    return (loss(at_real, ones) + loss(at_fake, zeros)) / 2, loss(at_fake, ones)


def weights_as_told(gan: Gan, batches: Any, *, alternating: bool) -> list[Tensor]:
    for real, noise in batches:
        fake = gan.generator(noise)
        d_loss, g_loss = losses(gan, real, fake)
        move_d = by_grad(d_loss, gan, "D")
        if alternating:
            move_d()
            by_grad(losses(gan, real, fake)[1], gan, "G")()
        else:
            move_g = by_grad(g_loss, gan, "G")
            move_d()
            move_g()
    return weights_of(gan)


def weights_of(gan: Gan) -> list[Tensor]:
    return [p.detach().clone() for net in gan.nets.values() for p in net.parameters()]


def after_three(step: Any, gan: Gan, batches: Any) -> list[Tensor]:
    mine = copy.deepcopy(gan)
    for real, noise in batches:
        step(mine, real, noise)
    return weights_of(mine)


def is_told(found: list[Tensor], told: list[Tensor]) -> bool:
    return all(
        torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found, told, strict=True)
    )


def lines_that_move(step: Any) -> list[str]:
    """The statements of a step that call ``zero_grad``, ``backward`` or ``step``."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(step)))
    return [ast.unparse(node) for node in ast.walk(tree) if _moves(node)]


def _moves(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in MOVES
    )


class _Without(ast.NodeTransformer):
    def __init__(self, line: str) -> None:
        self._line = line

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if ast.unparse(node) == self._line else node


def without(step: Any, line: str) -> Any:
    """The step, compiled again from its source less this line."""
    tree = _Without(line).visit(ast.parse(textwrap.dedent(inspect.getsource(step))))
    names = dict(vars(sys.modules[step.__module__]))
    exec(compile(ast.fix_missing_locations(tree), "<without>", "exec"), names)
    return names[step.__name__]


@pytest.mark.parametrize("step", STEPS)
def test_three_steps_do_what_they_say(step, gan, batches):
    told = weights_as_told(copy.deepcopy(gan), batches, alternating=step is steps.step_detach)
    other = weights_as_told(copy.deepcopy(gan), batches, alternating=step in SIMULTANEOUS)
    found = after_three(step, gan, batches)
    assert is_told(found, told)
    assert not is_told(found, other)  # so the test can tell the two updates apart


CASES = [(step, line) for step in STEPS for line in lines_that_move(step)]


@pytest.mark.parametrize(("step", "line"), CASES, ids=[f"{s.__name__}: {x}" for s, x in CASES])
def test_no_line_of_a_step_can_go(step, line, gan, batches, monkeypatch):
    told = weights_as_told(copy.deepcopy(gan), batches, alternating=step is steps.step_detach)
    needed = []
    for scaled in (True, False):  # the leaner steps have a way of their own where D is too certain
        monkeypatch.setattr(lean_steps, "in_range", lambda *_, answer=scaled: answer)
        assert is_told(after_three(step, gan, batches), told)
        try:
            needed.append(not is_told(after_three(without(step, line), gan, batches), told))
        except (RuntimeError, AttributeError):
            needed.append(True)  # torch refuses: nobody can miss that
    assert any(needed), f"{step.__name__} does the same without {line!r}"


def test_the_cases_are_all_there():
    """Two turns have two of each; by halves has one backward more, one stage may have one less."""
    kinds = {step: [line.split("(")[0].split(".")[-1] for line in lines_that_move(step)]
             for step in STEPS}  # fmt: skip
    for step, found in kinds.items():
        assert found.count("zero_grad") == found.count("step") == 2, step
        assert found.count("backward") >= 2, step
