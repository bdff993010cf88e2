"""The README's example does what the README says."""

import re
import subprocess
import sys
from pathlib import Path


def run_example(root: Path, folder: Path, more: str = "") -> str:
    """What the one Python block of the README prints, run from a file as a reader would."""
    text = (root / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = folder / "example.py"
    script.write_text(f"{example}\n{more}", encoding="utf-8")
    command = [sys.executable, "-W", "error", "-X", "utf8", str(script)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.stderr == ""
    return done.stdout


def test_the_example_runs_and_tells_who_received(root: Path, tmp_path: Path) -> None:
    out = run_example(root, tmp_path, "print([dict(c.received) for c in rec.backward_calls])")
    assert "backward call 0" in out
    both = {"G": ("weight", "bias"), "D": ("0.weight", "0.bias")}
    assert str([{**both, "G": ()}, both] * 2) in out


def test_the_readme_quotes_what_diagnose_says(root: Path, tmp_path: Path) -> None:
    (quoted,) = re.findall(r"```\n(≠ .*?)```", (root / "README.md").read_text(), re.DOTALL)
    out = run_example(root, tmp_path)
    assert quoted in out
    found = out.split("Diagnosis: ")[1]
    assert found.startswith("1 × wrong gradient")
