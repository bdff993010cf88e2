"""The ring's benchmark runs, keeps its scores, and puts its tables into docs/dynamics.md."""

import importlib.util
import json
import sys

import pytest


@pytest.fixture
def benchmark(root, tmp_path, monkeypatch):
    """The benchmark, with a page and kept scores of its own, and trainings of a few steps."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    spec = importlib.util.spec_from_file_location("ring_benchmark", root / "benchmarks/ring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ring_benchmark", module)  # for its dataclasses
    spec.loader.exec_module(module)
    for name, path in (("DOCS", "page.md"), ("KEPT", "cpu.json"), ("KEPT_CUDA", "cuda.json")):
        monkeypatch.setattr(module, name, tmp_path / path)
    few = [
        module.replace(one, stages=((2e-3, 2),), look_at=(1,))
        for one in (module.SETTINGS[0], module.SETTINGS[2], module.SETTINGS[-1])
    ]
    monkeypatch.setattr(module, "SETTINGS", tuple(few))
    monkeypatch.setattr(module.torch, "set_num_threads", lambda n: None)
    module.DOCS.write_text(
        "before\n<!-- ring: begin -->old<!-- ring: end -->\n"
        "between\n<!-- ring on a GPU: begin --><!-- ring on a GPU: end -->\nafter\n"
    )
    return module


def run(benchmark, monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["ring.py", *options])
    benchmark.main()


def test_scores_are_kept_and_the_table_goes_between_the_markers(benchmark, monkeypatch, capsys):
    run(benchmark, monkeypatch, "--seeds", "2")
    kept = benchmark.ring_scores(benchmark.KEPT)
    assert list(kept) == [setting.name for setting in benchmark.SETTINGS]
    for by_strategy in kept.values():
        assert by_strategy.keys() == {"S2", "S3"}
        assert all(by_steps.keys() == {1, 2} for by_steps in by_strategy.values())
        assert all(len(s) == 2 for by_steps in by_strategy.values() for s in by_steps.values())
    page = benchmark.DOCS.read_text()
    assert page.startswith("before\n")
    assert page.endswith(
        "between\n<!-- ring on a GPU: begin --><!-- ring on a GPU: end -->\nafter\n"
    )
    assert "old" not in page
    assert f"Measured on: CPU, torch {benchmark.torch.__version__.partition('+')[0]}." in page
    assert page.count("\n| ") == 1 + 2 * len(kept)  # a head, and a row for each moment
    assert f"{benchmark.SETTINGS[0].name}: S2" in capsys.readouterr().out


def test_the_scores_of_a_gpu_have_their_own_place(benchmark, monkeypatch, tmp_path):
    kept = tmp_path / "elsewhere.json"
    run(benchmark, monkeypatch, "--seeds", "2", "--only", "grid", "--keep", str(kept))
    assert "old" in benchmark.DOCS.read_text()  # a run that keeps its scores elsewhere is no news
    assert not benchmark.KEPT.exists()
    content = json.loads(kept.read_text())
    kept.write_text(json.dumps({**content, "device": "a GPU"}))
    run(benchmark, monkeypatch, "--from", str(kept))
    cpu, gpu = benchmark.DOCS.read_text().split("between")
    assert "old" in cpu
    assert "Measured on: a GPU." in gpu
    assert gpu.count("| a grid of 25, std 0.03 |") == 2


def test_the_page_is_what_the_kept_scores_say(benchmark, root):
    """Whoever trains anew, or edits the table by hand, has to write it anew."""
    page = (root / "docs/dynamics.md").read_text()
    for path, part in (
        (root / "gan_lessons/ring_scores.json", "ring"),
        (root / "benchmarks/ring_scores_cuda.json", "ring on a GPU"),
    ):
        if path.exists():
            assert benchmark.table(benchmark.ring_scores(path)) in page
            assert f"<!-- {part}: begin -->\n\nMeasured on: {benchmark.measured_on(path)}." in page
