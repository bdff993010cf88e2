"""From a record to what is wrong with a training loop, in words, with the line and the fix.

    with record({"G": generator, "D": discriminator}, {"G": opt_g, "D": opt_d}) as rec:
        ...                       # two iterations of your loop
    print(diagnose(rec))

Each rule stands in the file of its family, with its words; this one asks them all, and shows.
"""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from gan_lessons.lens.diagnose.cut_off import cut_off
from gan_lessons.lens.diagnose.errors import errors
from gan_lessons.lens.diagnose.facts import Finding, Story
from gan_lessons.lens.diagnose.kind_of_update import batchnorm_updates, frozen, update_kind
from gan_lessons.lens.diagnose.ownership import never_stepped
from gan_lessons.lens.diagnose.polluted import from_before, polluted
from gan_lessons.lens.diagnose.stale_weights import stale_weights
from gan_lessons.lens.diagnose.waste import in_vain, needless_retain
from gan_lessons.lens.model import Record
from gan_lessons.lens.show import marked, visible

RULES: tuple[Callable[[Story], Iterator[Finding]], ...] = (
    errors, cut_off, polluted, stale_weights, never_stepped,
    in_vain, needless_retain, update_kind, from_before, frozen, batchnorm_updates,
)  # fmt: skip

# severity -> symbol, word, colour of the bar on a page; in the order in which findings are told.
# Light and dark pages alike: the colour is only a bar, the symbol and the word say it.
SEVERITIES = {
    "error": ("✗", "raises", "#b00020"),
    "wrong": ("≠", "wrong gradient", "#b00020"),
    "waste": ("○", "waste", "#b35c00"),
    "info": ("·", "note", "#808080"),
}
WIDTH, LONGEST = 96, 1000
MOST_SEEN = 6  # lines of evidence that are shown of one finding: the first and the last of them


@dataclass(frozen=True)
class Diagnosis:
    """``findings``, the gravest first: errors, wrong gradients, waste, what is worth knowing.

    ``print`` it, or let a notebook show it.
    """

    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """No error and no wrong gradient. Waste may remain."""
        return not any(f.severity in ("error", "wrong") for f in self.findings)

    @property
    def codes(self) -> list[str]:
        """The codes of the findings, each once, in their order."""
        return list(dict.fromkeys(f.code for f in self.findings))

    def __str__(self) -> str:
        return "\n\n".join([self._title(), *map(_text, self.findings)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        items = "".join(map(_item, self.findings))
        return (
            f'<div class="gl-diagnosis"><p style="margin:0 0 .5em"><strong>'
            f"{html.escape(self._title())}</strong></p>{items}</div>"
        )

    def _title(self) -> str:
        if self.sound:
            return "Diagnosis: nothing that raises, and no wrong gradient was found"
        counts = Counter[str](f.severity for f in self.findings)
        told = [f"{counts[s]} × {word}" for s, (_, word, _) in SEVERITIES.items() if counts[s]]
        return f"Diagnosis: {', '.join(told)}"


def diagnose(record: Record) -> Diagnosis:
    """Say what a record tells about the code that was recorded. Mutates nothing.

    record: a complete ``Record`` (or ``StepRecord``). Two iterations tell more than one: a
    forgotten ``zero_grad`` shows when the next step uses what was left.

    Codes of findings. Errors: ``inplace-after-retain``, ``second-backward``, ``no-graph``. Wrong
    gradients: ``cut-off``, ``polluted``, ``stale-weights``, ``never-stepped``. Waste: ``in-vain``,
    ``needless-retain``. Worth knowing: ``simultaneous``, ``alternating``, ``shared-backward``,
    ``from-before``, ``frozen``, ``batchnorm-updates``.

    A rule that cannot be sure says nothing. Who plays against whom is told by names: G, netG,
    generator, opt_g against D, netD, discriminator, critic, opt_d. Where optimizers step inside
    backward, most rules are silent.

    Raises TypeError for what is no record, ValueError for one that is still being recorded.
    """
    if not isinstance(record, Record):
        raise TypeError(
            f"diagnose() got {type(record).__name__}; expected a Record: "
            "`with record(nets, optimizers) as rec: ...`, then diagnose(rec)"
        )
    if not record.complete:
        raise ValueError("diagnose() got a record that is not complete; call it after the block")
    story = Story(record)
    found = _joined(finding for rule in RULES for finding in rule(story))
    rank = {severity: i for i, severity in enumerate(SEVERITIES)}
    return Diagnosis(sorted(found, key=lambda f: (rank[f.severity], *f.events[:1])))


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


def _evidence(finding: Finding) -> list[str]:
    """What is shown of the evidence: all of it, or the first and the last, and how many."""
    seen, half = finding.evidence, MOST_SEEN // 2
    if len(seen) <= MOST_SEEN:
        return list(seen)
    return [*seen[:half], f"{len(seen) - MOST_SEEN} more", *seen[-half:]]


def _text(finding: Finding) -> str:
    symbol, word, _ = SEVERITIES[finding.severity]
    head = f"{symbol} {word}: {finding.code}" + (f" ({finding.net})" if finding.net else "")
    body = [finding.message]
    if finding.fix:
        body.append(f"What to do: {finding.fix}")
    lines = [_wrapped(visible(text, LONGEST)) for text in body]
    seen = [f"  Seen: {visible(s, LONGEST)}" for s in _evidence(finding)]
    return "\n".join([head, *lines, *seen])


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("\n".join(lines), "  ")


def _item(finding: Finding) -> str:
    symbol, word, color = SEVERITIES[finding.severity]
    net = f" ({marked(finding.net)})" if finding.net else ""
    fix = f"<br><em>What to do:</em> {marked(finding.fix)}" if finding.fix else ""
    seen = "".join(f"<li>{marked(line)}</li>" for line in _evidence(finding))
    return (
        f'<div style="border-left:4px solid {color};padding:.1em .8em;'
        f'margin:0 0 .8em"><strong>{symbol} {word}</strong>: <code>{finding.code}</code>{net}<br>'
        f"{marked(finding.message)}{fix}"
        f'<details><summary>Seen</summary><ul style="margin:0">{seen}</ul></details></div>'
    )
