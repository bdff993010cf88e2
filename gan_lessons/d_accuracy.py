"""How accurate is the D that G learns from, and does it help G if D is more accurate?

Asked of many seeds at once. Accurate is a D that has gone on learning while G stood still.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gan_lessons.gan import Gan
from gan_lessons.ring_study import Seeds
from gan_lessons.steps import step_detach, step_generator_first
from gan_lessons.strategies import Step


def d_step(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """D learns from (batch, ...) of both; G stands still, and no gradient of its is touched."""
    G, D, _, opt_d, loss = gan.parts
    opt_d.zero_grad()
    with torch.no_grad():
        fake = G(noise)
    pred_real, pred_fake = D(real), D(fake)
    d_loss = (
        loss(pred_real, torch.ones_like(pred_real)) + loss(pred_fake, torch.zeros_like(pred_fake))
    ) / 2
    d_loss.backward()
    opt_d.step()


def with_more_d(step: Step, more: int, draw: Callable[[], tuple[Tensor, Tensor]]) -> Step:
    """The same step, after ``more`` steps of D alone, each on a batch that ``draw`` gives."""

    def after_d(gan: Gan, real: Tensor, noise: Tensor) -> Any:
        for _ in range(more):
            d_step(gan, *draw())
        return step(gan, real, noise)

    return after_d


def gradient_of_g(gan: Gan, step: Step, real: Tensor, noise: Tensor) -> Tensor:
    """(seeds, weights): what G's optimizer would use in this step of GANs that are stacked.

    Changes nothing: a copy takes the step.
    """
    trial = copy.deepcopy(gan)
    step(trial, real, noise)
    grads = [p.grad for p in trial.generator.parameters() if p.grad is not None]
    return torch.cat([g.flatten(1) for g in grads], 1)


def aims(seeds: Seeds, more: int = 100, batches: int = 4) -> dict[str, list[float]]:
    """ "S3" and "S2" -> for each seed the cosine between G's gradient in that step and the one by
    an accurate D, as a mean over batches. 1: G is pushed where an accurate D would push it.

    more: steps that the accurate D has learnt further. Changes no net; draws from ``seeds``.
    """
    accurate = copy.deepcopy(seeds.gan)
    for _ in range(more):
        d_step(accurate, *seeds.batch())
    found: dict[str, list[Tensor]] = {"S3": [], "S2": []}
    for _ in range(batches):
        batch = seeds.batch()
        wanted = gradient_of_g(accurate, step_generator_first, *batch)
        for name, step in (("S3", step_generator_first), ("S2", step_detach)):
            found[name].append(cosine_similarity(gradient_of_g(seeds.gan, step, *batch), wanted))
    return {name: torch.stack(cosines).mean(0).tolist() for name, cosines in found.items()}
