"""The cost lab: two sliders for the sizes of the nets, and the price of every strategy.

    cost_lab()                          # the three strategies of the article
    cost_lab(*STRATEGIES)               # all there are

Every number was counted, for every pair of widths, when it was made. Afterwards it needs no kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import traitlets
from torch.optim import SGD

from gan_lessons import data
from gan_lessons.classroom.page import StrategyWidget, module
from gan_lessons.classroom.templating import template
from gan_lessons.gan import Gan
from gan_lessons.lens.cost import PASSES, NetFlops, counting, flops_text, written_out
from gan_lessons.models import Discriminator, Generator
from gan_lessons.put_back import seeded
from gan_lessons.strategies import STRATEGIES, THREE, Step, Strategy

WIDTHS = (16, 32, 64, 128, 256, 512)
SHAPE, VALUES, NOISE_DIM = (1, 8, 8), 64, 32  # the digits, as in the other lessons
Grid = list[list[list[int]]]  # [width of G][width of D] -> FLOPs of the four parts
PARTS = (("G", "forward"), ("G", "backward"), ("D", "forward"), ("D", "backward"))

_STILL = template("""\
<p>FLOPs of one step, G {{ widths[0] }} and D {{ widths[1] }} wide. With JavaScript this is \
interactive.</p><table><thead><tr>
{% for name in ("step", "G forward", "G backward", "D forward", "D backward", "in all") %}
<th scope="col">{{ name }}</th>
{% endfor %}
<th scope="col">× {{ reference[0] }}</th></tr></thead><tbody>
{% for title, parts in rows.items() %}
<tr><th scope="row">{{ title }}</th>{% for flops in parts %}<td>{{ text(flops) }}</td>{% endfor %}
<td>{{ "%.2f" | format(parts[-1] / reference[1]) }}</td></tr>
{% endfor %}
</tbody></table>
""")


class CostLab(StrategyWidget):
    """FLOPs of each strategy as bars, for the widths that two sliders choose.

    strategy: see ``StrategyWidget``; the one that is highlighted. width_g, width_d: places in
    ``data["widths"]``.
    """

    kind = "cost-lab"
    late = True
    state = ("strategy", "width_g", "width_d")
    _esm = module("cost_lab.js", css="cost_lab.css")
    width_g = traitlets.Int(0).tag(sync=True)
    width_d = traitlets.Int(0).tag(sync=True)

    def flops(self, strategy: str, width_g: int, width_d: int) -> dict[tuple[str, str], int]:
        """(net, phase) -> FLOPs counted for layers of these widths."""
        widths = self.data["widths"]
        counted = self.data["flops"][strategy][widths.index(width_g)][widths.index(width_d)]
        return dict(zip(PARTS, counted, strict=True))

    def __repr__(self) -> str:
        shown = ", ".join(self.data["titles"].values())
        widths = [self.data["widths"][i] for i in (self.width_g, self.width_d)]
        return f"CostLab({shown}; G {widths[0]} wide, D {widths[1]} wide)"

    def still(self) -> str:
        """The table of the widths that are chosen."""
        d, g, d_ = self.data, self.width_g, self.width_d
        counted = {key: d["flops"][key][g][d_] for key in d["order"]}
        rows = {d["titles"][key]: [*parts, sum(parts)] for key, parts in counted.items()}
        reference = (d["short"][d["reference"]], sum(counted[d["reference"]]))
        widths = [d["widths"][i] for i in (g, d_)]
        return _STILL.render(widths=widths, rows=rows, reference=reference, text=flops_text)


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
        text = "widths and batch must be whole numbers of at least 1, got {widths} and {batch}"
        raise ValueError(text.format(widths=sizes, batch=batch))
    if strategy and strategy not in chosen:
        text = "strategy={strategy!r} is not among those shown: {keys}"
        raise KeyError(text.format(strategy=strategy, keys=", ".join(chosen)))
    shown = {"widths": sizes, **_of(chosen)}
    shown["flops"] = _grids({key: s.step for key, s in chosen.items()}, sizes, batch)
    shown |= _symbols(sizes, batch)
    middle = len(sizes) // 2
    return CostLab(group, data=shown, strategy=strategy, width_g=middle, width_d=middle)


def _of(chosen: Mapping[str, Strategy]) -> dict[str, Any]:
    """What is said of the strategies, at any width."""
    pair = ["retain_graph", "generator_first"]
    return {
        "order": list(chosen),
        "titles": {key: s.title for key, s in chosen.items()},
        "short": {key: s.title.partition(":")[0] for key, s in chosen.items()},
        "reference": pair[1] if pair[1] in chosen else next(iter(chosen)),
        "compared": pair if chosen.keys() >= {*pair} else [],
        # with the signs of print, not of code
        "formulas": {key: written_out(key).replace("-", "−") for key in chosen if key in PASSES},
    }


def _grids(steps: Mapping[str, Step], widths: list[int], batch: int) -> dict[str, Grid]:
    """Strategy -> its grid, each place counted in a step that really ran."""
    real, noise = data.noise(batch, SHAPE, seed=1), data.noise(batch, (NOISE_DIM,), seed=2)
    grids: dict[str, Grid] = {key: [] for key in steps}
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
    return [sum(w.flops for w in count.work if (w.net, w.phase) == part) for part in PARTS]


def _symbols(widths: list[int], batch: int) -> Mapping[str, Any]:
    """What F and I are, by the place of the width."""
    g = [NetFlops.of((NOISE_DIM, w, w, VALUES), batch) for w in widths]
    d = [NetFlops.of((VALUES, w, w, 1), batch) for w in widths]
    return {
        "forward": {"g": [n.forward for n in g], "d": [n.forward for n in d]},
        "first": {"g": [n.first for n in g], "d": [n.first for n in d]},
    }
