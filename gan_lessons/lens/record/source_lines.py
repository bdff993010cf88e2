"""Which line of whose source is running: the caller, past torch's frames and our own."""

from __future__ import annotations

import ast
import functools
import linecache
import os
import sys
import sysconfig
import textwrap
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType, TracebackType

import torch

from gan_lessons.lens.model import Line
from gan_lessons.lens.record.undo import Undo

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # all instruments
_STUDIED = (
    os.path.dirname(os.path.dirname(_OURS)) + os.sep
)  # the steps: wherever they are installed
_TORCH = os.path.dirname(torch.__file__) + os.sep
# Where libraries and their start scripts are installed: nobody's own training code.
_PLACES = sysconfig.get_paths()
if sys.prefix == sys.base_prefix:
    del _PLACES["data"]  # /usr, say, where somebody's own code may be as well
_INSTALLED = (*{f"{path}{os.sep}" for path in _PLACES.values()}, "<frozen ")
_STDLIB = _PLACES["stdlib"] + os.sep
_FOLDERS = ("site-packages", "dist-packages")  # of another environment, or of the user
_TENSORS, _ENGINES = ("backward",), ("backward", "manual_backward")  # a method that runs backward
# Libraries that run somebody's own training step: what they do around it is plumbing, too.
_RUNNERS = {"lightning", "lightning_fabric", "pytorch_lightning", "accelerate", "ignite"}
_opened: list[str] = []  # the folders of packages whose lines are told as if they were one's own
NOWHERE = Line("", "", 0, "")
_known: dict[tuple[int, int], tuple[CodeType, Line]] = {}  # (id of a code object, instruction)


def is_plumbing(code: CodeType, *, ours_alone: bool = False) -> bool:
    """Is that code torch's, or an instrument's?"""
    return code.co_filename.startswith(_OURS if ours_alone else (_TORCH, _OURS))


@lru_cache(maxsize=1024)
def is_installed(file: str) -> bool:
    """Is that code a library's, and so nobody's own?"""
    if file.startswith((_STUDIED, *_opened)):
        return False
    return file.startswith(_INSTALLED) or _is_in_packages(file)


@lru_cache(maxsize=1024)
def is_stdlib(file: str) -> bool:
    """Is that code Python's own?"""
    return file.startswith("<frozen ") or (file.startswith(_STDLIB) and not _is_in_packages(file))


def _is_in_packages(file: str) -> bool:
    return not {*_FOLDERS}.isdisjoint(Path(file).parts)


def trainers() -> tuple[str, ...]:
    """The folders of the packages between here and somebody's own code, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    found: dict[str, None] = {}
    while frame is not None:
        file = frame.f_code.co_filename
        if not is_plumbing(frame.f_code) and not is_stdlib(file):
            if not is_installed(file):
                break
            parts = Path(file).parts
            ends = [i for i, part in enumerate(parts[:-2]) if part in _FOLDERS]
            if ends and parts[ends[-1] + 1] not in _RUNNERS:
                found[str(Path(*parts[: ends[-1] + 2])) + os.sep] = None
        frame = frame.f_back
    return tuple(found)


def look_into(folders: tuple[str, ...], undo: Undo) -> None:
    """Until it is undone: tell the lines of these packages as if they were somebody's own."""

    def close() -> None:
        _opened[:] = [folder for folder in _opened if folder not in folders]
        is_installed.cache_clear()

    undo.callback(close)
    _opened.extend(folders)
    is_installed.cache_clear()


def caller_line() -> Line:
    """The line that led here: the innermost frame of somebody's own code, past torch's, ours and
    other libraries' (a trainer's); where all is installed, the innermost that is not torch's."""
    frame: FrameType | None = sys._getframe(1)
    library: FrameType | None = None
    while frame is not None:
        if not is_plumbing(frame.f_code):
            if not is_installed(frame.f_code.co_filename):
                break
            library = library or frame
        frame = frame.f_back
    frame = frame or library
    return _line(frame, frame.f_lasti) if frame else NOWHERE


def outer_lines(most: int = 3) -> tuple[Line, ...]:
    """The lines that called what ``caller_line`` tells, the nearest first: a helper's callers. None
    from beyond an instrument that runs the code (``record_step``): they are not what it records."""
    frame: FrameType | None = sys._getframe(1)
    found: list[Line] = []
    while frame is not None and len(found) <= most:
        file = frame.f_code.co_filename
        if found and file.startswith(_OURS):
            break
        if not is_plumbing(frame.f_code) and not is_installed(file):
            found.append(_line(frame, frame.f_lasti))
        frame = frame.f_back
    return tuple(found[1:])


def raising_line(traceback: TracebackType | None) -> Line:
    """The innermost such line of a traceback."""
    own = library = NOWHERE
    while traceback is not None:
        frame = traceback.tb_frame
        if not is_plumbing(frame.f_code):
            library = _line(frame, traceback.tb_lasti)
            own = own if is_installed(frame.f_code.co_filename) else library
        traceback = traceback.tb_next
    return library if own is NOWHERE else own


def _line(frame: FrameType, instruction: int) -> Line:
    """The line of an instruction. Training runs the same few over and over: they are kept."""
    code = frame.f_code
    found = _known.get((id(code), instruction))
    if found is None:
        if len(_known) > 1000:
            _known.clear()
        found = _known[id(code), instruction] = (code, _read_line(frame, instruction))
    return found[1]


def _read_line(frame: FrameType, instruction: int) -> Line:
    code = frame.f_code
    at, nowhere = max(instruction, 0) // 2, (None, None, None, None)  # -1: it has not begun
    here = next(islice(code.co_positions(), at, None), nowhere)
    if here[0] is None:
        # The jump back to the head of a loop has no line, and an interrupt comes just there: the
        # line is that of what ran before it.
        before = reversed([*islice(code.co_positions(), at)])
        here = next((place for place in before if place[0] is not None), nowhere)
    first, last, start, end = here
    if first is None:
        return Line("", code.co_filename, 0, code.co_name)
    numbers = range(first, (last or first) + 1)  # an expression may span several lines
    rows = [linecache.getline(code.co_filename, n, frame.f_globals) for n in numbers]
    text = textwrap.dedent("".join(rows)).strip()
    whole = first == last and start is not None and end is not None
    # columns are counted in UTF-8 bytes
    expression = rows[0].encode()[start:end].decode(errors="replace") if whole else ""
    return Line(text, code.co_filename, first, code.co_name, expression)


def is_engines(line: Line) -> bool:
    """Was torch called by a library, and not by this line itself, which ``caller_line`` told?"""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_plumbing(frame.f_code):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename != line.file


@functools.lru_cache(maxsize=512)
def backward_operand(text: str, by_engine: bool = False) -> str | None:
    """``d_loss`` in ``d_loss.backward(...)``, and in ``engine.backward(d_loss)`` where a library's
    engine is asked; None where the line has another form."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in (_ENGINES if by_engine else _TENSORS):
                continue
            if by_engine and node.args:
                return ast.unparse(node.args[0])
            if ast.unparse(node.func.value) in ("torch.autograd", "autograd"):
                return ast.unparse(node.args[0]) if node.args else None
            return ast.unparse(node.func.value)
    return None
