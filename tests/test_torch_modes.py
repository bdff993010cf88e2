"""An interrupt in the end of one of torch's own blocks leaves nothing switched on or off."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.overrides import _get_current_function_mode_stack as function_modes

from gan_lessons import Gan, cost, data, explore, gains, record_step, same, step_detach, tiny_gan
from gan_lessons.put_back import at_the_end
from gan_lessons.torch_modes import torch_modes_kept
from gan_lessons.training import Training

REAL, NOISE = data.ring(4), data.noise(4, (2,))


def trained(gan: Gan) -> None:
    training = Training(gan, data.ring(8), step_detach, batch_size=4)
    with training.running():
        training.advance()


def compared(gan: Gan) -> None:
    def loop(batches: Any) -> None:
        step_detach(gan, *batches[0])

    same(loop, loop, gan.nets, gan.optimizers, [(REAL, NOISE)])


LOOKS: dict[str, Callable[[Gan], object]] = {
    "cost": lambda gan: cost(step_detach, gan, REAL, NOISE, repeat=0),
    "gains": lambda gan: gains(
        lambda: step_detach(gan, REAL, NOISE), gan.nets, gan.optimizers, repeat=0
    ),
    "same": compared,
    "record_step": lambda gan: record_step(step_detach, gan, REAL, NOISE),
    "explore": lambda gan: explore("detach", gan=gan, real=REAL, noise=NOISE),
    "train": trained,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_gradients_are_on_after_an_interrupt_in_the_end_of_an_optimizer_step(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[Gan], object]
) -> None:
    def interrupted() -> None:
        if not torch.is_grad_enabled():
            raise KeyboardInterrupt

    gan = tiny_gan()
    with monkeypatch.context() as patch:
        patch.setattr(torch._dynamo, "graph_break", interrupted)
        with pytest.raises(KeyboardInterrupt):
            look(gan)
    assert torch.is_grad_enabled()
    look(gan)


@pytest.mark.parametrize("look", [LOOKS["cost"], LOOKS["explore"]], ids=["cost", "explore"])
def test_no_function_mode_stays_after_an_interrupt_in_the_end_of_one(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[Gan], object]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TorchFunctionMode, "__exit__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            look(tiny_gan())
    assert function_modes() == []


def test_a_mode_that_was_there_before_stays_and_one_taken_off_comes_back() -> None:
    @torch_modes_kept()
    def interrupted() -> None:
        torch.overrides._pop_mode()  # as torch does while it calls the mode
        raise KeyboardInterrupt

    with torch.device("cpu"):
        before = function_modes()
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert function_modes() == before
    assert function_modes() == []


def test_what_is_put_back_is_put_back_whole_although_an_interrupt_comes_meanwhile() -> None:
    done = list[str]()

    def interrupted() -> None:
        done.append("a")
        if done == ["a"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), at_the_end(interrupted, lambda: done.append("b")):
        pass
    assert done == ["a", "a", "b"]
