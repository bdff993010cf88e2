"""Lesson 09, in the wild: what it says about freezing, special cases and real loops."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor, nn

from gan_lessons import (
    data,
    dcgan,
    diagnose,
    record,
    step_detach,
    step_frozen,
    step_generator_first,
    step_retain_graph,
    step_selective,
    tiny_gan,
)
from gan_lessons.classroom.wild import (
    WAYS,
    WILD,
    Row,
    Turn,
    freezing_rows,
    freezing_table,
    read,
    recorded,
    table_of,
)
from gan_lessons.lens.model import Record


@pytest.fixture(scope="module")
def lesson(root: Path) -> SimpleNamespace:
    """All that the lesson's cells define, run from top to bottom, and what they printed."""
    names: dict[str, Any] = {}
    printed, threads = io.StringIO(), torch.get_num_threads()
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.compile's own; the run as a notebook has none
            for cell in nbformat.read(root / "notebooks" / "09-in-the-wild.ipynb", 4).cells:
                if cell.cell_type == "code":
                    exec(compile(cell.source, "<lesson 09>", "exec"), names)
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(**names, printed=printed.getvalue())


@pytest.fixture(scope="module")
def g_turn() -> dict[str, Row]:
    return rows_of("G")


@pytest.fixture(scope="module")
def d_turn() -> dict[str, Row]:
    return rows_of("D")


def batch() -> tuple[Tensor, Tensor]:
    return data.noise(8, (1, 16, 16), seed=3).tanh(), data.noise(8, (8,), seed=4)


def rows_of(who: str) -> dict[str, Row]:
    return freezing_rows(who, dcgan(16, 1, 8, width=4), *batch())


# Freezing ----------------------------------------------------------------------------------------


def test_what_stops_g_and_what_lets_it_learn(g_turn):
    silent = {name for name, row in g_turn.items() if not row.moved and not row.raised}
    assert silent == {"detach() of the fake", "no_grad() for the fake"}
    raised = {name for name, row in g_turn.items() if row.raised}
    assert raised == {"no_grad() for the loss"}
    other = {name for name, row in g_turn.items() if row.moved and not row.same}
    assert other == {"eval()"}
    assert g_turn["eval()"].cosine < 0.95


def test_what_writes_into_d(g_turn):
    total = len(list(dcgan(16, 1, 8, width=4).discriminator.parameters()))
    for name in ("nothing", "detach() of the fake", "no_grad() for the fake", "eval()"):
        assert (g_turn[name].written, g_turn[name].left) == (total, total), name
    cleared = g_turn["zero_grad() afterwards"]
    assert (cleared.written, cleared.left) == (total, 0)
    for name in ("requires_grad_(False)", "the same, after the forward", "inputs=", "toggling"):
        assert (g_turn[name].written, g_turn[name].left) == (0, 0), name


def test_batchnorm_goes_by_the_mode_alone(g_turn, d_turn):
    for rows in (g_turn, d_turn):
        assert {name for name, row in rows.items() if not row.norms} == {"eval()"}


def test_what_is_not_written_is_not_computed_unless_it_was_frozen_too_late(g_turn):
    flops = {name: row.flops for name, row in g_turn.items()}
    full = flops["nothing"]
    less = flops["requires_grad_(False)"]
    assert less < full
    assert flops["inputs="] == flops["toggling"] == less
    for name in ("the same, after the forward", "zero_grad() afterwards", "eval()"):
        assert flops[name] == full, name


def test_in_ds_turn_the_fatal_words_are_right_and_the_cheapest(d_turn):
    for name in ("detach() of the fake", "no_grad() for the fake"):
        assert d_turn[name].moved
        assert d_turn[name].same
        assert d_turn[name].written == 0
        assert d_turn[name].flops == min(row.flops for row in d_turn.values() if not row.raised)


def test_the_ways_that_are_clean_in_both_turns(lesson, g_turn, d_turn):
    def clean(name: str) -> bool:
        return all(r[name].moved and r[name].same and not r[name].written for r in (g_turn, d_turn))

    assert len(WAYS) == 10  # "Ten ways"
    right = {name for name in WAYS if clean(name)}
    assert right == {
        "requires_grad_(False)", "the same, after the forward", "inputs=", "toggling",
    }  # fmt: skip
    assert {n for n in WAYS if lesson.clean(lesson.in_gs_turn[n])} >= right


