"""``gan-lessons diagnose train.py --its --own args``: run a training script and watch its loop.

The script runs unchanged, as ``python train.py --its --own args`` would run it. Optimizers are
found as they are built. Recording begins with the first forward of a net that one of them trains,
and ends when each of them has stepped so many times; then nothing of ours is left in it.
"""

from __future__ import annotations

import argparse
import builtins
import io
import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

from gan_lessons.lens.watch.report import VERSION, Report, save_json
from gan_lessons.lens.watch.script_watcher import ScriptWatcher
from gan_lessons.lens.watch.variables import LENS

USAGE = "gan-lessons diagnose [options] (script.py | -m package.module) [its own arguments]"
FAILED = "The script itself failed ({error}); what it said about that stands above."
NOTHING = "gan-lessons could watch nothing: {why}"
WHY_FAILED = "the script failed before a net was run that an optimizer trains."
WHY_ENDED = "the script ended, and no net was run that an optimizer trains."
WHY_NONE = (
    "the script built no torch optimizer in this process. Training that runs in processes which "
    "the script starts cannot be watched: start these with torchrun."
)


class Done(SystemExit):
    """The watched iterations are over: the script ends here, through its own ``finally``."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options up to the script (or ``-m module``); all that follows belongs to the script."""
    parser = argparse.ArgumentParser("gan-lessons diagnose", usage=USAGE, description=__doc__)
    add = parser.add_argument
    add("--iterations", type=_positive, default=3, metavar="N", help="watch N iterations (3)")
    add("--after", type=int, default=0, metavar="N", help="skip the first N iterations (0)")
    add("--keep-going", action="store_true", help="let the script run on after the report")
    add("--json", metavar="FILE", help="write the report as JSON, too")
    add("--html", metavar="FILE", help="write the report as a page, too")
    add("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    own = 0
    while own < len(arguments) and arguments[own].startswith("-"):
        if arguments[own] == "-m":
            own += 2
            break
        takes = arguments[own] in ("--iterations", "--after", "--json", "--html")
        own += 1 + takes
    options = parser.parse_args(arguments[:own])
    options.script, options.arguments = options.module, list(arguments[own:])
    if options.module is None:
        if not options.arguments:
            parser.error("name a script, or -m and a module")
        options.script, *options.arguments = options.arguments
        if not os.path.exists(options.script):
            parser.error(f"there is no file {options.script!r}")
    return options


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def diagnose_script(arguments: Sequence[str]) -> int:
    """Run the script that ``arguments`` name, print the diagnosis; returns the exit status.

    0: neither an error nor a wrong gradient. 1: one of them, or the script failed while watched.
    2: nothing could be watched, with the reason. Of several processes (torchrun) rank 0 reports.
    """
    options = parse(arguments)
    command = _Command(options)
    try:
        with command.watcher:
            _run(options)
    except Done:
        pass
    except SystemExit as ended:
        if ended.code:
            command.failed = f"exit status {ended.code}"
    except Exception as error:  # noqa: BLE001 - the script's own, told as Python would tell it
        _print_traceback(error)
        command.failed = type(error).__name__
    return command.finish()


def _run(options: argparse.Namespace) -> None:
    """What ``python script`` and ``python -m module`` do."""
    path = os.path.abspath(options.script)
    sys.argv = [options.script, *options.arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd() if options.module else os.path.dirname(os.path.realpath(path))
    if options.module:
        runpy.run_module(options.module, run_name="__main__", alter_sys=True)
        return
    # As runpy.run_path does, but what is pickled, forked or run at exit finds its module for good.
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins)
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, main.__dict__)


def _print_traceback(error: Exception) -> None:
    """As without us: no frame of an instrument, nor of what stands between it and the script."""
    told = traceback.TracebackException.from_exception(error)
    ours = (LENS, "<frozen runpy>")
    told.stack = traceback.StackSummary.from_list(
        [frame for frame in told.stack if not frame.filename.startswith(ours)]
    )
    print(*told.format(), sep="", end="", file=sys.stderr, flush=True)


class _Command:
    """What one run says, to whom, and with which status it ends."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.loud = os.environ.get("RANK", "0") == "0"
        self.watcher = ScriptWatcher(options.iterations, options.after, self.say, self.report)
        self.seen: Report | None = None
        self.shown = False
        self.failed: str | None = None

    def say(self, text: str) -> None:
        if self.loud:
            print(text, flush=True)

    def report(self, report: Report, more: bool) -> None:
        """Called once, when the watched iterations are over; ``more``: the script is running."""
        self.seen = replace(report, script=self.options.script)
        if more:
            self.show(self.seen)
            if not self.options.keep_going:
                raise Done(self.seen.status)

    def show(self, report: Report) -> None:
        self.shown = True
        self.say(f"\n{report.text(self.watcher.told)}")
        if self.loud and self.options.json:
            save_json(report.to_json(), self.options.json)
        if self.loud and self.options.html:
            report.save_html(self.options.html)

    def finish(self) -> int:
        """Say what is still to be said; the exit status."""
        if self.seen is not None and not self.shown:
            self.show(self.seen)
        if self.failed:
            self.say(FAILED.format(error=self.failed))
        if self.seen is not None:
            return self.seen.status or int(bool(self.failed))
        why = WHY_FAILED if self.failed else WHY_ENDED if self.watcher.built else WHY_NONE
        self.say(NOTHING.format(why=why))
        if self.loud and self.options.json:
            save_json({"version": VERSION, "status": 2, "reason": why}, self.options.json)
        return 2
