"""What the recorder leans on in torch's insides stands in one file."""

import ast
import re
from pathlib import Path

from gan_lessons.lens import record

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
