"""One call of D for fake and real, or two: exact in both forms, chosen by time, with no trace."""

import copy
import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import Gan, data, mlp_gan, one_call, record, step_one_stage
from gan_lessons.independence import known_of
from gan_lessons.losses import bce_with_logits
from gan_lessons.one_call import WARM_UP, use_one_call


@pytest.fixture(autouse=True)
def _fixed_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def measured(monkeypatch):
    """What was measured, as a list; one call is found to be faster."""
    asked: list[nn.Module] = []

    def found(D: nn.Module, real: Tensor) -> bool:
        asked.append(D)
        return True

    monkeypatch.setattr(one_call, "_measured", found)
    return asked


def gan_with(*layers: nn.Module) -> Gan:
    return Gan.with_adam(nn.Linear(4, 6), nn.Sequential(*layers), bce_with_logits)


def plain() -> Gan:
    return gan_with(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


def batch(n: int = 5) -> tuple[Tensor, Tensor]:
    return data.noise(n, (6,), seed=0), data.noise(n, (4,), seed=1)


def calls_of_d(gan: Gan, steps: int, *batches: Tensor) -> list[int]:
    """How often each step called D."""
    counts: list[int] = []
    with gan.discriminator.register_forward_hook(lambda *_: counts.append(1)):
        found = []
        for _ in range(steps):
            counts.clear()
            step_one_stage(gan, *batches)
            found.append(len(counts))
    return found


def test_the_tenth_step_measures_and_the_choice_is_remembered(measured):
    gan = plain()
    assert calls_of_d(gan, WARM_UP + 3, *batch()) == [2] * (WARM_UP - 1) + [1] * 4
    assert measured == [gan.discriminator]
    assert calls_of_d(gan, WARM_UP, *batch(3)) == [2] * (WARM_UP - 1) + [1]  # another shape
    assert measured == [gan.discriminator] * 2
    gan.discriminator[1].eval()  # type: ignore[index]
    assert calls_of_d(gan, 2, *batch()) == [2, 2]  # another D


def test_two_calls_stay_where_they_are_as_fast(measured, monkeypatch):
    monkeypatch.setattr(one_call, "_measured", lambda D, real: False)
    assert calls_of_d(plain(), WARM_UP + 2, *batch()) == [2] * (WARM_UP + 2)


@pytest.mark.parametrize("asked", [True, False])
def test_what_is_asked_for_is_done_and_nothing_is_measured(asked, measured):
    gan = plain()
    counts: list[int] = []
    with gan.discriminator.register_forward_hook(lambda *_: counts.append(1)):
        for _ in range(WARM_UP + 2):
            step_one_stage(gan, *batch(), one_call=asked)
    assert len(counts) == (WARM_UP + 2) * (1 if asked else 2)
    assert measured == []
    assert known_of(gan.discriminator, batch()[0]).steps == 0


class Timed(nn.Module):
    """A layer that takes as long as it is told, by a clock that nobody has to wait for."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        super().__init__()
        self.seconds, self.now = seconds, 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.now += self.seconds(len(x))
        return x


@pytest.mark.parametrize(
    ("seconds", "faster"),
    [
        (lambda n: 1.0, True),  # by the call
        (lambda n: float(n), False),  # by the sample: nothing is won
        (lambda n: 1 + n / 5, True),
        (lambda n: float(n * n), False),
    ],
)
def test_the_faster_form_wins(seconds, faster, monkeypatch):
    clock = Timed(seconds)
    gan = gan_with(nn.Linear(6, 1), clock)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    expected = [2] * (WARM_UP - 1) + [1 if faster else 2] * 3
    assert calls_of_d(gan, WARM_UP + 2, *batch()) == expected


def test_no_memory_for_one_call_is_no_reason_to_fail():
    class Full(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 5 and torch.is_grad_enabled():
                raise torch.OutOfMemoryError("full")
            return x

    assert calls_of_d(gan_with(nn.Linear(6, 1), Full()), WARM_UP + 1, *batch()) == [2] * 11


class Counting(nn.Module):
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x


@pytest.mark.parametrize("layer", [nn.Identity(), Counting(), nn.Dropout()])
def test_measuring_leaves_no_trace(layer):
    """Buffers, modes, gradients, random state; D's own hooks do not see it."""
    D = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8).eval(), layer, nn.Linear(8, 1))
    seen: list[int] = []
    D.register_forward_hook(lambda *_: seen.append(1))
    before, state = copy.deepcopy(D.state_dict()), torch.get_rng_state()
    modes, real = [m.training for m in D.modules()], batch()[0]
    for _ in range(WARM_UP):
        use_one_call(D, real, None)
    found = known_of(D, real).one_call
    assert found is not None if isinstance(layer, nn.Identity) else found is False
    assert all(torch.equal(before[name], value) for name, value in D.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [m.training for m in D.modules()]
    assert seen == []
    assert all(p.grad is None for p in D.parameters())
    assert real.grad is None
    assert not real.requires_grad


def test_what_is_remembered_keeps_no_net_alive(measured):
    gan = plain()
    calls_of_d(gan, WARM_UP, *batch())
    D = weakref.ref(gan.discriminator)
    measured.clear()
    del gan
    gc.collect()
    assert D() is None


# Where nothing is measured -----------------------------------------------------------------------


def under_record(gan: Gan) -> list[int]:
    with record(gan.nets, gan.optimizers) as rec:
        for _ in range(WARM_UP + 2):
            step_one_stage(gan, *batch())
    return [sum(f.net == "D" for f in rec.forwards) // (WARM_UP + 2)]


def under_a_counter(gan: Gan) -> list[int]:
    with FlopCounterMode(display=False):
        return calls_of_d(gan, WARM_UP + 2, *batch())


def deterministic(gan: Gan) -> list[int]:
    torch.use_deterministic_algorithms(True)
    try:
        return calls_of_d(gan, WARM_UP + 2, *batch())
    finally:
        torch.use_deterministic_algorithms(False)


def in_several_processes(gan: Gan) -> list[int]:
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        return calls_of_d(gan, WARM_UP + 2, *batch())
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "run", [under_record, under_a_counter, deterministic, in_several_processes]
)
def test_where_a_time_means_nothing_two_calls_stay(run, measured):
    gan = plain()
    assert set(run(gan)) == {2}
    assert measured == []
    step_one_stage(gan, *batch())  # afterwards it is made up for at once
    assert measured == [gan.discriminator]


def test_a_default_device_is_no_instrument(measured):
    torch.set_default_device("cpu")  # a mode of torch's that is always there afterwards
    try:
        calls_of_d(plain(), WARM_UP, *batch())
    finally:
        torch.set_default_device(None)
    assert len(measured) == 1


@pytest.mark.parametrize("part", [False, True])
def test_a_compiled_discriminator_keeps_two_calls(part, measured):
    """Another batch size would make the compiler start again."""
    gan: Any = plain()
    net = gan.discriminator[0] if part else gan.discriminator
    net.compile(backend="eager")
    for _ in range(WARM_UP + 2):
        assert not use_one_call(gan.discriminator, batch()[0], None)
    assert measured == []


@pytest.mark.parametrize("layer", [nn.Dropout(), spectral_norm(nn.Linear(6, 6)), Counting()])
def test_a_discriminator_that_is_not_the_same_twice_keeps_two_calls(layer, measured):
    gan = gan_with(layer, nn.Linear(6, 1))
    assert calls_of_d(gan, WARM_UP + 2, *batch()) == [2] * (WARM_UP + 2)
    assert measured == []
    step_one_stage(gan, *batch(), one_call=True)  # whoever asks for it may have it


class ByPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.linspace(0.5, 2, len(x))[:, None]


class BySize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / len(x)


class FirstHalf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x[:5], 2 * x[5:]))


@pytest.mark.parametrize("layer", [ByPlace(), BySize(), FirstHalf()])
def test_a_discriminator_that_looks_at_place_or_size_keeps_two_calls(layer, measured):
    gan = gan_with(nn.Linear(6, 8), layer, nn.Linear(8, 1))
    assert calls_of_d(gan, WARM_UP + 2, *batch()) == [2] * (WARM_UP + 2)
    assert measured == []
    before = [p.clone() for net in gan.nets.values() for p in net.parameters()]
    with pytest.raises(ValueError, match="gives other predictions than a call for each"):
        step_one_stage(gan, *batch(), one_call=True)
    after = [p for net in gan.nets.values() for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_mlp_of_some_size_is_measured_for_real():
    """Whatever is found: it is one of the two, and both are exact (tests/test_leaner.py)."""
    gan = mlp_gan((6,), 4, (8,), (8,), logits=True)
    found = calls_of_d(gan, WARM_UP + 2, *batch())
    assert found[: WARM_UP - 1] == [2] * (WARM_UP - 1)
    assert set(found[WARM_UP - 1 :]) in ({1}, {2})
