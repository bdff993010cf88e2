"""Lesson 05, the comparison: what the article claims about cost, measured without the notebook.

torch's own counter counts FLOPs here, and saved-tensor hooks count bytes: not the lesson's tools.
No test looks at a clock.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import (
    STRATEGIES,
    Gan,
    cost_all,
    data,
    dcgan,
    mlp_gan,
    step_detach,
    step_generator_first,
    step_retain_graph,
    tiny_gan,
)
from gan_lessons.losses import bce_with_logits
from gan_lessons.models import DCDiscriminator, DCGenerator, ShapedModule

THREE = {key: STRATEGIES[key] for key in ("retain_graph", "detach", "generator_first")}
Step = Callable[[Gan, Tensor, Tensor], object]


def batch_for(gan: Gan, size: int = 4) -> tuple[Tensor, Tensor]:
    G, D = gan.generator, gan.discriminator
    assert isinstance(G, ShapedModule)
    assert isinstance(D, ShapedModule)
    return data.noise(size, D.in_shape, seed=1), data.noise(size, G.in_shape, seed=2)


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def step_flops(step: Step, gan: Gan) -> int:
    real, noise = batch_for(gan)
    return flops(lambda: step(copy.deepcopy(gan), real, noise))


def gap(gan: Gan) -> int:
    """FLOPs of S1 less those of S3."""
    return step_flops(step_retain_graph, gan) - step_flops(step_generator_first, gan)


def forward_flops(net: nn.Module, batch: Tensor) -> int:
    with torch.no_grad():
        return flops(lambda: net(batch))


def parts(gan: Gan) -> tuple[int, int, int]:
    """FLOPs of G's backward, of D's forward, and of the gradient at D's own input."""
    real, noise = batch_for(gan)
    fake = gan.generator(noise)
    backward_g = flops(lambda: fake.sum().backward())
    with_input, without = (
        flops(gan.discriminator(sample).sum().backward)
        for sample in (real.clone().requires_grad_(), real)
    )
    return backward_g, forward_flops(gan.discriminator, real), with_input - without


def dcgan_with(width_g: int, width_d: int) -> Gan:
    G = DCGenerator(8, 16, 1, width_g)
    D = DCDiscriminator(16, 1, width_d, batchnorm=False, logits=True)
    return Gan.with_adam(G, D, bce_with_logits)


PAIRS: dict[str, Callable[[], Gan]] = {
    "tiny": tiny_gan,
    "digits": mlp_gan,
    "heavy G": lambda: mlp_gan(hidden_g=(256, 256), hidden_d=(64, 64)),
    "heavy D": lambda: mlp_gan(hidden_g=(64, 64), hidden_d=(512, 512)),
    "dcgan": lambda: dcgan(16, 1, 8, width=8),
    "dcgan, heavy D": lambda: dcgan_with(4, 16),
}


# C14: S1 costs one extra gradient of G, S3 one extra forward of D; the difference is small.


@pytest.mark.parametrize("pair", PAIRS)
def test_c14_one_gradient_of_g_against_one_forward_of_d_and_the_gradient_at_d_s_input(pair):
    gan = PAIRS[pair]()
    backward_g, forward_d, at_input = parts(gan)
    assert gap(gan) == backward_g - forward_d + at_input


def test_c14_s1_walks_g_twice_and_s3_runs_d_once_more():
    costs = cost_all(THREE, mlp_gan(), *batch_for(mlp_gan()), repeat=0)
    s1, s3 = costs["retain_graph"], costs["generator_first"]
    assert s1.flops_of("G", "backward") == 2 * s3.flops_of("G", "backward")
    assert 3 * s1.flops_of("D", "forward") == 2 * s3.flops_of("D", "forward")
    assert s1.flops_of("G", "forward") == s3.flops_of("G", "forward")


def test_c14_the_difference_is_not_always_small():
    relative = {}
    for name in ("digits", "heavy G", "heavy D"):
        gan = PAIRS[name]()
        relative[name] = gap(gan) / step_flops(step_generator_first, gan)
    assert relative["heavy G"] > 0.3
    assert 0.05 < relative["digits"] < 0.2
    assert relative["heavy D"] < -0.05


# C15: a heavier D favours S1, a lighter D S3.


def crossings(gaps: list[int]) -> list[int]:
    return [i for i, (a, b) in enumerate(pairwise(gaps)) if (a > 0) != (b > 0)]


