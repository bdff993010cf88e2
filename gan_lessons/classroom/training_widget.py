"""A panel that trains while one looks: start, pause, one step, another strategy, another rate.

    panel = training_panel(Training(gan, images), picture=...)
    panel                               # in a cell of its own

The steps are taken on the kernel's own event loop, in slices of a twentieth of a second. So cells
run in between, never during a step; there is no second thread, and the global random numbers and
the nets' modes are back after every slice. One panel trains at a time.
"""

from __future__ import annotations

import asyncio
import html
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ipywidgets

from gan_lessons.arguments import require, require_whole
from gan_lessons.classroom.dynamics_figures import draw_losses
from gan_lessons.classroom.frames import Frame
from gan_lessons.gan import Gan
from gan_lessons.strategies import STRATEGIES, Step
from gan_lessons.training import Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SLICE = 0.05  # seconds of steps, then others have their turn
TURN = 0.01  # seconds for the others
DRAWING_SHARE = 5  # of the time, at most one part in so many goes into pictures
READY = "Not begun."
TOLD = "{state} after {steps:,} steps with {step}. Loss of D {d:.3f}, of G {g:.3f} (nats)."
NOT_LIVE = "Here stands what it showed last. In JupyterLab, with a kernel, it trains."
NO_LOOP = "a panel trains on the event loop of a notebook; where there is none, use train()"


class TrainingPanel(ipywidgets.VBox):
    """Buttons, a menu of strategies, learning rates and a live picture around a ``Training``.

    start(), pause() and one_step() are what the buttons do; close() ends it for good. The kernel's
    stop button pauses it at the end of the step. What a step raises is shown, and pauses as well.
    """

    def __init__(
        self,
        training: Training,
        picture: Callable[[Axes, Gan], object] | None,
        strategies: Mapping[str, Step],
        limit: int,
    ) -> None:
        self.training, self.picture, self.limit = training, picture, limit
        self._wanted = 0  # steps that are still to be taken
        self._task: asyncio.Task[None] | None = None
        self._text, self._drawn, self._next_drawing = READY, -1, 0.0
        buttons = {"Start": self.start, "Pause": self.pause, "One step": self.one_step}
        self.buttons = {name: ipywidgets.Button(description=name) for name in buttons}
        for name, act in buttons.items():
            self.buttons[name].on_click(lambda _, act=act: act())
        self.menu = ipywidgets.Dropdown(
            options=list(strategies.items()), value=training.step, description="Strategy"
        )
        self.menu.observe(self._switch, "value")
        self.rates = {net: self._rate_slider(net) for net in training.gan.nets}
        self.status, self.image = ipywidgets.HTML(), ipywidgets.Image(format="png")
        rows = [self.buttons.values(), [self.menu, *self.rates.values()]]
        wrap = ipywidgets.Layout(flex_flow="row wrap")
        boxes = [ipywidgets.HBox(list(row), layout=wrap) for row in rows]
        super().__init__([*boxes, self.status, self.image])
        self._show("Ready")

    # What people do ---------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        return self._wanted > 0

    def start(self) -> None:
        """Train until somebody pauses it, or up to the limit."""
        self._go(self.limit)

    def one_step(self) -> None:
        """Take one step, and wait."""
        self._go(1)

    def pause(self) -> None:
        """Take no further step. It can go on later."""
        self._wanted = 0

    def close(self) -> None:
        """Stop, and take the widget off the page."""
        self.pause()
        super().close()

    def _switch(self, change: Mapping[str, Any]) -> None:
        self.training.step = change["new"]

    def _rate_slider(self, net: str) -> ipywidgets.FloatLogSlider:
        groups = self.training.gan.optimizers[net].param_groups
        exponent = math.floor(math.log10(max(groups[0]["lr"], 1e-12)))
        slider = ipywidgets.FloatLogSlider(
            value=groups[0]["lr"], min=exponent - 2, max=exponent + 3, step=0.1,
            description="Rate of " + net, readout_format=".2g",
        )  # fmt: skip

        def moved(change: Mapping[str, Any]) -> None:
            for group in groups:
                group["lr"] = change["new"]

        slider.observe(moved, "value")
        return slider

    # The training itself ----------------------------------------------------------------------

    def _go(self, steps: int) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise RuntimeError(NO_LOOP) from error
        _make_way_for(self)
        self._wanted = steps
        if self._task is None:
            self._task = loop.create_task(self._run())
            self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        with _interrupts_call(self.pause):
            while self.is_running:
                with _interrupts_call(self.pause):  # also under an async cell that waits
                    self._slice()
                    self._draw_sometimes()
                await asyncio.sleep(TURN)
        self._show("Paused")

    def _slice(self) -> None:
        end = time.perf_counter() + SLICE
        with self.training.running():
            while self.is_running and time.perf_counter() < end:
                self._wanted -= 1
                self.training.advance()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task, self._wanted = None, 0
        if not task.cancelled() and (error := task.exception()) is not None:
            self._say(f"{type(error).__name__}: {error}")

    # What they see ----------------------------------------------------------------------------

    def _draw_sometimes(self) -> None:
        start = time.perf_counter()
        if start >= self._next_drawing:
            self._show("Training")
            now = time.perf_counter()
            self._next_drawing = now + max(0.5, DRAWING_SHARE * (now - start))

    def _show(self, state: str) -> None:
        history, text = self.training.history, READY
        if history.d_loss:
            text = TOLD.format(
                state=state, steps=self.training.steps, step=self.menu.label,
                d=history.d_loss[-1], g=history.g_loss[-1],
            )  # fmt: skip
        self._say(text)
        self._draw()

    def _say(self, text: str) -> None:
        self._text = text
        self.status.value = '<span role="status">{}</span>'.format(html.escape(text))

    def _draw(self) -> None:
        if self._drawn == self.training.steps:
            return
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9.5 if self.picture else 6.4, 4), layout="constrained")
        axes = figure.subplots(1, 2 if self.picture else 1, squeeze=False)[0]
        draw_losses(axes[0], self.training.history)
        if self.picture is not None:
            self.picture(axes[1], self.training.gan)
        self.image.value = Frame.of(figure, self._text).png
        self._drawn = self.training.steps

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = Frame(self.image.value, self._text)
        still = '<p>{told} {note}</p><img src="{address}" alt="{told}" style="max-width:100%">'
        shown = still.format(told=html.escape(self._text), note=NOT_LIVE, address=picture.address)
        return {**bundle, "text/plain": self._text, "text/html": shown}


