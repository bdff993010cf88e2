"""The losses: the formula, its stable form, and torch's own operation are one function."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gan_lessons.losses import bce_with_logits

LOGITS = st.lists(st.floats(-15, 15), min_size=1, max_size=6)


def column(values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.floats(0, 1))
def test_formula_stable_form_and_function_agree(values, t):
    logits = column(values)
    target = torch.full_like(logits, t)
    p = logits.sigmoid()
    formula = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    stable = (target * F.softplus(-logits) + (1 - target) * F.softplus(logits)).mean()
    torch.testing.assert_close(bce_with_logits(logits, target), formula, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(bce_with_logits(logits, target), stable)
    torch.testing.assert_close(bce_with_logits(logits, target), nn.BCELoss()(p, target))


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.floats(0, 1))
def test_gradient_is_the_error_of_the_probability(values, t):
    logits = column(values).requires_grad_()
    (grad,) = torch.autograd.grad(bce_with_logits(logits, torch.full_like(logits, t)), logits)
    torch.testing.assert_close(grad, (logits.sigmoid() - t).detach() / len(values))


def test_logits_keep_their_gradient_where_probabilities_are_certain():
    """Float32, D sure that the fake is fake: G must still learn. The sigmoid alone loses it."""
    logits = torch.full((1, 1), -200.0, requires_grad=True)
    ones = torch.ones(1, 1)
    (by_logits,) = torch.autograd.grad(bce_with_logits(logits, ones), logits)
    (by_probability,) = torch.autograd.grad(nn.BCELoss()(logits.sigmoid(), ones), logits)
    assert bce_with_logits(logits, ones).item() == 200
    assert by_logits.item() == -1
    assert by_probability.item() == 0
