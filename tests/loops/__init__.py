"""Training loops as people write them, right and wrong, each with its truth by autograd.grad."""

from . import (
    accumulated,
    checkpointed,
    clipping,
    crossed,
    cut_off,
    directions,
    errors,
    features,
    for_the_input,
    forgotten,
    kept_by_reference,
    kept_out,
    lone,
    loss_forms,
    lost_terms,
    no_gradient_there,
    nothing_fixed,
    odd_parameters,
    on_the_way,
    other_form,
    ownership,
    partly,
    polluted,
    put_back,
    right,
    samples,
    stand_ins,
    straight_through,
    summed,
    terms_without_gradients,
    thawed,
    truths,
    unregistered,
    unused_loss,
    useless_gradients,
    wrong_judge,
)
from .kit import LOOPS, Loop, Verdict, judge

FAMILIES = (
    errors, cut_off, on_the_way, kept_out, checkpointed, partly, polluted, accumulated, summed,
    for_the_input, crossed, ownership, unregistered, thawed, put_back, forgotten, unused_loss,
    lost_terms, loss_forms, nothing_fixed, clipping, directions, features, truths, other_form,
    wrong_judge, lone, odd_parameters, no_gradient_there, useless_gradients, samples,
    terms_without_gradients, stand_ins, straight_through, kept_by_reference, right,
)  # fmt: skip

__all__ = ["FAMILIES", "LOOPS", "Loop", "Verdict", "judge"]