@pytest.mark.parametrize(
    "make",
    [
        lambda width: mlp_gan(hidden_g=(128, 128), hidden_d=(width, width)),
        lambda width: mlp_gan(hidden_g=(64,), hidden_d=(width, width, width)),
        lambda width: dcgan_with(8, max(1, width // 16)),
    ],
    ids=["mlp", "deep D", "dcgan"],
)
def test_c15_as_d_grows_s1_overtakes_s3_once(make):
    gaps = [gap(make(width)) for width in (16, 32, 64, 128, 256, 512, 1024)]
    assert gaps[0] > 0 > gaps[-1]
    assert len(crossings(gaps)) == 1


def test_c15_as_g_grows_it_is_the_other_way_round():
    gaps = [
        gap(mlp_gan(hidden_g=(width, width), hidden_d=(256, 256))) for width in (16, 64, 256, 512)
    ]
    assert gaps[0] < 0 < gaps[-1]
    assert len(crossings(gaps)) == 1


def test_c15_the_rule_is_not_about_which_net_is_the_heavier_one():
    """The crossing is where G's gradient and D's forward balance: there D is twice as heavy."""
    gan = mlp_gan(hidden_g=(128, 128), hidden_d=(160, 160))
    real, noise = batch_for(gan)
    assert forward_flops(gan.discriminator, real) > forward_flops(gan.generator, noise)
    assert gap(gan) > 0  # the heavier net is D, and S3 is still the cheaper step


# C16: S1 keeps memory that S3 frees.


SCALAR = 8  # d_loss divides by 2; the graph keeps the number, and hooks are not told


def saved_bytes(gan: Gan, batch: tuple[Tensor, Tensor], make: Callable[[], object]) -> int:
    """Bytes of the distinct storages that a graph saves, parameters and the batch apart."""
    lasting = [*batch, *(t for n in gan.nets.values() for t in (*n.parameters(), *n.buffers()))]
    known = {t.untyped_storage().data_ptr() for t in lasting}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = make()
    assert kept is not None  # alive until the sum is done
    return sum(size for place, size in saved.items() if place not in known)


def saved_by_phase(gan: Gan) -> tuple[int, int, int]:
    """What is saved at once where S1 has built its one graph, and in S3's two phases."""
    real, noise = batch = batch_for(gan)
    G, D, _, _, loss = gan.parts
    ones, zeros = (torch.full_like(D(real), value) for value in (1.0, 0.0))

    def all_at_once() -> object:
        fake = G(noise)
        pred_fake, pred_real = D(fake), D(real)
        return (loss(pred_real, ones) + loss(pred_fake, zeros)) / 2, loss(pred_fake, ones)

    fake = G(noise).detach()
    return (
        saved_bytes(gan, batch, all_at_once) + SCALAR,
        saved_bytes(gan, batch, lambda: loss(D(G(noise)), ones)),
        saved_bytes(gan, batch, lambda: (loss(D(real), ones) + loss(D(fake), zeros)) / 2) + SCALAR,
    )


@pytest.mark.parametrize("pair", PAIRS)
def test_c16_saved_activations_peak_alike_in_s1_and_s2_and_lower_in_s3(pair):
    gan = PAIRS[pair]()
    costs = cost_all(THREE, gan, *batch_for(gan), repeat=0)
    s1, s2, s3 = (costs[name].peak_held.activations for name in THREE)
    assert s1 == s2 > s3
    together, *phases = saved_by_phase(gan)
    assert (s1, s3) == (together, max(phases))


@pytest.mark.parametrize("pair", PAIRS)
def test_c16_of_all_that_is_allocated_s1_needs_most_and_s3_least(pair):
    gan = PAIRS[pair]()
    costs = cost_all(THREE, gan, *batch_for(gan, 16), repeat=0)
    s1, s2, s3 = (costs[name].peak_allocated for name in THREE)
    assert s1 > s2 >= s3


def test_c16_after_its_first_backward_s1_holds_all_and_s3_nothing():
    gan = mlp_gan()
    costs = cost_all(THREE, gan, *batch_for(gan), repeat=0)
    after = {}
    for name in ("retain_graph", "generator_first"):
        record = costs[name].record
        after[name] = next(e for e in record.events if e.kind == "backward").held.activations
        if name == "retain_graph":
            assert after[name] == record.backward_calls[0].held_before.activations > 0
    assert after["generator_first"] == 0


# C17, the half about cost: S3 is best, S2 second, S1 worst.


@pytest.mark.parametrize("pair", PAIRS)
def test_c17_in_flops_s2_and_s3_tie(pair):
    gan = PAIRS[pair]()
    assert step_flops(step_detach, gan) == step_flops(step_generator_first, gan)


def test_c17_in_flops_s1_is_last_for_some_pairs_and_first_for_others():
    assert gap(PAIRS["heavy G"]()) > 0 > gap(PAIRS["heavy D"]())


# C21: D is usually simpler than G.


@pytest.mark.parametrize("make", [tiny_gan, mlp_gan, lambda: dcgan(width=8)])
def test_c21_in_the_pairs_of_the_lessons_d_is_the_simpler_net(make):
    gan = make()
    real, noise = batch_for(gan, 1)
    assert forward_flops(gan.discriminator, real) < forward_flops(gan.generator, noise)
    weights_g, weights_d = (sum(p.numel() for p in n.parameters()) for n in gan.nets.values())
    assert weights_d < weights_g


def test_c21_the_forwards_of_the_dcgan_pair_are_about_equal():
    gan = dcgan(width=32)
    real, noise = batch_for(gan, 1)
    ratio = forward_flops(gan.generator, noise) / forward_flops(gan.discriminator, real)
    assert 1 < ratio < 1.05


# C22: an extra gradient of G usually costs more than an extra forward of D.


@pytest.mark.parametrize("make", [tiny_gan, mlp_gan, lambda: dcgan(width=8)])
def test_c22_in_the_pairs_of_the_lessons_the_gradient_of_g_costs_more(make):
    backward_g, forward_d, _ = parts(make())
    assert backward_g > 1.9 * forward_d


def test_c21_c22_usually_is_more_than_half_of_the_pairs_with_the_heavy_d_among_them():
    forwards, backwards = [], []
    for pair in ("tiny", "digits", "dcgan", "heavy G", "heavy D"):
        gan = PAIRS[pair]()
        (_, noise), (backward_g, forward_d, _) = batch_for(gan), parts(gan)
        forwards.append(forward_flops(gan.generator, noise) / forward_d)
        backwards.append(backward_g / forward_d)
    for ratios in (forwards, backwards):
        assert [ratio > 1 for ratio in ratios] == [True, True, True, True, False]


def test_c22_with_a_heavy_d_it_costs_less():
    backward_g, forward_d, _ = parts(PAIRS["heavy D"]())
    assert backward_g < 0.1 * forward_d