def test_the_table_says_what_the_rows_say(g_turn):
    text = str(freezing_table("G", g_turn))
    line = next(x for x in text.splitlines() if x.startswith("detach()"))
    assert "✗ no, and no error" in line
    assert "○ written" in line
    assert "raises" in next(x for x in text.splitlines() if "for the loss" in x)
    assert str(freezing_table("G", g_turn)).count("\n") == len(WAYS)
    assert "<td" in freezing_table("G", g_turn)._repr_html_()


@pytest.mark.parametrize("who", ["G", "D"])
@pytest.mark.parametrize("name", [n for n in WAYS if n != "no_grad() for the loss"])
def test_every_way_puts_back_what_it_changes(name, who):
    gan = dcgan(16, 1, 8, width=4)
    WAYS[name](Turn.of(who, gan, *batch()))
    for net in gan.nets.values():
        assert all(p.requires_grad for p in net.parameters())
        assert all(module.training for module in net.modules())


def test_a_way_that_raises_puts_it_back_too():
    gan = tiny_gan()
    turn = Turn.of("G", gan, data.ring(4), data.noise(4, (2,)))

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    handle = gan.generator.register_forward_hook(fail)
    for name in ("requires_grad_(False)", "eval()", "toggling"):
        with pytest.raises(KeyboardInterrupt):
            WAYS[name](turn)
        assert all(p.requires_grad for n in gan.nets.values() for p in n.parameters())
        assert gan.discriminator.training
    handle.remove()


def test_measuring_changes_nothing_of_what_is_passed_in():
    gan = dcgan(16, 1, 8, width=4)
    before = {k: v.clone() for net in gan.nets.values() for k, v in net.state_dict().items()}
    freezing_rows("G", gan, *batch())
    after = {k: v for net in gan.nets.values() for k, v in net.state_dict().items()}
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.grad is None for net in gan.nets.values() for p in net.parameters())


@pytest.mark.parametrize(
    ("layer", "shape", "saves"),
    [(nn.Linear(6, 4), (5, 6), False), (nn.Conv2d(2, 3, 3), (5, 2, 8, 8), True)],
    ids=["linear", "convolution"],
)
@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_linear_layer_saves_no_input_and_a_convolution_does(layer, shape, saves, frozen):
    layer.requires_grad_(not frozen)
    x = torch.randn(shape, requires_grad=True)
    shapes: list[tuple[int, ...]] = []

    def pack(tensor: Tensor) -> Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    assert (shape in shapes) == (saves or not frozen)


# The short sections ------------------------------------------------------------------------------


def test_predictions_meet_the_measurement_that_the_prose_goes_on_with(lesson):
    measured = {
        name: getattr(lesson, name).measured[0]["measured"]
        for name in ("eval_writes", "frozen_moves", "one_call", "forgotten", "accumulated",
                     "clipped", "skipped", "moves", "holds", "wasteful", "goes_first")
    }  # fmt: skip
    assert measured == {
        "eval_writes": "no, gradients are written into it",
        "frozen_moves": "no, BatchNorm moves them",
        "one_call": "no",
        "forgotten": "nothing, and no error",
        "accumulated": "D's",
        "clipped": "1 / 65,536",
        "skipped": "only G",
        "moves": "2",
        "holds": "eval()",
        "wasteful": "7",
        "goes_first": "alternating",
    }


def test_one_call_of_a_d_with_batchnorm_is_another_gradient(lesson):
    cosines = [float(n) for n in re.findall(r"d_loss .*, cosine ([\d.]+)", lesson.printed)]
    assert len(cosines) == 2
    assert all(0 < cosine < 0.9 for cosine in cosines)
    lesson.judge.eval()  # where nothing of the batch takes part, both ways are the same
    (loss, grad), (its_loss, its_grad) = lesson.learns_from(False), lesson.learns_from(True)
    lesson.judge.train()
    assert loss == pytest.approx(its_loss)
    assert torch.allclose(grad, its_grad, atol=1e-5)


