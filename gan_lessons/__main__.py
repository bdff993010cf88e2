"""``gan-lessons`` and ``python -m gan_lessons``: one program, a command each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

# command -> (module, function that gets the other arguments and returns the exit status, help)
COMMANDS = {
    "diagnose": (
        "gan_lessons.lens.watch",
        "diagnose_script",
        "run a training script unchanged and say what is wrong with its gradients",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (those of the shell, if None) name."""
    told = "\n".join(f"  {name:10} {text}" for name, (_, _, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "gan-lessons",
        description=f"commands:\n{told}\n\ngan-lessons COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    module, function, _ = COMMANDS[options.command]
    command: Callable[[Sequence[str]], int] = getattr(import_module(module), function)
    return command(options.arguments)


if __name__ == "__main__":
    sys.exit(main())
