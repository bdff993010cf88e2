"""``same``: do two loops move the weights alike? ``terms``: which term trains which net?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn, optim

from gan_lessons import (
    same,
    step_detach,
    step_frozen,
    step_generator_first,
    step_one_stage,
    step_selective,
    terms,
    tiny_gan,
)

BATCHES = [(torch.randn(8, 2), torch.randn(8, 2)) for _ in range(3)]


@pytest.fixture
def gan():
    torch.manual_seed(0)
    return tiny_gan()


def looped(step: Callable[..., Any], gan: Any) -> Callable[[Any], None]:
    def loop(batches: Any) -> None:
        for real, noise in batches:
            step(gan, real, noise)

    return loop


def compare(gan: Any, one: Callable[..., Any], two: Callable[..., Any]) -> Any:
    return same(looped(one, gan), looped(two, gan), gan.nets, gan.optimizers, BATCHES)


def everything(gan: Any) -> list[Any]:
    nets = [gan.generator, gan.discriminator]
    state = [t.clone() for net in nets for t in net.state_dict().values()]
    return [*state, torch.get_rng_state(), *(p.requires_grad for n in nets for p in n.parameters())]


def test_freezing_changes_the_time_and_nothing_else(gan):
    found = compare(gan, step_generator_first, step_frozen)
    assert found.verdict == "bitwise"
    assert found
    assert {net.steps for net in found.nets.values()} == {(3, 3)}
    assert "equal to the last bit in 3 steps" in str(found)


def test_rounding_is_told_from_difference(gan):
    found = compare(gan, step_generator_first, step_one_stage)
    assert found.verdict == "rounding"
    assert found
    assert 0 < max(net.apart for net in found.nets.values()) < 1e-5
    assert compare(gan, step_generator_first, step_selective).verdict == "bitwise"


def test_a_swapped_turn_is_different_from_the_first_step_on(gan):
    found = compare(gan, step_generator_first, step_detach)
    assert found.verdict == "different"
    assert not found
    net = found.nets["G"]
    assert (net.what, net.step) == ("gradient", 1)
    assert net.cosine == pytest.approx(1, abs=0.1)
    assert net.length == pytest.approx(1, abs=0.2)
    assert all("steps.py:" in place for places in net.lines for place in places)
    assert net.lines[0] != net.lines[1]
    assert "opt_g.step()" in net.message


def test_the_reported_cosine_and_length_are_those_of_the_gradients():
    net = nn.Linear(2, 1, bias=False)
    optimizer = optim.SGD(net.parameters(), 0.1)

    def loop(gradient: torch.Tensor) -> Callable[[Any], None]:
        def run(batches: Any) -> None:
            for _ in batches:
                optimizer.zero_grad()
                (net.weight * gradient).sum().backward()
                optimizer.step()

        return run

    one, two = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 10.0]])
    found = same(loop(one), loop(two), {"net": net}, {"opt": optimizer}, [0, 0])
    assert found.nets["net"].cosine == pytest.approx(0.8)
    assert found.nets["net"].length == pytest.approx(2)


def test_a_difference_that_begins_later(gan):
    def late(batches: Any) -> None:
        for i, (real, noise) in enumerate(batches):
            (step_detach if i == 2 else step_generator_first)(gan, real, noise)

    found = same(looped(step_generator_first, gan), late, gan.nets, gan.optimizers, BATCHES)
    assert found.nets["G"].step == 3
    assert found.nets["D"].verdict == "bitwise"


def test_another_optimizer_setting_shows_in_the_weights(gan):
    def faster(batches: Any) -> None:
        for group in gan.optimizer_d.param_groups:
            group["lr"] *= 2
        looped(step_generator_first, gan)(batches)

    found = same(looped(step_generator_first, gan), faster, gan.nets, gan.optimizers, BATCHES[:1])
    assert found.nets["D"].what == "weights"
    assert found.nets["D"].length == pytest.approx(2, rel=1e-3)
    assert found.nets["G"].verdict == "bitwise"


def test_one_optimizer_or_two(gan):
    both = optim.SGD(
        [*gan.generator.parameters(), *gan.discriminator.parameters()],
        lr=0.1,
    )

    def joint(batches: Any) -> None:
        for real, noise in batches:
            fake = gan.generator(noise)
            both.zero_grad()
            ones = torch.ones(len(real), 1)
            gan.loss(gan.discriminator(fake), ones).backward(
                inputs=list(gan.generator.parameters())
            )
            d_loss = gan.loss(gan.discriminator(real), ones)
            d_loss = (d_loss + gan.loss(gan.discriminator(fake.detach()), 0 * ones)) / 2
            d_loss.backward()
            both.step()

    optimizers = {**gan.optimizers, "both": both}
    found = same(looped(step_generator_first, gan), joint, gan.nets, optimizers, BATCHES)
    assert found, str(found)


def test_the_number_of_steps(gan):
    def twice(batches: Any) -> None:
        looped(step_generator_first, gan)(batches)
        looped(step_generator_first, gan)(batches)

    found = same(looped(step_generator_first, gan), twice, gan.nets, gan.optimizers, BATCHES)
    assert found.nets["G"].what == "count"
    assert found.nets["G"].steps == (3, 6)


def test_what_moves_without_a_step(gan):
    def clipped(batches: Any) -> None:
        looped(step_generator_first, gan)(batches)
        with torch.no_grad():
            for p in gan.discriminator.parameters():
                p.clamp_(-0.01, 0.01)

    found = same(looped(step_generator_first, gan), clipped, gan.nets, gan.optimizers, BATCHES)
    assert found.nets["D"].what == "afterwards"


def test_random_numbers_and_running_statistics_are_equal_for_both():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 1))
    optimizer = optim.Adam(net.parameters())

    def loop(batches: Any) -> None:
        for batch in batches:
            optimizer.zero_grad()
            net(batch + torch.randn_like(batch)).mean().backward()
            optimizer.step()

    def once_more(batches: Any) -> None:
        loop(batches)
        net(batches[0])

    batches = [torch.randn(8, 2) for _ in range(2)]
    assert same(loop, loop, {"net": net}, {"opt": optimizer}, batches).verdict == "bitwise"
    found = same(loop, once_more, {"net": net}, {"opt": optimizer}, batches)
    assert found.verdict == "bitwise"
    assert not found.nets["net"].buffers
    assert "running statistics" in str(found)


def test_everything_is_put_back(gan):
    def fails(batches: Any) -> None:
        step_detach(gan, *batches[0])
        gan.discriminator.requires_grad_(False)
        gan.generator.eval()
        batches[0][0].zero_()
        raise KeyboardInterrupt

    gan = replace(gan, optimizer_d=optim.Adam(gan.discriminator.parameters()))
    before, kept = everything(gan), [b[0].clone() for b in BATCHES]
    next(gan.generator.parameters()).grad = torch.ones(3, 2)
    with pytest.raises(KeyboardInterrupt):
        same(looped(step_frozen, gan), fails, gan.nets, gan.optimizers, BATCHES)
    after = everything(gan)
    equal = (
        torch.equal(a, b) if torch.is_tensor(a) else a == b
        for a, b in zip(before, after, strict=True)
    )
    assert all(equal)
    assert gan.generator.training
    assert gan.optimizer_d.state_dict()["state"] == {}
    assert next(gan.generator.parameters()).grad.eq(1).all()
    assert all(torch.equal(b[0], was) for b, was in zip(BATCHES, kept, strict=True))


def test_bad_input_is_refused(gan):
    loop = looped(step_detach, gan)
    with pytest.raises(
        TypeError, match=r"same\(\) got loop_b=3, of type int; expected a function of the batches"
    ):
        same(loop, 3, gan.nets, gan.optimizers, BATCHES)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no batches"):
        same(loop, loop, gan.nets, gan.optimizers, [])
    with pytest.raises(TypeError, match="expected a dict of names"):
        same(loop, loop, [gan.generator], gan.optimizers, BATCHES)  # type: ignore[arg-type]


# terms --------------------------------------------------------------------------------------------


def losses(gan: Any, target: float) -> dict[str, torch.Tensor]:
    """The terms of both players, with the label that G's loss gives to fakes."""
    real, fake = torch.randn(8, 2), gan.generator(torch.randn(8, 2))
    ones = torch.ones(8, 1)
    return {
        "real": gan.loss(gan.discriminator(real), ones),
        "fake": gan.loss(gan.discriminator(fake.detach()), 0 * ones),
        "adversarial": gan.loss(gan.discriminator(fake), target * ones),
        "pixels": 10 * (fake - real).abs().mean(),
    }


