"""Pictures of training as motion: paths in the plane of weights, eigenvalues, the ring."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gan_lessons.classroom.figures import COLOURS, DASHES, MARKERS, Chart
from gan_lessons.classroom.frames import Frame
from gan_lessons.extras import installed_for
from gan_lessons.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Nets = tuple[nn.Module, nn.Module]
PATH = "{name}: radius {first:.3g} at the start, {last:.3g} after {steps} steps"
LOSSES = (
    "{steps:,} steps; loss of D from {d_first:.3f} to {d_last:.3f} nats, "
    "of G from {g_first:.3f} to {g_last:.3f}."
)
STOPPED = "It was stopped by hand."
EIGENVALUES = "{name}: eigenvalues of size {sizes}"


def _figure(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    with installed_for("this figure"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    return figure, list(axes)


def draw_paths(axes: Axes, paths: Mapping[str, Tensor]) -> list[str]:
    """Paths (steps + 1, 2) around the rest at (0, 0); their radii in words."""
    told = []
    looks = zip(cycle(COLOURS), cycle(DASHES), cycle(MARKERS))
    for (name, points), (colour, dash, marker) in zip(paths.items(), looks, strict=False):
        axes.plot(*points.T, dash, color=colour, label=name, linewidth=1.6)
        axes.plot(*points[-1], marker, color=colour, markersize=9)
        first, *_, last = points.norm(dim=1).tolist()
        told.append(PATH.format(name=name, first=first, last=last, steps=len(points) - 1))
    axes.plot(0, 0, "+", color="#222", markersize=14, markeredgewidth=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("theta: where G puts its point", fontsize="x-large")
    axes.set_ylabel("psi: the slope of D", fontsize="x-large")
    axes.tick_params(labelsize="large")
    axes.legend(loc="upper right", fontsize="x-large")
    return told


def phase_portrait(paths: Mapping[str, Tensor], title: str = "") -> Chart:
    """Where the two weights of a Dirac-GAN go. paths: name -> (steps + 1, 2)."""
    figure, (axes,) = _figure(6.4, 5)
    axes.set_title(title, fontsize="x-large")
    return Chart(figure, "\n".join([title, *draw_paths(axes, paths)]).strip())


def phase_frame(paths: Mapping[str, Tensor], limit: float) -> Frame:
    """The same as a frame, with axes that reach from -limit to limit."""
    figure, (axes,) = _figure(6.6, 6)
    told = draw_paths(axes, paths)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set_aspect("equal", adjustable="box")
    return Frame.of(figure, "; ".join(told))


def eigenvalue_plane(eigenvalues: Mapping[str, Tensor]) -> Chart:
    """Eigenvalues of an update (complex, any number) and the unit circle: outside, errors grow."""
    figure, (axes,) = _figure(5.2, 4.6)
    turn = torch.linspace(0, 2 * torch.pi, 200)
    axes.plot(turn.cos(), turn.sin(), color="#555", linewidth=1)
    told = []
    for (name, values), colour, marker in zip(
        eigenvalues.items(), cycle(COLOURS), cycle(MARKERS), strict=False
    ):
        flat = values.flatten()
        axes.plot(
            flat.real, flat.imag, marker, color=colour, label=name, fillstyle="none", markersize=9
        )
        sizes = ", ".join(f"{size:.4f}" for size in flat.abs().unique().tolist())
        told.append(EIGENVALUES.format(name=name, sizes=sizes))
    axes.set_aspect("equal")
    axes.set_xlabel("real part", fontsize="x-large")
    axes.set_ylabel("imaginary part", fontsize="x-large")
    axes.legend(frameon=False, loc="center", fontsize="x-large")  # inside, where no value is
    return Chart(figure, "\n".join(told))


def draw_ring(axes: Axes, nets: Nets, real: Tensor, noise: Tensor, arrows: int = 60) -> None:
    """Real points, fakes, D's judgement as shading, and at some fakes the way G is pushed.

    nets: generator and discriminator on points in the plane, D giving logits. real, noise: (n, 2).
    """
    G, D = nets
    grid = torch.linspace(-1.3, 1.3, 60)
    x, y = torch.meshgrid(grid, grid, indexing="xy")
    with torch.no_grad():
        judged = D(torch.stack([x.flatten(), y.flatten()], 1)).sigmoid()
        fake = G(noise)
    axes.contourf(x, y, judged.view_as(x), levels=12, cmap="PuOr", alpha=0.5, vmin=0, vmax=1)
    axes.plot(*real.T, ".", color="#222", markersize=3, label="real")
    axes.plot(*fake.T, "x", color=COLOURS[0], markersize=4, label="fake")
    some = fake[:arrows].clone().requires_grad_()
    nn.functional.softplus(-D(some)).sum().backward(inputs=[some])
    assert some.grad is not None
    push = -some.grad
    axes.quiver(*some.detach().T, *push.T, color=COLOURS[1], width=0.005, angles="xy")
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), xticks=[], yticks=[])
    axes.set_aspect("equal")


def draw_losses(axes: Axes, history: History) -> None:
    """Both losses over the steps."""
    axes.plot(history.d_loss, DASHES[0], color=COLOURS[0], label="loss of D", linewidth=1.4)
    axes.plot(history.g_loss, DASHES[1], color=COLOURS[1], label="loss of G", linewidth=1.4)
    axes.set(xlabel="step", ylabel="loss (nats)")
    axes.legend(loc="upper right")


def plot_history(history: History) -> Chart:
    """What `train` returns, drawn. They are no score: each is measured against the other player.

    Raises ValueError where no step was taken.
    """
    if not history.d_loss:
        raise ValueError("plot_history() got a history without a step")
    figure, (axes,) = _figure(6.4, 3.4)
    draw_losses(axes, history)
    told = LOSSES.format(
        steps=len(history.d_loss), d_first=history.d_loss[0], d_last=history.d_loss[-1],
        g_first=history.g_loss[0], g_last=history.g_loss[-1],
    )  # fmt: skip
    return Chart(figure, f"{told} {STOPPED}" if history.interrupted else told)


def ring_frame(shown: Mapping[str, tuple[Nets, str]], real: Tensor, noise: Tensor) -> Frame:
    """GANs side by side at one moment of their training. shown: name -> ((G, D), what to say)."""
    figure, panels = _figure(4.8 * len(shown), 5.5, len(shown))
    told = [f"{name}: {text}" for name, (_, text) in shown.items()]
    for axes, (name, (nets, text)) in zip(panels, shown.items(), strict=True):
        draw_ring(axes, nets, real, noise)
        axes.set_title(f"{name}\n{text}", fontsize="x-large")
    panels[0].legend(loc="upper right", fontsize="large")
    return Frame.of(figure, "; ".join(told))
