"""The benchmarks of the ring and the digits run, keep their scores, and fill docs/dynamics.md."""

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
    for name, path in (
        ("DOCS", "page.md"),
        ("KEPT", "cpu.json"),
        ("KEPT_CUDA", "cuda.json"),
        ("KEPT_RATES", "r.json"),
    ):
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
        (root / "benchmarks/ring_scores_rates.json", "ring, rates"),
        (root / "benchmarks/ring_scores_cuda.json", "ring on a GPU"),
    ):
        if path.exists():
            assert benchmark.table(benchmark.ring_scores(path)) in page
            assert f"<!-- {part}: begin -->\n\nMeasured on: {benchmark.measured_on(path)}." in page


def test_what_the_page_says_of_learning_rates(benchmark, root):
    """Sooner in both; without decay nothing is shown after 3,000 steps, with it there is."""
    kept = benchmark.ring_scores(root / "benchmarks/ring_scores_rates.json")
    assert list(kept) == [setting.name for setting in benchmark.RATES]
    lows = [
        {
            steps: benchmark.bootstrap_interval(
                [a.good - b.good for a, b in zip(by["S2"][steps], by["S3"][steps], strict=True)]
            )[0]
            for steps in (500, 3000)
        }
        for by in kept.values()
    ]
    assert [low[500] > 0 for low in lows] == [True, True]
    assert [low[3000] > 0 for low in lows] == [False, True]
    ends = [one for by in kept.values() for scores in by.values() for one in scores[3000]]
    assert sum(one.passed for one in ends) <= 1


def test_equal_seconds_are_more_steps_of_a_step_that_takes_less(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    seconds = importlib.import_module("ring_seconds")
    monkeypatch.setattr(seconds, "STAGES", ((2e-3, 4), (8e-4, 2)))
    found = seconds.scores_at(0.5, 2, (2, 6))
    twice = seconds.Seeds(2).train(seconds.step_generator_first, ((2e-3, 8), (8e-4, 4)), (4,))
    assert found == [twice[4], twice[12]]
    took = seconds.seconds_of_a_step(blocks=1, rounds=1)
    assert {name: len(blocks) for name, blocks in took.items()} == dict.fromkeys(seconds.STEPS, 1)
    same, less = [seconds.Score(8, 0.9)] * 2, [seconds.Score(8, 0.8)] * 2
    line = seconds.row("one stage", "0.90 [0.80, 1.00]", 500, same, less)
    assert "| 500 steps of S2 | 0.800 | +0.100 [+0.100, +0.100] | 0.500 |" in line
    for name in ("ring_seconds", "ring", "between_markers"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_page_says_of_equal_seconds_what_the_command_kept(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    seconds = importlib.import_module("ring_seconds")
    kept = json.loads(seconds.KEPT.read_text())
    text = seconds.table(kept)
    page = (root / "docs/dynamics.md").read_text()
    assert f"<!-- ring in seconds: begin -->\n\n{text}\n\n<!-- ring in seconds: end -->" in page
    ratios = kept["ratios"]
    assert {name: len(blocks) for name, blocks in ratios.items()} == {"S3": 60, "one stage": 60}
    times = {name: seconds.bootstrap_interval(blocks) for name, blocks in ratios.items()}
    assert times["S3"][0] <= 1 <= times["S3"][1]  # lesson 07: about the same time
    assert times["one stage"][1] < 1  # "what it saves on a step"
    gaps = [line.split("|")[5].strip() for line in text.splitlines()[4:]]
    assert len(gaps) == 6
    assert all(gap.startswith("+") for gap in gaps)  # "that is less than what S2 gains"
    for name in ("ring_seconds", "ring", "between_markers"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_page_says_of_the_digits_what_the_command_kept(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    digits = importlib.import_module("digit_scores")
    kept = json.loads(digits.KEPT.read_text())
    page = (root / "docs/dynamics.md").read_text()
    assert digits.table(kept) in page
    gaps = {
        steps: [a - b for a, b in zip(s2, kept["S3"][steps], strict=True)]
        for steps, s2 in kept["S2"].items()
    }
    assert {steps: len(seeds) for steps, seeds in gaps.items()} == {"400": 8, "1600": 8}
    assert digits.bootstrap_interval(gaps["400"])[1] < 0  # "ahead after 400 steps"
    low, high = digits.bootstrap_interval(gaps["1600"])
    assert low < 0 < high  # "the interval holds 0"
    few = digits.distances(1, (1, 60))  # the code that made them
    assert few.keys() == kept.keys()
    for by_steps in few.values():
        assert by_steps["60"][0] < by_steps["1"][0]
    assert few["S2"] != few["S3"]
