"""From a record to what is wrong with a training loop, in words, with the line and the fix.

    with record({"G": generator, "D": discriminator}, {"G": opt_g, "D": opt_d}) as rec:
        ...                       # two iterations of your loop
    print(diagnose(rec))

The rules stand in ``findings``, ``mixing`` and ``remarks``; this module asks them, and shows.
"""

from __future__ import annotations

import html
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gan_lessons.lens.diagnose import diagnose_words as words
from gan_lessons.lens.diagnose.facts import Story
from gan_lessons.lens.diagnose.findings import Finding
from gan_lessons.lens.diagnose.remarks import RULES
from gan_lessons.lens.model import Record
from gan_lessons.lens.show import marked, visible

WIDTH, LONGEST = 96, 1000


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
        counts = Counter[str](f.severity for f in self.findings)
        told = [
            words.COUNT.format(count=counts[kind], word=word)
            for kind, (_, word) in words.SEVERITY.items()
            if counts[kind]
        ]
        title = words.TITLE_SOUND if self.sound else words.TITLE
        return title.format(counts=", ".join(told))


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
    rank = {severity: i for i, severity in enumerate(words.SEVERITY)}
    return Diagnosis(sorted(found, key=lambda f: (rank[f.severity], *f.events[:1])))


def _joined(findings: Iterable[Finding]) -> list[Finding]:
    """What was found again in another iteration is told once, with all its evidence."""
    same: dict[tuple[str, str | None, str], Finding] = {}
    for one in findings:
        key = one.code, one.net, one.message
        seen = dict(zip(one.events, one.evidence, strict=True))
        if key in same:
            seen |= dict(zip(same[key].events, same[key].evidence, strict=True))
        events = tuple(sorted(seen))
        same[key] = replace(one, events=events, evidence=tuple(seen[i] for i in events))
    return list(same.values())


def _text(finding: Finding) -> str:
    symbol, word = words.SEVERITY[finding.severity]
    head = f"{symbol} {word}: {finding.code}" + (f" ({finding.net})" if finding.net else "")
    body = [finding.message]
    if finding.fix:
        body.append(f"{words.FIX}: {finding.fix}")
    lines = [_wrapped(visible(text, LONGEST)) for text in body]
    seen = [f"  {words.SEEN}: {visible(line, LONGEST)}" for line in finding.evidence]
    return "\n".join([head, *lines, *seen])


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("\n".join(lines), "  ")


# Light and dark pages alike: the colour is only a bar, the symbol and the word say it.
BARS = {"error": "#b00020", "wrong": "#b00020", "waste": "#b35c00", "info": "#808080"}


def _item(finding: Finding) -> str:
    symbol, word = words.SEVERITY[finding.severity]
    net = f" ({marked(finding.net)})" if finding.net else ""
    fix = f"<br><em>{words.FIX}:</em> {marked(finding.fix)}" if finding.fix else ""
    seen = "".join(f"<li>{marked(line)}</li>" for line in finding.evidence)
    return (
        f'<div style="border-left:4px solid {BARS[finding.severity]};padding:.1em .8em;'
        f'margin:0 0 .8em"><strong>{symbol} {word}</strong>: <code>{finding.code}</code>{net}<br>'
        f"{marked(finding.message)}{fix}"
        f'<details><summary>{words.SEEN}</summary><ul style="margin:0">{seen}</ul></details></div>'
    )
