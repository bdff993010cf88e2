"""Are the tests of a room worth their name? One small change at a time, and some test must fail.

    python -m tests.stress.mutants --cases 30 --seed 0 > said.txt   # a random sample of each room
    python -m tests.stress.mutants --count said.txt more.txt --keep
    python -m tests.stress.mutants --only "steps.py:40: opt_g" --list

Why not mutmut or cosmic-ray: mutmut puts a switch in place of each function, so that the source of
a step, which lessons show and ``record_step`` follows line by line, is no longer its own; and
cosmic-ray writes into the working tree, and starts Python, torch and pytest anew for each change.
Here a change is a text put between two places of a file in a copy, and each run a fork of a process
that has torch and pytest loaded. Only the tests that run the changed function run (``reaching``).
"""

from __future__ import annotations

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401 - loaded before the forks
import nbclient  # noqa: F401
import nbformat  # noqa: F401
import pytest
import torch.utils.flop_counter  # noqa: F401

from tests.stress import reaching, report
from tests.stress.changes import Mutant, mutants_of
from tests.stress.report import ROOT

PATIENCE = 2.0  # times what the chosen tests take, and two minutes; one that runs on is noticed too

# The files of a room, and the tests of its own.
ROOMS: dict[str, tuple[str, ...]] = {
    "gan_lessons/steps.py": ("test_steps", "test_steps_line_by_line", "test_bad_input"),
    "gan_lessons/lean_steps.py": ("test_leaner", "test_bad_input"),
    "gan_lessons/losses.py": ("test_losses",),
    "gan_lessons/lens/record/*.py": (
        "test_record", "test_record_facts", "test_record_values", "test_record_telling_numbers",
        "test_record_json", "test_record_threads", "test_record_interrupts", "test_any_step",
        "test_steps_line_by_line", "test_moments", "test_torch_internals", "test_ranks_differ",
        "test_record_guards", "test_record_journal", "test_record_attaching",
        "test_record_gradients", "test_record_explanations", "test_record_processes",
        "test_odd_parameters", "test_record_graph", "test_record_quarrels", "test_record_lines",
        "test_line_by_line", "test_telling_numbers_one_by_one", "test_record_operations",
        "test_record_recorder", "test_record_fates", "test_record_gradient_reads",
        "test_record_checkpoints", "test_record_plain_tensors", "test_loop_in_a_package",
        "test_record_targets", "test_record_moved_otherwise",
    ),
    "gan_lessons/lens/diagnose/*.py": (
        "test_diagnose", "test_diagnose_facts", "test_diagnose_guards", "test_diagnose_loops",
        "test_diagnose_one_guard", "test_diagnose_more_guards", "test_diagnose_judges",
        "test_diagnose_real_code", "test_diagnose_scaled_loss", "test_diagnose_left_open",
        "test_diagnose_kept_gradients", "test_diagnose_signs", "test_diagnose_lost_terms",
        "test_diagnose_stepped_on", "test_diagnose_near_misses",
        "test_diagnose_left_out", "test_diagnose_thrown_away", "test_diagnose_lost_ways",
        "test_diagnose_whose_loss",
        "test_loops", "test_loops_together", "test_gains",
    ),
}  # fmt: skip
# Who reads what was recorded: for the rooms of the lens, after their own.
READERS = (
    "test_bad_input", "test_cost", "test_table", "test_whatif", "test_watch", "test_same",
    "test_stuck", "test_one_call", "test_explorer", "test_saved_page",
)  # fmt: skip


def files_of(room: str) -> list[Path]:
    return sorted(p for p in ROOT.glob(room) if p.name != "__init__.py")


def all_mutants(room: str) -> list[Mutant]:
    return [m for path in files_of(room) for m in mutants_of(path)]


# Trying one ---------------------------------------------------------------------------------------


