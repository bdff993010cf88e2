"""From a record to what is wrong with a training loop, in words, with the line and the fix.

    with record({"G": generator, "D": discriminator}, {"G": opt_g, "D": opt_d}) as rec:
        ...                       # two iterations of your loop
    print(diagnose(rec))

Each rule stands in the file of its family, with its words; this one asks them all, and shows.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gan_lessons.lens.diagnose.checkpointed import checkpointed
from gan_lessons.lens.diagnose.clipping import clipped_in_vain, never_scaled, still_scaled
from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.cut_penalty import added_too_late, cut_penalty
from gan_lessons.lens.diagnose.dead_terms import dead_terms
from gan_lessons.lens.diagnose.directions import (
    helps_its_judge,
    nothing_to_tell_apart,
    pulled_alike,
)
from gan_lessons.lens.diagnose.drawn import drawn
from gan_lessons.lens.diagnose.errors import errors
from gan_lessons.lens.diagnose.features_drawn import features_drawn
from gan_lessons.lens.diagnose.finding_text import (
    SEVERITIES,
    Seen,
    as_html,
    as_item,
    as_text,
    evidence,
    grouped,
)
from gan_lessons.lens.diagnose.for_the_input import for_the_input
from gan_lessons.lens.diagnose.forgotten import emptied, forgotten_parts
from gan_lessons.lens.diagnose.held_twice import held_twice
from gan_lessons.lens.diagnose.kept_by_reference import kept_by_reference
from gan_lessons.lens.diagnose.kept_out import kept_out
from gan_lessons.lens.diagnose.kind_of_update import batchnorm_updates, frozen, update_kind
from gan_lessons.lens.diagnose.left_frozen import frozen_for_another, left_frozen
from gan_lessons.lens.diagnose.loss_forms import (
    moving_target,
    squashed_twice,
    taught_teacher,
    weighed_by_another,
    weighed_by_its_judge,
)
from gan_lessons.lens.diagnose.memory_growth import memory_growth
from gan_lessons.lens.diagnose.moves_though_frozen import moves_though_frozen
from gan_lessons.lens.diagnose.no_gradient_there import (
    cancelled,
    reversals,
    to_itself,
    uncalled_reversals,
)
from gan_lessons.lens.diagnose.nothing_fixed import nothing_fixed
from gan_lessons.lens.diagnose.number_made_anew import number_made_anew
from gan_lessons.lens.diagnose.odd_parameters import (
    frozen_by_a_name,
    hooks_pile_up,
    made_anew,
    on_one_memory,
    part_made_anew,
)
from gan_lessons.lens.diagnose.opponents_loss import follows_its_opponent, pulled_apart
from gan_lessons.lens.diagnose.other_form import other_form
from gan_lessons.lens.diagnose.ownership import (
    exchanged,
    holds_the_wrong_net,
    in_no_optimizer,
    never_stepped,
    of_nobody,
    one_module,
)
from gan_lessons.lens.diagnose.partly_cut_off import constant_term, mere_number, never_received
from gan_lessons.lens.diagnose.parts import by_parts
from gan_lessons.lens.diagnose.polluted import from_before, polluted
from gan_lessons.lens.diagnose.processes_apart import ranks_differ
from gan_lessons.lens.diagnose.put_back import put_back
from gan_lessons.lens.diagnose.read_and_left import read_and_left
from gan_lessons.lens.diagnose.stale_weights import stale_weights
from gan_lessons.lens.diagnose.stepped_on import stepped_on
from gan_lessons.lens.diagnose.story import Finding, Rule, Story
from gan_lessons.lens.diagnose.straight_through import uncut
from gan_lessons.lens.diagnose.taught_average import taught_average
from gan_lessons.lens.diagnose.terms_without_gradients import ran_without_gradients
from gan_lessons.lens.diagnose.thawed_late import thawed_late
from gan_lessons.lens.diagnose.thrown_away import thrown_away
from gan_lessons.lens.diagnose.turned_round import turned_round
from gan_lessons.lens.diagnose.unregistered import come_later, plain_tensors
from gan_lessons.lens.diagnose.unused_loss import (
    idle_net,
    lost_terms,
    never_walked,
    parts_never_walked,
)
from gan_lessons.lens.diagnose.useless_gradients import (
    all_pairs,
    counted_twice,
    flat,
    not_finite,
    stepped_again,
)
from gan_lessons.lens.diagnose.waste import in_vain, needless_retain
from gan_lessons.lens.diagnose.weighed_twice import weighed_twice
from gan_lessons.lens.diagnose.wrong_judge import wrong_judge
from gan_lessons.lens.model import Record
from gan_lessons.lens.show import marked

STEPPED = "What each optimizer stepped on:"
# A verdict that is clean says what it is no verdict on.
NOT_JUDGED = "Not judged: whether these are the losses you mean (their labels, signs and weights)."
RULES: tuple[Rule, ...] = (
    errors, cut_off, left_frozen, frozen_for_another, kept_out, constant_term, drawn, mere_number,
    ran_without_gradients, number_made_anew, checkpointed, cut_penalty, added_too_late, dead_terms,
    polluted, for_the_input, read_and_left, pulled_apart, follows_its_opponent, stale_weights,
    never_walked, idle_net, parts_never_walked, lost_terms, thrown_away, kept_by_reference,
    squashed_twice, weighed_by_another, weighed_by_its_judge, weighed_twice, moving_target,
    taught_teacher, taught_average, nothing_fixed, pulled_alike, helps_its_judge,
    nothing_to_tell_apart, features_drawn, other_form, wrong_judge, clipped_in_vain, still_scaled,
    never_scaled, never_stepped, ranks_differ, exchanged, holds_the_wrong_net, in_no_optimizer,
    come_later, plain_tensors, thawed_late, put_back, moves_though_frozen, of_nobody, emptied,
    forgotten_parts, held_twice, one_module, made_anew, part_made_anew, on_one_memory,
    hooks_pile_up, frozen_by_a_name, cancelled, to_itself, uncut, reversals, uncalled_reversals,
    turned_round, flat, all_pairs, counted_twice, stepped_again, not_finite, in_vain,
    needless_retain, memory_growth, update_kind, from_before, never_received, frozen,
    batchnorm_updates,
)  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """``findings``, the gravest first: errors, wrong gradients, waste, what is worth knowing.

    ``print`` it, or let a notebook show it. ``stepped``: what each optimizer stepped on, shown
    where it is sound.
    """

    findings: list[Finding]
    seen: str = ""  # what there was to judge
    stepped: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """No error and no wrong gradient. Waste may remain."""
        return not any(f.severity in ("error", "wrong") for f in self.findings)

    @property
    def codes(self) -> list[str]:
        """The codes of the findings, each once, in their order."""
        return list(dict.fromkeys(f.code for f in self.findings))

    def __str__(self) -> str:
        return self.text(evidence)

    __repr__ = __str__

    def text(self, seen: Seen) -> str:
        """All of it as text. seen: what is shown of the evidence of findings, a line each."""
        blocks = [self._title()]
        if self.sound and self.stepped:
            blocks.append("\n".join([STEPPED, *map(as_item, self.stepped), NOT_JUDGED]))
        return "\n\n".join([*blocks, *(as_text(g, seen) for g in grouped(self.findings))])

    def _repr_html_(self) -> str:
        items = "".join(as_html(group, evidence) for group in grouped(self.findings))
        if self.sound and self.stepped:
            lines = "".join(f"<li>{marked(line)}</li>" for line in self.stepped)
            items = (
                f'<p style="margin:0">{STEPPED}</p><ul style="margin:0">{lines}</ul>'
                f'<p style="margin:0 0 .8em">{NOT_JUDGED}</p>{items}'
            )
        return (
            f'<div class="gl-diagnosis"><p style="margin:0 0 .5em"><strong>'
            f"{html.escape(self._title())}</strong></p>{items}</div>"
        )

    def _title(self) -> str:
        if self.sound and not self.seen:
            return "Diagnosis: no step of an optimizer and no backward was seen: nothing to judge"
        if self.sound and "exception" in self.codes:
            return f"Diagnosis: ended early, and no wrong gradient was found in {self.seen}"
        if self.sound:
            return f"Diagnosis: nothing that raises, and no wrong gradient was found in {self.seen}"
        counts = Counter[str](group[0].severity for group in grouped(self.findings))
        told = [f"{counts[s]} × {word}" for s, (_, word, _) in SEVERITIES.items() if counts[s]]
        return f"Diagnosis: {', '.join(told)}"


def diagnose(record: Record) -> Diagnosis:
    """Say what a record tells about the code that was recorded. Mutates nothing.

    record: a complete ``Record`` (or ``StepRecord``). Two iterations tell more than one: a
    forgotten ``zero_grad`` shows when the next step uses what was left.

    Codes of findings.

    Errors: ``inplace-after-retain``, ``inplace`` (the same where no graph was retained),
    ``second-backward``, ``no-graph``, ``exception`` (any other).

    Wrong gradients: ``cut-off`` (none or not all arrived), ``polluted``, ``stale-weights``,
    ``never-stepped``, ``never-walked`` (a loss without a backward), ``thrown-away``, ``ownership``
    (a net in no optimizer, a parameter twice in one, ...), ``ranks-differ``, ``squashed-twice``,
    ``unclipped``, ``still-scaled`` (by AMP), ``hooks`` (pile up), ``cancelled`` (a difference of
    the same), ``reversed`` (a whole loss; or not at all), ``flat`` (an operation without a slope),
    ``broadcast``, ``counted-twice``, ``not-finite``, ``not-frozen`` (moved all the same),
    ``not-restored``, ``pulled-alike`` (opponents that agree), ``other-form`` (in either turn).

    Waste: ``in-vain``, ``needless-retain``, ``memory-growth``; and, where it may be a fault or
    meant so, ``moving-target`` and some of the codes above.

    Worth knowing: ``simultaneous``, ``alternating``, ``shared-backward``, ``from-before``,
    ``never-received`` (parameters that no backward reached), ``frozen``, ``batchnorm-updates``.

    A rule that cannot be sure says nothing. Who plays against whom is told by what the record
    shows, never by a name. Where optimizers step inside backward, most rules are silent.

    Raises TypeError for what is no record, ValueError for one that is still being recorded.

    >>> from gan_lessons import data, diagnose, record_step, step_detach, tiny_gan
    >>> rec = record_step(step_detach, tiny_gan(), data.ring(4), data.noise(4, (2,)))
    >>> diagnose(rec).sound
    True
    """
    _check(record)
    story = Story(by_parts(record))
    found = _joined(finding for rule in RULES for finding in story.told(rule))
    told = sorted(found, key=lambda f: ([*SEVERITIES].index(f.severity), *f.events[:1]))
    return Diagnosis(told, _seen(story), stepped_on(story))


def _check(record: Any) -> None:
    if not isinstance(record, Record):
        raise TypeError(
            f"diagnose() got {type(record).__name__}; expected a Record: "
            "`with record(nets, optimizers) as rec: ...`, then diagnose(rec)"
        )
    if not record.complete:
        raise ValueError("diagnose() got a record that is not complete; call it after the block")


def _seen(story: Story) -> str:
    """What there was to judge, for a verdict that is clean. "" for nothing."""
    steps = Counter(step.event.target for step in story.steps)
    told = [f"{n} × step of {target}" for target, n in steps.items()]
    told += [f"{len(story.calls_made)} × backward"] if story.calls_made else []
    return ", ".join(told)


def _joined(findings: Iterable[Finding]) -> list[Finding]:
    """What was found again in another iteration is told once, with all its evidence."""
    same: dict[tuple[str, str | None, str], tuple[Finding, dict[int, str]]] = {}
    for one in findings:
        _, seen = same.setdefault((one.code, one.net, one.message), (one, {}))
        seen |= zip(one.events, one.evidence, strict=True)
    return [
        replace(one, events=tuple(sorted(seen)), evidence=tuple(seen[i] for i in sorted(seen)))
        for one, seen in same.values()
    ]
