"""The cost lab: its numbers are counts of real steps, and its page stands on its own."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gan_lessons import STRATEGIES, data, mlp_gan
from gan_lessons.classroom import PARTS, WIDTHS, cost_lab
from gan_lessons.lens.cost import NetFlops, step_flops
from gan_lessons.strategies import THREE

SOME = (8, 16, 24)


@pytest.fixture(scope="module")
def lab():
    return cost_lab(widths=SOME, strategy="retain_graph")


def nets(g: int, d: int, batch: int = 64) -> tuple[NetFlops, NetFlops]:
    return NetFlops.of((32, g, g, 64), batch), NetFlops.of((64, d, d, 1), batch)


@pytest.mark.parametrize("key", THREE)
def test_every_number_is_what_torch_counts_for_the_same_nets(lab, key):
    real, noise = data.noise(64, (1, 8, 8)), data.noise(64, (32,))
    for g in SOME:
        for d in SOME:
            with FlopCounterMode(display=False) as counter:
                STRATEGIES[key].step(mlp_gan(hidden_g=(g, g), hidden_d=(d, d)), real, noise)
            assert sum(lab.flops(key, g, d).values()) == counter.get_total_flops()


def test_the_formula_that_is_shown_gives_the_number_beside_it():
    """As a reader would work it out, from the text and the four sizes."""
    lab = cost_lab(*STRATEGIES, widths=SOME)
    shown = lab.data
    for key in shown["order"]:
        for i, g in enumerate(SOME):
            for j, d in enumerate(SOME):
                sizes = {
                    "F_G": shown["forward"]["g"][i],
                    "I_G": shown["first"]["g"][i],
                    "F_D": shown["forward"]["d"][j],
                    "I_D": shown["first"]["d"][j],
                }
                text = re.sub(r"(\d) ", r"\1*", shown["formulas"][key].replace("−", "-"))
                worked_out = eval(text, {}, sizes)
                assert worked_out == sum(lab.flops(key, g, d).values())
                assert worked_out == step_flops(key, *nets(g, d))


def test_parts_are_those_of_the_nets(lab):
    g, d = nets(16, 24)
    parts = lab.flops("retain_graph", 16, 24)
    assert list(parts) == list(PARTS)
    assert parts["G", "forward"] == g.forward
    assert parts["G", "backward"] == 2 * (2 * g.forward - g.first)
    assert parts["D", "forward"] == 2 * d.forward


def test_all_strategies_can_be_shown_together():
    lab = cost_lab(*STRATEGIES, widths=(8,))
    assert lab.data["order"] == list(STRATEGIES)
    assert set(lab.data["formulas"]) == set(STRATEGIES)
    one = cost_lab("detach", widths=(8,))
    assert one.data["reference"] == "detach"
    assert one.data["compared"] == []


def test_the_random_state_stays():
    before = torch.get_rng_state()
    cost_lab("detach", widths=(8,))
    assert torch.equal(torch.get_rng_state(), before)


def test_strategy_and_index_agree(lab):
    assert (lab.strategy, lab.index) == ("retain_graph", 0)
    lab.index = 2
    assert lab.strategy == "generator_first"
    lab.strategy = "retain_graph"
    assert lab.index == 0


def test_the_page_holds_the_numbers_and_a_table_for_those_without_scripts(lab):
    page = lab.to_html()
    (payload,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert "<" not in payload
    told = json.loads(payload)
    assert told["data"]["flops"] == lab.data["flops"]
    assert told["state"] == {"strategy": "retain_graph", "width_g": 1, "width_d": 1}
    assert "FLOPs of one step, G 16 and D 16 wide. With JavaScript this is interactive." in page
    for key in THREE:
        assert f'<th scope="row">{STRATEGIES[key].title}</th>' in page
    bundle, _ = lab._repr_mimebundle_()
    assert bundle["text/html"] == page
    assert "G 16 wide, D 16 wide" in bundle["text/plain"]
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_bad_input_is_refused_in_words():
    with pytest.raises(KeyError, match="Did you mean 'detach'"):
        cost_lab("detatch")
    with pytest.raises(KeyError, match="not among those shown: detach"):
        cost_lab("detach", widths=(8,), strategy="retain_graph")
    for wrong in ({"widths": ()}, {"widths": (8, 0)}, {"batch": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            cost_lab("detach", **wrong)


def test_the_widths_of_the_lesson_show_both_sides_of_the_crossover():
    gaps = [
        step_flops("retain_graph", *nets(g, d)) - step_flops("generator_first", *nets(g, d))
        for g in WIDTHS
        for d in WIDTHS
    ]
    assert min(gaps) < 0 < max(gaps)
