"""What listens is put around, beside and under what others have put there, and goes alone."""

from __future__ import annotations

import copy
import traceback
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gan_lessons import record, record_step
from gan_lessons import torch_internals as internals
from gan_lessons.lens.record import attaching
from gan_lessons.lens.record.undo import Undo, undone
from tests.loops.kit import mlp, real, sgd


def naming(name: str) -> Any:
    return lambda original, *args: (name, original(*args))


def test_each_that_goes_around_a_function_goes_alone() -> None:
    plain = lambda x: x  # noqa: E731
    owner, first, second = SimpleNamespace(f=plain), Undo(), Undo()
    attaching.replace_function(first, owner, "f", naming("first"))
    attaching.replace_function(second, owner, "f", naming("second"))
    assert owner.f(1) == ("second", ("first", 1))
    first.close()
    assert owner.f(1) == ("second", 1)
    second.close()
    assert owner.f is plain


def test_somebody_else_s_function_stays_around_and_ours_hands_on() -> None:
    owner, undo = SimpleNamespace(f=lambda x: x), Undo()
    attaching.replace_function(undo, owner, "f", naming("ours"))
    ours = owner.f
    owner.f = theirs = lambda x: ("theirs", ours(x))
    assert owner.f(1) == ("theirs", ("ours", 1))
    undo.close()
    assert owner.f is theirs
    assert owner.f(1) == ("theirs", 1)


def test_what_was_not_yet_put_around_is_undone_all_the_same() -> None:
    """An interrupt comes between the two: here an attribute that is not there."""
    owner, undo = SimpleNamespace(), Undo()
    with pytest.raises(AttributeError):
        attaching.replace_function(undo, owner, "f", naming("ours"))
    owner.f = plain = len
    undo.close()
    assert owner.f is plain


class Mode(TorchFunctionMode):
    """Somebody's own: it knows of no ``ended``."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_a_mode_is_taken_from_under_others_which_stay_in_their_order() -> None:
    before, (below, above) = internals.function_modes(), (Mode(), Mode())
    with below:
        first, second = Undo(), Undo()
        one, two = Mode(), Mode()
        attaching.enter_mode(first, one)
        with above:
            attaching.enter_mode(second, two)
            assert internals.function_modes() == [*before, below, one, above, two]
            first.close()
            assert internals.function_modes() == [*before, below, above, two]
            second.close()
            assert internals.function_modes() == [*before, below, above]
    assert internals.function_modes() == before


def test_a_copy_of_a_net_carries_no_hook_once_the_recording_is_over() -> None:
    net = mlp(2, 1)
    own = net.register_forward_pre_hook(lambda *_: None)
    with record({"D": net}) as rec:
        one, two = copy.deepcopy(net), copy.deepcopy(net[0])
        assert len(one._forward_pre_hooks) == 2
        one(real(0))
        two(real(0))
    assert rec.forwards == []
    assert len(one._forward_pre_hooks) == len(net._forward_pre_hooks) == 1
    assert not one._forward_hooks
    assert not one._forward_hooks_always_called
    assert not one._forward_pre_hooks_with_kwargs
    own.remove()


def test_what_others_hook_onto_all_optimizers_meanwhile_is_theirs() -> None:
    net, heard = mlp(2, 1), list[str]()
    optimizer = sgd(net)
    name = internals.OPTIMIZER_HOOKS[0]
    plain = getattr(internals.OPTIMIZER, name)
    with undone() as outer:
        attaching.BEFORE_STEP.add(outer, lambda *_: heard.append("outer"))
        with undone() as inner:
            attaching.BEFORE_STEP.add(inner, lambda *_: heard.append("inner"))
            handle = internals.OPTIMIZER.register_optimizer_step_pre_hook(
                lambda *_: heard.append("theirs")
            )
            optimizer.step()
        assert heard == ["theirs", "outer", "inner"]
        optimizer.step()
        assert heard[3:] == ["theirs", "outer"]
    assert getattr(internals.OPTIMIZER, name) is plain
    optimizer.step()
    assert heard[5:] == ["theirs"]
    handle.remove()
    assert not plain


class Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise ZeroDivisionError


def in_backward(net: nn.Module) -> None:
    Failing.apply(net(real(0))).sum().backward()


def in_an_operation(net: nn.Module) -> None:
    _ = net(real(0)) @ torch.ones(3)


@pytest.mark.parametrize("fails", [in_backward, in_an_operation])
@pytest.mark.parametrize("line_by_line", [False, True])
def test_a_traceback_leaves_our_frames_out(fails: Any, line_by_line: bool) -> None:
    """IPython and pytest show none that say ``__tracebackhide__``."""
    net, told = mlp(2, 1), list[BaseException]()

    def caught(net: nn.Module) -> None:
        net(real(0))
        try:
            fails(net)
        except (ZeroDivisionError, RuntimeError) as error:
            told.append(error)

    if line_by_line:
        record_step(caught, args=(net,), nets={"D": net})
    else:
        with record({"D": net}):
            caught(net)
    frames = [frame for frame, _ in traceback.walk_tb(told[0].__traceback__)]
    ours = [f for f in frames if "/lens/record/" in f.f_code.co_filename]
    assert ours
    assert [f.f_code.co_name for f in ours if f.f_locals.get("__tracebackhide__") is not True] == []
