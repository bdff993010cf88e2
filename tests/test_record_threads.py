"""Several threads record and train at once, blocks end in any order, modes come and go."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gan_lessons import record, step_detach, tiny_gan

OPTIMIZER = sys.modules["torch.optim.optimizer"]  # torch.optim hides its own submodule
REAL, NOISE = torch.ones(4, 2), torch.ones(4, 2)


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*tasks: Callable[[], object]) -> None:
    """Run all at once; what one raises is raised."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for result in [pool.submit(task) for task in tasks]:
            result.result()


def test_threads_that_record_and_train_at_once() -> None:
    """torch walks over its dict of optimizer hooks while another thread adds to it."""
    lengths = set()

    def recorded() -> None:
        gan = tiny_gan()
        for _ in range(60):
            with record(gan.nets, gan.optimizers) as rec:
                step_detach(gan, REAL, NOISE)
            lengths.add((len(rec.events), len(rec.graph.nodes)))

    def trained() -> None:
        gan = tiny_gan()
        for _ in range(200):
            step_detach(gan, REAL, NOISE)

    before = torch.autograd._engine_run_backward, nn.Module.zero_grad
    together(recorded, recorded, trained)
    assert len(lengths) == 1  # each heard of its own alone
    assert (torch.autograd._engine_run_backward, nn.Module.zero_grad) == before


def test_a_net_that_another_thread_trains_received_nothing() -> None:
    D, other = nn.Linear(2, 1), nn.Linear(2, 1)

    def meanwhile(_: Tensor) -> None:
        together(lambda: other(REAL).sum().backward())

    with record({"D": D, "other": other}) as rec:
        loss = D(REAL).sum()
        loss.register_hook(meanwhile)  # runs inside the backward
        loss.backward()
    assert rec.backward_calls[0].received == {"D": ("weight", "bias"), "other": ()}
    assert other.weight.grad is not None


def test_hooks_that_others_add_meanwhile_are_torchs_own() -> None:
    gan, told = tiny_gan(), []
    before = dict(OPTIMIZER._global_optimizer_post_hooks)
    register = OPTIMIZER.register_optimizer_step_post_hook
    early = register(lambda *_: told.append("early"))
    with record(gan.nets, gan.optimizers) as rec:
        late = register(lambda *_: told.append("late"))
        early.remove()
        gan.optimizer_d.step()
    gan.optimizer_d.step()
    assert told == ["late", "late"]
    assert [e.kind for e in rec.events] == ["step"]
    late.remove()
    assert before == OPTIMIZER._global_optimizer_post_hooks


def test_the_block_that_ends_first_takes_nothing_from_the_other() -> None:
    gan = tiny_gan()

    def recording() -> Any:
        with record(gan.nets) as rec:
            yield rec
        yield

    first, second = recording(), recording()
    next(first)
    rec = next(second)
    next(first)  # it entered first, and ends first
    gan.discriminator(gan.generator(NOISE).detach())
    list(second)
    assert [cut.how for cut in rec.graph.cuts] == ["detach()"]
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_patch_over_ours_stays_and_ours_goes_with_it() -> None:
    gan, plain, seen = tiny_gan(), nn.Module.zero_grad, []
    with record(gan.nets) as rec:
        ours = nn.Module.zero_grad

        def theirs(self: nn.Module, set_to_none: bool = True) -> None:
            seen.append(self)
            ours(self, set_to_none)

        nn.Module.zero_grad = theirs  # type: ignore[method-assign]
    try:
        gan.generator.zero_grad()
        with record(gan.nets) as again:
            gan.generator.zero_grad()
        assert nn.Module.zero_grad is theirs
    finally:
        nn.Module.zero_grad = plain  # type: ignore[method-assign]
    assert (len(seen), len(rec.events), len(again.events)) == (2, 0, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="its engine has threads only on a GPU")
def test_on_a_gpu_receivers_are_told_as_on_the_cpu() -> None:
    received = {}
    for device in ("cpu", "cuda"):
        G, D = nn.Linear(2, 2, device=device), nn.Linear(2, 1, device=device)
        other, noise = nn.Linear(2, 1, device=device), torch.ones(4, 2, device=device)

        def meanwhile(_: Tensor, other: nn.Module = other, noise: Tensor = noise) -> None:
            together(lambda: other(noise).sum().backward())

        with record({"G": G, "D": D, "other": other}) as rec:
            D(G(noise).detach()).sum().backward()
            D(G(noise)).sum().backward(inputs=list(G.parameters()))
            for reentrant in (False, True):
                checkpoint(D, G(noise), use_reentrant=reentrant).sum().backward()
            loss = D(noise).sum().cpu()
            loss.register_hook(meanwhile)
            loss.backward(retain_graph=True)
            torch.autograd.grad(loss, list(D.parameters()))
        received[device] = [dict(call.received) for call in rec.backward_calls]
    assert received["cpu"] == received["cuda"]
    assert received["cpu"][-1] == {"G": (), "D": ("weight", "bias"), "other": ()}


class Passes(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def test_operations_are_heard_again_after_a_step_that_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one of torch's own optimizers steps, our mode is off the stack."""
    gan, stack = tiny_gan(), torch.overrides._get_current_function_mode_stack
    seen: list[Any] = []

    def raises(*_: Any, **__: Any) -> None:
        seen.append(stack())
        raise OverflowError

    monkeypatch.setattr(sys.modules["torch.optim.sgd"], "sgd", raises)
    with record(gan.nets, gan.optimizers) as rec:
        gan.discriminator(REAL).sum().backward()
        (ours,) = stack()
        with pytest.raises(OverflowError):
            gan.optimizer_d.step()
        with Passes() as theirs:  # it would take ours off in its own place, had we come after it
            gan.generator(NOISE)
            assert stack() == [theirs]
        assert stack() == []
        gan.discriminator(gan.generator(NOISE).detach())
        assert stack() == [ours]
    assert (seen, stack()) == ([[]], [])
    assert [cut.how for cut in rec.graph.cuts] == ["detach()"]
    assert [e.kind for e in rec.events] == ["forward", "backward", *["forward"] * 3]


def test_an_optimizer_of_ones_own_is_heard_all_the_time() -> None:
    class Own(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            gan.discriminator(gan.generator(NOISE).detach()).sum().backward()
            return super().step(closure)

    gan = tiny_gan()
    optimizer = Own(gan.discriminator.parameters(), 0.1)
    with record(gan.nets, {"D": optimizer}) as rec:
        optimizer.step()
    assert len(rec.graph.cuts) == 1
    assert [e.kind for e in rec.events] == ["forward", "forward", "backward", "step"]