_latest: list[TrainingPanel] = []  # the one that may train


def _make_way_for(panel: TrainingPanel) -> None:
    """Pause the panel before it: a cell that is run again leaves none behind that trains unseen."""
    for other in _latest:
        if other is not panel:
            other.pause()
    _latest[:] = [panel]


@contextmanager
def _interrupts_call(act: Callable[[], None]) -> Iterator[None]:
    """Between cells a kernel ignores the stop button; inside, it calls ``act``.

    While a cell runs the button is the cell's: ipykernel puts a handler of its own over this one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only there signals arrive
        return
    active, before = True, signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: Any) -> None:
        if active:
            act()
        elif callable(before):
            before(number, frame)

    try:
        signal.signal(signal.SIGINT, handler)
        yield
    finally:
        active = False  # if it ends under a cell, that cell's end puts this handler back once more
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, before)


def training_panel(
    training: Training,
    picture: Callable[[Axes, Gan], object] | None = None,
    *,
    strategies: Mapping[str, Step] | None = None,
    limit: int = 20_000,
) -> TrainingPanel:
    """A panel for one training; its losses, and more, are in ``training.history`` at any time.

    picture: draws the gan beside the losses, ``picture(axes, gan)``; it must leave the gan as it
    is. strategies: name -> step, for the menu; left out: all of ``STRATEGIES``. The step that
    ``training`` has is added where it is missing. limit: steps, after which it pauses by itself.
    The sliders set the learning rate of all groups of an optimizer; schedules of the training go on
    from there. Raises TypeError for no Training, ValueError for a limit below 1.
    """
    require("training_panel", Training, "a Training(gan, data)", training=training)
    require_whole("training_panel", 1, limit=limit)
    steps = dict(strategies or {s.title: s.step for s in STRATEGIES.values()})
    if training.step not in steps.values():
        steps[getattr(training.step, "__name__", "this step")] = training.step
    panel = TrainingPanel(training, picture, steps, limit)
    _make_way_for(panel)
    return panel
