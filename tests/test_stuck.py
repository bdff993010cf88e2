"""Lesson 12: the eight questions find what is wrong with a loop, and end where it says."""

from __future__ import annotations

import contextlib
import copy
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

from gan_lessons import STRATEGIES, Gan, data, diagnose, mlp_gan, published
from gan_lessons.classroom.listing import source_of
from gan_lessons.classroom.sick_loops import SICK, d_loss_of, g_loss_of, learn
from gan_lessons.classroom.stuck import (
    HEALTHY,
    QUESTIONS,
    Asked,
    ask,
    ask_record,
    recorded_twice,
)

ONLY_WASTE = "optimizer_of_one_layer"  # for diagnose: somebody may train one layer on purpose


def batch() -> tuple[Tensor, Tensor]:
    return data.batch(data.digits(), 16, seed=5), data.noise(16, (32,), seed=6)


def pair(name: str) -> Gan:
    gan = mlp_gan(hidden_g=(16,), hidden_d=(16,), lr=2e-3)
    SICK[name].prepare(gan)
    return gan


def weights(gan: Gan) -> dict[str, Tensor]:
    nets = gan.nets.items()
    return {n: torch.cat([p.detach().flatten() for p in net.parameters()]) for n, net in nets}


def asked(name: str) -> Asked:
    return ask(SICK[name].step, pair(name), *batch())


@pytest.mark.parametrize("name", SICK)
def test_the_questions_end_at_the_illness_and_at_nothing_else(name):
    found, known = asked(name), SICK[name]
    if known.illness == "an error":
        assert found.told == "an error"
    elif known.illness == "healthy":
        assert found.told == "healthy"
    else:
        assert found.told == f"{known.net}: {known.illness}"


def test_every_ending_is_reached_by_some_loop():
    endings = {question.ending.name for question in QUESTIONS} | {HEALTHY.name}
    assert {loop.illness for loop in SICK.values()} == endings


@pytest.mark.parametrize("name", SICK)
def test_who_is_healthy_has_the_right_weights_and_who_is_ill_has_not(name):
    """The truth, without any record: the weights after two iterations, beside the right ones."""
    known = SICK[name]
    mine, right = pair(name), mlp_gan(hidden_g=(16,), hidden_d=(16,), lr=2e-3)
    start = weights(right)
    real, noise = batch()
    for r, z in ((real, noise), (real.flip(0), noise.flip(0))):
        with contextlib.suppress(RuntimeError):
            known.step(mine, r, z)
        STRATEGIES[known.like].step(right, r, z)
    a, b = weights(mine), weights(right)
    near = [n for n in a if (a[n] - b[n]).abs().max() < 1e-3 * (b[n] - start[n]).abs().max()]
    assert (near == ["G", "D"]) == (known.illness == "healthy")
    if known.net:
        assert known.net not in near


@pytest.mark.parametrize("name", SICK)
def test_diagnose_agrees_that_something_is_wrong(name):
    rec = recorded_twice(SICK[name].step, pair(name), *batch())
    found = diagnose(rec)
    grave = [f.code for f in found.findings if f.severity in ("error", "wrong")]
    if name == ONLY_WASTE:
        assert not grave
        assert rec.in_vain(1)["G"]  # g_loss.backward
        assert "in-vain" in found.codes
    else:
        assert bool(grave) == (SICK[name].illness != "healthy")


@pytest.mark.parametrize("key", STRATEGIES)
def test_all_steps_of_the_package_are_healthy(key):
    """One stage too: both players step on one backward, and on nothing beside it."""
    assert ask(STRATEGIES[key].step, mlp_gan(), *batch()).told == "healthy"


def test_what_is_shown_tells_the_answers_in_order_up_to_the_ending():
    found = asked("still_detached")
    assert found["G"].ending.name == "cut off"
    assert [healthy for _, _, healthy in found["G"].asked] == [True] * 4 + [False]
    assert "Does a backward write into the .grad of G? no" in str(found)
    assert "<strong>G: cut off</strong>" in found._repr_html_()
    assert len(found["D"].asked) == len(QUESTIONS)
    assert found["D"].ending is HEALTHY


def test_a_reading_of_a_record_is_the_same_as_asking():
    rec = recorded_twice(SICK["always_wins"].step, gan := pair("always_wins"), *batch())
    assert ask_record(rec, gan).told == asked("always_wins").told


