"""The examples in front do what the pages say; the results quoted there are those of the docs."""

import re
import subprocess
import sys
from pathlib import Path


def run(script: Path) -> str:
    """What a script prints; it must not write to stderr."""
    command = [sys.executable, "-W", "error", "-X", "utf8", str(script)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.stderr == ""
    return done.stdout


def example_of(page: Path) -> str:
    """The one Python block of a page."""
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return str(example)


def quoted_in(page: Path) -> str:
    """The one diagnosis that a page quotes."""
    (quoted,) = re.findall(r"```\n(≠ .*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return str(quoted)


def run_full_example(root: Path, folder: Path, more: str = "") -> str:
    script = folder / "example.py"
    script.write_text(f"{example_of(root / 'docs' / 'your-loop.md')}\n{more}", encoding="utf-8")
    return run(script)


def run_short_example(root: Path, folder: Path) -> str:
    """The README's lines, below the nets of the full example and a step made of its loop."""
    before, loop = example_of(root / "docs" / "your-loop.md").split("with record(")
    body = loop.split("range(2):\n")[1].split("\n\nprint")[0]
    step = "def one_step():\n" + re.sub("^        ", "    ", body, flags=re.MULTILINE)
    script = folder / "short.py"
    script.write_text(f"{before}\n{step}\n\n{example_of(root / 'README.md')}", encoding="utf-8")
    return run(script)


def test_the_example_runs_and_tells_who_received(root: Path, tmp_path: Path) -> None:
    out = run_full_example(root, tmp_path, "print([dict(c.received) for c in rec.backward_calls])")
    assert "backward call 0" in out
    both = {"G": ("weight", "bias"), "D": ("0.weight", "0.bias")}
    assert str([{**both, "G": ()}, both] * 2) in out


def test_both_pages_quote_what_diagnose_says(root: Path, tmp_path: Path) -> None:
    full = run_full_example(root, tmp_path)
    assert quoted_in(root / "docs" / "your-loop.md") in full
    for out in (full, run_short_example(root, tmp_path)):
        assert quoted_in(root / "README.md") in out
        assert out.split("Diagnosis: ")[1].startswith("1 × wrong gradient")


def test_the_example_in_front_is_five_lines(root: Path) -> None:
    lines = [line for line in example_of(root / "README.md").splitlines() if line.strip()]
    assert len(lines) == 5


def row_of(table: str, step: str) -> list[str]:
    (row,) = re.findall(rf"^\| {re.escape(step)} \| (.+) \|$", table, re.MULTILINE)
    return str(row).split(" | ")


def test_the_results_in_front_are_those_of_the_docs(root: Path) -> None:
    cpu = (root / "docs" / "benchmarks.md").read_text().split("**MLP 64 / 512, batch 64**")[1]
    table = cpu.split("**")[0]
    time = float(row_of(table, "One stage, as it chooses")[2].split(" ")[0])
    assert 0.70 < time < 0.80  # "about three quarters of the time"
    usual, halves = (
        float(row_of(table, step)[1].split(" / ")[0])
        for step in ("S2, inlined by hand", "By halves")
    )
    assert 0.55 < halves / usual < 0.72  # "about two thirds of the memory" that the graph holds
    cuda = (root / "docs" / "benchmarks.md").read_text().split("<!-- cuda: begin -->")[1]
    for pair in re.findall(r"\*\*DCGAN 64x64, widths.+?(?=\n\*\*)", cuda, re.DOTALL):
        column = row_of(pair, "step").index("CUDA graph")
        assert float(row_of(pair, "One stage, one call of D")[column].split(" ")[0]) < 0.7
    ring = (root / "docs" / "dynamics.md").read_text()
    good = re.findall(
        r"^\| the same for 5,000 steps \| ([\d,]+) \| ([\d.]+) .*?\| ([\d.]+) ", ring, re.M
    )
    shares = {(steps, i // 3): float(s2) / float(s3) for i, (steps, s2, s3) in enumerate(good)}
    assert len(shares) == 6  # three rows of a CPU, three of a GPU
    for place in (0, 1):
        assert 2 < shares["500", place] < 3.5  # "two to three times the good samples"
        assert 1.0 < shares["5,000", place] < 1.05  # "nearly the same after 5,000"


def test_two_of_the_three_listings_raise(root: Path) -> None:
    claims = (root / "docs" / "claims.md").read_text()
    for claim in ("C6", "C8"):
        assert re.search(rf"^\| {claim} \|.*✗ Two steps of the listing run", claims, re.MULTILINE)
