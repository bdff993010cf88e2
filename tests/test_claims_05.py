"""Lesson 05, what the strategies cost: the article's claims, measured without the notebook.

FLOPs are counted here by torch's own counter, bytes by saved-tensor hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import (
    Gan,
    data,
    dcgan,
    mlp_gan,
    record,
    step_detach,
    step_generator_first,
    step_retain_graph,
)

THREE = (step_retain_graph, step_detach, step_generator_first)


def batch_for(gan: Gan, n: int) -> tuple[Tensor, Tensor]:
    shapes: Any = (gan.discriminator.in_shape, gan.generator.in_shape)
    real, noise = (data.noise(n, shape, seed) for seed, shape in enumerate(shapes))
    return real, noise


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def pair(width_g: int, width_d: int) -> Gan:
    return mlp_gan((1, 8, 8), 32, (width_g, width_g), (width_d, width_d))


def of_step(step: Callable[..., object], gan: Gan, n: int = 16) -> int:
    batch = batch_for(gan, n)
    return flops(lambda: step(gan, *batch))


def parts(gan: Gan, n: int) -> tuple[int, int, int, int]:
    """FLOPs of G's forward, D's forward, G's backward, and the gradient at D's input alone.

    The last is what D's backward costs more where the fake, too, is to have a gradient.
    """
    real, noise = batch_for(gan, n)
    G, D = gan.generator, gan.discriminator
    fake = G(noise)
    back_g = flops(lambda: fake.sum().backward())
    into = []
    for needs in (False, True):
        prediction = D(fake.detach().requires_grad_(needs))
        into.append(flops(prediction.sum().backward))
    at_input = into[1] - into[0]
    return flops(lambda: G(noise)), flops(lambda: D(real)), back_g, at_input


@pytest.mark.parametrize("widths", [(256, 64), (64, 64), (64, 512)])
def test_c14_the_difference_of_s1_and_s3_and_that_it_is_not_small(widths):
    gan = pair(*widths)
    s1, s3 = of_step(step_retain_graph, gan), of_step(step_generator_first, gan)
    _, forward_d, back_g, at_input = parts(gan, 16)
    assert s1 - s3 == back_g - forward_d + at_input
    assert abs(s1 / s3 - 1) > 0.05


def test_c15_a_heavier_d_favours_s1_and_a_lighter_one_s3():
    differences = []
    for width_d in (16, 32, 64, 128, 256, 512):
        gan = pair(64, width_d)
        differences.append(of_step(step_retain_graph, gan) - of_step(step_generator_first, gan))
    assert differences == sorted(differences, reverse=True)
    assert differences[0] > 0 > differences[-1]


def alive_after_first_backward(step: Callable[..., object], gan: Gan) -> int:
    """Saved tensors that are still alive after the first backward, their bytes; weights apart."""
    with record(gan.nets, gan.optimizers) as rec:
        step(gan, *batch_for(gan, 8))
    first = next(e for e in rec.events if e.kind == "backward")
    return first.held.activations


@pytest.mark.parametrize("gan", [pair(64, 64), dcgan(16, 1, 4, width=4)], ids=["MLP", "DCGAN"])
def test_c16_s1_keeps_what_s3_frees_and_s2_peaks_as_high_as_s1(gan):
    assert alive_after_first_backward(step_retain_graph, gan) > 0
    assert alive_after_first_backward(step_generator_first, gan) == 0
    peaks = []
    for step in THREE:
        with record(gan.nets, gan.optimizers) as rec:
            step(gan, *batch_for(gan, 8))
        peaks.append(rec.peak.activations)
    assert peaks[0] == peaks[1] > peaks[2]


def test_c17_by_cost_there_is_no_such_ranking():
    for widths in ((256, 64), (64, 512)):
        s1, s2, s3 = (of_step(step, pair(*widths)) for step in THREE)
        assert s2 == s3
        assert (s1 < s3) is (widths == (64, 512))


def test_c21_d_is_lighter_in_the_mlp_pair_and_about_equal_in_the_dcgan_pair():
    g, d, _, _ = parts(mlp_gan(), 4)
    assert 0.8 < d / g < 1
    g, d, _, _ = parts(dcgan(), 2)
    assert 0.95 < d / g < 1.05


@pytest.mark.parametrize(("gan", "n"), [(mlp_gan(), 4), (dcgan(), 2)], ids=["MLP", "DCGAN"])
def test_c22_a_gradient_of_g_costs_more_than_a_forward_of_d(gan, n):
    _, d, back_g, _ = parts(gan, n)
    assert back_g > d


def test_c22_and_less_where_d_is_much_the_wider():
    _, d, back_g, _ = parts(pair(64, 512), 4)
    assert back_g < d


def test_torch_counts_what_it_says():
    assert flops(lambda: torch.ones(2, 3) @ torch.ones(3, 5)) == 2 * 2 * 3 * 5