def item(gan: Gan, real: Tensor, noise: Tensor) -> None:
    """A learner's own: g_loss is made anew from its number."""
    fake = gan.generator(noise)
    learn(gan.optimizer_d, d_loss_of(gan, fake.detach(), real))
    number = g_loss_of(gan, fake).item()
    learn(gan.optimizer_g, torch.tensor(number, requires_grad=True))


def through_numpy(gan: Gan, real: Tensor, noise: Tensor) -> None:
    fake = torch.from_numpy(gan.generator(noise).detach().numpy())
    learn(gan.optimizer_d, d_loss_of(gan, fake, real))
    learn(gan.optimizer_g, g_loss_of(gan, fake))


def cleared_at_the_end(gan: Gan, real: Tensor, noise: Tensor) -> None:
    fake = gan.generator(noise)
    d_loss_of(gan, fake.detach(), real).backward()
    g_loss_of(gan, fake).backward()
    for optimizer in gan.optimizers.values():
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (item, "G: cut off"),
        (through_numpy, "G: cut off"),
        (cleared_at_the_end, "D: another loss in it"),
    ],
)
def test_other_loops_that_learners_write_are_told_too(step, told):
    assert ask(step, mlp_gan(), *batch()).told == told


def test_a_net_that_is_made_anew_after_its_optimizer_is_held_by_none():
    gan = mlp_gan()
    gan.generator = copy.deepcopy(gan.generator)
    assert ask(STRATEGIES["detach"].step, gan, *batch()).told == "G: no optimizer"


def test_an_interrupt_is_passed_on():
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(stopped, mlp_gan(), *batch())


# The lesson --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lesson(root: Path) -> SimpleNamespace:
    names: dict[str, Any] = {}
    printed, threads = io.StringIO(), torch.get_num_threads()
    path = root / "notebooks" / "12-my-loss-does-not-move.ipynb"
    try:
        with contextlib.redirect_stdout(printed):
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "code":
                    exec(compile(cell.source, "<lesson 12>", "exec"), names)
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(**names, printed=printed.getvalue())


def test_the_lesson_counts_right(lesson):
    assert len(SICK) == len(lesson.rounds) == 21
    assert len(QUESTIONS) == 8
    assert sum(loop.lesson == "new" for loop in SICK.values()) == 4


def test_g_loss_moves_although_g_does_not(lesson):
    assert lesson.moves.measured[0]["measured"] == "it moves"
    assert "at last; G moved: False" in lesson.printed


def test_healthy_and_right_weights_agree_in_the_table(lesson):
    for name, (told, right, codes) in lesson.rounds.items():
        assert (told == "healthy") == (right == ["G", "D"])
        assert name == ONLY_WASTE or (told == "healthy") == (not codes)
    assert not lesson.rounds[ONLY_WASTE][2]


def test_what_the_questions_do_not_see(lesson):
    lines = [line for line in lesson.printed.splitlines() if "healthy" in line]
    assert [re.findall(r"moved: (\w+) .* zero: (\d) of 6", line)[0] for line in lines] == [
        ("True", "6"), ("False", "6"), ("False", "0"),
    ]  # fmt: skip
    assert all(word in line for word, line in zip(("sign", "rate", "certain"), lines, strict=True))


def test_a_wrong_sign_leads_away(lesson):
    """Not told by the questions, and wrong: G goes where D(fake) is smaller."""
    gan = mlp_gan(lr=2e-3)
    real, noise = batch()
    with torch.no_grad():
        first = gan.discriminator(gan.generator(noise)).mean()
    D = {k: v.clone() for k, v in gan.discriminator.state_dict().items()}
    lesson.turned_round(gan, real, noise)
    gan.discriminator.load_state_dict(D)
    with torch.no_grad():
        assert gan.discriminator(gan.generator(noise)).mean() < first


def test_a_loop_of_a_lesson_has_the_name_that_it_has_there(root: Path):
    for name, loop in SICK.items():
        if name in vars(published) or loop.like == name or loop.lesson == "new":
            continue
        if lessons := [n for n in loop.lesson.split(", ") if n.isdigit()]:
            files = [path for n in lessons for path in (root / "notebooks").glob(f"{n}-*.ipynb")]
            assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in files), name


@pytest.mark.parametrize("name", SICK)
def test_a_listing_shows_the_lines_and_not_the_illness(name):
    source = source_of(SICK[name].step)
    assert source.startswith(f"def {name}(")
    assert f'"{SICK[name].illness}"' not in source
    compile(source, "<listing>", "exec")
