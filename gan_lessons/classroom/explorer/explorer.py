"""The explorer: walk one training step line by line, strategy by strategy.

    explore()                             # the three strategies, on a GAN that can be drawn
    explore("detach", my_step, gan=gan)   # your own step, on your own nets
    explore(any_step, args=(a, b), nets={...}, optimizers={...})

The steps run when it is made; afterwards the page needs no kernel.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import traitlets
from torch import Tensor, nn
from torch.optim import Optimizer

from gan_lessons import data
from gan_lessons.arguments import require, require_whole
from gan_lessons.classroom.explorer.ending import mixed, why_raised
from gan_lessons.classroom.explorer.field import PlaneWatch
from gan_lessons.classroom.explorer.film import KIND_LETTERS, MIXED, STATE_LETTERS, Json, make_film
from gan_lessons.classroom.explorer.own_gan import own_gan
from gan_lessons.classroom.explorer.saved_page import save_page
from gan_lessons.classroom.explorer.stage_moments import PARTLY
from gan_lessons.classroom.page import StrategyWidget, module
from gan_lessons.classroom.templating import template
from gan_lessons.gan import Gan
from gan_lessons.lens.cost import copied, counting
from gan_lessons.lens.model import StepRecord
from gan_lessons.lens.record import is_own_call, record_step, step_call
from gan_lessons.lens.show import BUFFER, CUT, GRADIENT, RECEIVED, USED, draw_graph
from gan_lessons.lens.whatif import Judge, Outcome, WhatIf, variants
from gan_lessons.put_back import seeded
from gan_lessons.strategies import STRATEGIES, THREE, Strategy
from gan_lessons.torch_modes import torch_modes_kept

if TYPE_CHECKING:
    from gan_lessons.classroom.explorer.any_step_run import AnyStepRun

# Weights and parameter tensors of nets that are quick enough to try every what-if on.
SMALL, FEW = 10_000, 100

Step = Callable[[Gan, Tensor, Tensor], Any]

_STILL = template("""\
<p>{{ key }}: what every .grad holds at the end, and the graph. With JavaScript this is \
interactive.</p>
{{ graph._repr_html_() | safe }}{{ record._repr_html_() | safe }}""")


class StrategyExplorer(StrategyWidget):
    """One step at one moment, in JupyterLab and in exported pages; see ``StrategyWidget``.

    moment, what_if, compare: what else is shown. records: strategy -> the record behind its frames.
    """

    kind = "explorer"
    late = True
    recurs = True
    state = ("strategy", "moment", "what_if", "compare")
    _esm = module(
        "explorer_stage.js", "explorer_graph.js", "explorer_code.js", "explorer_matrix.js",
        "explorer_text.js", "field.js", "explorer.js", css=("explorer.css", "field.css"),
    )  # fmt: skip
    moment = traitlets.Int(0).tag(sync=True)
    what_if = traitlets.Unicode("").tag(sync=True)
    compare = traitlets.Unicode("").tag(sync=True)

    def __init__(self, records: Mapping[str, StepRecord], group: str = "", **traits: Any) -> None:
        super().__init__(group, **traits)
        self.records = dict(records)

    def __repr__(self) -> str:
        shown = ", ".join(self.data["films"][key]["title"] for key in self.data["order"])
        return f"StrategyExplorer({shown}; at {self.strategy!r}, moment {self.moment})"

    def save(self, path: str | Path, title: str = "") -> Path:
        """Write one file of HTML that shows this, in any browser, with no network and no kernel.

        Its address chooses what is shown first: ``s1.html#strategy=detach&at=8``, and ``whatif=``
        with a key of ``data["variants"]``. at: the number of the moment as it is shown, from 1;
        lines that change nothing are not counted. So a moment can be linked, and shown in an
        iframe. title: of the page, plain text.

        Returns the path. A file that is there is replaced in one piece. Raises ValueError for a
        name that does not end in .html, OSError where it cannot be written.
        """
        names = [self.data["films"][key]["title"] for key in self.data["order"]]
        return save_page(path, title or " · ".join(names), self.fragment(self.group or "page"))

    def still(self) -> str:
        """The graph as an image, and the table."""
        record = self.records[self.strategy]
        return _STILL.render(key=self.strategy, graph=draw_graph(record=record), record=record)


@torch_modes_kept()
def explore(
    *steps: str | Strategy | Callable[..., Any],
    gan: Gan | None = None,
    real: Tensor | None = None,
    noise: Tensor | None = None,
    args: Sequence[Any] | None = None,
    nets: Mapping[str, nn.Module] | None = None,
    optimizers: Mapping[str, Optimizer] | None = None,
    what_if: bool | None = None,
    compare: str = "",
    group: str = "",
    seed: int = 0,
) -> StrategyExplorer:
    """Run each step once, for real and on a copy, and show it line by line.

    steps: names of ``STRATEGIES``, or functions ``step(gan, real, noise)`` of your own; left out:
    the three strategies of the article.
    gan: your nets (default: ``tiny_gan(seed)``); it is copied, never changed.
    real, noise: (batch, ...); left out, a batch of four is made, which needs a generator and a
    discriminator that know their shapes, as ours do.
    args, nets, optimizers: for any other step, ``step(*args)``, in place of these three; nets and
    optimizers by name. It runs on the nets themselves, and they are put back.
    what_if: also try each step with one line changed; by default where the nets are small.
    compare: the name of a strategy to set beside the first. group: see ``StrategyExplorer``.
    The global random state is left as it was. Raises KeyError for an unknown name, TypeError for
    what does not fit, ValueError where a batch cannot be made; what a step raises before it has
    done anything goes on.

    >>> from gan_lessons import explore
    >>> explore("detach", what_if=False).strategy
    'detach'
    """
    _check_kinds(seed, compare, group, what_if)
    chosen = _chosen(steps or THREE, compare)
    runs = _runs(chosen, gan, real, noise, (args, nets, optimizers), seed)
    if what_if is None:
        what_if = all(run.is_small for run in runs.values())
    return _shown(chosen, runs, what_if, compare, group)


def _shown(
    chosen: Mapping[str, Strategy], runs: Mapping[str, _Run | AnyStepRun], what_if: bool,
    compare: str, group: str,
) -> StrategyExplorer:  # fmt: skip
    films = {key: run.film() for key, run in runs.items()}
    changed = {key: run.variants(films[key]) if what_if else [] for key, run in runs.items()}
    shown = {"order": list(chosen), "films": films, "variants": changed, **_legend()}
    records, first = {key: run.record for key, run in runs.items()}, next(iter(chosen))
    start = next((i for i, m in enumerate(films[first]["moments"]) if "silent" not in m), 0)
    return StrategyExplorer(
        records, group, data=shown, strategy=first, moment=start, compare=compare
    )


def _runs(
    chosen: Mapping[str, Strategy], gan: Any, real: Any, noise: Any, own: tuple[Any, ...], seed: int
) -> Mapping[str, _Run | AnyStepRun]:
    """own: args, nets and optimizers."""
    is_own = is_own_call(*own)
    if not is_own:
        gan = own_gan(seed) if gan is None else gan
        real, noise = _batch(gan, real, noise, seed)
    batch = gan, real, noise
    calls = {key: step_call("explore", s.step, batch, *own) for key, s in chosen.items()}
    if is_own:
        # It loads all that watches a loop, for what it puts back.
        from gan_lessons.classroom.explorer.any_step_run import AnyStepRun

        return {key: AnyStepRun(chosen[key], call, seed) for key, call in calls.items()}
    return {key: _Run(strategy, *batch, seed) for key, strategy in chosen.items()}


class _Run:
    """One step, recorded as it runs in training: after one step of the same, whose gradients are
    still in ``.grad``. A step that cannot run is recorded as it fails."""

    def __init__(
        self, strategy: Strategy, gan: Gan, real: Tensor, noise: Tensor, seed: int
    ) -> None:
        self.strategy, self.start, self.batch, self.seed = strategy, gan, (real, noise), seed
        self.judge: Judge | None = None
        self.plane = PlaneWatch(real)
        try:
            self.judge = Judge(strategy.step, gan, real, noise, seed, self.plane)
        except ValueError:  # it raises, moves nobody, or brings nets of its own
            with seeded(seed, real.device):
                self.record = record_step(strategy.step, copied(gan), real, noise, self.plane)
        else:
            self.record, self.start = self.judge.reference, self.judge.start
        # Of the record: a lazy net has no sizes before it has run.
        sizes = [math.prod(s) for net in self.record.parameters.values() for s in net.values()]
        self.is_small = sum(sizes) <= SMALL and len(sizes) <= FEW

    def film(self) -> Json:
        title, summary = self.strategy.title, self.strategy.summary
        field = self.plane.field(self.record)
        return make_film(self.record, title, summary, self.flops(self.strategy.step), field)

    def variants(self, base: Json) -> list[Json]:
        """The same step with one line changed, each with what became of it."""
        if self.judge is None:
            return []
        found = variants(self.strategy.step, self.judge.reference)
        return [self._variant(changed, self.judge(changed), base) for changed in found]

    def _variant(self, changed: WhatIf, outcome: Outcome, base: Json) -> Json:
        """A film that leaves out what is as in ``base``: the browser takes it from there."""
        title = changed.title.replace("`", "")
        flops = None if outcome.error else self.flops(changed.step)
        field = self.plane.field(outcome.record, base["field"])
        film = make_film(outcome.record, title, flops=flops, field=field)
        message = why_raised(outcome.record) or outcome.message.replace("`", "")
        sums = mixed(outcome.record, self.record) if outcome.kind == "wrong" else ""
        return {
            "key": changed.key,
            "title": title,
            "film": {name: value for name, value in film.items() if value != base[name]},
            "line": _touched(changed),
            "edits": [{"line": e.line, "old": e.old, "new": e.new} for e in changed.edits],
            "outcome": {"kind": outcome.kind, "message": f"{message} {sums}".strip()},
        }

    def flops(self, step: Step) -> int | None:
        """Of this or of a changed step, counted in a run of its own: the counter must not see the
        recorder's norms. None for a step that raises."""
        if self.record.error:
            return None
        trial = copied(self.start)
        with seeded(self.seed, self.batch[0].device), counting({}) as count:  # whose, nobody asks
            step(trial, *self.batch)
        return sum(work.flops for work in count.work)