def test_a_scaler_skips_one_optimizer_alone_and_its_update_comes_once(lesson):
    assert lesson.usual_turn[0] == ("D", "G")
    assert lesson.usual_turn[2] == [f"{2**10:,}"]
    assert lesson.stepped == ("G",)
    assert lesson.scale_after == [f"{2**19:,}"]
    assert lesson.finite == {"G": True, "D": False}
    right = lesson.usual_turn[1]
    assert torch.cosine_similarity(lesson.gradient_of_g, right, dim=0) > 0.99
    assert (lesson.gradient_of_g.norm() / right.norm()).item() == pytest.approx(1, abs=0.05)
    assert "G's gradient is 2.00 times as long" in lesson.printed


@pytest.mark.parametrize("penalty", ["WGAN-GP", "R1"])
def test_without_create_graph_the_loss_is_the_same_and_the_penalty_is_not_felt(lesson, penalty):
    right, without = lesson.felt[penalty]
    assert without[0] == pytest.approx(right[0])
    assert torch.equal(without[1], lesson.no_penalty)
    assert not torch.allclose(right[1], lesson.no_penalty, rtol=0.1)


def test_create_graph_keeps_the_graph():
    x = torch.randn(3, requires_grad=True)
    y = (x**3).sum()
    torch.autograd.grad(y, x, create_graph=True)
    torch.autograd.grad(y, x)  # once more: nothing was freed


def test_inputs_mends_the_accumulation(lesson):
    assert lesson.differ(lesson.mixed) == ("D",)
    assert lesson.differ(lesson.apart) == ()


def test_what_autocast_computes_in_16_bits(lesson):
    kinds = {name: tensor.dtype for name, tensor in lesson.kinds.items()}
    assert kinds["fake"] is torch.bfloat16
    assert kinds["weight of G"] is kinds["its gradient"] is torch.float32


def test_checkpointing_gives_the_same_gradient_and_hides_the_error_of_s1(lesson):
    assert torch.allclose(lesson.its_gradient, lesson.same_gradient)
    assert lesson.usual.batchnorm["D"] == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        lesson.as_printed(checkpointed=False)
    by_the_old_d, by_the_new_d = lesson.as_printed(checkpointed=True)
    assert by_the_old_d < 0.5 < 0.99 < by_the_new_d


def test_only_eval_holds_spectral_norm_still(lesson):
    assert lesson.results == {"nothing": False, "frozen": False, "no_grad": False, "eval": True}


def test_donated_buffers_depend_on_what_d_was_compiled_for(lesson):
    said = [line for line in lesson.printed.splitlines() if line.startswith("first retain_graph")]
    assert [line.endswith("runs") for line in said] == [True, True, False]
    assert "donated buffers" in said[2]


def test_an_average_of_the_weights_alone_makes_grey_images(lesson):
    spread = {}
    for name, net in lesson.averages.items():
        with torch.no_grad():
            spread[name] = net.eval()(lesson.dice).std().item()
    assert spread["weights only"] < 0.1 * spread["with buffers"]
    assert spread["with buffers"] > 0.5 * spread["G itself"]


# Real code ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records() -> dict[str, Record]:
    return {name: recorded(loop) for name, loop in WILD.items()}


def test_thirteen_loops_each_with_an_address(records):
    assert len(records) == 13
    assert len({loop.address for loop in WILD.values()}) == 13
    assert all(loop.address.startswith("https://github.com/") for loop in WILD.values())


# Order, cut, update: what the original files do, read there.
SHAPES = {
    "dcgan_example": (("D", "G"), "detach()", "alternating"),
    "pytorch_gan": (("G", "D"), "detach()", "simultaneous"),
    "softmax_gan": (("D",), "nothing", ""),
    "wgan_gp": (("D", "G"), "nothing", "alternating"),
    "one_and_mone": (("D", "G"), "made without gradients", "alternating"),
    "pix2pix": (("D", "G"), "detach()", "alternating"),
    "cyclegan": (("G", "D"), "detach()", "simultaneous"),
    "hifi_gan": (("D", "G"), "detach()", "alternating"),
    "stylegan2_ada": (("G", "D"), "made without gradients", "alternating"),
    "biggan": (("D", "G"), "made without gradients", "alternating"),
    "srgan": (("G", "D"), "detach()", "simultaneous"),
    "dragan": (("G", "D"), "–", ""),
    "relativistic_gan": (("G", "D"), "detach()", "simultaneous"),
}


@pytest.mark.parametrize("name", WILD)
def test_a_record_tells_the_shape_of_each(name, records):
    row = read(records[name])
    assert (row.order, row.cut, row.update) == SHAPES[name]


