"""Write the table of all loops: ``python -m tests.loops`` fills ``docs/loops.md`` and ``told/``."""

from __future__ import annotations

import functools
from pathlib import Path

from . import LOOPS, Loop, Verdict, whole
from .kit import judge as judged

judge = functools.cache(judged)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "loops.md"
HEAD = """# Loops, and what `diagnose` says of them

Written by `python -m tests.loops`; `tests/test_loops.py` holds every line of it. A loop is one that
people write, told anew and small; where it has the shape of a public thread, the thread is linked.

- **Truth**: before each optimizer step, the gradient that is there against `autograd.grad` of what
  the player is to follow; the largest distance, relative to the intended gradient. A dash: what is
  wrong there is not a gradient at a step, or nothing is wrong and many losses would be right.
- **After the advice**: the same loop with what the finding says, done literally.

## What a record cannot know

A record knows what was computed, not what was meant. Where a fault and a method look alike, it is
told with both readings and counts as waste: `moving-target` (a bootstrapped target with its graph,
or a residual gradient; a teacher that is drawn to its student, or a prior that follows),
`reversed` (a function that hands values and gradients on as they are), `pulled-alike` (two players
that raise the same verdict: a wrong sign or label, or partners; where the judge learns to tell one
from all else, it is told as wrong), `cut-off` of a term that teaches nobody. Of these it says
nothing:

- a teacher that learns with its student in one optimizer, and by other losses too: two students
  that teach each other do the same. (One that is in eval mode meanwhile is told.)
- both sides of a similarity with their graph, where one was to stand still: a contrastive loss has
  both;
- a reversal that forgot its minus and multiplies by another number than one: that may be meant to
  slow a net down, and is only noted (where its name says that it reverses, it is told);
- what the backward of a function of your own computes, where its forward changes the values: ask
  `torch.autograd.gradcheck`;
- what a hook does to a gradient (that hooks pile up is told);
- a player that is told to look false beside a distance to what it was given itself (`L1Loss`, of
  an inpainting net, say): a watermark's maker stays near its picture and helps its judge, too (it
  is told as waste; beside a distance to a truth that no net was given, as wrong);
- how much a term weighs: micro-batches that are summed and not averaged, a mean where the sum over
  classes was meant (of `kl_div` torch itself warns);
- which of two branches was to stand still: where the wrong one was detached, only a head that gets
  no gradient at all is told;
- two parts of one net, cut apart, that both learn from something: a linear probe or training by
  stages is cut there too (so is a code that was drawn from `mu.data`, or by `sample()` where no
  line has a divergence, a "kl", of what it was drawn by);
- an attack, or a sampler, whose backward stands in the loop itself, and leaves gradients in the
  net: its loss may be one to learn from as well (in a function of its own it is told);
- what keeps a net as it is: a learning rate of 0;
- one backward for the losses of two opponents, `(d_loss + g_loss).backward()`, where the two losses
  do not pull each number of a verdict apart (labels of each sample's own): only that the backward
  is shared is noted;
- a net that is moved by hand towards a copy that stands still: an average the wrong way round, or
  an anchor;
- two backward calls in one step, the second at weights that were moved by hand in between: a
  clearing that was forgotten (sharpness-aware steps), or a sum on purpose (adversarial weights);
- a term whose branch was never entered: that values were made for it without gradients and used by
  nothing;
- data: the class labels of somebody else, real samples where fakes belong, the code of the batch
  before.

For these, compare with `same()` and ask `terms()` which term pulls which net.
"""


def row(one: Loop) -> str:
    found, after = judge(one), ""
    if one.faulty:
        mended = judge(one, fixed=True)
        after = f"{_truth(mended)}; told: {_told(mended.grave)}"
    name = one.name.replace("_", " ")
    name = f"[{name}]({one.source})" if one.source else name
    waste = (one.waste,) if one.waste in found.diagnosis.codes else ()
    told = _told(found.grave, *waste)
    return f"| {name} | {_truth(found)} | {told} | {after} |"


def _told(grave: tuple[tuple[str, str | None], ...], *waste: str) -> str:
    told = [f"`{code}`" + (f" ({net})" if net else "") for code, net in grave]
    return ", ".join([*told, *(f"`{code}`" for code in waste if code)]) or "nothing"


def _truth(found: Verdict) -> str:
    return "raises" if found.raised else _gap([gap for _, gap in found.gaps])


def _gap(gaps: list[float]) -> str:
    if not gaps:
        return "–"
    worst = max(gaps)
    return "as intended" if worst < 1e-4 else ("none" if worst == 1.0 else f"off by {worst:.0%}")


def table() -> str:
    """The whole page."""
    parts = [HEAD]
    for family in dict.fromkeys(one.family for one in LOOPS):
        rows = [row(one) for one in LOOPS if one.family == family]
        title = family.replace("_", " ").capitalize()
        parts.append(
            f"## {title}\n\n| loop | truth | told | after the advice |\n|---|---|---|---|\n"
            + "\n".join(rows)
            + "\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    DOCS.write_text(table(), encoding="utf-8")
    whole.FOLDER.mkdir(exist_ok=True)
    for family in dict.fromkeys(one.family for one in LOOPS):
        whole.path_of(family).write_text(whole.wholes(family, judge), encoding="utf-8")
    print(f"{len(LOOPS)} loops in {DOCS} and {whole.FOLDER}")
