"""The cost lab: sliders for the sizes of G and D, and the bars of all strategies move.

Every bar is counted while a real step runs, on MLPs of these sizes; nothing is looked up.
"""

from __future__ import annotations

import html
from functools import cache
from typing import Any

from gan_lessons import data
from gan_lessons.classroom import words
from gan_lessons.factories import mlp_gan
from gan_lessons.lens.cost import counted_flops, flops_text
from gan_lessons.strategies import STRATEGIES

WIDTHS = (16, 32, 64, 128, 256, 512)
SAMPLE, NOISE = 64, 32  # values of one sample (8 x 8 pixels) and of its noise
BATCH = 64
# A bar is told by its label and its number too; the leaner steps are hatched as well.
_PLAIN = "#0072B2"
_LEAN = "repeating-linear-gradient(135deg,#009E73 0 6px,#33b591 6px 12px)"
_LEANER = {"frozen", "selective", "one_stage"}


def sizes(width_g: int, width_d: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Units of G and of D, layer by layer: two hidden layers each."""
    return (NOISE, width_g, width_g, SAMPLE), (SAMPLE, width_d, width_d, 1)


@cache
def counted(width_g: int, width_d: int, batch: int = BATCH) -> dict[str, int]:
    """FLOPs of one step of every strategy, by its key, counted on MLPs of these hidden widths."""
    found = {}
    for key, strategy in STRATEGIES.items():
        gan = mlp_gan((1, 8, 8), NOISE, (width_g,) * 2, (width_d,) * 2)
        real, noise = data.noise(batch, (1, 8, 8), seed=1), data.noise(batch, (NOISE,), seed=2)
        strategy.step(gan, real, noise)  # what happens only once is no cost of a step
        with counted_flops(gan.nets) as flops:
            strategy.step(gan, real, noise)
        found[key] = sum(sum(phases.values()) for phases in flops.values())
    return found


def bars(width_g: int, width_d: int) -> tuple[str, str]:
    """The bars as HTML, and the same as text."""
    flops = counted(width_g, width_d)
    base, most = flops["generator_first"], max(flops.values())
    title = words.COST_BARS.format(batch=BATCH, g=f"2 x {width_g}", d=f"2 x {width_d}")
    left = 'style="text-align:left;white-space:nowrap;padding:1px 12px 1px 2px"'
    heads = "".join(f'<th scope="col" {left}>{head}</th>' for head in words.COST_COLUMNS)
    lines, rows = [title], [f"<tr>{heads}</tr>"]
    for key, count in flops.items():
        name, ratio = STRATEGIES[key].title, f"{count / base:.3f}"
        lines.append(words.COST_BAR.format(title=name, flops=flops_text(count), ratio=ratio))
        paint = _LEAN if key in _LEANER else _PLAIN
        bar = f'<div style="width:{100 * count / most:.1f}%;background:{paint};height:1.2em"></div>'
        rows.append(
            f'<tr><th scope="row" {left}>{html.escape(name)}</th>'
            f'<td style="width:22em">{bar}</td><td {left}>{flops_text(count)}</td>'
            f"<td {left}>{ratio}</td></tr>"
        )
    difference = flops["retain_graph"] - base
    names = [STRATEGIES[key].title for key in ("retain_graph", "generator_first")]
    cheaper = words.COST_EQUAL if difference == 0 else names[difference > 0]
    told = words.COST_CROSSOVER.format(
        difference=f"{'-' * (difference < 0)}{flops_text(abs(difference))}", cheaper=cheaper
    )
    page = f"<p><strong>{title}</strong></p><table><tbody>{''.join(rows)}</tbody></table>"
    return f"{page}<p>{html.escape(told)}</p>", "\n".join([*lines, told])


class CostLab:
    """Two sliders and the bars. Shown in a notebook; without a kernel, as its first state."""

    def __init__(self, width_g: int = 64, width_d: int = 64) -> None:
        """width_g, width_d: one of WIDTHS each. Raises ValueError for another."""
        for width in (width_g, width_d):
            if width not in WIDTHS:
                raise ValueError(f"a width must be one of {WIDTHS}, got {width}")
        import ipywidgets

        self._page = ipywidgets.HTML()
        self.sliders = {
            net: ipywidgets.SelectionSlider(
                options=WIDTHS,
                value=width,
                description=words.COST_WIDTH.format(net=net),
                continuous_update=False,
                style={"description_width": "initial"},
            )
            for net, width in (("G", width_g), ("D", width_d))
        }
        for slider in self.sliders.values():
            slider.observe(self._moved, "value")
        self._moved()
        self.view = ipywidgets.VBox([*self.sliders.values(), self._page])

    @property
    def widths(self) -> tuple[int, int]:
        return self.sliders["G"].value, self.sliders["D"].value

    def _moved(self, _: Any = None) -> None:
        self._page.value = bars(*self.widths)[0]

    def __repr__(self) -> str:
        return bars(*self.widths)[1]

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        page, text = bars(*self.widths)
        bundle = self.view._repr_mimebundle_(**options) or {}
        return {**bundle, "text/html": page, "text/plain": text}