# Which strategy of the article each is, as read in the original files.
OF_STRATEGY = {
    "S1": {"softmax_gan"},
    "S2": {"dcgan_example", "pix2pix", "hifi_gan"},
    "S3": {"pytorch_gan", "cyclegan", "srgan", "relativistic_gan"},
    "none: two fakes": {"wgan_gp", "one_and_mone", "stylegan2_ada", "biggan"},
    "none: D learns from no fake": {"dragan"},
}


def test_a_record_tells_the_strategy_of_each(records):
    told: dict[str, set[str]] = {}
    for name, rec in records.items():
        told.setdefault(read(rec).strategy, set()).add(name)
    assert told == OF_STRATEGY


@pytest.mark.parametrize(
    ("step", "told"),
    [(step_retain_graph, "S1"), (step_selective, "S1"), (step_detach, "S2"),
     (step_generator_first, "S3"), (step_frozen, "S3")],
)  # fmt: skip
def test_the_package_s_own_steps_are_told_by_the_same_rule(step, told):
    gan = tiny_gan()
    with record(gan.nets, gan.optimizers) as rec:
        step(gan, data.ring(4), data.noise(4, (2,)))
    assert read(rec, iterations=1).strategy == told


def test_who_freezes_wastes_nothing_and_all_others_waste_a_judge_s_gradient(records):
    rows = {name: read(rec) for name, rec in records.items()}
    freezing = {name for name, rec in records.items() if "frozen" in diagnose(rec).codes}
    assert freezing == {"one_and_mone", "pix2pix", "cyclegan", "stylegan2_ada", "biggan"}
    for name, row in rows.items():
        if name in freezing or name == "softmax_gan":
            assert not row.in_vain, name
        else:
            assert {"D", "mpd", "msd"} & {*(row.in_vain or ())}, name
    assert not any(c.restricted for rec in records.values() for c in rec.backward_calls)


def test_findings_of_the_loops(records):
    grave = {name: read(rec).grave for name, rec in records.items() if read(rec).grave}
    assert grave == {
        "softmax_gan": ("inplace-after-retain",),
        "dragan": ("never-walked",),
        "relativistic_gan": ("never-walked",),
    }
    assert "D" in (records["softmax_gan"].explanation or "")


def test_a_reading_does_not_say_what_is_not_there():
    """A healthy loop of the package, and one whose G is cut off, are told apart."""
    gan = tiny_gan()
    plain = read_step(gan, cut=False)
    assert (plain.order, plain.cut, plain.update) == (("D", "G"), "detach()", "alternating")
    assert "cut-off" in read_step(tiny_gan(), cut=True).grave


def read_step(gan: Any, *, cut: bool) -> Any:
    G, D, opt_g, opt_d, loss = gan.parts
    with record(gan.nets, gan.optimizers) as rec:
        for i in range(2):
            real, fake = data.ring(4, seed=i), G(data.noise(4, (2,), seed=i))
            ones = torch.ones(4, 1)
            opt_d.zero_grad()
            (loss(D(real), ones) + loss(D(fake.detach()), 1 - ones)).backward()
            opt_d.step()
            opt_g.zero_grad()
            loss(D(fake.detach() if cut else fake), ones).backward()
            opt_g.step()
    return read(rec)


def test_an_error_that_is_not_torch_s_own_goes_on_to_the_caller():
    def broken(*_: object) -> None:
        raise RuntimeError("not about a graph")

    with pytest.raises(RuntimeError, match="not about a graph"):
        recorded(replace(WILD["pytorch_gan"], iterate=broken))


