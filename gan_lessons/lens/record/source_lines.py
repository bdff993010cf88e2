"""Which line of whose source is running: the caller, past torch's frames and our own."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import textwrap
from itertools import islice
from types import CodeType, FrameType, TracebackType

import torch

from gan_lessons.lens.model import Line

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # all instruments
_TORCH = os.path.dirname(torch.__file__) + os.sep
NOWHERE = Line("", "", 0, "")
_known: dict[tuple[int, int], tuple[CodeType, Line]] = {}  # (id of a code object, instruction)


def caller_line() -> Line:
    """The line that led here: the innermost frame that is neither torch's nor an instrument's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _OURS)):
        frame = frame.f_back
    return _line(frame, frame.f_lasti) if frame else NOWHERE


def stack_depth() -> int:
    """How many frames lie below the caller's: what runs inside something has a greater one."""
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def raising_line(traceback: TracebackType | None) -> Line:
    """The innermost such line of a traceback."""
    line = NOWHERE
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith((_TORCH, _OURS)):
            line = _line(traceback.tb_frame, traceback.tb_lasti)
        traceback = traceback.tb_next
    return line


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
    places = list(islice(code.co_positions(), instruction // 2 + 1))
    # The jump back to the head of a loop has no line, and an interrupt comes just there: the line
    # is that of what ran before it.
    there = (place for place in reversed(places) if place[0] is not None)
    first, last, start, end = next(there, (None, None, None, None))
    if first is None:
        return Line("", code.co_filename, 0, code.co_name)
    numbers = range(first, (last or first) + 1)  # an expression may span several lines
    rows = [linecache.getline(code.co_filename, n, frame.f_globals) for n in numbers]
    text = textwrap.dedent("".join(rows)).strip()
    whole = first == last and start is not None and end is not None
    # columns are counted in UTF-8 bytes
    expression = rows[0].encode()[start:end].decode(errors="replace") if whole else ""
    return Line(text, code.co_filename, first, code.co_name, expression)


def backward_operand(text: str) -> str | None:
    """``d_loss`` in ``d_loss.backward(...)``; None where the line has another form."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr != "backward":
                continue
            if ast.unparse(node.func.value) in ("torch.autograd", "autograd"):
                return ast.unparse(node.args[0]) if node.args else None
            return ast.unparse(node.func.value)
    return None