def _chosen(steps: Iterable[str | Strategy | Step], compare: str) -> dict[str, Strategy]:
    """Key -> strategy; a learner's own function gets its name as key and title."""
    found: dict[str, Strategy] = {}
    for step in steps:
        if isinstance(step, str):
            strategy = STRATEGIES[step]
        elif isinstance(step, Strategy):
            strategy = step
        elif callable(step):
            known = next((s for s in STRATEGIES.values() if s.step is step), None)
            name = getattr(step, "__name__", type(step).__name__)
            summary = (step.__doc__ or "").strip().partition("\n")[0]
            strategy = known or Strategy(name, step, name, summary)
        else:
            raise TypeError(
                "explore() got a {kind}; expected the name of a strategy ({names}) or a function "
                "step(gan, real, noise); what any other step takes goes into args=(...)".format(
                    kind=type(step).__name__, names=", ".join(STRATEGIES)
                )
            )
        key, n = strategy.key, 2
        while key in found and found[key].step is not strategy.step:
            key, n = f"{strategy.key} {n}", n + 1
        found[key] = strategy
    if compare and compare not in found:
        text = "compare={compare!r} is not among the steps shown: {keys}"
        raise KeyError(text.format(compare=compare, keys=", ".join(found)))
    return found


def _check_kinds(seed: Any, compare: Any, group: Any, what_if: Any) -> None:
    require_whole("explore", seed=seed)
    require("explore", str, "a name", compare=compare, group=group)
    require("explore", (bool, type(None)), "True, False or None", what_if=what_if)


