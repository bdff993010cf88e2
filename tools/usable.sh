#!/bin/sh
# Before anything is installed or started: can this clone be used, and was its .venv made for it?
# The Makefile runs this first. It says what is wrong in a sentence, or nothing.
here=$(pwd)
refuse() {
  printf '%s\n' "$1" >&2
  exit 1
}

[ -w . ] && [ -x . ] && [ -r pyproject.toml ] && [ -r notebooks ] ||
  refuse "You may not read or write this folder: $here. Clone the repository into a folder of your own."
[ -e .venv ] || exit 0
[ -w .venv ] && [ -x .venv ] ||
  refuse "You may not write $here/.venv: another user made it. Remove it as that user, or clone the repository into a folder of your own."
[ -e .venv/.created ] || exit 0
.venv/bin/python -c "" 2>/dev/null ||
  refuse "$here/.venv/bin/python does not run: the Python that it was made with is gone. Type 'make clean', then the same command again."
exec .venv/bin/python -S tools/moved_clone.py
