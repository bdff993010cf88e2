"""What ``tests/said`` stores is of the tests that there are, and is read as it was written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gan_lessons import diagnose, record
from tests import said
from tests.loops import LOOPS
from tests.loops.kit import bce, mlp, real, sgd
from tests.test_diagnose_real_code import step
from tests.test_loops_together import SOONER


def test_each_file_of_the_room_has_what_it_says(root: Path) -> None:
    assert {*said.FILES} == {path.stem for path in (root / "tests").glob("test_diagnose*.py")}
    stored = {path.stem for path in said.FOLDER.glob("*.txt")}
    assert stored == {*said.FILES, SOONER}


@pytest.mark.parametrize("file", said.FILES)
def test_nothing_is_stored_of_a_test_that_is_gone(file: str, root: Path) -> None:
    source = (root / "tests" / f"{file}.py").read_text(encoding="utf-8")
    names = {name.partition("[")[0] for name in said.read(file)}
    assert names <= {*re.findall(r"^def (test_\w+)", source, re.M)}


def test_each_loop_has_what_is_told_so_soon() -> None:
    assert said.read(SOONER).keys() == {one.name for one in LOOPS}


def test_each_diagnosis_is_noted_and_one_that_repeats_is_not_written_again() -> None:
    D = mlp(2, 1)
    od = sgd(D)
    with record({"D": D}, {"D": od}) as rec:
        step(od, bce(D(real(0)), 1.0))
    with said.noted() as made:
        one = diagnose(rec)
        diagnose(rec)
    diagnose(rec)
    assert made[0] is one
    assert said.whole(made) == f"{said.whole([one])}\n\n{said.AGAIN}"
    assert "D moved D by the gradient of `loss` (" in said.whole([one])
    assert "line …)" in said.whole([one])


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said, "FOLDER", tmp_path)
    long = "Diagnosis: " + "much\n\n" * 100
    told = {"test_a": long.strip(), "test_b[1]": "little", "test_c": long.strip(), "test_d": "l"}
    said.written("some", told)
    assert said.read("some") == told
    assert (tmp_path / "some.txt").read_text(encoding="utf-8").count("much") == 100
