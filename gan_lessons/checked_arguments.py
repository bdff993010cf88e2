"""The checks of ``arguments`` as a decorator, for functions whose lines are there to be read.

@checked(n=whole(1), std=number)
def ring(n, seed=0, modes=8, std=0.02): ...
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from gan_lessons.arguments import require, require_number, require_sizes, require_whole

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[str, str, Any], None]  # of the function's name, the argument's, and its value


def checked(**checks: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check these arguments before the function runs: name -> one of those below."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature, name = inspect.signature(function), function.__name__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            for argument, check in checks.items():
                if argument in given:
                    check(name, argument, given[argument])
            return function(*args, **kwargs)

        return call

    return decorate


def whole(least: int) -> Check:
    """A whole number of at least this."""
    return lambda function, name, value: require_whole(function, least, **{name: value})


def number(function: str, name: str, value: Any) -> None:
    """A finite number that is not negative."""
    require_number(function, **{name: value})


def sizes(function: str, name: str, value: Any) -> None:
    """Whole numbers of at least 1."""
    require_sizes(function, **{name: value})


def rows(function: str, name: str, value: Any) -> None:
    """A tensor (n, ...) with at least one row."""
    require(function, Tensor, "a tensor with a row for each sample", **{name: value})
    if value.ndim == 0 or len(value) == 0:
        raise ValueError(
            "{function}() got {name} of shape {shape}; it must have at least one row".format(
                function=function, name=name, shape=tuple(value.shape)
            )
        )
