"""The shape of the package: who may import whom, and how much of it there is.

Imports are read from the source, so that one inside a function counts as well where it should.
"""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gan_lessons

PACKAGE = "gan_lessons"
ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}
# What stands on torch and the standard library alone, at module level.
PLAIN = ["losses", "models", "data", "lens.model", "lens.record"]
# Who may import whom: each room what stands before it, lazy and typing imports counted.
ROOMS = ["studied", "lens.model", "lens.record", "lens.show", "lens.diagnose", "lens.watch",
         "lens.cost", "lens.whatif", "classroom", "classroom.export"]  # fmt: skip
MAPPED = [*ROOMS[1:-1], "classroom.explorer", ROOMS[-1]]  # the rows of CONTRIBUTING.md
# A record shows itself: `Record.table()` and the type that it returns.
EXCEPTIONS = {("lens.model", "lens.show")}
# "Small helper package": the modules that supply models and step functions.
SMALL = ["models", "data", "losses", "steps", "published"]
HEAVY = ["matplotlib", "ipywidgets", "graphviz", "torchviz", "sklearn", "tqdm", "IPython"]


def imports(source: str, module: str, *, is_package: bool, everywhere: bool) -> set[str]:
    """Return the absolute names that ``source`` imports; relative ones are resolved.

    ``everywhere`` also looks inside functions, and at what only ``if TYPE_CHECKING:`` guards.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            # `from package import module` imports the module; a function's name does no harm.
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
        elif (
            not everywhere
            and isinstance(node, ast.If)
            and "TYPE_CHECKING" in ast.unparse(node.test)
        ):
            for statement in node.orelse:
                visit(statement)
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(source))
    return found


def imports_of(module: str, *, everywhere: bool) -> set[str]:
    path = SOURCES[module]
    return imports(
        path.read_text(encoding="utf-8"),
        module,
        is_package=path.name == "__init__.py",
        everywhere=everywhere,
    )


def reached(module: str) -> set[str]:
    """Return ``module`` and all modules of the package that importing it loads, the long way."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [found for found in imports_of(name, everywhere=False) if found in SOURCES]
    return seen


def room(module: str) -> str:
    """The room that a module stands in: "lens.record" for gan_lessons.lens.record.recorder."""
    name = module.removeprefix(f"{PACKAGE}.")
    homes = [room for room in ROOMS if name == room or name.startswith(f"{room}.")]
    return max(homes, key=len, default="studied")


def outside(module: str) -> set[str]:
    """Return the top-level packages other than this one that loading ``module`` loads."""
    names = {
        found.split(".")[0]
        for part in reached(module)
        for found in imports_of(part, everywhere=False)
    }
    return names - {PACKAGE, *sys.stdlib_module_names}


def test_the_package_was_found():
    assert f"{PACKAGE}.steps" in SOURCES


