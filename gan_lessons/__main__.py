"""``gan-lessons`` and ``python -m gan_lessons``: one program, a command each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from gan_lessons.extras import installed_for

# command -> (module, function that gets the other arguments and returns the exit status, help)
COMMANDS = {
    "diagnose": (
        "gan_lessons.lens.watch",
        "diagnose_script",
        "run a training script unchanged and say what is wrong with its gradients",
    ),
    "lab": (
        "gan_lessons.classroom.lessons",
        "lab_command",
        "copy the lessons into a folder of yours and open them in JupyterLab",
    ),
    "copy": ("gan_lessons.classroom.lessons", "copy_command", "copy the lessons, and no more"),
    "slides": (
        "gan_lessons.classroom.export.build",
        "slides_command",
        "run the lessons and write build/slides/: one file each, works with no network",
    ),
    "site": (
        "gan_lessons.classroom.export.build",
        "site_command",
        "run the lessons and write build/site/: pages, an index and the slides",
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
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(asked or ["--help"])
    module, function, _ = COMMANDS[options.command]
    try:
        with installed_for(f"gan-lessons {options.command}"):
            command: Callable[[Sequence[str]], int] = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    return command(options.arguments)


if __name__ == "__main__":
    sys.exit(main())
