"""Are the tests of a room worth their name? One small change at a time, and some test must fail.

    python -m tests.stress.mutants --cases 80 --seed 0       # a random sample
    python -m tests.stress.mutants --only gan_lessons/steps.py --list

Why not mutmut or cosmic-ray: mutmut puts a switch in place of each function, so that the source of
a step, which lessons show and ``record_step`` follows line by line, is no longer its own; and
cosmic-ray writes into the working tree, and starts Python, torch and pytest anew for each change.
Here a change is a text put between two places of a file in a copy, and each run a fork of a process
that has torch and pytest loaded.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401 - loaded before the forks
import nbclient  # noqa: F401
import nbformat  # noqa: F401
import pytest
import torch.utils.flop_counter  # noqa: F401

from tests.stress import report

ROOT = Path(__file__).parents[2]
LIMIT = 300  # seconds; a change that makes it run on is noticed too

# The files of a room, and its tests, those first that fail soonest.
ROOMS: dict[str, tuple[str, ...]] = {
    "gan_lessons/steps.py": ("test_steps", "test_bad_input"),
    "gan_lessons/lean_steps.py": ("test_leaner", "test_bad_input"),
    "gan_lessons/losses.py": ("test_losses",),
    "gan_lessons/lens/record/*.py": (
        "test_record", "test_record_facts", "test_record_values", "test_steps_line_by_line",
        "test_torch_internals", "test_draw", "test_record_json", "test_record_threads",
        "test_record_interrupts", "test_many_processes",
    ),
    "gan_lessons/lens/diagnose/*.py": ("test_diagnose_loops", "test_diagnose"),
}  # fmt: skip

SWAPPED: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
OTHER_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """``new`` in place of what stands between two places of a file."""

    path: Path
    line: int
    begin: int
    end: int
    old: str
    new: str

    def text(self) -> str:
        source = self.path.read_bytes()
        return (source[: self.begin] + self.new.encode() + source[self.end :]).decode()

    def __str__(self) -> str:
        one = " ".join
        old, new = (one(text.split())[:90] for text in (self.old, self.new))
        return f"{self.path.relative_to(ROOT)}:{self.line}: {old}  ->  {new}"


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All changes of a file that somebody might make by mistake; words are left alone."""
    source = path.read_bytes()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for node in _code(ast.parse(source)):
        begin = lines[node.lineno - 1] + node.col_offset
        end = lines[node.end_lineno - 1] + node.end_col_offset
        old = source[begin:end].decode()
        for new in _changed(node, old):
            yield Mutant(path, node.lineno, begin, end, old, new)


