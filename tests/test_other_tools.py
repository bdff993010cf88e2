"""The comparison with other tools reads their results rightly; to run them is a benchmark."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.loops import LOOPS


@pytest.fixture
def tools(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("other_tools", root / "benchmarks/other_tools.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "other_tools", module)  # for its dataclasses
    monkeypatch.setattr(sys, "path", [str(root / "benchmarks"), *sys.path])
    spec.loader.exec_module(module)
    return module


def test_what_is_violated_is_read_by_its_words(tools: Any, tmp_path: Path) -> None:
    folder = tmp_path / "traincheck_checker_results_today" / "trace_wrong"
    folder.mkdir(parents=True)
    both = [
        {"invariant": {"text_description": text, "relation": "Contains"}} for text in ("a", "b")
    ]
    (folder / "failed.log").write_text("\n".join(json.dumps(one, indent=2) for one in both))
    assert tools.violations(tmp_path, "trace_wrong") == {"a": "Contains", "b": "Contains"}
    assert tools.violations(tmp_path, "trace_again") == {}


def test_only_what_the_mended_loop_is_not_told_counts(tools: Any) -> None:
    wrong = next(one for one in LOOPS if one.name == "cleared_with_zeros_before_the_step")
    right = next(one for one in LOOPS if not one.faulty)
    rules = {"wrong": ["TA103 info", "TA104 error"], "mended": ["TA104 error"]}
    seen = tools.Seen(("2 × Contains",))
    assert tools.row(wrong, rules, seen)[1:] == ["cut-off", "TA103 info", "2 × Contains"]
    assert tools.row(wrong, {"wrong": ["x"], "mended": ["x"]}, None)[2:] == ["nothing", "not run"]
    failed = tools.Seen(failed="traincheck-infer: boom")
    audits = {wrong.name: rules, right.name: {"wrong": ["TA104 error (after backward)"]}}
    text = tools.page([wrong, right], audits, {wrong.name: failed})
    assert "Of 1 loops with a fault, `diagnose` tells 1, torch-audit==0.3.0 1." in text
    assert "was run on 1 of them, and tells 0." in text
    assert "severity error at 0 (at 1 where every net is looked at" in text
    assert "| failed: traincheck-infer: boom |" in text


def test_the_page_in_the_docs_is_of_these_loops(tools: Any, root: Path) -> None:
    text = (root / "docs" / "other-tools.md").read_text(encoding="utf-8")
    table = text.partition("<!-- table: begin -->")[2].partition("<!-- table: end -->")[0]
    assert table
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if "| " in line]
    names = [one.name.replace("_", " ") for one in LOOPS]
    assert sorted(row for row in rows if row in names) == sorted(names)
