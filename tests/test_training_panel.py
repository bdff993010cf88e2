"""The panel without a browser: a loop, real steps, and what each button does to them."""

import asyncio
import os
import signal

import numpy as np
import pytest
import torch

from gan_lessons import STRATEGIES, data, mlp_gan, tiny_gan
from gan_lessons.classroom import plot_history, training_panel
from gan_lessons.steps import step_detach, step_generator_first
from gan_lessons.train import History, train
from gan_lessons.training import Training

RING = data.ring(200)


def panel_of(gan=None, **options):
    return training_panel(Training(gan or tiny_gan(), RING, step_detach), **options)


async def until(true, seconds=60.0):
    """Others have their turn until it is so."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def ended(panel):
    await until(lambda: panel._task is None)


def test_start_pause_and_go_on():
    async def scene():
        panel = panel_of()
        assert not panel.is_running
        panel.start()
        panel.start()  # twice is once
        await until(lambda: panel.training.steps >= 3)
        assert panel.is_running
        panel.pause()
        steps = panel.training.steps
        await ended(panel)
        await asyncio.sleep(0.1)
        assert panel.training.steps == steps
        assert "Paused after" in panel.status.value
        panel.start()
        await until(lambda: panel.training.steps > steps)
        panel.close()
        await ended(panel)

    asyncio.run(scene())


def test_one_step_is_one_step_and_the_same_as_by_hand():
    async def scene(panel):
        for number in (1, 2):
            panel.one_step()
            await ended(panel)
            assert panel.training.steps == number

    gan, by_hand = tiny_gan(), tiny_gan()
    panel = panel_of(gan)
    asyncio.run(scene(panel))
    history = train(by_hand, RING, step_detach, steps=2, progress=False)
    assert panel.training.history == history
    for ours, theirs in zip(
        gan.generator.parameters(), by_hand.generator.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_strategy_and_rates_change_while_it_runs():
    async def scene():
        panel = panel_of()
        panel.start()
        await until(lambda: panel.training.steps >= 2)
        panel.menu.label = STRATEGIES["generator_first"].title
        panel.rates["G"].value = 0.01
        assert panel.is_running
        assert panel.training.step is step_generator_first
        rates = [o.param_groups[0]["lr"] for o in panel.training.gan.optimizers.values()]
        assert rates == [pytest.approx(0.01), 0.1]
        steps = panel.training.steps
        await until(lambda: panel.training.steps > steps)
        panel.pause()
        await ended(panel)
        assert STRATEGIES["generator_first"].title in panel.status.value

    asyncio.run(scene())


def test_a_panel_changes_nothing_until_it_is_used():
    gan = mlp_gan(lr=3e-4)
    training_panel(Training(gan, data.digits(), step_detach))
    assert [o.param_groups[0]["lr"] for o in gan.optimizers.values()] == [3e-4, 3e-4]


def test_two_never_train_at_once():
    async def scene():
        gan = tiny_gan()
        first, second = panel_of(gan), panel_of(gan)
        first.start()
        await until(lambda: first.training.steps >= 2)
        second.start()
        steps = first.training.steps
        await until(lambda: second.training.steps >= 3)
        assert first.training.steps == steps
        third = panel_of(gan)  # the cell was run again
        assert not second.is_running
        await ended(second)
        third.close()

    asyncio.run(scene())


def test_it_stops_at_its_limit():
    async def scene():
        panel = panel_of(limit=7)
        panel.start()
        await ended(panel)
        assert panel.training.steps == 7

    asyncio.run(scene())
    with pytest.raises(ValueError, match="limit=0; it must be at least 1"):
        panel_of(limit=0)


def test_the_random_numbers_and_the_modes_are_put_back_between_slices():
    async def scene():
        gan = tiny_gan()
        gan.generator.eval()
        panel, state = panel_of(gan), torch.get_rng_state()
        panel.start()
        await until(lambda: panel.training.steps >= 3)
        assert torch.equal(torch.get_rng_state(), state)
        assert not gan.generator.training
        panel.pause()
        await ended(panel)

    asyncio.run(scene())


def test_what_a_step_raises_is_shown_and_pauses():
    def broken(gan, real, noise):
        raise ValueError("<no> such batch")

    async def scene():
        panel = training_panel(Training(tiny_gan(), RING, broken))
        panel.start()
        await ended(panel)
        assert "ValueError: &lt;no&gt; such batch" in panel.status.value
        assert not panel.is_running
        panel.menu.label = STRATEGIES["detach"].title
        panel.one_step()
        await ended(panel)
        assert "Paused after 1 steps" in panel.status.value

    asyncio.run(scene())


def test_the_stop_button_pauses_at_the_end_of_a_step_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)

    async def scene():
        panel = panel_of()
        panel.start()
        await until(lambda: panel.training.steps >= 2)
        os.kill(os.getpid(), signal.SIGINT)
        await ended(panel)
        assert "Paused" in panel.status.value

    asyncio.run(scene())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stop_in_the_middle_of_a_step_lets_the_step_end():
    def stopped(gan, real, noise):
        os.kill(os.getpid(), signal.SIGINT)
        return step_detach(gan, real, noise)

    async def scene():
        panel = training_panel(Training(tiny_gan(), RING, stopped))
        panel.start()
        await ended(panel)
        assert panel.training.steps == 1
        assert "Paused after 1 steps" in panel.status.value

    asyncio.run(scene())


def test_without_a_loop_it_says_so():
    panel = panel_of()
    with pytest.raises(RuntimeError, match="use train"):
        panel.start()
    assert not panel.is_running


def test_a_picture_beside_the_losses_and_a_still_for_pages(monkeypatch):
    seen = []
    for name in ("figure", "gcf", "gca"):  # pyplot's current figure is somebody else's
        monkeypatch.setattr(f"matplotlib.pyplot.{name}", lambda *_, **__: pytest.fail("pyplot"))

    async def scene():
        panel = panel_of(picture=lambda axes, gan: seen.append((axes, gan)))
        panel.one_step()
        await ended(panel)
        return panel

    panel = asyncio.run(scene())
    axes, gan = seen[-1]
    assert gan is panel.training.gan
    assert axes.figure.axes[1] is axes
    assert bytes(panel.image.value).startswith(b"\x89PNG")
    bundle = panel._repr_mimebundle_()
    assert 'src="data:image/png;base64,' in bundle["text/html"]
    assert "Paused after 1 steps" in bundle["text/plain"]


def test_plot_history_says_what_it_shows():
    history = train(tiny_gan(), RING, step_detach, steps=12, progress=False)
    chart = plot_history(history)
    drawn = [np.asarray(line.get_ydata()).tolist() for line in chart.figure.axes[0].lines]
    assert drawn == [history.d_loss, history.g_loss]
    told = f"12 steps; loss of D from {history.d_loss[0]:.3f} to {history.d_loss[-1]:.3f} nats"
    assert told in chart.text
    assert "stopped" not in chart.text
    assert "stopped by hand" in plot_history(History([1.0], [2.0], interrupted=True)).text
    with pytest.raises(ValueError, match="without a step"):
        plot_history(History())