def _code(tree: ast.AST) -> Iterator[Any]:
    """What runs: no annotations, docstrings, imports, nor what an error says."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from _code(ast.Expr(node.value))
            continue
        if isinstance(node, ast.arguments):
            yield from _code(ast.Tuple([d for d in [*node.defaults, *node.kw_defaults] if d]))
            continue
        if isinstance(node, ast.FunctionDef):
            node.returns, node.decorator_list = None, []
        if isinstance(node, ast.expr | ast.stmt):
            yield node
        yield from _code(node)


def _changed(node: Any, old: str) -> Iterator[str]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPPED:
            yield ast.unparse(ast.Compare(node.left, [SWAPPED[type(op)]()], node.comparators))
        case ast.BinOp(op=op) if type(op) in SWAPPED and not isinstance(node.left, ast.Constant):
            yield f"({ast.unparse(ast.BinOp(node.left, SWAPPED[type(op)](), node.right))})"
        case ast.BoolOp(op=op):
            yield f"({ast.unparse(ast.BoolOp(SWAPPED[type(op)](), node.values))})"
        case ast.UnaryOp(op=ast.Not()):
            yield ast.unparse(node.operand)
        case ast.Constant(value=bool() as value):
            yield str(not value)
        case ast.Constant(value=int() | float() as value):
            yield str(value + 1)
        case ast.Name(id=name, ctx=ast.Load()) if name in OTHER_NAMES:
            yield OTHER_NAMES[name]
        case ast.Return(value=value) if value is not None and ast.unparse(value) != "None":
            yield "return None"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            yield "pass"
        case ast.Continue():
            yield "break"
        case ast.If(test=test) if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp):
            head, written = old, ast.unparse(test)
            if written in head.partition("\n")[0]:
                yield head.replace(written, f"not ({written})", 1)
        case ast.Call(args=args, keywords=keywords) if keywords and all(k.arg for k in keywords):
            yield ast.unparse(ast.Call(node.func, args, keywords[:-1]))


def all_mutants(only: str | None = None) -> list[Mutant]:
    files = {p for pattern in ROOMS for p in ROOT.glob(pattern)}
    found = [m for p in sorted(files) if p.name != "__init__.py" for m in mutants_of(p)]
    return [m for m in found if only is None or only in str(m.path)]


# Trying one ---------------------------------------------------------------------------------------


def tests_of(path: Path) -> list[str]:
    (names,) = (t for pattern, t in ROOMS.items() if path in set(ROOT.glob(pattern)))
    return [f"tests/{name}.py" for name in names]


def copied(folder: Path) -> Path:
    """What tests read of the project; the working tree stays as it is."""
    skipped = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder / "copy", ignore=skipped)
    return folder / "copy"


def is_killed(mutant: Mutant, copy: Path) -> str:
    """Which test failed, or '' where none did."""
    changed = copy / mutant.path.relative_to(ROOT)
    before = changed.read_bytes()
    changed.write_text(mutant.text(), encoding="utf-8")
    try:
        return failure(tests_of(mutant.path), copy)
    finally:
        changed.write_bytes(before)


def failure(tests: list[str], copy: Path) -> str:
    """The first of ``tests`` that fails in the copy, or ''. RuntimeError where they cannot run."""
    said = copy / "said.txt"
    if not (child := os.fork()):
        _run_tests(copy, tests, said)
    end = time.monotonic() + LIMIT
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.05)
    if not ended[0]:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "it ran on"
    status, text = os.waitstatus_to_exitcode(ended[1]), said.read_text(errors="replace")
    failed = [x for x in text.splitlines() if x.startswith(("FAILED", "ERROR"))]
    if status not in (0, 1, 2) or (status and not failed):
        raise RuntimeError(f"pytest ended with status {status}: {text[-2000:]}")
    return failed[0][:150] if status else ""


def _run_tests(copy: Path, tests: list[str], said: Path) -> None:
    """In the fork: this never returns."""
    status = 9
    try:
        os.setsid()
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        os.chdir(copy)
        ours = {str(ROOT), "", os.getcwd()}
        sys.path[:] = [str(copy), *(p for p in sys.path if p not in ours)]
        os.environ["PYTHONPATH"], os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(copy), str(copy)
        sys.dont_write_bytecode = True
        for name in [n for n in sys.modules if n.partition(".")[0] in OURS]:
            del sys.modules[name]
        status = int(pytest.main([*QUIET, *tests]))
    except BaseException:  # noqa: BLE001 - this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


QUIET = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
OURS = ("tests", "benchmarks", "gan_lessons", "tools")


def main() -> None:
    parser = report.arguments(__doc__, cases=80)
    parser.add_argument("--only", help="files whose path holds this")
    parser.add_argument("--list", action="store_true", help="only list what would be tried")
    options = parser.parse_args()
    found = all_mutants(options.only)
    sample = random.Random(options.seed).sample(found, min(options.cases, len(found)))
    if options.list:
        print(*sample, f"{len(sample)} of {len(found)}", sep="\n")
        return
    killed, survived = 0, list[Mutant]()
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for tests in {tuple(tests_of(mutant.path)) for mutant in sample}:
            start = time.monotonic()
            if broken := failure(list(tests), copy):
                sys.exit(f"without any change {broken}")
            print(f"{tests[0]} and others: {time.monotonic() - start:.0f} s", flush=True)
        end = time.monotonic() + options.seconds
        for mutant in sample:
            by = is_killed(mutant, copy)
            killed += bool(by)
            survived += [] if by else [mutant]
            print(f"{'killed  ' if by else 'SURVIVED'} {mutant}  [{by}]", flush=True)
            if time.monotonic() > end:
                break
    tried = killed + len(survived)
    print("\nsurvived:", *survived, sep="\n")
    text = "{killed} of {tried} random changes ({of} possible ones) noticed by the room's own tests"
    few = killed < 0.9 * tried
    report.told("mutants", text.format(killed=killed, tried=tried, of=len(found)), few)


if __name__ == "__main__":
    main()
