"""The source of a step as the explorer shows it: coloured, and with its head folded."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Sequence
from functools import lru_cache

KEYWORD, STRING, NUMBER, COMMENT, NAME, PLAIN = "k", "s", "n", "c", "b", "t"
_KINDS = {tokenize.STRING: STRING, tokenize.NUMBER: NUMBER, tokenize.COMMENT: COMMENT}
_CONSTANTS = {"True", "False", "None"}


def colours(lines: Sequence[str]) -> list[str]:
    """For each line the runs of one colour: ``k3t5`` is a keyword of three letters, then five
    letters of plain text. What is no Python is plain."""
    return [*_coloured("\n".join(lines) + "\n")] if lines else []


@lru_cache(maxsize=64)  # the same steps are shown again and again
def _coloured(source: str) -> tuple[str, ...]:
    lines = source.split("\n")[:-1]
    marks = [[PLAIN] * len(line) for line in lines]
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = _kind(token)
            if kind is not None:
                _mark(marks, token, kind)
    except (tokenize.TokenError, SyntaxError):
        pass  # what came before it is coloured
    return tuple(_runs(mark) for mark in marks)


def _kind(token: tokenize.TokenInfo) -> str | None:
    if token.type == tokenize.NAME:
        if token.string in _CONSTANTS:
            return NAME
        return KEYWORD if keyword.iskeyword(token.string) else None
    return _KINDS.get(token.type)


def _mark(marks: list[list[str]], token: tokenize.TokenInfo, kind: str) -> None:
    (first, start), (last, end) = token.start, token.end
    for line in range(first, min(last, len(marks)) + 1):
        row = marks[line - 1]
        begin, stop = start if line == first else 0, end if line == last else len(row)
        row[begin:stop] = [kind] * (stop - begin)


def _runs(mark: Sequence[str]) -> str:
    found: list[list[str]] = []
    for letter in mark:
        if found and found[-1][0] == letter:
            found[-1].append(letter)
        else:
            found.append([letter])
    return "".join(f"{run[0]}{len(run)}" for run in found)


def folded(lines: Sequence[str]) -> int:
    """How many lines at the top only say what the step is called and takes: its signature, the
    docstring, and a check of what came in. 0 for what is no function."""
    return _folded("\n".join(lines))


@lru_cache(maxsize=64)
def _folded(source: str) -> int:
    try:
        (function,) = ast.parse(source).body
    except (SyntaxError, ValueError):
        return 0
    if not isinstance(function, ast.FunctionDef):
        return 0
    end = function.body[0].lineno - 1
    for place, statement in enumerate(function.body):
        if not _says_nothing(statement, place) or statement is function.body[-1]:
            break
        end = statement.end_lineno or end
    return end


def _says_nothing(statement: ast.stmt, place: int) -> bool:
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return place == 0
    called = value.func if isinstance(value, ast.Call) else value
    return "check" in (getattr(called, "attr", ""), getattr(called, "id", ""))
