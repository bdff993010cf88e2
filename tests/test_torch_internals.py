"""What the recorder leans on in torch's insides stands in one file."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from gan_lessons.lens import record
from gan_lessons.lens.record.torch_version import OLDEST, require_torch

ROOM = Path(record.__file__).parent
# Private names that only this package defines or that Python itself has.
OURS = {"sys._getframe", "_asdict", "_replace"}
PRIVATE = re.compile(r"_[a-zA-Z]")


def private_names(source: str) -> set[str]:
    """``x._name`` where x is not ``self`` or ``cls``, and ``torch._name``."""
    return {
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and PRIVATE.match(node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }


def test_private_names_of_torch_stand_in_one_file():
    found = {
        f"{path.name}: {name}"
        for path in sorted(ROOM.glob("*.py"))
        if path.name != "torch_internals.py"
        for name in private_names(path.read_text(encoding="utf-8"))
        if name not in OURS and name.rpartition(".")[2] not in OURS
    }
    assert found == set()


def test_they_are_found():
    inside = private_names((ROOM / "torch_internals.py").read_text(encoding="utf-8"))
    assert {"torch._C", "torch._guards", "storage._cdata", "tensor._version"} <= inside
    assert private_names("self._x; y._z; a.b._c") == {"y._z", "a.b._c"}


@pytest.mark.parametrize("version", ["2.8.0", "2.13.0+cpu", "2.14.0.dev20261101", "3.0.0a0"])
def test_a_torch_that_has_what_is_needed_is_welcome(version):
    require_torch(version)


@pytest.mark.parametrize("version", ["2.7.1+cu126", "2.6.0", "1.13.1"])
def test_an_older_torch_is_refused_in_words(version):
    with pytest.raises(
        ImportError, match=f"torch 2.8 or newer.*this is torch {re.escape(version)}"
    ):
        require_torch(version)


def test_the_floor_is_the_one_that_is_declared(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    (torch_range,) = (line for line in declared if line.startswith("torch>="))
    assert torch_range.startswith(f"torch>={OLDEST[0]}.{OLDEST[1]},")
