"""The cost lab: bars that move with the sliders, counted, and the same without a kernel."""

import re

import pytest

from gan_lessons.classroom import cost_lab
from gan_lessons.classroom.cost_lab import WIDTHS, CostLab, bars, counted, sizes
from gan_lessons.lens.cost import mlp_flops
from gan_lessons.strategies import STRATEGIES


@pytest.mark.parametrize("widths", [(16, 64), (64, 16)])
def test_every_bar_is_what_the_paper_says(widths):
    assert counted(*widths) == mlp_flops(*sizes(*widths), cost_lab.BATCH)


def test_the_bars_move_with_the_sliders():
    lab = CostLab(16, 16)
    first = lab._page.value
    lab.sliders["D"].value = 32
    assert lab.widths == (16, 32)
    assert lab._page.value != first
    assert lab._page.value == bars(16, 32)[0]


def test_without_a_kernel_the_first_state_shows():
    lab = CostLab(16, 16)
    bundle = lab._repr_mimebundle_()
    assert bundle["text/html"] == lab._page.value
    assert "application/vnd.jupyter.widget-view+json" in bundle
    for strategy in STRATEGIES.values():
        assert strategy.title in bundle["text/plain"]
        assert strategy.title in bundle["text/html"]


def test_the_longest_bar_is_full_and_lengths_are_in_proportion():
    flops, page = counted(16, 16), bars(16, 16)[0]
    widths = [float(w) for w in re.findall(r"width:([\d.]+)%", page)]
    most = max(flops.values())
    assert widths == [round(100 * f / most, 1) for f in flops.values()]


def test_the_cheaper_one_is_named():
    assert "S3: generator first is the cheaper" in bars(64, 16)[1]
    assert "S1: retain the graph is the cheaper" in bars(16, 64)[1]


def test_a_width_that_is_not_offered():
    with pytest.raises(ValueError, match=f"one of .*{WIDTHS[0]}.*got 17"):
        CostLab(17, 16)
