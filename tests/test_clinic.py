"""Lesson 08: its patients have the symptoms, the illness and the cure that it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch

from gan_lessons import STRATEGIES, data, diagnose, published
from gan_lessons.lens.whatif import Judge


@pytest.fixture(scope="module")
def lesson(root: Path) -> SimpleNamespace:
    """All that the lesson's cells define, run from top to bottom, and what they printed."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    threads = torch.get_num_threads()
    try:
        with contextlib.redirect_stdout(printed):
            for cell in nbformat.read(root / "notebooks" / "08-clinic.ipynb", as_version=4).cells:
                if cell.cell_type == "code":
                    exec(compile(cell.source, "<lesson 08>", "exec"), names)
    finally:
        torch.set_num_threads(threads)
    return SimpleNamespace(**names, printed=printed.getvalue())


def losses(lesson: SimpleNamespace, name: str, time: int = 0) -> tuple[float, float]:
    found = re.findall(rf"^{name} +d_loss +([\d.]+) +g_loss +([\d.]+)$", lesson.printed, re.M)
    return float(found[time][0]), float(found[time][1])


def test_each_patient_has_what_the_lesson_says(lesson: SimpleNamespace) -> None:
    gravest = {name: diagnose(rec).findings[0] for name, rec in lesson.ward.items()}
    assert {name: (f.severity, f.code, f.net) for name, f in gravest.items()} == {
        "always_wins": ("wrong", "polluted", "D"),
        "too_strong": ("wrong", "cut-off", "G"),
        "nothing_to_see": ("wrong", "polluted", "G"),
        "careful": ("waste", "needless-retain", None),
        "as_printed, homemade": ("wrong", "stale-weights", "D"),
        "penalised": ("waste", "in-vain", "D"),
    }


def test_the_judge_knows_the_illness_by_the_gradients_alone(lesson: SimpleNamespace) -> None:
    assert list(lesson.words.values()) == [
        "polluted", "cut-off", "polluted", "needless-retain", "stale-weights", ""
    ]  # fmt: skip
    for name, word in lesson.words.items():  # and diagnose is judged by him
        assert lesson.gravest(lesson.ward[name]) == word, name


def test_the_judge_calls_a_right_loop_right_and_tells_a_sum_from_a_mixture(
    lesson: SimpleNamespace,
) -> None:
    s1, s2, s3 = (STRATEGIES[key].step for key in ("retain_graph", "detach", "generator_first"))
    assert lesson.truth(s3, s1) == lesson.truth(s1, s1) == lesson.truth(s2, s2) == ""
    assert lesson.truth(published.retain_graph_before_1_5, s1) == "stale-weights"


def test_the_second_opinion_agrees(lesson: SimpleNamespace) -> None:
    real, noise = data.batch(lesson.digits, 64, seed=1), data.noise(64, (32,), seed=2)
    for step, right, gan, kind in (
        (lesson.always_wins, "detach", lesson.new_pair(), "wrong"),
        (lesson.too_strong, "detach", lesson.new_pair(), "wrong"),
        (lesson.nothing_to_see, "retain_graph", lesson.new_pair(), "wrong"),
        (lesson.careful, "detach", lesson.new_pair(), "waste"),
        (lesson.as_printed, "retain_graph", lesson.homemade(), "wrong"),
        (lesson.as_printed, "detach", lesson.homemade(), "wrong"),  # "it is neither"
    ):
        outcome = Judge(STRATEGIES[right].step, gan, real, noise)(SimpleNamespace(step=step))
        assert outcome.kind == kind, step.__name__
        if step is lesson.nothing_to_see:  # "the same direction, but shorter"
            gap = outcome.players["G"]
            assert (gap.cosine or 0) > 0.99
            assert 0.4 < (gap.ratio or 0) < 0.6


def test_the_symptoms_are_those_that_the_text_tells(lesson: SimpleNamespace) -> None:
    d_loss, g_loss = losses(lesson, "always_wins")
    assert g_loss < 0.01  # "My g_loss is zero"
    assert d_loss > 10
    d_loss, g_loss = losses(lesson, "too_strong")
    assert d_loss < 0.01  # "D wins at once"
    assert g_loss > 5
    for time, ill in enumerate(("nothing_to_see", "retain_graph_as_printed")):
        healthy = losses(lesson, "step_retain_graph", time)
        for mine, theirs in zip(losses(lesson, ill), healthy, strict=True):  # nothing to see
            assert theirs / 2 < mine < 2 * theirs, ill


def test_one_iteration_is_not_enough(lesson: SimpleNamespace) -> None:
    assert re.search(r"^1 \[.*\] sound$", lesson.printed, re.M)
    assert re.search(r"^2 \['polluted'.*\] not sound$", lesson.printed, re.M)


def test_the_cured_optimizer_lets_torch_refuse_and_the_cured_loop_is_sound(
    lesson: SimpleNamespace,
) -> None:
    assert "modified by an inplace operation" in lesson.printed
    assert "sound: True" in lesson.printed


def test_the_penalised_pair_really_learns(lesson: SimpleNamespace) -> None:
    """Its samples come near the digits: nearer than at the start, and to many of them."""
    noise = data.noise(200, (32,), seed=4)
    digits = lesson.digits.flatten(1)
    after = torch.cdist(lesson.sample(lesson.critics.generator, noise).flatten(1), digits)
    fresh = lesson.new_pair().generator
    before = torch.cdist(lesson.sample(fresh, noise).flatten(1), digits)
    assert after.min(1).values.mean() < 0.9 * before.min(1).values.mean()
    assert len(set(after.argmin(1).tolist())) > 50
