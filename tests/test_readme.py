"""The README's example does what the README says."""

import re
import subprocess
import sys
from pathlib import Path


def test_the_example_runs_and_tells_who_received(root: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    script = f"{example}\nprint([dict(c.received) for c in rec.backward_calls])"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "backward call 0" in done.stdout
    received = {"G": ("weight", "bias"), "D": ("0.weight", "0.bias")}
    assert str([received]) in done.stdout
