"""The claims of the article that the course started from, and a verdict on each.

A verdict is never stored: a cell measures, and ``verdict`` sets what it measured beside the claim.
The tests named ``test_c01_...`` measure again.
"""

from __future__ import annotations

from dataclasses import dataclass

from gan_lessons.classroom.templating import template

# In our words.
CLAIMS = {
    "C1": "detach() cuts the gradient: nothing before that tensor receives any.",
    "C2": "S1 (as repaired): d_loss.backward also computes G's gradient, though only D is updated.",
    "C3": "S1 (as repaired): so G's gradients must be zeroed before G's backward.",
    "C4": "S1: one forward and two backwards, so the first needs retain_graph=True.",
    "C5": "S1 (as repaired): g_loss.backward also fills D's gradients; zero_grad removes them.",
    "C6": "S1, as printed, trains.",
    "C7": "S2 (of this course): D's gradient is computed twice, G's once.",
    "C8": "S2, as printed, trains.",
    "C9": "S2 (of this course): G's graph is kept until D is updated, and then released.",
    "C10": "S3: g_loss.backward also gives D gradients that nobody uses.",
    "C11": "S3: without detach the gradient would not flow on either, for the graph is freed.",
    "C12": "S3: the fake passes D twice and gives the same output, which is superfluous.",
    "C13": "S3: the fake's second graph is smaller than the first.",
    "C14": "S1 costs one extra gradient of G, S3 one extra forward of D; the difference is small.",
    "C15": "If D is more complex than G, use S1; if it is simpler, use S3.",
    "C16": "S3: no graph is kept on purpose, which would take memory that is not needed.",
    "C17": "The ranking: S3 is best, S2 second, S1 worst.",
    "C18": "S3 feels odd: G needs an accurate D. Or does it not update blindly?",
    "C19": "An extra gradient of G usually costs more than a forward of D, so detach is necessary.",
    "C20": "First D, then G: that is the algorithm of the original paper (arXiv 1406.2661).",
    "C21": "D is usually simpler than G.",
    "C22": "An extra gradient of G usually costs more than an extra forward of D.",
}
_SHOWN = template(
    '<div style="{{ bar(v.holds) }}"><strong>{{ v.claim }}</strong> {{ text }}<br>'
    "<strong>{{ v.title }}</strong>: {{ v.evidence }}</div>"
)


@dataclass(frozen=True)
class Verdict:
    """One claim, whether it held in what was measured, and the evidence in words."""

    claim: str
    holds: bool
    evidence: str

    @property
    def title(self) -> str:
        return "✓ holds" if self.holds else "✗ does not hold"

    def __str__(self) -> str:
        return f"{self.claim}: {CLAIMS[self.claim]}\n  {self.title}: {self.evidence}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _SHOWN.render(v=self, text=CLAIMS[self.claim])


def verdict(claim: str, holds: object, evidence: str) -> Verdict:
    """Set a measured truth value beside a claim, "C1" to "C22".

    holds: the measured truth value, a bool or a 0-d bool tensor. Raises KeyError for an unknown
    claim, TypeError for a truth value that is none (a text, a number, None).
    """
    if claim not in CLAIMS:
        raise KeyError(f"no claim {claim!r}; known: {', '.join(CLAIMS)}")
    value = holds.item() if hasattr(holds, "item") else holds
    if not isinstance(value, bool):
        raise TypeError(f"verdict() got {value!r}; expected True or False, as measured")
    return Verdict(claim, value, evidence)