def flat_gradient(net: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def test_vgg_collects_and_is_harmed_by_nobody():
    cast = WILD["srgan"].cast()
    vgg = cast.nets["VGG"]
    assert not vgg.training
    before = [p.detach().clone() for p in vgg.parameters()]
    held: list[Tensor] = []
    for i in range(3):
        WILD["srgan"].iterate(cast, data.ring(8, seed=i), data.noise(8, (2,), seed=i))
        held.append(flat_gradient(vgg))
    assert not torch.equal(held[0], held[1])
    one = WILD["srgan"].cast()
    for i in range(3):  # the same, its gradients put aside after each iteration
        WILD["srgan"].iterate(one, data.ring(8, seed=i), data.noise(8, (2,), seed=i))
        held.append(flat_gradient(one.nets["VGG"]))
        one.nets["VGG"].zero_grad()
    assert torch.allclose(held[2], torch.stack(held[3:]).sum(0), atol=1e-6)
    assert all(torch.equal(p, b) for p, b in zip(vgg.parameters(), before, strict=True))


def test_the_lesson_shows_the_cure_of_vgg_and_what_a_frozen_layer_saves(lesson):
    for line in (
        "G and D end at the same weights: True",
        "VGG's weights that hold a gradient: 4 as it is, 0 when frozen",
        "Linear  saves its input: True  when frozen: False",
        "Conv2d  saves its input: True  when frozen: True",
        "in eval mode the same: True",
        "VGG in train mode: False; its parameters in an optimizer: 0",
        "PyTorch-GAN, gan makes 2 fakes in two iterations",
        "StyleGAN2-ADA makes 4 fakes in two iterations",
        "checkpointed D ran 2 times",
        "a leaf Variable that requires grad",
    ):
        assert line in lesson.printed


def test_who_goes_first_does_not_decide_the_update(records):
    """G first in both: one reuses its fake, the other makes a new one with the G that has moved."""
    names = ("pytorch_gan", "stylegan2_ada")
    rows = [read(records[name]) for name in names]
    assert [row.order for row in rows] == [("G", "D")] * 2
    assert [row.update for row in rows] == ["simultaneous", "alternating"]
    assert [records[name].forward_counts["G"] for name in names] == [2, 4]  # in two iterations


def test_freezing_vgg_changes_no_step_and_writes_nothing():
    moved = []
    for frozen in (False, True):
        cast = WILD["srgan"].cast()
        cast.nets["VGG"].requires_grad_(not frozen)
        WILD["srgan"].iterate(cast, data.ring(8, seed=1), data.noise(8, (2,), seed=1))
        moved.append([p.detach() for n in ("G", "D") for p in cast.nets[n].parameters()])
        assert all((p.grad is None) == frozen for p in cast.nets["VGG"].parameters())
    assert all(torch.allclose(a, b) for a, b in zip(*moved, strict=True))


def test_dragan_s_judge_never_learns_from_a_fake(lesson):
    assert torch.equal(lesson.what_d_gets(1.0), lesson.what_d_gets(0.5))
    assert not torch.equal(
        lesson.what_d_gets(1.0, "pytorch_gan"), lesson.what_d_gets(0.5, "pytorch_gan")
    )


def test_the_overwritten_loss_does_nothing(lesson):
    assert torch.equal(lesson.g_after_one("relativistic_gan"), lesson.g_after_one("pytorch_gan"))
    assert not torch.equal(lesson.g_after_one("srgan"), lesson.g_after_one("pytorch_gan"))


def test_no_grad_does_not_keep_the_statistics(lesson):
    for how, moved in (("as it is", True), ("under no_grad", True), ("in eval mode", False)):
        assert f"{how}: {moved}" in lesson.printed


def test_signs_turned_round_altogether_are_the_same_game():
    """`one`, `mone`, `one` with D's output negated moves G as `mone`, `one`, `mone` does."""

    def played(sign: float) -> list[Tensor]:
        torch.manual_seed(0)
        G, D = nn.Linear(2, 2), nn.Linear(2, 1)
        D.weight.data.mul_(sign)
        D.bias.data.mul_(sign)
        opt_g, opt_d = (torch.optim.SGD(net.parameters(), 0.1) for net in (G, D))
        for i in range(3):
            real, noise = data.ring(4, seed=i), data.noise(4, (2,), seed=i)
            opt_d.zero_grad()
            D(real).mean().backward(torch.tensor(-sign))
            D(G(noise).detach()).mean().backward(torch.tensor(sign))
            opt_d.step()
            opt_g.zero_grad()
            D(G(noise)).mean().backward(torch.tensor(-sign))
            opt_g.step()
        return [p.detach() for p in G.parameters()]

    assert all(torch.allclose(a, b) for a, b in zip(played(1.0), played(-1.0), strict=True))


def test_the_table_of_loops_has_a_row_for_each(records):
    table = table_of({name: read(rec) for name, rec in records.items()})
    assert [row[0] for row in table.rows] == [loop.title for loop in WILD.values()]
    assert len({len(row) for row in (table.heads, *table.rows)}) == 1
