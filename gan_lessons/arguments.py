"""Is an argument of a public function what the function can use? If not, it is refused in words.

Each takes the name of the function, and the arguments by their names; none changes anything.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import nn

REFUSED = "{function}() got {name}={value}, of type {kind}; expected {expected}"


def refuse(function: str, name: str, value: Any, expected: str) -> TypeError:
    """The error to raise for an argument of the wrong kind; long values are shortened."""
    try:
        shown = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - a stranger's __repr__ must not hide what we have to say
        shown = "..."
    shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
    kind = type(value).__name__
    return TypeError(
        REFUSED.format(function=function, name=name, value=shown, kind=kind, expected=expected)
    )


def require(function: str, kinds: Any, expected: str, /, **given: Any) -> None:
    """Raise TypeError unless each is an instance of ``kinds``; ``expected`` says that in words."""
    for name, value in given.items():
        if not isinstance(value, kinds):
            raise refuse(function, name, value, expected)


def require_callable(
    function: str, expected: str, takes: int | None = None, /, **given: Any
) -> None:
    """Raise TypeError unless each can be called, with so many arguments where ``takes`` says so;
    ``expected`` says that in words. A class or a net can, and is not what anybody means."""
    for name, value in given.items():
        if not callable(value) or isinstance(value, (type, nn.Module)):
            raise refuse(function, name, value, expected)
        if takes is not None and why_not(value, range(takes)):
            raise refuse(function, name, value, expected)


def why_not(function: Callable[..., Any], arguments: Iterable[Any]) -> str:
    """Why a function cannot take these, as Python says it; "" where it can or nobody knows."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as why:
        return str(why)
    except ValueError:  # written in C: only calling it tells
        return ""
    return ""


def require_whole(function: str, least: int | None = None, /, **given: Any) -> None:
    """Raise TypeError unless each is a whole number, ValueError if it is less than ``least``."""
    for name, value in given.items():
        whole = None if isinstance(value, bool) else _index(value)
        if whole is None:
            raise refuse(function, name, value, "a whole number")
        if least is not None and whole < least:
            raise ValueError(
                "{function}() got {name}={value}; it must be at least {least}".format(
                    function=function, name=name, value=whole, least=least
                )
            )


def require_number(function: str, /, **given: Any) -> None:
    """Raise TypeError unless each is a number, ValueError unless it is finite and at least 0."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise refuse(function, name, value, "a number")
        if not math.isfinite(value) or value < 0:
            raise ValueError(
                "{function}() got {name}={value}; expected a finite number that is not "
                "negative".format(function=function, name=name, value=value)
            )


def require_sizes(function: str, /, **given: Any) -> None:
    """Raise TypeError unless each is a sequence of whole numbers, ValueError if one is below 1."""
    for name, value in given.items():
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise refuse(function, name, value, "whole numbers in a row, such as (8, 8)")
        require_whole(function, 1, **{f"{name}[{i}]": size for i, size in enumerate(value)})


def _index(value: Any) -> int | None:
    try:
        return operator.index(value)
    except Exception:  # noqa: BLE001 - a tensor of several raises what it likes
        return None
