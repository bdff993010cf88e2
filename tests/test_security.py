"""What SECURITY.md promises and no other test holds: who reaches JupyterLab, and the hashes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from gan_lessons.classroom.lessons import LAB_SETTINGS

HASHED = re.compile(
    r"^([\w.-]+)==(\S+) (.*)\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


@pytest.mark.parametrize("target", ["lab", "present"])
def test_only_this_machine_reaches_jupyterlab_and_with_its_token(root: Path, target: str) -> None:
    command = ["make", "--always-make", "--dry-run", "--no-print-directory", target]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    opens = done.stdout.splitlines()[-1]
    assert " -m jupyterlab --ServerApp.ip=127.0.0.1 " in opens
    folders = [root / "tools/present", LAB_SETTINGS]
    settings = [path.read_text("utf-8") for folder in folders for path in folder.rglob("*.json*")]
    assert len(settings) >= 2
    for text in (opens, *settings):
        assert not re.search(r"token|password|ServerApp\.(?!ip=127)|0\.0\.0\.0", text)


def test_every_pin_has_its_hashes(root: Path) -> None:
    """And each line is read: what only other systems need stands there with its marker."""
    text = (root / "hashes.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([^#\s]+)==(\S+)$", (root / "constraints.txt").read_text(), re.M))
    found = HASHED.findall(text)
    hashed = {canonicalize_name(name): version for name, version, _, _ in found}
    wanted = {canonicalize_name(name): version for name, version in pinned.items()}
    assert len(wanted) > 100
    assert {name: hashed.get(name) for name in wanted} == wanted, "make it anew: see SECURITY.md"
    assert [
        n for n, _, marker, _ in found if ";" not in marker and canonicalize_name(n) not in wanted
    ] == []
    assert HASHED.sub("", re.sub(r"^#.*\n", "", text, flags=re.M)) == ""
