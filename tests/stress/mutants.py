"""Are the tests of a room worth their name? One small change at a time, and some test must fail.

    python -m tests.stress.mutants --cases 30 --seed 0       # a random sample of each room
    python -m tests.stress.mutants --only gan_lessons/steps.py --list
    python -m tests.stress.mutants --again said.txt          # what survived there, once more

Why not mutmut or cosmic-ray: mutmut puts a switch in place of each function, so that the source of
a step, which lessons show and ``record_step`` follows line by line, is no longer its own; and
cosmic-ray writes into the working tree, and starts Python, torch and pytest anew for each change.
Here a change is a text put between two places of a file in a copy, and each run a fork of a process
that has torch and pytest loaded.
"""

from __future__ import annotations

import ast
import math
import os
import random
import re
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
PATIENCE = 10  # times what the tests take without a change; one that runs on is noticed too

# The files of a room, and the tests that hold it, those first that fail soonest.
ROOMS: dict[str, tuple[str, ...]] = {
    "gan_lessons/steps.py": ("test_steps", "test_steps_line_by_line", "test_bad_input"),
    "gan_lessons/lean_steps.py": ("test_leaner", "test_bad_input"),
    "gan_lessons/losses.py": ("test_losses",),
    "gan_lessons/lens/record/*.py": (
        "test_record", "test_record_facts", "test_record_values", "test_steps_line_by_line",
        "test_any_step", "test_record_telling_numbers", "test_moments", "test_torch_internals",
        "test_record_json", "test_record_threads", "test_ranks_differ", "test_bad_input",
        # Whose rules read what is written down there.
        "test_diagnose", "test_loops",
    ),
    "gan_lessons/lens/diagnose/*.py": (
        "test_diagnose", "test_diagnose_loops", "test_diagnose_real_code", "test_loops",
        "test_gains", "test_ranks_differ",
    ),
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

    def within(self, source: bytes) -> bytes:
        """The whole file, changed; ``source``: as it was when this was made."""
        return source[: self.begin] + self.new.encode() + source[self.end :]

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
    """What runs: no annotations, decorators, docstrings, imports, nor what an error says."""
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
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
        if isinstance(node, ast.FunctionDef):
            node.returns = None
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


def files_of(room: str) -> list[Path]:
    return sorted(p for p in ROOT.glob(room) if p.name != "__init__.py")


def all_mutants(room: str, only: str = "") -> list[Mutant]:
    return [m for p in files_of(room) if only in str(p) for m in mutants_of(p)]


# Trying one ---------------------------------------------------------------------------------------


def tests_of(room: str) -> list[str]:
    return [f"tests/{name}.py" for name in ROOMS[room]]


def copied(folder: Path) -> Path:
    """What tests read of the project; the working tree stays as it is."""
    skipped = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder / "copy", ignore=skipped)
    return folder / "copy"


def is_killed(mutant: Mutant, tests: list[str], copy: Path, limit: float = math.inf) -> str:
    """Which test failed, or '' where none did."""
    changed = copy / mutant.path.relative_to(ROOT)
    before = changed.read_bytes()
    changed.write_bytes(mutant.within(before))
    try:
        return failure(tests, copy, limit)
    finally:
        changed.write_bytes(before)


def failure(tests: list[str], copy: Path, limit: float = math.inf) -> str:
    """The first of ``tests`` that fails in the copy, or ''; in words where they could not run."""
    said = copy / "said.txt"
    if not (child := os.fork()):
        _run_tests(copy, tests, said)
    end, ended = time.monotonic() + limit, (0, 0)
    try:
        while not ended[0] and time.monotonic() < end:
            time.sleep(0.05)
            ended = os.waitpid(child, os.WNOHANG)
    finally:
        if not ended[0]:  # it ran on, or Ctrl-C, of which its session does not hear
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not ended[0]:
        return "it ran on"
    status, text = os.waitstatus_to_exitcode(ended[1]), said.read_text(errors="replace")
    failed = [x[:150] for x in text.splitlines() if x.startswith(("FAILED", "ERROR"))]
    return next(iter(failed), f"pytest ended with status {status}: {text[-500:]}") if status else ""


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