def tests_of(room: str, own: bool) -> list[str]:
    """Files: those of the room first; ``own``: no others."""
    others = "/lens/" in room and not own
    more = [t for r in ROOMS if "/lens/" in r for t in ROOMS[r]] if others else []
    names = dict.fromkeys((*ROOMS[room], *more, *(READERS if more else ())))
    return [f"tests/{name}.py" for name in names]


def copied(folder: Path) -> Path:
    """What tests read of the project; the working tree stays as it is."""
    skipped = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder / "copy", ignore=skipped)
    return folder / "copy"


def is_killed(mutant: Mutant, tests: Tests, copy: Path) -> str:
    """Which test failed, or '' where none did."""
    changed = copy / mutant.path.relative_to(ROOT)
    before = changed.read_bytes()
    changed.write_bytes(mutant.within(before))
    try:
        return failure(tests, copy)
    finally:
        changed.write_bytes(before)


def failure(tests: Tests, copy: Path, noted: Path | None = None) -> str:
    """The first of ``tests`` that fails in the copy, or ''; in words where they could not run.

    noted: where to write down which test runs what.
    """
    said = copy / "said.txt"
    if not (child := os.fork()):
        _run_tests(copy, tests, said, noted)
    limit = PATIENCE * sum(tests.values()) + 120 if isinstance(tests, dict) else math.inf
    end, ended = time.monotonic() + limit, (0, 0)
    try:
        while not ended[0] and time.monotonic() < end:
            time.sleep(0.05)
            ended = os.waitpid(child, os.WNOHANG)
    finally:
        if not ended[0]:  # it ran on, or Ctrl-C, of which its session does not hear
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    status, text = os.waitstatus_to_exitcode(ended[1]), said.read_text(errors="replace")
    if not ended[0] or "Timeout (" in text:
        return "it ran on"
    failed = [x[:150] for x in text.splitlines() if x.startswith(("FAILED", "ERROR"))]
    return next(iter(failed), f"pytest ended with status {status}: {text[-500:]}") if status else ""


def _run_tests(copy: Path, tests: Tests, said: Path, noted: Path | None) -> None:
    """In the fork: this never returns."""
    status = 9
    try:
        os.setsid()
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
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
        plugins: list[Any] = [reaching.Noting(copy, noted)] if noted else []
        if isinstance(tests, dict):
            plugins.append(reaching.Chosen(tests, said))
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        status = int(pytest.main([*QUIET, *files], plugins))
    except BaseException:  # noqa: BLE001 - this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


Tests = Sequence[str] | dict[str, float]  # files, or tests and how long each takes
QUIET = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
OURS = ("tests", "benchmarks", "gan_lessons", "tools")


def reached_in(room: str, copy: Path, known: Path, own: bool) -> reaching.Reached:
    """The tests of a room run twice, without a change: in their order, and the quickest first.

    known: where what was found out is kept for the next run of the command. own: of ``tests_of``.
    """
    shared = "/lens/" in room and not own
    noted = known / f"{'lens' if shared else re.sub('[^a-z]+', '-', room)}.json"
    if noted.exists():
        return reaching.Reached(noted)
    broken = failure(tests_of(room, own), copy, noted)
    reached = None if broken else reaching.Reached(noted)
    quickest = sorted(reached.seconds.items(), key=lambda item: item[1]) if reached else ()
    if reached is None or (broken := failure(dict(quickest), copy)):
        sys.exit(f"without any change {broken}")
    print(f"{room}: {sum(reached.seconds.values()):.0f} s", flush=True)
    return reached


def tried(
    room: str, sample: list[Mutant], copy: Path, reached: reaching.Reached, end: float
) -> None:
    """Print of each whether it was noticed, and by which test."""
    own = tuple(f"tests/{name}.py" for name in ROOMS[room])
    for mutant in sample:
        if time.monotonic() > end:
            break
        tests = reached.by(mutant.path, mutant.line, ROOT, own)
        by = is_killed(mutant, tests, copy)
        told = by or f"{len(tests)} tests in {sum(tests.values()):.0f} s"
        print(f"{'killed  ' if by else 'SURVIVED'} {mutant}  [{told}]", flush=True)