def test_terms_agree_with_autograd(gan):
    found = losses(gan, 1.0)
    told = terms(found, gan.nets)
    for name, loss in found.items():
        for net, module in gan.nets.items():
            parameters = list(module.parameters())
            grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            flat = [g.flatten() for g in grads if g is not None]
            want = float(torch.cat(flat).norm()) if flat else None
            assert told.norms[name][net] == (want if want is None else pytest.approx(want))
    assert told.norms["fake"]["G"] is None
    assert told.norms["pixels"]["D"] is None
    assert sum(row["G"] for row in told.shares.values()) == pytest.approx(1)
    assert told.warnings == ()
    assert "adversarial" in str(told)
    assert all(p.grad is None for net in gan.nets.values() for p in net.parameters())
    torch.stack(list(found.values())).sum().backward()


def test_two_players_that_pull_the_same_way(gan):
    (warning,) = terms(losses(gan, 0.0), gan.nets).warnings
    assert "fake, which trains D alone, and adversarial, which trains G through D" in warning


def test_a_term_that_trains_nobody(gan):
    free = torch.ones(1, requires_grad=True)
    told = terms({"free": free.sum(), **losses(gan, 1.0)}, gan.nets)
    assert told.warnings == ("free trains none of these nets.",)


def test_bad_terms_are_refused(gan):
    loss = losses(gan, 1.0)["real"]
    with pytest.raises(TypeError, match="expected a dict of names with a Tensor each"):
        terms([loss], gan.nets)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'x' of shape \\(\\) without a graph"):
        terms({"x": loss.detach()}, gan.nets)
    with pytest.raises(ValueError, match="of shape \\(2,\\) with a graph"):
        terms({"x": loss * torch.ones(2)}, gan.nets)
    with pytest.raises(ValueError, match="no nets"):
        terms({"x": loss}, {})


def test_an_interrupt_while_all_is_put_back_puts_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = tiny_gan()
    before, batch = copy.deepcopy(gan.generator.state_dict()), (torch.ones(4, 2), torch.ones(4, 2))
    put_back, late = torch.set_rng_state, [KeyboardInterrupt()]

    def interrupted(state: torch.Tensor) -> None:
        if late:
            raise late.pop()
        put_back(state)

    def loop(batches: Any) -> None:
        step_detach(gan, *batches[0])
        monkeypatch.setattr(torch, "set_rng_state", interrupted)
        torch.set_grad_enabled(False)
        raise ValueError("of the loop")

    drawn = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        same(loop, loop, gan.nets, gan.optimizers, [batch])
    monkeypatch.undo()
    assert torch.is_grad_enabled()
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in gan.generator.state_dict().items())
