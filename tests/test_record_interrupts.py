"""Whatever cuts a recording off comes out as it is, and leaves nothing behind."""

import gc
import os
import random
import signal
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_lessons import Gan, record, record_step, step_detach, tiny_gan
from gan_lessons.lens.model import Line
from gan_lessons.lens.record import graph_errors

OPTIMIZER = sys.modules["torch.optim.optimizer"]  # torch.optim hides its own submodule
REAL, NOISE = torch.ones(4, 2), torch.ones(4, 2)


def attached(gan: Gan) -> tuple[Any, ...]:
    """All that a recording touches, outside of what it yields."""
    nets = [gan.generator, gan.discriminator]
    hooks = [h for net in nets for h in (net._forward_hooks, net._forward_pre_hooks)]
    hooks += [p._post_accumulate_grad_hooks for net in nets for p in net.parameters()]
    return (
        torch.autograd._engine_run_backward,
        torch.optim.Optimizer.zero_grad,
        nn.Module.zero_grad,
        id(OPTIMIZER._global_optimizer_pre_hooks),
        id(OPTIMIZER._global_optimizer_post_hooks),
        len(OPTIMIZER._global_optimizer_pre_hooks),
        torch.overrides._get_current_function_mode_stack(),
        sys.gettrace(),
        [len(h) for h in hooks if h],
        len(gan.generator._forward_hooks_always_called),
        len(gan.generator._forward_pre_hooks_with_kwargs),
    )


def interrupted_at(place: int, run: Callable[[], object]) -> bool:
    """Ctrl-C at the ``place``-th call that begins, or function of C that returns, in the files that
    attach and let go: Python looks for signals just there. False: the run has no such place."""
    count = 0

    def profile(frame: Any, kind: str, _: Any) -> None:
        nonlocal count
        file = frame.f_code.co_filename
        if kind in ("call", "c_return") and ("lens/record/" in file or "contextlib" in file):
            count += 1
            if count == place:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return count >= place


def empty(gan: Gan) -> None:
    with record(gan.nets, gan.optimizers):
        pass


def backward(gan: Gan) -> None:
    with record(gan.nets, gan.optimizers):
        gan.discriminator(REAL).sum().backward()  # hooks its parameters


# One that comes where an object is let go of is swallowed by Python, and told as this warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("run", "every"), [(empty, 1), (backward, 4)])
def test_interrupted_anywhere_nothing_stays(run: Callable[[Gan], None], every: int) -> None:
    gan, place = tiny_gan(), 0
    before = attached(gan)
    while interrupted_at(place := place + every, lambda: run(gan)):
        assert attached(gan) == before, place
    assert place > 500
    with record(gan.nets, gan.optimizers) as rec:
        step_detach(gan, REAL, NOISE)
    assert len(rec.events) == 10


def test_gradients_are_on_after_an_interrupt_that_leaves_them_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It lands in what torch does at the end of an optimizer's step, before they are on again."""
    gan = tiny_gan()

    def interrupted() -> None:
        if not torch.is_grad_enabled():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch._dynamo, "graph_break", interrupted)
        with pytest.raises(KeyboardInterrupt), record(gan.nets, gan.optimizers):
            step_detach(gan, REAL, NOISE)
    assert torch.is_grad_enabled()
    step_detach(gan, REAL, NOISE)


def test_a_net_is_let_go_of_after_an_interrupt() -> None:
    """``setattr`` on ``nn.Module`` is slow, so that a signal often lands in it."""
    gan, plain = tiny_gan(), nn.Module.zero_grad
    net = weakref.ref(gan.generator)

    def profile(_: Any, kind: str, function: Any) -> None:
        if function is setattr and kind == "c_return" and nn.Module.zero_grad is not plain:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        empty(gan)
    except KeyboardInterrupt:
        del gan
    finally:
        sys.setprofile(None)
    gc.collect()
    assert net() is None
    assert nn.Module.zero_grad is plain


def stop() -> None:
    raise KeyboardInterrupt


# As at the jump back to the head of a loop: an instruction that has no line.
stop.__code__ = stop.__code__.replace(co_linetable=b"")


def test_an_interrupt_where_there_is_no_line_comes_out() -> None:
    gan = tiny_gan()
    with pytest.raises(KeyboardInterrupt) as caught, record(gan.nets) as rec:
        stop()
    assert not hasattr(caught.value, "__notes__")
    assert rec.events[-1].message == "KeyboardInterrupt: "
    assert rec.events[-1].line == Line("", __file__, 0, "stop")

    def step(gan: Gan, real: Tensor, noise: Tensor) -> None:
        step_detach(gan, real, noise)
        stop()

    with pytest.raises(KeyboardInterrupt):
        record_step(step, gan, REAL, NOISE)


@pytest.mark.skipif(os.name == "nt", reason="no timers there that send a signal")
def test_ctrl_c_in_a_plain_loop_comes_out() -> None:
    """On Python 3.11 about half of these land on the jump back, which has no line."""
    gan, random_ = tiny_gan(), random.Random(0)
    caught = 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)  # as of Ctrl-C: no frame
    try:
        for _ in range(40):
            try:
                with record(gan.nets) as rec:
                    signal.setitimer(signal.ITIMER_REAL, 0.002 * random_.random() + 1e-4, 0.5)
                    k = 0
                    while True:
                        for i in range(1000):
                            if i % 2:
                                k += 1
                            else:
                                if i > 5:
                                    k -= 1
            except KeyboardInterrupt:
                caught += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert rec.events[-1].line.function == "test_ctrl_c_in_a_plain_loop_comes_out"
            assert rec.events[-1].line.text
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught == 40


def test_what_we_cannot_explain_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(graph_errors.Failure, "explain", fails)
    loss = tiny_gan().discriminator(REAL).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time") as caught, record(tiny_gan().nets):
        loss.backward()
    assert caught.value.__notes__ == ["record() could not write this down: ZeroDivisionError: ours"]
