"""The benchmark runs, says what failed, and puts its tables into docs/benchmarks.md."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from tests.test_layers import SOURCES, imports, outside


@pytest.fixture
def benchmark(root: Path, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    spec = importlib.util.spec_from_file_location("steps_benchmark", root / "benchmarks/steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "steps_benchmark", module)  # for its dataclasses
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(module, "keep_memory", lambda: None)
    return module


@pytest.mark.parametrize(
    "page",
    [
        "no place",
        "<!-- cpu: begin --> and no end",
        "<!-- cpu: end --> before <!-- cpu: begin -->",
        "<!-- cpu: begin --><!-- cpu: end --><!-- cpu: begin --><!-- cpu: end -->",
    ],
)
def test_a_page_without_the_places_is_refused_and_kept(page, root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(ValueError, match=r"page\.md must hold <!-- cpu: begin --> and then"):
        importlib.import_module("between_markers").put_between(path, "cpu", "text")
    assert path.read_text() == page


def test_quick_report_goes_between_the_markers(benchmark, tmp_path, capsys):
    page, results = tmp_path / "benchmarks.md", tmp_path / "results.json"
    page.write_text("before\n<!-- cpu: begin -->\nold\n<!-- cpu: end -->\nafter\n")
    arguments = ["--quick", "--device", "cpu", "--json", str(results), "--markdown", str(page)]
    assert benchmark.main(arguments) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("| S2, inlined by hand |") == 2
    assert text.count("| One stage, as it chooses |") == 1  # and none where D has BatchNorm
    assert text.count("| By halves |") == 2
    assert "failed" not in text
    assert "(growth.svg)" in text
    assert "<svg" in (tmp_path / "growth.svg").read_text()
    rows = json.loads(results.read_text())["rows"]
    assert {row["setting"] for row in rows} == {"plain Adam", "fused Adam"}
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in rows)

    page.write_text("<!-- cpu: begin --><!-- cpu: end -->")  # again, from the results
    assert benchmark.main(["--from", str(results), "--markdown", str(page)]) == 0
    assert text.split("-->")[1].strip() == page.read_text().split("-->")[1].strip()
    page.write_text("no place")
    with pytest.raises(ValueError, match="once each"):
        benchmark.main(["--from", str(results), "--markdown", str(page)])


def test_a_combination_that_fails_is_named_and_not_fatal(benchmark):
    def broken(gan, real, noise):
        raise RuntimeError("no compiler here\nand more")

    pair = benchmark.Pair("a pair", benchmark.mlp(8, 8), 4, rounds=2)
    steps = {benchmark.REFERENCE: benchmark.by_hand, "mine": broken}
    rows = benchmark.measure(pair, benchmark.PLAIN, steps, "cpu")
    assert [row.error for row in rows] == ["", "RuntimeError: no compiler here"]
    assert "| mine |  |  | failed: RuntimeError: no compiler here |" in benchmark.pair_table(rows)
    alone = benchmark.measure(pair, benchmark.PLAIN, {benchmark.REFERENCE: broken}, "cpu")
    assert [row.ms for row in alone] == [None]


def test_what_there_is_no_time_for_is_named(benchmark):
    rows: list = []
    assert list(benchmark.everything("cpu", quick=True, seconds=-1, rows=rows)) == []
    assert {row.error for row in rows} == {"out of time"}
    assert len(rows) == 2 * (len(benchmark.ALL) + len(benchmark.ALL) - len(benchmark.ONE_STAGE))


def test_the_page_has_the_places(benchmark, root):
    page = (root / "docs/benchmarks.md").read_text()
    for device in ("cpu", "cuda"):
        assert page.count(f"<!-- {device}: begin -->") == page.count(f"<!-- {device}: end -->") == 1


@pytest.mark.parametrize("name", ["steps", "ring"])
def test_it_needs_torch_alone_where_the_gpu_is(root, name):
    """All that it imports: torch, the standard library, and studied code of the package."""
    beside = ["between_markers"]  # which stands beside it, and needs less
    for script, wanted in ((name, {"torch", *beside}), *((one, set()) for one in beside)):
        source = (root / f"benchmarks/{script}.py").read_text()
        # Inside functions `steps` looks for matplotlib, to draw; on a GPU it does not draw.
        found = imports(source, script, is_package=False, everywhere=name == "ring")
        ours = found & SOURCES.keys()
        assert bool(ours) == (script == name)
        assert all(outside(module) <= {"torch"} for module in ours)
        rest = {module.split(".")[0] for module in found - ours} - {"gan_lessons", "__future__"}
        assert rest - sys.stdlib_module_names == wanted


def test_the_cost_of_recording_is_told(root, monkeypatch, capsys):
    monkeypatch.syspath_prepend(root / "benchmarks")
    monkeypatch.delitem(sys.modules, "record", raising=False)
    module = importlib.import_module("record")
    monkeypatch.setattr(module.torch, "set_num_threads", lambda n: None)
    assert module.main(["--quick"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["plain", "recorded", "ratio"]
    assert len(rows) == 2 * len(module.WAYS)
    for row in rows:
        assert all(float(x) > 0 for x in row.replace("ms", "").split()[-3:])


@pytest.fixture
def imports_benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    monkeypatch.delitem(sys.modules, "imports", raising=False)
    return importlib.import_module("imports")


def test_the_cost_of_the_import_is_told(imports_benchmark, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- import: begin --><!-- import: end -->")
    assert imports_benchmark.main(["--rounds", "1", "--markdown", str(page)]) == 0
    text = capsys.readouterr().out.strip()
    assert text in page.read_text()
    by_cpu, by_clock = (row.split("|")[2:-1] for row in text.splitlines()[-4:-2])
    assert re.search(r"takes (\d+\.\d) ms of CPU more \(the least: \1\)\.$", text)
    for torch_alone, ours, *ratios in (by_cpu, by_clock):
        (a, least_a), (b, least_b) = (
            map(float, cell.strip(" )").split(" (")) for cell in (torch_alone, ours)
        )
        assert a == least_a > 0.1  # of one import; torch takes longer than that anywhere
        assert b == least_b
        of_medians, of_minima, by_round = (float(cell.split()[0]) for cell in ratios)
        assert of_medians == of_minima == by_round == pytest.approx(b / a, abs=0.02)


def test_the_ratio_of_imports_is_that_of_the_rounds(imports_benchmark):
    torch_alone = [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    ours = [1.1, 2.2, 1.0, 1.2, 1.1, 1.1, 1.1, 1.1, 1.3, 1.1]
    found = imports_benchmark.ratio_of(ours, torch_alone)
    assert found.of_medians == found.by_round == pytest.approx(1.1)
    assert found.of_minima == pytest.approx(1.0)
    assert (found.low, found.high) == pytest.approx((1.1, 1.2))  # the second from either end of ten


@pytest.mark.parametrize(("n", "place"), [(1, 0), (5, 0), (6, 0), (9, 1), (10, 1), (60, 21)])
def test_the_interval_of_a_median_has_the_places_that_tables_have(imports_benchmark, n, place):
    low, high = imports_benchmark.median_interval([*reversed(range(n))])
    assert (low, high) == (place, n - 1 - place)


def test_the_page_has_the_figure_of_the_import_and_it_is_small(imports_benchmark, root):
    page = (root / "docs/benchmarks.md").read_text(encoding="utf-8")
    part = page.partition("<!-- import: begin -->")[2].partition("<!-- import: end -->")[0]
    (row,) = [line for line in part.splitlines() if line.startswith("| CPU seconds |")]
    *_, of_medians, of_minima, by_round, _ = (cell.strip() for cell in row.split("|"))
    high = float(by_round.rpartition(", ")[2].rstrip("]"))
    assert max(float(of_medians), float(of_minima), high) <= 1.05


def test_where_the_time_goes_adds_up(root, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(root / "benchmarks")
    module = importlib.import_module("where_time_goes")
    monkeypatch.setattr(module.torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(module, "keep_memory", lambda: None)
    page = tmp_path / "page.md"
    page.write_text("<!-- profile: begin --><!-- profile: end -->")
    assert module.main(["--quick", "--markdown", str(page)]) == 0
    assert capsys.readouterr().out.strip() in page.read_text()
    rows = [r for r in page.read_text().splitlines() if r.endswith("ms |")]
    assert len(rows) == 2 * len(module.STEPS)
    for row in rows:
        _, _, ratio, *cells, _ = (cell.strip() for cell in row.split("|"))
        whole, *parts = (float(cell.removesuffix(" ms")) for cell in cells)
        assert float(ratio) > 0
        assert len(parts) == len(module.PARTS) + 1
        assert sum(parts) == pytest.approx(whole, abs=0.05)
        assert all(part > 0 for part in parts[:-1])


def test_one_stage_by_hand_has_the_gradients_of_ours(root, monkeypatch):
    """A floor that computed something else would say nothing."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    module = importlib.import_module("where_time_goes")
    gan = module.mlp(8, 8)
    found = []
    for step in (module.one_stage_by_hand, module.step_one_stage):
        mine = module.steps.on(gan, "cpu")
        module.torch.manual_seed(0)
        step(mine, *module.steps.batch_for(mine, 4))
        found.append([p.grad for net in mine.nets.values() for p in net.parameters()])
    module.torch.testing.assert_close(*found)
