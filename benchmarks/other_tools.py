"""What other tools see of the loops in tests/loops, measured: torch-audit and TrainCheck.

    python benchmarks/other_tools.py --markdown docs/other-tools.md    # some 20 minutes, network
    python benchmarks/other_tools.py --traincheck 0                    # torch-audit alone

Each tool is installed into an environment of its own, in a temporary folder, and gets its best
case. A fault counts as seen where the tool says something of the wrong loop that it does not say of
the same loop with our advice taken: what it says of both is not about the fault. TrainCheck learns
what is healthy from that mended loop itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from between_markers import put_between

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TORCH = "torch==2.13.0"
AUDIT, CHECK = "torch-audit==0.3.0", "traincheck==0.2.0"
LIMIT = 240  # seconds for one command of TrainCheck


@dataclass(frozen=True)
class Seen:
    """What one tool said of one loop. ``told``: only of the wrong one, or of a right one at all.
    ``failed``: why it said nothing, or ""."""

    told: tuple[str, ...] = ()
    failed: str = ""

    @property
    def text(self) -> str:
        return f"failed: {self.failed}" if self.failed else ", ".join(self.told) or "nothing"


# Environments -------------------------------------------------------------------------------------


def environment(folder: Path, *packages: str) -> Path:
    """Its Python. Raises RuntimeError with pip's last words."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    for wanted in ([TORCH], ["numpy", *packages]):
        done = ran([str(python), "-m", "pip", "install", "-q", *wanted], folder, 900)
        if done.returncode:
            raise RuntimeError(last_words(done))
    return python


def ran(command: Sequence[str], folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        return subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, check=False,
            timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"stopped after {limit} seconds")


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return (lines or ["no output"])[-1][:160]


# torch-audit --------------------------------------------------------------------------------------


