"""Operations that choose or draw, past which no gradient goes, and what to do in their place."""

from __future__ import annotations

# Operations that choose: what they give has no slope, and to leave them out is no mending.
CHOICES = {f"{name}()" for name in (
    "argmax", "argmin", "argsort", "multinomial", "bernoulli", "one_hot", "gt", "ge", "lt", "le",
    "__gt__", "__ge__", "__lt__", "__le__", "searchsorted", "bucketize",
)}  # fmt: skip
SOFT_CHOICE = (
    "No gradient passes a choice. Hand on a soft one there: softmax(logits), or "
    "torch.nn.functional.gumbel_softmax(logits, hard=True); a net that takes whole numbers then "
    "takes these weights (weights @ embedding.weight in place of embedding(tokens) or one_hot). "
    "Or learn from the log-probability of "
    "what was chosen, weighed by the verdict as a number (REINFORCE)."
)
RESAMPLED = (
    "Draw it by rsample(), which computes the sample from what {net} made, instead of sample(), "
    "which hands no gradient on."
)
