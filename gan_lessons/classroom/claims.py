"""The claims of the article that the course started from, and a verdict on each.

A verdict is never stored: a cell measures, and ``verdict`` sets what it measured beside the claim.
The tests named ``test_c01_...`` measure again.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from gan_lessons.classroom import words
from gan_lessons.classroom.scoring import bordered


@dataclass(frozen=True)
class Verdict:
    """One claim, whether it held in what was measured, and the evidence in words."""

    claim: str
    holds: bool
    evidence: str

    @property
    def title(self) -> str:
        return " ".join(words.CLAIM_VERDICT[self.holds])

    def __str__(self) -> str:
        text = words.CLAIMS[self.claim]
        return f"{self.claim}: {text}\n  {self.title}: {self.evidence}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        text = html.escape(words.CLAIMS[self.claim])
        found = f"<strong>{self.title}</strong>: {html.escape(self.evidence)}"
        return bordered(self.holds, f"<strong>{self.claim}</strong> {text}<br>{found}")


def verdict(claim: str, holds: object, evidence: str) -> Verdict:
    """Set a measured truth value beside a claim, "C1" to "C22".

    holds: the measured truth value, a bool or a 0-d bool tensor. Raises KeyError for an unknown
    claim, TypeError for a truth value that is none (a text, a number, None).
    """
    if claim not in words.CLAIMS:
        raise KeyError(f"no claim {claim!r}; known: {', '.join(words.CLAIMS)}")
    value = holds.item() if hasattr(holds, "item") else holds
    if not isinstance(value, bool):
        raise TypeError(f"verdict() got {value!r}; expected True or False, as measured")
    return Verdict(claim, value, evidence)