def audit_all(python: Path, folder: Path) -> dict[str, dict[str, list[str]]]:
    """Loop -> "wrong" and "mended" -> the rules that it told."""
    done = ran([str(python), __file__, "--audit-here"], folder, 900)
    if done.returncode:
        raise RuntimeError(last_words(done))
    found: dict[str, dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def audit_here() -> None:
    """Inside the environment: run every loop under torch-audit, and print what it tells."""
    from tests.loops import LOOPS

    found = {
        one.name: {
            which: audited(one, which == "mended")
            for which in (("wrong", "mended") if one.faulty else ("wrong",))
        }
        for one in LOOPS
    }
    print(json.dumps(found))


def audited(one: Any, fixed: bool) -> list[str]:
    """The rules told of one loop, at every step of every net. Once as ``autopatch`` does it; and
    once more with a look after every backward, which it leaves out."""
    plain, closely = (_rules(one, fixed, looks) for looks in (False, True))
    return [*sorted(plain), *(f"{rule} (after backward)" for rule in sorted(closely - plain))]


def _rules(one: Any, fixed: bool, looks: bool) -> set[str]:
    from unittest.mock import patch

    import torch
    from torch_audit import Auditor, Phase  # type: ignore[import-not-found]

    from tests.loops.kit import run

    torch.manual_seed(0)
    it = one.build(fixed)
    auditors = []
    for net in it.nets.values():
        own = {*net.parameters()}
        groups = ((o, group) for o in it.optimizers.values() for group in o.param_groups)
        optimizer = next((o for o, group in groups if own & {*group["params"]}), None)
        auditors.append(Auditor(net, optimizer=optimizer, every_n_steps=1).autopatch())
    original = torch.Tensor.backward

    def backward(tensor: Any, *args: Any, **options: Any) -> None:
        original(tensor, *args, **options)
        for auditor in auditors if looks else ():
            auditor.runner.run_step(auditor._make_context(Phase.BACKWARD, step=None, batch=None))

    with patch.object(torch.Tensor, "backward", backward):
        run(it, one)
    for auditor in auditors:
        auditor.unpatch()
    told = [finding for auditor in auditors for finding in auditor.finish().findings]
    return {f"{f.rule_id} {str(f.severity.value).lower()}" for f in told}


# TrainCheck ---------------------------------------------------------------------------------------

SCRIPT = """import sys
sys.path.insert(0, {root!r})
import torch
from tests.loops import LOOPS
one = next(x for x in LOOPS if x.name == {name!r})
torch.manual_seed({seed})
it = one.build({fixed})
{nets} = it.nets.values()
for i in range({first}, {first} + 6):
    it.iteration = i
    one.body(it, i)
"""


def checked(python: Path, folder: Path, one: Any) -> Seen:
    """TrainCheck learns from the mended loop, and looks at the wrong one, and at the mended one
    with other weights and data: what it says of that as well is not about the fault."""
    folder.mkdir()
    nets = [f"net_{i}" for i in range(len(one.build(False).nets))]
    names = ", ".join(nets) + ","
    for which, fixed, seed in (("healthy", True, 0), ("wrong", False, 0), ("again", True, 1)):
        text = SCRIPT.format(
            root=str(ROOT), name=one.name, fixed=fixed, nets=names, seed=seed, first=10 * seed
        )
        (folder / f"{which}.py").write_text(text, encoding="utf-8")
    collect = ["traincheck-collect", "--models-to-track", *nets, "--pyscript"]
    learnt = ["-i", "invariants.json"]
    commands = [
        [*collect, "healthy.py", "--output-dir", "trace_healthy"],
        ["traincheck-infer", "-f", "trace_healthy", "-o", "invariants.json"],
    ]
    for which in ("wrong", "again"):
        commands.append([*collect, f"{which}.py", "--output-dir", f"trace_{which}", *learnt])
        commands.append(["traincheck-check", "-f", f"trace_{which}", *learnt])
    for command in commands:
        done = ran([str(python.with_name(command[0])), *command[1:]], folder, LIMIT)
        if done.returncode:
            return Seen(failed=f"{command[0]}: {last_words(done)}")
    wrong, again = (violations(folder, f"trace_{which}") for which in ("wrong", "again"))
    found = {text: relation for text, relation in wrong.items() if text not in again}
    counts = {relation: [*found.values()].count(relation) for relation in found.values()}
    return Seen(tuple(f"{count} × {relation}" for relation, count in sorted(counts.items())))


def violations(folder: Path, trace: str) -> dict[str, str]:
    """What was learnt and does not hold here: in words -> the kind of relation."""
    found: dict[str, str] = {}
    for path in folder.glob(f"traincheck_checker_results_*/{trace}/failed.log"):
        for result in documents(path.read_text(encoding="utf-8")):
            invariant = result["invariant"]
            found[str(invariant["text_description"])] = str(invariant["relation"])
    return found


def documents(text: str) -> list[Any]:
    """The JSON values in a text, one behind the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text := text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        found += value if isinstance(value, list) else [value]
        while at < len(text) and text[at].isspace():
            at += 1
    return found


# The page -----------------------------------------------------------------------------------------


def ours(one: Any) -> Seen:
    """By ``tests.loops``: what ``diagnose`` tells, and its truth by autograd.grad."""
    from tests.loops import judge

    found = judge(one)
    waste = [code for code in found.diagnosis.codes if code == one.waste]
    return Seen(tuple(dict.fromkeys([*(code for code, _ in found.grave), *waste])))


def row(one: Any, audit: dict[str, list[str]], check: Seen | None) -> list[str]:
    seen = [rule for rule in audit["wrong"] if rule not in audit.get("mended", [])]
    third = "not run" if check is None else check.text
    return [one.name.replace("_", " "), ours(one).text, Seen(tuple(seen)).text, third]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(loops: list[Any], audits: dict[str, Any], checks: dict[str, Seen]) -> str:
    wrong = [one for one in loops if one.faulty]
    right = [one for one in loops if not one.faulty]
    rows = [row(one, audits[one.name], checks.get(one.name)) for one in wrong]
    quiet = [
        [one.name.replace("_", " "), ours(one).text, ", ".join(audits[one.name]["wrong"])]
        for one in right
    ]
    run = [r for r in rows if r[3] != "not run"]
    counts = [
        f"Of {len(rows)} loops with a fault, `diagnose` tells {_told(rows, 1)}, {AUDIT} "
        f"{_told(rows, 2)}. {CHECK} was run on {len(run)} of them, and tells {_told(run, 3)}.",
        f"Of {len(quiet)} right loops, `diagnose` alarms at {_told(quiet, 1)}, {AUDIT} tells a "
        f"rule of severity error at {sum(_without_looks(r[2]) for r in quiet)} (at "
        f"{sum(' error' in r[2] for r in quiet)} where every net is looked at after every "
        "backward, that of another player included).",
    ]
    head = ["loop with a fault", "`diagnose`", "torch-audit", "TrainCheck"]
    return "\n\n".join(
        [*counts, table(head, rows), table(["right loop", *head[1:3]], quiet)]
    )  # fmt: skip


def _without_looks(rules: str) -> bool:
    return any(rule.endswith(" error") for rule in rules.split(", "))


def _told(rows: list[list[str]], column: int) -> int:
    return sum(r[column] != "nothing" and not r[column].startswith("failed") for r in rows)


def spread(loops: list[Any], count: int) -> list[Any]:
    """So many loops with a fault and no error, of all families."""
    wrong = [one for one in loops if one.faulty and one.family != "errors"]
    return wrong[:: max(len(wrong) // count, 1)][:count] if count else []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--markdown", type=Path, help="page with markers, which gets the tables")
    parser.add_argument("--traincheck", type=int, default=8, help="on how many loops (8)")
    parser.add_argument("--audit-here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.audit_here:
        audit_here()
        return 0
    from tests.loops import LOOPS

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audits = audit_all(environment(folder / "audit", AUDIT), folder)
        checks: dict[str, Seen] = {}
        if chosen := spread(LOOPS, options.traincheck):
            python = environment(folder / "check", CHECK)
            for one in chosen:
                checks[one.name] = checked(python, folder / one.name, one)
                print(f"TrainCheck, {one.name}: {checks[one.name].text}", flush=True)
    text = page(LOOPS, audits, checks)
    if options.markdown is None:
        print(text)
        return 0
    put_between(options.markdown, "table", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
