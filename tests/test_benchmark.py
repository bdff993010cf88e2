"""The benchmark runs, and puts its tables where the README has a place for them."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture
def benchmark(root: Path):
    spec = importlib.util.spec_from_file_location("steps_benchmark", root / "benchmarks/steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quick_report_goes_between_the_markers(benchmark, tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{benchmark.BEGIN}\nold\n{benchmark.END}\nafter\n")
    monkeypatch.setattr(benchmark, "README", page)
    monkeypatch.setattr(benchmark.torch, "set_num_threads", lambda n: None)
    assert benchmark.main(["--quick", "--readme", "--device", "cpu"]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("| S2: detach |") == 2
    assert "(docs/growth.svg)" in text
    assert "<svg" in (tmp_path / "docs" / "growth.svg").read_text()
    page.write_text("no place")
    with pytest.raises(ValueError, match="once each"):
        benchmark.write_readme("x")


def test_the_readme_has_the_place(benchmark, root):
    page = (root / "README.md").read_text()
    assert page.count(benchmark.BEGIN) == page.count(benchmark.END) == 1
