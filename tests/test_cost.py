"""What a step costs: counted against derived, and nothing of what is passed in changed."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import STRATEGIES, data, dcgan, mlp_gan, step_one_stage, tiny_gan
from gan_lessons.lens.cost import (
    MlpFlops,
    cost,
    costs,
    counted_flops,
    crossover,
    flops_text,
    interleaved,
    mlp_flops,
)

SIZES = st.lists(st.integers(1, 12), min_size=0, max_size=3)


def batch_for(gan, n):
    G, D = gan.generator, gan.discriminator
    return data.noise(n, D.in_shape, seed=0), data.noise(n, G.in_shape, seed=1)


def counted(step, gan, real, noise):
    step(gan, real, noise)  # the first one-stage step also tries D out
    with counted_flops(gan.nets) as flops:
        step(gan, real, noise)
    return flops


@settings(max_examples=25, deadline=None)
@given(hidden_g=SIZES, hidden_d=SIZES, n=st.integers(2, 9), noise_dim=st.integers(1, 5))
def test_counted_and_derived_flops_agree_exactly(hidden_g, hidden_d, n, noise_dim):
    gan = mlp_gan((2, 3), noise_dim, hidden_g, hidden_d)
    batch = batch_for(gan, n)
    derived = mlp_flops((noise_dim, *hidden_g, 6), (6, *hidden_d, 1), n)
    assert set(derived) == set(STRATEGIES)
    for key, strategy in STRATEGIES.items():
        flops = counted(strategy.step, gan, *batch)
        assert sum(sum(phases.values()) for phases in flops.values()) == derived[key], key
        assert flops[""] == {"forward": 0, "backward": 0}
    difference = derived["retain_graph"] - derived["generator_first"]
    assert difference == crossover((noise_dim, *hidden_g, 6), (6, *hidden_d, 1), n)


@pytest.mark.parametrize("key", STRATEGIES)
def test_the_total_is_that_of_torchs_own_counter(key):
    gan = dcgan(16, 1, 4, width=4, batchnorm=False)
    batch, step = batch_for(gan, 4), STRATEGIES[key].step
    ours = counted(step, gan, *batch)
    with FlopCounterMode(display=False) as theirs:
        step(gan, *batch)
    assert sum(sum(phases.values()) for phases in ours.values()) == theirs.get_total_flops()
    assert ours[""] == {"forward": 0, "backward": 0}


def test_the_split_by_net_and_phase():
    gan = mlp_gan((6,), 4, (8,), (16, 16))
    G, D = MlpFlops.of((4, 8, 6), 5), MlpFlops.of((6, 16, 16, 1), 5)
    flops = counted(step_one_stage, gan, *batch_for(gan, 5))
    assert flops["G"] == {"forward": G.forward, "backward": G.backward}
    assert flops["D"] == {"forward": 2 * D.forward, "backward": D.backward + D.backward_through}


def test_one_stage_meets_the_lower_bound():
    """Each output once forward, each weight's gradient once per sample that it learns from, and the
    gradient at each layer's input where a weight lies behind it. Nothing less gives the update."""
    gan = mlp_gan((6,), 4, (8,), (16, 16))
    n, sizes_g, sizes_d = 5, (4, 8, 6), (6, 16, 16, 1)
    layers = [[2 * n * a * b for a, b in pairwise(sizes)] for sizes in (sizes_g, sizes_d)]
    of_g, of_d = layers
    forward = sum(of_g) + 2 * sum(of_d)
    weights = sum(of_g) + 2 * sum(of_d)
    inputs = sum(of_g[1:]) + sum(of_d[1:]) + sum(of_d)  # real: not at the image; fake: also there
    flops = counted(step_one_stage, gan, *batch_for(gan, n))
    assert sum(sum(p.values()) for p in flops.values()) == forward + weights + inputs


def test_forwards_backwards_and_bytes():
    gan = tiny_gan()
    table = costs({key: s.step for key, s in STRATEGIES.items()}, gan, *batch_for(gan, 4))
    calls = {key: (c.forwards, c.backwards) for key, c in table.items()}
    assert calls == {
        "retain_graph": ({"G": 1, "D": 2}, {"G": 2, "D": 2}),
        "detach": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
        "generator_first": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
        "frozen": ({"G": 1, "D": 3}, {"G": 1, "D": 2}),
        "selective": ({"G": 1, "D": 2}, {"G": 1, "D": 2}),
        "one_stage": ({"G": 1, "D": 2}, {"G": 1, "D": 1}),
    }
    for it in table.values():
        assert it.peak.activations >= max(held.activations for _, held in it.held) > 0
        assert it.cuda_peak is None
        low, high = it.spread
        assert 0 < min(it.seconds) <= low <= it.time <= high <= max(it.seconds)


def test_nothing_that_is_passed_in_changes():
    gan = mlp_gan((6,), 4, (8,), (8,))
    real, noise = batch_for(gan, 4)
    before, state = copy.deepcopy(gan.discriminator.state_dict()), torch.get_rng_state()
    cost(step_one_stage, gan, real, noise, repeats=2)
    for name, value in gan.discriminator.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(state, torch.get_rng_state())
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in gan.nets.values())


def test_hooks_go_and_errors_come_through():
    gan = mlp_gan((6,), 4, (8,), (8,))
    with pytest.raises(KeyboardInterrupt), counted_flops(gan.nets):
        raise KeyboardInterrupt
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in gan.nets.values())
    with pytest.raises(ValueError, match="needs 1 of each"):
        costs({}, gan, *batch_for(gan, 4))


def test_the_same_in_both_displays():
    gan = tiny_gan()
    steps = {"a": STRATEGIES["detach"].step, "<b>": step_one_stage}
    table = costs(steps, gan, *batch_for(gan, 4), repeats=2)
    page = table._repr_html_()
    for row in table.rows()[1:]:
        for cell in row[1:]:
            assert cell in str(table)
            assert cell in page
    assert "&lt;b&gt;" in page


def test_turns_are_taken():
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "ab"}
    times = interleaved(runs, 2)
    assert order == ["a", "b", "b", "a"]
    assert {name: len(found) for name, found in times.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("flops", "text"), [(0, "0"), (999, "999"), (1000, "1.00 k"), (12_345_678, "12.3 M")]
)
def test_flops_text(flops, text):
    assert flops_text(flops) == text
