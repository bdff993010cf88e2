"""What the package leans on in torch's insides stands in one file."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import gan_lessons
from gan_lessons import torch_internals
from gan_lessons.torch_version import OLDEST, require_torch

PACKAGE = Path(gan_lessons.__file__).parent
HOME = Path(torch_internals.__file__)
# What Python, IPython, ipywidgets and nbconvert call by a name that begins so: no torch.
OTHERS = {
    "_getframe", "_asdict", "_replace", "_fields", "_repr_html_", "_repr_mimebundle_",
    "_instances", "_handle_msg", "_cleanup_kernel", "_init_preprocessors", "_create_environment",
}  # fmt: skip
# `published` is there to be read: it shows what this name does.
SHOWN = {"published.py: torch.autograd._unsafe_preserve_version_counter"}
PRIVATE = re.compile(r"_[a-zA-Z]")
ASKS = {"getattr", "hasattr", "setattr", "delattr"}


def private_names(source: str) -> set[str]:
    """``x._name`` where x is not ``self`` or ``cls``; what is imported from or under a private name
    of another package; and in strings: ``getattr(x, "_name")``, ``"torch._name"``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and PRIVATE.match(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                found.add(ast.unparse(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name for name in _imported(node) if re.search(r"(^|\.)_[a-zA-Z]", name)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ASKS:
            found |= {str(ast.literal_eval(a)) for a in node.args if _is_private_text(a)}
        elif isinstance(node, ast.Constant) and re.match(r"torch\._", str(node.value)):
            found.add(str(node.value))
    return found


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    base = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
    ours = {"gan_lessons", *sys.stdlib_module_names}
    return {name for name in names if name.partition(".")[0] not in ours}


def _is_private_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(PRIVATE.match(str(node.value)))


def test_private_names_of_torch_stand_in_one_file():
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != HOME
        for name in private_names(path.read_text(encoding="utf-8"))
        if name.rpartition(".")[2] not in OTHERS
    }
    assert found == SHOWN


def test_they_are_found():
    inside = private_names(HOME.read_text(encoding="utf-8"))
    assert {"torch._C", "torch._guards", "storage._cdata", "tensor._version", "torch._dynamo",
            "_forward_cls", "torch.utils._python_dispatch"} <= inside  # fmt: skip
    assert private_names("self._x; y._z; a.b._c") == {"y._z", "a.b._c"}
    assert private_names('getattr(x, "_y"); hasattr(x, "z"); "torch._a"') == {"_y", "torch._a"}
    assert private_names("from torch.x import _y as y") == {"torch.x._y"}
    assert private_names("from torch._x import y") == {"torch._x.y"}
    assert private_names("import torch._x") == {"torch._x"}
    assert private_names("from gan_lessons.x import _y") == set()


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