def told_before(room: str, said: str) -> tuple[int, list[Mutant]]:
    """(how many were noticed, those that were not), read in what runs of this command printed.

    Of those that the code no longer has, only the noticed ones count. Lines may have moved.
    """
    killed, survived, possible = 0, list[Mutant](), all_mutants(room)
    for verdict, path, line, change in TOLD.findall(said):
        if ROOT / path in files_of(room):
            same = [m for m in possible if str(m) == f"{path}:{m.line}: {change}"]
            killed += verdict == "killed"
            near = min(same, key=lambda m: abs(m.line - int(line)), default=None)
            if verdict == "SURVIVED" and near is not None and abs(near.line - int(line)) < NEAR:
                survived.append(near)
    return killed, survived


NEAR = 20  # lines; what reads alike farther away is another one
TOLD = re.compile(r"^(killed|SURVIVED) +(\S+?):(\d+): (.*?)  \[", re.MULTILINE)


def tried(room: str, sample: list[Mutant], copy: Path, end: float) -> tuple[int, list[Mutant]]:
    """(how many were noticed, those that were not) of one room."""
    start, killed, survived = time.monotonic(), 0, list[Mutant]()
    if broken := failure(tests_of(room), copy):
        sys.exit(f"without any change {broken}")
    took = time.monotonic() - start
    print(f"{room}: {took:.0f} s", flush=True)
    for mutant in sample:
        if time.monotonic() > end:
            break
        by = is_killed(mutant, tests_of(room), copy, PATIENCE * took)
        killed += bool(by)
        survived += [] if by else [mutant]
        print(f"{'killed  ' if by else 'SURVIVED'} {mutant}  [{by}]", flush=True)
    return killed, survived


def main() -> None:
    parser = report.arguments(__doc__, cases=30)
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument("--list", action="store_true", help="only list what would be tried")
    parser.add_argument("--again", help="a file with what was printed: try what survived once more")
    options = parser.parse_args()
    possible = {room: all_mutants(room, "" if options.again else options.only) for room in ROOMS}
    if options.again:
        said = Path(options.again).read_text(encoding="utf-8")
        known = {room: told_before(room, said) for room in ROOMS}
    else:
        known = {
            room: (0, random.Random(options.seed).sample(found, min(options.cases, len(found))))
            for room, found in possible.items()
        }
    if options.list:
        print(*(m for _, sample in known.values() for m in sample), sep="\n")
        return
    end, survived = time.monotonic() + options.seconds, list[Mutant]()
    each = report.kept("mutants").get("each", {}) if options.keep else {}  # of rooms tried before
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for room, (killed, sample) in known.items():
            left = [m for m in sample if options.only not in str(m.path)]
            if chosen := [m for m in sample if m not in left]:
                more, still = tried(room, chosen, copy, end)
                killed, left = killed + more, left + still
            survived += left
            if killed or left:
                each[room] = [killed, killed + len(left), bool(options.again)]
    print("\nsurvived:", *survived, sep="\n")
    killed, tried_ = (sum(found[i] for found in each.values()) for i in (0, 1))
    report.told("mutants", _told(each, killed, tried_), killed < 0.9 * tried_, each=each)


def _told(each: dict[str, list[int]], killed: int, tried: int) -> str:
    """each: room -> noticed, tried, and was what survived tried once more?"""
    of = sum(len(all_mutants(room)) for room in ROOMS)
    names = {room: room.removeprefix("gan_lessons/") for room in each}
    counts = ", ".join(f"{names[room]} {found[0]} of {found[1]}" for room, found in each.items())
    text = (
        "{killed} of {tried} random changes ({of} possible ones) noticed by the tests of their "
        "room: {counts}"
    )
    if again := ", ".join(names[room] for room, found in each.items() if found[2]):
        text += "; in {again} what survived at first was tried once more, with new tests"
    return text.format(killed=killed, tried=tried, of=of, counts=counts, again=again)


if __name__ == "__main__":
    main()
