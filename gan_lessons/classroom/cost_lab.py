"""The cost lab: two sliders for the sizes of the nets, and the price of every strategy.

    cost_lab()                          # the three strategies of the article
    cost_lab(*STRATEGIES)               # all there are

Every number was counted, for every pair of widths, when it was made. Afterwards it needs no kernel.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from torch.optim import SGD

from gan_lessons import data
from gan_lessons.classroom import cost_words as words
from gan_lessons.classroom.explorer import boot_script
from gan_lessons.gan import Gan, seeded
from gan_lessons.lens.cost_table import flops_text
from gan_lessons.lens.flops import Work, counting
from gan_lessons.lens.formula import PASSES, NetFlops, written_out
from gan_lessons.models import Discriminator, Generator
from gan_lessons.strategies import STRATEGIES, THREE, Step

_STATIC = Path(__file__).with_name("static")
_MODULE = "\n".join(
    (_STATIC / name).read_text(encoding="utf-8") for name in ("page.js", "cost_lab.js")
)
WIDTHS = (16, 32, 64, 128, 256, 512)
SHAPE, NOISE_DIM = (1, 8, 8), 32  # the digits, as in the other lessons
VALUES = 64  # per image
PARTS = (("G", "forward"), ("G", "backward"), ("D", "forward"), ("D", "backward"))


class CostLab(anywidget.AnyWidget):
    """FLOPs of each strategy as bars, for the widths that two sliders choose.

    strategy: the one that is highlighted, to be linked with other widgets by ``jslink``; index: its
    place among those shown. width_g, width_d: places in ``data["widths"]``.
    group: views of one exported page that share it follow each other.
    """

    _esm = _MODULE
    data = traitlets.Dict().tag(sync=True)
    strategy = traitlets.Unicode("").tag(sync=True)
    index = traitlets.Int(-1).tag(sync=True)
    width_g = traitlets.Int(0).tag(sync=True)
    width_d = traitlets.Int(0).tag(sync=True)

    def __init__(self, group: str = "", **traits: Any) -> None:
        super().__init__(**traits)
        self.group = group

    @traitlets.observe("strategy", "index")
    def _agree(self, change: Any) -> None:
        order = self.data.get("order", [])
        if change["name"] == "strategy" and self.strategy in order:
            self.index = order.index(self.strategy)
        elif change["name"] == "index" and 0 <= self.index < len(order):
            self.strategy = order[self.index]

    def flops(self, strategy: str, width_g: int, width_d: int) -> dict[tuple[str, str], int]:
        """(net, phase) -> FLOPs counted for layers of these widths."""
        widths = self.data["widths"]
        counted = self.data["flops"][strategy][widths.index(width_g)][widths.index(width_d)]
        return dict(zip(PARTS, counted, strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(self.data["titles"].values())
        widths = [self.data["widths"][i] for i in (self.width_g, self.width_d)]
        return f"CostLab({shown}; G {widths[0]} wide, D {widths[1]} wide)"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live widget, and the same page for exporters and for those who have no kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        shown, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(shown or {}), "text/plain": repr(self), "text/html": self.to_html()}, metadata

    def to_html(self) -> str:
        """A fragment that works in any page, from disk, with no network; and without scripts."""
        state = {name: getattr(self, name) for name in ("strategy", "width_g", "width_d")}
        payload = json.dumps({"data": self.data, "state": state}, separators=(",", ":"))
        payload = payload.replace("<", "\\u003c")
        group = f' data-gl-group="{html.escape(self.group)}"' if self.group else ""
        return (
            f'<div class="gl-cost-lab mathjax_ignore tex2jax_ignore" data-gl-cost-lab{group}>'
            f"<div data-gl-still>{self._still()}</div>"
            f'<script type="application/json">{payload}</script>'
            f"<script>{boot_script(_MODULE, 'data-gl-cost-lab')}</script></div>"
        )

    def _still(self) -> str:
        """What stands there without JavaScript: the table of the widths that are chosen."""
        d = self.data
        g_width, d_width = (d["widths"][i] for i in (self.width_g, self.width_d))
        reference = sum(d["flops"][d["reference"]][self.width_g][self.width_d])
        names = [c.format(reference=d["short"][d["reference"]]) for c in words.COLUMNS]
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in names)
        body = ""
        for key in d["order"]:
            parts = d["flops"][key][self.width_g][self.width_d]
            texts = [*map(flops_text, [*parts, sum(parts)]), f"{sum(parts) / reference:.2f}"]
            cells = "".join(f"<td>{text}</td>" for text in texts)
            body += f'<tr><th scope="row">{html.escape(d["titles"][key])}</th>{cells}</tr>'
        told = words.FALLBACK.format(g=g_width, d=d_width)
        return f"<p>{told}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def cost_lab(
    *strategies: str,
    widths: Iterable[int] = WIDTHS,
    batch: int = 64,
    strategy: str = "",
    group: str = "",
) -> CostLab:
    """Count every strategy's step for every pair of widths, and show it.

    strategies: names of ``STRATEGIES``; left out: the three of the article. The nets are MLPs for
    images of 8 x 8 with two hidden layers each, all layers of a net equally wide; batch: images in
    a step. strategy: the one to highlight. group: see ``CostLab``.

    Takes a few seconds. The global random state is left as it was.
    Raises KeyError for an unknown name, ValueError for widths that are not at least 1.
    """
    chosen = {name: STRATEGIES[name] for name in strategies or THREE}
    sizes = list(widths)
    if not sizes or min(sizes) < 1 or batch < 1:
        raise ValueError(
            f"widths and batch must be whole numbers of at least 1, got {sizes} and {batch}"
        )
    if strategy and strategy not in chosen:
        raise KeyError(f"strategy={strategy!r} is not among those shown: {', '.join(chosen)}")
    shown = {
        "ui": words.UI,
        "css": (_STATIC / "cost_lab.css").read_text(encoding="utf-8"),
        "order": list(chosen),
        "titles": {key: s.title for key, s in chosen.items()},
        "short": {key: s.title.partition(":")[0] for key, s in chosen.items()},
        "reference": "generator_first" if "generator_first" in chosen else next(iter(chosen)),
        "compared": [k for k in ("retain_graph", "generator_first") if k in chosen],
        "widths": sizes,
        "flops": _grids({key: s.step for key, s in chosen.items()}, sizes, batch),
        "formulas": {key: _formula(key) for key in chosen if key in PASSES},
        **_symbols(sizes, batch),
    }
    if len(shown["compared"]) < 2:
        shown["compared"] = []
    middle = len(sizes) // 2
    return CostLab(group, data=shown, strategy=strategy, width_g=middle, width_d=middle)


def _grids(
    steps: Mapping[str, Step], widths: list[int], batch: int
) -> dict[str, list[list[list[int]]]]:
    """Strategy -> [G][D] -> the four parts, each counted in a step that really ran."""
    real, noise = data.noise(batch, SHAPE, seed=1), data.noise(batch, (NOISE_DIM,), seed=2)
    grids: dict[str, list[list[list[int]]]] = {key: [] for key in steps}
    with seeded(0):
        for width_g in widths:
            gans = [_pair(width_g, width_d) for width_d in widths]
            for key, step in steps.items():
                grids[key].append([_counted(step, gan, real, noise) for gan in gans])
    return grids


def _pair(width_g: int, width_d: int) -> Gan:
    """Plain SGD: optimizers count no FLOPs, and this one is quick under the counter."""
    G = Generator(NOISE_DIM, SHAPE, (width_g, width_g))
    D = Discriminator(SHAPE, (width_d, width_d))
    opt_g, opt_d = (SGD(net.parameters(), foreach=True) for net in (G, D))
    return Gan(G, D, opt_g, opt_d)


def _counted(step: Step, gan: Gan, *batch: Any) -> list[int]:
    step(gan, *batch)  # a first step may do more, such as to try what D is like
    with counting(gan.nets) as count:
        step(gan, *batch)
    return [_part(count.work, net, phase) for net, phase in PARTS]


def _part(work: Iterable[Work], net: str, phase: str) -> int:
    return sum(w.flops for w in work if (w.net, w.phase) == (net, phase))


def _formula(key: str) -> str:
    """With the signs of print, not of code."""
    return written_out(key).replace("-", "−")


def _symbols(widths: list[int], batch: int) -> Mapping[str, Any]:
    """What F and I are, by the place of the width."""
    g = [NetFlops.of((NOISE_DIM, w, w, VALUES), batch) for w in widths]
    d = [NetFlops.of((VALUES, w, w, 1), batch) for w in widths]
    return {
        "forward": {"g": [n.forward for n in g], "d": [n.forward for n in d]},
        "first": {"g": [n.first for n in g], "d": [n.first for n in d]},
    }
