"""Which tests run which function of the package, and how long each of them takes.

Found out in a run of the tests without a change: each function gets one more line when it is
compiled. (No tracing: what is tested traces, too. No line in a training step: it is followed.)
"""

from __future__ import annotations

import ast
import builtins
import faulthandler
import json
import re
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

NOTED = re.compile(r"/gan_lessons/lens/(record|diagnose)/")
BUDGET = 60.0  # seconds of a core, of tests for one change: others may be at work on this machine


class Noting:
    """A plugin for pytest that writes down who runs what, as JSON, for ``Reached``."""

    def __init__(self, root: Path, written: Path) -> None:
        self.root, self.written, self.test = root, written, ""
        self.tests: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}
        vars(builtins)["__ran__"] = lambda name: self.tests.setdefault(name, set()).add(self.test)
        plain = SourceFileLoader.source_to_code

        def with_notes(loader: Any, data: Any, path: Any, **more: Any) -> Any:
            noted = NOTED.search(str(path)) and Path(path).is_relative_to(root)
            return plain(loader, self.noting(data, Path(path)) if noted else data, path, **more)

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(SourceFileLoader, "source_to_code", with_notes)

    def noting(self, source: bytes, path: Path) -> ast.Module:
        tree = ast.parse(source)
        for function in functions(tree):
            name = f"{path.relative_to(self.root).as_posix()}:{function.lineno}"
            (line,) = ast.parse(f"__ran__({name!r})").body
            for node in ast.walk(line):
                ast.copy_location(node, function.body[0])
            function.body.insert(ast.get_docstring(function) is not None, line)
        return tree

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # What an earlier test has left in a cache this one would run for itself.
        for kept in vars(getattr(item, "module", None) or object).values():
            getattr(kept, "cache_clear", lambda: None)()
        self.test, start = item.nodeid, time.process_time()
        yield
        self.seconds[item.nodeid] = time.process_time() - start

    def pytest_sessionfinish(self) -> None:
        self.patch.undo()
        tests = {name: sorted(found - {""}) for name, found in self.tests.items()}
        self.written.write_text(json.dumps({"tests": tests, "seconds": self.seconds}))


class Chosen:
    """A plugin for pytest that runs these tests alone, in their order; none may run on."""

    def __init__(self, seconds: dict[str, float], said: Path) -> None:
        self.seconds, self.said = seconds, said.open("a")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self.seconds]
        places = {test: place for place, test in enumerate(self.seconds)}
        items[:] = sorted(chosen, key=lambda item: places[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # A minute at least: in another order it may be the one that starts what others share.
        limit = 60 + 20 * self.seconds[item.nodeid]
        faulthandler.dump_traceback_later(limit, exit=True, file=self.said)
        yield
        faulthandler.cancel_dump_traceback_later()


class Reached:
    """Which tests to run for a change, as ``Noting`` wrote it down."""

    def __init__(self, written: Path) -> None:
        found = json.loads(written.read_text())
        self.tests, self.seconds = found["tests"], found["seconds"]

    def by(
        self, path: Path, line: int, root: Path, first: tuple[str, ...] = ()
    ) -> dict[str, float]:
        """Test -> seconds, those that run the function of this line; all if none is known to.

        Those of the files ``first`` come first, and of each the quickest.

        A line outside of functions counts for all functions of its file.
        """
        name = path.relative_to(root).as_posix()
        around = [f for f in functions(ast.parse(path.read_bytes()))
                  if f.lineno <= line <= (f.end_lineno or 0)]  # fmt: skip
        if around:
            found = set(self.tests.get(f"{name}:{max(f.lineno for f in around)}", ()))
        else:
            found = {t for key, tests in self.tests.items() if key.startswith(f"{name}:")
                     for t in tests}  # fmt: skip
        chosen, total = dict[str, float](), 0.0
        for test in sorted(
            found or self.seconds, key=lambda t: (not t.startswith(first), self.seconds[t])
        ):
            total += self.seconds[test]
            if total > BUDGET:
                break
            chosen[test] = self.seconds[test]
        return chosen


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
