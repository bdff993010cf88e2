"""Of ``tests/loops`` the wrong ones are told, their advice works, and the right ones rest."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from tests.loops import LOOPS, Loop, whole
from tests.loops import judge as judged

judge = functools.cache(judged)  # what is said of a loop is looked at twice

FAULTY = [one for one in LOOPS if one.faulty]
QUIET = {"memory-growth", "never-walked", "ownership", "cut-off", "moving-target", "pulled-alike"}
MAY_BE_MEANT = {  # right loops that are asked about something: what it would be if not meant
    "looked_at_for_a_log": "never-walked",
    "a_watermark_is_to_be_found": "pulled-alike",
    "a_mark_in_the_picture_that_it_got": "pulled-alike",
    "a_density_that_learns_from_all_it_sees": "pulled-alike",
    "a_mark_with_a_message": "pulled-alike",
    "a_mark_in_a_part_of_the_picture": "pulled-alike",
    "a_mark_that_a_decoder_makes": "pulled-alike",
    "a_mark_near_what_was_made_before": "pulled-alike",
    "a_code_with_a_loss_of_its_own_is_kept_from_the_judge": "cut-off",
    "an_encoder_that_is_kept_from_the_judge_in_one_term_of_two": "cut-off",
    "each_turn_takes_its_own_of_a_helper_s_losses": "never-walked",
}
RIGHT = [one for one in LOOPS if not one.faulty]


def named(one: Loop) -> str:
    return one.name


@pytest.mark.parametrize("one", FAULTY, ids=named)
def test_a_fault_is_told_and_its_advice_mends_it(one: Loop) -> None:
    found = judge(one)
    assert set(found.grave) == set(one.codes), found.diagnosis
    if one.codes and found.gaps:
        assert not found.right, "by autograd.grad this loop is right"
    if any(code in ("exception", "no-graph") or code.startswith(("inplace", "second"))
           for code, _ in one.codes):  # fmt: skip
        assert found.raised
    told = [f for f in found.diagnosis.findings if f.code in (one.waste, *dict(one.codes))]
    assert told, found.diagnosis
    assert any(re.search(one.says, f.message, re.DOTALL) for f in told), found.diagnosis
    assert any(re.search(one.advice, f.fix, re.DOTALL) for f in told), found.diagnosis

    mended = judge(one, fixed=True)
    assert mended.right, (mended.raised, mended.gaps)
    assert mended.grave == (), mended.diagnosis
    assert one.waste not in mended.diagnosis.codes, mended.diagnosis


@pytest.mark.parametrize("one", RIGHT, ids=named)
def test_a_right_loop_is_left_alone(one: Loop) -> None:
    found = judge(one)
    assert found.right, (found.raised, found.gaps)
    assert found.grave == (), found.diagnosis
    told = QUIET & {*found.diagnosis.codes}
    assert told == {*filter(None, [MAY_BE_MEANT.get(one.name)])}, found.diagnosis


@pytest.mark.parametrize("one", LOOPS, ids=named)
def test_all_that_is_said_of_a_loop_is_as_it_was_read(one: Loop) -> None:
    """Word for word: after a change that is meant, ``python -m tests.loops``, and read."""
    assert whole.whole(one, judge).strip() == whole.read(one.family).get(one.name)


def test_what_is_stored_is_of_these_loops() -> None:
    families = {one.family for one in LOOPS}
    assert {path.stem for path in whole.FOLDER.iterdir()} == families
    stored = {(family, name) for family in families for name in whole.read(family)}
    assert stored == {(one.family, one.name) for one in LOOPS}


def test_the_table_in_the_docs_is_of_these_loops(root: Path) -> None:
    """``python -m tests.loops`` writes it; here only that nobody forgot to."""
    rows = re.findall(r"^\| \[?([^]|]+?)\]?(?:\((.*)\))? \| .* \| (.*) \| .*\|$",
                      (root / "docs" / "loops.md").read_text(encoding="utf-8"), re.M)  # fmt: skip
    found = {name: (source, set(re.findall(r"`([a-z-]+)`", told))) for name, source, told in rows}
    assert found.pop("loop") == ("", set())
    assert found == {
        one.name.replace("_", " "): (one.source, {*dict(one.codes), *filter(None, [one.waste])})
        for one in LOOPS
    }