def test_the_map_names_every_room_and_what_is_in_it():
    """CONTRIBUTING.md's table: a room for each row, and every file that it names is there."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w/]+)` \| (.+) \|$", text, re.M))
    assert [room.replace("/", ".") for room in rows] == [PACKAGE, *MAPPED]
    for room_name, told in rows.items():
        folder = ROOT / PACKAGE / room_name if room_name != PACKAGE else ROOT / PACKAGE
        names = re.findall(r"`([a-z_]+)(?:/|\.[A-Z]+)?`", told)
        missing = {n for n in names if not ((folder / n).is_dir() or (folder / f"{n}.py").exists())}
        assert missing <= set(gan_lessons.__all__), f"{room_name}: {missing}"


def test_the_first_line_of_a_file_is_a_whole_sentence():
    """`head -1` of a room is its table of contents."""
    scripts = sorted((ROOT / PACKAGE).rglob("*.js"))
    assert len(scripts) > 10
    said = {path: path.read_text(encoding="utf-8").partition("\n")[0] for path in scripts}
    assert all(line.startswith("//") for line in said.values())
    for path in SOURCES.values():
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        said[path] = (told or "").partition("\n")[0]
    broken = {str(path): line for path, line in said.items() if not line.endswith((".", "?"))}
    assert broken == {}


# Fronts: they name what stands behind them, and nothing of the package imports them.
FRONTS = {PACKAGE, f"{PACKAGE}.lens", f"{PACKAGE}.__main__"}
PACKAGES = {m for m, path in SOURCES.items() if path.name == "__init__.py"} - FRONTS


@pytest.mark.parametrize("module", sorted(SOURCES.keys() - FRONTS))
def test_rooms(module):
    here = room(module)
    for name in imports_of(module, everywhere=True) & SOURCES.keys() - FRONTS:
        there = room(name)
        if there == here or (here, there) in EXCEPTIONS:
            continue
        assert ROOMS.index(there) < ROOMS.index(here), f"{module} ({here}) imports {name} ({there})"


def owner_package(module: str) -> str:
    """The subpackage that a module belongs to, or the package itself."""
    return module if module in PACKAGES else module.rpartition(".")[0]


@pytest.mark.parametrize("module", sorted(SOURCES.keys() - FRONTS))
def test_other_packages_are_entered_by_their_front(module):
    """What a subpackage offers stands in its ``__all__``; a file inside is its own affair."""
    for name in imports_of(module, everywhere=True) & SOURCES.keys():
        package = owner_package(name)
        inside = name != package and package in PACKAGES
        own = package == owner_package(module) or f"{owner_package(module)}.".startswith(package)
        assert not inside or own, f"{module} imports {name}; take it from {package}"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_says_what_it_offers(package):
    module = importlib.import_module(package)
    assert module.__all__, package
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("name", PLAIN)
def test_stands_on_torch_alone(name):
    assert outside(f"{PACKAGE}.{name}") <= {"torch"}


def test_no_import_cycle():
    """Lazy and typing imports count: what knows of each other is one thing in two files."""
    graph = {
        module: {found for found in imports_of(module, everywhere=True) if found in SOURCES}
        - {module, *FRONTS}
        # A file is loaded through its package, which names it: that is no knowledge of it.
        - {package for package in PACKAGES if module.startswith(f"{package}.")}
        for module in SOURCES
        if module not in FRONTS
    }
    graph[f"{PACKAGE}.lens.model"] = set()  # EXCEPTIONS
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_modules_do_not_import_the_front_door():
    through = [
        module
        for module, path in SOURCES.items()
        if module != PACKAGE and _imports_a_name_of_the_package(path, module)
    ]
    assert through == []


def _imports_a_name_of_the_package(path: Path, module: str) -> bool:
    names = imports_of(module, everywhere=False)
    own = {f"{PACKAGE}.{found.split('.')[1]}" for found in SOURCES if found != PACKAGE}
    return any(
        name.startswith(f"{PACKAGE}.") and f"{PACKAGE}.{name.split('.')[1]}" not in own
        for name in names
    )


@pytest.mark.parametrize("module", SOURCES)
def test_no_file_is_long(module):
    lines = len(SOURCES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= 350, f"{SOURCES[module].name} has {lines} lines"


def test_a_function_fits_on_a_screen():
    lengths = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, path in SOURCES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}
    assert max(lengths.values()) > 20  # they were found, and measured


def test_the_helper_package_is_small():
    files = [ROOT / PACKAGE / f"{name}.py" for name in SMALL]
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert sum(lines.values()) < 300, lines


def test_import_needs_torch_and_nothing_else():
    assert outside(PACKAGE) == {"torch"}


def test_import_is_light():
    """torch itself loads tqdm where it is installed, so only what we add to torch counts."""
    code = f"""
import sys, torch
before = set(sys.modules)
import {PACKAGE}
print(*[name for name in {HEAVY!r} if name in sys.modules.keys() - before])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("statement", "spared"),
    [
        (f"import {PACKAGE}", ["train", "training", "data", "lens", "classroom"]),
        (f"from {PACKAGE}.lens.cost import counting, copied", ["lens.diagnose", "lens.watch"]),
        (
            f"from {PACKAGE}.classroom import explore; explore('detach', what_if=False)",
            ["lens.diagnose", "lens.watch"],
        ),
    ],
)
def test_what_is_not_needed_is_not_loaded(statement, spared):
    """And is there all the same, as soon as it is asked for."""
    code = f"""
import sys
{statement}
loaded = [name for name in {spared!r} if f"{PACKAGE}.{{name}}" in sys.modules]
print(*loaded, "torch._dynamo" in sys.modules)
import {PACKAGE} as package, {PACKAGE}.lens.cost as cost
assert package.data.ring and package.train.train and package.training.Training
assert all(hasattr(cost, name) for name in cost.__all__)
assert not hasattr(cost, "nothing")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"]


# The reader of imports itself.


def test_imports_are_found():
    source = "\n".join(
        [
            "import torch.nn as nn, json",
            "from . import losses",
            "from ..classroom.explorer import explore",
            "from typing import TYPE_CHECKING",
            "if TYPE_CHECKING:",
            "    import graphviz",
            "class A:",
            "    import os",
            "def f():",
            "    from matplotlib import figure",
        ]
    )
    top = imports(source, "gan_lessons.lens.draw", is_package=False, everywhere=False)
    assert {"torch.nn", "json", "os", "gan_lessons.lens.losses"} <= top
    assert "gan_lessons.classroom.explorer" in top
    assert not {"graphviz", "matplotlib"} & top
    inside = imports(source, "gan_lessons.lens.draw", is_package=False, everywhere=True)
    assert "matplotlib" in inside
    package = imports(
        "from .record import record", "gan_lessons.lens", is_package=True, everywhere=True
    )
    assert "gan_lessons.lens.record" in package