def _batch(gan: Gan, real: Tensor | None, noise: Tensor | None, seed: int) -> tuple[Tensor, Tensor]:
    require("explore", Gan, "a Gan, such as tiny_gan()", gan=gan)
    batch = _made(gan, real, noise, seed)
    gan.check(*batch)
    return batch


def _made(gan: Gan, real: Tensor | None, noise: Tensor | None, seed: int) -> tuple[Tensor, Tensor]:
    if real is not None and noise is not None:
        return real, noise
    d_shape, g_shape = (getattr(n, "in_shape", None) for n in (gan.discriminator, gan.generator))
    if d_shape is None or g_shape is None:
        raise ValueError(
            "explore() cannot guess the shapes of a batch for these nets; pass real= and noise=, "
            "such as one batch of your data and torch.randn(len(real), noise_dim)"
        )
    like = next(gan.discriminator.parameters())
    size = next((len(batch) for batch in (real, noise) if batch is not None), 4)
    if real is None:
        points = d_shape == (2,)
        real = data.ring(size, seed=seed) if points else data.noise(size, d_shape, seed=seed)
    if noise is None:
        noise = data.noise(size, g_shape, seed=seed + 1)
    return real.to(like), noise.to(like)


def _touched(changed: WhatIf) -> int:
    """The line of the step as written at which a change is offered: the one that it rewrites or
    takes away, else the one before which it puts something."""
    old, new = changed.before.splitlines(), changed.source.splitlines()
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    found = [(kind == "insert", start) for kind, start, *_ in blocks if kind != "equal"]
    return min(found, default=(False, 0))[1] + 1


_PARTLY = (
    f"{USED}+{GRADIENT['vain'][0]}",
    "used + in vain",
    "a step used one part of it, and none the other",
)


def _legend() -> Json:
    """What is the same for all films: the symbols, with what they mean."""
    kinds = {KIND_LETTERS[kind]: [*told, kind] for kind, told in GRADIENT.items()}
    kinds[KIND_LETTERS[PARTLY]] = [*_PARTLY, PARTLY]
    kinds[MIXED] = ["±", "mixed", "its parameters differ; the row unfolds", "mixed"]
    states = {STATE_LETTERS.get(state, "."): [*told, state] for state, told in BUFFER.items()}
    return {"kinds": kinds, "states": states, "used": USED, "received": RECEIVED, "cut": CUT}