def sampled(cases: int, seed: int, only: str) -> dict[str, list[Mutant]]:
    """Of each room, so many of the changes in whose line ``only`` is found."""
    found = {}
    for room in ROOMS:
        possible = [m for m in all_mutants(room) if re.search(only, str(m))]
        found[room] = random.Random(seed).sample(possible, min(cases, len(possible)))
    return found


def main() -> None:
    parser = report.arguments(__doc__, cases=30)
    parser.add_argument("--only", default="", help="changes in whose line this pattern is found")
    parser.add_argument("--list", action="store_true", help="only list what would be tried")
    parser.add_argument("--known", type=Path, help="a folder, for what is found out of the tests")
    parser.add_argument("--own", action="store_true", help="only the tests of the room itself")
    parser.add_argument("--count", nargs="+", type=Path, help="put together what runs printed")
    options = parser.parse_args()
    if options.count:
        counted("".join(path.read_text(encoding="utf-8") for path in options.count))
    samples = sampled(options.cases, options.seed, options.only)
    if options.list:
        print(*(m for sample in samples.values() for m in sample), sep="\n")
        return
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        for room, sample in samples.items():
            if sample:
                known = options.known or Path(folder)
                reached = reached_in(room, copy, known, options.own)
                tried(room, sample, copy, reached, end)


# Putting together ---------------------------------------------------------------------------------

TOLD = re.compile(r"^(killed|SURVIVED) +(\S+?):(\d+): (.*?)  \[", re.MULTILINE)


def counted(said: str) -> None:
    """Tell the figure of what runs of this command printed, and what survived.

    A change that changes nothing is told apart, with the reason that stands in ``figures.json``. Of
    a room of which nothing is printed the earlier figure stays.
    """
    kept, survived = report.kept("mutants"), list[str]()
    each, same = dict[str, list[int]](kept.get("each", {})), kept.get("same", {})
    told = sorted(set(TOLD.findall(said)))
    for room in ROOMS:
        files = files_of(room)
        found = [(v, f"{path}: {what}") for v, path, _, what in told if ROOT / path in files]
        left = [what for verdict, what in found if verdict == "SURVIVED"]
        real = [what for what in left if what not in same]
        if found:
            equal = len(left) - len(real)
            each[room] = [len(found) - len(left), len(found) - equal, equal]
        survived += real
    print("survived:", *survived, sep="\n")
    share, text = _told(each)
    report.told("mutants", text, share < 0.9, each=each, same=same)


def _told(each: dict[str, list[int]]) -> tuple[float, str]:
    """(share of what is noticed, where each room weighs as much as it has changes; the sentence)
    of room -> noticed, tried, and without effect."""
    possible = {room: len(all_mutants(room)) for room in each}
    of, equal = sum(possible.values()), sum(numbers[2] for numbers in each.values())
    share = sum(possible[room] * killed / tried_ for room, (killed, tried_, _) in each.items()) / of
    one = "{room} {killed} of {tried} ({low:.0%} to {high:.0%})"
    rooms = []
    for room, (killed, tried_, _) in each.items():
        low, high = interval(killed, tried_)
        name = room.removeprefix("gan_lessons/")
        rooms.append(one.format(room=name, killed=killed, tried=tried_, low=low, high=high))
    text = (
        "of random changes some test noticed: {rooms}; in brackets what that means for all, with "
        "95 %. Weighed by how many changes are possible ({of}): {share:.0%}. Left out: {equal} "
        "that change nothing"
    )
    return share, text.format(rooms=", ".join(rooms), of=of, share=share, equal=equal)


def interval(found: int, tried: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's, for a share."""
    share, middle = found / tried, 1 + z**2 / tried
    half = z * math.sqrt(share * (1 - share) / tried + (z / 2 / tried) ** 2)
    return (share + z**2 / 2 / tried - half) / middle, (share + z**2 / 2 / tried + half) / middle


if __name__ == "__main__":
    main()
