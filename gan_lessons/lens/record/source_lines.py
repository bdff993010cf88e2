"""Which line of whose source is running: the caller, past torch's frames and our own."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import textwrap
from itertools import islice
from types import FrameType, TracebackType

import torch

from gan_lessons.lens.model import Line

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep  # all instruments
_TORCH = os.path.dirname(torch.__file__) + os.sep
NOWHERE = Line("", "", 0, "")


def _is_plumbing(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith((_TORCH, _OURS))


def caller_line() -> Line:
    """The line that led here: the innermost frame that is neither torch's nor an instrument's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_plumbing(frame):
        frame = frame.f_back
    return _line(frame, frame.f_lineno, frame.f_lasti) if frame else NOWHERE


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
        if not _is_plumbing(traceback.tb_frame):
            line = _line(traceback.tb_frame, traceback.tb_lineno, traceback.tb_lasti)
        traceback = traceback.tb_next
    return line


def _line(frame: FrameType, number: int, instruction: int) -> Line:
    code = frame.f_code
    where = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    first, last, start, end = where
    first, last = first or number, last or number  # an expression may span several lines
    rows = [linecache.getline(code.co_filename, n, frame.f_globals) for n in range(first, last + 1)]
    text = textwrap.dedent("".join(rows)).strip()
    whole = first == last and start is not None and end is not None
    # columns are counted in UTF-8 bytes
    expression = rows[0].encode()[start:end].decode(errors="replace") if whole else ""
    return Line(text, code.co_filename, number, code.co_name, expression)


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
